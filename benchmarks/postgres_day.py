"""A day of ten thousand data sites on one database, and what a mail costs.

    python -m benchmarks.postgres_day [events]        (default: 2000000)

- The day: two million events of 10,000 homes, each with one notification to the owner of the home, as fast as four
  processes deliver them: about a thousand of them wait. Each enqueueing has the events of one scan, one to seven. A
  message is rendered as JSON for a webhook, which has no flood control, and accepted at once in the same process: what
  is measured is the program and the database, not a provider. The leases and leaders of 10,000 workers are missing.
- The busiest five minutes of such a day after it, in real time, in the same database.
- The mails: 20,000 of them, rendered with the built-in templates, by the same four processes as fast as they can. This
  gives the CPU time of one mail.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.common import Figure, report
from syftnotify.core.cluster import WorkerMode
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Message, Notification, Receipt
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.runtime.container import join_cluster, transport_queue
from syftnotify.runtime.opening import connect_outbox
from syftnotify.services.settings import load
from syftnotify.services.transports import published_context
from syftnotify.store.outbox.postgres.store import PostgresOutbox
from syftnotify.system.paths import Home
from tests import postgres
from tests.support import ANA, Box, wait_until

DATASITES, EVENTS = 10_000, 2_000_000
MOST_WAITING = 1_000
BUSIEST_SECONDS = 300.0
BUSIEST = 1.6  # events in the busiest minutes, as a multiple of the average of the day
WORKERS = 4
MAILS = 20_000
DAY = 86_400.0  # seconds
EVENTS_PER_SCAN = (1, 2, 3, 4, 5, 6, 7)
WRITERS = 4  # threads that enqueue
# As a small server is usually set up; the other options are the defaults.
SERVER_OPTIONS = ("shared_buffers=1GB", "max_wal_size=4GB")


def newest_version() -> str:
    """The newest installed version of PostgreSQL that has pgbench."""
    found = [version for version, folder in postgres.installations().items() if (folder / "pgbench").exists()]
    if not found:
        raise SystemExit("no PostgreSQL server with pgbench is installed")
    return max(found, key=int)


# -- the workers -----------------------------------------------------------------------------------------------------


class _AcceptingTransport:
    """Accepts every message at once."""

    def check(self) -> None:
        """It always can."""

    def send(self, message: Message) -> Receipt:  # noqa: ARG002 - of the protocol
        """Accept it."""
        return Receipt()

    def close(self) -> None:
        """Nothing is open."""


def work(home: Home) -> None:
    """Deliver until SIGTERM, then print the CPU seconds and the memory of this process as JSON."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    settings = load(home)
    ((name, section),) = settings.config.transports.items()
    with closing(connect_outbox(settings)) as outbox:
        cluster = outbox.cluster
        assert cluster is not None
        queue = transport_queue(settings, outbox, name, section, cluster.time)
        queue.transport = _AcceptingTransport()
        dispatcher = Dispatcher(
            outbox,
            [queue],
            worker_id=str(os.getpid()),
            max_concurrent=settings.config.notify.max_concurrent_deliveries,
            clock=cluster.time,
        )
        join_cluster(settings, cluster, dispatcher, WorkerMode.DELIVER)
        dispatcher.start()
        stopping.wait()
        dispatcher.stop()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": time.process_time(), "memory": memory}), flush=True)


@dataclass(slots=True)
class Workers:
    """The delivery processes of a run, and what they report at their ends."""

    processes: list[subprocess.Popen[str]]
    cpu: float = 0.0  # seconds of all
    memory: float = 0.0  # MB of the largest

    def stop(self) -> None:
        """Stop all and read their reports."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            found = json.loads(process.communicate()[0])
            self.cpu += found["cpu"]
            self.memory = max(self.memory, found["memory"])


@contextmanager
def worker_home(url: str, transport: dict[str, Any], to: str) -> Iterator[Box]:
    """The home of all delivery processes; its events are routed to `to`."""
    with tempfile.TemporaryDirectory() as folder:
        box = Box(Path(folder))
        box.configure(
            {
                "database": url,
                "transports": {"out": transport},
                "routes": [{"to": [to]}],
            }
        )
        yield box


@contextmanager
def started_workers(box: Box) -> Iterator[Workers]:
    """The processes; the caller stops them."""
    command = [sys.executable, "-m", "benchmarks.postgres_day", "--home", str(box.home.root)]
    workers = Workers([])
    with ExitStack() as stack:
        for _ in range(WORKERS):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=box.environment())
            stack.callback(process.kill)  # if anything fails before they were stopped
            workers.processes.append(process)
        yield workers


# -- the homes -------------------------------------------------------------------------------------------------------


def owner(number: int) -> str:
    return f"owner{number}@datasite.example"


class HomesOutbox:
    """The outbox of all homes in one object, because this machine has no memory for 10,000 workers."""

    def __init__(self, url: str, folder: Path) -> None:
        self.outbox = PostgresOutbox(url, owner(0), Home(folder))
        self._scope = owner(0)
        self.outbox.cluster.join(WorkerMode.SCAN)  # only a worker announces what it enqueues
        sa.event.listen(self.outbox._postgres._engine, "begin", self._use_scope)  # noqa: SLF001 - see the class

    def _use_scope(self, connection: sa.Connection) -> None:
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute("SELECT set_config('syftnotify.scope', %s, true)", (self._scope,))

    def enqueue(self, datasite: int, events: Sequence[Event], notifications: Sequence[Notification]) -> None:
        self._scope = owner(datasite)
        self.outbox.enqueue(events, notifications, time.time())


def _notification(event: Event, datasite: int, medium: str) -> Notification:
    return Notification(event.key, event.entity, owner(datasite), Audience.OWNER, "out", medium, route="bench")


def scan_events(datasite: int, scan: str, count: int) -> list[Event]:
    """What one scan of one home has detected: the ends of some jobs."""
    return [
        Event(
            EventKind.JOB_COMPLETED,
            f"job/D/{owner(datasite)}/{ANA}/run-{scan}-{number}",
            payload={"name": f"run-{scan}", "submitter": ANA, "owner": owner(datasite), "return_code": 0},
        )
        for number in range(count)
    ]


def scans_of(name: str, events: int) -> Iterator[tuple[int, list[Event]]]:
    """The data site and the events of each scan, `events` in total."""
    rng = random.Random(1)
    for number in itertools.count():
        count = min(events, rng.choice(EVENTS_PER_SCAN))
        if not count:
            return
        events -= count
        datasite = rng.randrange(DATASITES)
        yield datasite, scan_events(datasite, f"{name}-{number}", count)


class Writers:
    """Threads that enqueue what scans detect, and take the scans in turn."""

    def __init__(self, server: postgres.Server, scans: Iterator[tuple[int, list[Event]]]) -> None:
        self._server = server
        self._scans = scans
        self._lock = threading.Lock()
        self._is_full = False

    def run(self, scans_per_second: float | None = None) -> None:
        """Enqueue everything, so many scans per second; None: as long as no more than MOST_WAITING wait."""
        started = time.monotonic()
        moments = itertools.count() if scans_per_second else itertools.repeat(0)
        with ThreadPoolExecutor(WRITERS) as pool:
            writing = [
                pool.submit(self._write, (started + number / (scans_per_second or 1.0) for number in moments))
                for _ in range(WRITERS)
            ]
            try:
                with self._server.connect() as connection:
                    while not all(each.done() for each in writing):
                        if scans_per_second is None:
                            (waiting,) = connection.execute(_WAITING).fetchone() or (0,)
                            self._is_full = int(str(waiting)) > MOST_WAITING
                        time.sleep(0.1)  # interval of polling
            finally:
                self._is_full = False
            for each in writing:
                each.result()

    def _write(self, moments: Iterator[float]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            homes = HomesOutbox(self._server.url(), Path(folder))
            with closing(homes.outbox):
                while (scan := self._next(moments)) is not None:
                    moment, datasite, events = scan
                    while self._is_full or time.monotonic() < moment:
                        time.sleep(0.01)  # until the moment of the scan
                    homes.enqueue(datasite, events, [_notification(each, datasite, "webhook/out") for each in events])

    def _next(self, moments: Iterator[float]) -> tuple[float, int, list[Event]] | None:
        with self._lock:
            scan = next(self._scans, None)
            return None if scan is None else (next(moments), *scan)


# -- figures ---------------------------------------------------------------------------------------------------------


def publish_contexts(server: postgres.Server, home: Home) -> None:
    """What each home publishes, so that its messages can be rendered."""
    context = published_context(load(home))
    rows = [(owner(number), json.dumps({**context, "owner": owner(number)})) for number in range(DATASITES)]
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO syftnotify.scopes (scope, context) VALUES (%s, %s)", rows)


def cpu_of(server: postgres.Server) -> float:
    """CPU seconds of the processes of a server so far. Its main process has those of the ones that have ended."""
    assert server.process is not None
    main = str(server.process.pid)
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            if stat.parent.name == main:
                ticks += sum(map(int, fields[11:15]))
            elif fields[1] == main:
                ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def day_figures(events: int) -> Iterator[Figure]:
    webhook = {"type": "webhook", "url": "http://127.0.0.1:9/"}
    with postgres.serve(newest_version(), SERVER_OPTIONS) as server, worker_home(server.url(), webhook, "out") as box:
        with started_workers(box) as workers:
            _wait_for_workers(server)
            publish_contexts(server, box.home)
            started, began, before = time.monotonic(), time.time(), cpu_of(server)
            Writers(server, scans_of("day", events)).run()
            _wait_until_sent(server, events)
            seconds, ended = time.monotonic() - started, time.time()
            rate = events / DAY * BUSIEST
            busiest = round(rate * BUSIEST_SECONDS)
            mean = statistics.mean(EVENTS_PER_SCAN)
            Writers(server, scans_of("busiest", busiest)).run(rate / mean)
            _wait_until_sent(server, events + busiest)
            workers.stop()
        server_cpu = cpu_of(server) - before
        waits, busiest_waits = _waits(server, began, ended), _waits(server, ended, time.time())
        rows = sum(
            _number(server, f"SELECT count(*) FROM syftnotify.{table}")
            for table in ("events", "notifications", "attempts")
        )
        size = _number(server, "SELECT pg_database_size(current_database())")
    sent = events + busiest
    name = f"a day of {DATASITES:,} data sites, {events:,} events"
    note = f"as fast as {WORKERS} workers send them, about {MOST_WAITING:,} wait"
    yield Figure(f"{name}: rate", events / seconds, "per second", note=note)
    for label, wait in zip(_QUANTILES, waits, strict=True):
        yield Figure(f"{name}: time to the first attempt, {label}", wait * 1000, "ms", note=note)
    for label, wait in zip(_QUANTILES, busiest_waits, strict=True):
        yield Figure(
            f"its busiest {BUSIEST_SECONDS / 60:g} minutes in real time: time to the first attempt, {label}",
            wait * 1000,
            "ms",
            note=f"{rate:.0f} events per second, after that day in the same database",
        )
    yield Figure(f"{name}: rows of events, notifications and attempts", rows, "rows")
    yield Figure(f"{name}: size of the database", size / 1e9, "GB")
    yield Figure(f"{name}: CPU of the server per event, with enqueueing", server_cpu / sent * 1e6, "µs")
    yield Figure(f"{name}: CPU of the {WORKERS} workers per event", workers.cpu / sent * 1e6, "µs")
    yield Figure(f"{name}: memory of the largest worker", workers.memory, "MB")


def mail_figures(count: int) -> Iterator[Figure]:
    smtp = {"type": "smtp", "host": "127.0.0.1"}
    with postgres.serve(newest_version(), SERVER_OPTIONS) as server, worker_home(server.url(), smtp, "owner") as box:
        homes = HomesOutbox(server.url(), box.folder)
        with closing(homes.outbox):
            publish_contexts(server, box.home)
            before = cpu_of(server)
            for datasite in range(DATASITES):
                events = scan_events(datasite, "mails", count // DATASITES)
                homes.enqueue(datasite, events, [_notification(each, datasite, "mail") for each in events])
        enqueued = time.monotonic()
        with started_workers(box) as workers:
            _wait_until_sent(server, count)
            seconds = time.monotonic() - enqueued
            server_cpu = cpu_of(server) - before
            workers.stop()
    name = f"{count:,} mails to {DATASITES:,} owners"
    yield Figure(f"{name}: CPU of the {WORKERS} workers per mail, with rendering", workers.cpu / count * 1e3, "ms")
    yield Figure(f"{name}: CPU of the server per mail, with enqueueing", server_cpu / count * 1e3, "ms")
    yield Figure(
        f"{name}: rate of {WORKERS} workers", count / seconds, "per second", note="with the start of the workers"
    )


def _wait_for_workers(server: postgres.Server) -> None:
    def joined() -> bool:
        tables = _number(server, "SELECT count(*) FROM pg_tables WHERE tablename = 'workers'")
        return bool(tables) and _number(server, "SELECT count(*) FROM syftnotify.workers") == WORKERS

    wait_until(joined, 60.0, "the workers")


def _wait_until_sent(server: postgres.Server, count: int) -> None:
    query = "SELECT sum(value) FROM syftnotify.totals WHERE name = 'notifications'"
    while _number(server, query) < count:
        time.sleep(0.5)  # interval of polling
    # None was repeated.
    assert _number(server, "SELECT count(*) FROM syftnotify.attempts WHERE outcome = 'sent'") == count
    assert _number(server, "SELECT count(*) FROM syftnotify.attempts") == count


_QUANTILES = ("p50", "p99", "longest")
_WAITING = "SELECT count(*) FROM syftnotify.notifications WHERE state IN ('pending', 'unknown', 'sending')"


def _waits(server: postgres.Server, since: float, until: float) -> list[float]:
    """The _QUANTILES of the times from enqueueing to the first attempt, in seconds, of what was enqueued in a span."""
    query = f"""
        SELECT percentile_disc(ARRAY[0.5, 0.99, 1.0]) WITHIN GROUP (ORDER BY a.started_at - n.created_at)
        FROM syftnotify.attempts a JOIN syftnotify.notifications n ON n.scope = a.scope AND n.id = a.notification
        WHERE n.created_at BETWEEN {since} AND {until}
    """
    found: Any = server.execute(query)[0][0]
    return [float(each) for each in found]


def _number(server: postgres.Server, query: str) -> int:
    found: Any = server.execute(query)[0][0]
    return int(found or 0)


def figures(events: int = EVENTS, mails: int = MAILS) -> Iterator[Figure]:
    yield from mail_figures(mails)
    yield from day_figures(events)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres_day")
    parser.add_argument("events", type=int, nargs="?", default=EVENTS)
    parser.add_argument("--home", type=Path, help="deliver as one of the workers, until SIGTERM")
    given = parser.parse_args()
    if given.home is None:
        sys.exit(report(figures(given.events)))
    work(Home(given.home))
