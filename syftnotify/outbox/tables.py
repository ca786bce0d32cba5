"""What lies in the database; and when something in it waits, is due, is held back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from syftnotify.model import DIGESTED, HELD, HIGH, Kind, entity_id

SCHEMA_VERSION = 5
# What brings a database of the version named to the next one.
UPGRADES: dict[int, tuple[str, ...]] = {
    1: ("CREATE INDEX IF NOT EXISTS recent ON attempts (started_at)",),
    2: ("CREATE INDEX IF NOT EXISTS waiting ON notifications (transport, seq) WHERE state IN ('pending', 'unknown')",),
    3: ("ALTER TABLE notifications ADD COLUMN route TEXT NOT NULL DEFAULT ''",),
    4: (
        "ALTER TABLE events ADD COLUMN routing JSON NOT NULL DEFAULT '{}'",
        "ALTER TABLE notifications ADD COLUMN source TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE notifications ADD COLUMN priority INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE notifications ADD COLUMN acknowledged_at FLOAT",
    ),
}
FARTHEST = 8 * 86400.0  # seconds; no wait is longer than seven days

# Spelled out: SQLite uses the index of what waits only where it reads these very words.
_WAITING = "state IN ('pending', 'unknown')"

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
    sa.Column("priority", sa.Integer, nullable=False, server_default="1"),  # 0: high severity, sent first
    sa.Column("acknowledged_at", sa.Float),  # when a person took note of a dead letter
    sa.UniqueConstraint("event_key", "medium", "recipient"),
    sa.Index("due", "transport", "state", "not_before"),
    sa.Index("conversation", "entity", "recipient", "seq"),
    sa.Index("states", "state"),
    sa.Index("waiting", "transport", "seq", sqlite_where=sa.text(_WAITING)),
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
# Jobs of other schedulers, from the first emitted event that says something of them until the one that ends them.
EMITTED_JOBS = sa.Table(
    "emitted_jobs",
    SCHEMA,
    sa.Column("entity", sa.Text, primary_key=True),
    sa.Column("payload", sa.JSON, nullable=False),  # of the last event that had one
    sa.Column("routing", sa.JSON, nullable=False),  # `Event.routing`, merged over the events of the job
    sa.Column("started_at", sa.Float),  # when `job_started` was taken in; null before
    sa.Column("occurrence", sa.Text, nullable=False),  # of that `job_started`
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
UNFINISHED = ("pending", "withheld", "sending", "unknown")
# The worker's own words to its owner: never gathered into a digest.
OWN_KINDS = (Kind.SYSTEM_ALERT.value, Kind.HEARTBEAT.value, Kind.TEST.value)


def is_about(text: str) -> sa.ColumnElement[bool]:
    """The entity is called so, or is a job of that name."""
    name = entity_id(text)
    return sa.or_(EVENTS.c.entity == text, EVENTS.c.entity.endswith(f"/{name}", autoescape=True))


def is_due(now: float | sa.BindParameter[float]) -> sa.ColumnElement[bool]:
    """Its moment has come, or lies so far away that only a clock that jumped can have set it."""
    return sa.or_(NOTIFICATIONS.c.not_before <= now, NOTIFICATIONS.c.not_before > now + FARTHEST)


def heaps(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """`values` in heaps that fit into one statement: SQLite allows 999 variables in an old build."""
    for start in range(0, len(values), 500):
        yield values[start : start + 500]


def claimable(resend: bool) -> tuple[str, ...]:
    return ("pending", "unknown") if resend else ("pending",)


def is_next(*, resend: bool) -> sa.ColumnElement[bool]:
    """Waiting, and nothing earlier about the same entity to the same recipient is unfinished, its own bundle aside.

    What is held because it may have arrived holds nothing else up.
    """
    earlier = NOTIFICATIONS.alias()
    held_back = (
        sa.select(sa.literal(1))
        .where(
            earlier.c.entity == NOTIFICATIONS.c.entity,
            earlier.c.recipient == NOTIFICATIONS.c.recipient,
            earlier.c.medium == NOTIFICATIONS.c.medium,
            earlier.c.seq < NOTIFICATIONS.c.seq,
            earlier.c.state.in_(("sending", *claimable(resend))),
            ~_lets_pass(earlier.c.bundle),
            sa.or_(NOTIFICATIONS.c.bundle == "", earlier.c.bundle != NOTIFICATIONS.c.bundle),
        )
        .correlate(NOTIFICATIONS)
        .exists()
    )
    return sa.and_(sa.text(f"notifications.{_WAITING}"), NOTIFICATIONS.c.state.in_(claimable(resend)), ~held_back)


def _lets_pass(bundle: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether what is held in `bundle`, and was not tried yet, is overtaken by what is told all the same."""
    events = EVENTS.alias()
    urgent = sa.select(events.c.key).where(events.c.kind.in_([kind.value for kind in HIGH]))
    is_spared = sa.or_(
        bundle.startswith(HELD, autoescape=True),
        sa.and_(bundle.startswith(DIGESTED, autoescape=True), NOTIFICATIONS.c.event_key.in_(urgent)),
    )
    return sa.and_(bundle != "", sa.func.instr(bundle, "#") == 0, is_spared)
