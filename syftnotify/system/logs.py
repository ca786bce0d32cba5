"""The log file: writing, rotation, reading and following. External text in it is escaped.

A record is one line, followed by any number of lines that are indented by four spaces. All readers here return whole
records.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import BinaryIO, TextIO

from syftnotify.core.cluster import Cluster
from syftnotify.core.text import escape_block

MAX_BYTES = 10_000_000
BACKUP_COUNT = 5
_POLL_SECONDS = 0.2  # between two reads of a followed file, which other processes write
_MAX_MESSAGE_CHARS = 4000
_INDENT = "    "  # before every line of a record except the first

LEVELS = ("debug", "info", "warning", "error", "critical")
_RECORD = re.compile(r"(?P<time>\S+Z) (?P<level>[A-Z]+) (?P<logger>[\w.]+): (?P<message>.*)", re.DOTALL)


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
    """A log file readable by its owner only, rotated by size, and reopened after it was renamed or removed.

    Another program such as logrotate may rotate it as well: records are written to the file of that name.
    Source: the standard library's WatchedFileHandler, which does not rotate.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._reopen_if_replaced()
        except OSError:  # for example the home was moved: the open file is still used
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
        opened = os.fstat(stream.fileno())
        if found is None or (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
            self.stream = self._open()
            stream.close()

    def _open(self) -> TextIOWrapper:
        file = super()._open()
        with contextlib.suppress(PermissionError):  # the rotating program changed its owner
            Path(self.baseFilename).chmod(0o600)
        return file


def level_of_failures(cluster: Cluster | None) -> int:
    """The level at which a `StateError` of the outbox is logged: DEBUG in an outage that is logged already."""
    return logging.DEBUG if cluster is not None and cluster.is_outage_known else logging.ERROR


def configure(path: Path | None, *, level: str = "info", echo: TextIO | None = None) -> None:
    """Send the log records of this process to `path` and to `echo`, if given; replaces earlier handlers."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = []
    if path is not None:
        handlers.append(_LogFile(path, maxBytes=MAX_BYTES, backupCount=BACKUP_COUNT, encoding="utf-8"))
    if echo is not None:
        handlers.append(logging.StreamHandler(echo))
    for handler in handlers:
        handler.setFormatter(_Formatter())
        root.addHandler(handler)
    root.setLevel(logging.WARNING)  # of libraries
    logging.getLogger("syftnotify").setLevel(level.upper())
    logging.captureWarnings(capture=True)
    # watchdog registers a new folder twice when its events overtake each other, which is harmless.
    warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)


def last_records(path: Path, count: int, *, level: str = "debug") -> list[str]:
    """The last `count` records of at least `level`, oldest first."""
    kept: deque[str] = deque(maxlen=max(0, count))
    for each in (path.with_name(f"{path.name}.1"), path):  # a log that was just rotated is nearly empty
        # A crashed writer may leave bytes that are not UTF-8: they are escaped.
        with contextlib.suppress(FileNotFoundError), each.open(encoding="utf-8", errors="backslashreplace") as file:
            kept.extend(record for record in _records(file) if _is_at_least(record, level))
    return list(kept)


def follow(
    path: Path,
    *,
    level: str = "debug",
    sleep: Callable[[float], None] = time.sleep,
    until: Callable[[], bool] = lambda: False,
) -> Iterator[str]:
    """Every record written from this call on, through rotations and truncations, until `until()` is true."""
    file = _open_if_exists(path)
    if file is not None:
        file.seek(0, os.SEEK_END)
    return (record for record in _new_records(path, file, sleep, until) if _is_at_least(record, level))


def record_as_json(record: str) -> str:
    """A record as a JSON object {time, level, logger, message}; {message} for a line of another format."""
    match = _RECORD.fullmatch(record)
    return json.dumps(match.groupdict() if match else {"message": record})


class _RecordBuffer:
    """Assembles records from bytes that arrive in pieces."""

    def __init__(self) -> None:
        self._partial_line = b""
        self._record: list[str] = []
        self._complete: list[str] = []

    def add(self, data: bytes) -> int:
        """Add `data`, and return the number of lines that it completed."""
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "backslashreplace")
            if not text.startswith(_INDENT):
                self._end_record()
            self._record.append(text)
        return len(lines)

    def pop_complete(self) -> list[str]:
        """Remove and return the records that another record follows."""
        complete, self._complete = self._complete, []
        return complete

    def pop_all(self) -> list[str]:
        """Remove and return all records; the last one is taken as complete."""
        self._end_record()
        return self.pop_complete()

    def drop_partial_line(self) -> None:
        self._partial_line = b""

    def _end_record(self) -> None:
        if self._record:
            self._complete.append("\n".join(self._record))
            self._record = []


def _new_records(
    path: Path, file: BinaryIO | None, sleep: Callable[[float], None], until: Callable[[], bool]
) -> Iterator[str]:
    """A record is complete when another one follows, or when nothing was written between two reads."""
    buffer = _RecordBuffer()
    is_idle = False
    try:
        while True:
            if file is None:
                file = _open_if_exists(path)
                buffer.drop_partial_line()
            # Checked before reading, so that everything written before the replacement is read.
            is_replaced = file is not None and _is_replaced(path, file)
            added = buffer.add(file.read() if file is not None else b"")
            yield from buffer.pop_complete()
            if is_replaced and file is not None:
                file.close()
                file = None
            elif added:
                is_idle = False
            else:
                is_over = until()
                if is_idle or is_over:
                    yield from buffer.pop_all()
                if is_over:
                    return
                sleep(_POLL_SECONDS)  # until there may be new lines
                is_idle = True
    finally:
        if file is not None:
            file.close()


def _open_if_exists(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _is_replaced(path: Path, file: BinaryIO) -> bool:
    """Whether `path` is no longer the open `file`, or was truncated."""
    opened = os.fstat(file.fileno())
    if opened.st_size < file.tell():
        return True
    try:
        found = path.stat()
    except FileNotFoundError:
        return True
    return (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino)


def _records(lines: Iterable[str]) -> Iterator[str]:
    """The records of a whole file, without their last line end."""
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
    """Whether a record has `level` or a higher one; a line of another format counts as an error."""
    match = _RECORD.match(record)
    found = match.group("level").lower() if match else "error"
    return found not in LEVELS or LEVELS.index(found) >= LEVELS.index(level)
