"""`notify history`, `notify why` and `notify prune`."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import syftnotify
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.services.history import prune
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.outbox.history import History
from syftnotify.store.outbox.store import SqliteOutbox
from tests.queries import json_list
from tests.support import ANA, OWNER, Box
from tests.terminal import Terminal
from tests.trees import TREES, Disk, Tree


@pytest.fixture
def tree(box: Box) -> Tree:
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    return tree


@pytest.fixture
def notified_box(box: Box, tree: Tree) -> Box:
    """A rejected job, and an event without recipients."""
    box.scan()
    tree.submit("survey", ANA)
    box.clock.advance(10)
    box.scan()
    tree.reject("survey", ANA, reason="raw rows")
    syftnotify.emit("gpu_available", "gpu 0", home=box.home.root)
    box.clock.advance(10)
    box.scan()
    return box


def test_history_lists_each_notification_oldest_first(notified_box: Box) -> None:
    """N27, N31"""
    found = json_list(notified_box, "history")

    assert [(one["event"], one["recipient"], one["state"], one["attempts"]) for one in found] == [
        ("job_submitted", OWNER, "sent", 1),
        ("job_submitted", ANA, "sent", 1),
        ("job_rejected", ANA, "sent", 1),
    ]
    assert {one["route"] for one in found} == {"built-in: owner", "built-in: submitter"}
    assert {one["transport"] for one in found} == {"box"}


FILTERS: list[tuple[tuple[str, ...], int]] = [
    (("--to", ANA), 2),
    (("--to", ANA.upper()), 2),
    (("--about", "survey"), 3),
    (("--about", "surve"), 0),
    (("--event", "rejected"), 1),
    (("--state", "sent", "--state", "dead"), 3),
    (("--state", "dead"), 0),
    (("--transport", "box"), 3),
    (("--transport", "elsewhere"), 0),
    (("-n", "1"), 1),
    (("-n", "0"), 3),
]


def test_history_filter_selects_notifications(notified_box: Box) -> None:
    found = {arguments: len(json_list(notified_box, "history", *arguments)) for arguments, _ in FILTERS}

    assert found == dict(FILTERS)


def test_why_lists_recipients_and_routes_of_each_event(notified_box: Box) -> None:
    """X05"""
    lines = notified_box.notify("why", "survey", check=0).stdout

    assert "job_submitted, detected" in lines
    assert f"submitter {ANA}: sent" in lines
    assert "through box, by built-in: submitter" in lines


def test_why_of_event_without_recipients_gives_the_reason(notified_box: Box) -> None:
    """X05: no route matched, or it happened before the baseline scan."""
    assert (
        "nobody: no route has a recipient for it, or it was already true before the first scan"
        in notified_box.notify("why", "gpu 0", check=0).stdout
    )
    (event,) = json_list(notified_box, "why", "gpu 0")
    assert event["notifications"] == []


def test_why_names_refused_recipients_of_a_job(box: Box, tree: Tree) -> None:
    """X05, G22: nobody can use an owner's mailbox to mail strangers."""
    box.configure({"recipients": {"allow": ["*@lab.example"]}})
    box.scan()
    wishes = {"notify": {"emails": ["stranger@x.example", "friend@lab.example"], "on": ["job_submitted"]}}
    tree.submit("survey", ANA, config={"headers": wishes})
    box.clock.advance(10)
    box.scan()

    assert sorted(mail.to for mail in box.mails()) == sorted([OWNER, ANA, "friend@lab.example"])
    lines = box.notify("why", "survey", check=0).stdout
    assert (
        "guest stranger@x.example: not sent: requested by the job only; add it to `recipients.allow` to permit it"
        in lines
    )
    assert "guest friend@lab.example: sent" in lines


def test_history_unknown_state_is_an_error(notified_box: Box) -> None:
    """Otherwise nothing would match, which would look like an answer."""
    assert "'snet' is not a state" in notified_box.notify("history", "--state", "snet", check=2).stderr


def test_why_of_unknown_entity_is_an_error(notified_box: Box) -> None:
    assert "no event of 'nothing' is recorded" in notified_box.notify("why", "nothing", check=1).stderr


def test_why_of_job_before_baseline_names_the_baseline(box: Box, tree: Tree) -> None:
    """E, X05: earlier events are recorded as notified; later ones are explained as usual."""
    box.env["TZ"] = "UTC"
    tree.submit("old", ANA)
    tree.approve("old", ANA)
    box.clock.advance(10)
    box.scan()
    tree.run("old", ANA)
    before = box.notify("why", "old", check=0).stdout.splitlines()
    box.clock.advance(10)
    box.scan()
    lines = box.notify("why", "old", check=0).stdout.splitlines()

    for kind in ("job_submitted", "job_approved"):
        recorded = f"  {kind}, recorded as notified by the baseline scan of 2027-01-15 08:00:10+00:00"
        assert recorded in before
        assert recorded in lines
    assert before[0] == lines[0] == tree.entity("old", ANA)
    assert any(line.startswith("  job_completed, detected") for line in lines)
    assert [(one["event"], one.get("recorded_by")) for one in json_list(box, "why", "old")] == [
        ("job_submitted", "baseline"),
        ("job_approved", "baseline"),
        ("job_completed", None),
    ]


def test_history_and_why_print_local_times(notified_box: Box) -> None:
    """F6: JSON stays UTC."""
    notified_box.env["TZ"] = "IST-5:30"
    (first, *_) = json_list(notified_box, "history")
    tried_at = datetime.fromisoformat(first["tried_at"])
    here = tried_at.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat(sep=" ")

    assert first["tried_at"].endswith("Z")
    assert f"{tried_at + timedelta(hours=5.5):%d %b}" in notified_box.notify("history", check=0).stdout
    assert f"sent {here}, 1 attempt" in notified_box.notify("why", "survey", check=0).stdout
    (event, *_) = json_list(notified_box, "why", "survey")
    assert event["noticed_at"].endswith("Z")
    assert f"detected {here}" in notified_box.notify("why", "survey", check=0).stdout


@pytest.mark.parametrize("zone", ["UTC", "IST-5:30", "XXX11"])
def test_prune_prints_the_date_in_local_time(box: Box, zone: str) -> None:
    """F6"""
    SqliteOutbox(box.home.outbox).close()
    box.env["TZ"] = zone

    stderr = box.notify("prune", "--older-than", "2000-01-01", "--dry-run", check=0).stdout

    offset = {"UTC": "+00:00", "IST-5:30": "+05:30", "XXX11": "-11:00"}[zone]
    assert stderr == f"0 events from before 2000-01-01 00:00:00{offset} would be deleted\n"
    typed_back = box.notify("prune", "--older-than", f"2000-01-01 00:00:00{offset}", "--dry-run", check=0).stdout
    assert typed_back == stderr


@pytest.mark.parametrize(
    ("older_than", "stderr"),
    [
        ("0d", "'0d' is not a time: expected more than 0s and at most 7320d"),
        ("36500d", "'36500d' is not a time: expected at most 7320d"),
        ("2100-01-01", "is in the future"),
    ],
)
def test_prune_time_out_of_range_is_refused(box: Box, older_than: str, stderr: str) -> None:
    """D8"""
    SqliteOutbox(box.home.outbox).close()

    assert stderr in box.notify("prune", "--older-than", older_than, check=2).stderr


class CountingHistory(History):
    """A history that records how many events each transaction deletes."""

    sizes: list[int]

    def prune(self, *arguments: Any, **more: Any) -> int:
        self.sizes.append(super().prune(*arguments, **more))
        return self.sizes[-1]


def gpu_events(first: int, last: int) -> list[Event]:
    return [Event(EventKind.GPU_AVAILABLE, f"gpu/{number}", "T1", "", {}) for number in range(first, last)]


@pytest.mark.parametrize("open_events", [0, 3, 1200])
def test_prune_deletes_in_chunks_and_keeps_open_events(box: Box, open_events: int) -> None:
    """C14: a running worker gets the database between two chunks."""
    box.home.create()
    ledger = Ledger(box.home.state)
    for event in gpu_events(0, open_events):
        ledger.mark_owed(event.entity, event.kind, event.occurrence)
    ledger.save()
    outbox = SqliteOutbox(box.home.outbox)
    outbox.history = history = CountingHistory(outbox._database)
    history.sizes = []
    outbox.enqueue(gpu_events(0, 2300), [], 100.0)
    count = prune(outbox, ledger, 200.0)
    left = outbox.events.for_entities([event.entity for event in gpu_events(0, 2300)])
    outbox.close()

    assert count == 2300 - open_events
    assert len(left) == open_events
    assert open_events > 1000 or max(history.sizes) <= 1000


@pytest.mark.thorough
def test_prune_deletes_nothing_without_a_confirmation(box: Box) -> None:
    with contextlib.closing(SqliteOutbox(box.home.outbox)) as outbox:
        outbox.enqueue(gpu_events(0, 3), [], 100.0)
    arguments = ("prune", "--older-than", "2000-01-01")

    assert "pass --yes" in box.notify(*arguments, check=1).stderr
    terminal = Terminal(box, *arguments)
    try:
        terminal.answer("delete 3 events from before 2000-01-01", "n")
        assert terminal.wait() == 1
    finally:
        terminal.close()
    assert box.notify(*arguments, "--dry-run", check=0).stdout.startswith("3 events ")


def test_prune_prints_the_count_of_all_chunks(box: Box) -> None:
    outbox = SqliteOutbox(box.home.outbox)
    outbox.enqueue(gpu_events(0, 2300), [], 100.0)
    outbox.close()

    for arguments in (["--dry-run"], ["--yes"]):
        done = box.notify("prune", "--older-than", "2000-01-01", *arguments, check=0)
        assert done.stdout.startswith("2300 events from before 2000-01-01")
    assert box.notify("prune", "--older-than", "2000-01-01", check=0).stdout.startswith("0 events ")
