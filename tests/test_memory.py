"""What is known of jobs at rest outlives the process, and is never believed when in doubt."""

from __future__ import annotations

import contextlib
import json
import logging
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
from tests.support import ANA, OWNER, Box, lose_outbox
from tests.test_costs import counted
from tests.trees import TREES, Disk, Tree

HOUR = 3600.0
COUNT = 12


@pytest.fixture(params=["A", "B4", "D"])
def tree(box: Box, request: pytest.FixtureRequest) -> Tree:
    """Twelve jobs that ended an hour before the first look, which was an hour ago."""
    tree: Tree = TREES[request.param](Disk(box.root, box.clock.time))
    for number in range(COUNT):
        end(tree, number)
    box.clock.advance(HOUR)
    box.look()
    box.clock.advance(HOUR)
    return tree


def end(tree: Tree, number: int, *, code: int = 0) -> None:
    tree.submit(f"job-{number}", ANA)
    tree.approve(f"job-{number}", ANA)
    tree.run(f"job-{number}", ANA, code=code)


def opened(box: Box) -> int:
    """How many files a look of a fresh process opens."""
    with counted() as calls:
        box.look()
    box.clock.advance(HOUR)
    return calls["open"]


def failures(box: Box) -> list[str]:
    return told(box, "job_failed")


def told(box: Box, event: str) -> list[str]:
    return sorted({name for mail in box.new_mails() if mail.event == event for name in mail.entities})


def rewrite(box: Box, **changes: Any) -> None:
    """Change the file."""
    box.home.scan_cache.write_text(json.dumps({**json.loads(box.home.scan_cache.read_text()), **changes}))


def test_the_next_process_opens_no_file_of_a_job_at_rest(box: Box, tree: Tree) -> None:
    with_memory = opened(box)
    box.home.scan_cache.unlink()

    assert with_memory + COUNT <= opened(box)


def test_nor_lists_folders_in_which_names_neither_came_nor_went(box: Box, tree: Tree) -> None:
    def listed() -> int:
        with counted() as calls:
            box.look()
        box.clock.advance(HOUR)
        return calls["scandir"]

    listed()
    with_memory = listed()
    box.home.scan_cache.unlink()

    assert with_memory < listed()


def test_what_came_went_or_went_on_meanwhile_is_seen(box: Box, tree: Tree) -> None:
    tree.submit("waiting", ANA)
    box.clock.advance(HOUR)
    box.look()
    box.new_mails()
    box.clock.advance(HOUR)
    tree.approve("waiting", ANA)
    tree.submit("new", ANA)
    tree.delete("job-1", ANA)
    box.clock.advance(HOUR)
    tick = box.look()

    assert tick.jobs == COUNT + 1
    assert {(event.payload["name"], event.kind) for event in tick.events} >= {
        ("waiting", EventKind.JOB_APPROVED),
        ("new", EventKind.JOB_SUBMITTED),
    }


@pytest.mark.parametrize("wrong", [[1, 2], ["a", "b", "c"], None, 7])
def test_a_folder_that_would_not_be_known_again_costs_a_whole_reading(box: Box, tree: Tree, wrong: Any) -> None:
    quiet = opened(box)
    shelves = json.loads(box.home.scan_cache.read_text())["shelves"]
    rewrite(box, shelves={key: [*known[:3], wrong, *known[4:]] for key, known in shelves.items()})

    assert opened(box) >= quiet + COUNT
    assert opened(box) == quiet


def test_what_changed_meanwhile_is_read(box: Box, tree: Tree) -> None:
    end(tree, 3, code=9)
    box.clock.advance(HOUR)
    quiet = opened(box)
    failed = failures(box)

    assert [name.rpartition("/")[2] for name in failed] == ["job-3"]
    assert opened(box) < quiet


@pytest.mark.parametrize(
    "changes",
    [
        {"mark": ["0.0.1", "3.8", OWNER]},
        {"edition": ["another", 1]},
        {"edition": None},
        {"shelves": {"A /x": [1]}},
        {"mark": 3},
    ],
)
def test_what_belongs_to_something_else_is_not_believed(box: Box, tree: Tree, changes: dict[str, Any]) -> None:
    quiet = opened(box)
    rewrite(box, **changes)

    assert opened(box) >= quiet + COUNT
    assert opened(box) == quiet


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\0" * 100, b'{"mark": ' * 2000])
def test_a_damaged_file_costs_a_whole_reading(
    box: Box, tree: Tree, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    quiet = opened(box)
    box.home.scan_cache.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert opened(box) >= quiet + COUNT

    assert "every job is read again" in caplog.text
    assert opened(box) == quiet
    assert box.new_mails() == []


@pytest.mark.parametrize("wrong", ["text", None, 1.5, 2**70])
def test_columns_that_hold_no_fingerprints_cost_a_whole_reading(box: Box, tree: Tree, wrong: Any) -> None:
    quiet = opened(box)
    shelves = json.loads(box.home.scan_cache.read_text())["shelves"]
    rewrite(box, shelves={key: [names, [wrong] * len(names), *more] for key, (names, _, *more) in shelves.items()})

    assert opened(box) >= quiet + COUNT
    assert opened(box) == quiet


def test_an_older_state_file_that_is_put_back_hears_of_what_it_lacks(box: Box, tree: Tree) -> None:
    """The memory is younger than it, and would hide the second end of a job that it knows."""
    older = box.home.state.read_bytes()
    end(tree, 5, code=1)
    box.clock.advance(HOUR)
    box.look()
    box.new_mails()
    box.clock.advance(HOUR)
    box.home.state.write_bytes(older)
    lose_outbox(box)
    box.look()

    assert [name.rpartition("/")[2] for name in failures(box)] == ["job-5"]


def test_an_entity_that_a_person_takes_out_of_the_state_file_is_told_again(box: Box, tree: Tree) -> None:
    state = json.loads(box.home.state.read_text())
    entity = next(name for name in state["notified"] if name.endswith("/job-7"))
    del state["notified"][entity]
    box.home.state.write_text(json.dumps(state))
    box.look()

    assert entity in {name for mail in box.new_mails() for name in mail.entities}


def test_an_end_that_was_owed_is_noticed_again_when_the_outbox_is_lost(box: Box, tree: Tree) -> None:
    """X01, of a job at rest that the next process would not read."""
    box.home.mail.rename(box.home.root / "put-by") if box.home.mail.exists() else None
    box.home.mail.write_text("in the way")
    end(tree, 2, code=4)
    box.clock.advance(HOUR)
    box.look()
    box.home.mail.unlink()
    box.clock.advance(HOUR)
    lose_outbox(box)
    box.look()

    assert [name.rpartition("/")[2] for name in failures(box)] == ["job-2"]


def test_and_when_others_met_the_lost_outbox_first(box: Box, tree: Tree) -> None:
    """A `PeerMonitor` mends the state file; what it takes out is news to the next who looks at jobs."""
    box.home.mail.write_text("in the way")
    end(tree, 2, code=4)
    box.clock.advance(HOUR)
    box.look()
    box.home.mail.unlink()
    lose_outbox(box)
    parts = build_app(load(box.home), with_jobs=False, clock=box.clock.time, monotonic=box.clock.monotonic)
    parts.run_once(box.last_look)
    parts.close()
    box.clock.advance(HOUR)
    box.look()

    assert [name.rpartition("/")[2] for name in failures(box)] == ["job-2"]


@pytest.mark.parametrize("restarts", [True, False])
def test_a_short_rerun_after_the_root_was_away_is_told(box: Box, tree: Tree, restarts: bool) -> None:
    """It comes back as it was, so nothing in it changed: that all is there again must be seen all the same."""
    if tree.layout == "A":
        pytest.skip("knows no rerun")
    aside = box.folder / "aside"
    parts = box.parts()
    parts.run_once(box.last_look)
    box.root.rename(aside)
    parts.run_once(box.last_look)
    if restarts:
        parts.close()
    aside.rename(box.root)
    parts = box.parts() if restarts else parts
    for _ in range(2):
        box.clock.advance(HOUR)
        parts.run_once(box.clock.now - 10)
    assert box.new_mails() == []
    tree.rerun("job-4", ANA)
    parts.run_once(box.clock.now - 10)
    box.clock.advance(10)
    tree.run("job-4", ANA)
    for _ in range(3):
        box.clock.advance(10)
        parts.run_once(box.clock.now - 10)
    parts.close()

    assert [name.rpartition("/")[2] for name in told(box, "job_completed")] == ["job-4"]


def test_what_was_only_counted_is_not_remembered(box: Box, tree: Tree) -> None:
    """With the master switch off nothing is noted, so it must be read when it is on again."""
    box.configure({"notify": {"enabled": False}})
    end(tree, 1, code=2)
    box.clock.advance(HOUR)
    box.look()
    assert box.new_mails() == []
    box.configure()
    box.clock.advance(HOUR)
    box.look()

    assert [name.rpartition("/")[2] for name in failures(box)] == ["job-1"]


def test_what_a_failed_look_read_is_not_remembered(box: Box, tree: Tree) -> None:
    """A worker that is told to stop while the outbox cannot be written has noted nothing of it."""
    parts = box.parts()
    parts.run_once(box.last_look)
    end(tree, COUNT, code=3)
    box.clock.advance(HOUR)
    with takes_no_events(box.home.outbox), pytest.raises(StateError):
        parts.run_once(box.last_look)
    parts.pipeline.sync_ledger()
    parts.pipeline.save_scan_cache()
    parts.close()
    box.clock.advance(HOUR)
    box.look()

    assert [name.rpartition("/")[2] for name in failures(box)] == [f"job-{COUNT}"]


def test_a_job_that_went_while_the_outbox_could_not_be_written_is_missed_afterwards(box: Box) -> None:
    """When it comes back it has not ended once more: only its absence tells the layouts without times."""
    tree: Tree = TREES["A"](Disk(box.root, box.clock.time))
    box.look()
    end(tree, 1)
    end(tree, 2)
    box.clock.advance(HOUR)
    parts = box.parts()
    parts.run_once(box.last_look)
    box.new_mails()
    (stage,) = (path.parent for path in box.root.rglob("job-1") if path.is_dir())
    shutil.move(stage / "job-1", box.folder / "aside")
    end(tree, 3)
    box.clock.advance(HOUR)
    with takes_no_events(box.home.outbox), pytest.raises(StateError):
        parts.run_once(box.last_look)
    box.clock.advance(HOUR)
    tick = parts.run_once(box.last_look)
    parts.close()

    assert {event.payload["name"] for event in tick.events} == {"job-3"}
    assert [entity.rpartition("/")[2] for entity in Ledger(box.home.state).unstable_entities()] == ["job-1"]


@contextlib.contextmanager
def takes_no_events(outbox: Path) -> Iterator[None]:
    """SQLite itself refuses every event meanwhile."""
    with contextlib.closing(sqlite3.connect(outbox, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END")
        yield
        other.execute("DROP TRIGGER full")


def test_a_tree_that_is_gone_and_came_back_is_told_nothing_twice(box: Box, tree: Tree) -> None:
    aside = box.folder / "aside"
    box.root.rename(aside)
    box.look()
    box.clock.advance(HOUR)
    shutil.copytree(aside, box.root)  # with new times
    box.clock.advance(HOUR)
    box.look()
    box.clock.advance(HOUR)
    box.look()

    assert box.new_mails() == []


def test_strange_names_are_remembered(box: Box) -> None:
    tree = TREES["D"](Disk(box.root, box.clock.time))
    strange = "café \n'"
    tree.submit(strange, ANA)
    tree.approve(strange, ANA)
    tree.run(strange, ANA)
    box.clock.advance(HOUR)
    box.look()
    box.clock.advance(HOUR)
    first = opened(box)
    box.home.scan_cache.unlink()

    assert first < opened(box)
    (columns,) = json.loads(box.home.scan_cache.read_bytes())["shelves"].values()
    assert columns[0] == [strange]
    assert entity_id(strange) in box.home.state.read_text()


def test_a_check_in_which_nothing_came_to_rest_writes_nothing(box: Box, tree: Tree) -> None:
    """Though a job that waits is read by each new process."""
    tree.submit("waits", ANA)
    box.clock.advance(HOUR)
    box.look()
    box.clock.advance(HOUR)
    before = box.home.scan_cache.stat()
    box.look()
    box.clock.advance(HOUR)
    box.look()

    assert (box.home.scan_cache.stat().st_ino, box.home.scan_cache.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )
    end(tree, COUNT)
    box.clock.advance(HOUR)
    box.look()
    assert box.home.scan_cache.stat().st_mtime_ns != before.st_mtime_ns
