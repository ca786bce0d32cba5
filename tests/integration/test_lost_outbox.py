"""The outbox is lost, or loses its last changes: nothing is lost, and what may be sent twice is counted."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from syftnotify.runtime.container import App
from syftnotify.runtime.health.reporter import HealthReporter
from syftnotify.services.demo import Tree
from syftnotify.sources.spool import emit
from tests.scanning import opened_app
from tests.support import ANA, OWNER, Box, delete_outbox
from tests.workers import demo_tree

pytestmark = pytest.mark.check_only


@pytest.fixture
def tree(box: Box) -> Tree:
    tree = demo_tree(box)
    box.scan()
    return tree


def scan(box: Box, app: App) -> None:
    """One scan with the health checks of a worker, and all deliveries that are due."""
    box.clock.advance(30)
    app.run_once(box.last_scan)
    box.last_scan = box.clock.now
    HealthReporter(app, clock=box.clock.time, monotonic=box.clock.monotonic).check()
    app.dispatcher.drain()
    app.pipeline.sync_ledger()


def scan_without_delivery(box: Box, app: App) -> None:
    """A scan of a worker that is killed before it sends anything."""
    box.clock.advance(30)
    app.pipeline.tick(box.clock.now, last_scan=box.last_scan)
    box.last_scan = box.clock.now


def alert_subjects(box: Box) -> list[str]:
    return [mail.subject for mail in box.mails() if mail.event == "system_alert"]


def back_up(box: Box, copy: Path) -> None:
    """Copy the whole database."""
    with (
        contextlib.closing(sqlite3.connect(box.home.outbox)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def restore(box: Box, copy: Path) -> None:
    """Replace the database by its copy: it has lost all later changes."""
    delete_outbox(box)
    shutil.copyfile(copy, box.home.outbox)


def test_lost_emitted_events_are_reported_to_the_owner_once(box: Box, tree: Tree) -> None:
    """A8: with the number of events that may be affected."""
    for number in range(3):
        emit("job_failed", f"run/{number}", notify_emails=["ops@lab.example"], home=box.home.root)
    with opened_app(box) as app:
        scan_without_delivery(box, app)
    delete_outbox(box)
    for _ in range(2):
        with opened_app(box) as app:
            scan(box, app)

    (subject,) = alert_subjects(box)
    assert "3 emitted events may not have been delivered" in subject


def test_delivered_emitted_events_are_not_reported_as_lost(box: Box, tree: Tree) -> None:
    """A8"""
    emit("job_failed", "run/1", notify_emails=["ops@lab.example"], home=box.home.root)
    with opened_app(box) as app:
        scan(box, app)
    delete_outbox(box)
    with opened_app(box) as app:
        scan(box, app)

    assert alert_subjects(box) == []


def test_owed_notifications_of_a_lost_outbox_are_sent_and_counted(box: Box, tree: Tree) -> None:
    """A8: they may have been sent before the loss, which the ledger does not tell."""
    tree.submit(ANA, "survey", "print(1)\n")
    with opened_app(box) as app:
        scan_without_delivery(box, app)
    delete_outbox(box)
    with opened_app(box) as app:
        scan(box, app)
        counts = app.outbox.history.counts()

    assert sorted((mail.event, mail.to) for mail in box.mails()) == [("job_submitted", ANA), ("job_submitted", OWNER)]
    assert counts.unknown == 2


def test_outbox_without_its_last_changes_resends_nothing_recorded(box: Box, tree: Tree, tmp_path: Path) -> None:
    """A8: the write-ahead log was cut; the ledger has recorded as sent what waits in the database again."""
    tree.submit(ANA, "survey", "print(1)\n")
    with opened_app(box) as app:
        scan_without_delivery(box, app)
        back_up(box, tmp_path / "copy.db")
        scan(box, app)
    before = len(box.mails())
    restore(box, tmp_path / "copy.db")
    with opened_app(box) as app:
        scan(box, app)
        counts = app.outbox.history.counts()

    assert before == len(box.mails()) == 2
    assert counts.waiting == 0


def test_outbox_without_its_last_changes_counts_possible_duplicates(box: Box, tree: Tree, tmp_path: Path) -> None:
    """A8: it is unknown whether the others were sent."""
    tree.submit(ANA, "survey", "print(1)\n")
    tree.submit(ANA, "other", "print(2)\n")
    with opened_app(box) as app:
        scan_without_delivery(box, app)
        back_up(box, tmp_path / "copy.db")
        tree.submit(ANA, "later", "print(3)\n")
        scan_without_delivery(box, app)  # the ledger is saved beside a database that has more events
        app.dispatcher.drain()  # sent, and the worker is killed before it records that in the ledger
    before = len(box.mails())
    restore(box, tmp_path / "copy.db")
    with opened_app(box) as app:
        scan(box, app)
        counts = app.outbox.history.counts()

    assert before == 6
    assert len(box.mails()) == 12
    assert counts.unknown == 6
    assert len({mail.id for mail in box.mails()}) == 6
