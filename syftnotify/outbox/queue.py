"""The queue and its history: who puts in, claims, records, looks back.

An attempt's row is written before its I/O and its outcome after, so an attempt that was cut off is found again, as
*unknown*, and never forgotten.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import sqlalchemy as sa

from syftnotify.emitted_jobs import Changes, EmittedJob
from syftnotify.errors import Failure, StateError
from syftnotify.failpoints import reached
from syftnotify.files import put_aside, whose
from syftnotify.model import (
    DIGESTED,
    EMITTED_PREFIX,
    HIGH,
    MAIL,
    SHARE,
    STORM,
    AlertRule,
    Audience,
    Event,
    Gathering,
    Kind,
    Notification,
    digest_of,
)
from syftnotify.outbox import emitted, statements
from syftnotify.outbox.backup import back_up
from syftnotify.outbox.claims import ClaimOrder, Throttle, Unlimited
from syftnotify.outbox.tables import (
    ALERTS,
    ATTEMPTS,
    EVENTS,
    NOTIFICATIONS,
    OWN_KINDS,
    SCHEMA,
    SCHEMA_VERSION,
    UNFINISHED,
    UPGRADES,
    Priority,
    heaps,
    is_about,
    is_due,
    is_emitted,
)
from syftnotify.outbox.targets import Targets
from syftnotify.text import plural, shown

log = logging.getLogger(__name__)

_UNLIMITED = Unlimited()
_BUSY_SECONDS = 30.0
# A read that found less than it should: the file was cut while it was open.
_SHORT_READ = sqlite3.SQLITE_IOERR_SHORT_READ
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# A tree that vanishes mostly comes back: only after so long is a job gone for good.
JOB_GONE_SECONDS = 86400.0
# What the notifier said itself is remembered for longer than any sign-in is announced ahead.
OWN_KEPT_SECONDS = 8 * 86400.0
_RULES = sa.select(*(ALERTS.c[item.name] for item in fields(AlertRule))).order_by(ALERTS.c.created_at, ALERTS.c.id)


@dataclass(frozen=True, slots=True)
class Due:
    """One notification that may be attempted now, with what wording it needs."""

    id: str
    event: Event
    recipient: str
    audience: Audience
    transport: str
    bundle: str
    created_at: float
    first_failed_at: float | None
    failures: int
    refusals: int
    source: str = ""  # who caused the event
    is_repeated: bool = False  # an earlier attempt was cut off and may have arrived
    last_kind: Kind | None = None  # of the entity's last event that says where its job stands

    @property
    def message_id(self) -> str:
        """The id of the message it leaves in: its own, or that of all which leaves with it, the same at each try."""
        return self.bundle.rpartition("#")[2] or self.id


@dataclass(frozen=True, slots=True)
class Letter:
    """One notification as a person looks back at it. Moments are in seconds since 1970."""

    id: str
    state: str  # pending, withheld, sending, sent, unknown, dead or skipped
    kind: str
    entity: str
    event_key: str
    recipient: str
    audience: str
    transport: str
    route: str
    reason: str
    created_at: float
    not_before: float
    attempts: int
    tried_at: float | None  # the last attempt's beginning
    acknowledged_at: float | None = None  # when a person took note of a dead letter


@dataclass(frozen=True, slots=True)
class SentMessage:
    """One message that was sent, or may have been."""

    recipient: str
    transport: str
    bundle: str  # empty unless it was a digest
    source: str  # who caused all of it; empty when there are several, or nobody
    at: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Noticed:
    """One event as a person looks back at it."""

    key: str
    kind: str
    entity: str
    at: str  # as the tree has it
    noticed_at: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Counts:
    """The state of the outbox.

    `sent`, `notifications` and `unknown` are totals since the outbox was made, which pruning does not lower; the others
    count notifications that are in that state now.
    """

    waiting: int = 0
    sent: int = 0  # messages; a digest is one
    notifications: int = 0  # in those messages
    failed: int = 0  # waiting, with at least one failed attempt
    unknown: int = 0  # attempts of unknown outcome
    held: int = 0  # of unknown outcome, not sent again before a person decides
    withheld: int = 0  # the recipient is not verified yet
    dead: int = 0
    unacknowledged: int = 0  # of the dead, those that no person took note of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a notification after an attempt that failed."""

    state: str  # pending, unknown or dead
    not_before: float = 0.0
    counts: bool = True  # whether it counts as a failure of this notification
    refusal: bool = False  # whether the other side said: not now


class Outbox:
    """The queue of one home.

    Raises:
        StateError: (from any method) the database cannot be opened, read or written.
    """

    def __init__(self, path: Path, *, repair: bool = True) -> None:
        """`repair=False` leaves a damaged database where it is: only the holder of the worker's lock may move it."""
        self._path = path
        self._repairs = repair
        self._is_broken = False  # SQLite met damage in it
        self._targets = Targets(path)
        self.unreadable_alerts: list[str] = []  # ids of the rules whose address could not be decrypted lately
        self.damage = ""  # what was wrong with the database when it was opened
        self._touched: set[str] = set()  # keys of events that were put in, or of which something ended
        self._touching = threading.Lock()
        # One writer at a time here: SQLite itself lets the second one sleep, longer each time it asks.
        self._writing = threading.Lock()
        self._order = ClaimOrder()
        self._in_flight: set[str] = set()  # ids of notifications that were claimed here and have no outcome yet
        self._shared = threading.local()  # the transaction that a thread is in, if it writes several things in one
        try:
            self._open()
        except StateError:
            self.close()  # no caller gets this object to close it
            raise

    def _open(self) -> None:
        self._is_broken = False
        # What this process found in the database, so that a quiet scan asks nothing: addresses that were mailed, and
        # whether anything may be withheld. Only the holder of the worker's lock adds either.
        self._admitted: set[str] = set()
        self._may_withhold = True
        try:
            self._connect()
            found = self.check() if self._repairs else ""
        except StateError as error:
            if not self._is_broken:
                raise
            found = str(getattr(error.__cause__, "orig", error.__cause__))
            if not self._repairs:
                raise StateError(f"{self._path} is damaged ({found})", hint="`notify restart` mends it") from error
        if found:
            self._put_aside(found)
            self._is_broken = False
            self._connect()
        if self._repairs:
            self._seal_alerts()

    def _connect(self) -> None:
        self._is_closed = False
        self._engine = sa.create_engine(
            f"sqlite:///{self._path}",
            connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
            pool_size=4,
            max_overflow=64,
            pool_reset_on_return="rollback",  # a commit that failed leaves its transaction open
        )
        sa.event.listen(self._engine, "connect", _prepare)
        sa.event.listen(self._engine, "begin", _begin)
        self._reader = self._engine.execution_options(reads=True)
        size = self._path.stat().st_size if self._path.exists() else None
        try:
            # Made before SQLite does: its write-ahead log gets the mode of the database.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            self._path.chmod(0o600)
        except OSError as error:
            raise StateError(
                f"{self._path} cannot be opened: {error.strerror}{whose(self._path)}",
                hint="see that its folder is yours and writable",
            ) from error
        with self._transaction() as connection:
            version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            if version > SCHEMA_VERSION:
                raise StateError(
                    f"{self._path} was written by a newer version "
                    f"(its format is {version}, this one knows {SCHEMA_VERSION})",
                    hint="install that version again",
                )
            if not version and size is not None and self._repairs:
                self.damage = f"{self._path.name} was empty ({plural(size, 'byte')})"
                log.warning("%s; what is owed is taken from the state file and the tree", self.damage)
            if 0 < version < SCHEMA_VERSION:
                copy = back_up(self._path, version)
                log.info("%s is brought to format %d; %s is a copy of before", self._path, SCHEMA_VERSION, copy.name)
            if version < SCHEMA_VERSION:
                SCHEMA.create_all(connection)
                for step in range(max(version, 1), SCHEMA_VERSION) if version else ():
                    for statement in UPGRADES[step]:
                        connection.exec_driver_sql(statement)
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._inode = self._path.stat().st_ino

    def _put_aside(self, why: str) -> None:
        self.close()
        aside = put_aside(self._path)
        for end in ("-wal", "-shm"):
            self._path.with_name(self._path.name + end).unlink(missing_ok=True)
        self.damage = f"{self._path.name} was damaged ({why}) and is kept as {aside.name}"
        log.warning("%s; what is owed is taken from the state file and the tree", self.damage)

    def close(self) -> None:
        """Let go of the database. A transaction that another thread is in keeps its connection until its end."""
        self._is_closed = True
        self._engine.dispose()

    def reopen_if_replaced(self) -> bool:
        """Whether the database was removed, replaced or damaged while it was in use; then what is there is opened."""
        try:
            is_same = self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            is_same = False
        if is_same and not self._is_broken:
            return False
        log.warning("%s was %s while it was in use", self._path, "damaged" if is_same else "removed")
        self.close()
        self._open()
        return True

    def put(
        self,
        events: Sequence[Event],
        notifications: Sequence[Notification],
        now: float,
        *,
        jobs: Changes | None = None,
        uncertain: Collection[str] = (),
        newcomers: Collection[str] = (),
    ) -> None:
        """Write `events`, their notifications and changes to emitted `jobs` in one transaction.

        Events and notifications that are there already stay as they are. Those of the events `uncertain` (keys) may
        have been sent already: their outcome is unknown from the start. `newcomers` are the addresses that count
        towards the day's new recipients.
        """
        if not events:
            return
        event_rows = [
            {
                "key": event.key,
                "kind": event.kind.value,
                "entity": event.entity,
                "occurrence": event.occurrence,
                "at": event.at,
                "payload": _spelled(dict(event.payload)),
                "routing": _spelled(dict(event.routing)),
                "noticed_at": now,
            }
            for event in events
        ]
        kinds = {event.key: event.kind for event in events}
        queued = (item for item in notifications if not (item.skipped or item.withheld))
        mailed = {item.recipient for item in queued if item.medium == MAIL}
        rows = [
            {
                "id": item.id,
                "event_key": item.event_key,
                "entity": item.entity,
                "medium": item.medium,
                "recipient": item.recipient,
                "audience": item.audience.value,
                "transport": item.transport,
                "route": item.route,
                "bundle": item.bundle,
                "state": "skipped" if item.skipped else "withheld" if item.withheld else "pending",
                "reason": item.skipped or item.withheld,
                "source": item.source,
                "priority": _priority(kinds.get(item.event_key), item.audience).value,
                "longest_wait": max(0.0, item.not_before - now) if item.not_before else 0.0,
                "created_at": now,
                "not_before": item.not_before,
            }
            for item in notifications
        ]
        with self._transaction() as connection:
            statements.PUT_EVENT.run_many(connection, event_rows)
            if rows:
                statements.PUT_NOTIFICATION.run_many(connection, rows)
                self._admit(connection, mailed, newcomers, now)
            if jobs:
                emitted.change(connection, jobs, now)
            if uncertain:
                ids = [row["id"] for row in rows if row["event_key"] in uncertain and row["state"] == "pending"]
                _count_as_unknown(connection, ids, now)
            _add_to_totals(connection, events=len(events))
        self._admitted |= mailed
        self._may_withhold = self._may_withhold or any(item.withheld for item in notifications)
        self.touch(event.key for event in events)
        reached("outbox.put")

    def emitted_jobs(self, entities: Collection[str]) -> dict[str, EmittedJob]:
        """What is remembered of these entities as jobs of other schedulers, by entity."""
        with self._reading() as connection:
            return {job.entity: job for job in emitted.find(connection, entities)}

    def started_jobs(self) -> list[EmittedJob]:
        """The emitted jobs that have started and not ended."""
        with self._reading() as connection:
            return emitted.started(connection)

    def known(self, keys: Iterable[str]) -> set[str]:
        """Those of the event keys that have been put in."""
        with self._reading() as connection:
            found = (connection.execute(statements.KEYS_KNOWN, {"keys": some}) for some in heaps(list(keys)))
            return {key for some in found for key in some.scalars()}

    def progress(self) -> list[int]:
        """How far the outbox is: totals that only grow. A database that lost its last changes has smaller ones."""
        with self._reading() as connection:
            totals = {row.name: row.value for row in statements.TOTAL_OF.rows(connection)}
        return [totals.get(name, 0) for name in ("events", "notifications", "unknown")]

    def has_regressed(self, progress: Sequence[int]) -> bool:
        """Whether the database is older than when `progress` was recorded."""
        return any(now < before for now, before in zip(self.progress(), progress, strict=False))

    def unfinished_events(self) -> list[tuple[str, str, str, str]]:
        """The events of the tree that owe something, as (key, entity, kind, occurrence)."""
        columns = (EVENTS.c.key, EVENTS.c.entity, EVENTS.c.kind, EVENTS.c.occurrence)
        owing = sa.select(NOTIFICATIONS.c.event_key).where(NOTIFICATIONS.c.state.in_(UNFINISHED))
        with self._reading() as connection:
            found = connection.execute(sa.select(*columns).where(EVENTS.c.key.in_(owing), ~is_emitted()))
            return [tuple(row) for row in found]

    def unfinished_emitted(self) -> set[str]:
        """The keys of emitted events that owe something."""
        owing = sa.select(NOTIFICATIONS.c.event_key).where(NOTIFICATIONS.c.state.in_(UNFINISHED))
        with self._reading() as connection:
            return set(
                connection.execute(sa.select(EVENTS.c.key).where(EVENTS.c.key.in_(owing), is_emitted())).scalars()
            )

    def count_as_unknown(self, now: float, *, finished: Collection[str]) -> int:
        """After lost changes: notifications of `finished` events (keys) were sent, other queued ones may have been.

        Returns how many became unknown.
        """
        queued = NOTIFICATIONS.update().where(NOTIFICATIONS.c.state.in_(("pending", "unknown")))
        with self._transaction() as connection:
            for some in heaps(sorted(finished)):
                reason = "recorded as finished before the outbox lost its last changes"
                connection.execute(
                    queued.where(NOTIFICATIONS.c.event_key.in_(some)).values(state="sent", reason=reason)
                )
            pending = sa.select(NOTIFICATIONS.c.id).where(NOTIFICATIONS.c.state == "pending")
            ids = list(connection.execute(pending).scalars())
            _count_as_unknown(connection, ids, now)
        return len(ids)

    def _admit(self, connection: sa.Connection, addresses: set[str], newcomers: Collection[str], now: float) -> None:
        """Record the addresses that are mailed for the first time."""
        new = addresses - self._admitted
        if new:
            rows = ({"address": each, "admitted_at": now, "is_counted": each in newcomers} for each in new)
            statements.ADMIT.run_many(connection, rows)

    def withheld(self) -> list[str]:
        """Recipients with withheld notifications, the longest waiting first."""
        if not self._may_withhold:
            return []
        with self._reading() as connection:
            found = [row.recipient for row in statements.WITHHELD.rows(connection)]
        self._may_withhold = bool(found)
        return found

    def unmailed(self, addresses: Iterable[str]) -> set[str]:
        """Those of `addresses` that were never mailed."""
        asked = set(addresses) - self._admitted
        if asked:
            with self._reading() as connection:
                for some in heaps(sorted(asked)):
                    found = connection.execute(statements.ADMITTED_OF, {"addresses": some}).scalars()
                    self._admitted.update(found)
        return asked - self._admitted

    def newcomers_since(self, since: float, now: float) -> int:
        """How many recipients counted as new between two moments."""
        with self._reading() as connection:
            return int(statements.COUNT_NEWCOMERS.value(connection, since=since, now=now))

    def release(self, recipients: Iterable[str], now: float, *, newcomers: Collection[str] = ()) -> int:
        """Queue what is withheld from these recipients; returns how many notifications that are."""
        released, every = 0, set(recipients)
        with self._transaction() as connection:
            for some in heaps(sorted(every)):
                is_theirs = NOTIFICATIONS.c.recipient.in_(some)
                released += connection.execute(
                    NOTIFICATIONS.update()
                    .where(NOTIFICATIONS.c.state == "withheld", is_theirs)
                    .values(state="pending", reason="")
                ).rowcount
            self._admit(connection, every, newcomers, now)
        self._admitted |= every
        return released

    def take_touched(self) -> set[str]:
        """The keys of events that were put in, or of which a notification ended, since this was last asked."""
        with self._touching:
            taken, self._touched = self._touched, set()
            return taken

    def touch(self, keys: Iterable[str]) -> None:
        """Name these events again when it is asked."""
        with self._touching:
            self._touched.update(keys)

    def claim(
        self,
        transport: str,
        now: float,
        *,
        by: str,
        most: int = 1,
        resend: bool = True,
        throttle: Throttle = _UNLIMITED,
    ) -> list[list[Due]]:
        """Claim the next messages of `transport`, at most `most`, for `by`; empty when nothing is due.

        Each message is one notification, or all of a bundle. Per entity and recipient they go out in order, one at a
        time. The rows of the attempts are written in the same transaction. A row that cannot be read is quarantined: it
        becomes a dead letter with the reason, and the rest goes on.

        Args:
            transport: name of the transport.
            now: seconds since 1970.
            by: the claiming worker.
            most: number of messages.
            resend: whether unknown outcomes are sent again; otherwise they wait for a person's decision.
            throttle: decides which notifications become a digest instead.
        """
        try:
            return self._claimed(transport, now, by, most, resend, throttle)
        except (*_UNREADABLE, StateError) as error:
            if isinstance(error, StateError) and not _is_undecodable(error):
                raise
            if not self._quarantine(transport, now):
                raise
        throttle.undo()
        return self._claimed(transport, now, by, most, resend, throttle)

    def _claimed(
        self, transport: str, now: float, by: str, most: int, resend: bool, throttle: Throttle
    ) -> list[list[Due]]:
        messages: list[list[Due]] = []
        claimed: set[str] = set()
        try:
            with self._transaction() as connection, _text_as(connection, str):
                while len(messages) < most:
                    rows, bundle = self._claim(connection, transport, now, by, resend, throttle)
                    if not rows:
                        break
                    # In the transaction: a row that cannot be read is not claimed.
                    messages.append([_due(row, bundle, _last_kind(connection, row)) for row in rows])
                claimed = {due.id for message in messages for due in message}
                self._in_flight |= claimed  # before the commit: `recover` must not take them for abandoned
        except BaseException:
            self._in_flight -= claimed
            raise
        return messages

    def _claim(
        self, connection: sa.Connection, transport: str, now: float, by: str, resend: bool, throttle: Throttle
    ) -> tuple[list[Any], str]:
        """The rows of the next message, none when nothing is due, and the bundle in which they leave."""
        while (first := self._order.next(connection, transport, now, resend=resend)) is not None:
            if first.kind in OWN_KINDS or (first.bundle and not _is_open_share(first.bundle)):
                break
            gathering = throttle.gathering(first.recipient, Kind(first.kind), first.source, first.bundle)
            if gathering is None or not self._gather(connection, transport, first, gathering, now):
                break
        if first is None:
            return [], ""
        taken, bundle = [first], first.bundle
        if bundle:
            taken = statements.whole_bundle(resend).rows(connection, transport=transport, bundle=bundle)
        ids = [row.id for row in taken]
        is_new_digest = bundle and "#" not in bundle
        if is_new_digest:
            # What becomes free later leaves in another message: this one keeps its id and its items.
            bundle = f"{bundle}#{digest_of(*sorted(ids))}"
        throttle.record(first.recipient, bundle, _common_source(taken))
        statements.CLAIM.run_many(connection, [{"this": each, "by": by, "moment": now, "into": bundle} for each in ids])
        statements.BEGIN_ATTEMPT.run_many(connection, [{"this": each, "moment": now} for each in ids])
        if is_new_digest and first.bundle.startswith((DIGESTED, STORM, SHARE)):
            self._ungroup(connection, transport, first.bundle)
        return taken, bundle

    @staticmethod
    def _ungroup(connection: sa.Connection, transport: str, bundle: str) -> None:
        """Return what a throttle's digest left behind, blocked by an attempt under way, to the throttle.

        Otherwise each of these rows would leave in a digest of its own as soon as that attempt ends.
        """
        connection.execute(
            NOTIFICATIONS.update()
            .where(
                NOTIFICATIONS.c.transport == transport,
                NOTIFICATIONS.c.state == "pending",
                NOTIFICATIONS.c.bundle == bundle,
            )
            .values(bundle="")
        )

    @staticmethod
    def _gather(connection: sa.Connection, transport: str, first: Any, gathering: Gathering, now: float) -> int:
        """Put what is due for a recipient into one digest; a message of unknown outcome keeps its id."""
        wait = {"not_before": gathering.not_before, "longest_wait": max(0.0, gathering.not_before - now)}
        here = NOTIFICATIONS.update().where(
            NOTIFICATIONS.c.transport == transport,
            NOTIFICATIONS.c.recipient == first.recipient,
            NOTIFICATIONS.c.state == "pending",
            NOTIFICATIONS.c.bundle == first.bundle,
        )
        if first.bundle:  # a digest that is postponed
            return connection.execute(here.values(**wait)).rowcount
        # `+` keeps SQLite from the index of outcomes: it would read every unknown attempt there ever was.
        unknown = sa.literal_column("+attempts.outcome") == Failure.UNKNOWN.value
        is_doubted = sa.exists().where(ATTEMPTS.c.notification == NOTIFICATIONS.c.id, unknown)
        exempt = [*OWN_KINDS, *(kind.value for kind in gathering.sparing)]
        is_exempt = sa.exists().where(EVENTS.c.key == NOTIFICATIONS.c.event_key, EVENTS.c.kind.in_(exempt))
        here = here.where(is_due(now), ~is_exempt, ~is_doubted)
        if gathering.source is not None:
            here = here.where(NOTIFICATIONS.c.source == gathering.source)
        return connection.execute(here.values(bundle=gathering.bundle, **wait)).rowcount

    def _quarantine(self, transport: str, now: float) -> int:
        """Make dead letters of the queued rows of `transport` that cannot be read; returns how many there are."""
        query = (
            sa.select(
                NOTIFICATIONS.c.seq,
                *(NOTIFICATIONS.c[name] for name in ("id", "entity", "recipient", "audience", "bundle", "source")),
                *(EVENTS.c[name] for name in ("key", "kind", "occurrence", "at")),
                # As they are stored: what is no JSON is the question.
                sa.type_coerce(EVENTS.c.payload, sa.Text).label("payload"),
                sa.type_coerce(EVENTS.c.routing, sa.Text).label("routing"),
                *(sa.func.typeof(_column(name)).label(f"type_of_{name}") for name in _TEXTS),
            )
            .join(EVENTS, EVENTS.c.key == NOTIFICATIONS.c.event_key)
            .where(NOTIFICATIONS.c.transport == transport, NOTIFICATIONS.c.state.in_(("pending", "unknown")))
        )
        with self._transaction() as connection:
            with _text_as(connection, bytes):
                rows = connection.execute(query).mappings().all()
            bad = {row["seq"]: why for row in rows if (why := _mistake_in(row))}
            for seq, why in bad.items():
                reason = f"quarantined: {why}"
                log.error(
                    "notification %d of transport %s cannot be read (%s); it is a dead letter", seq, transport, why
                )
                connection.execute(
                    NOTIFICATIONS.update()
                    .where(NOTIFICATIONS.c.seq == seq)
                    .values(state="dead", reason=reason, first_failed_at=now)
                )
        return len(bad)

    def messages_since(self, since: float) -> list[SentMessage]:
        """The messages that were sent, or may have been, since then, in order."""
        latest = sa.func.max(ATTEMPTS.c.started_at)
        source = NOTIFICATIONS.c.source
        query = (
            sa.select(
                NOTIFICATIONS.c.recipient,
                NOTIFICATIONS.c.transport,
                NOTIFICATIONS.c.bundle,
                sa.case((sa.func.min(source) == sa.func.max(source), sa.func.min(source)), else_=""),
                latest,
            )
            .join(NOTIFICATIONS, NOTIFICATIONS.c.id == ATTEMPTS.c.notification)
            # `+` keeps SQLite from the index of outcomes, which would read the whole history.
            .where(
                ATTEMPTS.c.started_at > since,
                sa.literal_column("+attempts.outcome").in_(("sent", Failure.UNKNOWN.value)),
            )
            .group_by(sa.case((NOTIFICATIONS.c.bundle == "", NOTIFICATIONS.c.id), else_=NOTIFICATIONS.c.bundle))
            .order_by(latest)
        )
        with self._reading() as connection:
            return [SentMessage(*row) for row in connection.execute(query)]

    def bound_waits(self, now: float) -> int:
        """Move what waits longer than it ever may: a clock that was wrong set it. Returns how many rows."""
        limit = now + NOTIFICATIONS.c.longest_wait
        late = NOTIFICATIONS.update().where(
            NOTIFICATIONS.c.state.in_(("pending", "unknown")), NOTIFICATIONS.c.not_before > limit
        )
        with self._transaction() as connection:
            return int(connection.execute(late.values(not_before=limit)).rowcount)

    def sent(self, due: Sequence[Due], now: float, *, provider_id: str = "", thread: str = "") -> None:
        """The message that held `due` was handed over."""
        ids = [item.id for item in due]
        with self._transaction() as connection:
            statements.MARK_SENT.run_many(connection, [{"this": each, "joined": thread} for each in ids])
            self._end_attempts(connection, ids, now, "sent", "", provider_id)
            _add_to_totals(connection, messages=1, notifications=len(ids))
        self._recorded(due)

    def failed(self, due: Sequence[Due], now: float, failure: Failure, error: str, verdict: Verdict) -> None:
        """The attempt at the message that held `due` failed; `verdict` says what becomes of them."""
        with self._transaction() as connection:
            statements.MARK_FAILED.run_many(
                connection,
                [
                    {
                        "this": item.id,
                        "becomes": "unknown" if item.is_repeated and verdict.state == "pending" else verdict.state,
                        "why": error,
                        "until": verdict.not_before,
                        "wait": max(0.0, verdict.not_before - now) if verdict.not_before else 0.0,
                        "failed": item.failures + verdict.counts,
                        "refused": item.refusals + verdict.refusal,
                        "since": item.first_failed_at or now,
                    }
                    for item in due
                ],
            )
            self._end_attempts(connection, [item.id for item in due], now, failure.value, error, "")
            if failure is Failure.UNKNOWN:
                _add_to_totals(connection, unknown=len(due))
        self._recorded(due, is_final=verdict.state == "dead")

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """The outcomes that this thread writes down in the block are one transaction, and one sync of the disk."""
        with self._transaction() as connection:
            self._shared.connection, self._shared.recorded = connection, []
            try:
                yield
            finally:
                recorded = self._shared.recorded
                del self._shared.connection, self._shared.recorded
        for due, is_final in recorded:
            self._recorded(due, is_final=is_final)

    def _recorded(self, due: Sequence[Due], *, is_final: bool = True) -> None:
        """The outcome of an attempt is committed, or will be with the transaction of `together`."""
        if hasattr(self._shared, "recorded"):
            self._shared.recorded.append((due, is_final))
            return
        self._in_flight.difference_update(item.id for item in due)
        if is_final:
            self.touch(item.event.key for item in due)
        reached("attempt.recorded")

    @staticmethod
    def _end_attempts(
        connection: sa.Connection, ids: Sequence[str], now: float, outcome: str, error: str, provider_id: str
    ) -> None:
        values = {"moment": now, "became": outcome, "why": error, "given": provider_id}
        statements.END_ATTEMPT.run_many(connection, [{"this": each, **values} for each in ids])

    def abandon(self, ids: Iterable[str]) -> None:
        """These attempts of this process ended without an outcome: `recover` may count them as unknown."""
        self._in_flight.difference_update(ids)

    def recover(self, now: float) -> int:
        """Attempts that a process left behind are unknown, and so are their notifications; returns how many.

        Only for the holder of the worker's lock: no other process can be sending then. What this process is sending
        is left alone.
        """
        with self._transaction() as connection:
            sending = connection.execute(sa.select(NOTIFICATIONS.c.id).where(NOTIFICATIONS.c.state == "sending"))
            lost = [name for name in sending.scalars() if name not in self._in_flight]
            begun = 0
            for some in heaps(lost):
                connection.execute(
                    NOTIFICATIONS.update()
                    .where(NOTIFICATIONS.c.id.in_(some))
                    .values(
                        state="unknown",
                        reason="cut off: the process ended during the attempt",
                        claimed_by=None,
                        claimed_at=None,
                    )
                )
                begun += connection.execute(
                    ATTEMPTS.update()
                    .where(ATTEMPTS.c.notification.in_(some), ATTEMPTS.c.outcome == "started")
                    .values(ended_at=now, outcome=Failure.UNKNOWN.value, error="the process ended during the attempt")
                ).rowcount
            if begun:
                _add_to_totals(connection, unknown=begun)
        return len(lost)

    def adopt(self, transports: Sequence[str], by: str) -> int:
        """Mail that waits for a transport that is not configured any more goes out through `by`; returns how much.

        What waits for another kind of transport has nowhere else to go, nor has mail where nothing sends mail (`by` is
        empty).
        """
        orphans = NOTIFICATIONS.update().where(
            NOTIFICATIONS.c.state.in_((*UNFINISHED, "withheld")), NOTIFICATIONS.c.transport.not_in(transports)
        )
        gone = NOTIFICATIONS.c.transport + " is not configured any more"
        is_mail = sa.and_(NOTIFICATIONS.c.medium == MAIL, sa.true() if by else sa.false())
        with self._transaction() as connection:
            adopted = connection.execute(orphans.where(is_mail).values(transport=by)).rowcount
            connection.execute(orphans.where(~is_mail).values(state="dead", reason=gone))
        return int(adopted)

    def next_due(self, transport: str, now: float, *, resend: bool = True) -> float | None:
        """The earliest moment at which something of `transport` may be tried, or None; 0.0: now.

        What is held back by something earlier may name a moment, too; until then that has ended, or has one itself.
        """
        values: dict[str, Any] = {"transport": transport, "now": now}
        with self._reading() as connection:
            # Nearly always none is ready, which an index says at once; whether something holds one back takes longer.
            is_ready = statements.any_ready(resend).value(connection, **values)
            if is_ready and statements.any_due(resend).rows(connection, **values):
                return 0.0
            soonest: float | None = statements.soonest(resend).value(connection, **values)
            return soonest

    def last_sent(self, transport: str) -> float | None:
        """When something last went out through `transport`, in seconds since 1970."""
        query = (
            sa.select(sa.func.max(ATTEMPTS.c.started_at))
            .join(NOTIFICATIONS, NOTIFICATIONS.c.id == ATTEMPTS.c.notification)
            .where(NOTIFICATIONS.c.transport == transport, ATTEMPTS.c.outcome == "sent")
        )
        with self._reading() as connection:
            last: float | None = connection.execute(query).scalar_one()
            return last

    def unfinished(self, event_keys: Iterable[str]) -> set[str]:
        """Which of the events still owe something to somebody."""
        found: set[str] = set()
        with self._reading() as connection:
            for some in heaps(list(event_keys)):
                found.update(connection.execute(statements.UNFINISHED_OF, {"keys": some}).scalars())
        return found

    def keys_of(self, entities: Iterable[str] | None = None) -> list[tuple[str, str, str, str]]:
        """The events of `entities`, or all, as (key, entity, kind, occurrence), oldest first; without emitted ones."""
        columns = (EVENTS.c.key, EVENTS.c.entity, EVENTS.c.kind, EVENTS.c.occurrence)
        every = sa.select(*columns).where(~is_emitted()).order_by(EVENTS.c.seq)
        with self._reading() as connection:
            if entities is None:
                return [tuple(row) for row in connection.execute(every)]
            found: list[tuple[str, str, str, str]] = []
            for some in heaps(list(entities)):
                found += [tuple(row) for row in connection.execute(every.where(EVENTS.c.entity.in_(some)))]
            return found

    def events_of(self, keys: Iterable[str]) -> list[tuple[str, str, str, str]]:
        """The same of the events with these keys."""
        with self._reading() as connection:
            rows = (connection.execute(statements.EVENTS_OF, {"keys": some}) for some in heaps(list(keys)))
            return [tuple(row) for found in rows for row in found]

    def last_emitted(self, entity: str) -> Kind | None:
        """The kind of the last event of `entity` that was emitted."""
        of_it = sa.select(EVENTS.c.kind).where(EVENTS.c.entity == entity, is_emitted())
        query = of_it.order_by(EVENTS.c.seq.desc()).limit(1)
        with self._reading() as connection:
            kind = connection.execute(query).scalar()
        return Kind(kind) if kind else None

    def thread_of(self, entity: str, recipient: str, transport: str) -> str:
        """The provider's conversation that the last message about `entity` to `recipient` joined, or empty."""
        with self._reading() as connection:
            asked = {"entity": entity, "recipient": recipient, "transport": transport}
            return statements.THREAD_OF.value(connection, **asked) or ""

    def letters(self) -> list[Letter]:
        """Dead letters, and what may have arrived and is not sent yet; oldest first."""
        return self.history(states=("dead", "unknown"))[::-1]

    def history(
        self,
        *,
        states: Collection[str] = (),
        kinds: Collection[str] = (),
        about: str = "",
        recipient: str = "",
        transport: str = "",
        since: float | None = None,
        limit: int | None = None,
    ) -> list[Letter]:
        """Who was told what, newest first; each filter that is set must hold.

        `about` is an entity's id, or the name of a job; `since` is when it was noticed.
        """
        conditions: list[sa.ColumnElement[bool]] = []
        if states:
            conditions.append(NOTIFICATIONS.c.state.in_(list(states)))
        if kinds:
            conditions.append(EVENTS.c.kind.in_(list(kinds)))
        if about:
            conditions.append(is_about(about))
        if recipient:
            conditions.append(sa.func.lower(NOTIFICATIONS.c.recipient) == recipient.lower())
        if transport:
            conditions.append(NOTIFICATIONS.c.transport == transport)
        if since is not None:
            conditions.append(NOTIFICATIONS.c.created_at >= since)
        return self._letters(*conditions, limit=limit)

    def _letters(self, *conditions: sa.ColumnElement[bool], limit: int | None = None) -> list[Letter]:
        """The notifications that fulfil all `conditions`, newest first."""
        tries = sa.select(sa.func.count()).where(ATTEMPTS.c.notification == NOTIFICATIONS.c.id)
        last = sa.select(sa.func.max(ATTEMPTS.c.started_at)).where(ATTEMPTS.c.notification == NOTIFICATIONS.c.id)
        query = (
            sa.select(
                NOTIFICATIONS,
                EVENTS.c.kind,
                tries.correlate(NOTIFICATIONS).scalar_subquery().label("attempts"),
                last.correlate(NOTIFICATIONS).scalar_subquery().label("tried_at"),
            )
            .join(EVENTS, EVENTS.c.key == NOTIFICATIONS.c.event_key)
            .where(*conditions)
            .order_by(NOTIFICATIONS.c.seq.desc())
            .limit(limit)
        )
        names = [item.name for item in fields(Letter)]
        with self._reading() as connection:
            return [Letter(**{name: getattr(row, name) for name in names}) for row in connection.execute(query)]

    def noticed(self, about: str) -> list[Noticed]:
        """The events of an entity, or of every job of that name, oldest first."""
        query = (
            sa.select(EVENTS.c.key, EVENTS.c.kind, EVENTS.c.entity, EVENTS.c.at, EVENTS.c.noticed_at)
            .where(is_about(about))
            .order_by(EVENTS.c.seq)
        )
        with self._reading() as connection:
            return [Noticed(*row) for row in connection.execute(query)]

    def add_alert(self, rule: AlertRule) -> None:
        """Keep a rule. Raises: NotifyError, its address cannot be encrypted."""
        self._seal_alerts()
        row = asdict(rule) | {"target": self._targets.sealed(rule.target)}
        with self._transaction() as connection:
            connection.execute(ALERTS.insert(), [row])

    def alerts(self) -> list[AlertRule]:
        """Every rule, oldest first; without a target where the key that decrypts its address is lost."""
        with self._reading() as connection:
            stored = [AlertRule(*row) for row in connection.execute(_RULES)]
        rules = [replace(rule, target=self._targets.opened(rule.target)) for rule in stored]
        self.unreadable_alerts = [rule.id for rule in rules if not rule.target]
        return rules

    def _seal_alerts(self) -> None:
        """Encrypt the addresses that an earlier version stored as plain text."""
        is_plain = sa.select(ALERTS.c.id).where(ALERTS.c.target.contains("://")).limit(1)
        with self._reading() as connection:
            if connection.execute(is_plain).first() is None:
                return
        self._targets.seal_stored(self._path)

    def remove_alert(self, name: str) -> None:
        """Forget the rule of that id."""
        with self._transaction() as connection:
            connection.execute(ALERTS.delete().where(ALERTS.c.id == name))

    def note_jobs_of_alerts(self, is_there: Mapping[str, bool], now: float) -> list[str]:
        """`is_there` says of rules, by id, whether their one job is in the tree; returns those that went with it.

        A rule whose job was never seen waits for it.
        """
        with self._transaction() as connection:
            rows = connection.execute(sa.select(ALERTS.c.id, ALERTS.c.gone_at)).all()
            since = {row.id: row.gone_at for row in rows if row.id in is_there}
            over = [name for name, gone_at in since.items() if gone_at and now - gone_at >= JOB_GONE_SECONDS]
            over = [name for name in over if not is_there[name]]
            for name, gone_at in since.items():
                moment = 0.0 if is_there[name] else now if gone_at == 0.0 else gone_at
                if moment != gone_at:
                    connection.execute(ALERTS.update().where(ALERTS.c.id == name).values(gone_at=moment))
            connection.execute(ALERTS.delete().where(ALERTS.c.id.in_(over)))
        return over

    def prune(
        self, before: float, now: float, *, sparing: Container[str], limit: int | None = None, dry_run: bool = False
    ) -> int:
        """Forget the events that were noticed before that moment and owe nothing to anybody; returns how many.

        At most `limit`, the oldest. Exempt are events with unacknowledged dead letters, those of the entities
        `sparing`, which the state file takes for owed, and the notifier's own alerts of the last days, by which it
        knows what it has reported.
        """
        unfinished = sa.select(NOTIFICATIONS.c.event_key).where(NOTIFICATIONS.c.state.in_(UNFINISHED))
        # Dead letters make the worker unhealthy until a person takes note of them.
        new = sa.select(NOTIFICATIONS.c.event_key).where(
            NOTIFICATIONS.c.state == "dead", NOTIFICATIONS.c.acknowledged_at.is_(None)
        )
        own = sa.and_(EVENTS.c.kind.in_(OWN_KINDS), EVENTS.c.noticed_at > now - OWN_KEPT_SECONDS)
        query = (
            sa.select(EVENTS.c.key, EVENTS.c.entity)
            .where(EVENTS.c.noticed_at < before, EVENTS.c.key.not_in(unfinished), EVENTS.c.key.not_in(new), ~own)
            .order_by(EVENTS.c.seq)
        )
        with self._transaction() as connection:
            with connection.execute(query) as rows:
                free = (row.key for row in rows if row.entity not in sparing)
                keys = list(islice(free, limit))  # past what is spared, or nothing behind it would ever be forgotten
            for some in heaps(keys) if not dry_run else ():
                ids = sa.select(NOTIFICATIONS.c.id).where(NOTIFICATIONS.c.event_key.in_(some))
                connection.execute(ATTEMPTS.delete().where(ATTEMPTS.c.notification.in_(ids)))
                connection.execute(NOTIFICATIONS.delete().where(NOTIFICATIONS.c.event_key.in_(some)))
                connection.execute(EVENTS.delete().where(EVENTS.c.key.in_(some)))
        return len(keys)

    def state_of(self, prefix: str) -> dict[str, str]:
        """The notifications whose id begins with `prefix`, with the state of each."""
        query = sa.select(NOTIFICATIONS.c.id, NOTIFICATIONS.c.state).where(
            NOTIFICATIONS.c.id.startswith(prefix, autoescape=True)
        )
        with self._reading() as connection:
            return {row.id: row.state for row in connection.execute(query)}

    def revive(self, ids: Iterable[str]) -> int:
        """Send these again, from the first try on, if they are dead or of unknown outcome; returns how many are.

        What may have arrived as part of a digest goes out with the rest of it: only so does it carry the same id. What
        is dead leaves its digest's id behind, for the next one may hold other things.
        """
        bundle = NOTIFICATIONS.c.bundle
        without_id = sa.func.substr(bundle, 1, sa.func.instr(bundle + "#", "#") - 1)
        revived = 0
        with self._transaction() as connection:
            wanted = set(ids)
            for some in heaps(sorted(wanted)):
                digests = sa.select(NOTIFICATIONS.c.bundle).where(
                    NOTIFICATIONS.c.id.in_(some), NOTIFICATIONS.c.state == "unknown", NOTIFICATIONS.c.bundle != ""
                )
                rest = sa.select(NOTIFICATIONS.c.id).where(
                    NOTIFICATIONS.c.bundle.in_(digests), NOTIFICATIONS.c.state == "unknown"
                )
                wanted.update(connection.execute(rest).scalars())
            for some in heaps(sorted(wanted)):
                revived += connection.execute(
                    NOTIFICATIONS.update()
                    .where(NOTIFICATIONS.c.id.in_(some), NOTIFICATIONS.c.state.in_(("dead", "unknown")))
                    .values(
                        bundle=sa.case((NOTIFICATIONS.c.state == "dead", without_id), else_=bundle),
                        state="pending",
                        not_before=0.0,
                        failures=0,
                        refusals=0,
                        first_failed_at=None,
                        acknowledged_at=None,
                        reported_at=None,
                    )
                ).rowcount
        return revived

    def acknowledge(self, now: float, ids: Iterable[str] | None = None) -> int:
        """Note that a person knows of these dead letters, or of all; returns how many were new."""
        dead = NOTIFICATIONS.update().where(NOTIFICATIONS.c.state == "dead", NOTIFICATIONS.c.acknowledged_at.is_(None))
        count = 0
        with self._transaction() as connection:
            for some in [None] if ids is None else heaps(sorted(ids)):
                these = dead if some is None else dead.where(NOTIFICATIONS.c.id.in_(some))
                count += connection.execute(these.values(acknowledged_at=now)).rowcount
        return count

    def unreported_dead_letters(self) -> list[Letter]:
        """Dead letters about which the owner was not alerted yet, oldest first; the notifier's own alerts aside."""
        is_new = sa.and_(NOTIFICATIONS.c.reported_at.is_(None), NOTIFICATIONS.c.acknowledged_at.is_(None))
        letters = self._letters(NOTIFICATIONS.c.state == "dead", is_new, EVENTS.c.kind.not_in(OWN_KINDS))
        return letters[::-1]

    def mark_reported(self, ids: Iterable[str], now: float) -> None:
        """The owner was alerted about these dead letters."""
        with self._transaction() as connection:
            for some in heaps(sorted(ids)):
                connection.execute(NOTIFICATIONS.update().where(NOTIFICATIONS.c.id.in_(some)).values(reported_at=now))

    def check(self) -> str:
        """What SQLite finds wrong with the database, or nothing."""
        with self._transaction() as connection:
            found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
        return "" if found == "ok" else found

    def counts(self, *, holding: Collection[str] = ()) -> Counts:
        """The state of the outbox; transports that are `holding` do not resend unknown outcomes."""
        with self._reading() as connection:
            by_state = {row.state: row.total for row in statements.STATES.rows(connection)}
            totals = {row.name: row.value for row in statements.TOTAL_OF.rows(connection)}
            of_held = {"names": list(holding)}
            is_held = connection.execute(statements.COUNT_HELD, of_held).scalar_one() if holding else 0
            withheld, dead = by_state.pop("withheld", 0), by_state.pop("dead", 0)
            return Counts(
                waiting=sum(by_state.values()) - is_held,
                sent=totals.get("messages", 0),
                notifications=totals.get("notifications", 0),
                failed=statements.COUNT_FAILED.value(connection),
                unknown=totals.get("unknown", 0),
                held=is_held,
                withheld=withheld,
                dead=dead,
                unacknowledged=statements.COUNT_UNACKNOWLEDGED.value(connection) if dead else 0,
            )

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """A transaction that writes nothing, and so waits for no writer."""
        with self._transaction(reads=True) as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, *, reads: bool = False) -> Iterator[sa.Connection]:
        if hasattr(self._shared, "connection"):
            yield self._shared.connection
            return
        pool = self._engine.pool
        try:
            with (
                contextlib.nullcontext() if reads else self._writing,
                (self._reader if reads else self._engine).connect() as connection,
            ):
                try:
                    with connection.begin():
                        yield connection
                finally:
                    if self._is_closed or self._engine.pool is not pool:
                        connection.detach()  # a pool that was disposed of would keep it open
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            why = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            code = getattr(why, "sqlite_errorcode", 0)
            if code == _SHORT_READ or code & 0xFF in _DAMAGE:
                self._is_broken = True
            raise StateError(
                f"{self._path} cannot be used: {why}", hint="see that its folder is yours, writable and not full"
            ) from error


def _spelled(value: Any) -> str:
    """`value` as JSON; a file name that is not UTF-8 is in it as only the slower library spells it."""
    try:
        return orjson.dumps(value).decode("utf-8")
    except TypeError:
        return json.dumps(value)


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)


def _priority(kind: Kind | None, audience: Audience) -> Priority:
    if kind in HIGH:
        return Priority.HIGH
    return Priority.OTHER if audience in {Audience.SUBMITTER, Audience.GUEST} else Priority.OPERATION


def _due(row: Any, bundle: str, last_kind: Kind | None) -> Due:
    """The claimed notification. Raises: one of `_UNREADABLE`."""
    for name in _TEXTS:  # SQLite keeps bytes in a column of text
        if not isinstance(getattr(row, name), str):
            raise TypeError(f"{name} is not text")
    return Due(
        id=row.id,
        event=_event(row),
        recipient=row.recipient,
        audience=Audience(row.audience),
        transport=row.transport,
        bundle=bundle,
        created_at=row.created_at,
        first_failed_at=row.first_failed_at,
        failures=row.failures,
        refusals=row.refusals,
        source=row.source,
        is_repeated=row.state == "unknown",
        last_kind=last_kind,
    )


def _event(row: Any) -> Event:
    payload, routing = _parsed(row.payload), _parsed(row.routing)
    if not isinstance(payload, dict) or not isinstance(routing, dict):
        raise TypeError("its payload is not an object")
    return Event(
        Kind(row.kind), row.entity, row.occurrence, row.at, payload, routing, emitted=row.key.startswith(EMITTED_PREFIX)
    )


# What a row that was damaged, or that a newer version wrote, can raise.
_UNREADABLE = (ValueError, TypeError, LookupError, RecursionError)
_TEXTS = ("id", "entity", "recipient", "audience", "bundle", "source", "key", "kind", "occurrence", "at")


def _column(name: str) -> sa.Column[Any]:
    """One of `_TEXTS`."""
    return NOTIFICATIONS.c[name] if name in NOTIFICATIONS.c else EVENTS.c[name]


def _is_undecodable(error: StateError) -> bool:
    """Whether SQLite found text that is not UTF-8."""
    return "Could not decode to UTF-8" in str(error.__cause__)


def _tolerant(raw: bytes) -> str:
    """Text as it is stored; a byte that is not UTF-8 is escaped."""
    return raw.decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _text_as(connection: sa.Connection, factory: Callable[[bytes], str] | type[str] | type[bytes]) -> Iterator[None]:
    """Read text by `factory` in the block. Only a claim must not tolerate what is not UTF-8: it would send it."""
    driver = connection.connection.driver_connection
    assert driver is not None  # for mypy: the pool gives a connected one
    driver.text_factory = factory
    try:
        yield
    finally:
        driver.text_factory = _tolerant


def _mistake_in(row: sa.RowMapping) -> str:
    """Why a row, whose texts are bytes, cannot be read; empty if it can be."""
    if blobs := [name for name in _TEXTS if row[f"type_of_{name}"] != b"text"]:
        return f"{blobs[0]} is not text"
    try:
        texts = {name: value.decode("utf-8") if isinstance(value, bytes) else value for name, value in row.items()}
        _event(SimpleNamespace(**texts))
        Audience(texts["audience"])
    except UnicodeDecodeError as error:
        return f"text that is not UTF-8 ({error.reason})"
    except _UNREADABLE as error:
        return shown(str(error) or type(error).__name__)
    return ""


def _last_kind(connection: sa.Connection, row: Any) -> Kind | None:
    emitted = row.key.startswith(EMITTED_PREFIX)
    found = statements.LATEST_STATUS_EVENT.rows(connection, entity=row.entity, emitted=emitted)
    return Kind(found[0].kind) if found else None


def _common_source(rows: Sequence[Any]) -> str:
    sources = {row.source for row in rows}
    return str(sources.pop()) if len(sources) == 1 else ""


def _is_open_share(bundle: str) -> bool:
    """Whether it is a digest within a daily share that was not attempted yet, and so can be postponed."""
    return bundle.startswith(SHARE) and "#" not in bundle


def _count_as_unknown(connection: sa.Connection, ids: Sequence[Any], now: float) -> None:
    """These pending notifications may have been sent by an attempt that is not recorded: record it as unknown."""
    reason = "the outbox lost its last changes, and this may have been sent"
    count = 0
    for some in heaps(ids):
        is_pending = sa.and_(NOTIFICATIONS.c.id.in_(some), NOTIFICATIONS.c.state == "pending")
        pending = connection.execute(sa.select(NOTIFICATIONS.c.id).where(is_pending)).scalars().all()
        if not pending:
            continue
        count += len(pending)
        connection.execute(NOTIFICATIONS.update().where(is_pending).values(state="unknown", reason=reason))
        attempt = {
            "started_at": now,
            "ended_at": now,
            "outcome": Failure.UNKNOWN.value,
            "error": reason,
            "provider_id": "",
        }
        connection.execute(ATTEMPTS.insert(), [{"notification": each, **attempt} for each in pending])
    if count:
        _add_to_totals(connection, unknown=count)


def _add_to_totals(connection: sa.Connection, **counts: int) -> None:
    statements.ADD_TO_TOTAL.run_many(connection, [{"total": name, "count": count} for name, count in counts.items()])


def _begin(connection: sa.Connection) -> None:
    """A writer takes the write lock at once, so it waits at its start instead of failing at its end."""
    reads = connection.get_execution_options().get("reads")
    # Straight to the driver: twice a mail SQLAlchemy's way there would be as long as the rest of it.
    connection.connection.cursor().execute("BEGIN" if reads else "BEGIN IMMEDIATE")


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    """Settings of one connection. A write-ahead log where it works; mounted drives may lack what it needs."""
    connection.isolation_level = None  # SQLAlchemy's own BEGIN, not the driver's
    connection.text_factory = _tolerant
    cursor = connection.cursor()
    try:
        mode = cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        cursor.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        mode = ""
    if mode != "wal":
        cursor.execute("PRAGMA journal_mode = DELETE")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
