"""The scientist role: notifications about one's own submissions to data owners."""

from __future__ import annotations

import pytest

from tests.support import ANA, BO, OWNER, Box
from tests.trees import TREES, Disk, Tree

OTHER = "dora@clinic.example"


@pytest.fixture(
    params=[pytest.param("B4", marks=pytest.mark.thorough), pytest.param("C2", marks=pytest.mark.thorough), "D"]
)
def tree(box: Box, request: pytest.FixtureRequest) -> Tree:
    box.configure({"do_email": ANA, "role": "scientist"})
    return TREES[request.param](Disk(box.root, box.clock.time))


def sent(box: Box) -> list[tuple[str, str, str]]:
    return [(mail.event, mail.audience, mail.to) for mail in box.new_mails()]


def pass_minute(box: Box) -> list[tuple[str, str, str]]:
    box.clock.advance(60)
    box.scan()
    return sent(box)


def test_own_submissions_are_notified_to_the_scientist_only(box: Box, tree: Tree) -> None:
    """X15: at every owner; other scientists' jobs are not notified, and nobody else is."""
    box.scan()
    elsewhere = type(tree)(tree.disk, OTHER)
    at_ana = type(tree)(tree.disk, ANA)  # a job at one's own data does not concern this role
    for place_ in (tree, elsewhere):
        place_.submit("survey", ANA)
        place_.submit("survey", BO)
    at_ana.submit("survey", BO)
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


def test_jobs_before_the_first_scan_are_not_notified(box: Box, tree: Tree) -> None:
    tree.submit("old", ANA)
    tree.submit("done", ANA)
    tree.approve("done", ANA)
    tree.run("done", ANA)
    box.clock.advance(60)
    box.scan()
    assert sent(box) == []
    tree.approve("old", ANA)
    assert pass_minute(box) == [("job_approved", "submitter", ANA)]


def test_peer_request_in_an_older_file_is_notified_once(box: Box, tree: Tree) -> None:
    """Older clients leave a file for each request; newer ones leave none, and a grant leaves none at all."""
    box.scan()
    tree.disk.write(box.root / ".syft" / "peers" / "owner_at_datasite_example.json", f'{{"email": "{OWNER}"}}')
    tree.grant(ANA)
    assert pass_minute(box) == [("peer_requested", "submitter", ANA)]
    assert OWNER in box.mails()[0].subject
    assert pass_minute(box) == []


def test_layouts_without_a_submitter_in_the_path_are_ignored(box: Box) -> None:
    """X15: the submitter of such a job is only a claim inside its files."""
    box.configure({"do_email": ANA, "role": "scientist"})
    box.scan()
    for name in ("A", "B2", "B3"):
        TREES[name](Disk(box.root, box.clock.time)).submit("survey", ANA)
    assert pass_minute(box) == []


def test_waiting_job_reminds_the_scientist(box: Box, tree: Tree) -> None:
    box.configure({"do_email": ANA, "role": "scientist", "reminders": {"job_waiting": "2h"}})
    box.scan()
    tree.submit("survey", ANA)
    pass_minute(box)
    box.clock.advance(3 * 3600)
    box.scan()
    assert sent(box) == [("job_waiting", "submitter", ANA)]


def test_changed_role_starts_with_a_new_baseline(box: Box, tree: Tree) -> None:
    """The first scan as owner is no baseline of a scientist."""
    box.configure({"do_email": ANA})
    box.scan()
    tree.submit("survey", ANA)
    box.clock.advance(60)
    box.configure({"do_email": ANA, "role": "scientist"})
    box.scan()
    assert sent(box) == []
