"""X12: pgbouncer in transaction mode, which gives each transaction another connection to the server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from syftnotify.core.cluster import Channel, WorkerMode
from syftnotify.store.outbox.postgres.inspection import inspect
from syftnotify.store.outbox.postgres.store import PostgresOutbox
from syftnotify.system.paths import Home
from tests import postgres
from tests.integration.postgres.conftest import SHORT_LEASE
from tests.integration.postgres.test_workers import OTHER
from tests.outbox_helpers import claim_next, enqueue, submitted
from tests.support import OWNER, tally, wait_until


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def pooled_url(server: postgres.Server, database_url: str) -> Iterator[str]:
    """The address of the database through a pooler with two connections to the server."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not os.access(program, os.X_OK):
        if os.environ.get("SYFTNOTIFY_REQUIRES_POSTGRES"):
            pytest.fail("pgbouncer is not installed")
        pytest.skip("pgbouncer is not installed")
    port = postgres.free_port()
    with tempfile.TemporaryDirectory(prefix="syftnotify-pg-", dir="/tmp") as folder:
        configuration = Path(folder, "pgbouncer.ini")
        configuration.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n"
            f"unix_socket_dir =\nlogfile =\n"
        )
        Path(folder).chmod(0o755)
        pooler = subprocess.Popen(
            [program, "-q", configuration], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **postgres.as_user()
        )
        try:
            wait_until(lambda: pooler.poll() is not None or _listens(port))
            yield sa.make_url(database_url).set(port=port).render_as_string(hide_password=False)
        finally:
            pooler.terminate()
            pooler.wait()


def test_workers_behind_a_pooler_share_a_database(pooled_url: str, tmp_path: Path) -> None:
    """Each transaction sees the rows of its own home, although connections change hands."""
    own, other = (PostgresOutbox(pooled_url, scope, Home(tmp_path), lease=SHORT_LEASE) for scope in (OWNER, OTHER))
    woken = threading.Event()
    own.cluster.listen(Channel.QUEUE, woken.set)
    for outbox in (own, other):
        outbox.cluster.join(WorkerMode.FULL)
        assert outbox.cluster.leader.acquire(60.0)
    for number in range(30):
        enqueue(own, submitted(f"own{number}"))
        enqueue(other, submitted(f"other{number}"))

    assert {each.entity for each in own.history.notifications()} == {f"job/own{number}" for number in range(30)}
    while claimed := claim_next(own):
        other.queue.mark_sent(claimed, 101.0)
    assert own.history.counts() == other.history.counts() == tally(sent=30)
    assert [worker.is_leader for worker in other.cluster.workers()] == [True, True]
    assert inspect(pooled_url).is_pooled
    for outbox in (own, other):
        outbox.close()


def test_dead_worker_behind_a_pooler_is_found_by_its_lease(pooled_url: str, tmp_path: Path) -> None:
    """Its lock would belong to a connection of the pooler, which stays open."""
    with closing(PostgresOutbox(pooled_url, OWNER, Home(tmp_path), lease=SHORT_LEASE)) as living:
        dead = PostgresOutbox(pooled_url, OWNER, Home(tmp_path), lease=SHORT_LEASE)
        enqueue(dead, submitted())
        claim_next(dead)
        dead.cluster._is_stopped = True  # its thread ends, and nobody says that it has
        living.cluster.join(WorkerMode.DELIVER)

        wait_until(lambda: living.queue.recover(200.0) == 1)
        dead._postgres.close()
