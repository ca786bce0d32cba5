"""Boxes with several transports, events emitted into them, and the counts of their outbox."""

from __future__ import annotations

from typing import Any

from tests.fakes.web import Web
from tests.support import Box

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


def configure_routes(box: Box, hook: Web, routes: list[dict[str, Any]], **webhook: Any) -> None:
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
