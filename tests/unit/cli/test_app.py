"""Help, version, home folder and usage errors of `notify`."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from syftnotify import __version__
from tests.queries import emit_event, json_object
from tests.support import ANA, TIMEOUT, Box
from tests.trees import TREES, Disk

LISTED_COMMANDS = ("init", "start", "status", "logs", "stop", "restart", "run", "demo")


def test_help_lists_every_command_within_80_columns(new_user: Box) -> None:
    """S16."""
    done = new_user.notify("--help", check=0)

    assert all(f"\n  {command} " in done.stdout for command in LISTED_COMMANDS)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not [text for text in done.stdout.splitlines()[1:] if text.endswith("...")], "a line of help is cut off"
    assert "\n  dead " not in done.stdout


@pytest.mark.parametrize("command", LISTED_COMMANDS)
def test_command_help_fits_80_columns(new_user: Box, command: str) -> None:
    """S16."""
    done = new_user.notify(command, "--help", check=0)

    assert "Usage:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [("alerts",), ("secret",), ("silence",), ("token",), ("history",)])
def test_help_is_not_cut_off(new_user: Box, arguments: tuple[str, ...]) -> None:
    lines = new_user.notify(*arguments, "-h", check=0).stdout.splitlines()

    assert lines
    assert not [line for line in lines[1:] if line.endswith("...") or len(line) > 80]


def test_notify_alone_shows_the_state_and_the_next_command(new_user: Box, box: Box, user_home: Path) -> None:
    shown = new_user.notify(check=0).stdout
    assert "worker: not running" in shown
    assert "run `notify init`" in shown
    assert not user_home.exists()
    box.configure()
    assert "run `notify start`" in box.notify(check=0).stdout
    box.notify("start", check=0)
    try:
        shown = box.notify(check=0).stdout
        assert "worker: running" in shown
        assert "`notify history`" in shown
    finally:
        box.notify("stop", check=0)


def test_printed_commands_repeat_the_home_option(new_user: Box, tmp_path: Path) -> None:
    other = tmp_path / "other home"

    shown = new_user.notify("--home", str(other), "stop", check=3).stderr
    assert f"run `notify start` (with `--home '{other}'`)" in shown
    assert "`notify start`" in new_user.notify("stop", check=3).stderr


def completed(box: Box, *words: str, shell: str = "bash") -> list[str]:
    """What a shell gets for a line; in zsh each as `"name"`."""
    asked = {
        "_NOTIFY_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": " ".join(["notify", *words]),
        "COMP_WORDS": " ".join(["notify", *words]),
        "COMP_CWORD": str(len(words)),
    }
    script = Path(sys.executable).parent / "notify"
    answer = subprocess.check_output([script], env=box.environment() | asked, text=True, timeout=TIMEOUT)
    return re.findall(r'"(.*)"', answer) if shell == "zsh" else answer.split()


@pytest.mark.thorough
def test_names_are_completed(box: Box) -> None:
    """Of jobs, transports, event kinds and templates; nothing where there is no home."""
    box.configure({"transports": {"box": {"type": "maildir"}, "spare": {"type": "maildir"}}})
    emit_event(box, "job_failed", payload={"name": "nightly-sync"})
    box.scan()

    assert completed(box, "why", "") == ["nightly-sync"]
    assert completed(box, "test", "s") == ["spare"]
    assert completed(box, "history", "--event", "job_fa") == ["job_failed"]
    assert completed(box, "preview", "new_j") == ["new_job"]
    assert completed(box, "--home", shlex.quote(str(box.folder / "none")), "why", "") == []


@pytest.mark.thorough
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_offers_nothing_that_a_shell_interprets(box: Box, shell: str) -> None:
    """Shells insert names as they are. A job of the tree is offered by its entity instead, which is percent-encoded."""
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.scan()
    for name in (
        "a; touch here #",
        "$(touch here)",
        "`id`",
        "\\$(id)",
        "~root",
        "-rf",
        "=ls",
        'b"c',
        "d*",
        "two words",
    ):
        tree.submit(name, ANA)
    tree.submit("safe-1", ANA)
    box.clock.advance(10)
    box.scan()

    names = completed(box, "why", "", shell=shell)
    assert "safe-1" in names
    assert len(names) == 10  # `~` is in the entity as it is
    assert not [name for name in names if not re.fullmatch(r"[\w@%+,./-]+", name, re.ASCII)]
    assert {name for name in names if name.startswith("job/")} == set(names) - {"safe-1"}


def test_version_option_prints_the_version(new_user: Box) -> None:
    """S16."""
    assert __version__ in new_user.notify("--version", check=0).stdout


def test_read_only_commands_create_no_home(new_user: Box, user_home: Path) -> None:
    """S16: status and a dry run write nothing."""
    new_user.notify("status", check=3)
    new_user.notify("run", "--dry-run", check=2)

    assert not user_home.exists()


@pytest.mark.parametrize(
    "arguments", [("emit", "bogus", "--entity", "x"), ("preview", "bogus"), ("history", "--event", "bogus")]
)
def test_unknown_kind_without_a_near_name_gets_no_suggestion(box: Box, arguments: tuple[str, ...]) -> None:
    """D9: and `emit` does not list the kinds that it refuses."""
    stderr = box.notify(*arguments, check=2).stderr

    assert "did you mean" not in stderr
    assert arguments[0] != "emit" or "digest" not in stderr


def test_emit_unknown_kind_suggests_the_nearest(box: Box) -> None:
    """D9"""
    done = box.notify("emit", "job_faild", "--entity", "x", check=2)

    assert "did you mean `job_failed`?" in done.stderr
    assert "gpu_available" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("--home", "", "status"), ("status", "--home", " "), ("init", "--syftbox-root", "")]
)
def test_empty_path_option_is_refused(box: Box, arguments: tuple[str, ...]) -> None:
    """D8: it would mean the current folder."""
    assert "expected a path, got an empty text" in box.notify(*arguments, check=2).stderr


@pytest.mark.parametrize("arguments", [("--home", "HERE", "status", "--json"), ("status", "--json", "--home", "HERE")])
def test_home_option_anywhere_overrides_the_variable(box: Box, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """S15: before and after the command."""
    elsewhere = str(tmp_path / "elsewhere")

    done = box.notify(*(elsewhere if word == "HERE" else word for word in arguments), check=3)

    assert json_object(done.stdout)["home"] == elsewhere


def test_home_is_the_variable_otherwise_below_the_home_directory(new_user: Box, box: Box, user_home: Path) -> None:
    """S15."""
    assert json_object(new_user.notify("status", "--json").stdout)["home"] == str(user_home)
    assert json_object(box.notify("status", "--json").stdout)["home"] == str(box.home.root)


@pytest.mark.parametrize("arguments", [("frobnicate",), ("status", "--frob"), ("logs", "-n", "many")])
def test_usage_error_exits_with_code_two(new_user: Box, arguments: tuple[str, ...]) -> None:
    """S16."""
    done = new_user.notify(*arguments, check=2)

    assert "Usage:" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
