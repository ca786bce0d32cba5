"""`notify logs -f` in a process of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.log_lines import append, line
from tests.support import TIMEOUT, Box, wait_until
from tests.workers import start_worker


@contextlib.contextmanager
def following(box: Box, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`notify logs -f`, and the lines that it has printed so far."""
    process = box.start_process("logs", "-f", *options)
    lines: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    stream = process.stdout
    reader = threading.Thread(target=lambda: lines.extend(iter(stream.readline, "")))
    reader.start()
    try:
        yield process, lines
    finally:
        process.kill()
        process.wait()
        reader.join(TIMEOUT)
        stream.close()
        process.stderr.close()


def test_logs_follow_through_a_rotation_until_ctrl_c(box: Box) -> None:
    """S16."""
    append(box.home.log, line(1))
    with following(box) as (process, lines):
        wait_until(lambda: line(1) + "\n" in lines, what="the earlier line")
        # This line is shown once, whether it is written before or after the command begins to follow.
        append(box.home.log, line(2))
        wait_until(lambda: line(2) + "\n" in lines, what="a new line")
        box.home.log.rename(box.home.log.with_name("notify.log.1"))
        append(box.home.log, line(3))
        wait_until(lambda: line(3) + "\n" in lines, what="the line after the rotation")
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""

    assert lines == [line(number) + "\n" for number in (1, 2, 3)]


@pytest.mark.thorough
def test_logs_follow_json_prints_one_object_per_record(box: Box) -> None:
    """D11: with the further lines of the record."""
    traceback = ("    Traceback (most recent call last):", '      File "x.py", line 1', "    ValueError: no")
    append(box.home.log, line(1))
    with following(box, "--json") as (_, lines):
        wait_until(lambda: lines, what="the earlier line")
        append(box.home.log, line(4, "ERROR"), *traceback, line(6))
        wait_until(lambda: any("line 6" in each for each in lines), what="the last record")

    assert [json.loads(each)["message"] for each in lines] == ["line 1", "\n".join(["line 4", *traceback]), "line 6"]


@pytest.mark.thorough
def test_worker_and_reader_continue_when_the_log_is_removed(box: Box) -> None:
    """B9."""
    start_worker(box)
    with following(box) as (_, lines):
        wait_until(lambda: lines, what="the earlier lines")
        box.home.log.unlink()
        box.notify("stop", check=0)
        wait_until(lambda: any("stopped" in each for each in lines), what="the last line of the worker")

    assert "stopped" in box.home.log.read_text()
    assert box.home.log.stat().st_mode & 0o777 == 0o600
