"""What lies in the database; and when something in it waits, is due, is held back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

import sqlalchemy as sa

from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import WORKER_KINDS
from syftnotify.core.models import DIGESTED, EMITTED_PREFIX, HELD

SCHEMA_VERSION = 5
# Spelled out: SQLite uses a partial index only where the query repeats the text of the index.
_WAITING = "state IN ('pending', 'unknown')"
_UNSENT = "state IN ('pending', 'unknown', 'sending')"
_QUEUE_COLUMNS = "transport, priority, recipient, seq, not_before, entity"
_CONVERSATION_COLUMNS = "entity, recipient, medium, seq"
# What brings a database of the version named to the next one.
UPGRADES: dict[int, tuple[str, ...]] = {
    1: ("CREATE INDEX IF NOT EXISTS recent ON attempts (started_at)",),
    2: (),  # an index that version 5 replaces
    3: ("ALTER TABLE notifications ADD COLUMN route TEXT NOT NULL DEFAULT ''",),
    4: (
        "ALTER TABLE events ADD COLUMN routing JSON NOT NULL DEFAULT '{}'",
        "ALTER TABLE notifications ADD COLUMN source TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE notifications ADD COLUMN priority INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE notifications ADD COLUMN longest_wait FLOAT NOT NULL DEFAULT 691200",
        "ALTER TABLE notifications ADD COLUMN acknowledged_at FLOAT",
        "ALTER TABLE notifications ADD COLUMN reported_at FLOAT",
        "UPDATE notifications SET priority = 2 WHERE audience IN ('submitter', 'guest')",
        "UPDATE notifications SET priority = 0 WHERE event_key IN (SELECT key FROM events WHERE kind IN ('job_failed', "
        "'job_timeout', 'workflow_build_failed', 'workflow_terminated', 'system_alert'))",
        "DROP INDEX IF EXISTS waiting",
        f"CREATE INDEX IF NOT EXISTS queue ON notifications ({_QUEUE_COLUMNS}) WHERE {_WAITING}",
        f"CREATE INDEX IF NOT EXISTS unfinished ON notifications ({_CONVERSATION_COLUMNS}) WHERE {_UNSENT}",
        "INSERT OR REPLACE INTO totals SELECT 'messages', count(DISTINCT iif(bundle = '', id, bundle)) "
        "FROM notifications WHERE state = 'sent'",
        "INSERT OR REPLACE INTO totals SELECT 'notifications', count(*) FROM notifications WHERE state = 'sent'",
        "INSERT OR REPLACE INTO totals SELECT 'unknown', count(*) FROM attempts WHERE outcome = 'unknown'",
        "INSERT OR IGNORE INTO recipients (address, admitted_at, is_counted) "
        "SELECT recipient, min(created_at), 0 FROM notifications "
        "WHERE medium = 'mail' AND state NOT IN ('skipped', 'withheld') GROUP BY recipient",
    ),
}


class Priority(IntEnum):
    """Which notifications are sent first; the two lower classes take turns."""

    HIGH = 0  # severity high
    OPERATION = 1  # to the owner, operators and configured recipients
    OTHER = 2  # to submitters and recipients that a job names


SCHEMA = sa.MetaData()

EVENTS = sa.Table(
    "events",
    SCHEMA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("entity", sa.Text, nullable=False, index=True),
    sa.Column("occurrence", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("routing", sa.JSON, nullable=False, server_default="{}"),  # `Event.routing`
    sa.Column("noticed_at", sa.Float, nullable=False),
)
NOTIFICATIONS = sa.Table(
    "notifications",
    SCHEMA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("event_key", sa.Text, sa.ForeignKey("events.key"), nullable=False),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("medium", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("audience", sa.Text, nullable=False),
    sa.Column("transport", sa.Text, nullable=False),
    sa.Column("route", sa.Text, nullable=False, server_default=""),  # the rule that decided
    sa.Column("bundle", sa.Text, nullable=False),  # with `#` and the message's id from the first attempt on
    sa.Column("state", sa.Text, nullable=False),  # pending, withheld, sending, sent, unknown, dead, skipped
    sa.Column("reason", sa.Text, nullable=False),  # why it is dead or skipped, or the last error
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("not_before", sa.Float, nullable=False),
    sa.Column("first_failed_at", sa.Float),
    sa.Column("failures", sa.Integer, nullable=False),  # attempts that did not end well
    sa.Column("refusals", sa.Integer, nullable=False),  # of these, how often the other side said: not now
    sa.Column("claimed_by", sa.Text),
    sa.Column("claimed_at", sa.Float),
    sa.Column("thread", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False, server_default=""),  # who caused the event
    sa.Column("priority", sa.Integer, nullable=False, server_default="1"),  # `Priority`
    sa.Column("longest_wait", sa.Float, nullable=False, server_default="691200"),  # seconds to `not_before` when set
    sa.Column("acknowledged_at", sa.Float),  # when a person took note of a dead letter
    sa.Column("reported_at", sa.Float),  # when the owner was alerted about a dead letter
    sa.UniqueConstraint("event_key", "medium", "recipient"),
    sa.Index("due", "transport", "state", "not_before"),
    sa.Index("conversation", "entity", "recipient", "seq"),
    sa.Index("states", "state"),
    sa.Index("queue", *_QUEUE_COLUMNS.split(", "), sqlite_where=sa.text(_WAITING)),
    sa.Index("unfinished", *_CONVERSATION_COLUMNS.split(", "), sqlite_where=sa.text(_UNSENT)),
)
ATTEMPTS = sa.Table(
    "attempts",
    SCHEMA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("notification", sa.Text, sa.ForeignKey("notifications.id"), nullable=False, index=True),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("outcome", sa.Text, nullable=False, index=True),  # started, sent, or a Failure
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("provider_id", sa.Text, nullable=False),
    sa.Index("recent", "started_at"),
)
# Every address that was ever mailed, pruned history included: the daily limit is about new ones.
RECIPIENTS = sa.Table(
    "recipients",
    SCHEMA,
    sa.Column("address", sa.Text, primary_key=True),
    sa.Column("admitted_at", sa.Float, nullable=False),  # when its first mail was queued or released
    sa.Column("is_counted", sa.Boolean, nullable=False),  # whether it counts towards `recipients.new_per_day`
    sa.Index("admitted", "admitted_at"),
)
# Jobs of other schedulers, from their first emitted event to the one that ends them: see `emitted_jobs.py`.
EMITTED_JOBS = sa.Table(
    "emitted_jobs",
    SCHEMA,
    sa.Column("entity", sa.Text, primary_key=True),
    sa.Column("payload", sa.JSON, nullable=False),  # of the last event that had one
    sa.Column("routing", sa.JSON, nullable=False),  # `Event.routing`, merged over the events of the job
    sa.Column("started_at", sa.Float),  # when `job_started` was taken in; null before
    sa.Column("occurrence", sa.Text, nullable=False),  # of that `job_started`
    sa.Column("reminded", sa.JSON, nullable=False),  # limits of that run, in seconds, that have been reported
    sa.Column("changed_at", sa.Float, nullable=False, index=True),  # when its last event was taken in
)
ALERTS = sa.Table(
    "alerts",
    SCHEMA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("tag", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("on_failure", sa.Boolean, nullable=False),
    sa.Column("on_timeout", sa.Boolean, nullable=False),
    sa.Column("on_success", sa.Boolean, nullable=False),
    sa.Column("on_long_run_minutes", sa.Float),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("gone_at", sa.Float),  # when its job was gone; 0 while it is there, nothing before it ever was
)
# Counters that pruning does not lower: messages sent, notifications in them, attempts of unknown outcome.
TOTALS = sa.Table(
    "totals",
    SCHEMA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)
UNFINISHED = ("pending", "sending", "unknown")  # withheld ones may stay so and block nothing
# The worker's own words to its owner: never gathered into a digest.
WORKER_KIND_NAMES = tuple(sorted(kind.value for kind in WORKER_KINDS))


def is_about(text: str) -> sa.ColumnElement[bool]:
    """The entity is called so, or is a job of that name."""
    name = entity_id(text)
    return sa.or_(EVENTS.c.entity == text, EVENTS.c.entity.endswith(f"/{name}", autoescape=True))


def is_emitted() -> sa.ColumnElement[bool]:
    """The event was handed in through the spool; its entity may be called like one of the tree."""
    return sa.func.substr(EVENTS.c.key, 1, len(EMITTED_PREFIX)) == EMITTED_PREFIX


def is_due(now: float | sa.BindParameter[float]) -> sa.ColumnElement[bool]:
    """Its time has come. What a clock that was set back left too far in the future is moved by `bound_waits`."""
    return NOTIFICATIONS.c.not_before <= now


def heaps(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """`values` in heaps that fit into one statement: SQLite allows 999 variables in an old build."""
    for start in range(0, len(values), 500):
        yield values[start : start + 500]


def claimable(resend: bool) -> tuple[str, ...]:
    return ("pending", "unknown") if resend else ("pending",)


def is_waiting(*, resend: bool, table: sa.FromClause = NOTIFICATIONS) -> sa.ColumnElement[bool]:
    """Queued; unknown outcomes too, unless they are held. Uses the text of the partial index `queue`."""
    return sa.and_(sa.text(f"{getattr(table, 'name', '')}.{_WAITING}"), table.c.state.in_(claimable(resend)))


def is_next(*, resend: bool) -> sa.ColumnElement[bool]:
    """Waiting, and nothing earlier about the same entity to the same recipient is unfinished, its own bundle aside.

    A message of unknown outcome that is held blocks no later one.
    """
    earlier = NOTIFICATIONS.alias("earlier")
    blocked = (
        sa.select(sa.literal(1))
        .where(
            earlier.c.entity == NOTIFICATIONS.c.entity,
            earlier.c.recipient == NOTIFICATIONS.c.recipient,
            earlier.c.medium == NOTIFICATIONS.c.medium,
            earlier.c.seq < NOTIFICATIONS.c.seq,
            sa.text(f"earlier.{_UNSENT}"),
            earlier.c.state.in_(("sending", *claimable(resend))),
            ~_lets_pass(earlier.c.bundle, NOTIFICATIONS.c.priority),
            sa.or_(NOTIFICATIONS.c.bundle == "", earlier.c.bundle != NOTIFICATIONS.c.bundle),
        )
        .correlate(NOTIFICATIONS)
        .exists()
    )
    return sa.and_(is_waiting(resend=resend), ~blocked)


def first_unfinished(of: sa.FromClause, *, resend: bool) -> sa.ScalarSelect[int]:
    """The `seq` of the earliest row of the same conversation that `of` waits for, or that of `of` itself."""
    earlier = NOTIFICATIONS.alias("earliest")
    return (
        sa.select(earlier.c.seq)
        .where(
            earlier.c.entity == of.c.entity,
            earlier.c.recipient == of.c.recipient,
            earlier.c.medium == of.c.medium,
            earlier.c.seq <= of.c.seq,
            sa.text(f"earliest.{_UNSENT}"),
            earlier.c.state.in_(("sending", *claimable(resend))),
            sa.or_(earlier.c.seq == of.c.seq, ~_lets_pass(earlier.c.bundle, of.c.priority)),
        )
        .order_by(earlier.c.seq)
        .limit(1)
        .correlate(of)
        .scalar_subquery()
    )


def _lets_pass(bundle: sa.ColumnElement[str], priority: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether a candidate may overtake what waits in `bundle`, a digest that was not attempted yet."""
    is_exempt = sa.or_(
        bundle.startswith(HELD, autoescape=True),
        sa.and_(bundle.startswith(DIGESTED, autoescape=True), priority == Priority.HIGH.value),
    )
    return sa.and_(bundle != "", sa.func.instr(bundle, "#") == 0, is_exempt)
