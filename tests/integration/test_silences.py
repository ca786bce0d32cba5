"""Silences: what they suppress is recorded, and nothing else is."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.services.silences import silences_of
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import ANA, OWNER, Box
from tests.trees import TREES, Disk, Tree

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def tree(box: Box) -> Tree:
    tree = TREES["D"](Disk(box.root, box.clock.time))
    box.configure()
    box.scan()
    return tree


def change(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command, which uses the real clock; the clock of the box is not behind what it stores."""
    done = box.notify(*arguments, check=0)
    box.clock.now = max(box.clock.now, time.time())
    return done


def add(box: Box, *options: str) -> str:
    return change(box, "silence", "add", *options).stdout.strip()


def scan(box: Box, seconds: float = 2.0) -> list[tuple[str, str]]:
    """The event and recipient of each new mail of the next scan."""
    box.clock.advance(seconds)
    box.scan()
    return sorted((mail.event, mail.to) for mail in box.new_mails())


def states(box: Box) -> list[tuple[str, str, str]]:
    shown = json.loads(box.notify("history", "--json", check=0).stdout)
    return sorted((each["event"], each["recipient"], each["reason"]) for each in shown if each["state"] == "skipped")


def listed(box: Box, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(box.notify("silence", "list", "--json", *options, check=0).stdout)
    return found


@pytest.fixture(autouse=True)
def _now(box: Box) -> None:
    box.clock.now = time.time()  # the commands use the real clock


def test_silence_suppresses_matching_events_and_records_them(box: Box, tree: Tree) -> None:
    name = add(box, "--job", "noisy*", "--for", "1h", "--reason", "maintenance", "--author", OWNER)
    tree.submit("noisy-1")
    tree.submit("other")

    assert scan(box) == [("job_submitted", ANA), ("job_submitted", OWNER)]
    assert states(box) == [("job_submitted", each, f"silence {name}: maintenance") for each in (ANA, OWNER)]
    (silence,) = listed(box)
    assert (silence["id"], silence["state"], silence["suppressed"], silence["author"]) == (name, "active", 2, OWNER)
    assert "noisy-1" in box.notify("silence", "list", name[:6], check=0).stdout


def test_silence_ends_with_its_time_and_with_expire(box: Box, tree: Tree) -> None:
    first = add(box, "--submitter", ANA, "--for", "1h")
    tree.submit("a")
    assert scan(box) == []
    change(box, "silence", "expire", first[:5])
    tree.submit("b")
    assert [event for event, _ in scan(box)] == ["job_submitted"] * 2
    assert listed(box) == []
    assert [each["state"] for each in listed(box, "--all")] == ["expired"]
    add(box, "--submitter", ANA, "--for", "1h")
    tree.submit("c")
    assert [event for event, _ in scan(box, 7200)] == ["job_submitted"] * 2, "it is over"


def test_silence_until_the_state_changes(box: Box, tree: Tree) -> None:
    """Reminders are suppressed, the change itself and what follows are not."""
    box.configure({"reminders": {"job_waiting": "1h"}})
    box.clock.now -= 600
    tree.submit("a")
    scan(box)
    box.clock.now += 600
    add(box, "--job", "a", "--until-change")
    assert scan(box, 7200) == []
    assert [event for event, _, _ in states(box)] == ["job_waiting"]
    assert [each["state"] for each in listed(box)] == ["active"]
    tree.approve("a")
    assert ("job_approved", ANA) in scan(box)
    assert listed(box) == [], "it was about this job alone"


def test_silence_of_an_unknown_job_is_added_with_a_warning(box: Box, tree: Tree) -> None:
    tree.submit("a")
    scan(box)
    done = box.notify("silence", "add", "--for", "1h", "--job", "a", "--job", "b", "--job", "c-*", check=0)

    assert "no job named 'b' is known yet" in done.stderr
    assert ("'a'" in done.stderr, "'c-*'" in done.stderr) == (False, False)
    box.notify("silence", "expire", done.stdout.strip(), check=0)
    shown = box.notify("silence", "list", "--all", check=0).stdout
    assert "  expired  ended " in shown


def test_silence_of_several_jobs_until_a_change_ends_for_each(box: Box, tree: Tree) -> None:
    box.clock.now -= 600
    for name in ("a", "b"):
        tree.submit(name)
    scan(box)
    box.clock.now += 600
    add(box, "--job", "*", "--until-change")
    tree.approve("a")
    scan(box)

    assert [each["state"] for each in listed(box)] == ["active"], "for the other one"
    with closing(SqliteOutbox(box.home.outbox)) as outbox:
        found = {
            name: len(silences_of(outbox, Event(EventKind.JOB_SUBMITTED, tree.entity(name), payload={"name": name})))
            for name in ("a", "b")
        }
    assert found == {"a": 0, "b": 1}


def test_silence_suppresses_what_is_queued(box: Box, tree: Tree) -> None:
    box.clock.now -= 600
    box.home.mail.write_text("in the way")
    tree.submit("a")
    scan(box)
    box.clock.now += 600
    add(box, "--job", "a", "--for", "1d")
    box.home.mail.unlink()

    assert scan(box, 3600) == []
    assert len(states(box)) == 2


def test_what_a_user_resends_is_not_silenced_by_a_later_process(box: Box, tree: Tree) -> None:
    box.configure({"transports": {"box": {"type": "maildir", "max_retries": 0}}})
    box.clock.now -= 600
    box.home.mail.write_text("in the way")
    tree.submit("a")
    scan(box)
    box.home.mail.unlink()
    box.clock.now += 600
    add(box, "--job", "a", "--for", "1d")
    assert scan(box) == []
    change(box, "resend", "--all-dead")

    assert [event for event, _ in scan(box)] == ["job_submitted"] * 2


def test_silence_until_a_change_suppresses_a_queued_change_from_before(box: Box, tree: Tree) -> None:
    box.clock.now -= 600
    box.home.mail.write_text("in the way")
    tree.submit("a")
    scan(box)
    box.clock.now += 600
    add(box, "--job", "a", "--until-change")
    box.home.mail.unlink()

    assert scan(box, 3600) == []
    assert len(states(box)) == 2


def test_silence_until_a_change_ends_after_a_month(box: Box, tree: Tree) -> None:
    box.configure({"reminders": {"job_waiting": ["1d", "31d"]}})
    tree.submit("a")
    scan(box)
    box.clock.advance(60)
    add(box, "--job", "*", "--until-change", "--start", datetime.fromtimestamp(box.clock.now, UTC).isoformat())
    assert scan(box, 2 * 86400) == []
    assert [event for event, _, _ in states(box)] == ["job_waiting"]
    assert scan(box, 30 * 86400) == [("job_waiting", OWNER)]


def test_alerts_of_the_worker_are_never_silenced(box: Box, tree: Tree) -> None:
    add(box, "--severity", "high", "--severity", "medium", "--severity", "low", "--for", "1d")
    app = box.open_app()
    app.pipeline.enqueue_worker_event(Event(EventKind.HEARTBEAT, "worker/x", "1"), box.clock.now)
    app.close()

    assert not states(box)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--for", "1h"), "has no condition"),
        (("--job", "a"), "the end of the silence is missing or ambiguous"),
        (("--job", "a", "--for", "1h", "--until-change"), "missing or ambiguous"),
        (("--job", "a", "--until", "2020-01-01"), "ends before it begins"),
        (("--job", "a[", "--for", "1h"), "--job: the pattern"),
        (("--event", "nonsense", "--for", "1h"), "is not an event kind"),
        (("--severity", "urgent", "--for", "1h"), "is not a severity"),
        (("--job", "a", "--for", "soon"), "--for: expected a duration"),
        (("--job", "a", "--until", "2999-12-31"), "ends too late"),
        (("--job", "a", "--until-change", "--event", "job_failed"), "it ends the silence"),
    ],
)
def test_wrong_silence_is_refused(box: Box, tree: Tree, options: tuple[str, ...], error: str) -> None:
    done = box.notify("silence", "add", *options)

    assert done.returncode != 0
    assert error in " ".join(done.stderr.split())
    assert listed(box, "--all") == []


def test_documented_commands_work(box: Box, tree: Tree) -> None:
    """docs/page.md; the id in it is an example."""
    section = (DOCS / "page.md").read_text(encoding="utf-8").partition("## Silences")[2]
    commands = [
        shlex.split(line)[1:] for line in section.partition("```sh")[2].partition("```")[0].strip().splitlines()
    ]
    for arguments in commands[:-1]:
        box.notify(*arguments, check=0)
    ids = [each["id"] for each in listed(box)]

    assert len(ids) == 2
    assert commands[-1][:2] == ["silence", "expire"]
    box.notify("silence", "expire", ids[0][:8], check=0)
    assert [each["id"] for each in listed(box)] == ids[1:]
