"""Commands without a home directory, and with outputs that cannot show every character."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.sources.spool import emit
from syftnotify.system.paths import Home, expand_path, try_expand_path
from tests import in_process
from tests.conftest import WIDE
from tests.support import OWNER, Box

COMMANDS = [
    ("status",),
    ("status", "--json"),
    ("doctor",),
    ("run", "--once"),
    ("run", "--dry-run"),
    ("history",),
    ("why", "x"),
    ("logs", "-n", "5"),
    ("preview", "new_job"),
    ("alerts", "list"),
    ("dead-letters",),
    ("dead",),
    ("resend", "--all-dead"),
    ("prune", "--older-than", "3d"),
    ("test",),
    ("emit", "job_failed", "--entity", "x"),
    ("stop",),
    ("init", "--interval", "20", "--no-test"),
]


Done = subprocess.CompletedProcess[str]

# A `HOME` that cannot be expanded has the same effect as none for a user without an entry in the user database.
NO_HOME = {"HOME": "~"}


def assert_no_traceback(done: Done, *arguments: str) -> None:
    assert "Traceback" not in done.stderr, (arguments, done.stderr)


def run_with(env: dict[str, str], *arguments: str, encoding: str = "utf-8") -> Done:
    return in_process.run(arguments, env, encoding=encoding)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_command_works_without_home_directory(box: Box, arguments: tuple[str, ...]) -> None:
    """D1: with `--home` alone."""
    done = run_with(NO_HOME, "--home", str(box.home.root), *arguments)

    assert_no_traceback(done, *arguments)
    assert done.returncode == {"status": 3, "stop": 3, "logs": 1}.get(arguments[0], 0), (done.stdout, done.stderr)


def test_init_works_without_home_directory(tmp_path: Path) -> None:
    """D1"""
    folder = ("--home", str(tmp_path / "home"))
    made = ("init", "--email", OWNER, "--syftbox-root", str(tmp_path / "box"), "--transport", "maildir")

    assert run_with(NO_HOME, *folder, *made).returncode == 0


@pytest.mark.parametrize(
    ("env", "arguments"),
    [
        (NO_HOME, ("status",)),
        (NO_HOME, ("init", "--email", OWNER)),
        ({**NO_HOME, "SYFTNOTIFY_HOME": ""}, ("start",)),
        ({**NO_HOME, "SYFTNOTIFY_HOME": "~/x"}, ("emit", "job_failed", "--entity", "x")),
    ],
)
def test_command_without_any_home_names_the_option(env: dict[str, str], arguments: tuple[str, ...]) -> None:
    """D1"""
    done = run_with(env, *arguments)

    assert_no_traceback(done, *arguments)
    assert done.returncode == 2
    assert "there is no home directory" in done.stderr
    assert ("--home DIR" in done.stderr) == (not env.get("SYFTNOTIFY_HOME"))


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_systemd_command_without_home_directory_names_the_variable(box: Box, command: str) -> None:
    """D1"""
    done = run_with({**NO_HOME, "SYFTNOTIFY_HOME": str(box.home.root)}, command)

    assert_no_traceback(done, command)
    assert done.returncode in {1, 2}
    assert "there is no home directory" in done.stderr
    assert "set HOME" in done.stderr


def test_init_without_home_directory_needs_syftbox_root(tmp_path: Path) -> None:
    """D1"""
    done = run_with(NO_HOME, "--home", str(tmp_path / "home"), "init", "--email", OWNER, "--transport", "maildir")

    assert done.returncode == 2
    assert "--syftbox-root" in done.stderr


def test_config_without_home_directory_needs_its_paths(box: Box) -> None:
    """D1: as errors of the configuration, with their paths."""
    for settings, path in (({"syftbox_root": None}, "syftbox_root"), ({"syftbox_root": "~/box"}, "syftbox_root")):
        box.configure(settings)
        done = run_with(NO_HOME, "--home", str(box.home.root), "run", "--once")
        assert done.returncode == 2
        assert f"  {path}: " in done.stderr
        assert "there is no home directory" in done.stderr


def test_unknown_user_in_a_path_is_an_error() -> None:
    """D1"""
    done = run_with({}, "--home", "~nobody-of-this-name/x", "status")

    assert_no_traceback(done)
    assert done.returncode == 2
    assert "there is no user 'nobody-of-this-name'" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_home_that_cannot_be_read_is_an_error(box: Box) -> None:
    """D1"""
    box.home.root.chmod(0)
    try:
        for arguments in (*COMMANDS, ("secret", "set", "x")):
            done = run_with({}, "--home", str(box.home.root), *arguments)
            assert_no_traceback(done, *arguments)
            assert done.returncode or arguments[0] == "preview", arguments
    finally:
        box.home.root.chmod(0o700)


def test_optional_paths_are_none_without_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """D1"""
    monkeypatch.setenv("HOME", "~")
    monkeypatch.delenv("SYFTNOTIFY_HOME", raising=False)

    assert try_expand_path("~/.syft-bg") is None
    with pytest.raises(ConfigError, match="there is no home directory"):
        expand_path("~/x")
    with pytest.raises(ConfigError, match="there is no home directory"):
        Home.at()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("arguments", ["history", "logs", "history --json", "logs --json", f"preview {WIDE}", WIDE])
def test_output_escapes_what_its_encoding_lacks(wide_box: Box, encoding: str, arguments: str) -> None:
    """D2: text, the log, JSON, errors of the program and of the command line."""
    done = run_with(wide_box.environment(), *arguments.split(), encoding=encoding)

    assert_no_traceback(done)
    if WIDE not in arguments:
        assert r"\u2615" in done.stdout
    if "--json" in arguments:
        assert [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("arguments", [("run", "--dry-run"), ("why", f"job {WIDE}")], ids=" ".join)
def test_tables_escape_what_their_encoding_lacks(wide_box: Box, arguments: tuple[str, ...]) -> None:
    """D2"""
    emit("job_failed", f"job {WIDE}", home=wide_box.home.root)
    done = run_with(wide_box.environment(), *arguments, encoding="latin-1")

    assert_no_traceback(done, *arguments)
    assert r"\u2615" in done.stdout
