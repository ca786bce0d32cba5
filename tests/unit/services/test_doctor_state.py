"""Doctor checks of the ledger and the outbox."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from syftnotify.core.errors import Failure
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification, NotificationState
from syftnotify.core.outbox import AttemptOutcome
from syftnotify.services.doctor.findings import Level
from syftnotify.store.outbox.store import SqliteOutbox
from tests.doctor_findings import findings, findings_of, levels, only_finding
from tests.queries import file_hashes
from tests.support import ANA, OWNER, Box, claim

PASS, WARN, FAIL = Level.PASS, Level.WARN, Level.FAIL


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is damaged"),
        (b'{"version": 1, "notif', "is damaged"),
        (b"[]", "is damaged"),
        (b'{"version": 1, "notified": []}', "is damaged"),
        (b'{"version": 99}', "newer version"),
    ],
)
def test_doctor_unusable_ledger_fails_and_is_left_in_place(healthy_box: Box, content: bytes, text: str) -> None:
    """B07, X02: only the worker quarantines it."""
    healthy_box.home.state.write_bytes(content)
    before = file_hashes(healthy_box.home.root)

    one = only_finding("state", findings(healthy_box))

    assert one.level is FAIL
    assert text in one.text
    assert one.advice
    assert file_hashes(healthy_box.home.root) == before


def test_doctor_good_ledger_and_outbox_pass(healthy_box: Box) -> None:
    """B07."""
    healthy_box.notify("run", "--once", check=0)

    worst = levels(findings(healthy_box))

    assert (worst["state"], worst["outbox"]) == (PASS, PASS)


def test_doctor_before_first_start_checks_no_state_and_creates_none(healthy_box: Box) -> None:
    """B07."""
    worst = levels(findings(healthy_box))

    assert worst.keys().isdisjoint({"state", "outbox"})
    assert not healthy_box.home.outbox.exists()
    assert not healthy_box.home.state.exists()


def store_outbox(box: Box, *states: str, transport: str = "box", now: float | None = None) -> None:
    """Store one message in each of `states`."""
    moment = time.time() if now is None else now
    outbox = SqliteOutbox(box.home.outbox)
    try:
        for number, state in enumerate(states):
            event = Event(EventKind.JOB_APPROVED, f"job/D/{OWNER}/{ANA}/survey{number}", payload={"detail": "x" * 2000})
            outbox.enqueue([event], [Notification(event.key, event.entity, ANA, Audience.SUBMITTER, transport)], moment)
            due = claim(outbox, transport, moment, worker_id="tests", resend=False)
            if state == "sent":
                outbox.queue.mark_sent(due, moment)
            else:
                failure = {"dead": Failure.PERMANENT, "unknown": Failure.UNKNOWN}[state]
                outbox.queue.mark_failed(due, moment, failure, "said no", AttemptOutcome(NotificationState(state)))
    finally:
        outbox.close()


@pytest.mark.parametrize("first", [0, 4096], ids=["from the start", "after the first page"])
def test_doctor_damaged_outbox_fails_and_is_left_in_place(healthy_box: Box, first: int) -> None:
    """B07, X02."""
    store_outbox(healthy_box, *["sent"] * 20)
    content = bytearray(healthy_box.home.outbox.read_bytes())
    content[first:] = b"\xa5" * (len(content) - first)
    healthy_box.home.outbox.write_bytes(content)

    done = healthy_box.notify("doctor", "--json", check=1)

    failed = [one for one in json.loads(done.stdout) if one["level"] == "fail"]
    assert {one["check"] for one in failed} == {"outbox"}
    assert healthy_box.home.outbox.name in failed[0]["text"]
    assert failed[0]["advice"]
    assert "Traceback" not in done.stderr
    assert healthy_box.home.outbox.read_bytes() == bytes(content)
    assert not [path.name for path in healthy_box.home.root.iterdir() if ".damaged-" in path.name]


def test_doctor_damaged_page_in_the_outbox_fails(healthy_box: Box) -> None:
    """B07, X02: although each query may still succeed."""
    store_outbox(healthy_box, *["sent"] * 40)
    content = bytearray(healthy_box.home.outbox.read_bytes())
    middle = len(content) // 4096 // 2 * 4096
    content[middle : middle + 4096] = b"\xa5" * 4096
    healthy_box.home.outbox.write_bytes(content)

    assert levels(findings(healthy_box))["outbox"] is FAIL
    assert healthy_box.home.outbox.read_bytes() == bytes(content)


def test_doctor_outbox_of_newer_version_fails(healthy_box: Box) -> None:
    """B07."""
    import sqlite3

    store_outbox(healthy_box, "sent")
    with contextlib.closing(sqlite3.connect(healthy_box.home.outbox)) as database:
        database.execute("PRAGMA user_version = 99")

    one = only_finding("outbox", findings(healthy_box))

    assert one.level is FAIL
    assert "newer version" in one.text
    assert "install the newer version" in one.advice


def test_doctor_dead_letters_and_held_warn(healthy_box: Box) -> None:
    """B07, X04."""
    healthy_box.configure({"notify": {"on_unknown": "hold"}})
    store_outbox(healthy_box, "dead", "dead", "unknown", "sent")

    passed, warned = findings_of("outbox", findings(healthy_box))

    assert passed.level is PASS
    assert (warned.level, warned.text) == (WARN, "2 dead letters, 1 held")
    assert "notify dead" in warned.advice
    assert "notify resend" in warned.advice
