"""A submission is compared with the earlier one of the same scientist that the owner decided on (X09)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.scanning import NOTHING, expected, on, opened_app, run_baseline, scan_after, scan_with
from tests.support import ANA, BO, Box, Mail
from tests.trees import CODE, TREES, Disk, Tree

pytestmark = pytest.mark.check_only


FIRST = "ages = read()\nfor row in ages:\n    print(row)\n"
SECOND = "ages = read()\nprint(mean(ages))\n"
REASON = "prints single rows"
HEADLINE = "● Waiting for your review: 1 of 1 file changed since the job you rejected"
DAY = 86_400.0


@pytest.fixture
def tree(request: pytest.FixtureRequest, disk: Disk) -> Tree:
    return TREES[getattr(request, "param", "D")](disk)


def submit(box: Box, tree: Tree, name: str, code: str, by: str = ANA) -> Mail:
    """Submit a job with one file; returns the mail to the owner."""
    tree.submit(name, by, files={"main.py": code})
    scan_after(box, 10)
    (mail,) = [mail for mail in box.mails() if mail.entities == [tree.entity(name, by)] and mail.audience == "owner"]
    assert mail.event == "job_submitted"
    return mail


def reject(box: Box, tree: Tree, name: str = "first", *, after: float = 10.0) -> None:
    tree.reject(name, reason=REASON)
    assert scan_after(box, after) == expected(tree, "job_rejected")


def lines(mail: Mail) -> list[str]:
    return mail.text.splitlines()


def test_submission_after_a_rejection_is_compared_with_it(box: Box, tree: Tree) -> None:
    """Each scan is that of a new process. The mail begins with what changed since, and why it was rejected."""
    run_baseline(box, tree)
    submit(box, tree, "first", FIRST)
    reject(box, tree)
    mail = submit(box, tree, "second", SECOND)

    assert lines(mail)[0] == HEADLINE
    (news,) = [line for line in lines(mail) if "first" in line]
    assert news.startswith('Changed in 1 of 1 file since "first", which you rejected on ')
    assert news.endswith(f'"{REASON}"')
    changed = [line.strip() for line in lines(mail)]
    assert "3 -     print(row)" in changed
    assert "2 + print(mean(ages))" in changed
    assert "for row in ages" in mail.html


def test_submission_after_an_approval_is_compared_with_it(box: Box, tree: Tree) -> None:
    run_baseline(box, tree)
    submit(box, tree, "first", FIRST)
    tree.approve("first")
    scan_after(box, 10)
    mail = submit(box, tree, "second", SECOND)

    assert lines(mail)[0] == HEADLINE.replace("rejected", "approved")


def test_submission_of_the_same_code_is_called_identical(box: Box, tree: Tree) -> None:
    run_baseline(box, tree)
    submit(box, tree, "first", FIRST)
    reject(box, tree)

    assert lines(submit(box, tree, "second", FIRST))[0] == (
        "● Waiting for your review: identical to a job you rejected"
    )


@on("B4", "D")
def test_submission_is_compared_without_what_a_run_added(box: Box, tree: Tree) -> None:
    run_baseline(box, tree)
    submit(box, tree, "first", FIRST)
    tree.approve("first")
    scan_after(box, 10)
    tree.run("first")
    tree.disk.write(tree.job_folder("first") / ("code" if tree.can_reject else "") / "table.csv", "1\n")
    scan_after(box, 10)

    assert lines(submit(box, tree, "second", FIRST))[0] == (
        "● Waiting for your review: identical to a job "
        + ("you approved" if tree.layout == "D" else "that is marked as approved")
    )


def test_submission_under_the_same_name_is_compared(box: Box, tree: Tree) -> None:
    """The scientist deletes the rejected job and submits it again."""
    run_baseline(box, tree)
    submit(box, tree, "first", FIRST)
    reject(box, tree)
    tree.delete("first")
    assert scan_after(box, 10) == NOTHING
    tree.submit("first", files={"main.py": SECOND})
    assert scan_after(box, 10) == expected(tree, "job_submitted")

    mail = [mail for mail in box.mails() if (mail.event, mail.audience) == ("job_submitted", "owner")][-1]
    assert lines(mail)[0] == HEADLINE


@pytest.mark.parametrize("is_deleted", [False, True])
def test_submission_is_compared_with_the_stored_copy(box: Box, tree: Tree, is_deleted: bool) -> None:
    """A scientist rewrites the rejected job, so that the next one looks unchanged, or deletes it."""
    run_baseline(box, tree)
    submit(box, tree, "first", FIRST)
    reject(box, tree)
    if is_deleted:
        tree.delete("first")
    else:
        tree.disk.write(tree.job_folder("first") / "code" / "main.py", SECOND)
    assert scan_after(box, 10) == NOTHING
    mail = submit(box, tree, "second", SECOND)

    assert lines(mail)[0] == HEADLINE
    assert "for row in ages" in mail.text


def test_submission_of_another_scientist_is_not_compared(box: Box, tree: Tree) -> None:
    """Neither may learn what the other has submitted, nor may it look like a correction."""
    run_baseline(box, tree)
    submit(box, tree, "first", FIRST)
    reject(box, tree)
    mail = submit(box, tree, "second", SECOND, by=BO)

    assert "since" not in lines(mail)[0]
    assert "New job request: it does not run before you approve it." in lines(mail)
    for text in (mail.text, mail.html):
        assert REASON not in text
        assert "for row in ages" not in text


def test_submission_while_the_first_one_waits_is_not_compared(box: Box, tree: Tree) -> None:
    """Only jobs that the owner decided on are compared."""
    run_baseline(box, tree)
    submit(box, tree, "first", FIRST)

    assert "New job request: it does not run before you approve it." in lines(submit(box, tree, "second", SECOND))


def test_submission_of_unrelated_code_is_not_compared(box: Box, tree: Tree) -> None:
    run_baseline(box, tree)
    submit(box, tree, "first", FIRST)
    reject(box, tree)
    mail = submit(box, tree, "second", "import socket\n")

    assert "since" not in lines(mail)[0]
    assert "No earlier job of this scientist that you decided on has similar code." in mail.text


@pytest.mark.parametrize("decision", ["rejected", "approved"])
def test_decision_long_after_the_submission_is_recorded(box: Box, tree: Tree, decision: str) -> None:
    run_baseline(box, tree)
    submit(box, tree, "first", FIRST)
    for _ in range(3):
        assert scan_after(box, 30 * DAY) == NOTHING
    if decision == "rejected":
        reject(box, tree, after=DAY)
    else:
        tree.approve("first")
        assert scan_after(box, DAY) == expected(tree, "job_approved")
    box.clock.advance(30 * DAY)

    assert lines(submit(box, tree, "second", SECOND))[0] == HEADLINE.replace("rejected", decision)


def test_decision_between_the_same_scans_as_the_submission_is_recorded(box: Box, tree: Tree) -> None:
    run_baseline(box, tree)
    tree.submit("first", files={"main.py": FIRST})
    tree.reject("first", reason=REASON)
    assert scan_after(box, 10) == expected(tree, "job_submitted", "job_rejected")

    assert lines(submit(box, tree, "second", SECOND))[0] == HEADLINE


def test_decision_about_a_job_of_the_baseline_is_recorded(box: Box, tree: Tree) -> None:
    """Its copy was made by the first scan after the baseline."""
    tree.submit("first", files={"main.py": FIRST})
    scan_after(box, 10)
    assert scan_after(box, 10) == NOTHING
    reject(box, tree)

    assert lines(submit(box, tree, "second", SECOND))[0] == HEADLINE


def test_decision_is_about_the_files_that_changed_before_it(box: Box, tree: Tree) -> None:
    """The owner was notified of the change, so the next submission is compared with that."""
    run_baseline(box, tree)
    submit(box, tree, "first", CODE)
    tree.disk.write(tree.job_folder("first") / "code" / "main.py", FIRST)
    with opened_app(box) as app:
        for _ in range(3):
            scan_after(box, 10, scan_with(box, app))
    reject(box, tree)
    mail = submit(box, tree, "second", SECOND)

    assert lines(mail)[0] == HEADLINE
    assert "for row in ages" in mail.text
    assert "the mean of the ages" not in mail.text


def test_comparison_is_with_the_most_similar_decided_job(box: Box, tree: Tree) -> None:
    """Not with the latest one."""
    jobs: Mapping[str, str] = {"first": FIRST, "other": "import socket\n"}
    run_baseline(box, tree)
    for name, code in jobs.items():
        submit(box, tree, name, code)
        reject(box, tree, name)
    mail = submit(box, tree, "second", SECOND)

    assert lines(mail)[0] == HEADLINE
    assert any('since "first"' in line for line in lines(mail))


def test_comparison_is_in_the_mail_of_the_owner_alone(box: Box, tree: Tree) -> None:
    """G25: the reason of the other job, and the code."""
    run_baseline(box, tree)
    submit(box, tree, "first", FIRST)
    reject(box, tree)
    submit(box, tree, "second", SECOND)

    mails = [mail for mail in box.mails() if mail.entities == [tree.entity("second")] and mail.audience != "owner"]
    assert [mail.to for mail in mails] == [ANA]
    assert not any(text in str(mails[0].message) for text in (REASON, "for row in ages", "mean(ages)"))
