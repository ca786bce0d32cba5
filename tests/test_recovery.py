"""A8: the outbox is lost, or loses its last changes: nothing is silent, nothing is sent twice without being counted."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify import emit
from syftnotify.assembly import Parts
from syftnotify.cli.demo import Tree
from syftnotify.vitals import Vitals
from tests.support import ANA, OWNER, Box, lose_outbox


@pytest.fixture
def tree(box: Box) -> Tree:
    box.snapshot.parent.mkdir(parents=True)
    tree = Tree(box.root, box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    box.look()
    return tree


@contextlib.contextmanager
def a_worker(box: Box) -> Iterator[Parts]:
    parts = box.parts()
    try:
        yield parts
    finally:
        parts.close()


def scan(box: Box, parts: Parts) -> None:
    """One scan with the health checks of a worker, and all deliveries that are due."""
    box.clock.advance(30)
    parts.look_once(box.last_look)
    box.last_look = box.clock.now
    Vitals(parts, clock=box.clock.time, monotonic=box.clock.monotonic).check()
    parts.dispatcher.drain()
    parts.pipeline.settle()


def enqueue(box: Box, parts: Parts) -> None:
    """A scan whose worker is killed before it sends anything."""
    box.clock.advance(30)
    parts.pipeline.tick(box.clock.now, last_look=box.last_look)
    box.last_look = box.clock.now


def alerts(box: Box) -> list[str]:
    return [mail.subject for mail in box.mails() if mail.event == "system_alert"]


def test_lost_emitted_events_are_reported_to_the_owner(box: Box, tree: Tree) -> None:
    """A8: how many may be affected; once."""
    for number in range(3):
        emit("job_failed", f"run/{number}", notify_emails=["ops@lab.example"], home=box.home.root)
    with a_worker(box) as parts:
        enqueue(box, parts)
    lose_outbox(box)
    for _ in range(2):
        with a_worker(box) as parts:
            scan(box, parts)

    assert len(alerts(box)) == 1
    assert "3 emitted events may not have been delivered" in alerts(box)[0]


def test_delivered_emitted_events_are_not_reported_as_lost(box: Box, tree: Tree) -> None:
    """A8"""
    emit("job_failed", "run/1", notify_emails=["ops@lab.example"], home=box.home.root)
    with a_worker(box) as parts:
        scan(box, parts)
    lose_outbox(box)
    with a_worker(box) as parts:
        scan(box, parts)

    assert alerts(box) == []


def test_what_was_owed_in_a_lost_outbox_is_sent_again_and_counted(box: Box, tree: Tree) -> None:
    """A8: its messages may have been sent by the worker that the ledger has not heard of again."""
    tree.submit(ANA, "survey", "print(1)\n")
    with a_worker(box) as parts:
        enqueue(box, parts)
    lose_outbox(box)
    with a_worker(box) as parts:
        scan(box, parts)
        counts = parts.outbox.counts()

    assert sorted((mail.event, mail.to) for mail in box.mails()) == [("job_submitted", ANA), ("job_submitted", OWNER)]
    assert counts.unknown == 2


def saved(box: Box, to: Path) -> None:
    """A whole copy of the database, as a file that lost everything after this moment would be."""
    with (
        contextlib.closing(sqlite3.connect(box.home.outbox)) as source,
        contextlib.closing(sqlite3.connect(to)) as copy,
    ):
        source.backup(copy)


def restored(box: Box, copy: Path) -> None:
    lose_outbox(box)
    shutil.copyfile(copy, box.home.outbox)


def test_an_outbox_without_its_last_changes_sends_nothing_twice(box: Box, tree: Tree, tmp_path: Path) -> None:
    """A8: the write-ahead log was cut, and what the ledger recorded as sent waits in the database again."""
    tree.submit(ANA, "survey", "print(1)\n")
    with a_worker(box) as parts:
        enqueue(box, parts)
        saved(box, tmp_path / "copy.db")
        scan(box, parts)
    before = len(box.mails())
    restored(box, tmp_path / "copy.db")
    with a_worker(box) as parts:
        scan(box, parts)
        counts = parts.outbox.counts()

    assert before == 2
    assert len(box.mails()) == 2
    assert counts.waiting == 0


def test_an_outbox_without_its_last_changes_counts_what_may_be_doubled(box: Box, tree: Tree, tmp_path: Path) -> None:
    """A8: of the rest nobody knows whether it was sent."""
    tree.submit(ANA, "survey", "print(1)\n")
    tree.submit(ANA, "other", "print(2)\n")
    with a_worker(box) as parts:
        enqueue(box, parts)
        saved(box, tmp_path / "copy.db")
        tree.submit(ANA, "later", "print(3)\n")
        enqueue(box, parts)  # the ledger is saved beside a database that has more events
        parts.dispatcher.drain()  # sent, and the worker is killed before it records that in the ledger
    doubled = len(box.mails())
    restored(box, tmp_path / "copy.db")
    with a_worker(box) as parts:
        scan(box, parts)
        counts = parts.outbox.counts()

    assert doubled == 6
    assert len(box.mails()) == 12
    assert counts.unknown == 6
    assert len({str(mail.message["Message-ID"]) for mail in box.mails()}) == 6
