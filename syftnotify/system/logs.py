"""The log file: writing, rotation, reading and following. External text in it is escaped.

A record is one line, and further ones that are indented by four spaces. Every reader here works with whole records.
"""

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

from syftnotify.core.text import escape_block

MAX_BYTES = 10_000_000
BACKUP_COUNT = 5
_POLL_SECONDS = 0.2
_MAX_MESSAGE_CHARS = 4000  # characters of a message
_INDENT = "    "  # before every line of a record but its first

LEVELS = ("debug", "info", "warning", "error", "critical")
_LINE = re.compile(r"(?P<time>\S+Z) (?P<level>[A-Z]+) (?P<logger>[\w.]+): (?P<message>.*)", re.DOTALL)


class _Formatter(logging.Formatter):
    """Formats records; further lines of a message and tracebacks are indented, control characters are escaped.

    Only the first line of a record is not indented, so that no text can imitate another record.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        head = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z {record.levelname} {record.name}: "
        message = record.getMessage()
        text = head + escape_block(message[:_MAX_MESSAGE_CHARS] + ("…" if len(message) > _MAX_MESSAGE_CHARS else ""))
        if record.exc_info:
            text += "\n" + escape_block(self.formatException(record.exc_info))
        return text.rstrip("\n").replace("\n", f"\n{_INDENT}")


class _LogFile(RotatingFileHandler):
    """A log file readable by its owner only, rotated by size, and opened again when it was renamed or removed.

    Another program may rotate it, too: the file of that name is the one written to.
    Source: the standard library's WatchedFileHandler, which does not rotate by itself.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._reopen_if_replaced()
        except OSError:  # such as a home folder that was moved away: the open file is used further
            self.handleError(record)
        super().emit(record)

    def _reopen_if_replaced(self) -> None:
        try:
            found: os.stat_result | None = Path(self.baseFilename).stat()
        except FileNotFoundError:
            found = None
        stream = self.stream
        if stream is None:
            return
        mine = os.fstat(stream.fileno())
        if found is None or (found.st_dev, found.st_ino) != (mine.st_dev, mine.st_ino):
            self.stream = self._open()
            stream.close()

    def _open(self) -> TextIOWrapper:
        file = super()._open()
        with contextlib.suppress(PermissionError):  # the rotating program gave it to another user
            Path(self.baseFilename).chmod(0o600)
        return file


def configure(path: Path, *, level: str = "info", echo: TextIO | None = None) -> None:
    """Send the log records of this process to `path` (10 MB, five older files kept), and to `echo` if given."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    opened = _LogFile(path, maxBytes=MAX_BYTES, backupCount=BACKUP_COUNT, encoding="utf-8")
    handlers: list[logging.Handler] = [opened]
    if echo is not None:
        handlers.append(logging.StreamHandler(echo))
    for handler in handlers:
        handler.setFormatter(_Formatter())
        root.addHandler(handler)
    root.setLevel(logging.WARNING)  # of the libraries
    logging.getLogger("syftnotify").setLevel(level.upper())
    logging.captureWarnings(capture=True)


def last_records(path: Path, count: int, *, level: str = "debug") -> list[str]:
    """The last `count` records of at least `level`, oldest first."""
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
    """Every record written from this call on, through rotations and truncations, until `until()`."""
    file = _opened(path)
    if file is not None:
        file.seek(0, os.SEEK_END)
    return (record for record in _new_records(path, file, sleep, until) if _is_at_least(record, level))


def _new_records(
    path: Path, file: BinaryIO | None, sleep: Callable[[float], None], until: Callable[[], bool]
) -> Iterator[str]:
    """A record is complete when another one follows, or when nothing was written between two reads."""
    rest = b""
    record: list[str] = []
    idle = False
    try:
        while True:
            if file is None:
                file, rest = _opened(path), b""
            # Asked before reading: what was written before the file was replaced is then read all the same.
            replaced = file is not None and _was_replaced(path, file)
            rest += file.read() if file is not None else b""
            *lines, rest = rest.split(b"\n")
            for line in lines:
                text = line.decode("utf-8", "backslashreplace")
                if record and not text.startswith(_INDENT):
                    yield "\n".join(record)
                    record = []
                record.append(text)
            if replaced and file is not None:
                file.close()
                file = None
            elif lines:
                idle = False
            else:
                over = until()
                if record and (idle or over):
                    yield "\n".join(record)
                    record = []
                if over:
                    return
                sleep(_POLL_SECONDS)  # other processes write the file
                idle = True
    finally:
        if file is not None:
            file.close()


def record_as_json(record: str) -> str:
    """One record as a JSON object: {time, level, logger, message}; an unknown line has its text as message alone."""
    match = _LINE.fullmatch(record)
    return json.dumps(match.groupdict() if match else {"message": record})


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _was_replaced(path: Path, file: BinaryIO) -> bool:
    """Whether `path` is another file now, or the same one truncated."""
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
        if record and line.startswith(_INDENT):
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
