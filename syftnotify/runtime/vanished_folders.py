"""Detection of SyftBox folders that disappear while the worker runs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from syftnotify.core.text import iso

log = logging.getLogger(__name__)


class VanishedFolders:
    """Detects that job folders disappear, for example because a disk was unmounted. A restart accepts the new state."""

    def __init__(self, *, allows_changes: bool) -> None:
        """`allows_changes`: some of the folders may disappear, but not all; they belong to several owners."""
        self._allows_changes = allows_changes
        self._expected: set[Path] = set()  # job folders of earlier scans
        self._problem = ""

    def check(self, found: Iterable[Path], waiting_for: str, now: float) -> str:
        """The problem that a folder disappeared, with what to do; empty if none has. It is logged once.

        Args:
            found: the job folders that exist.
            waiting_for: why nothing could be scanned; empty if a scan was possible.
            now: seconds since 1970.
        """
        present = set(found)
        missing = self._expected - present
        if not missing or (self._allows_changes and present):
            self._expected |= present
            self._problem = ""
        elif not self._problem:
            what = waiting_for or f"the job folder {min(missing)} is gone"
            self._problem = f"{what} (since {iso(now)}); mount it again, or accept this with `notify restart`"
            log.error("%s", self._problem)
        return self._problem
