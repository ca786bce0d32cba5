"""X12: what happens to the connection and to the server is survived, reported in one line, and nothing is lost."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from syftnotify.core.cluster import Channel, WorkerMode
from syftnotify.core.errors import NoTablesError, StateError
from syftnotify.services.demo import Tree
from syftnotify.store.outbox.postgres import database as database_module
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.inspection import inspect
from syftnotify.store.outbox.postgres.lease import Lease
from syftnotify.store.outbox.postgres.store import PostgresOutbox
from syftnotify.system import worker_status
from syftnotify.system.paths import Home
from tests import postgres
from tests.fakes.tcp_proxy import TcpProxy, serve_proxy
from tests.integration.postgres.conftest import SHORT_LEASE, OpenWorker
from tests.mounts import mounted
from tests.outbox_helpers import claim_next, enqueue, submitted
from tests.support import ANA, OWNER, Box, tally, wait_until


@pytest.fixture
def proxy(server: postgres.Server) -> Iterator[TcpProxy]:
    with serve_proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(proxy: TcpProxy, database_url: str, tmp_path: Path) -> Iterator[PostgresOutbox]:
    """The outbox of a worker whose connections pass through the proxy."""
    url = sa.make_url(database_url).set(port=proxy.port).render_as_string(hide_password=False)
    outbox = PostgresOutbox(url, OWNER, Home(tmp_path), lease=SHORT_LEASE)
    yield outbox
    proxy.is_black_hole = False
    outbox.close()


def test_reset_connections_are_replaced(through_proxy: PostgresOutbox, proxy: TcpProxy) -> None:
    outbox = through_proxy
    enqueue(outbox, submitted(), submitted("b"))
    claimed = claim_next(outbox)
    number = outbox.cluster.id
    proxy.reset()

    outbox.queue.mark_sent(claimed, 101.0)
    assert len(claim_next(outbox)) == 1
    assert outbox.cluster.id == number  # it is the same worker


def test_error_in_a_transaction_stores_nothing_of_it(through_proxy: PostgresOutbox, proxy: TcpProxy) -> None:
    """The message is one line, names the database without its password, and says what to do."""
    outbox = through_proxy

    def lose_connection() -> None:
        with outbox._database.writing() as connection:
            connection.execute(sa.text("UPDATE syftnotify.properties SET value = 'x'"))
            proxy.reset()
            wait_until(lambda: not proxy._writers)
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(StateError) as caught:
        lose_connection()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"postgresql://postgres@127.0.0.1:{proxy.port}/")
    assert caught.value.hint == "check that the server runs and can be reached; everything is kept"
    enqueue(outbox, submitted())
    assert outbox.history.counts() == tally(waiting=1)


@pytest.mark.parametrize(
    ("ending", "hint"),
    [("", "create the database and its user"), ("?sslmode=no", "correct the parameters after `?`")],
)
def test_wrong_address_is_named_as_the_cause(server: postgres.Server, tmp_path: Path, ending: str, hint: str) -> None:
    with pytest.raises(StateError) as caught:
        PostgresOutbox(server.url("missing") + ending, OWNER, Home(tmp_path))
    assert hint in caught.value.hint


@pytest.mark.thorough
def test_server_that_does_not_answer_is_given_up(
    through_proxy: PostgresOutbox, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that was sent would be waited for without end."""
    monkeypatch.setattr(database_module, "_DEADLINE_SECONDS", 1.0)
    outbox = through_proxy
    enqueue(outbox, submitted())
    proxy.is_black_hole = True

    with pytest.raises(StateError):
        outbox.history.counts()
    proxy.is_black_hole = False
    assert outbox.history.counts() == tally(waiting=1)


def test_worker_connects_again_after_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its claims stay valid, and it receives announcements again."""
    caplog.set_level(logging.INFO)
    postgres.require("15")
    with postgres.serve("15") as server:
        outbox = PostgresOutbox(server.url(), OWNER, Home(tmp_path), lease=SHORT_LEASE)
        woken = threading.Event()
        outbox.cluster.listen(Channel.QUEUE, woken.set)
        outbox.cluster.join(WorkerMode.FULL)
        enqueue(outbox, submitted(), submitted("b"))
        claimed = claim_next(outbox)
        server.stop(signal.SIGQUIT)
        with pytest.raises(StateError, match="cannot be used"):
            outbox.queue.mark_sent(claimed, 101.0)
        server.start()

        outbox.queue.mark_sent(claimed, 101.0)
        assert outbox.history.counts() == tally(sent=1, waiting=1)
        wait_until(lambda: "can be reached again" in caplog.text)
        woken.clear()
        outbox.cluster.announce(Channel.QUEUE)
        assert woken.wait(60)
        outbox.close()
    lost = [record for record in caplog.records if "connection to the database was lost" in record.message]
    assert len(lost) == 1
    assert "\n" not in lost[0].message


@pytest.mark.thorough
def test_nobody_is_dead_after_the_database_has_stalled(tmp_path: Path) -> None:
    """All commits wait for a standby that is not there, for longer than a lease."""
    lease = Lease(seconds=4.0, renewal=0.2, patience=2.0)
    version = min(postgres.installations(), key=int, default="15")
    postgres.require(version)
    with postgres.serve(version) as server, ExitStack() as stack:
        workers = [PostgresOutbox(server.url(), OWNER, Home(tmp_path), lease=lease) for _ in range(3)]
        for outbox in workers:
            stack.callback(outbox.close)
            enqueue(outbox, submitted(str(id(outbox))))
        claimed = [claim_next(outbox) for outbox in workers]
        stop = threading.Event()

        def search(outbox: PostgresOutbox) -> None:
            while not stop.wait(0.05):  # seconds between two searches
                outbox.queue.recover(200.0)

        threads = [threading.Thread(target=search, args=(outbox,)) for outbox in workers]
        for thread in threads:
            thread.start()
        renewed = workers[0].cluster.workers()
        wait_until(lambda: workers[0].cluster.workers()[0].renewed_at > renewed[0].renewed_at + lease.patience)
        server.execute("ALTER SYSTEM SET synchronous_standby_names = 'missing'")
        server.execute("SELECT pg_reload_conf()")
        stalled = time.monotonic()
        wait_until(lambda: time.monotonic() - stalled > 1.5 * lease.seconds)
        server.execute("ALTER SYSTEM RESET synchronous_standby_names")
        server.execute("SELECT pg_reload_conf()")
        resumed = time.monotonic()
        wait_until(lambda: time.monotonic() - resumed > 2 * lease.patience)
        stop.set()
        for thread in threads:
            thread.join()

        assert len(workers[0].cluster.workers()) == 3
        for outbox, items in zip(workers, claimed, strict=True):
            outbox.queue.mark_sent(items, 201.0)
        assert workers[0].history.counts() == tally(sent=3)


def test_worker_with_more_than_a_thousand_files_renews_its_lease(open_worker: OpenWorker) -> None:
    """As a server with many streams."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2000, limits[1]), limits[1]))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        files = stack.enter_context(ExitStack())
        while files.enter_context(open(os.devnull)).fileno() < 1100:
            pass
        outbox = open_worker()
        outbox.cluster.join(WorkerMode.FULL)
        start = outbox.cluster.workers()[0].renewed_at
        wait_until(lambda: outbox.cluster.workers()[0].renewed_at > start)
        outbox.close()


def test_lock_that_another_worker_tests_is_taken_later(
    open_worker: OpenWorker, server: postgres.Server, database_url: str
) -> None:
    name = str(sa.make_url(database_url).database)
    first = open_worker()
    number = first.cluster.join(WorkerMode.FULL)
    key = f"hashtextextended('syftnotify worker ' || {number + 1}, 0)"
    with server.connect(name) as other:
        other.execute(f"SELECT pg_advisory_lock({key})".encode())
        second = open_worker()
        assert second.cluster.join(WorkerMode.FULL) == number + 1
        start = second.cluster.workers()[1].renewed_at
        wait_until(lambda: second.cluster.workers()[1].renewed_at > start)
        assert server.execute("SELECT has_lock FROM syftnotify.workers ORDER BY id", name)[1] == (False,)
    wait_until(lambda: server.execute("SELECT bool_and(has_lock) FROM syftnotify.workers", name) == [(True,)])


@pytest.mark.parametrize("code", ["40001", "40P01", "57014"])
def test_transaction_that_the_server_ends_is_repeated(
    box: Box, tree_with_peer: Tree, database_url: str, server: postgres.Server, code: str
) -> None:
    """A serialization failure, a deadlock, a statement that takes too long: in the scan, then in the outcomes."""
    name = str(sa.make_url(database_url).database)
    box.configure({"database": database_url})
    box.scan()
    server.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'ended' USING ERRCODE = '{code}'; END $$",
        name,
    )
    server.execute("CREATE TRIGGER fails BEFORE INSERT ON syftnotify.events EXECUTE FUNCTION fail()", name)
    tree_with_peer.submit(ANA, "first", "print(1)\n")
    with pytest.raises(StateError, match="cannot be used: ended"):
        box.scan()
    server.execute("DROP TRIGGER fails ON syftnotify.events", name)

    app = box.open_app()
    app.pipeline.tick(box.clock.now, last_scan=box.clock.now - 1.0)
    server.execute(
        "CREATE TRIGGER fails BEFORE UPDATE ON syftnotify.notifications FOR EACH ROW WHEN (NEW.state = 'sent') "
        "EXECUTE FUNCTION fail()",
        name,
    )
    with pytest.raises(StateError, match="cannot be used: ended"):
        app.dispatcher.drain()
    server.execute("DROP TRIGGER fails ON syftnotify.notifications", name)
    app.dispatcher.drain()
    assert app.outbox.history.counts() == tally(sent=2)
    app.close()
    assert len(box.new_mails()) == 2


def test_isolation_of_the_database_does_not_matter(
    open_worker: OpenWorker, server: postgres.Server, database_url: str
) -> None:
    name = str(sa.make_url(database_url).database)
    server.execute(f'ALTER DATABASE "{name}" SET default_transaction_isolation = serializable')
    outbox = open_worker()
    with outbox._postgres.reading() as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"


def test_read_only_server_is_named(open_worker: OpenWorker, server: postgres.Server, database_url: str) -> None:
    outbox = open_worker()
    name = sa.make_url(database_url).database
    with server.connect() as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    outbox._postgres._engine.dispose()

    with pytest.raises(StateError) as caught:
        enqueue(outbox, submitted())
    assert "read-only" in str(caught.value)
    assert "target_session_attrs" in caught.value.hint


def test_error_names_each_of_several_servers_once() -> None:
    ports = [postgres.free_port(), postgres.free_port()]
    hosts = "&".join(f"host=127.0.0.1:{port}" for port in ports)
    database = PostgresDatabase(f"postgresql+psycopg://app@/app?{hosts}", OWNER)

    with pytest.raises(StateError) as caught, database.reading():
        pass
    failed = "; ".join(f'connection to server at "127.0.0.1", port {port} failed: Connection refused' for port in ports)
    assert str(caught.value) == f"postgresql://app@/app?{hosts} cannot be used: {failed}"


def test_lock_that_is_held_too_long_is_an_error(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_LOCK_SECONDS", 1.0)
    outbox = PostgresOutbox(database_url, OWNER, Home(tmp_path))
    with psycopg.connect(database_url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE syftnotify.events IN EXCLUSIVE MODE")
        with pytest.raises(StateError, match="lock timeout"):
            enqueue(outbox, submitted())
    enqueue(outbox, submitted())
    assert outbox.history.counts() == tally(waiting=1)
    outbox.close()


def test_full_disk_is_an_error_until_there_is_space(
    database_url: str, server: postgres.Server, open_worker: OpenWorker
) -> None:
    """The events are on a small disk of their own."""
    database = database_url.rpartition("/")[2]
    outbox = open_worker()
    # The server, which is another user, must be able to enter it.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        with mounted(Path(folder), "-t", "tmpfs", "-o", "size=1m,mode=777", "tmpfs"):
            place, filler = Path(folder, "small"), Path(folder, "filler")
            place.mkdir()
            if os.geteuid() == 0:
                shutil.chown(place, "nobody", "nogroup")
            server.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
            server.execute("ALTER TABLE syftnotify.events SET TABLESPACE small", database)
            with pytest.raises(OSError, match="No space left"):
                filler.write_bytes(bytes(2_000_000))
            with pytest.raises(StateError) as caught:
                enqueue(outbox, submitted())
            assert "no free disk" in caught.value.hint
            filler.unlink()
            enqueue(outbox, submitted())
            assert outbox.history.counts() == tally(waiting=1)
            server.execute("ALTER TABLE syftnotify.events SET TABLESPACE pg_default", database)
            server.execute("DROP TABLESPACE small")


def test_user_without_rights_on_the_views_sees_nothing_of_other_homes(
    database_url: str, server: postgres.Server, tmp_path: Path, open_worker: OpenWorker
) -> None:
    """Without them a statement must not find the tables, which have the rows of all homes."""
    enqueue(open_worker("other@lab.example"), submitted())
    name = str(sa.make_url(database_url).database)
    for statement in (
        "CREATE ROLE app LOGIN",
        "GRANT USAGE ON SCHEMA syftnotify TO app",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA syftnotify TO app",
    ):
        server.execute(statement, name)
    url = sa.make_url(database_url).set(username="app").render_as_string(hide_password=False)
    try:
        outbox = PostgresOutbox(url, OWNER, Home(tmp_path), lease=SHORT_LEASE)
        with pytest.raises(StateError, match="does not exist") as caught:
            outbox.history.notifications()
        assert "rights on both schemas" in caught.value.hint
        outbox.close()
        assert not inspect(url).can_write
    finally:
        server.execute("DROP OWNED BY app", name)
        server.execute("DROP ROLE app", name)


def test_outage_is_logged_once(box: Box, tmp_path: Path) -> None:
    """By a real worker, whose scans, deliveries and health checks all need the database."""
    version = min(postgres.installations(), key=int, default="15")
    postgres.require(version)
    with postgres.serve(version) as server:
        box.configure({"database": server.url()}, notify={"interval": 1})
        box.root.mkdir(exist_ok=True)
        box.notify("start", check=0)
        server.stop(signal.SIGQUIT)
        wait_until(lambda: "was lost" in box.home.log.read_text(encoding="utf-8"))
        wait_until(lambda: worker_status.read(box.home).last_error)
        before = box.home.log.stat().st_size
        stopped = time.monotonic()
        wait_until(lambda: time.monotonic() - stopped > 4.0)  # four scans, and a pass of the deliveries
        added = box.home.log.read_bytes()[before:].decode()
        server.start()
        wait_until(lambda: "can be reached again" in box.home.log.read_text(encoding="utf-8"))
        box.notify("stop", check=0)
    assert added.count("\n") <= 1, added


def test_user_without_rights_gets_a_clear_error(database_url: str, server: postgres.Server, tmp_path: Path) -> None:
    """Also an ordinary user, who owns nothing, can use tables on which it has the rights."""
    url = sa.make_url(database_url)
    with server.connect(url.database or "") as connection:
        connection.execute(f'CREATE ROLE "{url.database}" LOGIN')
    theirs = url.set(username=url.database).render_as_string(hide_password=False)
    with pytest.raises(StateError, match="permission denied") as caught:
        PostgresOutbox(theirs, OWNER, Home(tmp_path))
    assert "notify db migrate" in caught.value.hint
    with pytest.raises(NoTablesError):
        PostgresOutbox(theirs, OWNER, Home(tmp_path), creates=False)
    PostgresOutbox(database_url, OWNER, Home(tmp_path)).close()
    with server.connect(url.database or "") as connection:
        for schema in ("syftnotify", "syftnotify_scope"):
            connection.execute(f'GRANT USAGE ON SCHEMA {schema} TO "{url.database}"')
            connection.execute(
                f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO "{url.database}"'
            )

    outbox = PostgresOutbox(theirs, OWNER, Home(tmp_path))
    enqueue(outbox, submitted())
    outbox.queue.mark_sent(claim_next(outbox), 101.0)
    assert outbox.history.counts() == tally(sent=1)
    outbox.close()
