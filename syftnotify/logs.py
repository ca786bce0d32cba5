"""Where do lines go, and how are they read again? One file, rotated, in which nothing can be obeyed."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import BinaryIO, TextIO

from syftnotify.text import shown, shown_block

MAX_BYTES = 10_000_000
KEPT = 5
_POLL_SECONDS = 0.2

LEVELS = ("debug", "info", "warning", "error", "critical")
_LINE = re.compile(r"(?P<time>\S+Z) (?P<level>[A-Z]+) (?P<logger>[\w.]+): (?P<message>.*)", re.DOTALL)


class _Harmless(logging.Formatter):
    """One line per record; tracebacks follow, indented. Whatever a terminal could obey is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        head = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z {record.levelname} {record.name}: "
        line = head + shown(record.getMessage(), limit=4000)
        if record.exc_info:
            text = shown_block(self.formatException(record.exc_info))
            line += "".join(f"\n    {part}" for part in text.splitlines())
        return line


class _PrivateFile(RotatingFileHandler):
    """Rotated by size; every file of it is for its owner alone."""

    def _open(self) -> TextIOWrapper:
        file = super()._open()
        Path(self.baseFilename).chmod(0o600)
        return file


def set_up(path: Path, *, level: str = "info", echo: TextIO | None = None) -> None:
    """Send this process's lines to `path` (10 MB, five older ones kept), and to `echo` as well if given."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    opened = _PrivateFile(path, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8")
    handlers: list[logging.Handler] = [opened]
    if echo is not None:
        handlers.append(logging.StreamHandler(echo))
    for handler in handlers:
        handler.setFormatter(_Harmless())
        root.addHandler(handler)
    root.setLevel(logging.WARNING)  # of the libraries
    logging.getLogger("syftnotify").setLevel(level.upper())
    logging.captureWarnings(capture=True)


def last_lines(path: Path, count: int, *, level: str = "debug") -> list[str]:
    """The last `count` records of at least `level`, oldest first; a traceback stays with its line."""
    kept: deque[str] = deque(maxlen=max(0, count))
    for each in (path.with_name(f"{path.name}.1"), path):  # a log that was rotated a moment ago is nearly empty
        # Lines from other writers' crashes may be anything; what is undecodable is shown as such.
        with contextlib.suppress(FileNotFoundError), each.open(encoding="utf-8", errors="backslashreplace") as file:
            kept.extend(record for record in _records(iter(file.readline, "")) if _is_at_least(record, level))
    return list(kept)


def follow(
    path: Path,
    *,
    level: str = "debug",
    sleep: Callable[[float], None] = time.sleep,
    until: Callable[[], bool] = lambda: False,
) -> Iterator[str]:
    """Every line written from this call on, through rotations and truncations, until `until()`."""
    file = _opened(path)
    if file is not None:
        file.seek(0, os.SEEK_END)
    return _at_least(_new_lines(path, file, sleep, until), level)


def _new_lines(
    path: Path, file: BinaryIO | None, sleep: Callable[[float], None], until: Callable[[], bool]
) -> Iterator[str]:
    rest = b""
    try:
        while True:
            if file is None:
                file, rest = _opened(path), b""
            # Asked before reading: what was written before the file was replaced is then read all the same.
            replaced = file is not None and _was_replaced(path, file)
            rest += file.read() if file is not None else b""
            *lines, rest = rest.split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "backslashreplace")
            if replaced and file is not None:
                file.close()
                file = None
            elif not lines:
                if until():
                    return
                sleep(_POLL_SECONDS)  # between two looks at a file that other processes write
    finally:
        if file is not None:
            file.close()


def _at_least(lines: Iterator[str], level: str) -> Iterator[str]:
    shows = True
    for line in lines:
        if not line.startswith("    "):  # else it belongs to the line above
            shows = _is_at_least(line, level)
        if shows:
            yield line


def as_json(record: str) -> str:
    """One record as a JSON object: {time, level, logger, message}; a foreign line has its text as message alone."""
    match = _LINE.fullmatch(record)
    return json.dumps(match.groupdict() if match else {"message": record})


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _was_replaced(path: Path, file: BinaryIO) -> bool:
    """Whether `path` is another file by now, or the same one cut short."""
    mine = os.fstat(file.fileno())
    if mine.st_size < file.tell():
        return True
    try:
        found = path.stat()
    except FileNotFoundError:
        return True
    return (found.st_dev, found.st_ino) != (mine.st_dev, mine.st_ino)


def _records(lines: Iterator[str]) -> Iterator[str]:
    record = ""
    for line in lines:
        if record and line.startswith("    "):
            record += line
            continue
        if record:
            yield record.rstrip("\n")
        record = line
    if record:
        yield record.rstrip("\n")


def _is_at_least(record: str, level: str) -> bool:
    match = _LINE.match(record)
    word = match.group("level").lower() if match else "error"
    return word not in LEVELS or LEVELS.index(word) >= LEVELS.index(level)
