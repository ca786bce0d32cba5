"""X12: a standby that takes over, and a backup that was restored, may lack the last changes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify.core.errors import StateError
from syftnotify.services.demo import Tree
from syftnotify.store.outbox.postgres.store import PostgresOutbox
from syftnotify.system.paths import Home
from tests import postgres
from tests.integration.postgres.conftest import SHORT_LEASE
from tests.outbox_helpers import claim_next, enqueue, submitted
from tests.support import ANA, OWNER, Box, tally, wait_until


class Pair:
    """A primary and its standby."""

    def __init__(self, primary: postgres.Server, standby: postgres.Server) -> None:
        self.primary = primary
        self.standby = standby
        self.url = (
            f"postgresql+psycopg://postgres@/postgres?host=127.0.0.1:{primary.port}&host=127.0.0.1:{standby.port}"
            "&target_session_attrs=read-write"
        )

    def catch_up(self) -> None:
        """Wait until the standby has everything."""
        ((position,),) = self.primary.execute("SELECT pg_current_wal_flush_lsn()")
        wait_until(lambda: self.standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == [(True,)])

    def disconnect(self) -> None:
        """Let the standby receive nothing more."""
        self.standby.execute("ALTER SYSTEM SET primary_conninfo = 'port=1'")
        self.standby.execute("SELECT pg_reload_conf()")
        wait_until(lambda: self.primary.execute("SELECT count(*) FROM pg_stat_replication") == [(0,)])

    def fail_over(self) -> None:
        """Lose the primary, and promote the standby."""
        self.primary.stop()
        assert self.standby.execute("SELECT pg_promote()") == [(True,)]


@pytest.fixture
def pair() -> Iterator[Pair]:
    version = min(postgres.installations(), key=int, default="15")
    postgres.require(version)
    with postgres.serve(version) as primary, postgres.stand_by(primary) as standby:
        yield Pair(primary, standby)


def test_messages_whose_outcome_was_lost_are_counted_as_unknown(
    pair: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was due may have been sent by changes that the new primary lacks."""
    outbox = PostgresOutbox(pair.url, OWNER, Home(tmp_path), lease=SHORT_LEASE)
    enqueue(outbox, submitted(), submitted("b"), submitted("c"))
    outbox.queue.mark_sent(claim_next(outbox), 101.0)
    pair.catch_up()
    pair.disconnect()
    outbox.queue.mark_sent(claim_next(outbox), 102.0)
    assert outbox.history.counts() == tally(sent=2, waiting=1)
    pair.fail_over()

    wait_until(lambda: _claims_nothing(outbox))
    assert outbox.history.counts() == tally(sent=1, waiting=2, unknown=2)
    assert "a standby took over; 2 notifications were due" in caplog.text
    repeated = [item for _ in range(2) for item in claim_next(outbox, 200.0)]
    assert [(item.event.entity, item.is_repeated) for item in repeated] == [("job/b", True), ("job/c", True)]
    assert outbox.reopen_if_replaced()
    assert not outbox.reopen_if_replaced()
    outbox.close()


def _claims_nothing(outbox: PostgresOutbox) -> bool:
    """Whether a claim reaches the new primary. The first one only finds out that it is another server."""
    try:
        return claim_next(outbox, 200.0) == [] and outbox.history.counts().unknown > 0
    except StateError:
        return False


@pytest.mark.thorough
def test_events_that_were_lost_are_detected_again(pair: Pair, box: Box, tree_with_peer: Tree) -> None:
    """Nothing is lost, and what is sent twice is counted."""
    box.configure({"database": pair.url})
    box.scan()
    tree_with_peer.submit(ANA, "kept", "print(1)\n")
    box.scan()
    pair.catch_up()
    pair.disconnect()
    assert len(box.new_mails()) == 2
    app = box.open_app()
    tree_with_peer.submit(ANA, "lost", "print(1)\n")
    app.pipeline.tick(box.clock.now, last_scan=box.clock.now - 1.0)  # enqueued, and not sent
    pair.fail_over()

    wait_until(lambda: _scanned(box, app.pipeline))
    app.dispatcher.drain()
    app.pipeline.sync_ledger()
    counts = app.outbox.history.counts()
    app.close()
    mails = box.new_mails()
    assert sorted(mail.entities[0].rpartition("/")[2] for mail in mails) == ["lost", "lost"]
    assert (counts.waiting, counts.unknown) == (0, 2)


def _scanned(box: Box, pipeline: object) -> bool:
    try:
        pipeline.tick(box.clock.now, last_scan=box.clock.now - 1.0)  # type: ignore[attr-defined] # a Pipeline
    except StateError:
        return False
    return True


def test_dump_that_is_restored_on_the_same_server_is_recognized(tmp_path: Path) -> None:
    """X12: what was sent after the dump is sent again as of unknown outcome, and counted."""
    version = min(postgres.installations(), key=int, default="15")
    postgres.require(version)
    server = postgres.shared_server(version)
    url, dump = server.create_database("dumped"), tmp_path / "dump"
    options = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres"]
    outbox = PostgresOutbox(url, OWNER, Home(tmp_path), lease=SHORT_LEASE)
    enqueue(outbox, submitted())
    subprocess.run([server.programs / "pg_dump", *options, "-Fc", "-f", dump, "dumped"], check=True)
    outbox.queue.mark_sent(claim_next(outbox), 101.0)
    outbox.close()
    server.execute("DROP DATABASE dumped WITH (FORCE)")
    server.create_database("dumped")
    subprocess.run([server.programs / "pg_restore", *options, "-d", "dumped", dump], check=True)

    outbox = PostgresOutbox(url, OWNER, Home(tmp_path), lease=SHORT_LEASE)
    assert claim_next(outbox) == []
    assert outbox.history.counts() == tally(waiting=1, unknown=1)
    (again,) = claim_next(outbox)
    assert again.is_repeated
    outbox.close()
