"""The order of the rooms: written down before acted on, and mended after a loss."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from urllib.parse import unquote

import pytest
import yaml

from syftnotify.core.errors import StateError
from syftnotify.core.models import Event
from syftnotify.runtime.container import App
from syftnotify.runtime.event_limit import EVENTS_PER_MINUTE
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.services.demo import Tree
from tests.support import ANA, BO, OWNER, Box, Clock, lose_ledger, lose_outbox
from tests.trees import TREES, Disk, VersionedReviewTree

CODE = "print(1)\n"


@pytest.fixture
def tree(box: Box) -> Tree:
    box.snapshot.parent.mkdir(parents=True)
    tree = Tree(box.root, box.snapshot)
    tree.grant(ANA)
    box.look()
    return tree


def unsent(box: Box, tree: Tree) -> None:
    """A job is noticed, and nothing can be sent."""
    box.home.mail.rename(box.home.root / "put-by") if box.home.mail.exists() else None
    box.home.mail.write_text("in the way")
    tree.submit(ANA, "survey", CODE)
    box.look()
    box.home.mail.unlink()
    box.clock.advance(3600)


def test_what_was_owed_is_noticed_again_when_the_outbox_is_lost(box: Box, tree: Tree) -> None:
    """X01"""
    unsent(box, tree)
    lose_outbox(box)
    box.look()

    assert sorted(mail.told for mail in box.mails()) == [
        ("job_submitted", "owner", OWNER),
        ("job_submitted", "submitter", ANA),
    ]


def test_what_was_told_is_not_told_again_when_the_outbox_is_lost(box: Box, tree: Tree) -> None:
    tree.submit(ANA, "survey", CODE)
    box.look()
    box.new_mails()
    lose_outbox(box)
    box.look()

    assert box.new_mails() == []


def test_a_lost_ledger_is_mended_from_the_outbox(box: Box, tree: Tree) -> None:
    """X02: neither a flood, nor silence about what happened meanwhile."""
    tree.submit(ANA, "survey", CODE)
    box.look()
    box.new_mails()
    lose_ledger(box)
    tree.approve(ANA, "survey")
    box.look()

    assert [mail.told for mail in box.new_mails()] == [("job_approved", "submitter", ANA)]


@pytest.mark.parametrize("lose", [lose_ledger, lose_outbox])
def test_an_unsent_message_outlives_either_file(box: Box, tree: Tree, lose: Callable[[Box], None]) -> None:
    """X01, X02"""
    unsent(box, tree)
    lose(box)
    box.look()
    box.look()

    assert len(box.mails()) == 2


def test_with_both_files_lost_one_message_catches_up(box: Box, tree: Tree) -> None:
    """X02"""
    for number in range(20):
        tree.submit(ANA, f"ended {number}", CODE)
        tree.approve(ANA, f"ended {number}")
        tree.end(ANA, f"ended {number}", 0)
    for number in range(3):
        tree.submit(ANA, f"waiting {number}", CODE)
    box.look()
    box.new_mails()
    lose_ledger(box)
    lose_outbox(box)
    box.look()
    (mail,) = box.new_mails()

    assert mail.told == ("digest", "owner", OWNER)
    assert len(mail.entities) == 3


def test_a_ledger_that_cannot_be_saved_loses_nothing(box: Box, tree: Tree) -> None:
    """Between the outbox's transaction and the ledger's save: the next look finds the same, and tells it once."""
    tree.submit(ANA, "survey", CODE)
    in_the_way = box.home.root / "state.json.lock"
    in_the_way.unlink()
    in_the_way.mkdir()
    with pytest.raises(StateError):
        box.look()
    in_the_way.rmdir()
    box.look()
    box.look()

    assert len(box.mails()) == 2


def test_a_clock_that_jumps_floods_nobody(box: Box, tree: Tree) -> None:
    tree.submit(ANA, "survey", CODE)
    box.look()
    box.new_mails()
    for seconds in (-365 * 86400, 86400, 43200):
        box.clock.advance(seconds)
        box.look()

    assert box.new_mails() == []


def test_the_clock_is_the_one_that_is_handed_in(tmp_path_factory: pytest.TempPathFactory) -> None:
    box = Box(tmp_path_factory.mktemp("box"), clock=Clock(now=1_900_000_000.0))
    box.root.mkdir()
    box.configure()
    Tree(box.root, box.folder / "notes").grant(ANA)
    box.look()
    Tree(box.root, box.folder / "notes").submit(ANA, "survey", CODE)
    box.look()

    assert {str(mail.message["Date"]) for mail in box.mails()} == {"Sun, 17 Mar 2030 17:46:40 -0000"}


def test_a_lost_ledger_tells_no_old_fact_as_news(box: Box, tree: Tree) -> None:
    """X02: what the first look only marked is not in the outbox, and is not news either."""
    lose_ledger(box)
    lose_outbox(box)
    tree.submit(ANA, "survey", CODE)
    tree.approve(ANA, "survey")
    box.look()
    tree.end(ANA, "survey", 0)
    box.look()
    assert {mail.event for mail in box.new_mails()} == {"job_completed"}
    lose_ledger(box)
    box.look()

    assert box.new_mails() == []


def test_a_lost_ledger_of_many_ended_jobs_is_no_flood(box: Box, tree: Tree) -> None:
    """X02"""
    lose_ledger(box)
    lose_outbox(box)
    for number in range(30):
        tree.submit(ANA, f"ended {number}", CODE)
        tree.approve(ANA, f"ended {number}")
        tree.end(ANA, f"ended {number}", 0)
    box.look()
    tree.submit(ANA, "waiting", CODE)
    box.look()
    box.new_mails()
    lose_ledger(box)
    box.look()

    assert box.new_mails() == []


def test_a_lost_ledger_silences_no_rerun(box: Box) -> None:
    """X02: how often a job of an old layout ran is taken from the outbox."""
    disk = Disk(box.root, box.clock.time)
    job = TREES["B2"](disk)
    box.look()
    job.submit(name="survey")
    job.approve("survey")
    for _ in range(2):
        job.run("survey")
        box.clock.advance(10)
        box.look()
        job.rerun("survey")
        box.clock.advance(10)
        box.look()
    assert [mail.event for mail in box.new_mails()].count("job_completed") == 2
    lose_ledger(box)
    box.look()
    job.run("survey")
    box.clock.advance(10)
    box.look()

    assert [mail.event for mail in box.new_mails()] == ["job_completed"]


def test_an_outbox_that_is_removed_in_use_is_mended_at_the_next_look(box: Box, tree: Tree) -> None:
    """X01"""
    parts = box.parts()
    try:
        tree.submit(ANA, "survey", CODE)
        parts.run_once(box.clock.now)
        lose_outbox(box)
        tree.submit(ANA, "second", CODE)
        parts.run_once(box.clock.now)
    finally:
        parts.close()

    assert len(box.mails()) == 4
    assert len({str(mail.message["Message-ID"]) for mail in box.mails()}) == 4


def scan(box: Box, parts: App, *, after: float) -> ScanReport:
    """One scan of the same process, so many seconds after the last."""
    box.clock.advance(after)
    tick = parts.run_once(box.last_look)
    box.last_look = box.clock.now
    return tick


@pytest.fixture
def versioned(box: Box) -> VersionedReviewTree:
    """A tree after its first scan, with two known scientists."""
    tree = VersionedReviewTree(Disk(box.root))
    tree.grant(ANA)
    tree.grant(BO)
    box.look()
    return tree


def test_events_above_the_limit_of_a_submitter_are_noticed_in_the_next_minute(
    box: Box, versioned: VersionedReviewTree
) -> None:
    """A13: the jobs of other submitters are noticed at once, and no event is lost."""
    for number in range(EVENTS_PER_MINUTE + 30):
        versioned.submit(f"job-{number:03}", ANA)
    versioned.submit("honest", BO)
    with contextlib.closing(box.parts()) as parts:
        ticks = [scan(box, parts, after=after) for after in (10, 20, 40)]

    submitters = [[event.entity.split("/")[-2] for event in tick.events] for tick in ticks]
    assert sorted(map(unquote, submitters[0])) == [ANA] * EVENTS_PER_MINUTE + [BO]
    assert [(len(tick.events), tick.delayed) for tick in ticks] == [(EVENTS_PER_MINUTE + 1, 30), (0, 30), (30, 0)]
    assert len({event.key for tick in ticks for event in tick.events}) == EVENTS_PER_MINUTE + 31


def test_unverified_submitters_share_one_limit(box: Box) -> None:
    """A13, C1: whoever floods invents a submitter for each job."""
    tree = TREES["D"](Disk(box.root), adds_peers=False)
    tree.grant(ANA)
    box.look()
    for number in range(EVENTS_PER_MINUTE + 20):
        tree.submit("job", f"invented{number}@lab.example")
    tree.submit("honest", ANA)
    with contextlib.closing(box.parts()) as parts:
        ticks = [scan(box, parts, after=after) for after in (10, 60)]

    assert [(len(tick.events), tick.delayed) for tick in ticks] == [(EVENTS_PER_MINUTE + 1, 20), (20, 0)]


def test_job_submitted_again_at_every_scan_causes_no_more_events_than_the_limit(
    box: Box, versioned: VersionedReviewTree
) -> None:
    """A13: `submitted_at` is rewritten 400 times in 100 seconds; the last submission is noticed."""
    versioned.submit("restless", ANA)
    moments = [f"2027-01-15T08:{number // 60:02}:{number % 60:02}+00:00" for number in range(400)]
    config = versioned.place("restless", ANA) / "config.yaml"
    events: list[Event] = []
    with contextlib.closing(box.parts()) as parts:
        for moment in moments:
            settings = {**yaml.safe_load(config.read_text()), "submitted_at": moment}
            versioned.disk.write(config, yaml.safe_dump(settings))
            events += scan(box, parts, after=0.25).events
        events += scan(box, parts, after=60).events

    assert EVENTS_PER_MINUTE < len(events) <= 2 * EVENTS_PER_MINUTE + 1
    assert events[-1].occurrence == moments[-1]
