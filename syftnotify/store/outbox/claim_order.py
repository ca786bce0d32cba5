"""Claim order: high severity first, then the recipients of each class in turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import sqlalchemy as sa

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import DigestWindow
from syftnotify.store.outbox import statements
from syftnotify.store.outbox.tables import Priority


class Throttle(Protocol):
    """Decides which claimed notifications become part of a digest instead."""

    def gathering(self, recipient: str, kind: EventKind, source: str, bundle: str) -> DigestWindow | None:
        """The digest into which what is due for `recipient` goes, or None: this one may be sent as it is."""

    def record(self, recipient: str, bundle: str, source: str) -> None:
        """A message was claimed; `bundle` is empty unless it is a digest, `source` unless all of it has one source."""

    def undo(self) -> None:
        """Nothing that was recorded since the claim began was claimed."""


class Unlimited:
    """Sends every notification by itself."""

    def gathering(self, recipient: str, kind: EventKind, source: str, bundle: str) -> None:  # noqa: ARG002 - the interface
        return None

    def record(self, recipient: str, bundle: str, source: str) -> None:
        """Keep nothing."""

    def undo(self) -> None:
        """There is nothing to undo."""


class ClaimOrder:
    """Which notification of a transport is next.

    Notifications of high severity come first; an earlier message of the same conversation that holds one up is sent
    before it. After them, messages to the people who operate the notifier and messages to everybody else take turns.
    Within each class every recipient has a turn, so a long queue for one delays no other. The cost of a choice does
    not depend on how much was sent before.
    """

    def __init__(self) -> None:
        self._after: dict[tuple[str, Priority], str] = {}  # the recipient who had the last turn
        self._turns = [Priority.OPERATION, Priority.OTHER]

    def next(self, connection: sa.Connection, transport: str, now: float, *, resend: bool) -> Any | None:
        """The row of the next notification that is due, or None."""
        for priority in (Priority.HIGH, *self._turns):
            row = self._first(connection, transport, priority, now, resend)
            if row is not None:
                if priority is self._turns[0]:
                    self._turns.reverse()
                return row
        return None

    def _first(
        self, connection: sa.Connection, transport: str, priority: Priority, now: float, resend: bool
    ) -> Any | None:
        find = statements.first_for_urgent if priority is Priority.HIGH else statements.first_of
        values = {"transport": transport, "priority": priority.value, "now": now}
        for recipient in self._recipients(connection, values, self._after.get((transport, priority), ""), resend):
            if rows := find(resend).rows(connection, recipient=recipient, **values):
                self._after[transport, priority] = recipient
                return rows[0]
        return None

    @staticmethod
    def _recipients(connection: sa.Connection, values: dict[str, Any], last: str, resend: bool) -> Iterator[str]:
        """Recipients with due notifications, each once, starting after the recipient of the last turn."""
        ask = statements.next_recipient(resend).value
        after = last
        while (found := ask(connection, after=after, **values)) is not None:
            yield found
            after = found
        after = ""
        while last and (found := ask(connection, after=after, **values)) is not None and found <= last:
            yield found
            after = found
