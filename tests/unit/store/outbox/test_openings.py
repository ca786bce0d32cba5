"""Several openings of one database in one process, as the worker and its server have them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from syftnotify.store.outbox.store import SqliteOutbox
from tests.outbox_helpers import enqueue, submitted

COUNT = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print(database.execute("SELECT count(*) FROM events").fetchone()[0])
database.close()
"""


def count_elsewhere(path: Path) -> int:
    """The number of events, read by a process that opens and closes the database."""
    done = subprocess.run([sys.executable, "-c", COUNT, str(path)], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_second_opening_keeps_the_locks_of_the_first(tmp_path: Path) -> None:
    """Without them, the other process would delete the write-ahead log in use, and what is written to it."""
    path = tmp_path / "outbox.db"
    with closing(SqliteOutbox(path)) as first:
        enqueue(first, submitted("a"))
        with closing(SqliteOutbox(path, repair=False)) as second:
            assert count_elsewhere(path) == 1
            enqueue(first, submitted("b"))
            enqueue(second, submitted("c"))
            assert count_elsewhere(path) == 3
        assert count_elsewhere(path) == 3
        enqueue(first, submitted("d"))
        assert count_elsewhere(path) == 4
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone()[0] == 4
