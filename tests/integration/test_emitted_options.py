"""Emitted events: routing by their options, and what is stored of their jobs."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
from typing import Any

import pytest
import yaml

from syftnotify.core.emitted_jobs import EXPIRY_SECONDS
from syftnotify.core.errors import UnknownKindError
from syftnotify.core.kinds import FINAL_KINDS, EventKind
from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.store.outbox.store import SqliteOutbox
from tests.emitting import emit, scanned, scanned_after
from tests.fakes.web import WebServer
from tests.queries import add_alert_rule
from tests.support import ANA, BO, OWNER, Box, delete_ledger
from tests.trees import TREES, Disk

pytestmark = pytest.mark.check_only


CY = "cy@lab.example"
NO_ROUTE = [{"events": ["job_held"]}]  # matches no event here
MINUTE = 60.0
ENDS = [
    pytest.param(kind, marks=[] if kind is EventKind.JOB_FAILED else pytest.mark.thorough)
    for kind in sorted(FINAL_KINDS)
]


ROUTING_KEYS: dict[str, Any] = {
    "notify": {"emails": [BO], "on": ["job_failed"]},
    "alerts": {"recipients": [BO]},
    "submitter": BO,
    "user": BO,
    "claimed": BO,
    "tags": ["team-data"],
    "owner": BO,
    "asked_by": ["job"],
    "emitted": False,
    "recipients": [BO],
    "routing": {"user": BO},
}


@pytest.mark.parametrize(
    "kind",
    [
        "job_failed",
        *(
            pytest.param(kind, marks=pytest.mark.thorough)
            for kind in ("job_submitted", "job_long_running", "reservation_created")
        ),
    ],
)
def test_emit_payload_keys_do_not_route(box: Box, hook: WebServer, kind: str) -> None:
    """C4: roles, matches and job requests do not read the payload, which reaches webhooks as it is."""
    routes = [
        {"to": ["submitter", "hook"], "continue": True},
        {"match": {"tags": "team-*"}, "to": ["tagged@x.example"], "continue": True},
        {"match": {"submitter": "*@*"}, "to": ["submitted@x.example"], "continue": True},
        {"match": {"owner": "*"}, "to": ["owned@x.example"], "continue": True},
    ]
    hooked = {"box": {"type": "maildir"}, "hook": {"type": "webhook", "url": hook.url}}
    box.configure({"transports": hooked, "routes": routes})
    emit(box, kind, payload=ROUTING_KEYS)

    assert scanned(box) == []
    assert [request.json["payload"] for request in hook.requests] == [ROUTING_KEYS]


def test_emit_options_route_beside_a_payload_that_contradicts(box: Box) -> None:
    """C4"""
    box.configure({"routes": [{"match": {"tags": "team-*", "submitter": ANA, "job": "night*"}, "to": ["submitter"]}]})
    emit(box, user=ANA, tags=["team-data"], payload={"user": BO, "tags": ["x"], "submitter": BO, "name": "nightly"})

    assert scanned(box) == [("job_failed", ANA)]


def test_spool_file_with_old_routing_in_its_payload_is_data(box: Box) -> None:
    """C4: a file of an earlier version is an event, without recipients of its own."""
    box.home.spool.mkdir(mode=0o700)
    old = {
        "kind": "job_failed",
        "entity": "x",
        "occurrence": "1",
        "at": "",
        "payload": {**ROUTING_KEYS, "emitted": True},
    }
    (box.home.spool / "1.json").write_text(json.dumps(old))

    assert scanned(box) == [("job_failed", OWNER)]


def test_emit_alerts_notify_like_the_block_of_a_job(box: Box, hook: WebServer) -> None:
    """C4, N12, N14"""
    transports = {"box": {"type": "maildir"}, "hook": {"type": "webhook", "url": hook.url}}
    box.configure({"transports": transports, "routes": NO_ROUTE})
    block = json.dumps({"on_failure": False, "on_success": True, "recipients": ["hook", BO]})
    for kind in ("job_completed", "job_failed"):
        box.notify("emit", kind, "--entity", kind, "--alerts", block, check=0)

    assert scanned(box) == [("job_completed", BO)]
    assert [request.json["event"] for request in hook.requests] == ["job_completed"]


@pytest.mark.thorough
def test_emit_fifty_recipients_are_accepted_and_named_once(box: Box) -> None:
    """C4: an address in both options, in any letter case, counts once."""
    box.configure({"routes": NO_ROUTE})
    emails = [f"a{n}@x.example" for n in range(50)]
    emit(box, notify_emails=emails, alerts={"recipients": [emails[0].upper()]})

    assert len(scanned(box)) == 50


def test_spool_file_with_bad_routing_is_quarantined(box: Box) -> None:
    """C4, C11: what the command refuses is refused in a file as well; the others are delivered."""
    box.home.spool.mkdir(mode=0o700)
    good = {"kind": "job_failed", "entity": "good", "occurrence": "1", "at": "", "payload": {}, "routing": {}}
    bad: list[Any] = [
        {"kind": "system_alert"},
        {"kind": "digest"},
        {"routing": []},
        {"routing": {"notify": [BO]}},
        {"routing": {"notify": {"emails": [f"a{n}@x.example" for n in range(5000)]}}},
        {"routing": {"notify": {"on": ["no kind"] * 30_000}}},
        {"routing": {"alerts": {"recipient": [BO]}}},
        {"routing": {"user": {"id": 1}}},
    ]
    for number, change in enumerate([*bad, {}]):
        (box.home.spool / f"{number}.json").write_text(json.dumps({**good, **change}))
    box.scan()

    assert [mail.entities for mail in box.mails()] == [["good"]]
    assert len(list(box.home.spool.glob("*.damaged-*"))) == len(bad)


def test_emit_with_many_unknown_kinds_guesses_once(box: Box) -> None:
    """C11: counted in calls of the guesser, which took 22 s for 30,000 kinds."""
    guesses = 0

    def count(frame: Any, event: str, _argument: Any) -> None:
        nonlocal guesses
        guesses += event == "call" and frame.f_code.co_name == "get_close_matches"

    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.scan()
    many = [f"u{number}" for number in range(10_000)]  # a job's file has at most 256 KiB
    tree.submit("survey", ANA, config={"headers": {"notify": {"emails": [ANA], "on": many}}})
    box.clock.advance(MINUTE)
    sys.setprofile(count)
    try:
        with pytest.raises(UnknownKindError):
            emit(box, notify_emails=[BO], notify_on=many)
        box.scan()
    finally:
        sys.setprofile(None)

    assert guesses == 1
    assert ("job_submitted", OWNER) in [(mail.event, mail.to) for mail in box.mails()]


def test_emitted_event_with_key_of_observed_one_suppresses_nothing(box: Box) -> None:
    """A12: in both orders, with the tree's entity and occurrence."""
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.scan()
    box.new_mails()
    tree.submit("survey", ANA)
    entity = tree.entity("survey", ANA)
    submitted_at = yaml.safe_load((tree.job_folder("survey", ANA) / "config.yaml").read_text())["submitted_at"]
    emit(box, "job_submitted", entity, key=submitted_at)
    box.clock.advance(MINUTE)

    assert scanned(box) == [("job_submitted", ANA), ("job_submitted", OWNER), ("job_submitted", OWNER)]
    emit(box, "job_submitted", entity, key=submitted_at)
    assert scanned(box) == []


def test_emitted_end_of_tree_job_leaves_its_ledger_alone(box: Box) -> None:
    """A12: the job is waiting, whatever is emitted about it; its real end is reported, also after a lost ledger."""
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.scan()
    tree.submit("survey", ANA)
    box.clock.advance(MINUTE)
    box.scan()
    entity = tree.entity("survey", ANA)
    emit(box, "job_completed", entity, key="x")
    box.scan()
    state = JsonStateManager(box.home.state)
    assert state.was_notified(entity, "new")
    assert not state.was_notified(entity, "executed")

    delete_ledger(box)
    box.scan()
    assert not JsonStateManager(box.home.state).was_notified(entity, "executed")
    box.new_mails()
    tree.approve("survey", ANA)
    tree.run("survey", ANA)
    assert ("job_completed", OWNER) in scanned_after(box, 1)


def test_emit_later_event_uses_options_of_the_first(box: Box) -> None:
    """A14, G22: recipients are chosen at submission; of a restarted worker, too."""
    box.configure({"routes": [{"match": {"tags": "team-*"}, "to": ["submitter"]}]})
    emit(box, "job_submitted", notify_emails=[BO], user=ANA, tags=["team-data"], alerts={"recipients": [CY]})
    assert scanned(box) == [("job_submitted", ANA)]
    emit(box, "job_started")
    assert scanned(box) == [("job_started", ANA)]
    emit(box, "job_failed")

    assert scanned(box) == [("job_failed", ANA), ("job_failed", BO), ("job_failed", CY)]


def test_emit_events_of_one_batch_use_options_of_the_first(box: Box) -> None:
    """A14"""
    box.configure({"routes": NO_ROUTE})
    emit(box, "job_submitted", notify_emails=[BO])
    emit(box, "job_failed")
    emit(box, "job_failed", "run/2")

    assert scanned(box) == [("job_failed", BO)]


def test_emit_later_option_replaces_earlier_one_of_its_name(box: Box) -> None:
    """A14: the others stay."""
    box.configure({"routes": NO_ROUTE})
    emit(box, "job_submitted", notify_emails=[BO], notify_on=["job_started", "job_failed"], user=ANA)
    emit(box, "job_started", notify_emails=[CY])
    assert scanned(box) == [("job_started", CY)]
    emit(box, "job_updated", notify_on=["job_completed"])
    emit(box, "job_completed")

    assert scanned(box) == [("job_completed", CY)]


@pytest.mark.parametrize("end", ENDS)
def test_emit_options_are_forgotten_when_the_job_ends(box: Box, end: EventKind) -> None:
    """A14: the end itself still uses them."""
    box.configure({"routes": NO_ROUTE})
    emit(box, "job_submitted", notify_emails=[BO])
    emit(box, end)
    emit(box, "job_failed")

    assert scanned(box) == [(end.value, BO)]


def test_emit_options_of_other_kinds_are_not_stored(box: Box) -> None:
    """A14: only jobs end, so only theirs are stored."""
    box.configure({"routes": [{"to": ["submitter"]}]})
    emit(box, "reservation_created", "r/1", user=ANA)
    emit(box, "reservation_cancelled", "r/1")
    emit(box, "job_failed", "r/1")

    assert scanned(box) == [("reservation_created", ANA)]


def test_emit_same_event_again_after_the_end_changes_nothing(box: Box) -> None:
    """A14, A15: a hook that runs twice, or a file that comes back, starts no job again."""
    box.configure({"routes": [{"to": ["owner"]}]})
    add_alert_rule(box, "--job", "*", "--email", BO, "--on-long-run-minutes", "1")
    emit(box, "job_started", key="1")
    emit(box, "job_completed", key="1")
    scanned(box)
    emit(box, "job_started", key="1", notify_emails=[CY])

    assert scanned(box) == []
    assert scanned_after(box, 5) == []


def test_emit_job_without_end_is_forgotten_after_180_days(box: Box) -> None:
    """A14: the table is bounded."""
    box.configure({"routes": NO_ROUTE})
    emit(box, "job_submitted", "old", notify_emails=[BO])
    box.scan()
    box.clock.advance(EXPIRY_SECONDS + 1)
    emit(box, "job_submitted", "new", notify_emails=[BO])
    box.scan()
    outbox = SqliteOutbox(box.home.outbox)
    try:
        assert outbox.emitted_jobs.find(["old", "new"]).keys() == {"new"}
    finally:
        outbox.close()


def test_dry_run_stores_no_options(box: Box) -> None:
    """A14: neither events nor the options of jobs."""
    emit(box, "job_started", notify_emails=[BO])
    box.notify("run", "--once", "--dry-run", check=0)
    outbox = SqliteOutbox(box.home.outbox)
    try:
        assert outbox.emitted_jobs.find(["run/1"]) == {}
    finally:
        outbox.close()

    assert len(list(box.home.spool.glob("*.json"))) == 1


@pytest.mark.parametrize(
    "change",
    [
        "payload = '{broken'",
        *(
            pytest.param(change, marks=pytest.mark.thorough)
            for change in ("routing = '[1]'", "reminded = '7'", "started_at = 'x'")
        ),
    ],
)
def test_emitted_job_whose_row_is_not_valid_stops_no_other(
    box: Box, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    """A2: its options are lost, and the log names it."""
    emit(box, "job_started", "bad")
    emit(box, "job_started", "good", notify_emails=[BO])
    box.scan()
    box.new_mails()
    with contextlib.closing(sqlite3.connect(box.home.outbox)) as database, database:
        database.execute(f"UPDATE emitted_jobs SET {change} WHERE entity = 'bad'")
    emit(box, "job_failed", "good")
    emit(box, "job_failed", "bad")
    box.scan()

    assert {mail.entities[0] for mail in box.new_mails()} == {"good", "bad"}
    assert "emitted job bad are not valid" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_spool_file_of_another_user_is_quarantined(box: Box) -> None:
    """C7: a spool that others can write to cannot be used to send mail in the owner's name."""
    box.configure({"routes": NO_ROUTE})
    emit(box, entity="run/1", notify_emails=[BO])
    (path,) = box.home.spool.glob("*.json")
    os.chown(path, 65534, 65534)
    box.scan()

    assert box.mails() == []
    assert not path.exists()
