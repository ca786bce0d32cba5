"""The log file: what is written is harmless, and it can be followed through every rotation."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from syftnotify.system import logs
from tests.log_lines import append, line
from tests.support import TIMEOUT, wait_until


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[logging.Logger]:
    """Log to `path` as the worker does; the configuration of this process is restored."""
    root = logging.getLogger()
    handlers, level, umask = list(root.handlers), root.level, os.umask(0)
    try:
        logs.configure(path)
        yield logging.getLogger("syftnotify.test")
    finally:
        for handler in set(root.handlers) - set(handlers):
            root.removeHandler(handler)
            handler.close()
        root.handlers = handlers
        root.setLevel(level)
        os.umask(umask)


class Follower:
    """A thread that follows a log."""

    def __init__(self, path: Path, *, level: str = "debug") -> None:
        self.lines: list[str] = []
        self._done = threading.Event()
        self._is_following = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        following = logs.follow(path, level=level, sleep=self._sleep, until=self._done.is_set)
        self._running = self._pool.submit(lambda: self.lines.extend(following))
        assert self._is_following.wait(TIMEOUT), "the end of the file was not reached"

    def _sleep(self, _seconds: float) -> None:
        self._is_following.set()
        self._done.wait(0.01)

    def expect(self, *lines: str) -> None:
        """Wait for exactly these lines."""
        try:
            wait_until(lambda: len(self.lines) >= len(lines), what=f"{len(lines)} lines")
        finally:
            self.close()
        assert self.lines == list(lines)

    def close(self) -> None:
        self._done.set()
        self._running.result(TIMEOUT)
        self._pool.shutdown()


TRACEBACK = ("    Traceback (most recent call last):", '      File "x.py", line 1', "    ValueError: no")
MIXED = (line(1, "DEBUG"), line(2, "INFO"), line(3, "WARNING"), line(4, "ERROR"), *TRACEBACK, line(5))


# -- following -------------------------------------------------------------------------------------------------------


def test_follow_begins_at_the_call(tmp_path: Path) -> None:
    """S16: what is written before the first line is read is included."""
    path = tmp_path / "notify.log"
    append(path, line(1))

    following = logs.follow(path, until=lambda: True)
    append(path, line(2))

    assert list(following) == [line(2)]


def test_follow_continues_after_a_rotation(tmp_path: Path) -> None:
    """S16."""
    path = tmp_path / "notify.log"
    append(path, line(1))
    follower = Follower(path)

    append(path, line(2))
    path.rename(tmp_path / "notify.log.1")
    append(path, line(3), line(4))

    follower.expect(line(2), line(3), line(4))


def test_follow_keeps_the_last_line_before_a_rotation(tmp_path: Path) -> None:
    """S16: it was written after the reader came to the end."""
    path = tmp_path / "notify.log"
    append(path, line(1))
    calls = 0

    def rotates() -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            append(path, line(2))
            path.rename(tmp_path / "notify.log.1")
            append(path, line(3))
        return calls > 4

    assert list(logs.follow(path, sleep=lambda _: None, until=rotates)) == [line(2), line(3)]


def test_follow_continues_after_a_truncation(tmp_path: Path) -> None:
    """S16."""
    path = tmp_path / "notify.log"
    append(path, *(line(number) for number in range(10)))
    follower = Follower(path)

    os.truncate(path, 0)
    append(path, line(11))

    follower.expect(line(11))


def test_follow_waits_for_a_missing_log(tmp_path: Path) -> None:
    """S16."""
    follower = Follower(tmp_path / "notify.log")

    append(tmp_path / "notify.log", line(1))

    follower.expect(line(1))


@pytest.mark.parametrize("after", [b"INF", b"zw\xc3"], ids=["in a field", "in a character"])
def test_follow_joins_a_line_written_in_parts(tmp_path: Path, after: bytes) -> None:
    """S16."""
    path = tmp_path / "notify.log"
    append(path, line(1))
    whole = f"{line(12)}, zw\u00f6lf\n".encode()
    cut = whole.index(after) + len(after)
    pieces = [whole[:cut], whole[cut:]]
    calls = 0

    def pieces_come() -> bool:
        nonlocal calls
        calls += 1
        if pieces:
            with path.open("ab") as file:
                file.write(pieces.pop(0))
        return calls > 6

    assert list(logs.follow(path, sleep=lambda _: None, until=pieces_come)) == [whole.decode().rstrip("\n")]


def test_follow_hides_lower_levels(tmp_path: Path) -> None:
    """S16."""
    path = tmp_path / "notify.log"
    append(path, line(0))
    follower = Follower(path, level="error")

    append(path, *MIXED, line(6, "ERROR"))

    follower.expect("\n".join(MIXED[3:-1]), line(6, "ERROR"))


# -- writing ---------------------------------------------------------------------------------------------------------


def test_log_escapes_control_characters(tmp_path: Path) -> None:
    """S16, D11: in messages and tracebacks; only the first line of a record is not indented."""
    path = tmp_path / "notify.log"
    hostile = "a\nb\rc\x1b[31md\u202ee\u2028f\x07\x9b31m\ud800g\x0bh\x0ci\x1cj\x85k\u2029l"
    with logging_to(path) as log:
        log.info("job %s", hostile)
        try:
            raise ValueError(hostile)
        except ValueError:
            log.exception("it failed: %s", hostile)

    written = path.read_bytes().decode("utf-8")

    assert not any(character in written for character in "\r\x1b\u202e\u2028\x07\x9b\x0b\x0c\x1c\x85\u2029")
    heads = [text for text in written.split("\n") if text and not text.startswith("    ")]
    assert len(heads) == 2
    assert all(
        re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|ERROR) syftnotify\.test: ", one) for one in heads
    )
    assert "\\x1b[31m" in written


def test_log_message_of_several_lines_is_one_record(tmp_path: Path) -> None:
    """D11: indented as tracebacks are; nothing in it can imitate another record."""
    path = tmp_path / "notify.log"
    forged = line(7, "ERROR")
    with logging_to(path) as log:
        log.error(f"config.yaml: 2 errors\n  a: b\r\n{forged}\n\n")
        log.info("next")

    text = path.read_text()

    assert "config.yaml: 2 errors\n      a: b\n    2026-" in text
    assert "\\n" not in text
    assert len([each for each in text.splitlines() if not each.startswith("    ")]) == 2


def test_log_is_private_and_keeps_five_rotated_files(tmp_path: Path) -> None:
    """S16: of 10 MB each."""
    path = tmp_path / "notify.log"
    for number in range(1, 6):
        append(tmp_path / f"notify.log.{number}", f"old {number}")
    with logging_to(path) as log:
        log.info("one")
    assert path.stat().st_mode & 0o777 == 0o600
    os.truncate(path, logs.MAX_BYTES - 10)

    with logging_to(path) as log:
        log.info("two")

    assert logs.MAX_BYTES == 10_000_000
    assert path.stat().st_size < 1000
    assert (tmp_path / "notify.log.1").stat().st_size == logs.MAX_BYTES - 10
    assert (tmp_path / "notify.log.5").read_text() == "old 4\n"
    assert not (tmp_path / "notify.log.6").exists()
    assert (tmp_path / "notify.log.1").stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o600


def renamed(path: Path) -> None:
    path.rename(path.with_name("notify.log.1"))


def removed(path: Path) -> None:
    path.unlink()


def recreated(path: Path) -> None:
    renamed(path)
    path.touch()
    path.chmod(0o644)


@pytest.mark.parametrize("replace", [renamed, removed, recreated], ids=lambda each: each.__name__)
def test_log_replaced_by_another_program_is_reopened(tmp_path: Path, replace: Callable[[Path], None]) -> None:
    """B9: private to its owner."""
    path = tmp_path / "notify.log"
    with logging_to(path) as log:
        log.info("one")
        replace(path)
        log.info("two")
        log.info("three")

    assert messages(path) == ["two", "three"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_log_in_a_renamed_folder_is_still_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B9: to the open file; nothing fails."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    home = tmp_path / "home"
    home.mkdir()
    with logging_to(home / "notify.log") as log:
        log.info("one")
        home.rename(tmp_path / "moved")
        log.info("two")

    assert messages(tmp_path / "moved" / "notify.log") == ["one", "two"]


def messages(path: Path) -> list[str]:
    """The messages in a log file."""
    return [text.rpartition(": ")[2] for text in path.read_text().splitlines()]
