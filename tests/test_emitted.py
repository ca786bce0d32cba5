"""Emitted events: what routes them, what is remembered of their jobs, long runs, and files that cannot be used."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import syftnotify
from syftnotify.core.emitted_jobs import EXPIRY_SECONDS, merge_options, with_job_options
from syftnotify.core.errors import EmitError, UnknownKindError
from syftnotify.core.kinds import FINAL_KINDS, EventKind
from syftnotify.core.models import Event
from syftnotify.sources.spool import Spool
from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.store.outbox.store import SqliteOutbox
from tests.fakes.web import Web
from tests.queries import add_alert_rule as add
from tests.support import ANA, BO, OWNER, Box, lose_ledger, lose_outbox
from tests.trees import TREES, Disk

CY = "cy@lab.example"
NOBODY = [{"events": ["job_held"]}]  # routes that match nothing here
MINUTE = 60.0


def emit(box: Box, kind: str = "job_failed", entity: str = "run/1", **more: Any) -> str:
    return syftnotify.emit(kind, entity, home=box.home.root, **more)


def sent(box: Box) -> list[tuple[str, str]]:
    """Event and recipient of each new mail, after a scan."""
    box.look()
    return sorted((mail.event, mail.to) for mail in box.new_mails())


def later(box: Box, minutes: float) -> list[tuple[str, str]]:
    box.clock.advance(minutes * MINUTE)
    return sent(box)


# -- only options route ------------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("kind", ["job_failed", "job_submitted", "job_long_running", "reservation_created"])
def test_emit_payload_keys_route_nothing_and_are_shown(box: Box, hook: Web, kind: str) -> None:
    """C4: neither roles nor matches nor job requests read the payload, which reaches webhooks as it is."""
    routes = [
        {"to": ["submitter", "hook"], "continue": True},
        {"match": {"tags": "team-*"}, "to": ["tagged@x.example"], "continue": True},
        {"match": {"submitter": "*@*"}, "to": ["submitted@x.example"], "continue": True},
        {"match": {"owner": "*"}, "to": ["owned@x.example"], "continue": True},
    ]
    hooked = {"box": {"type": "maildir"}, "hook": {"type": "webhook", "url": hook.url}}
    box.configure({"transports": hooked, "routes": routes})
    emit(box, kind, payload=ROUTING_KEYS)

    assert sent(box) == []
    assert [request.json["payload"] for request in hook.requests] == [ROUTING_KEYS]


def test_emit_options_route_beside_a_payload_that_contradicts(box: Box) -> None:
    """C4"""
    box.configure({"routes": [{"match": {"tags": "team-*", "submitter": ANA, "job": "night*"}, "to": ["submitter"]}]})
    emit(box, user=ANA, tags=["team-data"], payload={"user": BO, "tags": ["x"], "submitter": BO, "name": "nightly"})

    assert sent(box) == [("job_failed", ANA)]


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

    assert sent(box) == [("job_failed", OWNER)]


def test_emit_alerts_notify_like_the_block_of_a_job(box: Box, hook: Web) -> None:
    """C4, N12, N14"""
    transports = {"box": {"type": "maildir"}, "hook": {"type": "webhook", "url": hook.url}}
    box.configure({"transports": transports, "routes": NOBODY})
    block = json.dumps({"on_failure": False, "on_success": True, "recipients": ["hook", BO]})
    for kind in ("job_completed", "job_failed"):
        box.notify("emit", kind, "--entity", kind, "--alerts", block, check=0)

    assert sent(box) == [("job_completed", BO)]
    assert [request.json["event"] for request in hook.requests] == ["job_completed"]


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"alerts": {"on_failur": True}}, "'on_failur' is not a known key; did you mean `on_failure`"),
    ({"alerts": {"recipient": [BO]}}, "did you mean `recipients`"),
    ({"alerts": {"x" * 100_000: 1}}, "is not a known key"),
    ({"alerts": {7: 1}}, "is not a known key"),
    ({"alerts": [BO]}, "alerts must be a JSON object"),
    ({"alerts": {"on_failure": "yes"}}, "`on_failure` must be true or false"),
    ({"alerts": {"on_success": 1}}, "`on_success` must be true or false"),
    ({"alerts": {"on_long_run_minutes": 0}}, "`on_long_run_minutes` must be a number"),
    ({"alerts": {"on_long_run_minutes": True}}, "`on_long_run_minutes` must be a number"),
    ({"alerts": {"on_long_run_minutes": "90"}}, "`on_long_run_minutes` must be a number"),
    ({"alerts": {"recipients": BO}}, "recipients must be a list"),
    ({"alerts": {"recipients": [7]}}, "recipients must be a list"),
    ({"alerts": {"recipients": ["a@x.example\nbcc: b@x.example"]}}, "is not a recipient"),
    ({"alerts": {"recipients": ["x" * 300]}}, "is not a recipient"),
    ({"tags": [7]}, "tags must be a list"),
    ({"tags": 7}, "tags must be a list"),
    ({"user": 7}, "user must be text"),
    ({"notify_emails": [f"a{n}@x.example" for n in range(51)]}, "at most 50 recipients, got 51"),
    ({"alerts": {"recipients": [f"#a{n}" for n in range(51)]}}, "at most 50 recipients, got 51"),
    (
        {
            "notify_emails": [f"a{n}@x.example" for n in range(25)],
            "alerts": {"recipients": [f"#a{n}" for n in range(26)]},
        },
        "at most 50 recipients, got 51",
    ),
]


@pytest.mark.parametrize(("options", "why"), BAD_OPTIONS, ids=itertools.count())
def test_emit_bad_option_is_refused_and_leaves_nothing(box: Box, options: dict[str, Any], why: str) -> None:
    """C4: each with what is wrong."""
    with pytest.raises(EmitError, match=why):
        emit(box, **options)

    assert not box.home.spool.exists()


def test_emit_fifty_recipients_are_accepted_and_named_once(box: Box) -> None:
    """C4: an address in both options, in any letter case, counts once."""
    box.configure({"routes": NOBODY})
    emails = [f"a{n}@x.example" for n in range(50)]
    emit(box, notify_emails=emails, alerts={"recipients": [emails[0].upper()]})

    assert len(sent(box)) == 50


def test_spool_file_with_bad_routing_is_put_aside(box: Box) -> None:
    """C4, C11: what the command refuses is refused in a file, too; the others are delivered."""
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
    box.look()

    assert [mail.entities for mail in box.mails()] == [["good"]]
    assert len(list(box.home.spool.glob("*.damaged-*"))) == len(bad)


def test_emit_unknown_words_cost_one_guess(box: Box) -> None:
    """C11: counted in calls of the guesser, which took 22 s for 30,000 words."""
    guesses = 0

    def count(frame: Any, event: str, _argument: Any) -> None:
        nonlocal guesses
        guesses += event == "call" and frame.f_code.co_name == "get_close_matches"

    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.look()
    many = [f"u{number}" for number in range(10_000)]  # a job's file has at most 256 KiB
    tree.submit("survey", ANA, config={"headers": {"notify": {"emails": [ANA], "on": many}}})
    box.clock.advance(MINUTE)
    sys.setprofile(count)
    try:
        with pytest.raises(UnknownKindError):
            emit(box, notify_emails=[BO], notify_on=many)
        box.look()
    finally:
        sys.setprofile(None)

    assert guesses == 1
    assert ("job_submitted", OWNER) in [(mail.event, mail.to) for mail in box.mails()]


# -- emitted and observed events are apart -----------------------------------------------------------------------------


def test_emitted_event_with_key_of_observed_one_suppresses_nothing(box: Box) -> None:
    """A12: in both orders, with the tree's own entity and occurrence."""
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.look()
    box.new_mails()
    tree.submit("survey", ANA)
    entity = tree.entity("survey", ANA)
    submitted_at = yaml.safe_load((tree.place("survey", ANA) / "config.yaml").read_text())["submitted_at"]
    emit(box, "job_submitted", entity, key=submitted_at)
    box.clock.advance(MINUTE)

    assert sent(box) == [("job_submitted", ANA), ("job_submitted", OWNER), ("job_submitted", OWNER)]
    emit(box, "job_submitted", entity, key=submitted_at)
    assert sent(box) == []


def test_emitted_end_of_tree_job_leaves_its_ledger_alone(box: Box) -> None:
    """A12: the job is waiting, whatever is emitted about it; its real end is reported, also after a lost ledger."""
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.look()
    tree.submit("survey", ANA)
    box.clock.advance(MINUTE)
    box.look()
    entity = tree.entity("survey", ANA)
    emit(box, "job_completed", entity, key="x")
    box.look()
    state = JsonStateManager(box.home.state)
    assert state.was_notified(entity, "new")
    assert not state.was_notified(entity, "executed")

    lose_ledger(box)
    box.look()
    assert not JsonStateManager(box.home.state).was_notified(entity, "executed")
    box.new_mails()
    tree.approve("survey", ANA)
    tree.run("survey", ANA)
    assert ("job_completed", OWNER) in later(box, 1)


# -- options are remembered until the job ends -------------------------------------------------------------------------


def test_emit_later_event_uses_options_of_the_first(box: Box) -> None:
    """A14, G22: recipients are chosen at submission; of a restarted worker, too."""
    box.configure({"routes": [{"match": {"tags": "team-*"}, "to": ["submitter"]}]})
    emit(box, "job_submitted", notify_emails=[BO], user=ANA, tags=["team-data"], alerts={"recipients": [CY]})
    assert sent(box) == [("job_submitted", ANA)]
    emit(box, "job_started")
    assert sent(box) == [("job_started", ANA)]
    emit(box, "job_failed")

    assert sent(box) == [("job_failed", ANA), ("job_failed", BO), ("job_failed", CY)]


def test_emit_events_of_one_batch_use_options_of_the_first(box: Box) -> None:
    """A14"""
    box.configure({"routes": NOBODY})
    emit(box, "job_submitted", notify_emails=[BO])
    emit(box, "job_failed")
    emit(box, "job_failed", "run/2")

    assert sent(box) == [("job_failed", BO)]


def test_emit_later_option_replaces_earlier_one_of_its_name(box: Box) -> None:
    """A14: the others stay."""
    box.configure({"routes": NOBODY})
    emit(box, "job_submitted", notify_emails=[BO], notify_on=["job_started", "job_failed"], user=ANA)
    emit(box, "job_started", notify_emails=[CY])
    assert sent(box) == [("job_started", CY)]
    emit(box, "job_updated", notify_on=["job_completed"])
    emit(box, "job_completed")

    assert sent(box) == [("job_completed", CY)]


@pytest.mark.parametrize("end", sorted(FINAL_KINDS))
def test_emit_options_are_forgotten_when_the_job_ends(box: Box, end: EventKind) -> None:
    """A14: the end itself still uses them."""
    box.configure({"routes": NOBODY})
    emit(box, "job_submitted", notify_emails=[BO])
    emit(box, end)
    emit(box, "job_failed")

    assert sent(box) == [(end.value, BO)]


def test_emit_other_kinds_and_entities_remember_nothing(box: Box) -> None:
    """A14: only jobs end, so only they are remembered."""
    box.configure({"routes": [{"to": ["submitter"]}]})
    emit(box, "reservation_created", "r/1", user=ANA)
    emit(box, "reservation_cancelled", "r/1")
    emit(box, "job_failed", "r/1")

    assert sent(box) == [("reservation_created", ANA)]


def test_emit_same_event_again_after_the_end_changes_nothing(box: Box) -> None:
    """A14, A15: a hook that runs twice, or a file that comes back, starts no job again."""
    box.configure({"routes": [{"to": ["owner"]}]})
    add(box, "--job", "*", "--email", BO, "--on-long-run-minutes", "1")
    emit(box, "job_started", key="1")
    emit(box, "job_completed", key="1")
    sent(box)
    emit(box, "job_started", key="1", notify_emails=[CY])

    assert sent(box) == []
    assert later(box, 5) == []


def test_emit_job_without_end_is_forgotten_after_180_days(box: Box) -> None:
    """A14: the table is bounded."""
    box.configure({"routes": NOBODY})
    emit(box, "job_submitted", "old", notify_emails=[BO])
    box.look()
    box.clock.advance(EXPIRY_SECONDS + 1)
    emit(box, "job_submitted", "new", notify_emails=[BO])
    box.look()
    outbox = SqliteOutbox(box.home.outbox)
    try:
        assert outbox.emitted_jobs.find(["old", "new"]).keys() == {"new"}
    finally:
        outbox.close()


jobs_events = st.builds(
    Event,
    st.sampled_from([kind for kind in EventKind if kind.value.startswith("job_")]),
    st.sampled_from(["a", "b"]),
    st.text(max_size=2),
    payload=st.dictionaries(st.sampled_from(["name"]), st.text(max_size=2)),
    routing=st.fixed_dictionaries(
        {},
        optional={
            "user": st.text(min_size=1, max_size=2),
            "notify": st.fixed_dictionaries({}, optional={"emails": st.just([BO]), "on": st.just(["job_failed"])}),
        },
    ),
    emitted=st.just(True),
)


@given(st.lists(jobs_events, max_size=8), st.integers(0, 8))
def test_with_remembered_is_the_same_in_one_batch_or_two(events: list[Event], cut: int) -> None:
    """A14: where a scan ends makes no difference."""
    whole, at_once = with_job_options(events, {}, 1.0)
    first, kept = with_job_options(events[:cut], {}, 1.0)
    second, changed = with_job_options(events[cut:], {name: job for name, job in kept.items() if job}, 1.0)

    assert [*first, *second] == whole
    assert {**kept, **changed} == at_once


def test_merged_keeps_what_is_not_given_again() -> None:
    """A14"""
    earlier = {"user": "a", "tags": ["x"], "notify": {"emails": [BO], "on": ["job_failed"]}}

    assert merge_options(earlier, {}) == earlier
    assert merge_options({}, earlier) == earlier
    assert merge_options(earlier, {"tags": ["y"], "notify": {"emails": [CY]}}) == {
        "user": "a",
        "tags": ["y"],
        "notify": {"emails": [CY], "on": ["job_failed"]},
    }


# -- long runs ---------------------------------------------------------------------------------------------------------


def test_emitted_run_is_reported_once_by_an_alert_rule(box: Box) -> None:
    """A15: with the data of the job, through restarts, and without a tree."""
    box.configure({"routes": NOBODY})
    box.root.rmdir()
    add(box, "--job", "nightly", "--email", BO, "--on-long-run-minutes", "90")
    emit(box, "job_started", user="ana", payload={"name": "nightly", "step": "copy"})
    assert sent(box) == []
    assert later(box, 89) == []
    assert later(box, 1) == [("job_long_running", BO)]
    assert [later(box, 60) for _ in range(3)] == [[], [], []]
    (mail,) = box.mails()
    assert (
        " ".join(mail.text.split())
        == 'Job "nightly" from "ana" has been running for 1 hour 30 minutes. User: ana Step: copy'
    )


def test_emitted_run_is_reported_once_for_each_limit_to_who_set_it(box: Box) -> None:
    """A15: the configuration, the job's own alerts and a rule by tag."""
    box.configure({"reminders": {"job_long_running": ["1h", "3h"]}})
    add(box, "--tag", "team-*", "--email", CY, "--on-long-run-minutes", "120")
    emit(box, "job_submitted", tags=["team-data"], alerts={"on_long_run_minutes": 120, "recipients": [BO]})
    emit(box, "job_started")
    sent(box)
    reported = [later(box, 30) for _ in range(8)]

    assert [(number, each) for number, each in enumerate(reported, 1) if each] == [
        (2, [("job_long_running", OWNER)]),
        (4, [("job_long_running", BO), ("job_long_running", CY)]),
        (6, [("job_long_running", OWNER)]),
    ]


@pytest.mark.parametrize("end", sorted(FINAL_KINDS))
def test_emitted_run_that_ended_is_never_reported(box: Box, end: EventKind) -> None:
    """A15: also when the end and the limit come at once."""
    box.configure({"routes": NOBODY})
    add(box, "--job", "*", "--email", BO, "--on-long-run-minutes", "1", "--no-on-failure", "--no-on-timeout")
    emit(box, "job_started")
    sent(box)
    emit(box, end)

    assert [later(box, 10) for _ in range(3)] == [[], [], []]


def test_emitted_run_that_starts_again_is_another_run(box: Box) -> None:
    """A15: a job that was put back into the queue."""
    box.configure({"reminders": {"job_long_running": "1h"}})
    emit(box, "job_started")
    sent(box)
    assert later(box, 60) == [("job_long_running", OWNER)]
    emit(box, "job_started")
    sent(box)

    assert later(box, 59) == []
    assert later(box, 1) == [("job_long_running", OWNER)]


def test_emitted_run_is_reported_by_one_worker_at_the_same_limits(box: Box) -> None:
    """A15: a worker that goes on keeps the started jobs in memory; ends, and a lost outbox, change them."""
    box.configure({"reminders": {"job_long_running": "1h"}})
    parts = box.parts()

    def scan(minutes: float) -> list[str]:
        box.clock.advance(minutes * MINUTE)
        parts.run_once(box.clock.now)
        return sorted(mail.entities[0] for mail in box.new_mails() if mail.event == "job_long_running")

    try:
        for entity in ("a", "b", "c"):
            emit(box, "job_started", entity)
        assert scan(0) == []
        emit(box, "job_completed", "b")
        assert scan(30) == []
        assert scan(30) == ["a", "c"]
        assert scan(30) == []
        emit(box, "job_started", "a")
        assert scan(0) == scan(59) == []
        lose_outbox(box)
        assert scan(10) == []
        emit(box, "job_started", "d")
        assert scan(0) == []
        assert scan(60) == ["d"]
    finally:
        parts.close()


def test_emitted_run_is_reported_once_though_history_is_pruned(box: Box) -> None:
    """A15: what was reported is not looked up in the history."""
    box.configure({"reminders": {"job_long_running": "1h"}, "retention": "1d"})
    emit(box, "job_started")
    sent(box)
    assert later(box, 60) == [("job_long_running", OWNER)]

    assert [later(box, 60 * 36) for _ in range(3)] == [[], [], []]


def test_dry_run_takes_nothing_in(box: Box) -> None:
    """A14: neither events nor what is remembered of jobs."""
    emit(box, "job_started", notify_emails=[BO])
    box.notify("run", "--once", "--dry-run", check=0)
    outbox = SqliteOutbox(box.home.outbox)
    try:
        assert outbox.emitted_jobs.find(["run/1"]) == {}
    finally:
        outbox.close()

    assert len(list(box.home.spool.glob("*.json"))) == 1


# -- long errors and standard input ------------------------------------------------------------------------------------


def spooled(box: Box) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(box.home.spool.glob("*.json"))]


@pytest.mark.parametrize("letter", ["x", "é", "😀", "\n", '"', "\x1b"])
def test_emit_long_error_is_cut_to_its_end(box: Box, letter: str) -> None:
    """A6: whatever its characters cost as JSON."""
    emit(box, payload={"error": letter * 500_000 + "KeyError: 'age'", "n": 1})
    (event,) = spooled(box)
    error = event["payload"]["error"]

    assert error.startswith("[484,015 characters omitted]\n")
    assert error.endswith(letter * 100 + "KeyError: 'age'")
    assert event["payload"]["n"] == 1
    box.look()
    assert "KeyError: 'age'" in box.mails()[0].text


@pytest.mark.parametrize("error", ["x" * 16_000, ["a", "b"], None, 7])
def test_emit_other_error_is_kept_as_it_is(box: Box, error: Any) -> None:
    """A6"""
    emit(box, payload={"error": error})

    assert spooled(box)[0]["payload"]["error"] == error


def with_input(box: Box, content: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [
        sys.executable,
        "-P",
        "-m",
        "syftnotify",
        "emit",
        "job_failed",
        "--entity",
        "x",
        "--payload",
        "-",
        *words,
    ]
    return subprocess.run(command, env=box.environment(), input=content, capture_output=True, timeout=60, check=False)


def test_emit_reads_payload_of_megabytes_from_standard_input(box: Box) -> None:
    """A6: a command line holds 128 KiB an argument; bytes that are not UTF-8 are replaced."""
    content = json.dumps({"name": "nightly", "error": "y" * 3_000_000 + "HERE"}).encode().replace(b"HERE", b"caf\xe9")
    done = with_input(box, content)

    assert done.returncode == 0, done.stderr
    assert spooled(box)[0]["payload"]["name"] == "nightly"
    assert spooled(box)[0]["payload"]["error"].endswith("ycaf\ufffd")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the payload is not valid JSON"),
        (b"[1]", "must be a JSON object"),
        (b"no json", "the payload is not valid JSON"),
        (b'{"a": "' + b"x" * 300_000 + b'"}', "at most 256 KiB"),
        (b" " * (17 << 20), "more than 16 MiB"),
    ],
    ids=["empty", "list", "text", "large", "endless"],
)
def test_emit_bad_standard_input_is_refused(box: Box, content: bytes, why: str) -> None:
    """A6"""
    done = with_input(box, content)

    assert done.returncode == 2
    assert why in " ".join(done.stderr.decode().split())
    assert b"Traceback" not in done.stderr


# -- a home without configuration --------------------------------------------------------------------------------------


def test_emit_without_configuration_warns_and_prints_the_key(tmp_path: Path) -> None:
    """A9: the event is kept; standard output holds the key alone."""
    box = Box(tmp_path)
    done = box.notify("emit", "job_failed", "--entity", "run/1", "--key", "7", check=0)

    assert done.stdout == "emitted run/1 job_failed 7\n"
    warning = " ".join(done.stderr.split())
    assert warning.startswith(f"warning: no configuration at {box.home.config}; the event is delivered once")
    assert f"`notify init --home {shlex.quote(str(box.home.root))}`" in warning
    assert len(spooled(box)) == 1


def test_emit_from_python_without_configuration_logs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A9"""
    with caplog.at_level(logging.WARNING):
        key = emit(Box(tmp_path), key="7")

    assert key == "emitted run/1 job_failed 7"
    assert "no configuration at" in caplog.text


@pytest.mark.parametrize("entity", ["two\nlines", "a b", "\x1b[2J", "caf\u00e9"])
def test_emit_prints_the_key_on_one_line(box: Box, entity: str) -> None:
    """A9: scripts can read it."""
    done = box.notify("emit", "job_failed", "--entity", entity, "--key", "a\nb", check=0)

    (line,) = done.stdout.splitlines()
    assert line.startswith("emitted ")
    assert line.isprintable()


# -- files that cannot be used -----------------------------------------------------------------------------------------

GOOD = {"kind": "job_failed", "entity": "x", "occurrence": "o", "at": "", "payload": {}, "routing": {}}


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("name", ["a" * 250, "é" * 125, "☃" * 83], ids=["ascii", "two bytes", "three bytes"])
def test_spool_file_with_longest_name_is_put_aside(box: Box, name: str) -> None:
    """A7: the new name has an addition, and fits all the same; two of them have different names."""
    box.home.spool.mkdir(mode=0o700)
    for end in "12":
        (box.home.spool / f"{name[:-1] + end if name[0] == 'a' else name[:-1]}.json").write_text("no event")
        emit(box, entity=f"good/{end}")
        box.look()

    assert sorted(mail.entities[0] for mail in box.mails()) == ["good/1", "good/2"]
    assert len(list(box.home.spool.glob("*.damaged-*"))) == 2
    assert list(box.home.spool.glob("*.json")) == []


def lock(*paths: Path) -> None:
    """Make files unusable: nobody may read them, or root, who may, cannot rename or remove them."""
    if os.geteuid():
        for path in paths:
            path.chmod(0)
    elif subprocess.run(["chattr", "+i", *paths], check=False, capture_output=True).returncode:
        pytest.skip("root needs a file system with immutable files")


@pytest.fixture
def unlocked(box: Box) -> Iterator[None]:
    """Makes what is left in the spool removable again."""
    yield
    if not os.geteuid():
        subprocess.run(["chattr", "-i", *box.home.spool.iterdir()], check=False, capture_output=True)


@pytest.mark.usefixtures("unlocked")
def test_spool_file_that_cannot_be_read_or_renamed_is_skipped(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    """A7: each is named once, everything else goes on, and the scan does not fail."""
    box.home.spool.mkdir(mode=0o700)
    names = ["0.json", "zzz.json"]
    for name in names:
        (box.home.spool / name).write_text("no event")
    lock(*(box.home.spool / name for name in names))
    parts = box.parts()
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            emit(box, entity=f"good/{number}")
            parts.run_once(box.clock.now)
    parts.close()

    assert sorted(mail.entities[0] for mail in box.mails()) == ["good/0", "good/1", "good/2"]
    for name in names:
        assert sum(name in warning for warning in warnings_of(caplog)) == 1, warnings_of(caplog)


def test_emit_replaces_what_json_and_utf8_cannot_hold(box: Box) -> None:
    """A6: such an event is worth more than none."""
    payload = '{"error": "\\ud800", "number": 123456789012345678901234567890}'
    box.notify("emit", "job_failed", "--entity", "run/1", "--payload", payload, check=0)
    (event,) = spooled(box)

    assert event["payload"] == {"error": "?", "number": "123456789012345678901234567890"}


@pytest.mark.parametrize("change", ["payload = '{broken'", "routing = '[1]'", "reminded = '7'", "started_at = 'x'"])
def test_emitted_job_whose_row_is_not_valid_stops_no_other(
    box: Box, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    """A2: its options are lost, and the log names it."""
    emit(box, "job_started", "bad")
    emit(box, "job_started", "good", notify_emails=[BO])
    box.look()
    box.new_mails()
    with contextlib.closing(sqlite3.connect(box.home.outbox)) as database, database:
        database.execute(f"UPDATE emitted_jobs SET {change} WHERE entity = 'bad'")
    emit(box, "job_failed", "good")
    emit(box, "job_failed", "bad")
    box.look()

    assert {mail.entities[0] for mail in box.new_mails()} == {"good", "bad"}
    assert "job bad is not valid" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_spool_file_of_another_user_is_put_aside(box: Box) -> None:
    """C7: a spool that others can write to lets nobody send mail in the owner's name."""
    box.configure({"routes": NOBODY})
    emit(box, entity="run/1", notify_emails=[BO])
    (path,) = box.home.spool.glob("*.json")
    os.chown(path, 65534, 65534)
    box.look()

    assert box.mails() == []
    assert not path.exists()


@pytest.mark.usefixtures("unlocked")
def test_spool_full_of_unusable_files_delays_no_event(box: Box) -> None:
    """A7: they do not count towards what one scan takes in."""
    emit(box, entity="good")
    paths = [box.home.spool / f"{number:04d}.json" for number in range(1001)]
    for path in paths:
        path.write_text("no event")
    lock(*paths)
    taken = Spool(box.home.spool).scan()

    assert [event.entity for event in taken.events] == ["good"]
    assert taken.is_complete


@pytest.mark.usefixtures("unlocked")
@pytest.mark.skipif(os.geteuid() != 0, reason="whoever may not remove a file may not write one either")
def test_spool_file_that_cannot_be_removed_is_taken_in_once(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    """A7: an immutable file with a good event; of each later scan it costs nothing."""
    emit(box, entity="good")
    lock(*box.home.spool.iterdir())
    parts = box.parts()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            parts.run_once(box.clock.now)
    parts.close()
    assert sum("cannot be removed" in warning for warning in warnings_of(caplog)) == 1
    box.look()

    assert [mail.entities for mail in box.mails()] == [["good"]]


def test_spool_folder_that_cannot_be_listed_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A7: a file in place of the folder fails no scan."""
    (tmp_path / "spool").write_text("")
    reader = Spool(tmp_path / "spool")
    with caplog.at_level(logging.WARNING):
        assert [reader.scan().events for _ in range(3)] == [[], [], []]

    assert len(warnings_of(caplog)) == 1


def test_run_with_file_in_place_of_the_spool_is_a_clear_error(box: Box) -> None:
    """A7"""
    box.home.spool.write_text("")
    done = box.notify("run", "--once", check=1)

    assert f"{box.home.spool} cannot be created" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can work in the home of another user")
def test_emit_as_root_in_home_of_another_user_is_refused(box: Box) -> None:
    """A9: the worker of that user could not read the file."""
    os.chown(box.home.root, 65534, 65534)
    done = box.notify("emit", "job_failed", "--entity", "x", check=2)

    assert "root must not work there" in done.stderr
    assert not box.home.spool.exists()
