"""For how long conditions have been observed without a break."""

from __future__ import annotations

from collections.abc import Callable


class StabilityTimer:
    """Measures the age of conditions on this process's monotonic clock. A condition is any text.

    A condition that no scan asks for is forgotten at the end of that scan.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: dict[str, tuple[float, bool]] = {}
        self._requested: set[str] = set()

    def begin_scan(self) -> None:
        self._requested = set()

    def end_scan(self) -> None:
        self._since = {key: since for key, since in self._since.items() if key in self._requested}

    def age(self, condition: str, *, ignores_timestamps: bool = False) -> tuple[float, bool]:
        """The seconds since the condition was first asked for, and the flag that was given then.

        The flag is kept for the caller: the timestamps of files are no evidence for this condition.
        """
        self._requested.add(condition)
        now = self._monotonic()
        since, flag = self._since.setdefault(condition, (now, ignores_timestamps))
        return now - since, flag
