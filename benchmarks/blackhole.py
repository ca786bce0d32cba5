"""Delay of the mails of a healthy transport while the server of another transport never responds.

    python -m benchmarks.blackhole [messages]        (default: 200)

Two SMTP transports get a burst of mails at once. One server accepts them; the other accepts connections and never
responds. The baseline is the same burst with the healthy transport alone, which may use all permits.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import Figure, report
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.delivery.transport_queue import TransportQueue
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.transports.smtp.settings import SmtpSettings
from tests.fakes.mailserver import HOST, MailServer, RawServer, never_respond, serve_mail, serve_raw
from tests.support import transport_for

OWNER = "owner@datasite.example"
RECIPIENTS = 10  # so many that none reaches the threshold of a digest
PERMITS = 16
MAX_DELAY = 2.0  # seconds
TIMEOUT = 300.0  # seconds


def enqueue_mails(outbox: SqliteOutbox, count: int, transport: str) -> None:
    """Queue `count` mails at once."""
    events = [
        Event(
            EventKind.JOB_SUBMITTED,
            f"job/{transport}/{number}",
            "T",
            "",
            {"name": f"job {number}", "submitter": "ana@uni.example"},
        )
        for number in range(count)
    ]
    outbox.enqueue(
        events,
        [
            Notification(
                event.key, event.entity, f"{transport}{number % RECIPIENTS}@lab.example", Audience.OWNER, transport
            )
            for number, event in enumerate(events)
        ],
        time.time(),
    )


@contextlib.contextmanager
def running_dispatcher(ports: dict[str, int], count: int) -> Iterator[Dispatcher]:
    """A dispatcher with a transport for each of `ports`, and a burst of `count` mails queued for each."""
    with tempfile.TemporaryDirectory() as folder:
        outbox = SqliteOutbox(Path(folder) / "outbox.db")
        queues = []
        renderer = EmailRenderer(TemplateRenderer(), sender=OWNER, links=Links())
        for name, port in ports.items():
            section = SmtpSettings.model_validate({"type": "smtp", "smtp_url": f"smtp://{HOST}:{port}"})
            queues.append(TransportQueue(name, transport_for(section), renderer))
            enqueue_mails(outbox, count, name)
        dispatcher = Dispatcher(outbox, queues, worker_id="benchmark", max_concurrent=PERMITS)
        try:
            yield dispatcher
        finally:
            dispatcher.stop()
            outbox.close()


def seconds_until_received(server: MailServer, dispatcher: Dispatcher, count: int) -> float:
    """Seconds until the healthy server has received its burst."""
    started_at = time.perf_counter()
    dispatcher.start()
    while len(server.committed) < count:
        assert time.perf_counter() - started_at < TIMEOUT, f"{len(server.committed)} of {count} arrived"
        time.sleep(0.002)  # polling interval
    return time.perf_counter() - started_at


def measure_alone(count: int) -> float:
    """Seconds until the burst has arrived without another transport."""
    with serve_mail() as server, running_dispatcher({"healthy": server.port}, count) as dispatcher:
        return seconds_until_received(server, dispatcher, count)


def measure_beside_black_hole(count: int) -> tuple[float, RawServer]:
    """Seconds until the burst has arrived beside a black hole, and the server that was the black hole."""
    with serve_mail() as server, contextlib.ExitStack() as stack:
        black_hole = stack.enter_context(serve_raw(never_respond))
        ports = {"hole": black_hole.port, "healthy": server.port}
        dispatcher = stack.enter_context(running_dispatcher(ports, count))
        seconds = seconds_until_received(server, dispatcher, count)
        black_hole.stop()  # otherwise stopping the dispatcher would wait for it
        return seconds, black_hole


def figures(counts: list[int]) -> Iterator[Figure]:
    """One figure for a burst of each count of mails to both."""
    for count in counts:
        baseline = measure_alone(count)
        value, black_hole = measure_beside_black_hole(count)
        yield Figure(
            f"burst of {count:,} mails beside a black hole",
            value,
            "s",
            baseline,
            f"at most {MAX_DELAY:g} s later",
            value - baseline <= MAX_DELAY,
            f"the black hole held at most {black_hole.max_open} of {PERMITS} permits",
        )


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # failed attempts are expected
    sys.exit(report(figures([int(argument) for argument in sys.argv[1:]] or [200])))
