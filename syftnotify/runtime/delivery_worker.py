"""A worker that delivers for all homes of a database and scans nothing."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing

from syftnotify.config.load import Settings
from syftnotify.core.cluster import WorkerMode
from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.outbox import OutboxStore
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.runtime import systemd
from syftnotify.runtime.cluster_member import RECOVERY_SECONDS, recover
from syftnotify.runtime.container import build_dispatcher, join_cluster, transport_queue, transport_sections
from syftnotify.runtime.opening import connect_outbox
from syftnotify.system.logs import level_of_failures
from syftnotify.transports.webhook.alert_targets import settings_of_targets

log = logging.getLogger(__name__)


class DeliveryWorker:
    """Delivers until it is stopped. Any number of them run beside each other, also with the same home."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()

    def run(self, on_started: Callable[[list[str]], None]) -> None:
        """Deliver until `stop` is called; then finish the attempts in progress.

        `on_started` is called with warnings when the worker has joined the others.

        Raises:
            ConfigError: no database is configured.
            StateError: the database cannot be used.
        """
        require_database(self._settings, WorkerMode.DELIVER)
        if not self._settings.config.notify.enabled:
            raise ConfigError(
                "`notify.enabled` is false, so this worker would deliver nothing",
                hint=f"remove it from {self._settings.home.config}, or do not start the worker",
            )
        with closing(connect_outbox(self._settings)) as outbox:
            cluster = outbox.cluster
            assert cluster is not None  # for mypy: an outbox in a database has one
            dispatcher = build_dispatcher(
                self._settings,
                outbox,
                transport_sections(self._settings, outbox),
                clock=cluster.time,
                monotonic=time.monotonic,
                on_change=lambda: None,
            )
            join_cluster(self._settings, cluster, dispatcher, WorkerMode.DELIVER)
            recover(outbox, cluster.time())
            dispatcher.start()
            log.info("worker started, pid %d: it delivers for all homes of the database", os.getpid())
            systemd.sd_notify("READY=1\nSTATUS=running")
            on_started(list(self._settings.warnings))
            try:
                while not self._stopping.wait(RECOVERY_SECONDS):
                    self._look_after(outbox, dispatcher)
            finally:
                systemd.sd_notify("STOPPING=1")
                dispatcher.stop()
                log.info("worker stopped, pid %d", os.getpid())

    def stop(self) -> None:
        """Make `run` return soon. Safe to call from a signal handler."""
        self._stopping.set()

    def _look_after(self, outbox: OutboxStore, dispatcher: Dispatcher) -> None:
        """Recover what dead workers were sending, and add queues for the targets of new alert rules."""
        try:
            assert outbox.cluster is not None  # for mypy
            recover(outbox, outbox.cluster.time())
            targets = settings_of_targets(outbox.alert_rules.all())
            for name in targets.keys() - dispatcher.queues.keys():
                dispatcher.add(transport_queue(self._settings, outbox, name, targets[name], outbox.cluster.time))
        except NotifyError as error:
            log.log(level_of_failures(outbox.cluster), "%s", error)
        dispatcher.wake()
        if not dispatcher.is_alive:
            log.error("the dispatcher thread has ended; starting it again")
            dispatcher.start()


def require_database(settings: Settings, mode: WorkerMode) -> None:
    """Raises: ConfigError, this mode of a worker needs a database that several workers share."""
    if settings.config.database is None:
        raise ConfigError(
            f"--{mode.value.replace(' ', '-')} needs a database that several workers share",
            hint=f"set `database` in {settings.home.config}, or run `notify run` without the option",
        )
