"""`notify demo`: the whole main job on a small tree of its own, without an account and without a network."""

from __future__ import annotations

import re
from pathlib import Path

from syftnotify.paths import Home
from syftnotify.running import is_held
from tests.support import ANA, OWNER, Box, mails_in

OWED = {
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


def test_the_demo_sends_every_mail_once_and_shows_where_they_lie(tmp_path: Path) -> None:
    """S16: exit code 0, a table with a line for each mail, and paths that exist."""
    (tmp_path / "tmp").mkdir()
    box = Box(tmp_path, env={"TMPDIR": str(tmp_path / "tmp")})

    done = box.notify("demo", check=0)

    [home] = (tmp_path / "tmp").glob("*/home")
    mails = mails_in(home / "mail")
    assert {told: sum((mail.event, mail.to) == told for mail in mails) for told in OWED} == OWED
    assert len(mails) == sum(OWED.values())
    assert all(column in done.stdout for column in ("event", "to", "subject", "path"))
    table = done.stdout.replace("\n", "").replace(" ", "")
    assert all(event in table for event, _ in OWED)
    paths = re.findall(rf"{re.escape(str(tmp_path))}[^\s;,:]*", done.stdout)
    assert paths
    assert all(Path(path).exists() for path in paths), paths
    names = [mail.path.name for mail in mails]
    shown = [name for name in names if name in done.stdout]
    assert shown == names or all(name in table for name in names)


def test_the_demo_leaves_nothing_running_and_nothing_in_the_home(tmp_path: Path) -> None:
    """S16: what the person has set up is untouched."""
    (tmp_path / "tmp").mkdir()
    box = Box(tmp_path, env={"TMPDIR": str(tmp_path / "tmp")})

    box.notify("demo", check=0)

    assert not box.home.root.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]
    assert not any(is_held(Home(home)) for home in (tmp_path / "tmp").glob("*/home"))
