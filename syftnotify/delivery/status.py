"""What the worker reports about deliveries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class DeliveryStatus:
    """Shared by all parts of a `Dispatcher`."""

    last_error: str = ""
    failed_passes: int = 0  # scheduling passes in a row that failed
