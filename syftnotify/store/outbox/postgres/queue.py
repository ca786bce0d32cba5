"""Claims of due notifications by many workers, and the outcomes of their attempts."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from syftnotify.core.errors import Failure
from syftnotify.core.history import DELIVERED
from syftnotify.core.metrics import attempt_total
from syftnotify.core.models import NotificationState
from syftnotify.core.outbox import AttemptOutcome, ClaimedNotification, Throttle
from syftnotify.core.text import plural
from syftnotify.store.outbox.conditions import PENDING, UNKNOWN
from syftnotify.store.outbox.events import EventLog
from syftnotify.store.outbox.postgres import claim_statements as statements
from syftnotify.store.outbox.postgres.claims import Claim, Totals, TurnOrder, total_values
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.membership import Membership
from syftnotify.store.outbox.postgres.timeline import follow_timeline
from syftnotify.store.outbox.schema import LAST_SENT
from syftnotify.store.outbox.totals import last_sent
from syftnotify.store.outbox.waiting import WaitingNotifications
from syftnotify.system.failpoints import reached

log = logging.getLogger(__name__)

# Digests count at most a week back, and there may be many messages in that time.
_COUNTED_SECONDS = 8 * 86_400.0
_FORGOTTEN_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome of the attempt of one message."""

    claimed: Sequence[ClaimedNotification]
    outcome: str  # DELIVERED or a Failure
    rows: list[dict[str, Any]]  # the parameters of RECORD, one row per notification
    totals: dict[str, int]
    is_counted: bool  # whether it counts towards the throttles


class PostgresQueue(WaitingNotifications):
    """Implements `core.outbox.NotificationQueue` for any number of workers."""

    _reassigned = (PENDING, UNKNOWN, NotificationState.WITHHELD.value)  # not what another worker is sending

    def __init__(self, database: PostgresDatabase, events: EventLog, membership: Membership) -> None:
        super().__init__(database, events)
        self._database: PostgresDatabase = database
        self._membership = membership
        self._order = TurnOrder()
        # Attempts of this process without an outcome yet, with the ids of their notifications and the number that this
        # worker had. After it was taken for dead, there may be two of one notification.
        self._in_flight: dict[int, tuple[str, int]] = {}
        self._claims_lock = threading.Lock()  # `recover` must not see a claim that is not in `_in_flight` yet
        self._local = threading.local()  # `outcomes`: those of a batch in this thread

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
        if limit <= 0:
            return []
        worker = self._membership.join()
        messages: list[list[ClaimedNotification]] = []
        with self._claims_lock:
            with self._database.writing() as connection:
                identity = {"worker": worker, "started": self._membership.started_at}
                values = {**identity, "transport": transport, "now": now, "resend": resend}
                connection.exec_driver_sql(statements.CLAIM_SETTINGS)
                state = connection.exec_driver_sql(statements.CLAIM_STATE, values).one()
                if state.is_alive and state.is_same_database and state.has_due:
                    claim = Claim(connection, self._order, transport, now, resend=resend, throttle=throttle)
                    messages = self._claim(connection, claim, worker, worker_id, state.paused_until, limit)
            self._in_flight.update((item.attempt, (item.id, worker)) for message in messages for item in message)
        if not state.is_alive:
            self._membership.leave(worker)
        elif not state.is_same_database:
            follow_timeline(self._database)
        return messages

    def _claim(
        self, connection: sa.Connection, claim: Claim, worker: int, name: str, paused_until: float | None, limit: int
    ) -> list[list[ClaimedNotification]]:
        """The claimed messages; one only if the transport was paused until `paused_until`."""
        if paused_until is not None and paused_until > claim.now:
            return []
        claim.run(limit if paused_until is None else 1)
        if claim.messages and paused_until is not None and not _begins_probe(connection, claim.transport, claim.now):
            return []
        return claim.store(worker, name)

    def is_held(self, claimed: Sequence[ClaimedNotification]) -> bool:
        _, worker = self._in_flight.get(claimed[0].attempt, ("", 0))
        return self._membership.is_alive(worker)

    def next_due(self, transport: str, now: float, *, resend: bool = True) -> float | None:
        values = {"transport": transport, "now": now, "resend": resend}
        with self._database.reading() as connection:
            if connection.exec_driver_sql(statements.ANY_CLAIMABLE, values).scalar_one():
                return 0.0
            moment: float | None = connection.exec_driver_sql(statements.NEXT_MOMENT, values).scalar_one()
            return moment

    def mark_sent(
        self, claimed: Sequence[ClaimedNotification], now: float, *, provider_id: str = "", thread: str = ""
    ) -> None:
        common = {
            "state": NotificationState.SENT.value,
            "reason": "",
            "thread": thread,
            "outcome": DELIVERED,
            "provider_id": provider_id,
            "ended_at": now,
        }
        totals = {"messages": 1, "notifications": len(claimed), attempt_total(DELIVERED): 1}
        totals |= last_sent(claimed[0].transport, now)
        rows = [_row(item, **common) for item in claimed]
        self._record(_Outcome(claimed, DELIVERED, rows, totals, is_counted=True))

    def mark_failed(
        self, claimed: Sequence[ClaimedNotification], now: float, failure: Failure, error: str, outcome: AttemptOutcome
    ) -> None:
        unknown = {"unknown": len(claimed)} if failure is Failure.UNKNOWN else {}
        rows = [_failed_row(item, now, failure, error, outcome) for item in claimed]
        totals = {attempt_total(failure.value): 1} | unknown
        self._record(_Outcome(claimed, failure.value, rows, totals, is_counted=bool(unknown)))

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        self._local.outcomes = []
        try:
            yield
            outcomes = self._local.outcomes
        finally:
            del self._local.outcomes
        self._store(outcomes)

    def _record(self, outcome: _Outcome) -> None:
        if hasattr(self._local, "outcomes"):
            self._local.outcomes.append(outcome)
        else:
            self._store([outcome])

    def _store(self, outcomes: Sequence[_Outcome]) -> None:
        """Record outcomes in one transaction; those whose claim is not valid any more are dropped."""
        rows = [row for outcome in outcomes for row in outcome.rows]
        if not rows:
            return
        with self._database.writing() as connection:
            columns = {name: [row[name] for row in rows] for name in rows[0]}
            marked = set(connection.exec_driver_sql(statements.RECORD, columns).scalars())
            if len(marked) < len(rows):
                self._report_refused(connection, outcomes, marked)
            valid = [each for each in outcomes if any(item.attempt in marked for item in each.claimed)]
            undelivered = [each.claimed[0].attempt for each in valid if not each.is_counted]
            if undelivered:
                connection.exec_driver_sql(statements.UNCOUNT_MESSAGES, {"attempts": undelivered})
            _add_totals(connection, _sum(valid))
        for outcome in outcomes:
            for item in outcome.claimed:
                self._in_flight.pop(item.attempt, None)
            reached("attempt.recorded")

    @staticmethod
    def _report_refused(connection: sa.Connection, outcomes: Sequence[_Outcome], marked: set[int]) -> None:
        """Log outcomes that were not recorded, because another worker took this one for dead.

        One that was recorded before, by a transaction whose commit was not confirmed, is as it should be.
        """
        refused = {
            item.attempt: (each, item) for each in outcomes for item in each.claimed if item.attempt not in marked
        }
        stored = connection.exec_driver_sql(statements.RECORDED_OUTCOMES, {"attempts": list(refused)})
        recorded = {row.seq: row.outcome for row in stored}
        late = [item for attempt, (each, item) in refused.items() if recorded.get(attempt) != each.outcome]
        if late:
            log.warning(
                "notification: the outcome of %s is not recorded, because this worker did not respond and its claims "
                "ended; it counts as unknown, and %s may be sent again",
                plural(len(late), "attempt"),
                late[0].event.entity,
            )

    def abandon(self, ids: Iterable[str]) -> None:
        ended = set(ids)
        for attempt in [attempt for attempt, (name, _) in list(self._in_flight.items()) if name in ended]:
            self._in_flight.pop(attempt, None)

    def recover(self, now: float) -> int:
        self._membership.end_dead_workers()
        self._forget_counted(now)
        with self._claims_lock, self._database.writing() as connection:
            values = {
                "worker": self._membership.id,
                "in_flight": list(self._in_flight),
                "now": now,
                "reason": "cut off: the process ended during the attempt",
                "error": "the process ended during the attempt",
            }
            scopes = list(connection.exec_driver_sql(statements.RECOVER, values).scalars())
            totals: Totals = {}
            for scope in scopes:
                for name in ("unknown", attempt_total(Failure.UNKNOWN.value)):
                    totals[scope, name] = totals.get((scope, name), 0) + 1
            _add_totals(connection, totals)
        return len(scopes)

    def _forget_counted(self, now: float) -> None:
        """Delete what no throttle counts any more, in parts."""
        with self._database.writing() as connection:
            values = {"before": now - _COUNTED_SECONDS, "most": _FORGOTTEN_AT_ONCE}
            connection.exec_driver_sql(statements.FORGET_COUNTED, values)

    def thread_of(self, notification: ClaimedNotification) -> str:
        values = {
            "scope": notification.scope,
            "entity": notification.event.entity,
            "recipient": notification.recipient,
            "transport": notification.transport,
        }
        with self._database.reading() as connection:
            return connection.exec_driver_sql(statements.THREAD, values).scalar() or ""


def _begins_probe(connection: sa.Connection, transport: str, now: float) -> bool:
    """Whether this worker is the one that sends a message after a pause."""
    found = connection.exec_driver_sql(statements.BEGIN_PROBE, {"transport": transport, "now": now})
    return found.first() is not None


def _row(item: ClaimedNotification, **values: Any) -> dict[str, Any]:
    """The parameters of RECORD for one notification; null: the column stays as it is."""
    unchanged = {"until": None, "wait": None, "failures": None, "refusals": None, "failed_at": None, "thread": None}
    identity = {"attempt": item.attempt, "scope": item.scope, "id": item.id}
    return {**identity, **unchanged, "error": "", "provider_id": "", **values}


def _failed_row(
    item: ClaimedNotification, now: float, failure: Failure, error: str, outcome: AttemptOutcome
) -> dict[str, Any]:
    is_still_unknown = item.is_repeated and outcome.state is NotificationState.PENDING
    return _row(
        item,
        state=NotificationState.UNKNOWN.value if is_still_unknown else outcome.state.value,
        reason=error,
        until=outcome.not_before,
        wait=max(0.0, outcome.not_before - now) if outcome.not_before else 0.0,
        failures=item.failures + outcome.counts,
        refusals=item.temporary_failures + outcome.is_temporary,
        failed_at=item.first_failed_at or now,
        outcome=failure.value,
        error=error,
        ended_at=now,
    )


def _sum(outcomes: Sequence[_Outcome]) -> Totals:
    totals: Totals = {}
    for outcome in outcomes:
        for name, count in outcome.totals.items():
            key = (outcome.claimed[0].scope, name)
            totals[key] = count if name.startswith(LAST_SENT) else totals.get(key, 0) + count
    return totals


def _add_totals(connection: sa.Connection, totals: Totals) -> None:
    if totals:
        connection.exec_driver_sql(statements.ADD_TOTALS, total_values(totals))
