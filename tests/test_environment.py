"""Commands in a bare environment: no home directory, no user entry, an output that cannot show every character."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.sources.spool import emit
from syftnotify.system.paths import Home, expand_path, try_expand_path
from tests.support import OWNER, Box

# A `HOME` that cannot be expanded has the same effect as none for a user without an entry in the user database.
HOMELESS = {"HOME": "~"}


def in_environment(env: dict[str, str], *words: str, cwd: Path | None = None, typed: bytes = b"") -> Any:
    return subprocess.run(
        [sys.executable, "-P", "-m", "syftnotify", *words],
        env=env,
        cwd=cwd,
        input=typed,
        capture_output=True,
        timeout=60,
        check=False,
    )


def assert_no_traceback(done: Any, *words: str) -> None:
    assert b"Traceback" not in done.stderr, (words, done.stderr)
    assert b"Error in sys.excepthook" not in done.stderr, words


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
    ("ensure",),
    ("start",),
    ("restart",),
    ("stop",),
    ("init", "--interval", "20", "--no-test"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_works_without_a_home_directory(box: Box, words: tuple[str, ...]) -> None:
    """D1: with `--home`, and nothing else."""
    done = in_environment(HOMELESS, "--home", str(box.home.root), *words)

    assert_no_traceback(done, *words)
    assert done.returncode == {"status": 3, "stop": 3, "logs": 1}.get(words[0], 0), (done.stdout, done.stderr)


def test_init_works_without_a_home_directory(tmp_path: Path) -> None:
    """D1"""
    place = ("--home", str(tmp_path / "home"))
    made = ("init", "--email", OWNER, "--syftbox-root", str(tmp_path / "box"), "--transport", "maildir")

    assert in_environment(HOMELESS, *place, *made).returncode == 0


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (HOMELESS, ("status",)),
        (HOMELESS, ("init", "--email", OWNER)),
        ({**HOMELESS, "SYFTNOTIFY_HOME": ""}, ("start",)),
        ({**HOMELESS, "SYFTNOTIFY_HOME": "~/x"}, ("emit", "job_failed", "--entity", "x")),
    ],
)
def test_command_without_any_home_says_what_to_do(env: dict[str, str], words: tuple[str, ...]) -> None:
    """D1"""
    done = in_environment(env, *words)

    assert_no_traceback(done, *words)
    assert done.returncode == 2
    assert b"there is no home directory" in done.stderr
    assert (b"--home DIR" in done.stderr) == (not env.get("SYFTNOTIFY_HOME"))


# Typer detects the shell from its parent processes; this variable of Typer has it take the name instead.
NAMED_SHELL = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


@pytest.mark.parametrize("words", [("install",), ("uninstall",), ("--install-completion", "bash")])
def test_what_needs_a_home_directory_says_so(box: Box, words: tuple[str, ...]) -> None:
    """D1"""
    done = in_environment({**HOMELESS, **NAMED_SHELL, "SYFTNOTIFY_HOME": str(box.home.root)}, *words)

    assert_no_traceback(done, *words)
    assert done.returncode in {1, 2}
    assert b"there is no home directory" in done.stderr
    assert b"set HOME" in done.stderr


def test_init_without_a_home_directory_needs_the_syftbox_root(tmp_path: Path) -> None:
    """D1"""
    done = in_environment(
        HOMELESS, "--home", str(tmp_path / "home"), "init", "--email", OWNER, "--transport", "maildir"
    )

    assert done.returncode == 2
    assert b"--syftbox-root" in done.stderr


def test_config_without_a_home_directory_needs_its_paths(box: Box) -> None:
    """D1: as mistakes of the configuration, by their paths."""
    for settings, path in (({"syftbox_root": None}, "syftbox_root"), ({"syftbox_root": "~/box"}, "syftbox_root")):
        box.configure(settings)
        done = in_environment(HOMELESS, "--home", str(box.home.root), "run", "--once")
        assert done.returncode == 2
        assert f"  {path}: ".encode() in done.stderr
        assert b"there is no home directory" in done.stderr


def test_unknown_user_in_a_path_is_an_error() -> None:
    """D1"""
    done = in_environment({}, "--home", "~nobody-of-this-name/x", "status")

    assert_no_traceback(done)
    assert done.returncode == 2
    assert b"there is no user 'nobody-of-this-name'" in done.stderr


def test_current_folder_that_is_gone_matters_to_relative_paths_only(box: Box, tmp_path: Path) -> None:
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


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become another user")
def test_user_without_an_entry_runs_a_worker() -> None:
    """D1: as in a container: a number instead of a user, and an empty environment."""
    python = next((path for path in ("/usr/bin/python3", sys.executable) if _runs_as_anybody(path)), None)
    if python is None:
        pytest.skip("no interpreter that other users can run sees the packages")

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.chown(place, 12345, 12345)
        box = ("--syftbox-root", str(place / "box"), "--transport", "maildir")
        for words in (("init", "--email", OWNER, *box), ("start",), ("stop",)):
            command = [*_AS_ANYBODY, python, "-P", "-m", "syftnotify", "--home", str(place / "home"), *words]
            done = subprocess.run(command, env=_PACKAGES, cwd=place, capture_output=True, timeout=60, check=False)
            assert_no_traceback(done, *words)
            assert done.returncode == 0, (words, done.stderr)


_PACKAGES = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
_AS_ANYBODY = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]


def _runs_as_anybody(python: str) -> bool:
    program = "import os, sys, syftnotify.cli.app, pydantic; assert os.access(sys.executable, os.X_OK)"
    command = [*_AS_ANYBODY, python, "-P", "-c", program]
    return subprocess.run(command, env=_PACKAGES, cwd="/", capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_home_that_cannot_be_read_is_an_error(box: Box) -> None:
    """D1"""
    box.home.root.chmod(0)
    try:
        for words in (*COMMANDS, ("secret", "set", "x")):
            done = in_environment({}, "--home", str(box.home.root), *words)
            assert_no_traceback(done, *words)
            assert done.returncode or words[0] == "preview", words
    finally:
        box.home.root.chmod(0o700)


def test_optional_places_are_none_without_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """D1"""
    monkeypatch.setenv("HOME", "~")
    monkeypatch.delenv("SYFTNOTIFY_HOME", raising=False)

    assert try_expand_path("~/.syft-bg") is None
    with pytest.raises(ConfigError, match="there is no home directory"):
        expand_path("~/x")
    with pytest.raises(ConfigError, match="there is no home directory"):
        Home.at()


# -- output ----------------------------------------------------------------------------------------------------------

CUP = "\u2615"
ENCODINGS = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


@pytest.fixture
def cup(box: Box) -> Box:
    """A box whose outbox and log hold a character that few encodings have."""
    emit("job_failed", f"job {CUP}", payload={"name": CUP}, home=box.home.root)
    box.look()
    box.home.log.write_text(f"2026-01-01T00:00:00.000Z INFO syftnotify.worker: about {CUP}\n", encoding="utf-8")
    return box


@pytest.mark.parametrize("env", ENCODINGS, ids=str)
@pytest.mark.parametrize("words", ["history", "logs", "history --json", "logs --json", f"preview {CUP}", CUP])
def test_output_escapes_what_its_encoding_lacks(cup: Box, env: dict[str, str], words: str) -> None:
    """D2: text, the log, JSON, errors of our own and of the command line."""
    done = in_environment({**cup.environment(), **env}, *words.split())

    assert_no_traceback(done)
    if CUP not in words:
        assert rb"\u2615" in done.stdout
    if "--json" in words:
        assert [json.loads(line) for line in done.stdout.decode("ascii").splitlines()]


@pytest.mark.parametrize("words", [("run", "--dry-run"), ("why", f"job {CUP}")], ids=" ".join)
def test_tables_escape_what_their_encoding_lacks(cup: Box, words: tuple[str, ...]) -> None:
    """D2"""
    emit("job_failed", f"job {CUP}", home=cup.home.root)
    done = in_environment({**cup.environment(), "PYTHONIOENCODING": "latin-1:strict"}, *words)

    assert_no_traceback(done, *words)
    assert rb"\u2615" in done.stdout


def test_argument_that_is_not_text_is_an_error(cup: Box) -> None:
    """D2"""
    done = in_environment(cup.environment(), "why", os.fsdecode(b"\xff"))

    assert_no_traceback(done)
    assert done.returncode == 2
    assert b"not valid UTF-8" in done.stderr


@pytest.mark.parametrize(
    ("words", "redirected"),
    [("history --json", ">&-"), ("emit bogus --entity x", "2>&-"), ("status", ">&- 2>&-"), ("secret set x", "<&-")],
)
def test_closed_streams_do_not_matter(box: Box, words: str, redirected: str) -> None:
    """D2"""
    command = f"{shlex.quote(sys.executable)} -P -m syftnotify {words} {redirected}"
    done = subprocess.run(["/bin/sh", "-c", command], env=box.environment(), capture_output=True, check=False)

    assert_no_traceback(done)


@pytest.mark.parametrize("columns", ["0", "1", "-3", "none"])
def test_width_of_the_terminal_that_is_nonsense_is_ignored(box: Box, columns: str) -> None:
    """D2"""
    done = in_environment({**box.environment(), "COLUMNS": columns}, "status")

    assert b"not running" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is full")
def test_output_that_cannot_be_written_is_an_error(box: Box) -> None:
    """D2"""
    command = f"{shlex.quote(sys.executable)} -P -m syftnotify status > /dev/full"
    done = subprocess.run(["/bin/sh", "-c", command], env=box.environment(), capture_output=True, check=False)

    assert_no_traceback(done)
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"check where the output goes" in done.stderr
