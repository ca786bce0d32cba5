"""A day of ten thousand data sites on one database, compressed; and what a mail costs.

    python -m benchmarks.postgres_day [events [seconds]]        (default: 2000000 3600)

- The day: two million events of 10,000 homes, each with one notification, arrive within an hour, by day four times
  as many in a minute as by night. Four processes deliver for all homes. Each enqueueing has the events of one scan, one
  to seven. A message is rendered as JSON, and accepted at once in the same process: what is measured is the program
  and the database, not a provider.
- The mails: 20,000 of them, rendered with the built-in templates, by the same four processes as fast as they can. This
  gives the CPU time of one mail.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import math
import os
import random
import resource
import signal
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

DATASITES, EVENTS, SECONDS = 10_000, 2_000_000, 3600.0
WORKERS, CONCURRENT = 4, 8
MAILS = 20_000
EVENTS_PER_SCAN = (1, 2, 3, 4, 5, 6, 7)
WRITERS = 4  # threads that enqueue
NIGHT = 0.25  # of the rate of the busiest moment
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
                "notify": {"max_concurrent_deliveries": CONCURRENT},
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
        sa.event.listen(self.outbox._postgres._engine, "begin", self._use_scope)  # noqa: SLF001 - see the class

    def _use_scope(self, connection: sa.Connection) -> None:
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute("SELECT set_config('syftnotify.scope', %s, true)", (self._scope,))

    def enqueue(self, datasite: int, events: Sequence[Event], notifications: Sequence[Notification]) -> None:
        self._scope = owner(datasite)
        self.outbox.enqueue(events, notifications, time.time())


def _notification(event: Event, datasite: int, medium: str) -> Notification:
    to = owner(datasite) if medium == "mail" else "out"
    return Notification(event.key, event.entity, to, Audience.OWNER, "out", medium, route="bench")


def scan_events(datasite: int, scan: int, count: int) -> list[Event]:
    """What one scan of one home has detected: the ends of some jobs."""
    return [
        Event(
            EventKind.JOB_COMPLETED,
            f"job/D/{owner(datasite)}/{ANA}/run-{scan}-{number}",
            payload={"name": f"run-{scan}", "submitter": ANA, "owner": owner(datasite), "return_code": 0},
        )
        for number in range(count)
    ]


def moments(scans: int, seconds: float) -> Iterator[float]:
    """When each scan happens, in seconds from the start: a day with its night."""
    steps = 1440
    rates = [NIGHT + (1 - NIGHT) * math.sin(math.pi * (step + 0.5) / steps) ** 2 for step in range(steps)]
    sums = list(itertools.accumulate(rates))
    for number in range(scans):
        yield bisect.bisect_left(sums, (number + 0.5) / scans * sums[-1]) / steps * seconds


class Day:
    """Enqueues the events of one day; several threads take the scans in turn."""

    def __init__(self, url: str, events: int, seconds: float) -> None:
        rng = random.Random(1)
        counts = []
        left = events
        while left:
            counts.append(min(left, rng.choice(EVENTS_PER_SCAN)))
            left -= counts[-1]
        self._scans = iter(
            [
                (number, moment, rng.randrange(DATASITES), count)
                for number, (moment, count) in enumerate(zip(moments(len(counts), seconds), counts, strict=True))
            ]
        )
        self._url = url
        self._lock = threading.Lock()
        self.longest_delay = 0.0  # seconds by which a scan was enqueued too late

    def run(self) -> None:
        """Enqueue everything, each scan at its moment."""
        started = time.monotonic()
        with ThreadPoolExecutor(WRITERS) as pool:
            for done in [pool.submit(self._write, started) for _ in range(WRITERS)]:
                done.result()

    def _write(self, started: float) -> None:
        with tempfile.TemporaryDirectory() as folder:
            homes = HomesOutbox(self._url, Path(folder))
            with closing(homes.outbox):
                while (scan := self._next()) is not None:
                    number, moment, datasite, count = scan
                    delay = time.monotonic() - started - moment
                    if delay < 0:
                        time.sleep(-delay)  # until the moment of the scan
                    self.longest_delay = max(self.longest_delay, delay)
                    events = scan_events(datasite, number, count)
                    homes.enqueue(datasite, events, [_notification(each, datasite, "webhook/out") for each in events])

    def _next(self) -> tuple[int, float, int, int] | None:
        with self._lock:
            return next(self._scans, None)


# -- figures ---------------------------------------------------------------------------------------------------------


def publish_contexts(server: postgres.Server, home: Home) -> None:
    """What each home publishes, so that its messages can be rendered."""
    context = published_context(load(home))
    rows = [(owner(number), json.dumps({**context, "owner": owner(number)})) for number in range(DATASITES)]
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO syftnotify.scopes (scope, context) VALUES (%s, %s)", rows)


def cpu_of_children() -> float:
    """CPU seconds of all processes that this one has started and that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def day_figures(events: int, seconds: float) -> Iterator[Figure]:
    before = cpu_of_children()
    webhook = {"type": "webhook", "url": "http://127.0.0.1:9/"}
    with postgres.serve(newest_version(), SERVER_OPTIONS) as server, worker_home(server.url(), webhook, "out") as box:
        with started_workers(box) as workers:
            _wait_for_workers(server)
            publish_contexts(server, box.home)
            day = Day(server.url(), events, seconds)
            day.run()
            _wait_until_sent(server, events)
            workers.stop()
        waits = _waits(server)
        rows = sum(
            _number(server, f"SELECT count(*) FROM syftnotify.{table}")
            for table in ("events", "notifications", "attempts")
        )
        size = _number(server, "SELECT pg_database_size(current_database())")
    server_cpu = cpu_of_children() - before - workers.cpu
    name = f"a day of {DATASITES:,} data sites, {events:,} events in {seconds / 60:g} minutes"
    for label, wait in zip(("p50", "p99", "longest"), waits, strict=True):
        yield Figure(f"{name}: time to the first attempt, {label}", wait * 1000, "ms")
    yield Figure(f"{name}: longest delay of the simulation itself", day.longest_delay, "s")
    yield Figure(f"{name}: rows of events, notifications and attempts", rows, "rows")
    yield Figure(f"{name}: size of the database", size / 1e9, "GB")
    yield Figure(f"{name}: CPU of the server per event, with enqueueing", server_cpu / events * 1e6, "µs")
    yield Figure(f"{name}: CPU of the {WORKERS} workers per event", workers.cpu / events * 1e6, "µs")
    yield Figure(f"{name}: memory of the largest worker", workers.memory, "MB")


def mail_figures(count: int) -> Iterator[Figure]:
    before = cpu_of_children()
    smtp = {"type": "smtp", "host": "127.0.0.1"}
    with postgres.serve(newest_version(), SERVER_OPTIONS) as server, worker_home(server.url(), smtp, "owner") as box:
        homes = HomesOutbox(server.url(), box.folder)
        with closing(homes.outbox):
            publish_contexts(server, box.home)
            for datasite in range(DATASITES):
                events = scan_events(datasite, 0, count // DATASITES)
                homes.enqueue(datasite, events, [_notification(each, datasite, "mail") for each in events])
        enqueued = time.monotonic()
        with started_workers(box) as workers:
            _wait_until_sent(server, count)
            seconds = time.monotonic() - enqueued
            workers.stop()
    server_cpu = cpu_of_children() - before - workers.cpu
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
    assert _number(server, "SELECT count(*) FROM syftnotify.attempts WHERE outcome = 'sent'") == count


def _waits(server: postgres.Server) -> list[float]:
    """The median, the 99th percentile and the longest of the times from enqueueing to the first attempt, in seconds."""
    query = """
        SELECT percentile_disc(ARRAY[0.5, 0.99, 1.0]) WITHIN GROUP (ORDER BY a.started_at - n.created_at)
        FROM syftnotify.attempts a JOIN syftnotify.notifications n ON n.scope = a.scope AND n.id = a.notification
    """
    found: Any = server.execute(query)[0][0]
    return [float(each) for each in found]


def _number(server: postgres.Server, query: str) -> int:
    found: Any = server.execute(query)[0][0]
    return int(found or 0)


def figures(events: int = EVENTS, seconds: float = SECONDS, mails: int = MAILS) -> Iterator[Figure]:
    yield from mail_figures(mails)
    yield from day_figures(events, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres_day")
    parser.add_argument("events", type=int, nargs="?", default=EVENTS)
    parser.add_argument("seconds", type=float, nargs="?", default=SECONDS)
    parser.add_argument("--home", type=Path, help="deliver as one of the workers, until SIGTERM")
    given = parser.parse_args()
    if given.home is None:
        sys.exit(report(figures(given.events, given.seconds)))
    work(Home(given.home))
