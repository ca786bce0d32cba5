"""Permissions of a home: files are private, and the homes of others are refused."""

from __future__ import annotations

import os
import shlex
import shutil
from collections import Counter
from pathlib import Path

import pytest

from syftnotify.services.demo import Tree as DemoTree
from syftnotify.system import worker_lock
from tests.fakes.google import Google
from tests.other_user import box_open_to_all, run_as_other_user
from tests.support import ANA, OWNER, Box, needs_root, wait_until
from tests.workers import CODE, accessible_to_others, configure, wait_for_scans

pytestmark = pytest.mark.check_only


def fingerprints(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, modification time and content of everything below `folder`."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


@needs_root
@pytest.mark.parametrize("mode", [pytest.param(0o755, marks=pytest.mark.thorough), 0o777], ids=["readable", "writable"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--once"),
        *(
            pytest.param(each, marks=pytest.mark.thorough)
            for each in [
                *(("start",), ("ensure",), ("run",), ("restart",), ("install",)),
                ("init", "--interval", "20", "--no-test"),
            ]
        ),
    ],
    ids=" ".join,
)
def test_home_of_another_user_is_refused_and_unchanged(arguments: tuple[str, ...], mode: int) -> None:
    """S16: its owner decides what is sent."""
    with box_open_to_all() as box:
        box.home.root.chmod(mode)
        box.home.config.chmod(0o644)
        before = fingerprints(box.home.root)
        foreign_box = box.folder / "somebody"
        foreign_box.mkdir()
        os.chown(foreign_box, 65534, 65534)
        box.env["HOME"] = str(foreign_box)

        done = run_as_other_user(box, *arguments)

        assert done.returncode == 1, done.stdout + done.stderr
        assert "belongs to root" in done.stderr
        assert "Traceback" not in done.stderr
        assert fingerprints(box.home.root) == before
        assert fingerprints(foreign_box) == {}
        assert not worker_lock.is_held(box.home)


@pytest.mark.parametrize(
    ("which", "mode"),
    [
        ("config", 0o604),
        ("environment", 0o644),
        ("token", 0o640),
        ("credentials", 0o644),
    ],
)
def test_run_once_warns_of_secrets_readable_by_others(google: Google, box: Box, which: str, mode: int) -> None:
    """S16: with the command that fixes it, and of those files only."""
    configure(box, google)
    google.write_token(box.home.token)
    google.write_credentials(box.home.credentials).chmod(0o600)
    box.home.environment.touch(0o600)
    path: Path = getattr(box.home, which)
    path.chmod(mode)

    done = box.notify("run", "--once", check=0)

    warnings = [line for line in done.stderr.splitlines() if "open to others" in line]
    assert warnings == [
        f"warning: {path} is open to others (mode {mode:04o}): run `chmod 600 {shlex.quote(str(path))}`"
    ]
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.thorough
def test_files_of_a_home_are_private_for_any_umask(google: Google, box: Box, tree_with_peer: DemoTree) -> None:
    """S16."""
    shutil.rmtree(box.home.root)
    made = ("init", "--email", OWNER, "--syftbox-root", str(box.root), "--interval", "1", "--transport", "maildir")
    box.run_process(*made, umask=0, check=0)
    box.run_process("init", "--force", *made[1:], umask=0, check=0)
    box.run_process("start", umask=0, check=0)
    tree_with_peer.submit(ANA, "survey", CODE)
    wait_until(lambda: len(box.mails()) >= 4, what="two test mails and two of the job")
    wait_for_scans(box, 1)
    open_to_others = accessible_to_others(box.home.root)
    box.notify("stop", check=0)

    assert open_to_others == {}
    assert accessible_to_others(box.home.root) == {}
    names = Counter(path.name.partition("-")[0] for path in box.home.root.iterdir())
    assert names.keys() >= {"config.yaml", "config.yaml.old", "state.json", "outbox.db", "notify.log", "worker.json"}


@pytest.mark.thorough
def test_refreshed_token_is_private_for_any_umask(google: Google, box: Box, tree_with_peer: DemoTree) -> None:
    """S16, X07."""
    configure(box, google, second=False)
    google.write_token(box.home.token, expired=True)
    before = box.home.token.read_bytes()

    box.run_process("run", "--once", umask=0, check=0)
    box.run_process("doctor", umask=0, check=0)
    tree_with_peer.submit(ANA, "survey", CODE)
    box.run_process("run", "--once", umask=0, check=0)

    assert box.home.token.read_bytes() != before
    assert accessible_to_others(box.home.root) == {}
