"""The life of a job in each of the eight on-disk layouts, from its submission to reruns."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.scanning import (
    NOTHING,
    Scan,
    expected,
    mail_about,
    on,
    run_baseline,
    scan_after,
    without_grants,
)
from tests.support import ANA, Box
from tests.trees import TREES, Disk, MarkerTree, ReviewTree, StageTree, Tree

SECRET = "the-key-of-the-owner"
STRANGER = "stranger@elsewhere.example"


@on(*sorted(TREES))
def test_job_life_is_notified_step_by_step(box: Box, tree: Tree, scan: Scan) -> None:
    """X10: every published layout is read."""
    run_baseline(box, tree, scan=scan)
    tree.submit()
    assert without_grants(scan_after(box, 1, scan)) == expected(tree, "job_submitted")
    tree.approve()
    assert scan_after(box, 10, scan) == expected(tree, "job_approved")
    tree.run()
    assert scan_after(box, 10, scan) == expected(tree, "job_completed")
    assert scan_after(box, 10, scan) == NOTHING
    assert scan_after(box, 1000, scan) == NOTHING
    assert {entity for mail in box.mails() for entity in mail.entities if entity.startswith("job/")} == {tree.entity()}


@pytest.mark.thorough
def test_jobs_of_all_layouts_in_one_root_are_notified(box: Box, disk: Disk, scan: Scan) -> None:
    """X10: every layout at once, each job once through its whole life."""
    trees = {key: tree(disk) for key, tree in TREES.items()}
    run_baseline(box, trees["D"], scan=scan)
    by = {key: ANA if tree.names_submitter else STRANGER for key, tree in trees.items()}
    for key, tree in trees.items():
        tree.submit(name=f"job-{key}", by=by[key])
    submitted = sum((expected(tree, "job_submitted") for tree in trees.values()), NOTHING)
    assert without_grants(scan_after(box, 10, scan)) == submitted
    for key, tree in trees.items():
        tree.approve(name=f"job-{key}", by=by[key])
        tree.run(name=f"job-{key}", by=by[key], code=1)
    failed = sum((expected(tree, "job_approved", "job_failed") for tree in trees.values()), NOTHING)
    assert scan_after(box, 10, scan) == failed
    assert scan_after(box, 10, scan) == NOTHING


def test_job_after_an_upgrade_of_the_client_keeps_its_entity(box: Box, disk: Disk) -> None:
    """B1 and B2 are one layout to an entity id, and C1 and C2 are."""
    for old, new in (("B1", "B2"), ("C1", "C2")):
        assert TREES[old](disk).entity() == TREES[new](disk).entity()
    run_baseline(box, TREES["C1"](disk))
    TREES["B1"](disk).submit(by=STRANGER)
    TREES["C1"](disk).submit(name="other")
    scan_after(box, 10)
    TREES["B2"](disk).approve()
    TREES["C2"](disk).approve(name="other")
    assert scan_after(box, 10) == Counter({("job_approved", "submitter", ANA): 1})


# -- ends --------------------------------------------------------------------------------------------------------------


@on("A", "B3", "D", thorough=["B1", "B2", "B4", "C1", "C2"])
def test_failed_job_stderr_is_in_the_mail_to_the_owner_only(box: Box, tree: Tree) -> None:
    """B03, G25: the end of stderr and the return code; private output stays with the owner."""
    run_baseline(box, tree)
    tree.submit()
    tree.approve()
    tree.run(code=3, stderr=f"Traceback: {SECRET}")
    found = without_grants(scan_after(box, 10))
    assert found == expected(tree, "job_submitted", "job_approved", "job_failed")
    failure = mail_about(box, "job_failed")
    assert SECRET in failure.text
    assert SECRET in failure.html
    assert "3" in failure.text
    for mail in box.mails():
        assert mail.audience == "owner" or SECRET not in str(mail.message)


@on("A", "B2", "D", thorough=["B1", "B3", "B4", "C1", "C2"])
def test_deposited_result_is_approved_and_completed(box: Box, tree: Tree, one_process: Scan) -> None:
    """The steps that were skipped follow from the facts."""
    run_baseline(box, tree, scan=one_process)
    tree.submit()
    assert without_grants(scan_after(box, 1, one_process)) == expected(tree, "job_submitted")
    tree.deposit()
    found = scan_after(box, 1, one_process) + scan_after(box, 6, one_process)
    assert found == expected(tree, "job_approved", "job_completed")


@on("C1", "D", thorough=["C2"])
def test_rejected_job_reason_is_in_the_mail_to_the_submitter(box: Box, tree: Tree, one_process: Scan) -> None:
    run_baseline(box, tree, scan=one_process)
    tree.submit()
    scan_after(box, 10, one_process)
    tree.reject(reason="touches raw rows")
    assert scan_after(box, 10, one_process) == expected(tree, "job_rejected")
    assert "touches raw rows" in mail_about(box, "job_rejected", "submitter").text


@on("D", thorough=["C1"])
@pytest.mark.parametrize("reason", [None, ""])
def test_rejected_job_without_a_reason_is_notified(box: Box, tree: Tree, reason: str | None) -> None:
    run_baseline(box, tree)
    tree.submit()
    tree.reject(reason=reason)
    assert scan_after(box, 10) == expected(tree, "job_submitted", "job_rejected")
    assert "The data owner gave no reason." in mail_about(box, "job_rejected", "submitter").text


@on("B3", "D", thorough=[key for key in sorted(TREES) if TREES[key].marks_timeout and key not in {"B3", "D"}])
def test_job_with_the_timeout_line_is_a_timeout(box: Box, tree: Tree) -> None:
    run_baseline(box, tree)
    tree.submit()
    tree.approve()
    tree.time_out()
    found = without_grants(scan_after(box, 10))
    assert found == expected(tree, "job_submitted", "job_approved", "job_timeout")


@on("B4", thorough=["A", "D"])
def test_job_with_code_minus_one_and_no_timeout_line_failed(box: Box, tree: Tree) -> None:
    run_baseline(box, tree)
    tree.submit()
    tree.approve()
    tree.run(code=-1)
    found = without_grants(scan_after(box, 10))
    assert found == expected(tree, "job_submitted", "job_approved", "job_failed")


@on("C1", thorough=["C2", "D"])
def test_job_whose_runner_broke_failed(box: Box, tree: ReviewTree) -> None:
    """C1's captured mode: state failed, return code -1, no log and no returncode.txt."""
    run_baseline(box, tree)
    tree.submit()
    tree.approve()
    tree.end(code=-1)
    assert scan_after(box, 10) == expected(tree, "job_submitted", "job_approved", "job_failed")


@on("B4", thorough=["B1"])
def test_end_marker_waits_for_its_return_code(box: Box, tree: MarkerTree, scan: Scan) -> None:
    """The marker may be there before the code is written: no success is notified meanwhile."""
    run_baseline(box, tree, scan=scan)
    tree.submit()
    tree.approve()
    scan_after(box, 10, scan)
    tree.mark("done")
    assert scan_after(box, 1, scan) == NOTHING
    assert scan_after(box, 2, scan) == NOTHING
    tree.disk.write(tree.job_folder() / "returncode.txt", "3")
    assert scan_after(box, 1, scan) == expected(tree, "job_failed")


@on("A")
def test_moved_job_waits_for_its_return_code(box: Box, tree: StageTree, one_process: Scan) -> None:
    run_baseline(box, tree, scan=one_process)
    tree.submit()
    tree.approve()
    scan_after(box, 10, one_process)
    done = tree.move_to_done()
    assert scan_after(box, 1, one_process) == NOTHING
    tree.disk.write(done / "returncode.txt", "3")
    assert scan_after(box, 1, one_process) == expected(tree, "job_failed")


@on("A", "B2", thorough=["B3"])
def test_end_without_a_return_code_is_believed_after_five_seconds(box: Box, tree: Tree, scan: Scan) -> None:
    run_baseline(box, tree, scan=scan)
    tree.submit()
    scan_after(box, 10, scan)
    tree.deposit()
    assert scan_after(box, 1, scan) == expected(tree, "job_approved")
    assert scan_after(box, 3, scan) == NOTHING
    assert scan_after(box, 2, scan) == expected(tree, "job_completed")
    assert scan_after(box, 10, scan) == NOTHING


# -- reruns and resubmissions ------------------------------------------------------------------------------------------


@on("B4", "D", thorough=["B2", "C1"])
def test_rerun_that_ends_is_notified_as_a_new_occurrence(box: Box, tree: Tree, scan: Scan) -> None:
    run_baseline(box, tree, scan=scan)
    tree.submit()
    tree.approve()
    tree.run(code=3)
    scan_after(box, 10, scan)
    for code, kind in ((0, "job_completed"), (0, "job_completed"), (4, "job_failed")):
        tree.rerun()
        assert scan_after(box, 10, scan) == NOTHING
        tree.run(code=code)
        assert scan_after(box, 10, scan) == expected(tree, kind)
        assert scan_after(box, 10, scan) == NOTHING


@on("D", thorough=["C1", "C2"])
def test_rerun_between_two_scans_is_detected_by_its_time(box: Box, tree: Tree, one_process: Scan) -> None:
    """C and D: the occurrence of an end is its `completed_at`."""
    run_baseline(box, tree, scan=one_process)
    tree.submit()
    tree.approve()
    tree.run()
    scan_after(box, 10, one_process)
    tree.rerun()
    tree.run()
    assert scan_after(box, 10, one_process) == expected(tree, "job_completed")


@on("B4", thorough=["B2", "B3"])
def test_rerun_between_two_scans_is_detected_by_the_files_of_its_end(box: Box, tree: Tree, scan: Scan) -> None:
    """B: no file contains the time of an end."""
    run_baseline(box, tree, scan=scan)
    tree.submit()
    tree.approve()
    tree.run(code=3)
    scan_after(box, 10, scan)
    for code, kind in ((3, "job_failed"), (0, "job_completed"), (0, "job_completed")):
        tree.rerun()
        tree.run(code=code)
        assert scan_after(box, 10, scan) == expected(tree, kind)
        assert scan_after(box, 10, scan) == NOTHING


@on("B4", thorough=["B2", "B3"])
def test_end_that_is_marked_again_is_no_rerun(box: Box, tree: MarkerTree, scan: Scan) -> None:
    """B: a client that accepts a deposited result marks the job again."""
    run_baseline(box, tree, scan=scan)
    tree.submit()
    tree.approve()
    tree.run()
    scan_after(box, 10, scan)
    tree.mark("approved")
    tree.mark("done")
    assert scan_after(box, 10, scan) == NOTHING


@on("B2", thorough=["B4"])
def test_rerun_does_not_take_the_return_code_of_the_old_run(box: Box, tree: MarkerTree, scan: Scan) -> None:
    """A rerun leaves the old returncode.txt in place until its end writes over it, after the fresh marker."""
    run_baseline(box, tree, scan=scan)
    tree.submit()
    tree.approve()
    tree.run(code=3)
    scan_after(box, 10, scan)
    tree.rerun()
    assert scan_after(box, 10, scan) == NOTHING
    tree.mark("done")
    assert scan_after(box, 1, scan) == NOTHING
    tree.disk.write(tree.job_folder() / "returncode.txt", "0")
    assert scan_after(box, 1, scan) == expected(tree, "job_completed")


@on("A", "B4", "D", thorough=["B1", "B2", "B3", "C1", "C2"])
def test_job_deleted_and_submitted_again_is_notified_again(box: Box, tree: Tree, one_process: Scan) -> None:
    """A submission's occurrence is its `submitted_at`."""
    run_baseline(box, tree, scan=one_process)
    for _ in range(2):
        tree.submit()
        assert without_grants(scan_after(box, 10, one_process)) == expected(tree, "job_submitted")
        tree.approve()
        tree.run()
        assert scan_after(box, 10, one_process) == expected(tree, "job_approved", "job_completed")
        tree.delete()
        assert scan_after(box, 10, one_process) == NOTHING


@on("A")
def test_stage_job_may_wait_again_while_its_old_one_is_done(box: Box, tree: Tree, one_process: Scan) -> None:
    run_baseline(box, tree, scan=one_process)
    tree.submit()
    tree.approve()
    tree.run()
    scan_after(box, 10, one_process)
    tree.submit()
    assert scan_after(box, 10, one_process) == expected(tree, "job_submitted")
    tree.approve()
    assert scan_after(box, 10, one_process) == expected(tree, "job_approved")
    tree.run()
    assert scan_after(box, 10, one_process) == expected(tree, "job_completed")
