"""Counts of system and database calls, which do not depend on the speed of the machine."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# File system calls, by function.
_FILE_CALLS = {getattr(os, name): name for name in ("stat", "lstat", "scandir", "open", "read")}


@contextmanager
def count_file_calls() -> Iterator[Counter[str]]:
    """Count the file system calls of the block, by name."""
    calls: Counter[str] = Counter()

    def count(_frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and argument in _FILE_CALLS:
            calls[_FILE_CALLS[argument]] += 1

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@contextmanager
def record_statements() -> Iterator[list[str]]:
    """Record the `execute` and `executemany` calls of the block; the start of a transaction is one of them."""
    calls: list[str] = []

    def record(_frame: FrameType, event: str, argument: Any) -> None:
        is_cursor = isinstance(getattr(argument, "__self__", None), sqlite3.Cursor)
        if event == "c_call" and is_cursor and argument.__name__.startswith("execute"):
            calls.append(argument.__name__)

    sys.setprofile(record)
    try:
        yield calls
    finally:
        sys.setprofile(None)
