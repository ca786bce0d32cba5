"""The inbox and its API: pages, live streams, metrics, and what they cost the worker.

    python -m benchmarks.centre

- A page of an inbox with a million notifications, with one of ten thousand as the baseline: the first page, one in the
  middle, and pages with filters. The two databases are read in turn.
- One notification to a thousand live streams of a `notify serve`: the time from before it is stored until a client has
  received it. The clients are in another process, on the same machine.
- `/metrics` of the database with a million notifications.
- Scans and deliveries of a worker that serves, measured as those of one that does not, and the memory that this adds.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks import delivery, scan
from benchmarks.common import (
    Figure,
    limit_figure,
    make_box,
    median_times,
    ratio_figure,
    read_proc,
    report,
    tree,
    worker,
)
from syftnotify.core.inbox import InboxFilter
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import INBOX, Event, Notification
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.tokens import Role
from syftnotify.runtime.opening import create_outbox
from syftnotify.services.cursors import prepare_cursors
from syftnotify.services.inbox import NewNotification, create_notification, inbox_page
from syftnotify.services.tokens import create_token
from syftnotify.system.paths import Home
from tests.streams import stream_clients
from tests.support import ANA, BO, OWNER, Box
from tests.web import serve_process, worker_url

SMALL, LARGE = 10_000, 1_000_000
MAX_PAGE_RATIO = 1.3
PAGE_ROUNDS, PAGES_PER_ROUND = 15, 20
CLIENTS, TOKENS, MESSAGES = 1000, 5, 30
MAX_FANOUT_MS, MAX_METRICS_MS, MAX_MEMORY_MB = 100, 20, 40
METRICS_ROUNDS = 30
_BATCH = 10_000
_KINDS = (EventKind.JOB_FAILED, EventKind.JOB_COMPLETED, EventKind.JOB_SUBMITTED)


def fill(outbox: OutboxStore, count: int) -> None:
    """Store `count` notifications of ANA; each job has three events, and each workflow two hundred jobs."""
    for start in range(0, count, _BATCH):
        events = [
            Event(_KINDS[number % 3], f"job/D/{OWNER}/{ANA}/j{number // 3}", payload={"name": f"w{number // 600}"})
            for number in range(start, min(start + _BATCH, count))
        ]
        outbox.enqueue(
            events,
            [
                Notification(event.key, event.entity, ANA, Audience.SUBMITTER, INBOX, INBOX, for_programs=True)
                for event in events
            ],
            time.time(),
        )


@contextmanager
def filled_home(count: int) -> Iterator[tuple[Home, OutboxStore]]:
    with tempfile.TemporaryDirectory(prefix="bench-home-") as folder:
        box = Box(Path(folder))
        box.configure({"serve": {"port": 0}})
        with create_outbox(box.home) as outbox:
            fill(outbox, count)
            prepare_cursors(outbox)
            yield box.home, outbox


def page_figures(small: tuple[Home, OutboxStore], large: tuple[Home, OutboxStore]) -> Iterator[Figure]:
    cases: dict[str, tuple[InboxFilter, bool]] = {
        "first page": (InboxFilter(), False),
        "page in the middle": (InboxFilter(), True),
        "first page of a kind": (InboxFilter(kind="JOB_FAILED"), False),
        "first page of unread ones": (InboxFilter(unread=True), False),
        "first page of a workflow": (InboxFilter(workflow="w3"), False),
        "page of what is newer than all": (InboxFilter(since=time.time() + 60), False),
    }

    def reader(outbox: OutboxStore, conditions: InboxFilter, cursor: str) -> Callable[[], object]:
        def read() -> None:
            for _ in range(PAGES_PER_ROUND):
                found = inbox_page(outbox, ANA, conditions, cursor=cursor).entries
                assert len(found) == (0 if conditions.since else 50)

        return read

    for name, (conditions, is_middle) in cases.items():
        actions = []
        for _, outbox in (small, large):
            cursor = ""
            if is_middle:
                total, _ = outbox.inbox.counts(ANA)
                cursor = _cursor_at(outbox, total // 2)
            actions.append(reader(outbox, conditions, cursor))
        before, taken = (1000 * each / PAGES_PER_ROUND for each in median_times(PAGE_ROUNDS, *actions))
        label = f"{name} of an inbox with {LARGE:,} notifications"
        yield ratio_figure(MAX_PAGE_RATIO, label, taken, "ms", before, note=f"the baseline is one with {SMALL:,}")


def _cursor_at(outbox: OutboxStore, position: int) -> str:
    """The cursor of the page after `position`, as the page before returns it."""
    conditions = InboxFilter(before=position)
    page = inbox_page(outbox, ANA, conditions)
    assert page.cursor is not None
    return page.cursor


def fanout_figure() -> Figure:
    with tempfile.TemporaryDirectory(prefix="bench-home-") as folder:
        box = Box(Path(folder))
        box.configure({"serve": {"port": 0}})
        with create_outbox(box.home) as outbox, serve_process(box.home) as (_, url):
            tokens = [create_token(outbox, BO, Role.VIEWER).secret for _ in range(TOKENS)]
            with stream_clients(tokens * (CLIENTS // TOKENS)) as clients:
                clients.connect(url)
                latencies: list[float] = []
                for number in range(MESSAGES):
                    started = time.perf_counter()
                    create_notification(outbox, NewNotification(BO, "JOB_FAILED", {"job_id": "j", "n": number}))
                    clients.wait_for(number + 1)
                    latencies += [client.times[number] - started for client in clients.clients]
    value = 1000 * statistics.quantiles(latencies, n=100)[98]
    middle = 1000 * statistics.median(latencies)
    return limit_figure(
        MAX_FANOUT_MS,
        f"one notification to {CLIENTS:,} live streams, 99th percentile",
        value,
        "ms",
        note=f"median {middle:.0f} ms; the clients share the cores with the server",
    )


def metrics_figure(home: Home, outbox: OutboxStore) -> Figure:
    headers = {"Authorization": f"Bearer {create_token(outbox, OWNER, Role.OPERATOR).secret}"}
    with serve_process(home) as (_, url), httpx.Client(base_url=url, headers=headers, trust_env=False) as client:

        def read() -> None:
            assert client.get("/metrics").status_code == 200

        read()
        (taken,) = median_times(METRICS_ROUNDS, read)
    return limit_figure(MAX_METRICS_MS, f"/metrics with {LARGE:,} notifications", taken * 1000, "ms")


def memory_figure() -> Figure:
    """Resident memory of an idle worker with the API and a stream, minus that of one without."""
    used = []
    for serves in (False, True):
        with tree(250) as root, make_box(root, serves=serves) as box, worker(box.home) as pid:
            if serves:
                _use(box.home, worker_url(box))
            used.append(_resident_mb(pid))
    name, unit = "memory that serving adds to a worker", "MB"
    if None in used:
        return Figure(name, None, unit, note="skipped: there is no /proc here")
    before, after = (each or 0.0 for each in used)
    return limit_figure(
        MAX_MEMORY_MB, name, after - before, unit, note=f"{before:.0f} MB without, {after:.0f} MB with it"
    )


def _use(home: Home, url: str) -> None:
    """One request of each usual kind, so that what they need is loaded."""
    with create_outbox(home) as outbox:
        operator, viewer = (create_token(outbox, OWNER, role).secret for role in (Role.OPERATOR, Role.VIEWER))
    with httpx.Client(base_url=url, trust_env=False) as client:
        for secret, path in ((operator, "/metrics"), (viewer, "/v1/notifications"), (operator, "/v1/jobs")):
            client.get(path, headers={"Authorization": f"Bearer {secret}"}).raise_for_status()
    with stream_clients([viewer]) as clients:
        clients.connect(url)


def _resident_mb(pid: int) -> float | None:
    status = read_proc(pid, "status")
    found = re.search(r"VmRSS:\s+(\d+) kB", status) if status is not None else None
    return int(found[1]) / 1024 if found else None


def figures() -> Iterator[Figure]:
    with filled_home(SMALL) as small, filled_home(LARGE) as large:
        yield from page_figures(small, large)
        yield metrics_figure(*large)
    yield fanout_figure()
    yield memory_figure()
    with tree(scan.WORKER_JOBS) as root:
        yield scan.worker_scan(root, scan.WORKER_JOBS, serves=True)
    yield from delivery.figures(800, serves=True)


if __name__ == "__main__":
    sys.exit(report(figures()))
