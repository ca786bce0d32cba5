"""Claims of due notifications, and the outcomes of their attempts.

The row of an attempt is written before its I/O and its outcome after it. An attempt that was cut off is found again, as
unknown, and never forgotten.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from syftnotify.core.errors import Failure, StateError
from syftnotify.core.history import DELIVERED, STARTED
from syftnotify.core.metrics import attempt_total, first_attempt_totals
from syftnotify.core.models import NotificationState
from syftnotify.core.outbox import AttemptOutcome, ClaimedNotification, Throttle
from syftnotify.store.outbox import claim_statements as statements
from syftnotify.store.outbox.claim_order import ClaimOrder
from syftnotify.store.outbox.claims import Claim
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import SENDING, UNKNOWN, chunks
from syftnotify.store.outbox.damaged_rows import quarantine_damaged_rows
from syftnotify.store.outbox.events import EventLog
from syftnotify.store.outbox.rows import ROW_ERRORS
from syftnotify.store.outbox.schema import ATTEMPTS, NOTIFICATIONS
from syftnotify.store.outbox.sqlite_database import SqliteDatabase, is_decoding_error, text_as
from syftnotify.store.outbox.totals import add_to_totals, last_sent
from syftnotify.store.outbox.waiting import WaitingNotifications
from syftnotify.system.failpoints import reached

_ID = sa.bindparam("row_id", type_=sa.Text)
_MARK_SENT = CompiledStatement(
    NOTIFICATIONS.update()
    .where(NOTIFICATIONS.c.id == _ID)
    .values(
        state=NotificationState.SENT.value,
        reason="",
        thread=sa.bindparam("new_thread"),
        claimed_by=None,
        claimed_at=None,
    )
)
_MARK_FAILED = CompiledStatement(
    NOTIFICATIONS.update()
    .where(NOTIFICATIONS.c.id == _ID)
    .values(
        state=sa.bindparam("new_state"),
        reason=sa.bindparam("error"),
        not_before=sa.bindparam("until"),
        longest_wait=sa.bindparam("wait"),
        failures=sa.bindparam("new_failures"),
        refusals=sa.bindparam("new_refusals"),
        first_failed_at=sa.bindparam("since"),
        claimed_by=None,
        claimed_at=None,
    )
)
_END_ATTEMPT = CompiledStatement(
    ATTEMPTS.update()
    # `||` keeps SQLite from using the index of outcomes: all attempts of a large digest are in that state.
    .where(ATTEMPTS.c.notification == _ID, ATTEMPTS.c.outcome.concat("") == STARTED)
    .values(
        ended_at=sa.bindparam("moment"),
        outcome=sa.bindparam("new_outcome"),
        error=sa.bindparam("error_text"),
        provider_id=sa.bindparam("given_id"),
    )
)
_SENDING_IDS = CompiledStatement(sa.select(NOTIFICATIONS.c.id).where(NOTIFICATIONS.c.state == SENDING))
_THREAD = (
    sa.select(NOTIFICATIONS.c.thread)
    .where(
        NOTIFICATIONS.c.entity == sa.bindparam("entity"),
        NOTIFICATIONS.c.recipient == sa.bindparam("recipient"),
        NOTIFICATIONS.c.transport == sa.bindparam("transport"),
        NOTIFICATIONS.c.bundle == "",
        NOTIFICATIONS.c.thread != "",
    )
    .order_by(NOTIFICATIONS.c.seq.desc())
    .limit(1)
)


class SqliteQueue(WaitingNotifications):
    """Implements `core.outbox.NotificationQueue` for one worker."""

    def __init__(self, database: SqliteDatabase, events: EventLog) -> None:
        super().__init__(database, events)
        self._database: SqliteDatabase = database
        self._order = ClaimOrder()
        self._in_flight: set[str] = set()  # ids of notifications claimed by this process, without an outcome yet
        self._local = threading.local()  # `recorded`: the outcomes of a batch in this thread

    def claim(
        self,
        transport: str,
        now: float,
        *,
        worker_id: str,
        limit: int = 1,
        resend: bool = True,
        throttle: Throttle | None = None,
    ) -> list[list[ClaimedNotification]]:
        claim = Claim(self._order, transport, now, worker_id, resend, throttle)
        try:
            return self._claim(claim, limit)
        except (*ROW_ERRORS, StateError) as error:
            if isinstance(error, StateError) and not is_decoding_error(error):
                raise
            with self._database.writing() as connection:
                if not quarantine_damaged_rows(connection, transport, now):
                    raise
        if throttle is not None:
            throttle.undo()
        return self._claim(claim, limit)

    def _claim(self, claim: Claim, limit: int) -> list[list[ClaimedNotification]]:
        messages: list[list[ClaimedNotification]] = []
        claimed: set[str] = set()
        claim.first_waits.clear()  # those of a transaction that was rolled back
        try:
            with self._database.writing() as connection, text_as(connection, str):
                while len(messages) < limit and (message := claim.next_message(connection)):
                    messages.append(message)
                add_to_totals(connection, **first_attempt_totals(claim.first_waits))
                claimed = {item.id for message in messages for item in message}
                self._in_flight |= claimed  # before the commit: `recover` must not record them as cut off
        except BaseException:
            self._in_flight -= claimed
            raise
        return messages

    def next_due(self, transport: str, now: float, *, resend: bool = True) -> float | None:
        values: dict[str, Any] = {"transport": transport, "now": now}
        with self._database.reading() as connection:
            # First the cheap statement: nearly always nothing is due. Whether something is blocked takes longer.
            if (
                connection.execute(statements.any_due(resend), values).scalar_one()
                and connection.execute(statements.any_claimable(resend), values).first() is not None
            ):
                return 0.0
            moment: float | None = connection.execute(statements.next_moment(resend), values).scalar_one()
            return moment

    def mark_sent(
        self, claimed: Sequence[ClaimedNotification], now: float, *, provider_id: str = "", thread: str = ""
    ) -> None:
        ids = [item.id for item in claimed]
        with self._database.writing() as connection:
            _MARK_SENT.execute(connection, [{"row_id": each, "new_thread": thread} for each in ids])
            _end_attempts(connection, ids, now, DELIVERED, provider_id=provider_id)
            counts = {"messages": 1, "notifications": len(ids), attempt_total(DELIVERED): 1}
            add_to_totals(connection, **counts, **last_sent(claimed[0].transport, now))
        self._recorded(claimed, is_final=True)

    def mark_failed(
        self, claimed: Sequence[ClaimedNotification], now: float, failure: Failure, error: str, outcome: AttemptOutcome
    ) -> None:
        with self._database.writing() as connection:
            _MARK_FAILED.execute(connection, [_failed_row(item, now, error, outcome) for item in claimed])
            _end_attempts(connection, [item.id for item in claimed], now, failure.value, error=error)
            unknown = {"unknown": len(claimed)} if failure is Failure.UNKNOWN else {}
            add_to_totals(connection, **{attempt_total(failure.value): 1}, **unknown)
        self._recorded(claimed, is_final=outcome.state is NotificationState.DEAD)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        self._local.recorded = []
        try:
            with self._database.batch():
                yield
        finally:
            recorded = self._local.recorded
            del self._local.recorded
        for claimed, is_final in recorded:
            self._recorded(claimed, is_final=is_final)

    def _recorded(self, claimed: Sequence[ClaimedNotification], *, is_final: bool) -> None:
        """The outcome of an attempt is committed, or will be with the transaction of the batch."""
        if hasattr(self._local, "recorded"):
            self._local.recorded.append((claimed, is_final))
            return
        self._in_flight.difference_update(item.id for item in claimed)
        if is_final:
            self._events.mark_dirty(item.event.key for item in claimed)
        reached("attempt.recorded")

    def is_held(self, claimed: Sequence[ClaimedNotification]) -> bool:
        return self._in_flight.issuperset(item.id for item in claimed)  # there is one worker

    def abandon(self, ids: Iterable[str]) -> None:
        self._in_flight.difference_update(ids)

    def recover(self, now: float) -> int:
        with self._database.writing() as connection:
            lost = [row.id for row in _SENDING_IDS.all(connection) if row.id not in self._in_flight]
            started = 0
            for some in chunks(lost):
                connection.execute(
                    NOTIFICATIONS.update()
                    .where(NOTIFICATIONS.c.id.in_(some))
                    .values(
                        state=UNKNOWN,
                        reason="cut off: the process ended during the attempt",
                        claimed_by=None,
                        claimed_at=None,
                    )
                )
                started += connection.execute(
                    ATTEMPTS.update()
                    .where(ATTEMPTS.c.notification.in_(some), ATTEMPTS.c.outcome == STARTED)
                    .values(ended_at=now, outcome=Failure.UNKNOWN.value, error="the process ended during the attempt")
                ).rowcount
            if started:
                add_to_totals(connection, unknown=started, **{attempt_total(Failure.UNKNOWN.value): started})
        return len(lost)

    def thread_of(self, notification: ClaimedNotification) -> str:
        values = {
            "entity": notification.event.entity,
            "recipient": notification.recipient,
            "transport": notification.transport,
        }
        with self._database.reading() as connection:
            return connection.execute(_THREAD, values).scalar() or ""


def _failed_row(item: ClaimedNotification, now: float, error: str, outcome: AttemptOutcome) -> dict[str, Any]:
    is_still_unknown = item.is_repeated and outcome.state is NotificationState.PENDING
    return {
        "row_id": item.id,
        "new_state": NotificationState.UNKNOWN.value if is_still_unknown else outcome.state.value,
        "error": error,
        "until": outcome.not_before,
        "wait": max(0.0, outcome.not_before - now) if outcome.not_before else 0.0,
        "new_failures": item.failures + outcome.counts,
        "new_refusals": item.temporary_failures + outcome.is_temporary,
        "since": item.first_failed_at or now,
    }


def _end_attempts(
    connection: sa.Connection, ids: Sequence[str], now: float, outcome: str, *, error: str = "", provider_id: str = ""
) -> None:
    values = {"moment": now, "new_outcome": outcome, "error_text": error, "given_id": provider_id}
    _END_ATTEMPT.execute(connection, [{"row_id": each, **values} for each in ids])
