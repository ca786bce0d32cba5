"""Files of a job: each file of a submission is shown or named as not shown; nothing outside is read (C2, C9)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import Job
from syftnotify.sources.syftbox.attachments import attachments_of
from syftnotify.sources.syftbox.scanner import JobScanner
from syftnotify.sources.syftbox.submission_content import MAX_NAMED, read_submission
from syftnotify.sources.syftbox.submission_files import MAX_DEPTH, list_files
from tests.scanning import on
from tests.support import OWNER, Clock
from tests.trees import NAME, TREES, Disk, Tree

SECRET = "the-key-of-the-owner"
FAMILIES = ["A", "B2", "B3", "B4", "C1", "D"]


@pytest.fixture
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return TREES[request.param](Disk(tmp_path / "SyftBox", Clock().time))


def job_of(tree: Tree) -> Job:
    """The only job of a tree."""
    clock = Clock()
    clock.advance(3600)
    (job,) = JobScanner(tree.disk.root, OWNER, clock=clock.time, monotonic=clock.monotonic).scan().jobs
    return job


def reviewed(tree: Tree) -> tuple[list[str], dict[str, str]]:
    """The paths that are read of a submission, in order, and why others are not read."""
    found = read_submission(job_of(tree))
    return [file.path for file in found.files], {item["path"]: item["why"] for item in found.left_out}


@on("C1", "D")
def test_submission_is_read_from_the_entry_point_on(tree: Tree) -> None:
    """C2: before many small files that are listed before it."""
    files = {f"a{number:03}.py": f"x = {number}\n" for number in range(150)}
    tree.submit(files={**files, "main.py": "evil\n"}, config={"entrypoint": "main.py"})
    shown, left_out = reviewed(tree)

    assert shown[:2] == ["code/main.py", "run.sh"]
    assert {*shown, *left_out} == {"run.sh", "config.yaml", "code/main.py", *(f"code/{name}" for name in files)}


@on("C1", "D")
def test_submission_names_unlisted_executable_files_first(tree: Tree) -> None:
    """C2: by mode, first bytes or ending; in every folder, generated and hidden ones as well."""
    tree.submit(files={"lib/ok.py": "x\n"})
    code = tree.job_folder() / "code"
    unnamed = {
        "lib/helper.py": "evil\n",
        "build/x.py": "evil\n",
        ".hidden/y.sh": "evil\n",
        "native.so": "evil\n",
        "script": "#!/bin/sh\nevil\n",
        "mode": "evil\n",
        "data.csv": "1,2\n",
        "../beside.txt": "1\n",
        "../lib/deeper/z.ipynb": "{}\n",
    }
    for name, text in unnamed.items():
        tree.disk.write(code / name, text)
    (code / "mode").chmod(0o755)
    shown, left_out = reviewed(tree)

    assert shown == ["code/lib/ok.py", "run.sh", "config.yaml"]
    executable = [path for path, why in left_out.items() if "executable" in why]
    assert executable == [*left_out][: len(executable)]
    assert {*executable} == {
        *("code/lib/helper.py", "code/build/x.py", "code/.hidden/y.sh", "code/native.so"),
        *("code/script", "code/mode", "lib/deeper/z.ipynb"),
    }
    assert {*left_out} - {*executable} == {"code/data.csv", "beside.txt"}
    assert left_out["code/build/x.py"] == "name of a hidden or generated file, executable"


@on("A", "B2", "B3", "B4")
def test_submission_without_a_list_shows_all_code(tree: Tree) -> None:
    """C2: modules beside the entry point are code, too; other files are named, and results are counted."""
    tree.submit(files={"main.py": "import helper\n", "helper.py": "evil\n", "lib/deep.py": "evil\n", "in.csv": "1\n"})
    for name in ("outputs/big.bin", ".venv/lib/x.py", "stdout.txt"):
        tree.disk.write(tree.job_folder() / name, "x\n")
    shown, left_out = reviewed(tree)

    assert shown == ["main.py", "run.sh", "config.yaml", "helper.py", "lib/deep.py"]
    assert left_out == {
        ".venv/": "not listed: 1 file, 1 executable: lib/x.py",
        "outputs/": "not listed: 1 file, 0 executable",
        "in.csv": "no known code suffix",
        "stdout.txt": "name of a result or mark of the client",
    }


@on("B2", "D")
@pytest.mark.parametrize("name", [".git", ".venv", "venv", "node_modules", "__pycache__"])
def test_submission_with_a_closed_folder_names_executable_files(tree: Tree, name: str) -> None:
    """C2: by mode, first bytes or ending, at any depth; no claim is made about what lies in such a folder."""
    tree.submit()
    folder = tree.job_folder() / "code" / name
    for path, text in {"evil.py": "", "a/tool": "#!/bin/sh\n", "a/data.csv": "1\n", "empty/x.bin": "1\n"}.items():
        tree.disk.write(folder / path, text or "evil\n")

    assert reviewed(tree)[1][f"code/{name}/"] == "not listed: 4 files, 2 executable: evil.py, a/tool"


@on("A", "B2", "B4")
@pytest.mark.parametrize("name", ["outputs", "logs"])
def test_submission_with_a_result_folder_names_three_executable_files(tree: Tree, name: str) -> None:
    """C2: the others are counted."""
    tree.submit()
    for letter in "dcba":
        tree.disk.write(tree.job_folder() / name / f"{letter}.py", "evil\n")

    assert reviewed(tree)[1][f"{name}/"] == "not listed: 4 files, 4 executable: a.py, b.py, c.py, …"


@on("A", "B2")
def test_submission_shows_an_entry_point_in_a_result_folder(tree: Tree) -> None:
    """C2: the job names it."""
    tree.submit(files={"outputs/main.py": "evil\n"}, config={"entrypoint": "outputs/main.py"})

    assert "outputs/main.py" in reviewed(tree)[0]


@pytest.mark.thorough
@on("D")
def test_submission_with_large_closed_folders_counts_to_a_limit(tree: Tree) -> None:
    """C2: one of them takes nothing from another; executable names come first."""
    tree.submit(files={"main.py": "x\n"})
    for name in (".git", "venv"):
        folder = tree.job_folder() / "code" / name
        folder.mkdir()
        for number in range(3000):
            (folder / f"{number:04}").touch()
        (folder / "zzz.py").touch()
    _, left_out = reviewed(tree)

    why = "not listed: at least 2500 files, 1 executable: zzz.py"
    assert [left_out["code/.git/"], left_out["code/venv/"]] == [why, why]


@on("D")
def test_submission_of_very_many_files_counts_them_by_folder(tree: Tree) -> None:
    """C2: two hundred are named, executable ones first; each folder is counted."""
    tree.submit()
    for number in range(300):
        tree.disk.write(tree.job_folder() / "code" / "data" / f"{number:03}.csv", "1\n")
    tree.disk.write(tree.job_folder() / "code" / "data" / "evil.py", "evil\n")
    _, left_out = reviewed(tree)

    assert next(iter(left_out)) == "code/data/evil.py"
    assert len(left_out) == MAX_NAMED + 1
    assert left_out["code/data/"] == "101 more in it or below, 0 of them executable or folders"


@on("D")
def test_submission_of_very_many_folders_counts_them_above(tree: Tree) -> None:
    """C2"""
    tree.submit()
    for number in range(500):
        tree.disk.write(tree.job_folder() / "code" / f"part-{number:03}" / "x.csv", "1\n")
    _, left_out = reviewed(tree)

    assert left_out["code/"] == "300 more in it or below, 0 of them executable or folders"


@pytest.mark.thorough
@on("D")
def test_submission_with_a_large_folder_names_the_executable_file(tree: Tree) -> None:
    """C2: endings are read of all of them, and what is not listed is counted."""
    tree.submit()
    folder = tree.job_folder() / "code" / "data"
    folder.mkdir(parents=True)
    for number in range(3000):
        (folder / f"{number:04}").touch()
    (folder / "zzz.py").touch()
    left_out = read_submission(job_of(tree)).left_out

    assert {"path": "code/data/", "why": "2001 more names in it, not listed"} in left_out[:2]
    assert "code/data/zzz.py" in {item["path"] for item in left_out[:2]}


@on("D")
def test_submission_of_deep_folders_names_the_unlisted_one(tree: Tree) -> None:
    """C2, B8: to a bounded depth."""
    tree.submit()
    deep = tree.job_folder().joinpath("code", *["d"] * 30)
    tree.disk.write(deep / "evil.py", "evil\n")
    _, left_out = reviewed(tree)

    assert left_out == {f"{'/'.join(['code', *['d'] * MAX_DEPTH])}/": "nested too deep, not listed"}


@on(*FAMILIES)
def test_submission_of_links_is_not_shown(tree: Tree, tmp_path: Path) -> None:
    """C9: another name of a file outside shows what lies there."""
    outside = tmp_path / "outside.py"
    outside.write_text(SECRET)
    tree.submit(files={"main.py": "x\n"})
    code = tree.job_folder() / ("code" if tree.layout in {"C", "D"} else "")
    (code / "main.py").unlink()
    os.link(outside, code / "main.py")
    (code / "link.py").symlink_to(outside)
    found = read_submission(job_of(tree))

    assert SECRET not in str(found)
    left_out = {item["path"].rpartition("/")[2]: item["why"] for item in found.left_out}
    assert left_out["main.py"].startswith("hard link, not shown")
    assert left_out["link.py"].startswith("symbolic link, not followed")


def link_to(outside: Path, path: Path, text: str) -> None:
    """Make `path` another name of a file outside of the tree."""
    outside.write_text(text)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(outside, path)


@on(*FAMILIES)
@pytest.mark.parametrize("folder", ["", "logs"])
def test_results_that_are_hard_links_are_empty(tree: Tree, tmp_path: Path, folder: str) -> None:
    """C9: neither stderr nor stdout, which is searched for the timeout line; the return code still counts."""
    tree.submit()
    tree.approve()
    tree.run(code=3, stderr="oh\n")
    for name, text in {"stderr.txt": SECRET, "stdout.txt": SECRET, "returncode.txt": "3\n"}.items():
        (tree.results_folder() / name).unlink(missing_ok=True)
        link_to(tmp_path / name, tree.results_folder() / folder / name, text)
    job = job_of(tree)

    assert attachments_of(job, EventKind.JOB_FAILED)["stderr"] == ""
    if tree.layout == "A" or not folder:
        assert job.status is Status.FAILED


def replace_by_link(place: Path, outside: Path) -> None:
    """The job's folder becomes a link to a folder outside, with files of the same names."""
    outside.mkdir()
    for path in [each for each in place.rglob("*") if each.is_file()]:
        copy = outside / path.relative_to(place)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(SECRET)
    for name in ("stderr.txt", "stdout.txt", "returncode.txt"):
        (outside / name).write_text(SECRET)
    place.rename(place.with_name(f"{NAME}-aside"))
    place.symlink_to(outside)


@on("A", "B4", "D", thorough=["B2", "B3", "C1"])
@pytest.mark.parametrize("kind", [EventKind.JOB_FAILED, EventKind.JOB_COMPLETED])
@pytest.mark.parametrize("which", ["submission", "results", "folder above"])
def test_files_of_a_job_replaced_by_a_link_are_not_read(
    tree: Tree, tmp_path: Path, kind: EventKind, which: str
) -> None:
    """C9: replaced after the job was read and before its mail is composed."""
    tree.submit()
    tree.approve()
    tree.run(code=3, stderr="oh\n")
    job = job_of(tree)
    place = tree.results_folder() if which == "results" else tree.job_folder()
    replace_by_link(place.parent if which == "folder above" and tree.names_submitter else place, tmp_path / "outside")

    assert SECRET not in f"{attachments_of(job, kind)} {read_submission(job)}"


class ReplacingDetails(dict[str, Any]):
    """The details of a job whose folder is replaced at the first access, which is after its files were listed."""

    def __init__(self, job: Job, replace: Callable[[], None]) -> None:
        super().__init__(job.details)
        self._replace = replace

    def get(self, *arguments: Any) -> Any:
        self._replace()
        self._replace = lambda: None
        return super().get(*arguments)


@on("D")
def test_submission_replaced_after_listing_is_not_read(tree: Tree, tmp_path: Path) -> None:
    """C9: replaced between the listing and the reading of the files in it."""
    tree.submit()
    job = job_of(tree)
    details = ReplacingDetails(job, lambda: replace_by_link(tree.job_folder(), tmp_path / "outside"))

    assert SECRET not in str(read_submission(replace(job, details=details)))
    assert tree.job_folder().is_symlink()
    assert [item.parts for item in list_files(job.base, job.parts, collapsed={})] == [()]
