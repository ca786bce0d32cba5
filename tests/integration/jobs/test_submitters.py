"""Whose a job is: proved by its path, or only claimed by its config.yaml."""

from __future__ import annotations

from collections import Counter

from tests.scanning import (
    NOTHING,
    Scan,
    expected,
    mail_about,
    on,
    owner_entities,
    run_baseline,
    scan_after,
    without_grants,
)
from tests.support import ANA, BO, OWNER, Box
from tests.trees import TREES, Disk, Tree

STRANGER = "stranger@elsewhere.example"


@on("B4", "D", thorough=["C1", "C2"])
def test_two_submitters_may_use_one_job_name(box: Box, tree: Tree, one_process: Scan) -> None:
    run_baseline(box, tree, scan=one_process)
    tree.submit(by=ANA)
    tree.submit(by=BO)
    found = without_grants(scan_after(box, 10, one_process))
    assert found == expected(tree, "job_submitted", by=ANA) + expected(tree, "job_submitted", by=BO)
    assert owner_entities(box.mails()) == sorted([tree.entity(by=ANA), tree.entity(by=BO)])
    (mail,) = [mail for mail in box.mails() if mail.to == ANA and mail.event.startswith("job_")]
    assert mail.entities == [tree.entity(by=ANA)]


def test_one_submitter_may_use_one_job_name_in_two_layouts(box: Box, disk: Disk) -> None:
    run_baseline(box, TREES["C2"](disk))
    for key in ("C2", "D"):
        TREES[key](disk).submit()
    found = scan_after(box, 10)
    assert found[("job_submitted", "owner", OWNER)] == 2
    assert found[("job_submitted", "submitter", ANA)] == 2
    assert owner_entities(box.mails()) == sorted(TREES[key](disk).entity() for key in ("C2", "D"))


@on("A", "B2", thorough=["B1", "B3"])
def test_claimed_submitter_who_is_no_peer_is_not_mailed(box: Box, tree: Tree) -> None:
    """X11: where the path proves no submitter, the address in config.yaml is shown as claimed and never mailed."""
    run_baseline(box, tree)
    tree.submit(by=STRANGER)
    tree.approve(by=STRANGER)
    tree.run(by=STRANGER)
    found = scan_after(box, 10)
    assert found == Counter({("job_submitted", "owner", OWNER): 1, ("job_completed", "owner", OWNER): 1})
    mail = mail_about(box, "job_submitted")
    assert STRANGER in mail.text
    for body in (mail.text, mail.readable_html):
        assert f"from {STRANGER} (as the job claims; not verified)" in body


@on("B4", "D", thorough=["C1", "C2"])
def test_submitter_in_the_path_overrides_the_file(box: Box, tree: Tree) -> None:
    run_baseline(box, tree)
    tree.submit(config={"submitted_by": STRANGER, "name": "another", "datasite_email": STRANGER})
    assert without_grants(scan_after(box, 10)) == expected(tree, "job_submitted")
    assert mail_about(box, "job_submitted").entities == [tree.entity()]


@on("A", thorough=["B1", "B2", "B3"])
def test_claimed_submitter_that_is_allowed_is_mailed(box: Box, tree: Tree) -> None:
    box.configure({"recipients": {"allow": ["*@uni.example"]}})
    run_baseline(box, tree)
    tree.submit(by=ANA)
    tree.submit(name="other", by=BO)
    submitted = expected(tree, "job_submitted", "job_submitted")
    submitted["job_submitted", "submitter", ANA] += 1
    assert scan_after(box, 10) == submitted


def test_jobs_of_another_owner_are_ignored(box: Box, disk: Disk) -> None:
    run_baseline(box, TREES["D"](disk))
    for tree in TREES.values():
        tree(disk, owner="other@datasite.example").submit()
    assert scan_after(box, 10) == NOTHING
