"""The outbox on PostgreSQL: growth, several workers, and the limits of the server beside them.

    python -m benchmarks.postgres [--write]

`--write` also writes docs/performance-shared.md. With `benchmarks.postgres_day` it takes an hour and a half, so `make
bench` does not include it. All servers write to disk as a real one does (fsync, synchronous commit).

- Claims and outcomes in a database with ten million notifications that were sent, with one of ten thousand as the
  baseline. Both are on one server, and are measured in turn.
- Enqueueing, compared with SQLite on the same disk, measured in turn.
- Deliveries of one and of four processes to a server that responds after 100 ms. The baseline is one process. The
  processes, the server and the database share the cores.
- pgbench, with its own tables in the same server.
"""

from __future__ import annotations

import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from benchmarks import postgres_day
from benchmarks.common import Figure, ratio_figure, report, time_call
from benchmarks.outbox import make_notifications
from benchmarks.page import write_shared_page
from benchmarks.postgres_day import SERVER_OPTIONS, newest_version
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event, Notification
from syftnotify.store.outbox.postgres.schema import METADATA
from syftnotify.store.outbox.postgres.store import PostgresOutbox
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system.paths import Home
from tests import postgres
from tests.fakes.web import respond, serve_web
from tests.support import ANA, OWNER, PROJECT_ROOT, Box, wait_until

SMALL, LARGE = 10_000, 10_000_000
EVENTS_SHARE = 10  # notifications per event
CLAIM_ROUNDS, MESSAGES_PER_ROUND, CLAIM_SIZE = 15, 800, 16
MAX_CLAIM_RATIO = 1.2
ENQUEUED, ENQUEUE_ROUNDS = 10_000, 9
MIN_ENQUEUE_RATIO = 0.5
PROCESSES, RESPONSE_SECONDS, DELIVERIES_PER_PROCESS = 4, 0.1, 300
# Concurrent deliveries of a process. With the first number two cores are enough for all processes, the server and the
# database, so the ratio shows what coordination costs. With the second one they are not, on a machine with two.
CONCURRENT, MANY_CONCURRENT = 2, 4
MIN_SPEEDUP = 3.0
PGBENCH_SCALE, PGBENCH_SECONDS = 50, 30
TIMEOUT = 600.0  # seconds
_OLD = 86_400.0  # seconds since the stored notifications were sent


@contextmanager
def open_outbox(url: str, scope: str = OWNER) -> Iterator[PostgresOutbox]:
    """The outbox of one home in the database `url`; the worker counts as alive during the block."""
    with tempfile.TemporaryDirectory() as folder, closing(PostgresOutbox(url, scope, Home(Path(folder)))) as outbox:
        yield outbox


# -- claims and outcomes ---------------------------------------------------------------------------------------------


def fill(server: postgres.Server, database: str, count: int) -> None:
    """Store `count` notifications that were sent a day ago at the first attempt, ten for each event."""
    at = time.time() - _OLD
    tables = ("events", "notifications", "attempts")
    job = f"'job/D/{OWNER}/ds' || n / 300 % 50 || '@lab.example/j' || n / 3"
    kind = "(array['job_submitted', 'job_approved', 'job_completed'])[n % 3 + 1]"
    statements = [
        f"""INSERT INTO syftnotify.events (scope, key, kind, entity, occurrence, at, payload, noticed_at)
        SELECT '{OWNER}', md5('event' || n), {kind}, {job}, '', '', '{{"name": "job"}}', {at}
        FROM generate_series(1, {count // EVENTS_SHARE}) AS s(n)""",
        f"""INSERT INTO syftnotify.notifications (scope, id, event_key, entity, medium, recipient, audience, transport,
            bundle, state, reason, created_at, not_before, failures, refusals, thread)
        SELECT scope, md5(key || r), key, entity, 'mail', 'r' || r || '@lab.example', 'owner', 'box', '', 'sent', '',
            {at}, {at}, 0, 0, ''
        FROM syftnotify.events, generate_series(1, {EVENTS_SHARE}) AS s(r)""",
        f"""INSERT INTO syftnotify.attempts (scope, notification, started_at, ended_at, outcome, error, provider_id)
        SELECT scope, id, {at}, {at} + 0.1, 'sent', '', '' FROM syftnotify.notifications""",
    ]
    indexes = [index for table in tables for index in METADATA.tables[f"syftnotify.{table}"].indexes]
    for index in indexes:
        server.execute(f'DROP INDEX syftnotify."{index.name}"', database)
    for statement in statements:
        server.execute(statement, database)
    dialect: sa.Dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's
    for index in indexes:
        create = sa.schema.CreateIndex(index).compile(dialect=dialect)
        server.execute(str(create), database)
    for table in tables:
        server.execute(f"VACUUM (FREEZE, ANALYZE) syftnotify.{table}", database)


def new_notifications(round_number: int) -> tuple[list[Event], list[Notification]]:
    """Notifications of one round, to fifty recipients, each about another job."""
    events = [
        Event(EventKind.JOB_COMPLETED, f"job/D/{OWNER}/{ANA}/round-{round_number}-{number}", payload={"name": "job"})
        for number in range(MESSAGES_PER_ROUND)
    ]
    base = make_notifications(1, "box", to=ANA, medium="mail")[1][0]
    return events, [
        replace(base, event_key=event.key, entity=event.entity, recipient=f"r{number % 50}@lab.example")
        for number, event in enumerate(events)
    ]


def claim_and_record(outbox: PostgresOutbox) -> None:
    """Claim everything that waits, as a dispatcher does, and record that it was sent."""
    left = MESSAGES_PER_ROUND
    while left:
        messages = outbox.queue.claim("box", time.time(), worker_id="bench", limit=CLAIM_SIZE)
        with outbox.queue.batch():
            for message in messages:
                outbox.queue.mark_sent(message, time.time())
        left -= len(messages)


def claim_figures(server: postgres.Server) -> Iterator[Figure]:
    with ExitStack() as stack:
        outboxes = []
        for name, count in (("small", SMALL), ("large", LARGE)):
            outboxes.append(stack.enter_context(open_outbox(server.create_database(name))))
            fill(server, name, count)
        taken: list[list[float]] = [[], []]
        for number in range(CLAIM_ROUNDS):
            for outbox, times in zip(outboxes, taken, strict=True):
                outbox.enqueue(*new_notifications(number), time.time())
                times.append(time_call(partial(claim_and_record, outbox)))
        size = server.execute("SELECT pg_database_size('large')")[0][0]
    small, large = (statistics.median(times) / MESSAGES_PER_ROUND * 1000 for times in taken)
    yield ratio_figure(
        MAX_CLAIM_RATIO,
        f"claim and outcome of a message, {LARGE:,} notifications in the database",
        large,
        "ms",
        small,
        note=f"the baseline has {SMALL:,} notifications; {CLAIM_SIZE} messages in one claim",
    )
    assert isinstance(size, int)
    yield Figure(f"size of the database with {LARGE:,} notifications", size / 1e9, "GB")


# -- enqueueing ------------------------------------------------------------------------------------------------------


def enqueue_figures(server: postgres.Server) -> Iterator[Figure]:
    events, notifications = make_notifications(ENQUEUED, "box", to=ANA, medium="mail")
    taken: list[list[float]] = [[], []]
    for number in range(ENQUEUE_ROUNDS):
        with (
            tempfile.TemporaryDirectory() as folder,
            closing(SqliteOutbox(Path(folder) / "outbox.db")) as file,
            open_outbox(server.create_database(f"enqueue_{number}")) as shared,
        ):
            for outbox, times in ((file, taken[0]), (shared, taken[1])):
                times.append(time_call(partial(outbox.enqueue, events, notifications, time.time())))
                assert outbox.history.counts().waiting == ENQUEUED
    in_file, in_database = (ENQUEUED / statistics.median(times) for times in taken)
    yield Figure(
        f"enqueueing {ENQUEUED:,} notifications, compared with SQLite",
        in_database,
        "per second",
        in_file,
        f"at least {MIN_ENQUEUE_RATIO:g} x",
        in_database >= MIN_ENQUEUE_RATIO * in_file,
    )


# -- several delivery processes --------------------------------------------------------------------------------------


@contextmanager
def delivery_processes(url: str, hook: str, count: int, concurrent: int) -> Iterator[None]:
    """`count` processes that deliver through a webhook at `hook`, all with the same configuration."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        box = Box(Path(folder))
        box.configure(
            {
                "database": url,
                "transports": {"hook": {"type": "webhook", "url": hook}},
                "routes": [{"to": ["hook"]}],
                "notify": {"max_concurrent_deliveries": concurrent},
            }
        )
        for _ in range(count):
            process = box.start_process("run", "--deliver-only", stderr=subprocess.DEVNULL)
            stack.callback(process.communicate)  # after the signal
            stack.callback(process.send_signal, signal.SIGTERM)
        yield


def delivery_rate(server: postgres.Server, processes: int, concurrent: int) -> float:
    """Messages per second of so many processes, from the first request to the last response."""
    arrived: list[float] = []
    responded: list[float] = []
    accept = respond(200, "ok")

    def handle(connection: object) -> None:
        arrived.append(time.perf_counter())
        time.sleep(RESPONSE_SECONDS)  # the processing time of the server
        accept(connection)  # type: ignore[arg-type] # a socket
        responded.append(time.perf_counter())

    count = DELIVERIES_PER_PROCESS * processes
    url = server.create_database(f"delivery_{processes}_{time.monotonic_ns()}")
    with (
        serve_web(handle) as hook,
        open_outbox(url) as outbox,
        delivery_processes(url, hook.url, processes, concurrent),
    ):
        wait_until(lambda: len(outbox.cluster.workers()) == processes, TIMEOUT, "the processes")
        outbox.enqueue(*make_notifications(count, "hook", to="hook", medium="webhook/hook"), time.time())
        wait_until(lambda: len(responded) >= count, TIMEOUT, f"{count} messages")
        wait_until(lambda: not outbox.history.counts().waiting, TIMEOUT, "the outcomes")
    assert len(responded) == count
    return count / (max(responded) - min(arrived))


def delivery_figures(server: postgres.Server) -> Iterator[Figure]:
    for concurrent in (CONCURRENT, MANY_CONCURRENT):
        rates = [[delivery_rate(server, processes, concurrent) for processes in (1, PROCESSES)] for _ in range(3)]
        one, several = (statistics.median(each) for each in zip(*rates, strict=True))
        has_target = concurrent == CONCURRENT
        yield Figure(
            f"delivery by {PROCESSES} processes, {concurrent} concurrent deliveries each, to a server that responds "
            f"after {RESPONSE_SECONDS * 1000:g} ms",
            several,
            "per second",
            one,
            f"at least {MIN_SPEEDUP:g} x" if has_target else None,
            several >= MIN_SPEEDUP * one if has_target else None,
            f"the baseline is one process{'' if has_target else '; two cores are busy with this'}",
        )


# -- the limit of the server -----------------------------------------------------------------------------------------


def pgbench_figures(server: postgres.Server) -> Iterator[Figure]:
    server.create_database("pgbench")
    program = str(server.programs / "pgbench")
    common = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "pgbench"]
    subprocess.run([program, "-i", "-q", "-s", str(PGBENCH_SCALE), *common], check=True, capture_output=True)
    for clients in (1, PROCESSES):
        options = ["-c", str(clients), "-j", str(min(clients, 2)), "-T", str(PGBENCH_SECONDS)]
        printed = subprocess.run([program, *options, *common], check=True, capture_output=True, text=True).stdout
        found = re.search(r"^tps = ([0-9.]+)", printed, re.MULTILINE)
        assert found is not None, printed
        yield Figure(
            f"pgbench, {clients} client{'s' * (clients > 1)}",
            float(found[1]),
            "per second",
            note=f"its transactions of five statements, scale {PGBENCH_SCALE}",
        )


def figures() -> Iterator[Figure]:
    with postgres.serve(newest_version(), SERVER_OPTIONS) as server:
        yield from enqueue_figures(server)
        yield from delivery_figures(server)
        yield from pgbench_figures(server)
        yield from claim_figures(server)
    yield from postgres_day.figures()


def main(arguments: Sequence[str]) -> int:
    found: list[Figure] = []

    def kept() -> Iterator[Figure]:
        for figure in figures():
            found.append(figure)
            yield figure

    code = report(kept())
    if "--write" in arguments:
        write_shared_page(found, newest_version(), PROJECT_ROOT / "docs")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
