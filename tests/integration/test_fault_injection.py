"""Errors at statements of a scan and of an attempt: nothing is lost, and what is sent twice is counted.

The connection of the outbox fails once, at the statement that each case names, as SQLite fails: I/O error, short read,
disk full, database locked, damage; or with no memory left. Then everything works again, as after a temporary fault.
"""

from __future__ import annotations

import itertools
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from syftnotify.core.errors import StateError
from syftnotify.core.outbox import OutboxStore
from syftnotify.runtime.container import App
from syftnotify.services.demo import Tree
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import ANA, OWNER, Box

CODES = {
    sqlite3.SQLITE_IOERR: "disk I/O error",
    sqlite3.SQLITE_IOERR_SHORT_READ: "disk I/O error",
    sqlite3.SQLITE_FULL: "database or disk is full",
    sqlite3.SQLITE_BUSY: "database is locked",
    sqlite3.SQLITE_CORRUPT: "database disk image is malformed",
}
NO_MEMORY = -1
TEMPORARY = [code for code in CODES if code != sqlite3.SQLITE_CORRUPT]  # handled alike, so they take turns


@dataclass(frozen=True)
class Fault:
    """The statement that fails, which time that it is executed, and the error code."""

    statement: str
    occurrence: int
    code: int


@dataclass
class Plan:
    """Fails one statement; records all. How many rows a statement has depends on timing and is left out of its name."""

    fault: Fault | None = None
    has_failed: bool = False
    statements: list[str] = field(default_factory=list)

    def next(self, statement: str) -> None:
        name = re.sub(r"\?(, \?)+", "?", statement)
        if name == "COMMIT":
            name = f"COMMIT after {self.statements[-1]}"
        self.statements.append(name)
        fault = self.fault
        if fault is None or self.has_failed or name != fault.statement:
            return
        if self.statements.count(name) < fault.occurrence:
            return
        self.has_failed = True
        if fault.code == NO_MEMORY:
            raise MemoryError
        error = sqlite3.OperationalError(CODES[fault.code])
        error.sqlite_errorcode = fault.code
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


def inject(outbox: OutboxStore, plan: Plan) -> None:
    """Let every connection of the outbox from now on fail as planned."""
    assert isinstance(outbox, SqliteOutbox)
    outbox._file._engine.dispose()

    def connect(_dialect: Any, _record: Any, arguments: list[Any], more: dict[str, Any]) -> sqlite3.Connection:
        connection = sqlite3.connect(*arguments, factory=Connection, **more)
        connection.plan = plan
        return connection

    sa.event.listen(outbox._file._engine, "do_connect", connect)


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
    box.scan()
    tree.submit(ANA, "first", "print(1)\n")
    tree.submit(ANA, "second", "print(2)\n")
    tree.approve(ANA, "second")
    return folder


def copy_box(prepared: Path, to: Path) -> Box:
    shutil.copytree(prepared, to, symlinks=True)
    box = Box(to)
    box.last_scan = box.clock.now
    return box


def scan_and_deliver(box: Box, app: App) -> None:
    """One scan of a worker; an error of the outbox ends it, and the next scan follows."""
    for step in (
        lambda: app.pipeline.tick(box.clock.now, last_scan=box.last_scan),
        app.dispatcher.drain,
        app.pipeline.sync_ledger,
    ):
        try:
            step()
        except (StateError, MemoryError):
            # As the loops of worker and dispatcher do.
            app.dispatcher._outcomes.recover()
            return
    box.last_scan = box.clock.now


EXPECTED = Counter({("job_submitted", OWNER): 2, ("job_submitted", ANA): 2, ("job_approved", ANA): 1})


@pytest.fixture(scope="module")
def statements(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The statements of a scan without errors, and of its deliveries."""
    box = copy_box(prepared, tmp_path_factory.mktemp("statements") / "box")
    app, plan = box.open_app(), Plan()
    try:
        inject(app.outbox, plan)
        scan_and_deliver(box, app)
    finally:
        app.close()
    assert Counter((mail.event, mail.to) for mail in box.mails()) == EXPECTED
    return plan.statements


def assert_faults_are_survived(prepared: Path, folder: Path, faults: Iterable[Fault]) -> None:
    """Each fault occurs in another run; the next scans deliver everything."""
    for number, fault in enumerate(faults):
        box = copy_box(prepared, folder / str(number))
        app, plan = box.open_app(), Plan(fault)
        try:
            inject(app.outbox, plan)
            for _ in range(4):
                scan_and_deliver(box, app)
                box.clock.advance(3700)
            # Whether a claim finds nothing, and so only reads, depends on the order of the threads.
            may_be_missing = fault.occurrence > 1 or fault.statement.startswith("COMMIT after SELECT")
            assert plan.has_failed or may_be_missing, fault
            plan.has_failed = True
            assert_all_delivered(box, app, fault)
        finally:
            app.close()
        shutil.rmtree(box.folder)


def assert_all_delivered(box: Box, app: App, fault: Fault) -> None:
    counts = app.outbox.history.counts()
    sent = Counter((mail.event, mail.to, str(mail.message["Message-ID"])) for mail in box.mails())
    distinct = Counter((event, to) for event, to, _ in sent)
    duplicates = sum(sent.values()) - len(sent)

    assert distinct == EXPECTED, fault
    assert duplicates <= counts.unknown, f"sent twice and not counted; {fault}"
    assert (counts.waiting, counts.dead, counts.held) == (0, 0, 0), fault
    assert app.ledger.owed() == {}, fault


@pytest.mark.thorough
def test_fault_at_any_commit_loses_nothing(prepared: Path, tmp_path: Path, statements: list[str]) -> None:
    """A8, A10, X01: what is sent twice is counted. The commits differ in the statement before them."""
    commits = {name for name in statements if name.startswith("COMMIT")}

    assert len(commits) >= 3
    faults = [Fault(commit, 1, sqlite3.SQLITE_IOERR) for commit in sorted(commits)]
    assert_faults_are_survived(prepared, tmp_path, faults)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, NO_MEMORY], ids=["damage", "no memory"])
def test_fault_of_another_kind_at_a_claim_loses_nothing(
    prepared: Path, tmp_path: Path, statements: list[str], code: int
) -> None:
    """A8, A10"""
    claim = next(text for text in statements if text.startswith("UPDATE notifications"))

    assert_faults_are_survived(prepared, tmp_path, [Fault(claim, 1, code)])


@pytest.mark.thorough
@pytest.mark.parametrize(
    "codes", [TEMPORARY, [sqlite3.SQLITE_CORRUPT], [NO_MEMORY]], ids=["temporary", "damage", "no memory"]
)
def test_fault_at_any_statement_loses_nothing(
    prepared: Path, tmp_path: Path, statements: list[str], codes: list[int]
) -> None:
    """A8, A10, X01: every different statement of a scan and of an attempt fails the first time, or the last."""
    places = [(name, time) for name, count in Counter(statements).items() for time in sorted({1, count})]
    faults = [Fault(*place, code) for place, code in zip(places, itertools.cycle(codes), strict=False)]

    assert_faults_are_survived(prepared, tmp_path, faults)
