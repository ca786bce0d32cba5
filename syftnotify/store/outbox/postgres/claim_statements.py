"""The statements of claims, outcomes and recovery. They are about the notifications of all homes."""

from __future__ import annotations

from syftnotify.core.errors import Failure
from syftnotify.core.history import STARTED
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import DIGEST_PREFIX, EMITTED_PREFIX, QUIET_HOURS_PREFIX, NotificationState
from syftnotify.store.outbox.conditions import PENDING, SENDING, UNKNOWN
from syftnotify.store.outbox.postgres.schema import TABLES_SCHEMA
from syftnotify.store.outbox.postgres.timeline import CURRENT_TIMELINE, RECORDED_TIMELINE
from syftnotify.store.outbox.schema import LAST_SENT, UNSENT, WAITING, Priority

_NOTIFICATIONS = f"{TABLES_SCHEMA}.notifications"
_EVENTS = f"{TABLES_SCHEMA}.events"
_ATTEMPTS = f"{TABLES_SCHEMA}.attempts"
_STATUS_KINDS = ", ".join(f"'{kind.value}'" for kind in EventKind if kind.spec.status_after)
# Latest events of an entity among which one that changes the status of a job is searched.
_MAX_STATUS_EVENTS = 100


def _is_claimable(table: str) -> str:
    """It waits, and unknown outcomes only if they are sent again. Repeats the condition of a partial index."""
    return f"{table}.{WAITING} AND ({table}.state = '{PENDING}' OR %(resend)s)"


def _is_of_sending_home(table: str) -> str:
    """Its home sends. `coalesce` only keeps the planner from the estimate that, with one home, no row meets this."""
    disabled = f"ARRAY(SELECT scope FROM {TABLES_SCHEMA}.scopes WHERE NOT is_enabled)"
    return f"NOT coalesce({table}.scope = ANY({disabled}), false)"


def _is_due(table: str) -> str:
    return f"""
        {_is_claimable(table)} AND {table}.transport = %(transport)s AND {table}.not_before <= %(now)s
        AND {_is_of_sending_home(table)}
    """


def _blocks(earlier: str, later: str) -> str:
    """`earlier` is an unfinished notification of the same conversation, which is sent before `later`.

    A message of unknown outcome that is held blocks no later one, and neither does a digest of quiet hours without an
    attempt; a notification of high severity also overtakes a digest of the `digest` section.
    """
    return f"""
        {earlier}.scope = {later}.scope AND {earlier}.entity = {later}.entity
        AND {earlier}.recipient = {later}.recipient AND {earlier}.medium = {later}.medium
        AND {earlier}.{UNSENT} AND ({earlier}.state <> '{UNKNOWN}' OR %(resend)s)
        AND NOT ({earlier}.bundle <> '' AND strpos({earlier}.bundle, '#') = 0
            AND (starts_with({earlier}.bundle, '{QUIET_HOURS_PREFIX}')
                OR (starts_with({earlier}.bundle, '{DIGEST_PREFIX}') AND {later}.priority = {Priority.HIGH.value})))
    """


# The statistics of the server are often of a time at which nothing waited: to its planner all indexes of what waits are
# empty then, and equally good. So the statements of a claim search for the first row in an order that the right index
# has, and CLAIM_SETTINGS turns sorting and reading whole tables off. No plan depends on the parameters then, so the
# server may keep it: making the plans takes longer than a claim with them. As a plan may be of a time at which tables
# were almost empty, rows of other tables are found by subqueries, and not by joins, which might read all of them. Tests
# of subqueries are written such that their estimates are moderate: `IS NOT TRUE` is estimated as met by half of the
# rows, `IS NULL` by almost none.
_IS_FREE = f"""
    (SELECT true FROM {_NOTIFICATIONS} e WHERE {_blocks("e", "n")} AND e.seq < n.seq
        AND (n.bundle = '' OR e.bundle <> n.bundle) ORDER BY e.seq LIMIT 1) IS NOT TRUE
"""

_LAST_KIND = f"""
    (SELECT latest.kind FROM (
        SELECT o.seq, o.kind FROM {_EVENTS} o
        WHERE o.scope = ev.scope AND o.entity = ev.entity
            AND starts_with(o.key, '{EMITTED_PREFIX}') = starts_with(ev.key, '{EMITTED_PREFIX}')
        ORDER BY o.seq DESC LIMIT {_MAX_STATUS_EVENTS}) latest
    WHERE latest.kind IN ({_STATUS_KINDS}) ORDER BY latest.seq DESC LIMIT 1)
"""
_COLUMNS = f"""
    n.seq, n.scope, n.id, n.entity, n.recipient, n.audience, n.transport, n.bundle, n.state, n.created_at,
    n.not_before, n.first_failed_at, n.failures, n.refusals, n.source, n.message_domain, n.priority,
    ev.key, ev.kind, ev.occurrence, ev.at, ev.payload, ev.routing, {_LAST_KIND} AS last_kind,
    coalesce((SELECT context FROM {TABLES_SCHEMA}.scopes WHERE scope = n.scope), '') AS context
"""
_WITH_EVENT = f"""
    CROSS JOIN LATERAL (SELECT * FROM {_EVENTS} WHERE scope = n.scope AND key = n.event_key LIMIT 1) ev
"""

# What waits in one home for one recipient. The priorities are named so that the columns of the index `queue` after them
# are used.
_WAITS_FOR_RECIPIENT = f"""
    n.{WAITING} AND n.transport = %(transport)s AND n.priority IN ({", ".join(str(each.value) for each in Priority)})
    AND n.recipient = %(recipient)s AND n.scope = %(scope)s
"""


def _is_in_state(state: str) -> str:
    """The condition of a search by moments, which only the index `due` has in order.

    The subquery hides the state from the planner: otherwise it may read the index `queue` and sort all that waits.
    """
    return f"n.transport = %(transport)s AND n.state = (SELECT '{state}')"


def _any_due(state: str) -> str:
    return f"""
        (SELECT true FROM {_NOTIFICATIONS} n WHERE {_is_in_state(state)} AND n.not_before <= %(now)s
        ORDER BY n.not_before LIMIT 1) IS NOT NULL
    """


CLAIM_SETTINGS = """
SELECT set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true),
    set_config('plan_cache_mode', 'force_generic_plan', true)
"""
# What a claim must know first: whether this worker still counts as alive, whether the database was restored, whether
# the transport is paused, and whether anything is due. The last one costs little while many notifications are deferred.
CLAIM_STATE = f"""
SELECT EXISTS (SELECT 1 FROM {TABLES_SCHEMA}.workers
        WHERE id = %(worker)s AND started_at = %(started)s AND ended_at IS NULL) AS is_alive,
    {RECORDED_TIMELINE} IS NOT DISTINCT FROM {CURRENT_TIMELINE} AS is_same_database,
    (SELECT paused_until FROM {TABLES_SCHEMA}.transports WHERE name = %(transport)s AND pause_failure <> '')
        AS paused_until,
    {_any_due(PENDING)} OR (%(resend)s AND {_any_due(UNKNOWN)}) AS has_due
"""
# After a pause one worker sends one message. If that worker dies, another one does it later.
PROBE_SECONDS = 120.0
BEGIN_PROBE = f"""
UPDATE {TABLES_SCHEMA}.transports SET paused_until = %(now)s + {PROBE_SECONDS}
WHERE name = %(transport)s AND paused_until <= %(now)s AND pause_failure <> '' RETURNING name
"""


def _free_rows(priority: str, recipient: str) -> str:
    """The due notifications `n` of a priority to a recipient that nothing blocks."""
    return f"""
        FROM {_NOTIFICATIONS} n
        WHERE {_is_due("n")} AND n.priority = {priority} AND n.recipient = {recipient} AND {_IS_FREE}
    """


def _urgent_rows(priority: str, recipient: str) -> str:
    """The same of high severity: instead of one that is blocked the earlier one `n` that blocks it.

    `n` is a table and not a subquery, because otherwise rows would be locked that are not due. `OFFSET` and `coalesce`
    let the planner find it by its number only.
    """
    return f"""
        FROM {_NOTIFICATIONS} u
        CROSS JOIN LATERAL (
            SELECT coalesce((
                SELECT e.seq FROM {_NOTIFICATIONS} e WHERE {_blocks("e", "u")} AND e.seq < u.seq
                ORDER BY e.seq LIMIT 1), u.seq) AS seq OFFSET 0) first
        JOIN {_NOTIFICATIONS} n ON n.seq = first.seq
        WHERE {_is_due("u")} AND u.priority = {priority} AND u.recipient = {recipient}
            AND coalesce({_is_due("n")}, false) AND {_IS_FREE}
    """


_FEW = 100


def _first_due(state: str) -> str:
    return f"""
        (SELECT n.priority, n.recipient FROM {_NOTIFICATIONS} n
        WHERE {_is_in_state(state)} AND n.not_before <= %(now)s AND {_is_of_sending_home("n")}
        ORDER BY n.not_before LIMIT {_FEW})
    """


def _next_recipient(after: str) -> str:
    """The first recipient of `range` who follows `after` and has due notifications; null if there is none."""
    return f"""
        CASE WHEN (SELECT count(*) FROM few) < {_FEW}
        THEN (SELECT min(few.recipient) FROM few
            WHERE few.priority = range.priority AND few.recipient > {after})
        ELSE (SELECT n.recipient FROM {_NOTIFICATIONS} n
            WHERE {_is_due("n")} AND n.priority = range.priority AND n.recipient > {after}
            ORDER BY n.recipient LIMIT 1) END
    """


# The recipients to whom something can be sent now, in ranges of a priority, in order; without `up_to` a range has no
# end. If only few notifications are due, the index of moments has them, however many are deferred. Otherwise the index
# of the queue yields one recipient with due notifications after the other. Rows that are blocked cost time.
DUE_RECIPIENTS = f"""
WITH few AS MATERIALIZED ({_first_due(PENDING)} UNION ALL {_first_due(UNKNOWN)})
SELECT range.priority, found.recipient
FROM unnest(%(priorities)s::int[], %(after)s::text[], %(up_to)s::text[]) WITH ORDINALITY
    AS range(priority, after, up_to, place)
CROSS JOIN LATERAL (
    WITH RECURSIVE due AS (
        SELECT {_next_recipient("range.after")} AS recipient
        UNION ALL
        SELECT {_next_recipient("due.recipient")} FROM due
        WHERE due.recipient <= coalesce(range.up_to, due.recipient))
    SELECT recipient FROM due
    WHERE recipient <= coalesce(range.up_to, recipient) AND CASE range.priority
        WHEN {Priority.HIGH.value} THEN (
            SELECT true {_urgent_rows("range.priority", "due.recipient")} ORDER BY u.seq LIMIT 1)
        ELSE (SELECT true {_free_rows("range.priority", "due.recipient")} ORDER BY n.seq LIMIT 1) END
    LIMIT %(most)s) found
ORDER BY range.place, found.recipient
"""

# Other workers claim for the same recipients one after the other, because the throttles count their messages.
LOCK_NAMES = "SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(%(names)s::text[]) AS t(name)"

_OF_EACH_RECIPIENT = "unnest(%(recipients)s::text[]) WITH ORDINALITY AS r(recipient, place)"
_IN_TURNS = "ORDER BY row_number() OVER (PARTITION BY r.place ORDER BY n.seq), r.place"

# The oldest due notifications of a priority to each recipient that nothing blocks.
DUE_ROWS = f"""
SELECT {_COLUMNS} FROM {_OF_EACH_RECIPIENT}
CROSS JOIN LATERAL (
    SELECT n.* {_free_rows("%(priority)s", "r.recipient")} ORDER BY n.seq LIMIT %(most)s FOR UPDATE SKIP LOCKED) n
{_WITH_EVENT} {_IN_TURNS}
"""

# The oldest due notifications of high severity to each recipient, or the earlier ones that block them.
URGENT_ROWS = f"""
SELECT {_COLUMNS} FROM {_OF_EACH_RECIPIENT}
CROSS JOIN LATERAL (
    SELECT n.* {_urgent_rows("%(priority)s", "r.recipient")}
    ORDER BY u.seq LIMIT %(most)s FOR UPDATE OF n SKIP LOCKED) n
{_WITH_EVENT} {_IN_TURNS}
"""

# All notifications of a bundle of one home that nothing blocks. Homes do not share digests: a message has the sender
# and the links of one home. Here and in other statements of a claim `+ 0` keeps the planner from an index that has the
# order and all rows.
BUNDLE_ROWS = f"""
SELECT {_COLUMNS} FROM {_NOTIFICATIONS} n {_WITH_EVENT}
WHERE {_is_claimable("n")} AND {_WAITS_FOR_RECIPIENT} AND n.bundle = %(bundle)s AND {_IS_FREE}
ORDER BY n.seq + 0 FOR UPDATE OF n SKIP LOCKED
"""

# Moves what is due in a home for a recipient into a digest. A message of unknown outcome is left out: it keeps its id.
GROUP = f"""
UPDATE {_NOTIFICATIONS} n SET bundle = %(window)s, not_before = %(until)s, longest_wait = %(wait)s
WHERE {_WAITS_FOR_RECIPIENT} AND n.state = '{PENDING}'
    AND n.bundle = '' AND n.not_before <= %(now)s AND (%(source)s::text IS NULL OR n.source = %(source)s)
    AND (SELECT ev.kind FROM {_EVENTS} ev WHERE ev.scope = n.scope AND ev.key = n.event_key) <> ALL(%(exempt)s)
    AND (SELECT true FROM {_ATTEMPTS} a WHERE a.scope = n.scope AND a.notification = n.id
        AND a.outcome || '' = '{Failure.UNKNOWN.value}' LIMIT 1) IS NOT TRUE
RETURNING n.seq
"""
POSTPONE_BUNDLE = f"""
UPDATE {_NOTIFICATIONS} n SET not_before = %(until)s, longest_wait = %(wait)s
WHERE {_WAITS_FOR_RECIPIENT} AND n.state = '{PENDING}' AND n.bundle = %(bundle)s
RETURNING n.seq
"""
# Removes the rows from a throttle's digest that an attempt in progress kept out of its message.
UNGROUP = f"""
UPDATE {_NOTIFICATIONS} n SET bundle = ''
WHERE {_WAITS_FOR_RECIPIENT} AND n.state = '{PENDING}' AND n.bundle = %(bundle)s
"""

ADD_TOTALS = f"""
INSERT INTO {TABLES_SCHEMA}.totals (scope, name, value)
SELECT scope, name, value FROM unnest(%(total_scopes)s::text[], %(total_names)s::text[], %(total_values)s::bigint[])
    AS t(scope, name, value) ORDER BY scope, name
ON CONFLICT (scope, name, shard) DO UPDATE SET value =
    CASE WHEN starts_with(excluded.name, '{LAST_SENT}') THEN excluded.value ELSE totals.value + excluded.value END
"""

CLAIM = f"""
WITH claimed AS (
    SELECT * FROM unnest(%(seqs)s::bigint[], %(scopes)s::text[], %(ids)s::text[], %(bundles)s::text[])
        AS c(seq, scope, id, bundle)),
counted AS ({ADD_TOTALS}),
started AS (
    INSERT INTO {_ATTEMPTS} (scope, notification, started_at, outcome, error, provider_id)
    SELECT scope, id, %(now)s, '{STARTED}', '', '' FROM claimed
    RETURNING seq, scope, notification)
UPDATE {_NOTIFICATIONS} n
SET state = '{SENDING}', worker = %(worker)s, attempt = s.seq, claimed_by = %(name)s, claimed_at = %(now)s,
    bundle = c.bundle
FROM claimed c JOIN started s ON s.scope = c.scope AND s.notification = c.id
WHERE n.seq = c.seq
RETURNING n.seq, n.attempt
"""

COUNT_MESSAGES = f"""
INSERT INTO {TABLES_SCHEMA}.counted_messages (attempt, transport, recipient, bundle, source, at)
SELECT attempt, %(transport)s, recipient, bundle, source, %(now)s
FROM unnest(%(attempts)s::bigint[], %(recipients)s::text[], %(bundles)s::text[], %(sources)s::text[])
    AS m(attempt, recipient, bundle, source)
"""
FORGET_COUNTED = f"""
DELETE FROM {TABLES_SCHEMA}.counted_messages WHERE attempt IN (
    SELECT attempt FROM {TABLES_SCHEMA}.counted_messages WHERE at < %(before)s ORDER BY at LIMIT %(most)s
    FOR UPDATE SKIP LOCKED)
"""
UNCOUNT_MESSAGES = f"DELETE FROM {TABLES_SCHEMA}.counted_messages WHERE attempt = ANY(%(attempts)s)"
COUNTED_TO_RECIPIENTS = f"""
SELECT recipient, transport, bundle, source, at FROM {TABLES_SCHEMA}.counted_messages
WHERE recipient = ANY(%(names)s) AND at > %(since)s ORDER BY at + 0
"""
COUNTED_OF_SOURCES = f"""
SELECT recipient, transport, bundle, source, at FROM {TABLES_SCHEMA}.counted_messages
WHERE source = ANY(%(names)s) AND transport = %(transport)s AND at > %(since)s ORDER BY at + 0
"""

# Only the claim that is still valid may record its outcome. Its row is found by its key, and not by its state: that
# index has an entry of each claim since the last vacuum.
RECORD = f"""
WITH given AS (
    SELECT * FROM unnest(%(attempt)s::bigint[], %(scope)s::text[], %(id)s::text[], %(state)s::text[],
        %(reason)s::text[], %(thread)s::text[], %(until)s::float[], %(wait)s::float[], %(failures)s::bigint[],
        %(refusals)s::bigint[], %(failed_at)s::float[], %(outcome)s::text[], %(error)s::text[],
        %(provider_id)s::text[], %(ended_at)s::float[])
    AS g(attempt, scope, id, state, reason, thread, until, wait, failures, refusals, failed_at, outcome, error,
        provider_id, ended_at)),
marked AS (
    UPDATE {_NOTIFICATIONS} n
    SET state = g.state, reason = g.reason, thread = coalesce(g.thread, n.thread),
        not_before = coalesce(g.until, n.not_before), longest_wait = coalesce(g.wait, n.longest_wait),
        failures = coalesce(g.failures, n.failures), refusals = coalesce(g.refusals, n.refusals),
        first_failed_at = coalesce(g.failed_at, n.first_failed_at),
        worker = NULL, attempt = NULL, claimed_by = NULL, claimed_at = NULL
    FROM (
        SELECT given.*, x.seq FROM given CROSS JOIN LATERAL (
            SELECT seq FROM {_NOTIFICATIONS} WHERE scope = given.scope AND id = given.id LIMIT 1) x) g
    WHERE n.seq = g.seq AND n.attempt = g.attempt AND n.state || '' = '{SENDING}'
    RETURNING g.attempt, n.scope, n.event_key, n.state),
ended AS (
    UPDATE {_ATTEMPTS} a
    SET ended_at = g.ended_at, outcome = g.outcome, error = g.error, provider_id = g.provider_id
    FROM given g JOIN marked m ON m.attempt = g.attempt WHERE a.seq = g.attempt),
changed AS (
    INSERT INTO {TABLES_SCHEMA}.changed_events (scope, key)
    SELECT DISTINCT scope, event_key FROM marked WHERE NOT {UNSENT})
SELECT attempt FROM marked
"""
RECORDED_OUTCOMES = f"SELECT seq, outcome FROM {_ATTEMPTS} WHERE seq = ANY(%(attempts)s)"

POSTPONE = f"""
UPDATE {_NOTIFICATIONS} SET not_before = %(until)s, longest_wait = %(wait)s WHERE seq = %(seq)s
"""
QUARANTINE = f"""
UPDATE {_NOTIFICATIONS} SET state = '{NotificationState.DEAD.value}', reason = %(reason)s, first_failed_at = %(now)s
WHERE seq = %(seq)s
"""

# What ended workers have left behind, and attempts of this worker that ended without an outcome.
RECOVER = f"""
WITH lost AS (
    SELECT n.seq, n.attempt, n.scope FROM {_NOTIFICATIONS} n
    WHERE n.state = '{SENDING}' AND ((n.worker = %(worker)s AND NOT n.attempt = ANY(%(in_flight)s))
        OR NOT EXISTS (SELECT 1 FROM {TABLES_SCHEMA}.workers w WHERE w.id = n.worker AND w.ended_at IS NULL))
    ORDER BY n.seq FOR UPDATE SKIP LOCKED),
marked AS (
    UPDATE {_NOTIFICATIONS} n
    SET state = '{UNKNOWN}', reason = %(reason)s, worker = NULL, attempt = NULL, claimed_by = NULL, claimed_at = NULL
    FROM lost WHERE n.seq = lost.seq),
ended AS (
    UPDATE {_ATTEMPTS} a SET ended_at = %(now)s, outcome = '{Failure.UNKNOWN.value}', error = %(error)s
    FROM lost WHERE a.seq = lost.attempt AND a.outcome = '{STARTED}')
SELECT scope FROM lost
"""


def _first_moment(condition: str) -> str:
    """The earliest `not_before` of what can be claimed and meets `condition`.

    One search in the index for each state: together they would read everything that is deferred.
    """
    first = f"""
        (SELECT n.not_before FROM {_NOTIFICATIONS} n
        WHERE {{in_state}} AND {_is_of_sending_home("n")} AND {condition}
        ORDER BY n.not_before LIMIT 1)
    """
    pending = first.format(in_state=_is_in_state(PENDING))
    unknown = first.format(in_state=f"{_is_in_state(UNKNOWN)} AND %(resend)s")
    return f"least({pending}, {unknown})"


ANY_CLAIMABLE = f"SELECT {_first_moment(f'n.not_before <= %(now)s AND {_IS_FREE}')} IS NOT NULL"
NEXT_MOMENT = f"SELECT {_first_moment('n.not_before > %(now)s')}"
THREAD = f"""
SELECT thread FROM {_NOTIFICATIONS}
WHERE scope = %(scope)s AND entity = %(entity)s AND recipient = %(recipient)s AND transport = %(transport)s
    AND bundle = '' AND thread <> ''
ORDER BY seq DESC LIMIT 1
"""
