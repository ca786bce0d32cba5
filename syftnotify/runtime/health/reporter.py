"""The health reporter of a worker."""

from __future__ import annotations

from collections.abc import Callable

from syftnotify.core.kinds import EventKind
from syftnotify.core.outbox import OutboxCounts
from syftnotify.core.text import iso
from syftnotify.runtime.container import App
from syftnotify.runtime.health.availability import TransportAvailability
from syftnotify.runtime.health.events import WorkerEvents
from syftnotify.runtime.health.heartbeat import HeartbeatMail
from syftnotify.runtime.health.outbox_alerts import DeadLetterAlerts, LostEventAlerts
from syftnotify.runtime.health.pinger import Pinger
from syftnotify.runtime.health.sign_in_alerts import SignInAlerts
from syftnotify.runtime.health.transport_alerts import TransportAlerts


class HealthReporter:
    """Alerts the owner when the worker cannot deliver, and sends heartbeats and pings while everything works.

    All methods raise `StateError` if the outbox cannot be used; the next call enqueues what is missing.
    """

    def __init__(self, app: App, *, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        settings, outbox, pipeline, dispatcher = app.settings, app.outbox, app.pipeline, app.dispatcher
        self._clock = clock
        self._availability = TransportAvailability(dispatcher, settings.config.transports, monotonic)
        self._events = WorkerEvents(
            pipeline.enqueue_worker_event,
            outbox.events,
            home=settings.home.root,
            owner=settings.config.do_email,
            clock=clock,
            on_enqueued=dispatcher.wake,
        )
        self._sign_in_alerts = SignInAlerts(self._events, settings, clock=clock)
        self._transport_alerts = TransportAlerts(
            self._events, self._availability, outbox, settings.config.transports, clock=clock
        )
        self._dead_letter_alerts = DeadLetterAlerts(
            self._events, self._availability, outbox.dead_letters, clock=clock, monotonic=monotonic
        )
        self._lost_event_alerts = LostEventAlerts(
            self._events, lost_keys=lambda: pipeline.lost_events, forget=pipeline.forget_lost_events
        )
        self._heartbeat = HeartbeatMail(self._events, outbox.history, settings, clock=clock)
        self._pinger = Pinger(settings.config.heartbeat.ping_url, monotonic=monotonic)

    def report_start(self) -> None:
        """Enqueue the event that the worker has started."""
        started_at = iso(self._clock(), exact=True)
        self._events.enqueue(EventKind.SCHEDULER_ONLINE, self._events.worker_entity, started_at, {})

    def needs_check(self, counts: OutboxCounts) -> bool:
        """Whether an alert may become due before the next scan."""
        return counts.unacknowledged > 0 or self._availability.is_any_failing()

    def check(self) -> None:
        """Enqueue the alerts that are due about transports, dead letters and lost events."""
        self._transport_alerts.check()
        self._dead_letter_alerts.check()
        self._lost_event_alerts.check()

    def after_scan(self, counts: OutboxCounts, *, jobs: int, peers: int, is_healthy: bool) -> None:
        """Enqueue all alerts that are due. If everything works, send a ping and enqueue the heartbeat, if due."""
        self._sign_in_alerts.check()
        self.check()
        if is_healthy and self._availability.are_all_available() and not counts.unacknowledged:
            self._pinger.ping()
            self._heartbeat.send_if_due(counts, jobs=jobs, peers=peers)

    def finish(self) -> None:
        """Wait for a ping in progress."""
        self._pinger.wait()
