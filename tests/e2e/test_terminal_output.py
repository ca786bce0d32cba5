"""Output in a terminal of 80 columns and 24 lines, and in a pipe."""

from __future__ import annotations

import os
import re
import shlex
import signal
import time

import pytest
from rich.cells import cell_len

import syftnotify
from syftnotify.system import worker_status
from tests.queries import json_list
from tests.support import ANA, Box, wait_until
from tests.terminal import OpenTerminal
from tests.trees import TREES, Disk

LONG = "merge of the national health survey with 全国の病院の登録簿, third attempt :x: [red]"
ESCAPE = "\x1b"
COMMANDS = [
    "",
    "--help",
    "status",
    "history",
    f"why {LONG!r}",
    "doctor",
    "dead-letters",
    "alerts list",
    "silence list",
    "token list",
    "secret list",
    "preview",
    "preview job_failed",
    "run --dry-run",
    "test",
    "why nothing-of-this-name-is-recorded-in-any-layout-of-the-tree",
    "status --interval",
    "history --state delivered-or-not",
]


@pytest.fixture
def busy_box(box: Box) -> Box:
    """Long names, a dead letter, warnings about the configuration, and some of everything that is listed."""
    box.configure(
        {
            "transports": {
                "box": {"type": "maildir"},
                "on-call-of-the-data-centre": {
                    "type": "webhook",
                    "url": "http://127.0.0.1:9/x",
                    "max_retries": 0,
                    "headers": {f"X-Team-{number}": "secret:used-by-several-headers" for number in range(3)},
                },
                "チーム": {"type": "maildir", "path": "mail-2"},
                "team": {"type": "discord", "url": "http://127.0.0.1:9/in-plain-text"},
            },
            "extra_routes": [{"events": ["job_failed"], "to": ["on-call-of-the-data-centre"]}],
            "serve": {},
        }
    )
    box.notify("secret", "set", "used-by-several-headers", stdin="value\n", check=0)
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.scan()
    tree.submit(LONG, ANA)
    tree.approve(LONG, ANA)
    tree.run(LONG, ANA, code=1, stderr="KeyError: 'person'\n")
    box.clock.advance(10)
    box.scan()
    syftnotify.emit("job_failed", "nightly synchronisation of all registries", user=ANA, home=box.home.root)
    for add in (
        ("alerts", "add", "--tag", "gpu", "--email", "operators@data-centre.example", "--on-long-run-minutes", "90"),
        ("silence", "add", "--job", "nightly-*", "--for", "2h", "--reason", "maintenance of the cluster and its disks"),
        ("token", "create", "--user", ANA, "--role", "viewer", "--expires", "30d"),
    ):
        box.notify(*add, check=0)
    return box


@pytest.mark.thorough
def test_output_in_a_terminal_is_not_wider_than_80_columns(busy_box: Box, open_terminal: OpenTerminal) -> None:
    """A single word may be: a path or an entity stays whole, so that it can be copied."""
    for command in COMMANDS:
        terminal = open_terminal(busy_box, *shlex.split(command))
        terminal.wait()
        lines = terminal.output.splitlines()
        too_wide = [line for line in lines if cell_len(line) > 80 and " " in line.strip()]

        assert lines, command
        assert "\nTraceback" not in terminal.output, terminal.output
        if command.startswith("preview "):  # code and error output in a mail are indented and stay as they are
            too_wide = [line for line in too_wide if not line.startswith("   ")]
        assert not too_wide, (command, too_wide)


@pytest.mark.thorough
def test_history_has_a_header_and_one_line_per_notification(busy_box: Box, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal(busy_box, "history")
    assert terminal.wait() == 0
    header, *lines = terminal.output.splitlines()
    records = json_list(busy_box, "history")

    assert header.split() == ["ID", "TIME", "STATE", "EVENT", "RECIPIENT", "ABOUT"]
    assert [line[:8] for line in lines] == [record["id"][:8] for record in records]
    busy_box.env["COLUMNS"] = ""
    piped = busy_box.run_process("history", check=0).stdout.splitlines()
    assert all(record["recipient"] in line for record, line in zip(records, piped, strict=True))
    assert any(LONG in line for line in piped)


@pytest.mark.thorough
def test_colours_are_only_in_a_terminal_without_no_color(busy_box: Box, open_terminal: OpenTerminal) -> None:
    """https://no-color.org; neither colours nor boxes are in a pipe."""
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-9]m")
    plain = open_terminal(busy_box, "doctor", TERM="xterm-256color", NO_COLOR="1")
    shown = open_terminal(busy_box, "doctor", TERM="xterm-256color", NO_COLOR="")
    assert plain.wait() == shown.wait()
    assert coloured.search(shown.output), shown.output
    assert not coloured.search(plain.output), plain.output
    busy_box.env["NO_COLOR"] = ""
    for command in ("--help", "doctor", "status", "history", "alerts list"):
        piped = busy_box.run_process(*command.split())
        assert piped.stdout
        assert ESCAPE not in piped.stdout + piped.stderr
        assert not set("─│╭╰━┃") & set(piped.stdout + piped.stderr)


@pytest.mark.thorough
@pytest.mark.parametrize(("command", "interval"), [("start", 0.5), ("run", 2.0)])
def test_first_scan_of_a_large_tree_shows_its_progress(
    box: Box, open_terminal: OpenTerminal, command: str, interval: float
) -> None:
    """The worker is stopped again and again, so that its scan takes long on any machine."""
    tree = TREES["A"](Disk(box.root))
    for number in range(5000):
        tree.submit(f"job-{number}", ANA)
    terminal = open_terminal(box, command, TERM="xterm")

    own = terminal.process.pid if command == "run" else None
    pid = wait_until(lambda: own or worker_status.read(box.home).pid, what="the worker")
    while "first scan: " not in terminal.output:
        assert worker_status.read(box.home).last_scan_s is None, terminal.output
        os.kill(pid, signal.SIGSTOP)
        time.sleep(interval + 0.1)  # longer than between two reports
        os.kill(pid, signal.SIGCONT)
        terminal.read_for(0.1)
    if command == "run":
        os.kill(pid, signal.SIGINT)
    assert re.search(r"first scan: [\d,]+ of 5,000 jobs", terminal.output)
    assert terminal.wait() == 0
