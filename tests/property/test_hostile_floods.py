"""Very many files and jobs in a short time (X11, X12)."""

from __future__ import annotations

import itertools
import os
import shutil
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from syftnotify.sources.syftbox.scanner import JobScanner
from tests.harmless import assert_harmless
from tests.property.hostile import (
    ABE,
    HONEST,
    live,
    submissions,
    submit_quickly,
)
from tests.scanning import on
from tests.support import BO, OWNER, Box, Mail
from tests.trees import TREES, Disk, Tree

pytestmark = pytest.mark.thorough

FILES = 50_000  # in one folder
JOBS = 1_000  # in one minute


@pytest.mark.parametrize(
    ("tree", "where"),
    [("A", ""), ("B4", ""), ("D", ""), ("D", "code")],
    indirect=["tree"],
    ids=["A", "B4", "D", "D, code"],
)
def test_folder_of_50_000_files_stops_no_other_job(box: Box, tree: Tree, where: str) -> None:
    """X11"""
    tree.submit("job", ABE)
    folder = tree.job_folder("job", ABE) / where
    for number in range(FILES):
        os.close(os.open(folder / f"file-{number}", os.O_WRONLY | os.O_CREAT, 0o600))
    tree.disk.set_mtime(folder)
    mails = live(box, tree)
    assert tree.entity("job", ABE) in submissions(mails)
    assert all(mail.path.stat().st_size < 200_000 for mail in mails)
    shutil.rmtree(folder)  # else pytest keeps three of them


def grown(box: Box) -> int:
    """Bytes of the outbox, its log included."""
    return sum(path.stat().st_size for path in box.home.root.glob("outbox.db*"))


@on("A", "B2", "D")
def test_very_long_submitters_do_not_fill_the_disk(box: Box, tree: Tree) -> None:
    """X11: what a message cannot show is not stored: 5,000 such jobs would be a gigabyte."""
    before = grown(box)
    for number in range(10):
        tree.submit(f"job-{number}", ABE, config={"submitted_by": "y" * 250_000})
    live(box, tree, moments=[65])
    assert grown(box) - before < 1_000_000


@on("D")
@pytest.mark.parametrize("letter", ["😀", "\x1b"], ids=["wide", "control"])
def test_code_of_many_bytes_does_not_fill_the_disk(box: Box, tree: Tree, letter: str) -> None:
    """X11: the code of 200 jobs by one peer is kept, which must stay below 100 MB together."""
    before = grown(box)
    code = letter * (51_200 // len(letter.encode()))
    tree.submit("job", ABE, files={f"file-{number}.py": code for number in range(10)})
    live(box, tree, moments=[65])
    assert grown(box) - before < 100_000_000 // 200


@dataclass
class Flood:
    """Thousands of jobs by one peer in one minute; an honest peer sends one in the middle of it."""

    box: Box
    tree: Tree
    batches: int = 5
    every: float = 12.0  # seconds
    began: float = 0.0
    events: list[int] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [f"a-{number:04}" for number in range(JOBS)]

    def submit(self) -> None:
        self.began = self.box.clock.now
        for batch in range(self.batches):
            for name in self.names[batch :: self.batches]:
                submit_quickly(self.tree, name)
            self.tree.disk.set_mtime(self.tree.job_folder(self.names[0], ABE).parent)
            if batch == self.batches // 2:
                self.tree.submit(HONEST, BO)
            self.box.clock.advance(self.every)
            self.events.append(len(self.box.scan().events))

    def finish(self) -> None:
        """Scan every minute until every event is detected: at most 100 a minute of one submitter are."""
        while sum(self.events) <= len(self.names):
            self.box.clock.advance(60)
            self.events.append(len(self.box.scan().events))
            assert self.events[-1], "some event is detected in each minute"

    def entities(self) -> set[str]:
        return {self.tree.entity(name, ABE) for name in self.names}


@on("A", "D")
def test_flood_of_jobs_hides_no_other_job(box: Box, tree: Tree) -> None:
    """X11, X12: at most 200 single messages in ten minutes and one digest, the honest job first in it; none is lost."""
    flood = Flood(box, tree)
    flood.submit()
    honest = tree.entity(HONEST, BO)
    assert max(flood.events) <= 101, "100 of one submitter in a scan of a new process, and the honest one"

    owners = [mail for mail in box.mails() if mail.to == OWNER]
    assert len([mail for mail in owners if mail.event != "digest"]) <= 200
    assert len([mail for mail in owners if mail.event == "digest"]) <= 1
    flood.finish()
    assert sum(flood.events) == len(flood.names) + 1, "each is detected once"
    spans = 1 + (box.clock.now - flood.began) // 600  # of ten minutes

    for _ in range(3):
        box.clock.advance(600)
        assert box.scan().events == []
    assert grown(box) < 100_000_000
    mails = box.mails()
    for mail in mails:
        assert_harmless(mail, {OWNER, ABE, BO})
    owners = [mail for mail in mails if mail.to == OWNER]
    assert len([mail for mail in owners if mail.event != "digest"]) <= 200 * spans
    assert len([mail for mail in owners if mail.event == "digest"]) <= spans + 3, "one in ten minutes"
    assert_each_is_notified_once(owners, [*flood.entities(), honest])
    with_honest = next(mail for mail in owners if honest in mail.entities)
    assert with_honest.entities[0] == honest
    lines = with_honest.text.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith(('"', '- "')))  # a title or a row
    assert HONEST in lines[first]
    assert any(BO in line for line in lines[: first + 2])

    assert Counter(entity for mail in mails if mail.to == BO for entity in mail.entities) == Counter([honest])
    to_abe = [mail for mail in mails if mail.to == ABE]
    assert_each_is_notified_once(to_abe, flood.entities())
    assert len(to_abe) <= (200 + 1) * spans + 3
    app = box.open_app()
    try:
        assert app.outbox.history.counts().waiting == 0
    finally:
        app.close()


def assert_each_is_notified_once(mails: list[Mail], entities: Collection[str]) -> None:
    """A digest names in its headers as many entities as fit, and counts all."""
    named = Counter(entity for mail in mails for entity in mail.entities)
    assert set(named) <= set(entities)
    assert max(named.values()) == 1
    assert sum(int(mail.message.get("X-SyftNotify-Items", "1")) for mail in mails) == len(entities)


@on("A", "D")
def test_scan_reads_first_what_the_last_one_had_no_time_for(box: Box, tree: Tree) -> None:
    """X11: submissions that change before each scan are read by each scan, and delay no other for ever."""
    changing = [f"a-{number:02}" for number in range(20)]
    for name in changing:
        tree.submit(name, ABE)
    honest = [HONEST] if tree.layout == "A" else [f"{HONEST}-{number:02}" for number in range(25)]
    for name in honest:
        tree.submit(name, BO)
    ticks = itertools.count()  # each call is a tenth of a second after the last
    scanner = JobScanner(box.root, OWNER, clock=box.clock.time, monotonic=lambda: next(ticks) / 10)
    seen: set[str] = set()
    for _ in range(30):
        box.clock.advance(1)
        tree.disk.set_mtime(*(tree.job_folder(name, ABE) / "config.yaml" for name in changing))
        result = scanner.scan(seconds=1.0)
        scanner.accept()
        seen |= {job.entity for job in result.jobs if job.facts}
    assert seen >= {tree.entity(name, BO) for name in honest}


@pytest.mark.parametrize(("count", "name"), [(1_000, "é" * 125), (5_100, "job")], ids=["long names", "many"])
def test_digest_of_a_flood_is_within_the_limits_of_gmail(box: Box, count: int, name: str) -> None:
    """X11: a digest refused for its size would lose the honest job in it.

    Limits: https://support.google.com/a/answer/14016360
    """
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.submit(HONEST, BO)
    for number in range(count):
        submit_quickly(tree, f"{number:04}-{name}")
    box.clock.advance(10)
    box.scan()
    mails = box.mails()
    assert [mail.message["X-SyftNotify-Items"] for mail in mails] == [str(count + 1)]
    assert tree.entity(HONEST, BO) in mails[0].entities
    assert HONEST in mails[0].text
    for mail in mails:
        fields = [(key, str(value)) for key, value in mail.message.items()]
        assert len(fields) < 5_000
        assert sum(len(key) + len(value) + 4 for key, value in fields) < 500_000
        assert all(len(value) < 32_000 for _, value in fields)
