"""The mail in which the owner reviews a submission: its code, cut to what a mail can hold."""

from __future__ import annotations

import pytest

from syftnotify.core.text import escape_block
from syftnotify.sources.syftbox.submission_content import MAX_NAMED
from tests.scanning import mail_about, on, run_baseline, scan_after
from tests.support import Box, Mail
from tests.trees import Tree

SECRET = "the-key-of-the-owner"
CLIPPED = 102 * 1024  # bytes of HTML above which mail programs show a part


def submission_mail(box: Box) -> Mail:
    scan_after(box, 10)
    return mail_about(box, "job_submitted")


@on("A", "B4", "D", thorough=["B1", "B2", "B3", "C1", "C2"])
def test_submission_mail_to_the_owner_contains_the_code(box: Box, tree: Tree) -> None:
    """B02, G25: the code to review is in the owner's mail, and in nobody else's."""
    run_baseline(box, tree)
    tree.submit(files={"main.py": f"value = '{SECRET}'\n"})
    mail = submission_mail(box)
    assert SECRET in mail.text
    assert SECRET in mail.html
    assert not any(SECRET in str(mail.message) for mail in box.mails() if mail.audience != "owner")


@on("D", thorough=["B4"])
@pytest.mark.parametrize("sign", ["x", "<", *(pytest.param(sign, marks=pytest.mark.thorough) for sign in "é\x1b\n")])
def test_submission_mail_with_very_long_code_shows_a_part(box: Box, tree: Tree, sign: str) -> None:
    """B02: at most 50 KB of a file; the HTML stays below the size at which mail programs clip."""
    run_baseline(box, tree)
    tree.submit(files={"main.py": sign * 200_000})
    mail = submission_mail(box)
    assert len(mail.html.encode()) < CLIPPED
    assert "- only the beginning of this file was read:" in mail.text
    assert mail.text.count(escape_block(sign)) > 300
    if sign == "x":
        assert 49 * 1024 < mail.text.count("x") < 51 * 1024


@on("D")
def test_submission_mail_names_the_files_it_leaves_out(box: Box, tree: Tree) -> None:
    """B02: hidden, generated and binary files, and those above the limit."""
    run_baseline(box, tree)
    files = {f"part-{n:02}.py": "y" * 40_000 for n in range(6)}
    tree.submit(files={**files, ".hidden": SECRET, "__pycache__/a.pyc": SECRET, "blob.bin": f"\0{SECRET}"})
    mail = submission_mail(box)
    assert len(mail.html.encode()) < CLIPPED
    assert SECRET not in mail.text
    assert SECRET not in mail.html
    for name in (".hidden", "__pycache__/a.pyc", "blob.bin", "part-05.py"):
        assert name in mail.text


@pytest.mark.thorough
@on("D")
def test_submission_mail_with_names_of_any_length_is_not_clipped(box: Box, tree: Tree) -> None:
    """C2, B02: the list is bounded in bytes, too."""
    names = [f"{number:03}" + sign * 40 for number in range(150) for sign in ('"', "\U000e0041", "\u0430a")]
    run_baseline(box, tree)
    tree.submit(files={f"{name[:50]}.py": "x" * 2000 for name in names[::2]})
    for name in names[1::2]:
        tree.disk.write(tree.job_folder() / "code" / f"{name[:50]}.py", "x")
    mail = submission_mail(box)
    assert len(mail.html.encode()) < CLIPPED
    assert "more in it or below" in mail.text


@on("D")
def test_submission_mail_names_every_attached_name(box: Box, tree: Tree) -> None:
    """C2: the mail has no smaller limit than the attachments."""
    run_baseline(box, tree)
    tree.submit()
    unnamed = [f"helper-{number:03}.py" for number in range(MAX_NAMED)]
    for name in unnamed:
        tree.disk.write(tree.job_folder() / "code" / name, "evil\n")
    mail = submission_mail(box)
    assert all(name in mail.text and name in mail.readable_html for name in unnamed)
