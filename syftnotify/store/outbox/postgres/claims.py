"""One claim: which rows become messages, and which of them the throttle groups into digests."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from syftnotify.core.history import SentMessage
from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import EventKind
from syftnotify.core.metrics import first_attempt_totals
from syftnotify.core.models import DIGEST_PREFIX, FLOOD_PREFIX, SHARE_PREFIX, DigestWindow
from syftnotify.core.outbox import ClaimedNotification, Throttle
from syftnotify.core.text import escape
from syftnotify.store.outbox.conditions import PENDING, WORKER_KIND_NAMES
from syftnotify.store.outbox.postgres import claim_statements as statements
from syftnotify.store.outbox.rows import ROW_ERRORS, claimed_notification
from syftnotify.store.outbox.schema import Priority

log = logging.getLogger(__name__)

_KINDS = frozenset(kind.value for kind in EventKind)
_NEWER_SECONDS = 60.0  # until workers of this version find it again

Totals = dict[tuple[str, str], int]  # counters by scope and name


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """The rows of one message."""

    rows: Sequence[Any]
    bundle: str  # with the id of the message, if it is a digest

    @property
    def source(self) -> str:
        """Who caused all of it; empty: several, or nobody."""
        sources = {row.source for row in self.rows}
        return str(sources.pop()) if len(sources) == 1 else ""


def total_values(totals: Totals) -> dict[str, Any]:
    """The parameters of ADD_TOTALS."""
    return {
        "total_scopes": [scope for scope, _ in totals],
        "total_names": [name for _, name in totals],
        "total_values": list(totals.values()),
    }


class TurnOrder:
    """Where the rotation of the priority classes other than HIGH, and of the recipients of each class, continues."""

    def __init__(self) -> None:
        self.last_recipient: dict[tuple[str, Priority], str] = {}  # by transport and class
        self.turns = [Priority.OPERATION, Priority.OTHER]


class Claim:
    """Claims messages of one transport at one moment, for one worker, in one transaction."""

    def __init__(
        self,
        connection: sa.Connection,
        order: TurnOrder,
        transport: str,
        now: float,
        *,
        resend: bool,
        throttle: Throttle | None,
    ) -> None:
        self._connection = connection
        self._order = order
        self.transport = transport
        self.now = now
        self._common = {"transport": transport, "now": now, "resend": resend}
        self._throttle = throttle
        self._closed: list[dict[str, str]] = []  # digests: scope, recipient and bundle
        self._taken: set[int] = set()  # `seq` of rows that this claim has used or moved into a digest
        self.messages: list[ClaimedMessage] = []
        # By scope: seconds from due to claimed, of the messages that had no attempt before.
        self._first_waits: dict[str, list[float]] = {}

    def run(self, limit: int) -> None:
        """Choose at most `limit` messages, into `messages`."""
        recipients = self._due_recipients(limit)
        if self._throttle is not None and any(recipients.values()):
            self._lock({f"{self.transport} {each}" for found in recipients.values() for each in found})
        rows = {priority: deque(self._due_rows(priority, found, limit)) for priority, found in recipients.items()}
        if self._throttle is not None:
            self._recall(self._throttle, [row for found in rows.values() for row in found])
        while len(self.messages) < limit:
            priority = next((each for each in (Priority.HIGH, *self._order.turns) if rows[each]), None)
            if priority is None:
                return
            row = rows[priority].popleft()
            if self._take(row):
                self._order.last_recipient[self.transport, priority] = row.recipient
                if priority is self._order.turns[0]:
                    self._order.turns.reverse()

    def _due_recipients(self, limit: int) -> dict[Priority, list[str]]:
        """At most `limit` recipients with due notifications of each class, the next one in the rotation first."""
        last = {priority: self._order.last_recipient.get((self.transport, priority), "") for priority in Priority}
        ranges: list[tuple[Priority, str, str | None]] = [(priority, after, None) for priority, after in last.items()]
        ranges += [(priority, "", after) for priority, after in last.items() if after]
        priorities, after, up_to = map(list, zip(*ranges, strict=True))
        values = {**self._common, "priorities": priorities, "after": after, "up_to": up_to, "most": limit}
        found: dict[Priority, list[str]] = {priority: [] for priority in Priority}
        for row in self._execute(statements.DUE_RECIPIENTS, values):
            found[Priority(row.priority)].append(row.recipient)
        return {priority: recipients[:limit] for priority, recipients in found.items()}

    def _due_rows(self, priority: Priority, recipients: Sequence[str], limit: int) -> Sequence[Any]:
        """The next rows of `recipients`, who take turns; they are locked."""
        if not recipients:
            return []
        find = statements.URGENT_ROWS if priority is Priority.HIGH else statements.DUE_ROWS
        most = -(-limit // len(recipients))
        values = {**self._common, "priority": priority.value, "recipients": list(recipients), "most": most}
        return [row for row in self._execute(find, values).all() if self._is_readable(row)]

    def _is_readable(self, row: Any) -> bool:
        """Whether the row is valid; one that is not becomes a dead letter.

        An event of a kind that only a newer version knows waits for a worker of that version.
        """
        if row.seq in self._taken:
            return True
        if row.kind not in _KINDS:
            log.warning("notification %d (%s) is left to workers of a newer version", row.seq, escape(row.kind))
            values = {"seq": row.seq, "until": self.now + _NEWER_SECONDS, "wait": _NEWER_SECONDS}
            self._execute(statements.POSTPONE, values)
            return False
        try:
            claimed_notification(row, row.bundle)
        except ROW_ERRORS as error:
            reason = escape(str(error) or type(error).__name__)
            log.error(
                "notification %d of transport %s cannot be read (%s); it is now a dead letter",
                row.seq,
                self.transport,
                reason,
            )
            values = {"seq": row.seq, "now": self.now, "reason": f"quarantined: {reason}"}
            self._execute(statements.QUARANTINE, values)
            return False
        return True

    def _recall(self, throttle: Throttle, rows: Sequence[Any]) -> None:
        """Let the throttle count what all workers have sent to the recipients and because of the sources of `rows`."""
        recipient_seconds, source_seconds = throttle.seconds
        recipients, sources = sorted({row.recipient for row in rows}), sorted({row.source for row in rows} - {""})
        of_sources: list[SentMessage] = []
        if source_seconds and sources:
            self._lock(f"{self.transport} by {source}" for source in sources)
            values = {"names": sources, "since": self.now - source_seconds, "transport": self.transport}
            of_sources = [SentMessage(*tuple(row)) for row in self._execute(statements.COUNTED_OF_SOURCES, values)]
        values = {"names": recipients, "since": self.now - recipient_seconds}
        to_recipients = [SentMessage(*tuple(row)) for row in self._execute(statements.COUNTED_TO_RECIPIENTS, values)]
        throttle.recall(to_recipients, of_sources)

    def _lock(self, names: Iterable[str]) -> None:
        """Wait for the claims of other workers for the same names; sorted, so that no two wait for each other."""
        self._execute(statements.LOCK_NAMES, {"names": sorted(names)})

    def _take(self, row: Any) -> bool:
        """Make a message of `row`, unless it is used already or the throttle groups it into a digest."""
        if row.seq in self._taken:
            return False
        is_open_share = row.bundle.startswith(SHARE_PREFIX) and "#" not in row.bundle
        is_exempt = row.kind in WORKER_KIND_NAMES or (row.bundle and not is_open_share)
        if self._throttle is not None and not is_exempt:
            window = self._throttle.digest_window(row.recipient, EventKind(row.kind), row.source, row.bundle)
            if window is not None and self._group(row, window):
                is_due = window.not_before <= self.now and not row.bundle
                return is_due and self._take_bundle(row, window.bundle)
        if row.bundle:
            return self._take_bundle(row, row.bundle)
        self._add_message([row], "")
        return True

    def _take_bundle(self, row: Any, bundle: str) -> bool:
        """Make a message of a bundle of the home and recipient of `row`; returns whether there is anything in it."""
        digest = {"scope": row.scope, "recipient": row.recipient, "bundle": bundle}
        found = self._execute(statements.BUNDLE_ROWS, {**self._common, **digest}).all()
        rows = [row for row in found if row.seq not in self._taken and self._is_readable(row)]
        if rows and "#" in bundle:
            self._add_message(rows, bundle)
        elif rows:
            # From now on the bundle has these items only, so a retry has the same id and content.
            self._add_message(rows, f"{bundle}#{stable_hash(*sorted(row.id for row in rows))}")
            if bundle.startswith((DIGEST_PREFIX, FLOOD_PREFIX, SHARE_PREFIX)):
                self._closed.append(digest)
        return bool(rows)

    def _group(self, row: Any, window: DigestWindow) -> int:
        """Move what is due for the recipient of `row` into the digest `window`; returns how many rows."""
        values = {
            **self._common,
            "scope": row.scope,
            "recipient": row.recipient,
            "until": window.not_before,
            "wait": max(0.0, window.not_before - self.now),
        }
        if row.bundle:  # the digest of a daily share, which is postponed as a whole
            moved = self._execute(statements.POSTPONE_BUNDLE, {**values, "bundle": row.bundle})
        else:
            exempt = [*WORKER_KIND_NAMES, *(kind.value for kind in window.exempt)]
            more = {"window": window.bundle, "source": window.source, "exempt": exempt}
            moved = self._execute(statements.GROUP, {**values, **more})
        seqs = set(moved.scalars())
        if window.not_before > self.now:
            self._taken |= seqs
        return len(seqs)

    def _add_message(self, rows: Sequence[Any], bundle: str) -> None:
        self._taken.update(row.seq for row in rows)
        first = rows[0]
        if first.first_failed_at is None and first.state == PENDING:
            wait = max(0.0, self.now - max(first.created_at, first.not_before))
            self._first_waits.setdefault(first.scope, []).append(wait)
        message = ClaimedMessage(rows, bundle)
        if self._throttle is not None:
            self._throttle.record(first.recipient, bundle, message.source)
        self.messages.append(message)

    def store(self, worker: int, name: str) -> list[list[ClaimedNotification]]:
        """Store the claim of the chosen messages for a worker, and the beginning of their attempts, and count them."""
        if not self.messages:
            return []
        rows = [(row, message.bundle) for message in self.messages for row in message.rows]
        values: dict[str, Any] = {
            "seqs": [row.seq for row, _ in rows],
            "scopes": [row.scope for row, _ in rows],
            "ids": [row.id for row, _ in rows],
            "bundles": [bundle for _, bundle in rows],
            "now": self.now,
            "worker": worker,
            "name": name,
            **total_values(
                {
                    (scope, total): count
                    for scope, waits in self._first_waits.items()
                    for total, count in first_attempt_totals(waits).items()
                }
            ),
        }
        attempts: dict[int, int] = {row.seq: row.attempt for row in self._execute(statements.CLAIM, values)}
        for digest in self._closed:
            self._execute(statements.UNGROUP, {**self._common, **digest})
        if self._throttle is not None:
            self._count(attempts)
        return [
            [
                replace(
                    claimed_notification(row, message.bundle),
                    scope=row.scope,
                    context=row.context,
                    attempt=attempts[row.seq],
                )
                for row in message.rows
            ]
            for message in self.messages
        ]

    def _count(self, attempts: Mapping[int, int]) -> None:
        """Store what the throttles of all workers count."""
        values: dict[str, Any] = {
            "attempts": [attempts[message.rows[0].seq] for message in self.messages],
            "recipients": [message.rows[0].recipient for message in self.messages],
            "bundles": [message.bundle for message in self.messages],
            "sources": [message.source for message in self.messages],
            "transport": self.transport,
            "now": self.now,
        }
        self._execute(statements.COUNT_MESSAGES, values)

    def _execute(self, statement: str, values: dict[str, Any]) -> sa.CursorResult[Any]:
        return self._connection.exec_driver_sql(statement, values)
