"""`notify --as-owner`, and the worker program run by root in the home of another user."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from syftnotify.system import worker_lock
from tests.other_user import NOBODY, run_as_other_user
from tests.support import OWNER, Box


@pytest.mark.thorough
def test_worker_program_refuses_root_in_a_foreign_home(foreign_box: Box) -> None:
    """C7."""
    done = subprocess.run(
        [sys.executable, "-m", "syftnotify.worker", "--home", str(foreign_box.home.root)], check=False
    )

    assert done.returncode == 2
    assert not foreign_box.home.log.exists()


def test_as_owner_drops_all_privileges_of_root(foreign_box: Box) -> None:
    """C7: user, groups and environment; what is written belongs to the owner."""
    foreign_box.env["SECRET_OF_ROOT"] = "hush"
    done = foreign_box.run_process("--as-owner", "start")
    if "cannot read" in done.stderr:
        pytest.skip("that user cannot read the interpreter, or the program")

    assert done.returncode == 0, done.stderr
    pid = worker_lock.holder_pid(foreign_box.home)
    process = Path(f"/proc/{pid}")
    if process.exists():
        facts = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        assert facts["Uid"].split() == facts["Gid"].split() == [str(NOBODY)] * 4
        assert "0" not in facts["Groups"].split()
        environment = (process / "environ").read_bytes().split(b"\0")
        assert not [each for each in environment if b"hush" in each or b"SYFTNOTIFY" in each]
        assert f"HOME={pwd.getpwuid(NOBODY).pw_dir}".encode() in environment
    assert {path.stat().st_uid for path in foreign_box.home.root.rglob("*")} == {NOBODY}
    assert json.loads(foreign_box.notify("--as-owner", "status", "--json", check=0).stdout)["pid"] == pid


@pytest.mark.thorough
def test_as_owner_creates_a_home_for_the_owner_of_the_folder(foreign_box: Box) -> None:
    """C12."""
    fresh = foreign_box.root / "home"

    done = foreign_box.run_process(
        *("--as-owner", "--home", str(fresh)), *("init", "--email", OWNER, "--transport", "maildir", "--no-test")
    )
    if "cannot read" in done.stderr:
        pytest.skip("that user cannot read the interpreter, or the program")

    assert done.returncode == 0, done.stderr
    assert {path.stat().st_uid for path in (fresh, fresh / "config.yaml")} == {NOBODY}
    assert fresh.stat().st_mode & 0o777 == 0o700


@pytest.mark.thorough
def test_as_owner_without_root_is_refused(foreign_box: Box) -> None:
    """C7."""
    os.chown(foreign_box.home.root, 0, 0)

    done = run_as_other_user(foreign_box, "--as-owner", "status")

    assert done.returncode == 1
    assert "`--as-owner` needs root" in done.stderr


@pytest.mark.thorough
def test_configuration_of_root_is_accepted(foreign_box: Box) -> None:
    """C7: only root can change it; that others can read it is root's decision."""
    for path in (foreign_box.home.config, foreign_box.home.templates, foreign_box.home.templates / "emails"):
        os.chown(path, 0, 0)
    foreign_box.home.config.chmod(0o644)

    done = run_as_other_user(foreign_box, "run", "--once")

    assert done.returncode == 0, done.stderr
    assert "config.yaml" not in done.stderr
