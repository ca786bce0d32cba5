"""What a look costs, in counts that no machine disturbs: files asked for, statements, saves."""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.sources.syftbox.archived_jobs import SECONDARY_CYCLE
from tests.support import ANA, Box
from tests.trees import TREES, Disk, Tree

# What asks the file system, by the name of the call.
_ASKING = {getattr(os, name): name for name in ("stat", "lstat", "scandir", "open", "read")}
HOUR = 3600.0


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """The calls of the block that ask the file system."""
    calls: Counter[str] = Counter()

    def note(_frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and argument in _ASKING:
            calls[_ASKING[argument]] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@contextmanager
def statements() -> Iterator[list[str]]:
    """How the driver was asked in the block, for one row or for many; what begins a transaction counts, too."""
    asked: list[str] = []

    def note(_frame: FrameType, event: str, argument: Any) -> None:
        is_asked = isinstance(getattr(argument, "__self__", None), sqlite3.Cursor)
        if event == "c_call" and is_asked and argument.__name__.startswith("execute"):
            asked.append(argument.__name__)

    sys.setprofile(note)
    try:
        yield asked
    finally:
        sys.setprofile(None)


class Home:
    """A home at work beside a tree in which jobs have ended, an hour ago."""

    def __init__(self, box: Box, layout: str, count: int) -> None:
        self.box = box
        self.tree: Tree = TREES[layout](Disk(box.root, box.clock.time))
        for number in range(count):
            self.end(f"job-{number:04}")
        box.clock.advance(HOUR)
        self.parts = box.parts()
        for _ in range(3):
            self.look()

    def end(self, name: str, code: int = 0) -> None:
        self.tree.submit(name, ANA)
        self.tree.approve(name, ANA)
        self.tree.run(name, ANA, code=code)

    def look(self) -> None:
        self.box.clock.advance(HOUR / 10)
        self.parts.pipeline.tick(self.box.clock.now, last_scan=self.box.clock.now - 60)


@pytest.fixture
def home_of(tmp_path: Any) -> Iterator[Callable[[str, int], Home]]:
    made: list[Home] = []

    def make(layout: str, count: int) -> Home:
        box = Box(tmp_path / f"{layout}-{count}")
        box.configure()
        made.append(Home(box, layout, count))
        return made[-1]

    yield make
    for home in made:
        home.parts.close()


LAYOUTS = ["A", "B2", "B3", "B4", "C2", "D"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_quiet_look_asks_once_for_each_job_that_rests_and_opens_none(
    home_of: Callable[[str, int], Home], layout: str
) -> None:
    """And for a second file of every eighth. What is not a job's is asked for as often, however many there are."""
    asked: list[int] = []
    for count in (20, 60):
        home = home_of(layout, count)
        total = 0
        for _ in range(SECONDARY_CYCLE):
            with counted() as calls:
                home.look()
            assert calls["read"] == 0
            assert calls["scandir"] <= 2  # the folders of old peer files and of emitted events
            total += calls["stat"] + calls["lstat"]
        asked.append(total)

    assert asked[1] - asked[0] == 40 * (SECONDARY_CYCLE + 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_change_among_many_opens_the_files_of_one_job(home_of: Callable[[str, int], Home], layout: str) -> None:
    opened: list[int] = []
    for count in (20, 60):
        home = home_of(layout, count)
        home.end("job-0007", code=3)
        home.box.clock.advance(10)
        with counted() as calls:
            home.look()
        opened.append(calls["open"])

    # The hash seed decides whether any of the 20 jobs is in the slot of this scan; if not, a folder is not opened.
    assert opened[1] - opened[0] in {0, 1}


def test_a_wake_up_that_says_where_asks_for_no_other_job(home_of: Callable[[str, int], Home]) -> None:
    asked: list[int] = []
    for count in (20, 60):
        home = home_of("D", count)
        assert home.parts.jobs is not None
        with counted() as calls:
            look = home.parts.jobs.scan(changed_paths=[f"{home.box.root}/nowhere"])
        assert look.count == count
        asked.append(calls["stat"] + calls["lstat"])

    assert asked[0] == asked[1]


def test_a_quiet_look_takes_one_statement_and_no_save(home_of: Callable[[str, int], Home]) -> None:
    home = home_of("D", 10)
    edition = home.parts.ledger.revision
    with statements() as asked:
        home.look()

    assert asked == ["execute"] * 2  # it begins, and asks for rules about jobs
    assert home.parts.ledger.revision == edition


@pytest.mark.parametrize("changed", [1, 7])
def test_a_look_with_news_saves_once_and_takes_as_many_statements_for_one_as_for_seven(
    home_of: Callable[[str, int], Home], changed: int
) -> None:
    home = home_of("D", 10)
    home.end("job-0009", code=5)  # who is mailed for the first time takes more
    home.look()
    for number in range(changed):
        home.end(f"job-{number:04}", code=5)
    home.box.clock.advance(10)
    before = home.parts.ledger.revision
    with statements() as asked:
        home.look()

    assert before is not None
    assert home.parts.ledger.revision == (before[0], before[1] + 1)
    assert len(asked) == 12, asked


def test_the_first_look_saves_once(box: Box) -> None:
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    for number in range(30):
        tree.submit(f"job-{number}", ANA)
    box.clock.advance(HOUR)
    box.look()
    parts = box.parts()
    try:
        edition = parts.ledger.revision
        assert edition is not None
        assert edition[1] == 2  # what is owed, and that it was sent
    finally:
        parts.close()


def resubmit(home: Home, name: str) -> str:
    """Write the same name's `config.yaml` over, in place, as a sync does; returns its path."""
    path = next(home.box.root.rglob(f"{name}/config.yaml"))
    home.tree.disk.write(
        path, re.sub("submitted_at: .*", "submitted_at: '2027-02-02T02:02:02+00:00'", path.read_text())
    )
    return str(path)


def submissions(home: Home, where: list[str] | None = None) -> int:
    home.box.clock.advance(HOUR / 10)
    now = home.box.clock.now
    tick = home.parts.pipeline.tick(now, last_scan=now - 60, changed_paths=where)
    return sum(event.kind is EventKind.JOB_SUBMITTED for event in tick.events)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_submission_that_is_written_over_in_place_is_seen_within_four_looks(
    home_of: Callable[[str, int], Home], layout: str
) -> None:
    home = home_of(layout, 9)
    for number in range(9):
        resubmit(home, f"job-{number:04}")

    assert sum(submissions(home) for _ in range(SECONDARY_CYCLE)) == 9


@pytest.mark.parametrize("coming", [True, False])
def test_and_while_others_come_or_go_before_it(home_of: Callable[[str, int], Home], coming: bool) -> None:
    home = home_of("D", 9)
    for number in range(SECONDARY_CYCLE):
        home.end(f"a-{number}")
    for _ in range(SECONDARY_CYCLE):
        submissions(home)
    for number in range(9):
        resubmit(home, f"job-{number:04}")
    seen = 0
    for number in range(SECONDARY_CYCLE):
        if coming:
            home.end(f"aa-{number}")
        else:
            home.tree.delete(f"a-{number}", ANA)
        seen += submissions(home) - coming

    assert seen == 9


@pytest.mark.parametrize("layout", LAYOUTS)
def test_and_at_once_when_a_wake_up_says_where(home_of: Callable[[str, int], Home], layout: str) -> None:
    home = home_of(layout, 9)
    path = resubmit(home, "job-0006")
    resubmit(home, "job-0005")

    assert submissions(home, where=[path]) == 1
    assert submissions(home, where=[]) == 0
