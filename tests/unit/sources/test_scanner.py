"""The job scanner: files that it reads again, and changes while a scan lasts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from syftnotify.core.kinds import Status
from syftnotify.sources.syftbox.scanner import JobScanner
from tests.support import ANA, OWNER, Clock
from tests.trees import TREES, Disk, Tree


@pytest.fixture(params=sorted(TREES))
def tree(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Tree:
    return TREES[request.param](Disk(tmp_path, clock.time))


def submission_ids(scanner: JobScanner) -> list[str]:
    """The `submitted_at` of each job that a scan has read; one that did not change is not read."""
    result = scanner.scan()
    scanner.accept()
    return [job.submission_id for job in result.jobs]


def change_unnoticed(path: Path) -> None:
    """Write another `submitted_at` of the same size, with the same times and inode."""
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"submitted_at: '20", b"submitted_at: '19"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def test_scan_of_an_old_unchanged_file_does_not_read_it(tree: Tree, clock: Clock) -> None:
    """The same time, size and inode: not parsed again, until the time moves."""
    scanner = JobScanner(tree.disk.root, OWNER, clock=clock.time, monotonic=clock.monotonic)
    tree.submit()
    clock.advance(10)
    before = submission_ids(scanner)
    assert len(before) == 1
    assert submission_ids(scanner) == []
    config = tree.job_folder() / "config.yaml"
    change_unnoticed(config)
    clock.advance(10)
    assert submission_ids(scanner) == []
    tree.disk.set_mtime(config)
    clock.advance(10)
    after = submission_ids(scanner)
    assert len(after) == 1
    assert after != before


def test_scan_after_a_fresh_file_reads_it_again(tree: Tree, clock: Clock) -> None:
    """A second write in one clock tick leaves the same times, so a fresh file is read by the next scan, too."""
    scanner = JobScanner(tree.disk.root, OWNER, clock=clock.time, monotonic=clock.monotonic)
    tree.submit()
    clock.advance(0.5)
    before = submission_ids(scanner)
    assert len(before) == 1
    change_unnoticed(tree.job_folder() / "config.yaml")
    clock.advance(5)
    after = submission_ids(scanner)
    assert len(after) == 1
    assert after != before


def statuses(scanner: JobScanner, clock: Clock, *, scans: int) -> set[tuple[str, Status]]:
    """What so many scans, a minute apart, find of jobs."""
    found = set()
    for _ in range(scans):
        result = scanner.scan()
        scanner.accept()
        found |= {(job.name, job.status) for job in result.jobs}
        clock.advance(60)
    return found


def test_scan_of_a_folder_replaced_meanwhile_reads_it_again(tmp_path: Path, clock: Clock) -> None:
    """A restore puts another one in its place: the content of the old one does not belong to the times of the new."""
    tree = TREES["D"](Disk(tmp_path, clock.time))
    for name in ("a", "b"):
        tree.submit(name, ANA)
        tree.approve(name, ANA)
    clock.advance(60)
    review, calls = tree.results_folder("a", ANA).parent, 0
    shutil.copytree(review, review.with_name("old"))
    tree.run("b", ANA)
    review.rename(review.with_name("new"))
    review.with_name("old").rename(review)
    clock.advance(3600)

    def monotonic() -> float:
        """Called at the beginning, and before each job is read."""
        nonlocal calls
        calls += 1
        if calls == 3:  # `a` was read in the old one
            review.rename(review.with_name("old"))
            review.with_name("new").rename(review)
        return clock.monotonic()

    scanner = JobScanner(tmp_path, OWNER, clock=clock.time, monotonic=monotonic)

    assert ("b", Status.DONE) in statuses(scanner, clock, scans=6)


def test_scan_finds_a_marker_of_the_same_instant(tmp_path: Path, clock: Clock) -> None:
    """A folder's time is as coarse as the kernel's clock: what was read right after its last change is read again."""
    tree = TREES["B4"](Disk(tmp_path, clock.time))
    for name in ("a", "b", "c"):
        tree.submit(name, ANA)
    clock.advance(3600)
    place, calls = tree.job_folder("b", ANA), 0

    def monotonic() -> float:
        """Called at the beginning, and before each job is read."""
        nonlocal calls
        calls += 1
        if calls == 3:  # what comes before `b` took three seconds
            clock.advance(3.0)
            tree.approve("b", ANA)
        elif calls == 4:
            found = place.stat()
            (place / "done").touch()
            (place / "returncode.txt").write_text("0")
            os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))
        return clock.monotonic()

    scanner = JobScanner(tmp_path, OWNER, clock=clock.time, monotonic=monotonic)

    assert {("b", Status.APPROVED), ("b", Status.DONE)} <= statuses(scanner, clock, scans=4)
