"""What waits for the owner: recorded when a scan finds a change, whatever was notified."""

from __future__ import annotations

import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.services.decisions import decision_item
from tests.peer_traces import EVE, write_snapshot
from tests.support import ANA, BO, OWNER, Box
from tests.trees import TREES, Disk, Tree


@pytest.fixture
def tree(box: Box) -> Tree:
    return TREES["D"](Disk(box.root, box.clock.time))


def waiting(box: Box, seconds: float = 10.0) -> list[str]:
    """The names of what waits after a scan by a new process, the oldest first."""
    box.clock.advance(seconds)
    box.scan()
    app = box.open_app()
    try:
        return [str(each.payload["name"]) for each in app.outbox.decisions.page(99)]
    finally:
        app.close()


def test_job_waits_from_its_submission_to_its_decision(box: Box, tree: Tree) -> None:
    """Also one from before the first scan; of two, the older one is first."""
    tree.submit("old", ANA)
    assert waiting(box) == ["old"]
    tree.submit("new", BO)
    assert waiting(box) == ["old", "new"]
    assert waiting(box) == ["old", "new"]
    tree.approve("old", ANA)
    assert waiting(box) == ["new"]
    tree.reject("new", BO, reason="no")
    assert waiting(box) == []


def test_job_that_vanishes_does_not_wait(box: Box, tree: Tree) -> None:
    tree.submit("a", ANA)
    tree.submit("b", ANA)
    assert waiting(box) == ["a", "b"]
    tree.delete("a", ANA)
    assert waiting(box) == ["b"]


def test_change_while_the_worker_runs_is_stored(box: Box, tree: Tree) -> None:
    """One process: only differences are written."""
    app = box.open_app()
    try:
        for name, expected in (("a", ["a"]), ("b", ["a", "b"])):
            tree.submit(name, ANA)
            box.clock.advance(10)
            app.run_once(None)
            assert [each.payload["name"] for each in app.outbox.decisions.page(99)] == expected
        tree.approve("a", ANA)
        box.clock.advance(10)
        app.run_once(None)
        (decision,) = app.outbox.decisions.page(99)
        item = decision_item(app.outbox, decision)
    finally:
        app.close()
    assert item.event.payload["call"]["submitted_by"] == ANA
    assert item.event.payload["review"]["fingerprint"]
    assert decision.since < box.clock.now


def test_lost_outbox_is_filled_again(box: Box, tree: Tree) -> None:
    tree.submit("a", ANA)
    assert waiting(box) == ["a"]
    box.home.outbox.unlink()
    assert waiting(box) == ["a"]


def test_peer_request_waits_until_it_is_answered(box: Box) -> None:
    """It has no time in the tree: the one at which it was first seen stays over a restart."""
    disk = Disk(box.root, box.clock.time)
    write_snapshot(box, disk, [EVE])
    assert waiting(box) == [EVE]
    app = box.open_app()
    (first,) = app.outbox.decisions.page(9)
    app.close()
    assert waiting(box, 600) == [EVE]
    app = box.open_app()
    (again,) = app.outbox.decisions.page(9)
    app.close()
    assert (again.kind, again.since, again.payload["owner"]) == (EventKind.PEER_REQUESTED, first.since, OWNER)
    write_snapshot(box, disk, [], [EVE])
    assert waiting(box) == []


def test_request_waits_from_when_it_was_first_seen_in_one_process(box: Box) -> None:
    """And a scan that finds the same writes nothing."""
    write_snapshot(box, Disk(box.root, box.clock.time), [EVE])
    app = box.open_app()
    try:
        app.run_once(None)
        (first,) = app.outbox.decisions.page(9)
        box.clock.advance(600)
        app.run_once(None)
        assert app.outbox.decisions.page(9) == [first]
    finally:
        app.close()


@pytest.mark.thorough
def test_job_that_cannot_be_read_waits(box: Box, tree: Tree) -> None:
    box.scan()
    tree.submit("broken", ANA)
    (state,) = box.root.rglob("broken/config.yaml")
    state.write_text("{{", encoding="utf-8")
    found = [waiting(box, 60.0) for _ in range(15)]
    assert found[-1] == ["broken"]


def test_scientist_decides_nothing(box: Box, tree: Tree) -> None:
    """What the page listed before the role was changed is gone."""
    tree.submit("a", ANA)
    assert waiting(box) == ["a"]
    box.configure({"role": "scientist", "do_email": ANA})
    assert waiting(box) == []
