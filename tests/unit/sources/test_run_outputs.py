"""What a run has left behind: its outputs and who may read them, and the line of code that failed (B03)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Job
from syftnotify.sources.syftbox.attachments import attachments_of
from syftnotify.sources.syftbox.run_outputs import outputs_of
from syftnotify.sources.syftbox.scanner import JobScanner
from tests.recorded import Player, read_recording
from tests.scanning import on
from tests.support import ANA, BO, DATA, OWNER, Clock
from tests.trees import NAME, PERMISSIONS, TREES, Disk, Tree

PATTERN = f"v1/{NAME}/outputs/**"
CODE = "".join(f"line {number}\n" for number in range(1, 10))


@pytest.fixture
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return TREES[getattr(request, "param", "D")](Disk(tmp_path / "SyftBox", Clock().time))


def jobs_in(root: Path) -> list[Job]:
    clock = Clock()
    clock.advance(3600)
    return JobScanner(root, OWNER, clock=clock.time, monotonic=clock.monotonic).scan().jobs


def job_of(tree: Tree) -> Job:
    (job,) = jobs_in(tree.disk.root)
    return job


def ended(tree: Tree, *, code: int = 0, stderr: str = "", files: dict[str, str] | None = None) -> None:
    tree.submit(files={"main.py": CODE} if files is None else files)
    tree.approve()
    tree.run(code=code, stderr=stderr)


# -- outputs -----------------------------------------------------------------------------------------------------------


@on("A", "B2", "B4", "C1", "D")
def test_outputs_are_counted_and_named(tree: Tree) -> None:
    """Also in folders; the client's own file with access rules is none of them."""
    ended(tree)
    for name in ("plot.png", "tables/ages.csv", "syft.pub.yaml", "tables/syft.pub.yaml"):
        tree.disk.write(tree.results_folder() / "outputs" / name, "1\n")
    found = outputs_of(job_of(tree))

    assert (found["outputs"], sorted(found["output_names"])) == (2, ["plot.png", "tables/ages.csv"])
    assert found == attachments_of(job_of(tree), EventKind.JOB_COMPLETED)


@on("A", "B2", "D")
@pytest.mark.parametrize("has_folder", [True, False])
def test_outputs_of_a_run_without_files_are_empty(tree: Tree, has_folder: bool) -> None:
    ended(tree)
    tree.disk.remove(tree.results_folder() / "outputs")
    if has_folder:
        tree.disk.make_folder(tree.results_folder() / "outputs")

    found = outputs_of(job_of(tree))

    assert (found["outputs"], found["output_names"], found["shared"]) == (0, [], None)


@pytest.mark.parametrize("count", [30, 1200])
def test_outputs_beyond_twenty_are_counted(tree: Tree, count: int) -> None:
    ended(tree)
    folder = tree.results_folder() / "outputs"
    for number in range(count):
        (folder / f"{number:04}.csv").touch()
    found = outputs_of(job_of(tree))

    assert (found["outputs"], len(found["output_names"])) == (count, 20)


def test_outputs_with_hostile_names_are_escaped(tree: Tree) -> None:
    ended(tree)
    tree.disk.write(tree.results_folder() / "outputs" / "a\nb\u202ec.csv", "1\n")

    assert outputs_of(job_of(tree))["output_names"] == [r"a\nb\u202ec.csv"]


def test_outputs_behind_a_link_are_not_listed(tree: Tree, tmp_path: Path) -> None:
    ended(tree)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").touch()
    folder = tree.results_folder() / "outputs"
    folder.rmdir()
    folder.symlink_to(tmp_path / "outside")

    assert outputs_of(job_of(tree))["outputs"] == 0


# -- shared outputs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["0.1.34", "0.1.38", "0.1.40"])
@pytest.mark.parametrize(("submitter", "is_shared"), [(ANA, True), (BO, False)])
def test_outputs_of_a_recorded_run_are_shared_by_its_rules(
    tmp_path: Path, release: str, submitter: str, is_shared: bool
) -> None:
    """The client shares outputs of a job that succeeded with the submitter, others with the owner alone."""
    recording = read_recording(DATA / "recordings" / f"syft-job-{release}.tar.gz")
    Player(Disk(tmp_path, Clock().time)).play(recording.steps[recording.index_of("fail-bo")])
    (job,) = [job for job in jobs_in(tmp_path) if job.submitter == submitter]

    found = outputs_of(job)

    assert (found["outputs"], found["output_names"], found["shared"]) == (1, ["result.txt"], is_shared)
    assert found["output_folder"] == "/".join([job.owner, "app_data", "job", *job.results, "outputs"])


def with_rules(tree: Tree, rules: Any) -> Job:
    """A run with one output and a file with these rules."""
    ended(tree)
    tree.disk.write(tree.results_folder() / "outputs" / "x.csv", "1\n")
    content = rules if isinstance(rules, str) else yaml.safe_dump({"rules": rules, "terminal": False})
    tree.disk.write(tree.results_folder().parents[1] / PERMISSIONS, content)
    return job_of(tree)


def rule(*readers: Any, pattern: str = PATTERN) -> dict[str, Any]:
    return {"access": {"admin": [], "read": list(readers), "write": []}, "pattern": pattern}


@pytest.mark.parametrize(
    ("rules", "is_shared"),
    [
        pytest.param([rule(ANA, pattern="**"), rule(OWNER)], False, id="owner"),
        pytest.param([rule(OWNER, pattern="v1/other/outputs/**"), rule(ANA, pattern="**")], True, id="deposited"),
        pytest.param([rule(OWNER, pattern="**")], False, id="deposited, folder of the owner"),
        pytest.param([rule(OWNER, ANA)], True, id="submitter"),
        pytest.param([rule("*")], True, id="everybody"),
        pytest.param([rule(BO)], False, id="another scientist"),
        pytest.param([rule()], False, id="nobody"),
        pytest.param([rule(ANA, pattern="v1/other/outputs/**")], None, id="another job"),
        pytest.param([], None, id="no rule"),
    ],
)
def test_outputs_are_shared_if_their_rule_names_the_submitter(
    tree: Tree, rules: list[dict[str, Any]], is_shared: bool | None
) -> None:
    assert outputs_of(with_rules(tree, rules))["shared"] is is_shared


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param("rules: [", id="no YAML"),
        pytest.param("- 1\n", id="no mapping"),
        pytest.param({"a": 1}, id="no list"),
        pytest.param([1, [2], {"pattern": [PATTERN]}, {"access": {"read": [ANA]}}], id="no rules"),
        pytest.param([{"pattern": PATTERN}], id="no access"),
        pytest.param([{"pattern": PATTERN, "access": [ANA]}], id="access list"),
        pytest.param([{"pattern": PATTERN, "access": {"read": ANA}}], id="reader text"),
        pytest.param([rule([ANA], {"a": ANA}, 1, None)], id="readers of wrong types"),
    ],
)
def test_outputs_with_damaged_rules_are_not_known_as_shared(tree: Tree, rules: Any) -> None:
    assert not outputs_of(with_rules(tree, rules))["shared"]


def test_outputs_without_a_rules_file_are_not_known_as_shared(tree: Tree) -> None:
    job = with_rules(tree, [])
    (tree.results_folder().parents[1] / PERMISSIONS).unlink()

    assert outputs_of(job)["shared"] is None


@on("A", "B2", "B4")
def test_outputs_in_a_layout_without_rules_are_not_known_as_shared(tree: Tree) -> None:
    ended(tree)
    tree.disk.write(tree.results_folder() / "outputs" / "x.csv", "1\n")

    assert outputs_of(job_of(tree))["shared"] is None


# -- the failed line ---------------------------------------------------------------------------------------------------


@on("A", "B2", "B3", "B4", "C1", "D")
@pytest.mark.parametrize("kind", [EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT])
def test_failure_tells_whether_the_submitter_reads_the_logs(tree: Tree, kind: EventKind) -> None:
    """By the clients' rules, which share them from B4 on."""
    ended(tree, code=3, stderr="oh\n")
    found = attachments_of(job_of(tree), kind)

    assert found == {
        "stderr": "oh\n",
        "stderr_cut": False,
        "shares_logs": tree.layout in {"B4", "C", "D"},
        "can_rerun": tree.layout not in {"A", "B2"},
    }


def failure(tree: Tree, path: str, line: int = 5, *, files: dict[str, str] | None = None) -> dict[str, Any]:
    stderr = f'Traceback (most recent call last):\n  File "{path}", line {line}, in f\n    x\nKeyError: 1\n'
    ended(tree, code=1, stderr=stderr, files=files)
    return attachments_of(job_of(tree), EventKind.JOB_FAILED)


def excerpt(numbers: range) -> list[dict[str, Any]]:
    return [{"number": number, "text": f"line {number}"} for number in numbers]


@on("A", "B2", "B4", "C1", "D")
@pytest.mark.parametrize("form", ["absolute", "moved", "relative", "./relative", "to the job"])
def test_failure_has_the_lines_around_the_frame(tree: Tree, form: str) -> None:
    """A path is that of the owner's machine, of a container with another root, or relative."""
    code = tree.job_folder() / ("code" if tree.layout in {"C", "D"} else "")
    if tree.layout == "A":  # the job is moved before it runs
        code = tree.base / "done" / NAME
    paths = {
        "absolute": f"{code}/main.py",
        "moved": f"/mnt/job/{code.relative_to(tree.base)}/main.py",
        "relative": "main.py",
        "./relative": "./main.py",
        "to the job": "code/main.py" if tree.layout in {"C", "D"} else "main.py",
    }

    assert failure(tree, paths[form])["excerpt"] == excerpt(range(3, 8))


@pytest.mark.parametrize(("line", "numbers"), [(1, range(1, 4)), (9, range(7, 10))])
def test_failure_at_either_end_of_a_file_has_fewer_lines(tree: Tree, line: int, numbers: range) -> None:
    found = failure(tree, "main.py", line, files={"main.py": CODE.rstrip()})

    assert found["excerpt"] == excerpt(numbers)


def test_failure_excerpt_is_escaped_and_has_short_lines(tree: Tree) -> None:
    found = failure(tree, "main.py", 1, files={"main.py": f"\x1b[1m{'x' * 5000}\n"})

    assert found["excerpt"][0]["text"].startswith(r"\x1b[1mxxx")
    assert len(found["excerpt"][0]["text"]) == 400


@pytest.mark.parametrize("line", [0, 11, 9_999_999])
def test_failure_in_a_line_that_does_not_exist_has_no_excerpt(tree: Tree, line: int) -> None:
    assert "excerpt" not in failure(tree, "main.py", line)


@pytest.mark.parametrize(
    "path",
    [
        "{outside}/secret.py",
        "../../../../../../../../secret.py",
        "{code}/../../../../../../../../secret.py",
        "{code}/../../other/main.py",
        "other.py",
        "{code}/",
        ".",
        "code",
    ],
)
def test_failure_outside_of_the_job_has_no_excerpt(tree: Tree, tmp_path: Path, path: str) -> None:
    """C9: stderr comes from the job."""
    (tmp_path / "secret.py").write_text(CODE)
    code = tree.job_folder() / "code"
    found = failure(tree, path.format(outside=tmp_path, code=code))

    assert found["stderr"]
    assert "excerpt" not in found


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "linked folder"])
def test_failure_in_a_linked_file_has_no_excerpt(tree: Tree, tmp_path: Path, kind: str) -> None:
    """C9: another name of a file outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "lib.py").write_text(CODE)
    code = tree.job_folder() / "code"
    tree.disk.make_folder(code)
    path = "lib.py"
    if kind == "symbolic link":
        (code / "lib.py").symlink_to(outside / "lib.py")
    elif kind == "hard link":
        os.link(outside / "lib.py", code / "lib.py")
    else:
        (code / "lib").symlink_to(outside)
        path = "lib/lib.py"

    assert "excerpt" not in failure(tree, path)
