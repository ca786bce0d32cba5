"""Archived jobs are remembered from one process to the next, unless the cache may be wrong."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import StateError
from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import EventKind
from syftnotify.runtime.container import build_app
from syftnotify.services.settings import load
from syftnotify.store.ledger.index import Ledger
from tests.call_counts import count_file_calls
from tests.support import ANA, OWNER, Box, delete_outbox
from tests.trees import TREES, Disk, Tree

pytestmark = pytest.mark.check_only


HOUR = 3600.0
COUNT = 6


@pytest.fixture(params=["D", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("A", "B4"))])
def tree(box: Box, request: pytest.FixtureRequest) -> Tree:
    """Jobs that ended an hour before the first scan, which was an hour ago."""
    tree: Tree = TREES[request.param](Disk(box.root, box.clock.time))
    for number in range(COUNT):
        finish(tree, number)
    box.clock.advance(HOUR)
    scan_hourly(box)
    return tree


def finish(tree: Tree, number: int, *, code: int = 0) -> None:
    """Submit, approve and run a job, or run it again."""
    tree.submit(f"job-{number}", ANA)
    tree.approve(f"job-{number}", ANA)
    tree.run(f"job-{number}", ANA, code=code)


def scan_hourly(box: Box, times: int = 1) -> None:
    """Scan in a new process, and wait for an hour."""
    for _ in range(times):
        box.scan()
        box.clock.advance(HOUR)


def count_calls(box: Box, name: str = "open") -> int:
    """The number of calls of the file system in the scan of a new process."""
    with count_file_calls() as calls:
        scan_hourly(box)
    return calls[name]


def jobs_notified(box: Box, kind: str = "job_failed") -> list[str]:
    """The names of the jobs in the new mails about such events."""
    entities = {entity for mail in box.new_mails() if mail.event == kind for entity in mail.entities}
    return sorted(entity.rpartition("/")[2] for entity in entities)


def read_cache(box: Box) -> dict[str, Any]:
    return dict(json.loads(box.home.scan_cache.read_text()))


def change_cache(box: Box, **changes: Any) -> None:
    box.home.scan_cache.write_text(json.dumps({**read_cache(box), **changes}))


def test_scan_with_a_cache_opens_no_file_of_an_archived_job(box: Box, tree: Tree) -> None:
    cached = count_calls(box)
    box.home.scan_cache.unlink()

    assert cached + COUNT <= count_calls(box)


def test_scan_with_a_cache_lists_no_unchanged_folder(box: Box, tree: Tree) -> None:
    scan_hourly(box)
    cached = count_calls(box, "scandir")
    box.home.scan_cache.unlink()

    assert cached < count_calls(box, "scandir")


def test_scan_with_a_cache_detects_what_changed_meanwhile(box: Box, tree: Tree) -> None:
    tree.submit("waiting", ANA)
    box.clock.advance(HOUR)
    scan_hourly(box)
    box.new_mails()
    tree.approve("waiting", ANA)
    tree.submit("new", ANA)
    tree.delete("job-1", ANA)
    finish(tree, 3, code=9)
    box.clock.advance(HOUR)
    with count_file_calls() as calls:
        report = box.scan()
    box.clock.advance(HOUR)

    assert report.jobs == COUNT + 1
    assert {(event.payload["name"], event.kind) for event in report.events} >= {
        ("waiting", EventKind.JOB_APPROVED),
        ("new", EventKind.JOB_SUBMITTED),
    }
    assert jobs_notified(box) == ["job-3"]
    assert count_calls(box) < calls["open"], "what was read is cached again"


@pytest.mark.parametrize(
    "changes",
    [
        {"mark": ["0.0.1", "3.8", OWNER]},
        pytest.param({"edition": ["another", 1]}, marks=pytest.mark.thorough),
        pytest.param({"edition": None}, marks=pytest.mark.thorough),
        pytest.param({"shelves": {"A /x": [1]}}, marks=pytest.mark.thorough),
    ],
    ids=str,
)
def test_cache_that_cannot_be_used_is_replaced(box: Box, tree: Tree, changes: dict[str, Any]) -> None:
    """Every job is read once; nothing is notified again."""
    cached = count_calls(box)
    change_cache(box, **changes)

    assert count_calls(box) >= cached + COUNT
    assert count_calls(box) == cached
    assert box.new_mails() == []


def test_cache_younger_than_a_restored_state_file_is_discarded(box: Box, tree: Tree) -> None:
    """It would hide the second end of a job that the older state file lacks."""
    older = box.home.state.read_bytes()
    finish(tree, 5, code=1)
    box.clock.advance(HOUR)
    scan_hourly(box)
    box.new_mails()
    box.home.state.write_bytes(older)
    delete_outbox(box)
    box.scan()

    assert jobs_notified(box) == ["job-5"]


def test_entity_deleted_from_the_state_file_is_notified_again(box: Box, tree: Tree) -> None:
    state = json.loads(box.home.state.read_text())
    entity = next(name for name in state["notified"] if name.endswith("/job-5"))
    del state["notified"][entity]
    box.home.state.write_text(json.dumps(state))
    box.scan()

    assert entity in {name for mail in box.new_mails() for name in mail.entities}


@pytest.mark.parametrize("repaired_by", ["worker", "PeerMonitor"])
def test_end_in_a_lost_outbox_is_detected_again(box: Box, tree: Tree, repaired_by: str) -> None:
    """X01: of an archived job, also if a scan of peers alone finds the outbox lost and repairs the state file."""
    box.home.mail.write_text("not a folder")
    finish(tree, 2, code=4)
    box.clock.advance(HOUR)
    scan_hourly(box)
    box.home.mail.unlink()
    delete_outbox(box)
    if repaired_by == "PeerMonitor":
        app = build_app(load(box.home), with_jobs=False, clock=box.clock.time, monotonic=box.clock.monotonic)
        app.run_once(box.last_scan)
        app.close()
        box.clock.advance(HOUR)
    box.scan()

    assert jobs_notified(box) == ["job-2"]


@pytest.mark.parametrize("restarts", [True, False], ids=["restart", "same process"])
def test_rerun_after_the_root_was_missing_is_notified(box: Box, tree: Tree, restarts: bool) -> None:
    """The root returns unchanged; that all jobs are present again must be detected nevertheless."""
    if tree.layout == "A":
        pytest.skip("has no reruns")
    aside = box.folder / "aside"
    app = box.open_app()
    app.run_once(box.last_scan)
    box.root.rename(aside)
    app.run_once(box.last_scan)
    if restarts:
        app.close()
    aside.rename(box.root)
    app = box.open_app() if restarts else app
    for _ in range(2):
        box.clock.advance(HOUR)
        app.run_once(box.clock.now - 10)
    assert box.new_mails() == []
    tree.rerun("job-4", ANA)
    app.run_once(box.clock.now - 10)
    box.clock.advance(10)
    tree.run("job-4", ANA)
    for _ in range(3):
        box.clock.advance(10)
        app.run_once(box.clock.now - 10)
    app.close()

    assert jobs_notified(box, "job_completed") == ["job-4"]


def test_root_that_was_missing_and_is_copied_back_notifies_nothing(box: Box, tree: Tree) -> None:
    aside = box.folder / "aside"
    box.root.rename(aside)
    scan_hourly(box)
    shutil.copytree(aside, box.root)  # with new times
    box.clock.advance(HOUR)
    scan_hourly(box, times=2)

    assert box.new_mails() == []


def test_jobs_scanned_while_disabled_are_not_cached(box: Box, tree: Tree) -> None:
    """With `notify.enabled: false` nothing is recorded, so they must be read when it is on again."""
    box.configure({"notify": {"enabled": False}})
    finish(tree, 1, code=2)
    box.clock.advance(HOUR)
    scan_hourly(box)
    assert box.new_mails() == []
    box.configure()
    box.scan()

    assert jobs_notified(box) == ["job-1"]


def test_jobs_of_a_failed_scan_are_not_cached(box: Box, tree: Tree) -> None:
    """A worker that is stopped while the outbox cannot be written has recorded none of them."""
    app = box.open_app()
    app.run_once(box.last_scan)
    finish(tree, COUNT, code=3)
    box.clock.advance(HOUR)
    with refused_events(box.home.outbox), pytest.raises(StateError):
        app.run_once(box.last_scan)
    app.pipeline.sync_ledger()
    app.pipeline.save_scan_cache()
    app.close()
    box.clock.advance(HOUR)
    box.scan()

    assert jobs_notified(box) == [f"job-{COUNT}"]


def test_job_that_vanished_in_a_failed_scan_counts_as_missing(box: Box) -> None:
    """In layouts without times only the absence tells that a job that returns has not ended again."""
    tree: Tree = TREES["A"](Disk(box.root, box.clock.time))
    box.scan()
    finish(tree, 1)
    finish(tree, 2)
    box.clock.advance(HOUR)
    app = box.open_app()
    app.run_once(box.last_scan)
    box.new_mails()
    (stage,) = (path.parent for path in box.root.rglob("job-1") if path.is_dir())
    shutil.move(stage / "job-1", box.folder / "aside")
    finish(tree, 3)
    box.clock.advance(HOUR)
    with refused_events(box.home.outbox), pytest.raises(StateError):
        app.run_once(box.last_scan)
    box.clock.advance(HOUR)
    report = app.run_once(box.last_scan)
    app.close()

    assert {event.payload["name"] for event in report.events} == {"job-3"}
    assert [entity.rpartition("/")[2] for entity in Ledger(box.home.state).unstable_entities()] == ["job-1"]


@contextlib.contextmanager
def refused_events(outbox: Path) -> Iterator[None]:
    """The database refuses every event in this block."""
    with contextlib.closing(sqlite3.connect(outbox, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END")
        yield
        other.execute("DROP TRIGGER full")


def test_job_with_an_unusual_name_is_cached(box: Box) -> None:
    tree = TREES["D"](Disk(box.root, box.clock.time))
    name = "café \n'"
    tree.submit(name, ANA)
    tree.approve(name, ANA)
    tree.run(name, ANA)
    box.clock.advance(HOUR)
    scan_hourly(box)
    cached = count_calls(box)
    box.home.scan_cache.unlink()

    assert cached < count_calls(box)
    (columns,) = read_cache(box)["shelves"].values()
    assert columns[0] == [name]
    assert entity_id(name) in box.home.state.read_text()


def test_cache_is_written_only_if_a_job_was_archived(box: Box, tree: Tree) -> None:
    """Though every new process reads a job that waits."""
    tree.submit("waits", ANA)
    box.clock.advance(HOUR)
    scan_hourly(box)
    before = box.home.scan_cache.stat()
    scan_hourly(box, times=2)

    after = box.home.scan_cache.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    finish(tree, COUNT)
    scan_hourly(box, times=2)
    assert box.home.scan_cache.stat().st_mtime_ns != before.st_mtime_ns
