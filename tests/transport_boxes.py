"""Boxes with several transports, events emitted into them, and the counts of their outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import syftnotify
from syftnotify.core.outbox import OutboxCounts
from syftnotify.store.outbox.store import SqliteOutbox
from tests.fakes.web import WebServer
from tests.support import Box


def outbox_counts(box: Box, *, holding: Sequence[str] = ()) -> OutboxCounts:
    outbox = SqliteOutbox(box.home.outbox)
    try:
        return outbox.history.counts(holding=holding)
    finally:
        outbox.close()


GFLOW_EVENTS = [
    "job_submitted",
    "job_updated",
    "job_started",
    "job_completed",
    "job_failed",
    "job_cancelled",
    "job_timeout",
    "job_held",
    "job_released",
    "gpu_available",
    "reservation_created",
    "reservation_cancelled",
    "scheduler_online",
]


def configure_routes(box: Box, hook: WebServer, routes: list[dict[str, Any]], **webhook: Any) -> None:
    box.configure(
        {
            "transports": {
                "box": {"type": "maildir"},
                "oncall": {"type": "webhook", "url": hook.url, **webhook},
                "team": {"type": "slack", "url": hook.url, "default_recipient": "#jobs", "rate": 1000, "burst": 1000},
            },
            "routes": routes,
        }
    )


def emit(box: Box, kind: str, entity: str = "gflow/42", **more: Any) -> str:
    return syftnotify.emit(kind, entity, home=box.home.root, **more)
