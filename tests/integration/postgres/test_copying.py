"""X12: `notify db copy` moves an outbox from its file into PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from syftnotify.core.cluster import WorkerMode
from syftnotify.core.errors import StateError
from syftnotify.core.matching import Match
from syftnotify.core.silences import Silence
from syftnotify.runtime.opening import connect_outbox
from syftnotify.services.cursors import prepare_cursors
from syftnotify.services.demo import Tree
from syftnotify.services.settings import load
from syftnotify.store.outbox.postgres.copies import require_complete
from syftnotify.store.outbox.postgres.copying import CopiedTable, OutboxCopy
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.migration import prepare
from syftnotify.store.outbox.schema import SCHEMA
from syftnotify.store.outbox.store import SqliteOutbox
from tests import postgres
from tests.integration.postgres.conftest import OpenWorker
from tests.integration.postgres.test_workers import OTHER
from tests.outbox_helpers import claim_next, enqueue, fail, submitted
from tests.support import ANA, OWNER, Box, tally, wait_until


def nothing(_table: str, _copied: int, _total: int) -> None:
    pass


def opened(url: str) -> PostgresDatabase:
    database = PostgresDatabase(url, OWNER)
    prepare(database)
    return database


@pytest.fixture
def moved_box(box: Box, tree_with_peer: Tree, database_url: str) -> Box:
    """A home whose notifications were sent with a file, and whose configuration names a database now."""
    box.scan()
    tree_with_peer.submit(ANA, "first", "print(1)\n")
    box.scan()
    assert len(box.new_mails()) == 2
    box.configure({"database": database_url})
    return box


def test_nothing_is_sent_twice_after_a_copy(moved_box: Box, tree_with_peer: Tree) -> None:
    done = moved_box.notify("db", "copy", check=0)
    assert "copied; what was copied has the same rows and checksums in both" in done.stdout

    moved_box.scan()
    assert moved_box.new_mails() == []
    assert moved_box.notify("history", check=0).stdout.count("first") == 2
    tree_with_peer.approve(ANA, "first")
    moved_box.scan()
    assert {mail.event for mail in moved_box.new_mails()} == {"job_approved"}
    assert "was copied and compared before" in moved_box.notify("db", "copy", check=0).stdout


@pytest.mark.parametrize("command", [("run", "--once"), ("run", "--deliver-only"), ("start",), ("serve",)])
def test_nothing_starts_before_the_copy(moved_box: Box, command: tuple[str, ...]) -> None:
    """Otherwise its history would be missing, and could not be copied later."""
    done = moved_box.notify(*command, check=2)
    assert "outbox.db has 1 event that was not copied into postgresql://" in done.stderr
    assert "`notify db copy`" in done.stderr


def test_nothing_is_sent_twice_after_a_copy_and_a_lost_state_file(moved_box: Box) -> None:
    """The keys of the events are the same in both."""
    moved_box.notify("db", "copy", check=0)
    for path in moved_box.home.root.glob("state.json*"):
        path.unlink()

    moved_box.scan()
    assert moved_box.new_mails() == []


def test_copy_while_the_worker_runs_is_refused(moved_box: Box) -> None:
    moved_box.notify("db", "copy", check=0)
    moved_box.notify("start", check=0)
    assert "already running" in moved_box.notify("db", "copy", check=3).stderr


def test_copy_beside_a_process_on_another_machine_is_refused(moved_box: Box, open_worker: OpenWorker) -> None:
    """What it stores meanwhile would be mixed with the copy."""
    open_worker().cluster.join(WorkerMode.SERVE)
    assert "a process of this home uses the database: pid" in moved_box.notify("db", "copy", check=1).stderr


def test_copy_without_a_database_says_what_to_do(box: Box) -> None:
    done = box.notify("db", "copy", check=2)
    assert "set `database` in" in done.stderr


def test_every_table_is_copied_with_its_rows(tmp_path: Path, database_url: str) -> None:
    """Also bytes that are not UTF-8, which SQLite stores as text."""
    path = tmp_path / "outbox.db"
    with closing(SqliteOutbox(path)) as outbox:
        enqueue(outbox, *map(submitted, "abc"))
        outbox.queue.mark_sent(claim_next(outbox), 101.0)
        fill(path)
    database = opened(database_url)

    tables = {each.name: each for each in OutboxCopy(path, database).run(nothing)}
    assert sorted(tables) == sorted(SCHEMA.tables)
    assert [each for each in tables.values() if not each.rows or each.damaged] == []
    database.close()


def fill(path: Path) -> None:
    """Add a row to each empty table."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in SCHEMA.tables.values():
            if connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]:
                continue
            columns = [column for column in table.columns if column.name != "seq"]
            marks = ", ".join("?" * len(columns))
            names = ", ".join(column.name for column in columns)
            values = [value_for(column) for column in columns]
            connection.execute(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", values)


def value_for(column: sa.Column[object]) -> object:
    if isinstance(column.type, sa.Boolean | sa.Integer):
        return 1
    if isinstance(column.type, sa.Float):
        return 1.5
    return b"\xff\x00" if isinstance(column.type, sa.LargeBinary) else f"\xe9 {column.name}"


def test_copy_that_was_interrupted_continues(tmp_path: Path, database_url: str) -> None:
    path = tmp_path / "outbox.db"
    with closing(SqliteOutbox(path)) as outbox:
        enqueue(outbox, *(submitted(str(number)) for number in range(2500)))
    database = opened(database_url)
    seen: list[tuple[str, int, int]] = []

    def interrupt(table: str, copied: int, total: int) -> None:
        seen.append((table, copied, total))
        if table == "events" and copied >= 1800:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OutboxCopy(path, database).run(interrupt)
    assert seen[-1] == ("events", 1800, 2500)
    found = OutboxCopy(path, database).run(lambda *progress: seen.append(progress))
    assert ("notifications", 2500, 2500) in seen
    assert seen.count(("events", 900, 2500)) == 1
    assert {each.name: each.rows for each in found}["notifications"] == 2500
    database.close()


def interrupted_copy(path: Path, database: PostgresDatabase) -> None:
    """A copy of an outbox with three events, of which none is in the database yet."""
    with closing(SqliteOutbox(path)) as outbox:
        enqueue(outbox, *map(submitted, "abc"))

    def interrupt(_table: str, _copied: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OutboxCopy(path, database).run(interrupt)


def test_no_process_joins_before_the_copy_is_complete(
    tmp_path: Path, database_url: str, open_worker: OpenWorker
) -> None:
    """What it stores would differ from the file, which has the earlier history."""
    path, worker = tmp_path / "outbox.db", open_worker()
    with closing(opened(database_url)) as database:
        interrupted_copy(path, database)
        with pytest.raises(StateError, match=f"the copy of an outbox.db of {OWNER} into .* is not complete"):
            worker.cluster.join(WorkerMode.FULL)
        open_worker(OTHER).cluster.join(WorkerMode.FULL)
        OutboxCopy(path, database).run(nothing)
    worker.cluster.join(WorkerMode.FULL)


def test_copy_waits_for_a_process_that_joins(tmp_path: Path, database_url: str, server: postgres.Server) -> None:
    """One that has not committed yet would not be found."""
    path = tmp_path / "outbox.db"
    SqliteOutbox(path).close()
    waiters = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    join = """INSERT INTO syftnotify.workers
        (scope, host, pid, mode, version, transports, started_at, lease_until, has_lock)
        VALUES (%(scope)s, 'other', 7, 'full', '1', '{}', 0, 1e12, false)"""
    outcome: list[str] = []

    def begin(database: PostgresDatabase) -> None:
        with pytest.raises(StateError) as caught:
            OutboxCopy(path, database).begin()
        outcome.append(str(caught.value))

    with closing(opened(database_url)) as database, closing(opened(database_url)) as joining:
        thread = threading.Thread(target=begin, args=(database,))
        with joining.writing() as connection:
            require_complete(connection, joining)
            thread.start()
            wait_until(lambda: server.execute(waiters) == [(1,)])
            connection.exec_driver_sql(join, {"scope": OWNER})
        thread.join()
    assert outcome == ["a process of this home uses the database: pid 7 on other"]


def test_other_home_does_not_start_during_a_copy(moved_box: Box, database_url: str) -> None:
    path = moved_box.home.outbox
    with closing(opened(database_url)) as database:
        interrupted_copy(path, database)
    path.rename(path.with_suffix(".other"))

    for command in (("run", "--once"), ("start",), ("serve",), ("silence", "add", "--job", "a", "--for", "1h")):
        assert "is not complete" in moved_box.notify(*command, check=1).stderr
    assert "fail  outbox.db: the copy of an outbox.db" in moved_box.notify("doctor", check=1).stdout


def test_difference_is_found(tmp_path: Path, database_url: str, server: postgres.Server) -> None:
    path = tmp_path / "outbox.db"
    with closing(SqliteOutbox(path)) as outbox:
        enqueue(outbox, submitted())
    database = opened(database_url)

    def change(table: str, _copied: int, _total: int) -> None:
        if table == "events":
            with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
                connection.execute("UPDATE syftnotify.events SET payload = '{}', at = 'changed'")

    with pytest.raises(StateError, match="the copy of events differs: 1 row"):
        OutboxCopy(path, database).run(change)
    database.close()


def test_nobody_delivers_before_the_copy_is_complete(
    tmp_path: Path, database_url: str, open_worker: OpenWorker
) -> None:
    """Workers of other homes deliver for this one, and what they had sent would make the copy differ."""
    path = tmp_path / "outbox.db"
    with closing(SqliteOutbox(path)) as outbox:
        enqueue(outbox, *(submitted(str(number)) for number in range(1000)))
    worker, database = open_worker(OTHER), opened(database_url)
    claimed: list[int] = []

    def claim(_table: str, _copied: int, _total: int) -> None:
        claimed.append(len(claim_next(worker)))

    OutboxCopy(path, database).run(claim)
    database.close()
    assert len(claimed) > 3
    assert not any(claimed)
    assert len(claim_next(worker)) == 1


def test_copy_into_a_database_with_events_of_the_home_is_refused(
    tmp_path: Path, database_url: str, open_worker: OpenWorker
) -> None:
    """They would be mixed with those of another file, which had other outcomes."""
    path = tmp_path / "outbox.db"
    with closing(SqliteOutbox(path)) as outbox:
        enqueue(outbox, submitted())
    enqueue(open_worker(), submitted("b"), submitted("c"))
    database = opened(database_url)

    with pytest.raises(StateError, match=f"already has 2 events of {OWNER}"):
        OutboxCopy(path, database).run(nothing)
    database.close()


def test_copy_after_the_api_was_served_keeps_its_keys(moved_box: Box) -> None:
    """`notify serve` creates the key of cursors in both."""
    settings = load(moved_box.home)
    with closing(SqliteOutbox(moved_box.home.outbox)) as file, closing(connect_outbox(settings)) as shared:
        for outbox in (file, shared):
            prepare_cursors(outbox)
        kept = shared.tokens.cursor_key()
    moved_box.notify("db", "copy", check=0)
    with closing(connect_outbox(settings)) as shared:
        assert shared.tokens.cursor_key() == kept


def test_file_that_was_changed_during_a_copy_is_copied_from_the_beginning(
    tmp_path: Path, database_url: str, open_worker: OpenWorker
) -> None:
    """A worker used it between two runs: what it has sent does not wait any more. What is from elsewhere is kept."""
    path = tmp_path / "outbox.db"
    with closing(SqliteOutbox(path)) as outbox:
        enqueue(outbox, submitted("waits"), submitted("sent"))
        first, second = claim_next(outbox), claim_next(outbox)
        fail(outbox, first, retry_at=150.0)
        outbox.queue.mark_sent(second, 102.0)
    database = opened(database_url)
    silence = Silence("3f2a", OWNER, "maintenance", Match(job=("other",)))
    open_worker().silences.add(silence)

    def interrupt(table: str, _copied: int, _total: int) -> None:
        if table == "notifications":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OutboxCopy(path, database).run(interrupt)
    with closing(SqliteOutbox(path)) as outbox:
        outbox.queue.mark_sent(claim_next(outbox, 200.0), 201.0)
    with pytest.raises(StateError, match="differs") as caught:
        OutboxCopy(path, database).run(nothing)
    assert "starts from the beginning" in caught.value.hint
    found = {each.name: each.rows for each in OutboxCopy(path, database).run(nothing)}
    assert (found["events"], found["notifications"], found["attempts"]) == (2, 2, 3)
    assert open_worker().silences.all() == [silence]
    assert open_worker().history.counts() == tally(sent=2)
    database.close()


def test_file_that_was_used_again_must_be_copied_again(moved_box: Box, database_url: str) -> None:
    """What it has enqueued meanwhile is not in the database."""
    moved_box.notify("db", "copy", check=0)
    moved_box.notify("run", "--once", check=0)
    moved_box.configure()
    moved_box.scan()
    moved_box.configure({"database": database_url})

    assert "not copied into" in moved_box.notify("run", "--once", check=2).stderr


def test_copy_is_recognized_at_another_address_of_the_database(moved_box: Box, database_url: str) -> None:
    moved_box.notify("db", "copy", check=0)
    moved_box.configure({"database": database_url.replace("127.0.0.1", "localhost")})
    moved_box.notify("run", "--once", check=0)


def test_damaged_rows_are_left_out_and_counted(tmp_path: Path, database_url: str) -> None:
    path = tmp_path / "outbox.db"
    with closing(SqliteOutbox(path)) as outbox:
        enqueue(outbox, submitted(), submitted("b"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE notifications SET created_at = 'yesterday' WHERE entity = 'job/a'")
    database = opened(database_url)

    found = {each.name: each for each in OutboxCopy(path, database).run(nothing)}
    assert (found["notifications"].rows, found["notifications"].damaged) == (1, 1)
    assert found["events"] == CopiedTable("events", 2, found["events"].checksum)
    database.close()


def test_totals_are_copied_once(moved_box: Box) -> None:
    """The status shows the sums of both."""
    moved_box.notify("db", "copy", check=0)
    app = moved_box.open_app()
    try:
        assert app.outbox.history.counts() == tally(sent=2)
    finally:
        app.close()
