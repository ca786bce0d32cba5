"""Commands in a bare environment, as processes."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests import in_process
from tests.conftest import WIDE
from tests.support import OWNER, Box

pytestmark = pytest.mark.check_only


# A `HOME` that cannot be expanded has the same effect as none for a user without an entry in the user database.
NO_HOME = {"HOME": "~"}


# Typer detects the shell from its parent processes; this variable of Typer has it take the name instead.
SHELL_BY_NAME = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


def assert_no_traceback(done: Any, *arguments: str) -> None:
    assert b"Traceback" not in done.stderr, (arguments, done.stderr)
    assert b"Error in sys.excepthook" not in done.stderr, arguments


def run_with(env: dict[str, str], *arguments: str, cwd: Path | None = None, typed: bytes = b"") -> Any:
    return subprocess.run(
        [sys.executable, "-P", "-m", "syftnotify", *arguments],
        env=env,
        cwd=cwd,
        input=typed,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.thorough
@pytest.mark.parametrize("arguments", [("install",), ("--install-completion", "bash")])
def test_install_without_home_directory_names_the_variable(box: Box, arguments: tuple[str, ...]) -> None:
    """D1"""
    done = run_with({**NO_HOME, **SHELL_BY_NAME, "SYFTNOTIFY_HOME": str(box.home.root)}, *arguments)

    assert_no_traceback(done, *arguments)
    assert done.returncode in {1, 2}
    assert b"there is no home directory" in done.stderr
    assert b"set HOME" in done.stderr


@pytest.mark.thorough
def test_missing_current_folder_matters_to_relative_paths_only(box: Box, tmp_path: Path) -> None:
    """D1"""
    program = "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); sys.argv[1:2] = []\n"
    program += "from syftnotify.cli.app import main; main()"
    for home, code in ((str(box.home.root), 3), ("relative", 2)):
        (tmp_path / "gone").mkdir()
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, str(tmp_path / "gone"), "--home", home, "status"],
            env={},
            capture_output=True,
            check=False,
        )
        assert_no_traceback(done)
        assert done.returncode == code


_AS_ANYBODY = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]


_PACKAGES = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}


def _runs_as_anybody(python: str) -> bool:
    program = "import os, sys, syftnotify.cli.app, pydantic; assert os.access(sys.executable, os.X_OK)"
    command = [*_AS_ANYBODY, python, "-P", "-c", program]
    return subprocess.run(command, env=_PACKAGES, cwd="/", capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become another user")
@pytest.mark.thorough
def test_user_without_entry_can_run_a_worker() -> None:
    """D1: as in a container: a number instead of a user, and an empty environment."""
    python = next((path for path in ("/usr/bin/python3", sys.executable) if _runs_as_anybody(path)), None)
    if python is None:
        pytest.skip("no interpreter that other users can run sees the packages")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, 12345, 12345)
        box = ("--syftbox-root", str(folder / "box"), "--transport", "maildir")
        for arguments in (("init", "--email", OWNER, *box), ("start",), ("stop",)):
            command = [*_AS_ANYBODY, python, "-P", "-m", "syftnotify", "--home", str(folder / "home"), *arguments]
            done = subprocess.run(command, env=_PACKAGES, cwd=folder, capture_output=True, timeout=60, check=False)
            assert_no_traceback(done, *arguments)
            assert done.returncode == 0, (arguments, done.stderr)


@pytest.mark.thorough
def test_argument_that_is_not_text_is_an_error(wide_box: Box) -> None:
    """D2"""
    done = run_with(wide_box.environment(), "why", os.fsdecode(b"\xff"))

    assert_no_traceback(done)
    assert done.returncode == 2
    assert b"not valid UTF-8" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "redirected"),
    [
        pytest.param("history --json", ">&-", marks=pytest.mark.thorough),
        pytest.param("emit bogus --entity x", "2>&-", marks=pytest.mark.thorough),
        ("status", ">&- 2>&-"),
        ("secret set x", "<&-"),
    ],
)
def test_closed_streams_do_not_matter(box: Box, arguments: str, redirected: str) -> None:
    """D2"""
    command = f"{shlex.quote(sys.executable)} -P -m syftnotify {arguments} {redirected}"
    done = subprocess.run(["/bin/sh", "-c", command], env=box.environment(), capture_output=True, check=False)

    assert_no_traceback(done)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is full")
def test_output_that_cannot_be_written_is_an_error(box: Box) -> None:
    """D2"""
    command = f"{shlex.quote(sys.executable)} -P -m syftnotify status > /dev/full"
    done = subprocess.run(["/bin/sh", "-c", command], env=box.environment(), capture_output=True, check=False)

    assert_no_traceback(done)
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"check where the output goes" in done.stderr


def test_output_to_a_reader_that_has_ended_prints_no_error(box: Box) -> None:
    """D2: as in `notify status | head -0`; the small output is still buffered when the command ends."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-P", "-m", "syftnotify", "status", "--json"]
    done = subprocess.run(command, env=box.environment(), stdout=write_end, stderr=subprocess.PIPE, check=False)
    os.close(write_end)

    assert done.stderr == b""


LOCALES = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("name", ["C", pytest.param("ascii", marks=pytest.mark.thorough)])
def test_output_escapes_what_the_locale_lacks(wide_box: Box, name: str) -> None:
    """D2: tests/unit/cli/test_environment.py shows it for other commands."""
    env = {**wide_box.environment(), **LOCALES[name]}
    history, preview = run_with(env, "history"), run_with(env, "preview", WIDE)

    assert_no_traceback(history)
    assert_no_traceback(preview)
    assert rb"\u2615" in history.stdout


@pytest.mark.parametrize(
    "columns", ["0", *(pytest.param(each, marks=pytest.mark.thorough) for each in ("1", "-3", "none"))]
)
def test_invalid_terminal_width_is_ignored(box: Box, columns: str) -> None:
    """D2"""
    done = run_with({**box.environment(), "COLUMNS": columns}, "status")

    assert b"not running" in done.stdout


def test_worker_commands_work_without_home_directory(box: Box) -> None:
    """D1: with `--home` alone."""
    env = {**NO_HOME, **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {})}
    for command in ("start", "restart", "ensure", "stop"):
        done = in_process.run(("--home", str(box.home.root), command), env)
        assert "Traceback" not in done.stderr
        assert done.returncode == 0, (command, done.stderr)
