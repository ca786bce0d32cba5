"""Changes of a job's files after the owner was notified of it (C5, X09)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify.core.errors import StateError
from tests.scanning import (
    NOTHING,
    Scan,
    expected,
    mail_about,
    on,
    opened_app,
    run_baseline,
    scan_after,
    scan_with,
    without_grants,
)
from tests.support import ANA, BO, OWNER, Box, Sent
from tests.trees import CODE, TREES, Disk, Tree

pytestmark = pytest.mark.check_only


CHANGED: Counter[Sent] = Counter({("job_files_changed", "owner", OWNER): 1})
STABLE = 5.0  # seconds for which a change must last
INTERVAL = 600.0  # seconds between two mails about one waiting job


@pytest.fixture
def tree(request: pytest.FixtureRequest, disk: Disk) -> Tree:
    return TREES[getattr(request, "param", "D")](disk)


@pytest.fixture
def scan(box: Box) -> Iterator[Scan]:
    """A scan by one process, the same in the whole test."""
    app = box.open_app()
    yield scan_with(box, app)
    app.close()


def code_folder(tree: Tree) -> Path:
    return tree.job_folder() / ("code" if tree.layout in {"C", "D"} else "")


def change(tree: Tree, text: str = "evil\n", name: str = "main.py") -> None:
    tree.disk.write(code_folder(tree) / name, text)


def submit(box: Box, tree: Tree, scan: Scan, files: dict[str, str] | None = None, **config: object) -> None:
    """Submit a job, notify the owner of it, and compare its files once."""
    run_baseline(box, tree, scan=scan)
    tree.submit(files=files, config=config)
    assert without_grants(scan_after(box, 10, scan)) == expected(tree, "job_submitted")
    assert scan_after(box, 1, scan) == NOTHING


def settled(box: Box, scan: Scan) -> Counter[Sent]:
    """The mails once a change has lasted long enough."""
    return scan_after(box, 1, scan) + scan_after(box, STABLE, scan)


def headline(box: Box) -> str:
    """The first line of the mail about changed files."""
    return mail_about(box, "job_files_changed").text.splitlines()[0]


# -- jobs that wait ----------------------------------------------------------------------------------------------------


@on("A", "B2", "B4", "C1", "D")
def test_changed_file_of_a_waiting_job_is_mailed_once(box: Box, tree: Tree, scan: Scan) -> None:
    """C5: to the owner alone, with the difference to what the first mail showed."""
    submit(box, tree, scan)
    change(tree)
    assert scan_after(box, 1, scan) == NOTHING
    assert scan_after(box, STABLE - 1, scan) == NOTHING
    assert scan_after(box, 1, scan) == CHANGED
    assert scan_after(box, STABLE, scan) == NOTHING
    assert scan_after(box, INTERVAL, scan) == NOTHING

    mail = mail_about(box, "job_files_changed")
    assert headline(box) == "⚠ Files changed after you were notified: 1 of 1 file"
    for text in (mail.text, mail.html):
        assert "evil" in text
        assert "the mean of the ages" in text


def test_changed_file_is_not_mailed_again_after_a_restart(box: Box, tree: Tree) -> None:
    with opened_app(box) as app:
        submit(box, tree, scan_with(box, app))
        change(tree)
        assert settled(box, scan_with(box, app)) == CHANGED
    with opened_app(box) as app:
        assert settled(box, scan_with(box, app)) == NOTHING
        assert scan_after(box, INTERVAL, scan_with(box, app)) == NOTHING


def test_changed_file_while_no_worker_runs_is_mailed(box: Box, tree: Tree) -> None:
    with opened_app(box) as app:
        submit(box, tree, scan_with(box, app))
    change(tree)
    with opened_app(box) as app:
        assert settled(box, scan_with(box, app)) == CHANGED


def test_changed_file_is_mailed_once_by_single_scans(box: Box, tree: Tree) -> None:
    """`notify run --once` in a crontab: each scan is that of a new process."""
    submit(box, tree, box.scan)
    change(tree)
    assert scan_after(box, 1) + scan_after(box, 300) == CHANGED
    assert scan_after(box, 300) == NOTHING


def test_changed_file_right_after_the_first_mail_must_last(box: Box, tree: Tree, scan: Scan) -> None:
    """Files are synced one by one; the second scan is the first that compares them."""
    run_baseline(box, tree, scan=scan)
    tree.submit()
    scan_after(box, 10, scan)
    change(tree, "half")
    assert scan_after(box, 1, scan) == NOTHING
    change(tree)
    assert scan_after(box, 1, scan) == NOTHING
    assert scan_after(box, STABLE, scan) == CHANGED


def test_changed_file_that_is_changed_back_at_once_is_not_mailed(box: Box, tree: Tree, scan: Scan) -> None:
    submit(box, tree, scan)
    change(tree)
    assert scan_after(box, 1, scan) == NOTHING
    change(tree, CODE)

    assert settled(box, scan) == NOTHING


def test_rewritten_file_with_the_same_content_is_not_mailed(box: Box, tree: Tree, scan: Scan) -> None:
    submit(box, tree, scan)
    change(tree, CODE)

    assert settled(box, scan) == NOTHING


def test_file_that_changes_back_and_forth_is_mailed_each_time(box: Box, tree: Tree, scan: Scan) -> None:
    submit(box, tree, scan)
    for text in ("evil\n", CODE, "evil\n", CODE):
        change(tree, text)
        assert settled(box, scan) == CHANGED
        box.clock.advance(8 * INTERVAL)


def test_changes_within_ten_minutes_are_one_later_mail(box: Box, tree: Tree, scan: Scan) -> None:
    submit(box, tree, scan)
    change(tree)
    assert settled(box, scan) == CHANGED
    for text in ("worse\n", "worst\n"):
        change(tree, text)
        assert settled(box, scan) == NOTHING
    assert scan_after(box, INTERVAL - 13, scan) == NOTHING
    assert scan_after(box, 1, scan) == CHANGED

    text = [mail.text for mail in box.mails() if mail.event == "job_files_changed"][-1]
    assert "worst" in text
    assert "evil" in text
    assert "worse" not in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("lib/new.py", "evil\n", id="unlisted file"),
        pytest.param("model.pkl", "\0evil", id="binary file"),
        pytest.param("../run.sh", "evil\n", id="script"),
        pytest.param("../config.yaml", "a: 1\n", id="configuration"),
        pytest.param("large.py", "y\n" * 30_000 + "evil\n", id="beyond what is read"),
        pytest.param("logs/helper.py", "evil\n", id="listed file in a folder of results"),
    ],
)
def test_change_of_any_submitted_file_is_mailed(box: Box, tree: Tree, scan: Scan, name: str, text: str) -> None:
    """C5: whatever runs with the job."""
    files = {"main.py": CODE, "model.pkl": "\0good", "large.py": "y\n" * 30_000, "logs/helper.py": "good\n"}
    submit(box, tree, scan, files, datasets=["ages"])
    path = code_folder(tree) / name
    if name == "../config.yaml":
        tree.disk.write(path, path.read_text("utf-8").replace("ages", "rows"))
    else:
        tree.disk.write(path, text)

    assert settled(box, scan) == CHANGED
    assert "notified: 0 of" not in headline(box)


@on("B2", "B4", "D")
@pytest.mark.parametrize(
    "name", ["outputs/h.py", "logs/h.py", ".venv/lib/h.py", "__pycache__/h.pyc", "node_modules/h.js"]
)
def test_change_in_a_folder_that_runs_make_is_mailed_before_a_run(box: Box, tree: Tree, scan: Scan, name: str) -> None:
    """C5: a submission can contain such a folder, and run what is in it."""
    submit(box, tree, scan)
    change(tree, name=name)

    assert settled(box, scan) == CHANGED


def test_change_is_mailed_after_the_outbox_could_not_be_written(box: Box, tree: Tree, scan: Scan) -> None:
    """X01: the next scan finds it again."""
    submit(box, tree, scan)
    change(tree)
    assert scan_after(box, 1, scan) == NOTHING
    with contextlib.closing(sqlite3.connect(box.home.outbox)) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END")
        with pytest.raises(StateError):
            scan_after(box, STABLE, scan)
        other.execute("DROP TRIGGER full")

    assert scan_after(box, STABLE, scan) == CHANGED


def test_changes_again_and_again_are_mailed_at_longer_intervals(box: Box, tree: Tree, scan: Scan) -> None:
    """Ten minutes after the first mail, then twenty, and so on: a scientist cannot cause any number of mails."""
    submit(box, tree, scan)
    change(tree)
    settled(box, scan)
    change(tree, "evil, again\n")
    assert scan_after(box, INTERVAL, scan) + settled(box, scan) == CHANGED
    change(tree, "evil, a third time\n")

    assert scan_after(box, INTERVAL, scan) + settled(box, scan) == NOTHING
    assert scan_after(box, INTERVAL, scan) == CHANGED


def test_file_that_is_missing_for_half_a_minute_is_no_change(box: Box, tree: Tree, scan: Scan) -> None:
    """A sync may delete a file before it replaces it."""
    submit(box, tree, scan)
    path = code_folder(tree) / "main.py"
    content = path.read_bytes()
    path.unlink()
    assert settled(box, scan) + scan_after(box, 30, scan) == NOTHING
    path.write_bytes(content)
    assert settled(box, scan) == NOTHING
    path.unlink()

    assert settled(box, scan) == NOTHING
    assert scan_after(box, 60, scan) == CHANGED


def test_change_after_the_copy_was_dropped_is_mailed_without_a_comparison(box: Box, tree: Tree, scan: Scan) -> None:
    """C5: two thousand further submissions displace a copy."""
    submit(box, tree, scan)
    with contextlib.closing(sqlite3.connect(box.home.outbox)) as database, database:
        database.execute("DELETE FROM submissions")
    change(tree)

    assert settled(box, scan) == CHANGED
    assert "What changed" not in mail_about(box, "job_files_changed").text


@on("A", "B2")
def test_change_of_an_entry_point_in_a_result_folder_is_mailed(box: Box, tree: Tree, scan: Scan) -> None:
    """C5: the job names it, so it is no result."""
    submit(box, tree, scan, {"outputs/main.py": CODE}, entrypoint="outputs/main.py")
    change(tree, name="outputs/main.py")

    assert settled(box, scan) == CHANGED


@pytest.mark.thorough
def test_change_beside_thousands_of_files_is_mailed(box: Box, tree: Tree, scan: Scan) -> None:
    """C5: also beside files that are not listed."""
    for number in range(2100):
        tree.disk.write(tree.job_folder() / f"{number:04}.csv", "1\n")
    submit(box, tree, scan)
    change(tree)

    assert settled(box, scan) == CHANGED


@pytest.mark.thorough
def test_change_of_a_job_older_than_forty_others_is_mailed(box: Box, tree: Tree, scan: Scan) -> None:
    """C5: also after many other submissions of that scientist."""
    submit(box, tree, scan)
    for number in range(40):
        tree.submit(f"other-{number}")
        scan_after(box, 100, scan)
    scan_after(box, 10, scan)
    change(tree)
    box.clock.advance(INTERVAL)
    settled(box, scan)

    assert [mail.entities for mail in box.mails() if mail.event == "job_files_changed"] == [[tree.entity()]]


def test_deleted_job_is_no_changed_one(box: Box, tree: Tree, scan: Scan) -> None:
    submit(box, tree, scan)
    tree.delete()

    assert settled(box, scan) == NOTHING


@pytest.mark.thorough
def test_changes_of_many_waiting_jobs_are_all_mailed(box: Box, tree: Tree, scan: Scan) -> None:
    """A scan compares fifty of them, and the next one the others."""
    run_baseline(box, tree, scan=scan)
    jobs = [(f"job-{number:02}", by) for number in range(30) for by in (ANA, BO)]
    for name, by in jobs:
        tree.submit(name, by)
    for _ in range(4):
        scan_after(box, INTERVAL, scan)
    changed = jobs[::19]
    for name, by in changed:
        tree.disk.write(tree.job_folder(name, by) / "code" / "main.py", "evil\n")
    for _ in range(4):
        scan_after(box, STABLE, scan)

    entities = [entity for mail in box.mails() if mail.event == "job_files_changed" for entity in mail.entities]
    assert sorted(entities) == sorted(tree.entity(name, by) for name, by in changed)


# -- jobs that are approved or have run --------------------------------------------------------------------------------


@on("A", "B2", "D")
def test_change_together_with_the_approval_is_mailed_at_once(box: Box, tree: Tree, scan: Scan) -> None:
    """C5: the job may run at any moment."""
    submit(box, tree, scan)
    change(tree)
    tree.approve()

    assert scan_after(box, 1, scan) == expected(tree, "job_approved") + CHANGED
    assert "You have already approved it" in mail_about(box, "job_files_changed").text
    assert settled(box, scan) == NOTHING


def test_change_while_it_must_last_is_mailed_with_the_approval(box: Box, tree: Tree, scan: Scan) -> None:
    submit(box, tree, scan)
    change(tree)
    assert scan_after(box, 1, scan) == NOTHING
    tree.approve()

    assert scan_after(box, 1, scan) == expected(tree, "job_approved") + CHANGED


def test_change_after_the_approval_is_mailed_at_once(box: Box, tree: Tree, scan: Scan) -> None:
    submit(box, tree, scan)
    tree.approve()
    assert scan_after(box, 1, scan) == expected(tree, "job_approved")
    change(tree)

    assert scan_after(box, 1, scan) == CHANGED


@on("A", "B4", "C1", "D")
def test_change_before_a_run_is_mailed_after_it(box: Box, tree: Tree, scan: Scan) -> None:
    """C5: approved and run between two scans."""
    submit(box, tree, scan)
    change(tree)
    tree.approve()
    tree.run()

    assert scan_after(box, 1, scan) == expected(tree, "job_approved", "job_completed") + CHANGED
    assert "It has already run" in mail_about(box, "job_files_changed").text
    assert settled(box, scan) == NOTHING


def test_change_of_a_binary_file_before_a_run_is_mailed(box: Box, tree: Tree, scan: Scan) -> None:
    """C5: it may be the code of a library, or a pickled object."""
    submit(box, tree, scan, {"main.py": CODE, "model.pkl": "\0good"})
    change(tree, "\0evil", "model.pkl")
    tree.approve()
    tree.run()

    assert scan_after(box, 1, scan) == expected(tree, "job_approved", "job_completed") + CHANGED


@on("A", "B4", "C1", "D")
def test_files_that_a_run_adds_are_no_change(box: Box, tree: Tree, scan: Scan) -> None:
    submit(box, tree, scan)
    tree.approve()
    scan_after(box, 1, scan)
    tree.run()
    change(tree, name="table.csv")

    assert scan_after(box, 1, scan) == expected(tree, "job_completed")
    assert settled(box, scan) == NOTHING


def test_change_before_a_run_counts_no_file_that_the_run_adds(box: Box, tree: Tree, scan: Scan) -> None:
    submit(box, tree, scan)
    change(tree)
    tree.approve()
    tree.run()
    change(tree, name="table.csv")
    scan_after(box, 1, scan)

    assert headline(box) == "⚠ Files changed after you were notified: 1 of 1 file"


@on("B4", "D")
def test_files_that_a_run_added_are_no_change_in_a_rerun(box: Box, tree: Tree, scan: Scan) -> None:
    submit(box, tree, scan)
    tree.approve()
    scan_after(box, 1, scan)
    tree.run()
    change(tree, name="table.csv")
    assert scan_after(box, 1, scan) == expected(tree, "job_completed")
    tree.rerun()

    assert settled(box, scan) == NOTHING


@on("A", "B2", "B3", "B4", "D")
def test_results_that_the_client_writes_are_no_change(box: Box, tree: Tree, scan: Scan) -> None:
    """The environment, outputs and logs of a run, in the folder of the submission or below code."""
    submit(box, tree, scan)
    tree.approve()
    assert scan_after(box, 1, scan) == expected(tree, "job_approved")
    for name in (".venv/bin/python", "outputs/x.csv", "logs/run.log", "__pycache__/main.cpython-312.pyc"):
        change(tree, name=name)
    if not tree.can_reject:
        for name in ("stdout.txt", "stderr.txt"):
            tree.disk.write(tree.job_folder() / name, "1\n")
    assert settled(box, scan) == NOTHING
    tree.run()

    assert scan_after(box, 10, scan) == expected(tree, "job_completed")
    assert settled(box, scan) == NOTHING


# -- jobs without a copy -----------------------------------------------------------------------------------------------


def test_change_of_a_job_of_the_baseline_is_mailed(box: Box, tree: Tree, scan: Scan) -> None:
    """The copy of such a job is made silently."""
    tree.submit()
    scan_after(box, 10, scan)
    assert settled(box, scan) == NOTHING
    change(tree)

    assert settled(box, scan) == CHANGED


def test_change_before_the_copy_of_a_baseline_job_is_silent(box: Box, tree: Tree, scan: Scan) -> None:
    tree.submit()
    scan_after(box, 10, scan)
    change(tree)

    assert settled(box, scan) == NOTHING
    assert settled(box, scan) == NOTHING


def test_change_after_the_copy_was_damaged_is_mailed(box: Box, tree: Tree) -> None:
    """X02: a damaged copy is replaced like a missing one."""
    with opened_app(box) as app:
        submit(box, tree, scan_with(box, app))
    with contextlib.closing(sqlite3.connect(box.home.outbox)) as connection:
        connection.execute("UPDATE submissions SET files = ?", (b"damaged",))
        connection.commit()
    with opened_app(box) as app:
        scan = scan_with(box, app)
        change(tree)
        settled(box, scan)
        change(tree, "worse\n")
        assert settled(box, scan) + scan_after(box, INTERVAL, scan) == CHANGED


@on("B4", "D")
def test_change_of_files_is_not_compared_for_a_scientist(box: Box, tree: Tree) -> None:
    """X15: they are the scientist's own."""
    box.configure({"do_email": ANA, "role": "scientist"})
    scan_after(box, 10)
    tree.submit()
    assert scan_after(box, 10) == Counter({("job_submitted", "submitter", ANA): 1})
    change(tree)
    assert settled(box, box.scan) == NOTHING
    change(tree, "worse\n")
    tree.approve()

    assert scan_after(box, 10) == Counter({("job_approved", "submitter", ANA): 1})
