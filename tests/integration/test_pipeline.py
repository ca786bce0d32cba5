"""The pipeline: record before acting, and recover after a loss of the ledger or the outbox."""

from __future__ import annotations

import pytest

from syftnotify.core.errors import StateError
from syftnotify.services.demo import Tree
from tests.support import ANA, Box, Clock, delete_ledger, delete_outbox
from tests.trees import TREES, Disk

CODE = "print(1)\n"


@pytest.fixture
def tree(box: Box) -> Tree:
    box.snapshot.parent.mkdir(parents=True)
    tree = Tree(box.root, box.snapshot)
    tree.grant(ANA)
    box.scan()
    return tree


def test_unsaved_ledger_notifies_once_after_the_next_scan(box: Box, tree: Tree) -> None:
    """Between the outbox's transaction and the ledger's save: the next scan finds the same, and notifies it once."""
    tree.submit(ANA, "survey", CODE)
    in_the_way = box.home.root / "state.json.lock"
    in_the_way.unlink()
    in_the_way.mkdir()
    with pytest.raises(StateError):
        box.scan()
    in_the_way.rmdir()
    box.scan()
    box.scan()

    assert len(box.mails()) == 2


def test_clock_jumps_repeat_nothing(box: Box, tree: Tree) -> None:
    tree.submit(ANA, "survey", CODE)
    box.scan()
    box.new_mails()
    for seconds in (-365 * 86400, 86400, 43200):
        box.clock.advance(seconds)
        box.scan()

    assert box.new_mails() == []


def test_mail_date_is_of_the_injected_clock(tmp_path_factory: pytest.TempPathFactory) -> None:
    box = Box(tmp_path_factory.mktemp("box"), clock=Clock(now=1_900_000_000.0))
    box.root.mkdir()
    box.configure()
    Tree(box.root, box.folder / "notes").grant(ANA)
    box.scan()
    Tree(box.root, box.folder / "notes").submit(ANA, "survey", CODE)
    box.scan()

    assert {str(mail.message["Date"]) for mail in box.mails()} == {"Sun, 17 Mar 2030 17:46:40 +0000"}


def test_lost_ledger_notifies_no_old_fact(box: Box, tree: Tree) -> None:
    """X02: what the baseline scan only recorded is not in the outbox, and is not notified either."""
    delete_ledger(box)
    delete_outbox(box)
    tree.submit(ANA, "survey", CODE)
    tree.approve(ANA, "survey")
    box.scan()
    tree.end(ANA, "survey", 0)
    box.scan()
    assert {mail.event for mail in box.new_mails()} == {"job_completed"}
    delete_ledger(box)
    box.scan()

    assert box.new_mails() == []


def test_lost_ledger_keeps_the_number_of_reruns(box: Box) -> None:
    """X02: the number of runs of a job of an old layout is read from the outbox."""
    disk = Disk(box.root, box.clock.time)
    job = TREES["B2"](disk)
    box.scan()
    job.submit(name="survey")
    job.approve("survey")
    for _ in range(2):
        job.run("survey")
        box.clock.advance(10)
        box.scan()
        job.rerun("survey")
        box.clock.advance(10)
        box.scan()
    assert [mail.event for mail in box.new_mails()].count("job_completed") == 2
    delete_ledger(box)
    box.scan()
    job.run("survey")
    box.clock.advance(10)
    box.scan()

    assert [mail.event for mail in box.new_mails()] == ["job_completed"]


def test_outbox_removed_in_use_is_created_by_the_next_scan(box: Box, tree: Tree) -> None:
    """X01"""
    app = box.open_app()
    try:
        tree.submit(ANA, "survey", CODE)
        app.run_once(box.clock.now)
        delete_outbox(box)
        tree.submit(ANA, "second", CODE)
        app.run_once(box.clock.now)
    finally:
        app.close()

    assert len(box.mails()) == 4
    assert len({str(mail.message["Message-ID"]) for mail in box.mails()}) == 4
