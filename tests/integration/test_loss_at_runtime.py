"""What a running worker does when its files or its lock become unusable between two scans."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify.core.errors import LockLostError, StateError
from syftnotify.runtime.container import App
from syftnotify.runtime.worker import Worker
from syftnotify.services.settings import load
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_lock
from tests.support import ANA, Box
from tests.trees import TREES, Disk, Tree


@pytest.fixture
def tree(box: Box) -> Tree:
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    return tree


@pytest.fixture
def app(box: Box, tree: Tree) -> Iterator[App]:
    """An app after its baseline scan."""
    app = box.open_app()
    scan(box, app)
    yield app
    app.close()


def scan(box: Box, app: App) -> None:
    """Scan and deliver as the loop of the worker does."""
    box.clock.advance(60)
    app.pipeline.tick(box.clock.now, last_scan=box.last_scan)
    app.dispatcher.drain()
    app.pipeline.sync_ledger()
    box.last_scan = box.clock.now


def test_outbox_damaged_while_in_use_is_repaired_by_the_next_scan(box: Box, tree: Tree, app: App) -> None:
    """X02"""
    tree.submit("before")
    scan(box, app)
    assert isinstance(app.outbox, SqliteOutbox)
    app.outbox._file._engine.dispose()
    content = bytearray(box.home.outbox.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    box.home.outbox.write_bytes(content)
    for end in ("-wal", "-shm"):
        box.home.outbox.with_name(f"outbox.db{end}").unlink(missing_ok=True)

    with pytest.raises(StateError):
        scan(box, app)
    box.new_mails()
    tree.submit("after")
    scan(box, app)

    assert {mail.entities[0] for mail in box.new_mails()} == {tree.entity("after")}
    assert list(box.home.root.glob("outbox.db.damaged-*"))


def test_loss_is_repaired_although_the_first_recovery_fails(
    box: Box, tree: Tree, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X01: what is still true is detected again."""
    tree.submit("owed")
    box.clock.advance(60)
    app.pipeline.tick(box.clock.now, last_scan=box.last_scan)
    for path in box.home.root.glob("outbox.db*"):
        path.unlink()
    blocker = sqlite3.connect(box.home.outbox, isolation_level=None)
    blocker.close()
    with monkeypatch.context() as patch:
        patch.setattr(app.outbox.queue, "recover", fail)
        with pytest.raises(StateError):
            scan(box, app)

    scan(box, app)

    assert {mail.entities[0] for mail in box.new_mails()} == {tree.entity("owed")}


def fail(_now: float) -> int:
    raise StateError("the disk is full")


def test_failed_lock_check_is_retried_after_the_interval(box: Box, tmp_path: Path) -> None:
    """B4: a dead mount must not make the worker scan without a pause."""
    box.configure(notify={"interval": 600, "watch": "off"})
    with worker_lock.acquire(box.home) as lock:
        worker = Worker(load(box.home), lock)
        worker.start()
        try:
            worker._schedule.start()
            worker._schedule._full_scan_due = 0.0
            box.home.lock.unlink()
            box.home.lock.mkdir()
            (box.home.lock / "x").touch()
            with pytest.raises((OSError, LockLostError)):
                worker._scan()
            worker._schedule.finish(None)
            worker._schedule.plan()
            assert worker._schedule.due > worker._schedule._monotonic() + 500.0
        finally:
            worker._shut_down()
            (box.home.lock / "x").unlink()
            box.home.lock.rmdir()
