"""The page: how long each part takes with a million rows of history, and how soon 200 open pages show what is new.

    python -m benchmarks.pages

- Each part of the page of a `notify serve` whose outbox has a million events with a notification and an attempt each,
  spread over a year, a million entries of an inbox, a thousand dead letters and fifty decisions that wait: the median
  of several requests, from before the request until the answer is complete.
- One notification to 199 open streams of pages and one page in a browser: the time from before it is stored until the
  client has received it, and until it is part of the page in the browser.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.common import Figure, limit_figure, median_times, report
from syftnotify.core.decisions import PendingDecision
from syftnotify.core.identifiers import url_id
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import INBOX, Event, Notification
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.tokens import Role
from syftnotify.runtime.opening import create_outbox
from syftnotify.services.inbox import NewNotification, create_notification
from syftnotify.services.sessions import start_session_by_token
from syftnotify.services.silences import SilenceOptions, add_silence
from syftnotify.services.tokens import create_token
from syftnotify.system.paths import Home
from syftnotify.web.page.access import SESSION_COOKIE
from tests.browser.chromium import open_browser
from tests.streams import stream_clients
from tests.support import ANA, BO, OWNER, Box
from tests.web import serve_process

ROWS = 1_000_000
DEAD, WAITING, SILENCES = 1000, 50, 10
MAX_PAGE_MS, MAX_LIVE_MS = 100, 1000
ROUNDS = 15
OPEN_PAGES, MESSAGES = 200, 30
_BATCH = 10_000
_KINDS = (EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED, EventKind.JOB_COMPLETED, EventKind.JOB_FAILED)
_YEAR = 365 * 86400.0


def entity(number: int) -> str:
    return f"job/D/{OWNER}/{ANA}/run-{number}"


def fill(outbox: OutboxStore, path: Path) -> None:
    """A year of history: each job has three events, of which the owner got a mail and a notification in the inbox."""
    now = time.time()
    for start in range(0, ROWS, _BATCH):
        events = [
            Event(
                _KINDS[number % 3 + (number % 30 == 2)],
                entity(number // 3),
                payload={"name": f"run-{number // 3}", "owner": OWNER, "submitter": ANA, "layout": "D"},
            )
            for number in range(start, start + _BATCH)
        ]
        items = [
            Notification(event.key, event.entity, OWNER, Audience.OWNER, transport, medium, route="built-in: owner")
            for event in events
            for transport, medium in (("box", "mail"), (INBOX, INBOX))
        ]
        outbox.enqueue(events, items, now)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE events SET noticed_at = ? - (SELECT max(seq) FROM events) * ? + seq * ?",
            (now, _YEAR / ROWS, _YEAR / ROWS),
        )
        connection.execute(
            "UPDATE notifications SET created_at = (SELECT noticed_at FROM events WHERE key = event_key), "
            "state = iif(medium = 'mail' AND seq % ? = 0, 'dead', 'sent')",
            (2 * ROWS // DEAD - 1,),
        )
        connection.execute(
            "INSERT INTO attempts (notification, started_at, ended_at, outcome, error, provider_id) "
            "SELECT id, created_at, created_at, iif(state = 'dead', 'permanent', 'sent'), '', '' "
            "FROM notifications WHERE medium = 'mail'"
        )
    connection.close()


@contextmanager
def filled_home() -> Iterator[tuple[Home, OutboxStore]]:
    with tempfile.TemporaryDirectory(prefix="bench-home-") as folder:
        box = Box(Path(folder))
        box.root.mkdir()
        box.configure({"serve": {"port": 0}})
        with create_outbox(box.home) as outbox:
            fill(outbox, box.home.outbox)
            call = {"name": "run-1", "submitted_by": ANA, "status": "pending", "can_reject": True}
            payload = {"name": "run-1", "owner": OWNER, "submitter": ANA, "layout": "D", "call": call}
            outbox.decisions.change(
                [
                    PendingDecision(entity(number), EventKind.JOB_SUBMITTED, 1.0 + number, payload)
                    for number in range(WAITING)
                ]
            )
            for number in range(SILENCES):
                options = SilenceOptions(OWNER, job=[f"other-{number}"], duration="1d")
                add_silence(box.home, outbox, options)
            yield box.home, outbox


def session_of(outbox: OutboxStore, user: str) -> str:
    return start_session_by_token(outbox, create_token(outbox, user, Role.OPERATOR).token)


def page_figures(home: Home, outbox: OutboxStore) -> Iterator[Figure]:
    delivery = outbox.history.notifications(limit=1)[0].id
    cases = {
        "Waiting for you": "",
        "Inbox": "inbox",
        "Inbox, only unread": "inbox?unread=true",
        "Jobs": "jobs",
        "one job": f"jobs/{url_id(entity(ROWS // 6))}",
        "one job, for one person": f"jobs/{url_id(entity(ROWS // 6))}?person=bo@uni.example",
        "Alert rules": "rules",
        "Silences": "silences",
        "Worklist": "worklist",
        "Deliveries": "deliveries",
        "Deliveries, only dead": "deliveries?outcome=dead",
        "Deliveries to one person": f"deliveries?to={BO}",
        "Deliveries of a kind": "deliveries?kind=job_failed",
        "Deliveries of a kind that never occurred": "deliveries?kind=job_timeout",
        "Deliveries through a transport that never sent": "deliveries?transport=other",
        "Deliveries about a name": "deliveries?about=run-7",
        "one delivery": f"deliveries/{delivery}",
        "Transports": "transports",
        "Status": "status",
    }
    headers = {"Cookie": f"{SESSION_COOKIE}={session_of(outbox, OWNER)}"}
    with serve_process(home) as (_, url), httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        client.timeout = 60
        for name, path in cases.items():

            def read(path: str = path) -> None:
                assert client.get(f"/ui/{path}").status_code == 200

            read()
            (taken,) = median_times(ROUNDS, read)
            yield limit_figure(MAX_PAGE_MS, f"page {name!r} with {ROWS:,} rows", taken * 1000, "ms")


# Notes in the page when each notification appears, in ms since 1970.
_OBSERVE = """() => {
    window.seen = {};
    new MutationObserver((changes) => {
        for (const change of changes) for (const node of change.addedNodes)
            if (node.id && node.id.startsWith("n-")) window.seen[node.id.slice(2)] = Date.now();
    }).observe(document.getElementById("inbox"), { childList: true, subtree: true });
}"""


def live_figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-home-") as folder:
        box = Box(Path(folder))
        box.root.mkdir()
        box.configure({"serve": {"port": 0}})
        with create_outbox(box.home) as outbox, serve_process(box.home) as (_, url), open_browser() as browser:
            sessions = [session_of(outbox, OWNER) for _ in range(5)]
            page = browser.new_page()
            page.goto(f"{url}/ui/sign-in")
            page.get_by_label("Token").fill(create_token(outbox, OWNER, Role.OPERATOR).secret)
            page.get_by_role("button", name="Sign in", exact=True).click()
            page.wait_for_url("**/ui/")
            page.goto(f"{url}/ui/inbox")
            page.evaluate(_OBSERVE)
            stored: dict[str, float] = {}
            latencies: list[float] = []
            with stream_clients((sessions * OPEN_PAGES)[: OPEN_PAGES - 1], is_page=True) as clients:
                clients.connect(url)
                for number in range(MESSAGES):
                    started, moment = time.perf_counter(), time.time()
                    entry = create_notification(
                        outbox, NewNotification(OWNER, "JOB_FAILED", {"job_id": "j", "workflow_name": f"w{number}"})
                    )
                    stored[entry.id] = moment
                    clients.wait_for(number + 1)
                    latencies += [client.times[number] - started for client in clients.clients]
                    page.locator(f"#n-{entry.id}").wait_for()
            seen = page.evaluate("window.seen")
            shown = [seen[each] / 1000 - moment for each, moment in stored.items()]
    yield limit_figure(
        MAX_LIVE_MS,
        f"one notification to {OPEN_PAGES} open pages, 99th percentile",
        1000 * statistics.quantiles(latencies, n=100)[98],
        "ms",
        note=f"median {1000 * statistics.median(latencies):.0f} ms",
    )
    yield limit_figure(
        MAX_LIVE_MS,
        "the same until it is part of a page in a browser, slowest",
        1000 * max(shown),
        "ms",
        note=f"median {1000 * statistics.median(shown):.0f} ms",
    )


def figures() -> Iterator[Figure]:
    with filled_home() as filled:
        yield from page_figures(*filled)
    yield from live_figures()


if __name__ == "__main__":
    sys.exit(report(figures()))
