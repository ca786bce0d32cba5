"""`notify logs`, and what commands write to the log, in this process."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from syftnotify.services.demo import Tree as DemoTree
from tests.log_lines import append, line
from tests.support import ANA, Box
from tests.workers import EchoServer, demo_tree

ESCAPE, OVERRIDE = "\x1b", "\u202e"  # ANSI, right to left


TRACEBACK = ("    Traceback (most recent call last):", '      File "x.py", line 1', "    ValueError: no")
MIXED = (line(1, "DEBUG"), line(2, "INFO"), line(3, "WARNING"), line(4, "ERROR"), *TRACEBACK, line(5))


@pytest.mark.parametrize(
    ("options", "first"), [((), 10), (("-n", "0"), 60), (("notify", "-n", "1"), 59), (("-n", "500"), 0)], ids=str
)
def test_logs_shows_the_last_lines(box: Box, options: tuple[str, ...], first: int) -> None:
    """S16: fifty by default."""
    append(box.home.log, *(line(number) for number in range(60)))

    shown = box.notify("logs", *options, check=0).stdout.splitlines()

    assert shown == [line(number) for number in range(first, 60)]


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", MIXED), ("warning", MIXED[2:-1]), ("error", MIXED[3:-1]), ("WARNING", MIXED[2:-1])],
)
def test_logs_level_hides_lower_levels(box: Box, level: str, shown: tuple[str, ...]) -> None:
    """S16, N27: a traceback belongs to its record."""
    append(box.home.log, *MIXED)

    assert box.notify("logs", "--level", level, check=0).stdout.splitlines() == list(shown)


def test_logs_counts_a_traceback_as_one_record(box: Box) -> None:
    """S16."""
    append(box.home.log, *MIXED)

    assert box.notify("logs", "-n", "2", check=0).stdout.splitlines() == list(MIXED[3:])


def test_logs_json_is_one_object_per_record(box: Box) -> None:
    """S16."""
    append(box.home.log, "arguments of a program that crashed", *MIXED[3:])

    objects = [json.loads(text) for text in box.notify("logs", "--json", check=0).stdout.splitlines()]

    assert objects[0] == {"message": "arguments of a program that crashed"}
    assert objects[1]["level"] == "ERROR"
    assert objects[1]["logger"] == "syftnotify.worker"
    assert objects[1]["time"] == "2026-01-01T00:00:00.004Z"
    assert objects[1]["message"] == "\n".join(["line 4", *TRACEBACK])
    assert objects[2]["message"] == "line 5"


@pytest.mark.parametrize("arguments", [("logs",), ("logs", "approve")])
def test_logs_missing_log_is_exit_one(box: Box, arguments: tuple[str, ...]) -> None:
    """S16."""
    done = box.notify(*arguments, check=1)

    assert "there is no log" in done.stderr


def test_run_once_escapes_a_hostile_job_name_in_the_log(box: Box) -> None:
    """S16."""
    tree = demo_tree(box)
    box.notify("run", "--once", check=0)
    tree.submit(ANA, f"evil{ESCAPE}[2J\n{OVERRIDE}name", "print(1)\n")

    box.notify("run", "--once", check=0)

    written = box.home.log.read_text(encoding="utf-8")
    assert ESCAPE not in written
    assert OVERRIDE not in written
    assert all(re.match(r"\d{4}-|    ", text) for text in written.splitlines())
    assert len(box.mails()) == 2


def test_run_once_logs_every_attempt_as_notification(box: Box) -> None:
    """N27."""
    DemoTree(box.root, box.snapshot).submit(ANA, "survey", "print(1)\n")

    box.notify("run", "--once", check=0)

    attempts = [text for text in box.home.log.read_text().splitlines() if "notification" in text]
    assert len(box.mails()) == 1
    assert any(" SENT" in text for text in attempts)


# -- secrets ---------------------------------------------------------------------------------------------------------


@pytest.fixture(
    params=[pytest.param(401, marks=pytest.mark.thorough), pytest.param(403, marks=pytest.mark.thorough), 500]
)
def echo_server(request: pytest.FixtureRequest) -> Iterator[EchoServer]:
    server = EchoServer(request.param)
    yield server
    server.close()


def test_log_and_status_files_contain_no_secret(box: Box, echo_server: EchoServer) -> None:
    """S16: neither tokens nor the path of a ping address, whatever a server answers."""
    echo_server.configure(box)
    DemoTree(box.root, box.snapshot).submit(ANA, "survey", "print(1)\n")

    runs = [box.notify("run", "--once", check=0) for _ in range(2)]
    status = box.notify("status", check=3)

    # With a rejected sign-in the worker is unhealthy, and then it sends no ping.
    assert ("/ping-SECRET" in echo_server.paths) == (echo_server.status == 500)
    assert any(path != "/ping-SECRET" for path in echo_server.paths)
    for text in (
        *(run.stdout + run.stderr for run in runs),
        status.stdout + status.stderr,
        *(path.read_text() for path in (box.home.log, box.home.state)),
    ):
        assert "SECRET" not in text
