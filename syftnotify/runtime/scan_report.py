"""What one scan found and did."""

from __future__ import annotations

from dataclasses import dataclass, field

from syftnotify.core.models import Event, Notification
from syftnotify.core.submissions import Submission


@dataclass(slots=True)
class ScanReport:
    """The result of one tick of the pipeline."""

    jobs: int = 0  # in the tree
    peers: int = 0
    events: list[Event] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    # Copies to store: of new jobs before their events are enqueued, of changed ones afterwards. If the process is
    # killed in between, the next scan finds the same events.
    new_submissions: list[Submission] = field(default_factory=list)
    changed_submissions: list[Submission] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    rescan_soon: bool = False  # something was left out, so the next scan should not wait for the interval
    waiting_for: str = ""  # why the SyftBox folder cannot be scanned; empty if it was
    delayed: int = 0  # jobs with events above the limit per submitter and minute
    newcomers: frozenset[str] = frozenset()  # recipients that are mailed for the first time
    excess: int = 0  # recipients above the daily limit of new ones
    released: int = 0  # notifications that are no longer withheld

    def add(self, other: ScanReport) -> None:
        """Add the events and notifications of `other`, and whether it needs a rescan."""
        self.events += other.events
        self.notifications += other.notifications
        self.rescan_soon = self.rescan_soon or other.rescan_soon
