"""Tables of the outbox, and the statements that upgrade older databases."""

from __future__ import annotations

from enum import IntEnum

import sqlalchemy as sa


class JsonText(sa.types.UserDefinedType[str]):
    """A JSON column that is read and written as text, so that an invalid row does not prevent reading the others."""

    cache_ok = True

    def get_col_spec(self, **_options: object) -> str:
        """The type in the table definition."""
        return "JSON"


# The domain of the Message-IDs of all mails before version 6; a retry must have the id of the first attempt.
OLD_MESSAGE_DOMAIN = "syftnotify.local"

SCHEMA_VERSION = 9
# The conditions of the partial indexes, as text: SQLite uses such an index only if the query repeats its text.
WAITING = "state IN ('pending', 'unknown')"
UNSENT = "state IN ('pending', 'unknown', 'sending')"
# The part of an entity after its last slash, as an index has it: `rtrim` removes all other characters from the end.
ENTITY_NAME = "replace(entity, rtrim(entity, replace(entity, '/', '')), '')"
LAST_SENT = "last_sent "  # prefix of the names of totals that are moments; the name of a transport follows
SKIPPED = "state = 'skipped'"
RUN_ENDS = "kind IN ('job_completed', 'job_failed', 'job_timeout')"
# The statements that upgrade a database of a version to the next one, besides creating what is missing: first tables,
# and at the end indexes.
UPGRADES: dict[int, tuple[str, ...]] = {
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
        "INSERT OR REPLACE INTO totals SELECT 'messages', count(DISTINCT iif(bundle = '', id, bundle)) "
        "FROM notifications WHERE state = 'sent'",
        "INSERT OR REPLACE INTO totals SELECT 'notifications', count(*) FROM notifications WHERE state = 'sent'",
        "INSERT OR REPLACE INTO totals SELECT 'unknown', count(*) FROM attempts WHERE outcome = 'unknown'",
        "INSERT OR IGNORE INTO recipients (address, admitted_at, is_counted) "
        "SELECT recipient, min(created_at), 0 FROM notifications "
        "WHERE medium = 'mail' AND state NOT IN ('skipped', 'withheld') GROUP BY recipient",
    ),
    5: (f"ALTER TABLE notifications ADD COLUMN message_domain TEXT NOT NULL DEFAULT '{OLD_MESSAGE_DOMAIN}'",),
    6: ("ALTER TABLE alerts ADD COLUMN public_only BOOLEAN NOT NULL DEFAULT 0",),
    8: (
        "ALTER TABLE inbox ADD COLUMN event_key TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE tokens ADD COLUMN session_of TEXT",
        "INSERT OR REPLACE INTO totals SELECT 'last_sent ' || transport, CAST(max(started_at) * 1000 AS INTEGER) "
        "FROM attempts JOIN notifications ON notifications.id = notification WHERE outcome = 'sent' GROUP BY transport",
    ),
}


class Priority(IntEnum):
    """The class of a notification in the order of claims: HIGH first, the other two in turn."""

    HIGH = 0  # severity high
    OPERATION = 1  # to the owner, operators and configured recipients
    OTHER = 2  # to submitters and recipients named by a job


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
    sa.Column("payload", JsonText, nullable=False),
    sa.Column("routing", JsonText, nullable=False, server_default="{}"),  # `Event.routing`
    sa.Column("noticed_at", sa.Float, nullable=False),
    sa.Index("of_kind", "kind", "seq"),
    sa.Index("by_name", sa.text(ENTITY_NAME)),
    sa.Index("run_ends", "noticed_at", sqlite_where=sa.text(RUN_ENDS)),
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
    sa.Column("route", sa.Text, nullable=False, server_default=""),  # name of the deciding route
    sa.Column("bundle", sa.Text, nullable=False),  # from the first attempt on with `#` and the message's id
    sa.Column("state", sa.Text, nullable=False),  # a NotificationState
    sa.Column("reason", sa.Text, nullable=False),  # why it is dead or skipped, or the last error
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("not_before", sa.Float, nullable=False),
    sa.Column("first_failed_at", sa.Float),
    sa.Column("failures", sa.Integer, nullable=False),  # failed attempts
    sa.Column("refusals", sa.Integer, nullable=False),  # of these, the ones that count against `max_retries`
    sa.Column("claimed_by", sa.Text),
    sa.Column("claimed_at", sa.Float),
    sa.Column("thread", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False, server_default=""),  # who caused the event
    sa.Column("priority", sa.Integer, nullable=False, server_default="1"),  # `Priority`
    sa.Column("longest_wait", sa.Float, nullable=False, server_default="691200"),  # seconds to `not_before` when set
    sa.Column("acknowledged_at", sa.Float),  # when a user acknowledged the dead letter
    # Of the message's id; empty: the sender's.
    sa.Column("message_domain", sa.Text, nullable=False, server_default=OLD_MESSAGE_DOMAIN),
    sa.Column("reported_at", sa.Float),  # when the owner was alerted about the dead letter
    sa.UniqueConstraint("event_key", "medium", "recipient"),
    sa.Index("due", "transport", "state", "not_before"),
    sa.Index("conversation", "entity", "recipient", "seq"),
    sa.Index("states", "state"),
    sa.Index("of_recipient", "recipient", "seq"),
    sa.Index(
        "queue", "transport", "priority", "recipient", "seq", "not_before", "entity", sqlite_where=sa.text(WAITING)
    ),
    sa.Index("unfinished", "entity", "recipient", "medium", "seq", sqlite_where=sa.text(UNSENT)),
    sa.Index("skipped", "reason", "seq", sqlite_where=sa.text(SKIPPED)),
)
ATTEMPTS = sa.Table(
    "attempts",
    SCHEMA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("notification", sa.Text, sa.ForeignKey("notifications.id"), nullable=False, index=True),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("outcome", sa.Text, nullable=False, index=True),  # STARTED, DELIVERED or a Failure
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("provider_id", sa.Text, nullable=False),
    sa.Index("recent", "started_at"),
)
# Every address that was ever mailed, also after pruning: the daily limit counts new addresses.
RECIPIENTS = sa.Table(
    "recipients",
    SCHEMA,
    sa.Column("address", sa.Text, primary_key=True),
    sa.Column("admitted_at", sa.Float, nullable=False),  # when its first mail was queued or released
    sa.Column("is_counted", sa.Boolean, nullable=False),  # whether it counts towards `recipients.new_per_day`
    sa.Index("admitted", "admitted_at"),
)
# Jobs of other schedulers, from their first emitted event to their last: see `core/emitted_jobs.py`.
EMITTED_JOBS = sa.Table(
    "emitted_jobs",
    SCHEMA,
    sa.Column("entity", sa.Text, primary_key=True),
    sa.Column("payload", JsonText, nullable=False),  # of the last event that had one
    sa.Column("routing", JsonText, nullable=False),  # `Event.routing`, merged over the events of the job
    sa.Column("started_at", sa.Float),  # when `job_started` was recorded; null before
    sa.Column("occurrence", sa.Text, nullable=False),  # of that `job_started`
    sa.Column("reminded", JsonText, nullable=False),  # limits of that run, in seconds, that have been reported
    sa.Column("changed_at", sa.Float, nullable=False, index=True),  # when its last event was recorded
)
# Copies of submissions, with which later ones of the same submitter are compared.
SUBMISSIONS = sa.Table(
    "submissions",
    SCHEMA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("submission", sa.Text, nullable=False),  # `Job.submission_id`
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("submitter", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    # JSON objects by path, compressed by zlib. Old copies keep only the hashes.
    sa.Column("files", sa.LargeBinary, nullable=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
    sa.Column("recorded_at", sa.Float, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # a Status: waiting, approved or rejected
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_at", sa.Text, nullable=False),
    sa.Column("has_run", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("entity", "submission"),
    sa.Index("submissions_by_submitter", "owner", "submitter", "seq"),
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
    sa.Column("public_only", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("gone_at", sa.Float),  # since when its job is absent; 0: present, null: never seen
)
SILENCES = sa.Table(
    "silences",
    SCHEMA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("kinds", JsonText, nullable=False),  # a list; null: every kind
    sa.Column("match", JsonText, nullable=False),  # `core.matching.Match`
    sa.Column("starts_at", sa.Float, nullable=False),
    sa.Column("ends_at", sa.Float),  # null: until the state changes
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expired_at", sa.Float),
)
# Keys of events whose notifications another process than the worker has finished; the worker updates its ledger.
CHANGED_EVENTS = sa.Table("changed_events", SCHEMA, sa.Column("key", sa.Text, primary_key=True))
# Notifications of persons, which are read through the API.
INBOX_ENTRIES = sa.Table(
    "inbox",
    SCHEMA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # `core.inbox.kind_name`
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("workflow", sa.Text, nullable=False),
    sa.Column("workflow_name", sa.Text, nullable=False),
    sa.Column("event_key", sa.Text, nullable=False, server_default=""),
    sa.Column("payload", JsonText, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("read_at", sa.Float),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Index("inbox_of_recipient", "recipient", "seq"),
    sa.Index("inbox_by_time", "recipient", "created_at"),
    sa.Index("inbox_unread", "recipient", "seq", sqlite_where=sa.text("read_at IS NULL")),
    sa.Index("inbox_by_kind", "recipient", "kind", "seq"),
    sa.Index("inbox_by_entity", "recipient", "entity", "seq"),
    sa.Index("inbox_by_workflow", "recipient", "workflow", "seq"),
    sa.Index("inbox_by_workflow_name", "recipient", "workflow_name", "seq"),
    sqlite_autoincrement=True,  # a stream continues after a position, which must not be used twice
)
# Keys of requests that create something, by which a repeated request is recognized.
IDEMPOTENCY_KEYS = sa.Table(
    "idempotency_keys",
    SCHEMA,
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False, index=True),
)
# Names in `server_keys` of a file that is copied into a database: its id, and the address of the database.
COPY_ID, COPIED_TO = "database id", "copied to"
# Keys that the servers of one database share.
SERVER_KEYS = sa.Table(
    "server_keys",
    SCHEMA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
TOKENS = sa.Table(
    "tokens",
    SCHEMA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("hash", sa.Text, nullable=False, unique=True),  # `core.tokens.token_hash`
    sa.Column("person", sa.Text, nullable=False, index=True),
    sa.Column("role", sa.Text, nullable=False),  # a Role
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
    sa.Column("session_of", sa.Text),  # `Token.session_of`
)
# Links by which persons sign in to the page, each once.
SIGN_IN_LINKS = sa.Table(
    "sign_in_links",
    SCHEMA,
    sa.Column("hash", sa.Text, primary_key=True),  # `core.tokens.token_hash` of its secret
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("browser", sa.Text, nullable=False),  # `token_hash` of the cookie of the browser that asked for it
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False, index=True),
    sa.Column("used_at", sa.Float),
)
# Jobs and peer requests that wait for the owner, as of the last scan.
PENDING_DECISIONS = sa.Table(
    "pending_decisions",
    SCHEMA,
    sa.Column("entity", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # of the event that asks for the decision
    sa.Column("since", sa.Float, nullable=False, index=True),
    sa.Column("payload", JsonText, nullable=False),
)
# The state of the queues over the last days, once a minute.
SAMPLES = sa.Table(
    "samples",
    SCHEMA,
    sa.Column("at", sa.Float, primary_key=True),
    sa.Column("sent", sa.Integer, nullable=False),  # messages since the outbox was created
    sa.Column("failed", sa.Integer, nullable=False),  # failed attempts, likewise
    sa.Column("waiting", sa.Integer, nullable=False),
    sa.Column("oldest_age", sa.Float, nullable=False),  # seconds
)
# Counters that pruning does not lower: events enqueued, messages sent, notifications in them, unknown outcomes, and
# those of `core.metrics`.
TOTALS = sa.Table(
    "totals",
    SCHEMA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)
