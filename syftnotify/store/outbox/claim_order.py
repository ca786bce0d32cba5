"""Claim order: high severity first, then the recipients of each priority class in turn."""

from __future__ import annotations

from collections.abc import Iterator
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
        find = statements.first_for_urgent if priority is Priority.HIGH else statements.first_of_recipient
        values = {"transport": transport, "priority": priority.value, "now": now}
        last = self._last_recipient.get((transport, priority), "")
        for recipient in self._recipients(connection, values, last, resend):
            row = connection.execute(find(resend), {"recipient": recipient, **values}).first()
            if row is not None:
                self._last_recipient[transport, priority] = recipient
                return row
        return None

    @staticmethod
    def _recipients(connection: sa.Connection, values: dict[str, Any], last: str, resend: bool) -> Iterator[str]:
        """Recipients with due notifications, each once, starting after the recipient of the last turn."""

        def following(after: str) -> str | None:
            found: str | None = statements.next_recipient(resend).scalar(connection, {"after": after, **values})
            return found

        first = found = following(last)
        while found is not None:
            yield found
            found = following(found)
            if found == first:
                return
