"""The times of the scans."""

from __future__ import annotations

import time
from collections.abc import Callable

from syftnotify.runtime.scan_report import ScanReport

_DEBOUNCE_SECONDS = 0.005  # between a wake-up and its scan, so that a burst of changes is one scan
_RESCAN_SECONDS = 1.0  # until the first rescan; doubled for each further one that finds no event


class ScanSchedule:
    """When the next scan is due, on the monotonic clock, and whether it is a full scan.

    A full scan is due every `interval` seconds. Other scans cover only what changed. They are due after a wake-up, and
    after a scan whose report asks for a rescan.

    Each scan is between `begin` and `finish`. `start` follows the first one; each wait for a scan starts with `plan`.
    """

    def __init__(self, interval: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.due = 0.0
        self._interval = interval
        self._monotonic = monotonic
        self._needs_full_scan = True
        self._full_scan_due = 0.0
        self._needs_rescan = True
        self._rescan_delay = _RESCAN_SECONDS  # from the beginning of the wait
        self._began_at = 0.0  # the current or last scan
        self._duration = 0.0  # seconds that the last successful scan took
        self._wait_began_at = 0.0

    def begin(self) -> bool:
        """Begin a scan; returns whether it is a full scan. If it fails, the next one is full too."""
        self._began_at = self._monotonic()
        is_full = self._needs_full_scan or self._began_at >= self._full_scan_due
        if is_full:
            self._full_scan_due = self._began_at + self._interval
        self._needs_full_scan = True
        return is_full

    def finish(self, report: ScanReport | None) -> None:
        """Finish the scan; `report` is None if it failed."""
        if report is None:
            self._needs_rescan, self._rescan_delay = False, _RESCAN_SECONDS
            return
        self._needs_full_scan = False
        self._duration = self._monotonic() - self._began_at
        self._needs_rescan = report.rescan_soon
        finds_nothing = report.rescan_soon and not report.events
        self._rescan_delay = self._rescan_delay * 2 if finds_nothing else _RESCAN_SECONDS

    def start(self) -> None:
        """Begin the first interval, after the first scan. A rescan follows, for what changed during that scan."""
        self._full_scan_due = self._monotonic() + self._interval
        self._needs_rescan, self._rescan_delay = True, _RESCAN_SECONDS

    def plan(self) -> None:
        """Begin the wait for the next scan, and set `due`."""
        self._wait_began_at = self._monotonic()
        rescan_due = self._wait_began_at + self._rescan_delay
        self.due = min(rescan_due, self._full_scan_due) if self._needs_rescan else self._full_scan_due

    def bring_forward(self) -> None:
        """Scan soon, because something changed, but spend at most half of the time on scans."""
        earliest = max(self._wait_began_at + self._duration, self._monotonic() + _DEBOUNCE_SECONDS)
        self.due = min(self.due, earliest)

    def request_full_scan(self) -> None:
        """Make the next scan a full one."""
        self._needs_full_scan = True
