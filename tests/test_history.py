"""Looking back: who was told what, and why not."""

from __future__ import annotations

import json
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
from tests.support import ANA, OWNER, Box
from tests.trees import TREES, Disk, Tree


@pytest.fixture
def tree(box: Box) -> Tree:
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    return tree


@pytest.fixture
def told(box: Box, tree: Tree) -> Box:
    """A job that was rejected, one that a stranger claims, and an event that goes to nobody."""
    box.look()
    tree.submit("survey", ANA)
    box.clock.advance(10)
    box.look()
    tree.reject("survey", ANA, reason="raw rows")
    syftnotify.emit("gpu_available", "gpu 0", home=box.home.root)
    box.clock.advance(10)
    box.look()
    return box


def objects(box: Box, *words: str) -> list[dict[str, Any]]:
    done = box.notify(*words, "--json", check=0)
    return list(json.loads(done.stdout))


def test_history_lists_each_notification_oldest_first(told: Box) -> None:
    """N27, N31"""
    found = objects(told, "history")

    assert [(one["event"], one["recipient"], one["state"], one["attempts"]) for one in found] == [
        ("job_submitted", OWNER, "sent", 1),
        ("job_submitted", ANA, "sent", 1),
        ("job_rejected", ANA, "sent", 1),
    ]
    assert {one["route"] for one in found} == {"built-in: owner", "built-in: submitter"}
    assert {one["transport"] for one in found} == {"box"}


@pytest.mark.parametrize(
    ("words", "count"),
    [
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
    ],
    ids=str,
)
def test_history_is_filtered(told: Box, words: tuple[str, ...], count: int) -> None:
    assert len(objects(told, "history", *words)) == count


def test_why_says_of_each_event_who_heard_and_by_which_rule(told: Box) -> None:
    """X05"""
    lines = told.notify("why", "survey", check=0).stdout

    assert "job_submitted, detected" in lines
    assert f"submitter {ANA}: sent" in lines
    assert "through box, by built-in: submitter" in lines


def test_why_says_so_when_no_rule_names_anybody(told: Box) -> None:
    """X05: or, on a scientist's machine, what had been so before."""
    assert (
        "nobody: no route names anybody, or it was so before the first scan"
        in told.notify("why", "gpu 0", check=0).stdout
    )
    (event,) = objects(told, "why", "gpu 0")
    assert event["notifications"] == []


def test_why_says_whom_a_job_asked_for_in_vain(box: Box, tree: Tree) -> None:
    """X05, G22: nobody can use an owner's mailbox to mail strangers."""
    box.configure({"recipients": {"allow": ["*@lab.example"]}})
    box.look()
    wishes = {"notify": {"emails": ["stranger@x.example", "friend@lab.example"], "on": ["job_submitted"]}}
    tree.submit("survey", ANA, config={"headers": wishes})
    box.clock.advance(10)
    box.look()

    assert sorted(mail.to for mail in box.mails()) == sorted([OWNER, ANA, "friend@lab.example"])
    lines = box.notify("why", "survey", check=0).stdout
    assert "guest stranger@x.example: not sent: the job asks for this; recipients.allow would let it pass" in lines
    assert "guest friend@lab.example: sent" in lines


def test_a_state_that_there_is_not_is_an_error(told: Box) -> None:
    """Else nothing would match, and that would look like an answer."""
    assert "'snet' is not a state" in told.notify("history", "--state", "snet", check=2).stderr


def test_why_of_what_was_never_noticed_is_an_error(told: Box) -> None:
    assert "no event of 'nothing' is recorded" in told.notify("why", "nothing", check=1).stderr


def test_why_of_a_job_before_the_baseline_names_the_baseline(box: Box, tree: Tree) -> None:
    """E, X05: what was so before it is recorded as notified; what came later is explained as ever."""
    box.env["TZ"] = "UTC"
    tree.submit("old", ANA)
    tree.approve("old", ANA)
    box.clock.advance(10)
    box.look()
    tree.run("old", ANA)
    before = box.notify("why", "old", check=0).stdout.splitlines()
    box.clock.advance(10)
    box.look()
    lines = box.notify("why", "old", check=0).stdout.splitlines()

    for kind in ("job_submitted", "job_approved"):
        recorded = f"  {kind}, recorded as notified by the baseline scan of 2027-01-15 08:00:10+00:00"
        assert recorded in before
        assert recorded in lines
    assert before[0] == lines[0] == tree.entity("old", ANA)
    assert any(line.startswith("  job_completed, detected") for line in lines)
    assert [(one["event"], one.get("recorded_by")) for one in objects(box, "why", "old")] == [
        ("job_submitted", "baseline"),
        ("job_approved", "baseline"),
        ("job_completed", None),
    ]


def test_history_and_why_print_times_in_the_local_zone(told: Box) -> None:
    """F6: JSON stays UTC."""
    told.env["TZ"] = "IST-5:30"
    (first, *_) = objects(told, "history")
    tried_at = datetime.fromisoformat(first["tried_at"])
    here = tried_at.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat(sep=" ")

    assert first["tried_at"].endswith("Z")
    assert f"sent {here}, 1 attempt" in told.notify("history", check=0).stdout
    assert f"sent {here}, 1 attempt" in told.notify("why", "survey", check=0).stdout
    (event, *_) = objects(told, "why", "survey")
    assert event["noticed_at"].endswith("Z")
    assert f"detected {here}" in told.notify("why", "survey", check=0).stdout


@pytest.mark.parametrize("zone", ["UTC", "IST-5:30", "XXX11"])
def test_prune_names_the_typed_date_in_the_local_zone(box: Box, zone: str) -> None:
    """F6"""
    SqliteOutbox(box.home.outbox).close()
    box.env["TZ"] = zone

    said = box.notify("prune", "--older-than", "2000-01-01", "--dry-run", check=0).stdout

    offset = {"UTC": "+00:00", "IST-5:30": "+05:30", "XXX11": "-11:00"}[zone]
    assert said == f"0 events from before 2000-01-01 00:00:00{offset} would be deleted\n"
    typed_back = box.notify("prune", "--older-than", f"2000-01-01 00:00:00{offset}", "--dry-run", check=0).stdout
    assert typed_back == said


@pytest.mark.parametrize(
    ("older_than", "said"),
    [
        ("0d", "'0d' is not a time: expected more than 0s and at most 7320d"),
        ("36500d", "'36500d' is not a time: expected at most 7320d"),
        ("2100-01-01", "is in the future"),
    ],
)
def test_prune_moment_out_of_range_is_refused(box: Box, older_than: str, said: str) -> None:
    """D8"""
    SqliteOutbox(box.home.outbox).close()

    assert said in box.notify("prune", "--older-than", older_than, check=2).stderr


def gpus(first: int, last: int) -> list[Event]:
    return [Event(EventKind.GPU_AVAILABLE, f"gpu/{number}", "T1", "", {}) for number in range(first, last)]


class CountingHistory(History):
    """A history that records how much each of its transactions deleted."""

    sizes: list[int]

    def prune(self, *words: Any, **more: Any) -> int:
        self.sizes.append(super().prune(*words, **more))
        return self.sizes[-1]


@pytest.mark.parametrize("owed", [0, 3, 1200])
def test_much_is_forgotten_a_heap_at_a_time(box: Box, owed: int) -> None:
    """C14: a running worker has its turn in between, and what is owed hides nothing that is not."""
    box.home.create()
    ledger = Ledger(box.home.state)
    for event in gpus(0, owed):
        ledger.mark_owed(event.entity, event.kind, event.occurrence)
    ledger.save()
    outbox = SqliteOutbox(box.home.outbox)
    outbox.history = history = CountingHistory(outbox._database)
    history.sizes = []
    outbox.enqueue(gpus(0, 2300), [], 100.0)
    count = prune(outbox, ledger, 200.0)
    left = outbox.events.for_entities([event.entity for event in gpus(0, 2300)])
    outbox.close()

    assert count == 2300 - owed
    assert len(left) == owed
    assert owed > 1000 or max(history.sizes) <= 1000


def test_the_count_of_what_was_forgotten_is_that_of_all_heaps(box: Box) -> None:
    outbox = SqliteOutbox(box.home.outbox)
    outbox.enqueue(gpus(0, 2300), [], 100.0)
    outbox.close()

    for words in (["--dry-run"], []):
        done = box.notify("prune", "--older-than", "2000-01-01", *words, check=0)
        assert done.stdout.startswith("2300 events from before 2000-01-01")
    assert box.notify("prune", "--older-than", "2000-01-01", check=0).stdout.startswith("0 events ")
