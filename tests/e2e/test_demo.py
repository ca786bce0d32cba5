"""`notify demo`: the complete workflow on a small tree of its own, without an account or a network."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from syftnotify.system.paths import Home
from syftnotify.system.worker_lock import is_held
from tests.support import ANA, OWNER, PROJECT_ROOT, Box, mails_in

README = PROJECT_ROOT / "README.md"

EXPECTED_MAILS = {
    ("peer_requested", OWNER): 1,
    ("peer_requested", ANA): 1,
    ("peer_granted", ANA): 1,
    ("job_submitted", OWNER): 3,
    ("job_submitted", ANA): 3,
    ("job_approved", ANA): 2,
    ("job_completed", OWNER): 1,
    ("job_completed", ANA): 1,
    ("job_failed", OWNER): 1,
    ("job_failed", ANA): 1,
    ("job_rejected", ANA): 1,
}


@dataclass(frozen=True)
class Finished:
    """A finished demo."""

    folder: Path
    home: Home
    code: int
    words: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "tmp").mkdir()
    done = Box(folder, env={"TMPDIR": str(folder / "tmp"), "COLUMNS": "80"}).notify("demo")
    [home] = (folder / "tmp").glob("*/home")
    return Finished(folder, Home(home), done.returncode, done.stdout)


def test_demo_sends_every_mail_once(demo: Finished) -> None:
    """S16."""
    mails = mails_in(demo.home.mail)

    assert demo.code == 0, demo.words
    assert Counter((mail.event, mail.to) for mail in mails) == EXPECTED_MAILS


@pytest.mark.check_only
def test_demo_lists_every_mail_and_prints_one(demo: Finished) -> None:
    """S16."""
    rows = re.findall(r"^(\w+_\w+) +(\S+@\S+) +\S", demo.words, re.MULTILINE)
    assert rows == [(mail.event, mail.to) for mail in mails_in(demo.home.mail)]
    assert "Failed after" in demo.words
    assert "KeyError: 'person'" in demo.words
    paths = re.findall(rf"{re.escape(str(demo.folder))}[^\s;,:]*", demo.words)
    assert [path for path in paths if path.endswith("/gallery/index.html")]
    assert all(Path(path).exists() for path in paths), paths


def test_demo_output_is_that_of_the_readme(demo: Finished) -> None:
    (block,) = re.findall(r"^```text\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    folder = str(demo.home.root.parent)
    lines = iter(_normal(demo.words.replace(folder, "/tmp/syftnotify-demo-x")).splitlines())

    for line in _normal(block).splitlines():
        assert line == "..." or line in lines, f"{line!r} is not printed, or not in this order"


def _normal(text: str) -> str:
    """The output without what differs between two runs."""
    text = re.sub(r"\S*/syftnotify-demo-\w+", "FOLDER", text)
    return re.sub(r"pid \d+|\d+\.\d s|after \d+ s", "VALUE", text)


@pytest.mark.thorough
def test_demo_leaves_nothing_running_and_no_other_file(demo: Finished) -> None:
    """S16: what the user has set up is not changed."""
    assert [path.name for path in demo.folder.iterdir()] == ["tmp"]
    assert not is_held(demo.home)
