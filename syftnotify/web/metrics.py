"""The metrics of the worker and its deliveries, in the text format of Prometheus.

Source of names and units: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from syftnotify import __version__
from syftnotify.core.errors import Failure
from syftnotify.core.metrics import FIRST_ATTEMPT_BUCKETS, OutboxMetrics
from syftnotify.core.outbox import OutboxCounts
from syftnotify.services.status import WorkerReport
from syftnotify.web.state import ServerState

MEDIA_TYPE = CONTENT_TYPE_LATEST
_LABELS = {"sent": "sent", **{failure.value: failure.label for failure in Failure}}  # by stored outcome


class _Metrics(Collector):
    """What is known at one moment."""

    def __init__(
        self, transports: Iterable[str], outbox: OutboxMetrics, counts: OutboxCounts, worker: WorkerReport
    ) -> None:
        self._transports = transports
        self._outbox = outbox
        self._counts = counts
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("syftnotify_build", "The installed version.", {"version": __version__})
        yield from self._of_worker()
        yield from self._of_deliveries()
        yield from self._of_queues(time.time())
        yield from self._of_transports()

    def _of_worker(self) -> Iterator[Metric]:
        worker = self._worker
        yield _gauge("worker_up", "Whether the worker runs.", worker.is_running)
        yield _gauge("worker_healthy", "Whether it runs and has no health problem.", worker.is_healthy)
        yield _counter("scans", "Scans since the start of the worker.", worker.scans)
        if worker.scan_seconds is not None:
            yield _gauge("last_scan_duration_seconds", "Duration of the last scan.", worker.scan_seconds)
        if worker.scanned_at is not None:
            yield _gauge("last_scan_timestamp_seconds", "When the last scan began.", worker.scanned_at)
        yield _gauge("jobs", "Jobs of the last scan.", worker.jobs)
        yield _gauge("peers", "Peers of the last scan.", worker.peers)

    def _of_deliveries(self) -> Iterator[Metric]:
        outbox, counts = self._outbox, self._counts
        yield _counter("events", "Events recorded since the outbox was created.", outbox.events)
        yield _counter("messages_sent", "Messages sent; a digest is one.", outbox.messages)
        yield _counter("notifications_sent", "Notifications in the messages sent.", outbox.notifications)
        attempts = CounterMetricFamily("syftnotify_attempts", "Attempts to send a message.", labels=["outcome"])
        for outcome, label in _LABELS.items():
            attempts.add_metric([label], outbox.attempts.get(outcome, 0))
        yield attempts
        yield _counter("unknown_outcomes", "Notifications whose attempt may have delivered them.", counts.unknown)
        yield _first_attempts(outbox)
        yield _gauge("dead_notifications", "Notifications that are not tried any more.", counts.dead)
        yield _gauge("dead_unacknowledged_notifications", "Those that no user has acknowledged.", counts.unacknowledged)
        yield _gauge("held_notifications", "Of unknown outcome, waiting for a decision.", counts.held)
        yield _gauge("withheld_notifications", "To recipients that are not verified yet.", counts.withheld)

    def _of_queues(self, now: float) -> Iterator[Metric]:
        depth = GaugeMetricFamily("syftnotify_queue_notifications", "Waiting notifications.", labels=["transport"])
        age = GaugeMetricFamily(
            "syftnotify_queue_oldest_age_seconds", "Age of the oldest waiting notification.", labels=["transport"]
        )
        queues = {queue.transport: queue for queue in self._outbox.queues}
        for name in sorted({*self._transports, *queues}):
            queue = queues.get(name)
            depth.add_metric([name], queue.waiting if queue else 0)
            age.add_metric([name], max(0.0, now - queue.oldest_at) if queue else 0.0)
        yield depth
        yield age

    def _of_transports(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "syftnotify_transport_up", "Whether the transport can send; 0: paused or failing.", labels=["transport"]
        )
        for name, can_send in sorted(self._worker.transports.items()):
            state.add_metric([name], can_send)
        yield state


def metrics_text(state: ServerState) -> bytes:
    """All metrics of a home. Raises: StateError, the outbox cannot be read."""
    history = state.outbox.history
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        _Metrics(
            state.settings.config.transports,
            history.metrics(holding=state.settings.holding),
            history.counts(holding=state.settings.holding),
            WorkerReport.read(state.home),
        )
    )
    return generate_latest(registry)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"syftnotify_{name}", text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"syftnotify_{name}", text, value)


def _first_attempts(outbox: OutboxMetrics) -> Metric:
    limits = [*map(str, FIRST_ATTEMPT_BUCKETS), "+Inf"]
    return HistogramMetricFamily(
        "syftnotify_first_attempt_seconds",
        "Time from when a message is due to its first attempt.",
        [*zip(limits, accumulate(outbox.first_attempts), strict=True)],
        outbox.first_attempt_seconds,
    )
