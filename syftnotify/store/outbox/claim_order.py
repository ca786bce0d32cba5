"""Claim order: high severity first, then the recipients of each priority class in turn."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from syftnotify.store.outbox import claim_statements as statements
from syftnotify.store.outbox.schema import Priority


class ClaimOrder:
    """Chooses the next notification of a transport.

    Notifications of high severity come first; an earlier message of the same conversation that blocks one is sent
    before it. After them, messages to the people who operate the notifier and messages to everybody else take turns.
    Within each class the recipients take turns, so a long queue for one delays no other. The cost of a choice does not
    depend on how much was sent before.
    """

    def __init__(self) -> None:
        self._last_recipient: dict[tuple[str, Priority], str] = {}  # by transport and class
        self._turns = [Priority.OPERATION, Priority.OTHER]

    def next(self, connection: sa.Connection, transport: str, now: float, *, resend: bool) -> Any | None:
        """The row of the next due notification, or None."""
        values = {"transport": transport, "now": now}
        last = {priority: self._last_recipient.get((transport, priority), "") for priority in Priority}
        following = _next_recipients(connection, values, last, resend)
        for priority in (Priority.HIGH, *self._turns):
            row = self._first(connection, priority, values, following[priority], resend)
            if row is not None:
                self._last_recipient[transport, priority] = row.recipient
                if priority is self._turns[0]:
                    self._turns.reverse()
                return row
        return None

    @staticmethod
    def _first(
        connection: sa.Connection, priority: Priority, values: dict[str, Any], recipient: str | None, resend: bool
    ) -> Any | None:
        """The first row of a priority that nothing blocks; its recipients take turns, `recipient` is the first."""
        find = statements.first_for_urgent if priority is Priority.HIGH else statements.first_of_recipient
        first = recipient
        while recipient is not None:
            row = find(resend).first(connection, {"priority": priority.value, "recipient": recipient, **values})
            if row is not None:
                return row
            recipient = _next_recipients(connection, values, {priority: recipient}, resend)[priority]
            if recipient == first:
                return None
        return None


def _next_recipients(
    connection: sa.Connection, values: dict[str, Any], after: dict[Priority, str], resend: bool
) -> dict[Priority, str | None]:
    """By priority the recipient with due notifications that follows `after`; after the last one, the first."""
    find = statements.next_recipients(resend, tuple(after))
    found = find.first(connection, {**values, **{f"after_{priority.name}": each for priority, each in after.items()}})
    assert found is not None  # for mypy: it is one row
    return dict(zip(after, found, strict=True))
