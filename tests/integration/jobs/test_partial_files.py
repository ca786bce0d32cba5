"""Files that arrive, change, vanish and come back while scans go on."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.scanning import (
    NOTHING,
    Scan,
    expected,
    mail_about,
    on,
    run_baseline,
    scan_after,
    times,
    without_grants,
)
from tests.support import OWNER, Box
from tests.trees import NAME, ReviewTree, Tree

pytestmark = pytest.mark.check_only


PARTIAL_STATES = [
    *(b"", b"status: appr\nfoo: [", b"\0" * 40, b"\xff\xfe\x00", b"approved", b"- status\n- done\n", b"status: new\n")
]
PARTIAL_CONFIGS = [b"", b"name: analysis\nsubmitted_at: '2026-1", b"just words"]


@on("D")
def test_partial_state_is_ignored_until_it_is_complete(box: Box, tree: ReviewTree, one_process: Scan) -> None:
    """Empty, cut or unparsable files: no change, and a scan reads them again."""
    run_baseline(box, tree, scan=one_process)
    tree.submit()
    tree.receive()
    assert scan_after(box, 10, one_process) == expected(tree, "job_submitted")
    state = tree.results_folder() / "state.yaml"
    pending = state.read_bytes()
    tree.approve()
    approved = state.read_bytes()
    for partial in PARTIAL_STATES:
        tree.disk.write(state, partial)
        assert scan_after(box, 10, one_process) == NOTHING, partial
        assert scan_after(box, 10, one_process) == NOTHING, partial
        tree.disk.write(state, pending)
        assert scan_after(box, 10, one_process) == NOTHING, partial
    tree.disk.write(state, PARTIAL_STATES[0])
    assert scan_after(box, 10, one_process) == NOTHING
    tree.disk.write(state, approved)
    assert scan_after(box, 10, one_process) == expected(tree, "job_approved")


@on("A", "D", thorough=["B4"])
def test_partial_config_is_ignored_until_it_is_complete(box: Box, tree: Tree, one_process: Scan) -> None:
    run_baseline(box, tree, scan=one_process)
    complete = {}
    for number, partial in enumerate(PARTIAL_CONFIGS):
        tree.submit(f"job-{number}")
        config = tree.job_folder(f"job-{number}") / "config.yaml"
        complete[config] = config.read_bytes()
        tree.disk.write(config, partial)
    assert without_grants(scan_after(box, 10, one_process)) == NOTHING
    assert scan_after(box, 40, one_process) == NOTHING
    for config, content in complete.items():
        tree.disk.write(config, content)
    assert scan_after(box, 10, one_process) == times(expected(tree, "job_submitted"), len(PARTIAL_CONFIGS))


@on("B4", thorough=["A", "D"])
def test_config_of_an_ended_job_partial_for_a_while_repeats_nothing(box: Box, tree: Tree, one_process: Scan) -> None:
    run_baseline(box, tree, scan=one_process)
    tree.submit()
    tree.approve()
    tree.run()
    scan_after(box, 10, one_process)
    config = tree.job_folder() / "config.yaml"
    complete = config.read_bytes()
    for content in (b"", complete):
        tree.disk.write(config, content)
        assert scan_after(box, 10, one_process) == NOTHING


@on("D", thorough=["C1", "C2"])
def test_job_partial_at_the_baseline_joins_the_catch_up_later(box: Box, tree: ReviewTree) -> None:
    """B05: what could not be read at the baseline scan causes no flood."""
    tree.grant()
    for name in ("waits", "ran"):
        tree.submit(name=name)
        tree.receive(name=name)
    tree.approve(name="ran")
    tree.run(name="ran")
    states = {name: (tree.results_folder(name) / "state.yaml") for name in ("waits", "ran")}
    complete = {name: path.read_bytes() for name, path in states.items()}
    for path in states.values():
        tree.disk.write(path, b"")
    assert scan_after(box, 10) == NOTHING
    for name, path in states.items():
        tree.disk.write(path, complete[name])
    assert scan_after(box, 10) == Counter({("digest", "owner", OWNER): 1})
    assert [mail.entities for mail in box.mails()] == [[tree.entity("waits")]]


@on("D", thorough=["A", "B4"])
def test_file_partial_for_ten_minutes_is_one_problem(box: Box, tree: Tree, one_process: Scan) -> None:
    run_baseline(box, tree, scan=one_process)
    tree.submit()
    tree.disk.write(tree.job_folder() / "config.yaml", b"")
    problems: list[str] = []
    for _ in range(12):
        box.clock.advance(100)
        problems += one_process().problems
    assert len(problems) == 1
    assert "config.yaml" in problems[0]
    assert NAME in problems[0]


def last_file(tree: Tree) -> Path:
    """The file of a submission that arrives last."""
    return tree.job_folder() / ("code/main.py" if tree.layout in {"C", "D"} else "run.sh")


@on("A", "B4", "D", thorough=["B1", "B2", "B3", "C1", "C2"])
def test_submission_is_notified_when_its_files_are_there(box: Box, tree: Tree, one_process: Scan) -> None:
    run_baseline(box, tree, scan=one_process)
    tree.submit()
    content = last_file(tree).read_bytes()
    tree.disk.remove(last_file(tree))
    assert without_grants(scan_after(box, 10, one_process)) == NOTHING
    assert scan_after(box, 40, one_process) == NOTHING
    tree.disk.write(last_file(tree), content)
    assert scan_after(box, 1, one_process) == expected(tree, "job_submitted")
    assert "Not all of its files" not in mail_about(box, "job_submitted").text


@on("A", "D", thorough=["B4"])
def test_incomplete_submission_is_notified_after_a_minute(box: Box, tree: Tree, scan: Scan) -> None:
    run_baseline(box, tree, scan=scan)
    tree.submit()
    content = last_file(tree).read_bytes()
    tree.disk.remove(last_file(tree))
    assert without_grants(scan_after(box, 10, scan)) == NOTHING
    assert scan_after(box, 51, scan) == expected(tree, "job_submitted")
    assert "Not all of its files" in mail_about(box, "job_submitted").text
    tree.disk.write(last_file(tree), content)
    changed = scan_after(box, 10, scan) + scan_after(box, 10, scan)
    assert changed == Counter({("job_files_changed", "owner", OWNER): 1})


# -- trees that vanish and come back -----------------------------------------------------------------------------------


def submit_three(tree: Tree) -> None:
    for name in ("waits", "approved", "ended"):
        tree.submit(name=name)
    tree.approve(name="approved")
    tree.approve(name="ended")
    tree.run(name="ended")


@on("D", thorough=["A", "B2", "B4"])
@pytest.mark.parametrize("removed", ["job folder", pytest.param("whole root", marks=pytest.mark.thorough)])
def test_tree_restored_file_by_file_is_not_notified_again(
    box: Box, tree: Tree, scan: Scan, tmp_path: Path, removed: str
) -> None:
    """A vanished tree is no event; when it comes back, with new times, nothing is sent again."""
    run_baseline(box, tree, scan=scan)
    submit_three(tree)
    assert scan_after(box, 10, scan) != NOTHING
    gone = box.root if removed == "whole root" else tree.base
    kept = tmp_path / "kept"
    shutil.copytree(gone, kept)
    shutil.rmtree(gone)
    assert scan_after(box, 10, scan) == NOTHING

    for path in sorted((path for path in kept.rglob("*") if path.is_file()), key=restore_order):
        tree.disk.write(gone / path.relative_to(kept), path.read_bytes())
        assert scan_after(box, 1, scan) == NOTHING, path.relative_to(kept)
    assert scan_after(box, 100, scan) == NOTHING
    assert scan_after(box, 100, scan) == NOTHING

    tree.run(name="approved", code=2)
    assert scan_after(box, 10, scan) == expected(tree, "job_failed")


def restore_order(path: Path) -> tuple[str, int, str]:
    """Job by job, run.sh and config.yaml before the marks, as a sync writes them."""
    first = ("run.sh", "config.yaml")
    return str(path.parent), first.index(path.name) if path.name in first else len(first), path.name


@on("B4", thorough=["A", "D"])
def test_tree_restored_at_once_is_not_notified_again(box: Box, tree: Tree, scan: Scan, tmp_path: Path) -> None:
    run_baseline(box, tree, scan=scan)
    submit_three(tree)
    scan_after(box, 10, scan)
    for name in ("one", "two"):
        tree.base.rename(tmp_path / name)
        assert scan_after(box, 10, scan) == NOTHING
        shutil.copytree(tmp_path / name, tree.base)
        for path in (tree.base, *tree.base.rglob("*")):
            tree.disk.set_mtime(path)
        assert scan_after(box, 1, scan) == NOTHING
        assert scan_after(box, 100, scan) == NOTHING
