"""One claim: which rows become the next message, and which of them the throttle groups into a digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from syftnotify.core.errors import Failure
from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import DIGEST_PREFIX, FLOOD_PREFIX, SHARE_PREFIX, DigestWindow
from syftnotify.core.outbox import ClaimedNotification, Throttle
from syftnotify.store.outbox import claim_statements as statements
from syftnotify.store.outbox.claim_order import ClaimOrder
from syftnotify.store.outbox.conditions import PENDING, WORKER_KIND_NAMES, is_due
from syftnotify.store.outbox.rows import claimed_notification
from syftnotify.store.outbox.schema import ATTEMPTS, EVENTS, NOTIFICATIONS


class Claim:
    """Claims messages of one transport at one moment, for one worker."""

    def __init__(
        self, order: ClaimOrder, transport: str, now: float, worker_id: str, resend: bool, throttle: Throttle | None
    ) -> None:
        self._order = order
        self._transport = transport
        self._now = now
        self._worker_id = worker_id
        self._resend = resend
        self._throttle = throttle
        self.first_waits: list[float] = []  # seconds from due to claimed, of the messages that had no attempt before

    def next_message(self, connection: sa.Connection) -> list[ClaimedNotification]:
        """Claim the next message and begin its attempt; empty when nothing is due.

        Raises:
            One of `ROW_ERRORS`, if a row cannot be read. The transaction must be rolled back.
        """
        first = self._next_row(connection)
        if first is None:
            return []
        rows, bundle = [first], first.bundle
        if bundle:
            values = {"transport": self._transport, "bundle": bundle}
            rows = list(connection.execute(statements.whole_bundle(self._resend), values))
        if first.first_failed_at is None and first.state == PENDING:
            self.first_waits.append(max(0.0, self._now - max(first.created_at, first.not_before)))
        ids = [row.id for row in rows]
        is_new_digest = bool(bundle) and "#" not in bundle
        if is_new_digest:
            # From now on the bundle has these items only, so a retry has the same id and content.
            bundle = f"{bundle}#{stable_hash(*sorted(ids))}"
        if self._throttle is not None:
            self._throttle.record(first.recipient, bundle, _common_source(rows))
        common = {"worker_id": self._worker_id, "moment": self._now, "new_bundle": bundle}
        statements.CLAIM.execute(connection, [{"row_id": each, **common} for each in ids])
        statements.BEGIN_ATTEMPT.execute(connection, [{"row_id": each, "moment": self._now} for each in ids])
        if is_new_digest and first.bundle.startswith((DIGEST_PREFIX, FLOOD_PREFIX, SHARE_PREFIX)):
            self._ungroup(connection, first.bundle)
        return [claimed_notification(row, bundle) for row in rows]

    def _next_row(self, connection: sa.Connection) -> Any | None:
        """The first row of the next message, after what the throttle does not allow was grouped into digests."""
        while (first := self._order.next(connection, self._transport, self._now, resend=self._resend)) is not None:
            is_exempt = first.kind in WORKER_KIND_NAMES or (first.bundle and not _is_open_share(first.bundle))
            if self._throttle is None or is_exempt:
                return first
            window = self._throttle.digest_window(first.recipient, EventKind(first.kind), first.source, first.bundle)
            if window is None or not self._group(connection, first, window):
                return first
        return None

    def _group(self, connection: sa.Connection, first: Any, window: DigestWindow) -> int:
        """Move what is due for the recipient of `first` into the digest `window`; returns how many rows.

        A message of unknown outcome is left out: it keeps its id.
        """
        wait = {"not_before": window.not_before, "longest_wait": max(0.0, window.not_before - self._now)}
        update = NOTIFICATIONS.update().where(
            NOTIFICATIONS.c.transport == self._transport,
            NOTIFICATIONS.c.recipient == first.recipient,
            NOTIFICATIONS.c.state == PENDING,
            NOTIFICATIONS.c.bundle == first.bundle,
        )
        if first.bundle:  # the digest of a daily share, which is postponed as a whole
            return connection.execute(update.values(**wait)).rowcount
        # `||` keeps SQLite from the index of outcomes: it would read all unknown attempts of the history.
        is_unknown = ATTEMPTS.c.outcome.concat("") == Failure.UNKNOWN.value
        has_unknown = sa.exists().where(ATTEMPTS.c.notification == NOTIFICATIONS.c.id, is_unknown)
        exempt = [*WORKER_KIND_NAMES, *(kind.value for kind in window.exempt)]
        is_exempt = sa.exists().where(EVENTS.c.key == NOTIFICATIONS.c.event_key, EVENTS.c.kind.in_(exempt))
        update = update.where(is_due(self._now), ~is_exempt, ~has_unknown)
        if window.source is not None:
            update = update.where(NOTIFICATIONS.c.source == window.source)
        return connection.execute(update.values(bundle=window.bundle, **wait)).rowcount

    def _ungroup(self, connection: sa.Connection, bundle: str) -> None:
        """Remove the rows from a throttle's digest that an attempt in progress kept out of its message.

        The throttle decides about them again. Otherwise each would become a digest of its own when that attempt ends.
        """
        connection.execute(
            NOTIFICATIONS.update()
            .where(
                NOTIFICATIONS.c.transport == self._transport,
                NOTIFICATIONS.c.state == PENDING,
                NOTIFICATIONS.c.bundle == bundle,
            )
            .values(bundle="")
        )


def _common_source(rows: Sequence[Any]) -> str:
    sources = {row.source for row in rows}
    return str(sources.pop()) if len(sources) == 1 else ""


def _is_open_share(bundle: str) -> bool:
    """Whether `bundle` is a digest of a daily share without an attempt, which can still be postponed."""
    return bundle.startswith(SHARE_PREFIX) and "#" not in bundle
