"""What a scan costs, in counts that no machine changes: file system calls, statements, saves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.sources.syftbox.archived_jobs import SECONDARY_CYCLE
from tests.call_counts import count_file_calls, record_statements
from tests.support import ANA, Box
from tests.trees import TREES, Disk, Tree

pytestmark = pytest.mark.check_only


HOUR = 3600.0
LAYOUTS = ["A", "D", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("B2", "B3", "B4", "C2"))]
FEW, MANY = 10, 30  # jobs


class Site:
    """A worker's parts beside a tree with jobs that ended an hour ago and were scanned three times since."""

    def __init__(self, box: Box, layout: str, count: int) -> None:
        self.box = box
        self.tree: Tree = TREES[layout](Disk(box.root, box.clock.time))
        for number in range(count):
            self.finish(f"job-{number:04}")
        box.clock.advance(HOUR)
        self.app = box.open_app()
        for _ in range(3):
            self.scan()

    def finish(self, name: str, code: int = 0) -> None:
        """Submit, approve and run a job, or run it again."""
        self.tree.submit(name, ANA)
        self.tree.approve(name, ANA)
        self.tree.run(name, ANA, code=code)

    def resubmit(self, name: str) -> str:
        """Overwrite the job's `config.yaml` in place, as a sync does; returns its path."""
        path = next(self.box.root.rglob(f"{name}/config.yaml"))
        content = re.sub("submitted_at: .*", "submitted_at: '2027-02-02T02:02:02+00:00'", path.read_text())
        self.tree.disk.write(path, content)
        return str(path)

    def scan(self, changed_paths: list[str] | None = None) -> int:
        """Scan once; returns the number of submissions that were detected."""
        self.box.clock.advance(HOUR / 10)
        now = self.box.clock.now
        report = self.app.pipeline.tick(now, last_scan=now - 60, changed_paths=changed_paths)
        return sum(event.kind is EventKind.JOB_SUBMITTED for event in report.events)


MakeSite = Callable[[str, int], Site]  # layout, number of jobs


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    sites: list[Site] = []

    def make(layout: str, count: int) -> Site:
        box = Box(tmp_path / f"{layout}-{count}")
        box.configure()
        sites.append(Site(box, layout, count))
        return sites[-1]

    yield make
    for site in sites:
        site.app.close()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scan_without_changes_stats_each_archived_job_once(make_site: MakeSite, layout: str) -> None:
    """And a second file of every eighth job; it reads none. All other calls do not depend on the number of jobs."""
    totals: list[int] = []
    for count in (FEW, MANY):
        site = make_site(layout, count)
        total = 0
        for _ in range(SECONDARY_CYCLE):
            with count_file_calls() as calls:
                site.scan()
            assert calls["read"] == 0
            assert calls["scandir"] <= 2  # the folders of old peer files and of emitted events
            total += calls["stat"] + calls["lstat"]
        totals.append(total)

    assert totals[1] - totals[0] == (MANY - FEW) * (SECONDARY_CYCLE + 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scan_with_one_change_opens_the_files_of_one_job(make_site: MakeSite, layout: str) -> None:
    opened: list[int] = []
    for count in (FEW, MANY):
        site = make_site(layout, count)
        site.finish("job-0007", code=3)
        site.box.clock.advance(10)
        with count_file_calls() as calls:
            site.scan()
        opened.append(calls["open"])

    # The hash seed decides whether any of the few jobs is in the slot of this scan; if not, a folder is not opened.
    assert opened[1] - opened[0] in {0, 1}


def test_scan_of_changed_paths_asks_for_no_other_job(make_site: MakeSite) -> None:
    totals: list[int] = []
    for count in (FEW, MANY):
        site = make_site("D", count)
        assert site.app.jobs is not None
        with count_file_calls() as calls:
            result = site.app.jobs.scan(changed_paths=[f"{site.box.root}/nowhere"])
        assert result.count == count
        totals.append(calls["stat"] + calls["lstat"])

    assert totals[0] == totals[1]


def test_scan_without_changes_takes_three_statements_and_no_save(make_site: MakeSite) -> None:
    site = make_site("D", FEW)
    site.tree.submit("waits", ANA)
    for _ in range(2):  # in the second one, its files are compared with the copy
        site.scan()
    revision = site.app.ledger.revision
    with record_statements() as statements:
        site.scan()

    # Three times the begin of a transaction and what other processes change: silences, alert rules, marks as read.
    assert statements == ["execute"] * 6
    assert site.app.ledger.revision == revision


@pytest.mark.parametrize(("is_new", "expected"), [(True, 27), (False, 20)], ids=["submissions that ran", "runs"])
@pytest.mark.parametrize("changed", [1, 7])
def test_scan_takes_one_save_and_the_same_statements_for_any_changes(
    make_site: MakeSite, changed: int, is_new: bool, expected: int
) -> None:
    site = make_site("D", FEW)
    site.finish("job-0009", code=5)  # the first mail to a recipient takes more statements
    site.scan()
    for number in range(changed):
        name = f"job-{number:04}"
        if is_new:
            site.finish(name, code=5)
        else:
            site.tree.run(name, ANA, code=5)
    site.box.clock.advance(10)
    before = site.app.ledger.revision
    with record_statements() as statements:
        site.scan()

    assert before is not None
    assert site.app.ledger.revision == (before[0], before[1] + 1)
    assert len(statements) == expected, statements


def test_first_scan_saves_the_ledger_once_before_delivery(box: Box) -> None:
    """And once after it."""
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    for number in range(30):
        tree.submit(f"job-{number}", ANA)
    box.clock.advance(HOUR)
    box.scan()
    app = box.open_app()
    revision = app.ledger.revision
    app.close()

    assert revision is not None
    assert revision[1] == 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scan_detects_submissions_overwritten_in_place_within_a_cycle(make_site: MakeSite, layout: str) -> None:
    site = make_site(layout, 9)
    for number in range(9):
        site.resubmit(f"job-{number:04}")

    assert sum(site.scan() for _ in range(SECONDARY_CYCLE)) == 9


@pytest.mark.parametrize("adds", [True, False], ids=["jobs added", "jobs deleted"])
def test_scan_detects_overwritten_submissions_while_others_change(make_site: MakeSite, adds: bool) -> None:
    """Jobs that come before them in the list are added or deleted during the cycle."""
    site = make_site("D", 9)
    for number in range(SECONDARY_CYCLE):
        site.finish(f"a-{number}")
    for _ in range(SECONDARY_CYCLE):
        site.scan()
    for number in range(9):
        site.resubmit(f"job-{number:04}")
    detected = 0
    for number in range(SECONDARY_CYCLE):
        if adds:
            site.finish(f"aa-{number}")
        else:
            site.tree.delete(f"a-{number}", ANA)
        detected += site.scan() - adds

    assert detected == 9


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scan_of_changed_paths_detects_an_overwritten_submission(make_site: MakeSite, layout: str) -> None:
    site = make_site(layout, 9)
    path = site.resubmit("job-0006")
    site.resubmit("job-0005")

    assert site.scan(changed_paths=[path]) == 1
    assert site.scan(changed_paths=[]) == 0
