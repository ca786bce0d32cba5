"""The review of a submission: its code in order and within limits, what changed, what it requests (X09, B02)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.kinds import Status
from syftnotify.core.models import Job
from syftnotify.core.submissions import Submission
from syftnotify.services.review import SHOWN_CAP, copy_of, review_change, review_submission
from syftnotify.sources.syftbox.scanner import JobScanner
from syftnotify.sources.syftbox.submission_content import SubmissionContent, read_submission
from tests.scanning import on
from tests.support import ANA, BO, OWNER, Clock
from tests.trees import NAME, TREES, Disk, Tree

LARGE = "".join(f"x{number} = 1\n" for number in range(3000))


@pytest.fixture
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return TREES[getattr(request, "param", "D")](Disk(tmp_path / "SyftBox", Clock().time))


def read(tree: Tree) -> tuple[Job, SubmissionContent]:
    """The only job of a tree, and its files."""
    clock = Clock()
    clock.advance(3600)
    (job,) = JobScanner(tree.disk.root, OWNER, clock=clock.time, monotonic=clock.monotonic).scan().jobs
    return job, read_submission(job)


def review(tree: Tree, *earlier: Submission) -> dict[str, Any]:
    return review_submission(*read(tree), earlier)


def rejected(tree: Tree, files: Mapping[str, str], **more: Any) -> Submission:
    """Submit the job `earlier` with `files`, and remove it again; returns the copy with the owner's decision."""
    tree.submit("earlier", files=files, **more)
    copy = copy_of(*read(tree))
    tree.delete("earlier")
    return replace(copy, status=Status.REJECTED, reason="reads rows", decided_at="2026-11-20T10:00:00Z")


def shown(found: Mapping[str, Any]) -> list[str]:
    return [file["path"] for file in found["code"]]


# -- code --------------------------------------------------------------------------------------------------------------


def test_review_shows_first_what_runs_and_what_changed(tree: Tree) -> None:
    """The entry point, run.sh, changed files, the rest, the configuration."""
    files = {name: f"# {name}\n" * 9 for name in ("a.py", "b.py", "c.py", "main.py")}
    earlier = rejected(tree, files, config={"entrypoint": "main.py"})
    tree.submit(files={**files, "c.py": files["c.py"] + "x\n"}, config={"entrypoint": "main.py"})

    assert shown(review(tree, earlier)) == [
        *("code/main.py", "run.sh", "code/c.py", "code/a.py", "code/b.py", "config.yaml"),
    ]


@on("A", "B2", "B4")
def test_review_without_a_file_list_shows_first_what_runs(tree: Tree) -> None:
    tree.submit(files={"main.py": "x\n", "a.py": "y\n"})

    assert shown(review(tree)) == ["main.py", "run.sh", "a.py", "config.yaml"]


@on("A", "C1", "D")
def test_review_of_large_files_shows_the_entry_point(tree: Tree) -> None:
    """Files that are listed and read before it do not take its place."""
    large = {f"a{number}.py": LARGE for number in range(9)}
    tree.submit(files={**large, "main.py": "evil\n"}, config={"entrypoint": "main.py", "entry_point": "main.py"})
    found = review(tree)

    assert found["code"][0]["path"].endswith("main.py")
    assert found["code"][0]["text"] == "evil\n"
    assert sum(len(file["text"].encode()) for file in found["code"]) <= SHOWN_CAP


def test_review_names_each_file_that_it_does_not_show(tree: Tree) -> None:
    files = {f"a{number}.py": LARGE for number in range(6)}
    tree.submit(files={"main.py": "x\n", **files})
    found = review(tree)
    left_out = {item["path"] for item in found["code_left_out"]}

    assert left_out
    assert {*shown(found), *left_out} == {"code/main.py", "run.sh", "config.yaml", *(f"code/{name}" for name in files)}
    assert not left_out.intersection(shown(found))


def test_review_cuts_code_at_the_end_of_a_line(tree: Tree) -> None:
    """Characters that are escaped take more room than in the file; `lines` counts what was read."""
    text = "é = '\x1b\x1b\x1b\x1b'\n" * 4000
    tree.submit(files={"main.py": text})
    (first, *_) = review(tree)["code"]

    assert first["lines"] == 4000
    assert SHOWN_CAP - 100 < len(first["text"].encode()) <= SHOWN_CAP
    assert set(first["text"].splitlines()) == {r"é = '\x1b\x1b\x1b\x1b'"}


def test_review_of_one_endless_line_shows_its_beginning(tree: Tree) -> None:
    tree.submit(files={"main.py": "\x1b" * 40_000})
    (first, *_) = review(tree)["code"]

    assert (first["path"], first["lines"]) == ("code/main.py", 1)
    assert len(first["text"]) == SHOWN_CAP
    assert set(first["text"]) == set(r"\x1b")


def test_review_names_files_of_which_only_the_beginning_was_read(tree: Tree) -> None:
    tree.submit(files={"main.py": "x\n", "large.py": "y = 1\n" * 10_000})
    found = review(tree)

    assert found["review"]["partly_read"] == ["code/large.py"]
    assert {file["path"]: file["cut"] for file in found["code"]}["code/large.py"]


# -- the comparison ----------------------------------------------------------------------------------------------------


def comparison(found: Mapping[str, Any]) -> dict[str, Any]:
    return dict(found["review"]["comparison"])


@on("B2", "C1", "D")
def test_review_of_the_same_code_is_identical(tree: Tree) -> None:
    """The time of the submission in config.yaml differs."""
    earlier = rejected(tree, {"main.py": "x\n", "a.py": "y\n"})
    tree.submit(files={"main.py": "x\n", "a.py": "y\n"})
    found = comparison(review(tree, earlier))

    assert (found["identical"], found["changed"], found["total"], found["changes"]) == (True, 0, 2, [])
    assert (found["name"], found["status"], found["reason"]) == ("earlier", "rejected", "reads rows")
    assert found["decided_at"] == "2026-11-20T10:00:00Z"


@on("B2", "C1", "D")
def test_review_counts_changed_files_without_generated_ones(tree: Tree) -> None:
    """run.sh and config.yaml are not files of the scientist; an added and a removed file count."""
    same = "".join(f"y{number} = 1\n" for number in range(9))
    earlier = rejected(tree, {"main.py": "x\n", "same.py": same, "gone.py": "z\n"})
    tree.submit(files={"main.py": "X\n", "same.py": same, "new.py": "z\n"})
    found = comparison(review(tree, earlier))

    assert (found["identical"], found["changed"], found["total"]) == (False, 3, 4)
    changes = {change["path"].rpartition("/")[2]: change for change in found["changes"]}
    types = {path: change["type"] for path, change in changes.items() if path != "config.yaml"}
    assert types == {"main.py": "changed", "new.py": "added", "gone.py": "removed"}
    assert changes["main.py"]["lines"] == [["-", 1, "x"], ["+", 1, "X"]]
    assert [changes["main.py"][key] for key in ("added", "removed", "omitted")] == [1, 1, 0]


def test_review_counts_a_changed_script(tree: Tree) -> None:
    """A run.sh that the client did not write."""
    earlier = rejected(tree, {"main.py": "x\n"})
    tree.submit(files={"main.py": "x\n"})
    tree.disk.write(tree.job_folder() / "run.sh", "evil\n")
    found = comparison(review(tree, earlier))

    assert (found["identical"], found["changed"], found["total"]) == (False, 1, 2)
    assert [change["path"] for change in found["changes"]] == ["run.sh"]


@pytest.mark.parametrize("separator", ["\n", "\u2028"])
def test_review_counts_a_configuration_that_alone_changed(tree: Tree, separator: str) -> None:
    """Only its name and its time differ in any case. YAML begins a new line after a line separator, too."""
    earlier = rejected(tree, {"main.py": "x\n"})
    tree.submit(files={"main.py": "x\n"})
    path = tree.job_folder() / "config.yaml"
    tree.disk.write(
        path, path.read_text("utf-8").replace(f"name: {NAME}\n", f"name: {NAME}{separator}dependencies: [evil]\n")
    )
    found = review(tree, earlier)

    assert [each["name"] for each in found["review"]["dependencies"]] == ["evil"]
    assert (comparison(found)["identical"], comparison(found)["changed"]) == (False, 1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"model.pkl": "\0old"}, {"model.pkl": "\0new"}, id="binary file"),
        pytest.param({"notes": "old"}, {"notes": "new"}, id="unlisted file"),
        pytest.param({"lib.py": "y\n" * 30_000}, {"lib.py": "y\n" * 30_000 + "evil\n"}, id="beyond what is read"),
        pytest.param({"notes": "old"}, {}, id="removed unlisted file"),
        pytest.param(
            {f"{'p' * 60}{sign}{'s' * 60}": "same" for sign in "ab"} | {f"{'p' * 60}a{'s' * 60}": "old"},
            {f"{'p' * 60}{sign}{'s' * 60}": "same" for sign in "ab"} | {f"{'p' * 60}a{'s' * 60}": "new"},
            id="long names that are shown alike",
        ),
        pytest.param(
            {"a\x1b": "old", r"a\x1b": "same"}, {"a\x1b": "new", r"a\x1b": "same"}, id="names that are shown alike"
        ),
    ],
)
def test_review_of_a_changed_file_that_is_not_shown_is_not_identical(
    tree: Tree, before: dict[str, str], after: dict[str, str]
) -> None:
    """The owner decides by this word."""
    config = {"files": ["main.py", *(name for name in before if name != "notes")]}
    earlier = rejected(tree, {"main.py": "x\n", **before}, config=config)
    tree.submit(files={"main.py": "x\n", **after}, config=config)

    assert not comparison(review(tree, earlier))["identical"]


def test_review_hashes_differ_for_contents_chosen_by_a_scientist(tree: Tree) -> None:
    """Two files with the same 64 bits are found in 2**32 attempts, which takes minutes."""
    tree.submit()
    _, content = read(tree)

    assert all(len(value) >= 32 for value in content.hashes.values()), "less than 128 bits"


def test_review_of_a_text_that_became_binary_is_not_a_removal(tree: Tree) -> None:
    earlier = rejected(tree, {"main.py": "x\n", "lib.py": "y\n"})
    tree.submit(files={"main.py": "x\n", "lib.py": "\0y\n"})
    found = comparison(review(tree, earlier))

    assert [change["type"] for change in found["changes"]] != ["removed"]
    assert (found["changed"], found["total"]) == (1, 2)


def test_review_of_unrelated_code_has_no_comparison(tree: Tree) -> None:
    earlier = rejected(tree, {"main.py": "x\n"})
    tree.submit(files={"main.py": "y\n"})
    found = review(tree, earlier)["review"]

    assert (found["comparison"], found["has_history"]) == (None, True)
    assert review(tree)["review"]["has_history"] is False


def test_review_is_not_compared_with_the_job_itself(tree: Tree) -> None:
    tree.submit()
    job, content = read(tree)
    found = review_submission(job, content, [replace(copy_of(job, content), status=Status.APPROVED)])["review"]

    assert (found["comparison"], found["has_history"]) == (None, False)


def test_review_change_compares_with_what_the_owner_was_shown(tree: Tree) -> None:
    """C5: also if the code has nothing in common with it."""
    tree.submit(files={"main.py": "x\n"})
    before = copy_of(*read(tree))
    tree.disk.write(tree.job_folder() / "code" / "main.py", "evil\n")
    found = comparison(review_change(*read(tree), before))

    assert (found["name"], found["status"]) == (NAME, "waiting")
    assert (found["identical"], found["changed"], found["total"]) == (False, 1, 1)


# -- requests and hints ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("numpy==2.1.0", "one"),
        ("numpy===2.1.0", "one"),
        ("pandas[excel]==2.2.3", "one"),
        ("numpy==2.1.0; python_version < '3.13'", "one"),
        (f"lab @ git+https://lab.example/lab@{'0a' * 20}", "one"),
        (f"lab @ https://lab.example/lab-1.0.zip#sha256={'0a' * 32}", "one"),
        ("./lib", "one"),
        ("/home/ds/lib", "one"),
        ("lab @ https://lab.example/lab-1.0.zip", "some"),
        ("lab @ git+https://lab.example/lab@main", "some"),
        ("numpy>=2", "some"),
        ("numpy>=2,<3", "some"),
        ("numpy<3", "some"),
        ("numpy!=2.0", "some"),
        ("numpy~=2.1", "some"),
        ("numpy==2.*", "some"),
        ("numpy", "any"),
        ("pandas[excel]", "any"),
        ("numpy; python_version == '3.12'", "any"),
    ],
)
def test_review_says_which_versions_a_dependency_allows(tree: Tree, name: str, versions: str) -> None:
    tree.submit(config={"dependencies": [name]})

    assert review(tree)["review"]["dependencies"] == [{"name": name, "versions": versions}]


@pytest.mark.parametrize(
    ("script", "is_other"), [("python main.py\n", False), ("python other.py\n", True), ("", False)]
)
def test_review_compares_the_entry_point_with_run_sh(tree: Tree, script: str, is_other: bool) -> None:
    """Only config.yaml says what the entry point is; run.sh is what runs."""
    tree.submit()
    tree.disk.write(tree.job_folder() / "run.sh", script)

    assert review(tree)["review"]["script_runs_other"] is is_other


@pytest.mark.parametrize(
    ("datasets", "names"),
    [(None, []), (["ages"], ["ages"]), ({BO: ["other"], OWNER: ["ages", "sexes"]}, ["other", "ages", "sexes"])],
)
def test_review_lists_requested_datasets(tree: Tree, datasets: Any, names: list[str]) -> None:
    """The clients write a mapping from owner to names."""
    tree.submit(config={"datasets": datasets})

    assert review(tree)["review"]["datasets"] == names


def test_review_of_wrong_types_in_the_configuration_is_complete(tree: Tree) -> None:
    wrong = {"dependencies": {"a": 1}, "datasets": [[1], {"x": 2}, 3], "entrypoint": ["main.py"], "name": {"a": 1}}
    tree.submit(config=wrong)
    found = review(tree)["review"]

    assert [found[key] for key in ("dependencies", "datasets", "entrypoint")] == [[], [], ""]


def test_review_has_hints_of_the_code_and_not_of_the_configuration(tree: Tree) -> None:
    tree.submit(files={"main.py": "import socket\n"}, config={"dependencies": ["lab @ https://lab.example"]})
    found = review(tree)["review"]

    assert found["hints"] == [{"topic": "network", "path": "code/main.py", "line": 1, "text": "import socket"}]
    assert found["more_hints"] == 0


# -- the call ----------------------------------------------------------------------------------------------------------


def call(tree: Tree) -> dict[str, Any]:
    return dict(review(tree)["call"])


@on("A", "B2", "B3", "B4", "C1", "D")
def test_review_call_has_what_selects_the_job(tree: Tree) -> None:
    """Only the clients with a review folder can reject; the older ones call a waiting job `inbox`."""
    tree.submit()
    is_reviewed = tree.layout in {"C", "D"}

    assert call(tree) == {
        "name": NAME,
        "submitted_by": ANA,
        "status": "pending" if is_reviewed else "inbox",
        "can_reject": is_reviewed,
        "is_other_name": False,
        "config_name": NAME,
    }


@on("A", "B2", "B3", "B4", "C1", "D")
def test_review_call_uses_the_submitter_that_the_client_shows(tree: Tree) -> None:
    """Without one in the path, and in B4, it is the claim in config.yaml."""
    tree.submit(config={"submitted_by": BO})

    assert call(tree)["submitted_by"] == (ANA if tree.layout in {"C", "D"} else BO)


@on("C1", "D")
def test_review_call_with_another_name_in_the_configuration(tree: Tree) -> None:
    """The client of D takes the name of the folder; with another one, that of C would act on another job."""
    tree.submit(config={"name": "other"})
    found = call(tree)

    assert (found["name"], found["config_name"]) == (NAME if tree.layout == "D" else "other", "other")
    assert found["is_other_name"] == (tree.layout == "C")


@on("C1")
def test_review_call_with_a_very_long_name_is_not_another(tree: Tree) -> None:
    tree.submit("n" * 240)

    assert not call(tree)["is_other_name"]
