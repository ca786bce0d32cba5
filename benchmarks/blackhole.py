"""How much later do the mails of a healthy transport arrive when another one's server never answers?

    python -m benchmarks.blackhole [messages]        (default: 200)

Both transports are real SMTP ones and get a burst at once. One server takes them; the other accepts every connection
and is silent. The baseline is the same burst where there is no other transport, and nobody to leave permits for.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ground import Figure, report
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification
from syftnotify.delivery.dispatcher import Dispatcher, TransportQueue
from syftnotify.rendering.email import EmailRenderer, Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.store.outbox.queue import Outbox
from syftnotify.transports.smtp.settings import SmtpSettings
from tests.mailserver import HOST, MailServer, RawServer, raw, serving, swallows
from tests.support import transport_for

OWNER = "owner@datasite.example"
READERS = 10  # so many that nobody gets enough for a digest
PERMITS = 16
TARGET = 2.0  # seconds
PATIENCE = 300.0  # seconds until it is given up


def owe(outbox: Outbox, count: int, via: str) -> None:
    """`count` mails, all at once."""
    events = [
        Event(
            EventKind.JOB_SUBMITTED,
            f"job/{via}/{number}",
            "T",
            "",
            {"name": f"job {number}", "submitter": "ana@uni.example"},
        )
        for number in range(count)
    ]
    outbox.put(
        events,
        [
            Notification(event.key, event.entity, f"{via}{number % READERS}@lab.example", Audience.OWNER, via)
            for number, event in enumerate(events)
        ],
        time.time(),
    )


@contextlib.contextmanager
def dispatching(ports: dict[str, int], count: int) -> Iterator[Dispatcher]:
    """A dispatcher with a transport for each of `ports`, and a burst that waits for each of them."""
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder) / "outbox.db")
        lanes = {}
        wording = EmailRenderer(TemplateRenderer(), sender=OWNER, links=Links())
        for name, port in ports.items():
            section = SmtpSettings.model_validate({"type": "smtp", "smtp_url": f"smtp://{HOST}:{port}"})
            lanes[name] = TransportQueue(name, transport_for(section), wording)
            owe(outbox, count, name)
        dispatcher = Dispatcher(outbox, lanes, me="benchmark", max_concurrent=PERMITS)
        try:
            yield dispatcher
        finally:
            dispatcher.stop()
            outbox.close()


def seconds_until_all(server: MailServer, dispatcher: Dispatcher, count: int) -> float:
    """How long the healthy server needs to get its burst."""
    begun = time.perf_counter()
    dispatcher.start()
    while len(server.committed) < count:
        assert time.perf_counter() - begun < PATIENCE, f"{len(server.committed)} of {count} arrived"
        time.sleep(0.002)  # between two looks
    return time.perf_counter() - begun


def alone(count: int) -> float:
    with serving() as server, dispatching({"healthy": server.port}, count) as dispatcher:
        return seconds_until_all(server, dispatcher, count)


def beside(count: int) -> tuple[float, RawServer]:
    """The same beside a black hole, and the black hole."""
    with serving() as server, contextlib.ExitStack() as stack:
        hole = stack.enter_context(raw(swallows))
        ports = {"hole": hole.port, "healthy": server.port}
        dispatcher = stack.enter_context(dispatching(ports, count))
        taken = seconds_until_all(server, dispatcher, count)
        hole.stop()  # else stopping would wait for it
        return taken, hole


def figures(counts: list[int]) -> Iterator[Figure]:
    """One figure for a burst of each count of mails to both."""
    for count in counts:
        baseline = alone(count)
        value, hole = beside(count)
        yield Figure(
            f"burst of {count:,} mails beside a black hole",
            value,
            "s",
            baseline,
            f"at most {TARGET:g} s later",
            value - baseline <= TARGET,
            f"the black hole held {hole.most} of {PERMITS} permits at the most",
        )


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # what the black hole costs is the figure, not news
    sys.exit(report(figures([int(word) for word in sys.argv[1:]] or [200])))
