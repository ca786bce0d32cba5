"""The workers that share an outbox."""

from __future__ import annotations

from enum import StrEnum


class WorkerMode(StrEnum):
    """What a worker does. The values are stored."""

    FULL = "full"  # it scans and delivers
    DELIVER = "deliver-only"
    SCAN = "scan-only"
