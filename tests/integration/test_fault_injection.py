"""Errors at every statement of a tick and of an attempt: nothing is lost, and what is doubled is counted.

The connection of the outbox fails once, at the statement that each case names, as SQLite fails: I/O error, short read,
disk full, database locked, damage; or with no memory left. Then everything works again, as after a passing fault.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from syftnotify.core.errors import StateError
from syftnotify.runtime.container import App
from syftnotify.services.demo import Tree
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import ANA, OWNER, Box

pytestmark = pytest.mark.fire

CODES = {
    sqlite3.SQLITE_IOERR: "disk I/O error",
    sqlite3.SQLITE_IOERR_SHORT_READ: "disk I/O error",
    sqlite3.SQLITE_FULL: "database or disk is full",
    sqlite3.SQLITE_BUSY: "database is locked",
    sqlite3.SQLITE_CORRUPT: "database disk image is malformed",
}
NO_MEMORY = -1


@dataclass
class Plan:
    """Which statement fails, and how; counts the statements."""

    fails_at: int = 0  # 0: none
    code: int = 0
    count: int = 0
    statements: list[str] = field(default_factory=list)

    def next(self, statement: str) -> None:
        self.count += 1
        self.statements.append(statement)
        if self.count == self.fails_at:
            if self.code == NO_MEMORY:
                raise MemoryError
            error = sqlite3.OperationalError(CODES[self.code])
            error.sqlite_errorcode = self.code
            raise error


class Connection(sqlite3.Connection):
    """A connection whose statements fail as planned."""

    plan: Plan

    def cursor(self, factory: Any = None) -> Any:
        cursor = super().cursor(Cursor)
        cursor.plan = self.plan
        return cursor

    def commit(self) -> None:
        self.plan.next("COMMIT")
        super().commit()


class Cursor(sqlite3.Cursor):
    plan: Plan

    def execute(self, statement: str, *values: Any) -> Any:
        self.plan.next(statement)
        return super().execute(statement, *values)

    def executemany(self, statement: str, *values: Any) -> Any:
        self.plan.next(statement)
        return super().executemany(statement, *values)


def inject(outbox: SqliteOutbox, plan: Plan) -> None:
    """Let every connection of the outbox from now on fail as planned."""
    outbox._database._engine.dispose()

    def connect(_dialect: Any, _record: Any, arguments: list[Any], more: dict[str, Any]) -> sqlite3.Connection:
        connection = sqlite3.connect(*arguments, factory=Connection, **more)
        connection.plan = plan
        return connection

    sa.event.listen(outbox._database._engine, "do_connect", connect)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose baseline is done, and a tree in which a job was submitted, another approved and another failed."""
    folder = tmp_path_factory.mktemp("prepared")
    box = Box(folder)
    box.root.mkdir()
    box.configure({"syftbox_root": "../SyftBox", "notify": {"interval": 1, "sync_state_path": "../syft-bg.json"}})
    tree = Tree(box.root, folder / "syft-bg.json")
    tree.peers([], [])
    tree.grant(ANA)
    box.look()
    tree.submit(ANA, "first", "print(1)\n")
    tree.submit(ANA, "second", "print(2)\n")
    tree.approve(ANA, "second")
    return folder


def copied(prepared: Path, to: Path) -> Box:
    shutil.copytree(prepared, to, symlinks=True)
    box = Box(to)
    box.last_look = box.clock.now
    return box


def work(box: Box, parts: App) -> None:
    """What a worker does at each scan; an error of the outbox ends the step, and the next scan comes."""
    for act in (
        lambda: parts.pipeline.tick(box.clock.now, last_scan=box.last_look),
        parts.dispatcher.drain,
        parts.pipeline.sync_ledger,
    ):
        try:
            act()
        except (StateError, MemoryError):
            # As the loops of worker and dispatcher do.
            parts.dispatcher._outcomes.recover()
            return
    box.last_look = box.clock.now


def until_quiet(box: Box, parts: App) -> None:
    for _ in range(4):
        work(box, parts)
        box.clock.advance(3700)


OWED = Counter(
    {("job_submitted", OWNER): 2, ("job_submitted", ANA): 2, ("job_approved", ANA): 1},
)


def statements_of(prepared: Path, folder: Path) -> list[str]:
    box = copied(prepared, folder / "counting")
    parts, plan = box.parts(), Plan()
    try:
        inject(parts.outbox, plan)
        work(box, parts)
    finally:
        parts.close()
    assert Counter((mail.event, mail.to) for mail in box.mails()) == OWED
    return plan.statements


def one_by_one(prepared: Path, folder: Path, code: int) -> Iterator[tuple[str, Box, App]]:
    """One run for each different statement, which fails when it is first and, in another run, last reached."""
    statements = statements_of(prepared, folder)
    first = {statement: number for number, statement in reversed([*enumerate(statements, 1)])}
    last = {statement: number for number, statement in enumerate(statements, 1)}
    for number in sorted({*first.values(), *last.values()}):
        box = copied(prepared, folder / f"at{number}")
        parts, plan = box.parts(), Plan(number, code)
        try:
            inject(parts.outbox, plan)
            until_quiet(box, parts)
            plan.fails_at = 0
            yield f"{number}: {statements[number - 1]}", box, parts
        finally:
            parts.close()
        shutil.rmtree(box.folder)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("code", [*CODES, NO_MEMORY])
def test_an_error_at_any_statement_loses_nothing_and_counts_what_it_doubles(
    prepared: Path, tmp_path: Path, code: int
) -> None:
    """A8, A10, X01: each statement of a tick and of an attempt fails once."""
    for statement, box, parts in one_by_one(prepared, tmp_path, code):
        counts = parts.outbox.history.counts()
        arrived = Counter((mail.event, mail.to, str(mail.message["Message-ID"])) for mail in box.mails())
        distinct = Counter((event, to) for event, to, _ in arrived)
        doubled = sum(arrived.values()) - len(arrived)

        assert distinct == OWED, statement
        assert doubled <= counts.unknown, f"doubled and not counted; {statement}"
        assert (counts.waiting, counts.dead, counts.held) == (0, 0, 0), statement
        assert parts.ledger.owed() == {}, statement


_WITHOUT_MEMORY = """
    import resource, sys
    from pathlib import Path

    from tests.support import Box

    box = Box(Path(sys.argv[1]))
    parts = box.parts()
    parts.pipeline.tick(box.clock.now, last_scan=box.clock.now)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 24 * 2**20, resource.RLIM_INFINITY))  # two stacks of threads fit
    parts.dispatcher.drain()
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    parts.dispatcher.drain()
    parts.close()
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of a process is read from /proc")
def test_messages_are_sent_once_where_the_system_gives_no_more_threads(prepared: Path, tmp_path: Path) -> None:
    """A10: with a real limit on the memory of the process."""
    box = copied(prepared, tmp_path / "limited")
    tree = Tree(box.root, tmp_path / "limited" / "syft-bg.json")
    for number in range(20):
        tree.submit(ANA, f"more{number}", "print(1)\n")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_WITHOUT_MEMORY), str(box.folder)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    arrived = Counter((mail.event, mail.to, str(mail.message["Message-ID"])) for mail in box.mails())
    assert len(arrived) == sum(OWED.values()) + 40
    assert max(arrived.values()) == 1
