"""On a scientist's machine: what becomes of one's own submissions to others."""

from __future__ import annotations

import pytest

from tests.support import ANA, BO, OWNER, Box
from tests.trees import TREES, Disk, Tree

OTHER = "dora@clinic.example"


@pytest.fixture(params=["B4", "C2", "D"])
def tree(box: Box, request: pytest.FixtureRequest) -> Tree:
    box.configure({"do_email": ANA, "role": "scientist"})
    return TREES[request.param](Disk(box.root, box.clock.time))


def told(box: Box) -> list[tuple[str, str, str]]:
    return [(mail.event, mail.audience, mail.to) for mail in box.new_mails()]


def pass_minute(box: Box) -> list[tuple[str, str, str]]:
    box.clock.advance(60)
    box.look()
    return told(box)


def test_ones_own_submissions_are_told_to_oneself_alone(box: Box, tree: Tree) -> None:
    """X15: at every owner; nobody else's, and to nobody else."""
    box.look()
    elsewhere = type(tree)(tree.disk, OTHER)
    mine = type(tree)(tree.disk, ANA)  # somebody's job at one's own data: no business of this role
    for there in (tree, elsewhere):
        there.submit("survey", ANA)
        there.submit("survey", BO)
    mine.submit("survey", BO)
    assert pass_minute(box) == [("job_submitted", "submitter", ANA)] * 2
    assert {entity for mail in box.mails() for entity in mail.entities} == {
        tree.entity("survey", ANA),
        elsewhere.entity("survey", ANA),
    }
    tree.approve("survey", ANA)
    elsewhere.approve("survey", ANA)
    tree.run("survey", ANA)
    elsewhere.run("survey", ANA, code=1, stderr="private")
    assert sorted(pass_minute(box)) == [
        ("job_approved", "submitter", ANA),
        ("job_approved", "submitter", ANA),
        ("job_completed", "submitter", ANA),
        ("job_failed", "submitter", ANA),
    ]
    assert "at owner@datasite.example" in box.mails()[-1].subject + box.mails()[-2].subject
    assert not any("private" in mail.text for mail in box.mails())


def test_what_was_there_before_is_not_told(box: Box, tree: Tree) -> None:
    tree.submit("old", ANA)
    tree.submit("done", ANA)
    tree.approve("done", ANA)
    tree.run("done", ANA)
    box.clock.advance(60)
    box.look()
    assert told(box) == []
    tree.approve("old", ANA)
    assert pass_minute(box) == [("job_approved", "submitter", ANA)]


def test_a_request_that_an_older_client_wrote_down_is_told_once(box: Box, tree: Tree) -> None:
    """Older clients leave a file of whom one asked; newer ones leave nothing, and a grant leaves nothing at all."""
    box.look()
    tree.disk.write(box.root / ".syft" / "peers" / "owner_at_datasite_example.json", f'{{"email": "{OWNER}"}}')
    tree.grant(ANA)
    assert pass_minute(box) == [("peer_requested", "submitter", ANA)]
    assert OWNER in box.mails()[0].subject
    assert pass_minute(box) == []


def test_a_layout_whose_paths_name_nobody_is_left_alone(box: Box) -> None:
    """Who sent a job of B3 only its own words tell, and they may be anybody's."""
    box.configure({"do_email": ANA, "role": "scientist"})
    box.look()
    for name in ("A", "B2", "B3"):
        TREES[name](Disk(box.root, box.clock.time)).submit("survey", ANA)
    assert pass_minute(box) == []


def test_a_job_that_waits_long_reminds_the_scientist(box: Box, tree: Tree) -> None:
    box.configure({"do_email": ANA, "role": "scientist", "reminders": {"job_waiting": "2h"}})
    box.look()
    tree.submit("survey", ANA)
    pass_minute(box)
    box.clock.advance(3 * 3600)
    box.look()
    assert told(box) == [("job_waiting", "submitter", ANA)]


def test_the_commands_speak_to_a_scientist(box: Box, tree: Tree) -> None:
    started = box.notify("start", check=0)
    box.notify("stop", check=0)
    assert "no data owner has a job folder" in " ".join((started.stdout + started.stderr).split())
    assert "no job folder of any data owner yet" in " ".join(box.notify("doctor").stdout.split())


def test_another_role_begins_anew(box: Box, tree: Tree) -> None:
    """A first look as owner says nothing about what a scientist has seen."""
    box.configure({"do_email": ANA})
    box.look()
    tree.submit("survey", ANA)
    box.clock.advance(60)
    box.configure({"do_email": ANA, "role": "scientist"})
    box.look()
    assert told(box) == []
