"""Checks of the database that several workers share."""

from __future__ import annotations

from collections.abc import Iterator

from syftnotify.core.cluster import DatabaseFacts, differing_transports, unserved_transports
from syftnotify.core.errors import NotifyError
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import escape, plural
from syftnotify.services.doctor.access import StateAccess
from syftnotify.services.doctor.findings import Finding, Level, graded
from syftnotify.transports.webhook.alert_targets import settings_of_targets

OLDEST_SERVER = 14
_CLOCK_SECONDS = 5.0
_TRANSACTION_SECONDS = 300.0
_FREE_CONNECTIONS = 10


def check_database(state: StateAccess) -> Iterator[Finding]:
    """The server, the tables, the clock, the connections, the oldest transaction, and what was not copied."""
    try:
        facts = state.database_facts()
    except NotifyError as error:
        yield Finding("database", Level.FAIL, str(error), error.hint)
        return
    if facts is None:
        return
    yield from check_facts(facts)
    try:
        state.require_copied()
    except NotifyError as error:
        yield Finding("outbox.db", Level.FAIL, str(error), error.hint)


def check_facts(facts: DatabaseFacts) -> Iterator[Finding]:
    """What is wrong with a database, and what is not."""
    is_old = facts.server_number < OLDEST_SERVER * 10_000
    yield graded(
        "database",
        Level.FAIL if is_old else Level.PASS,
        f"PostgreSQL {escape(facts.server_version)} at {escape(facts.name)}",
        f"upgrade the server to PostgreSQL {OLDEST_SERVER} or newer",
    )
    if facts.is_standby:
        advice = "name the primary in `database`, or all servers and `target_session_attrs=read-write`"
        yield Finding("database", Level.FAIL, "the server is a read-only standby", advice)
    yield _tables(facts)
    seconds = abs(facts.clock_difference)
    yield graded(
        "database clock",
        Level.WARN if seconds > _CLOCK_SECONDS else Level.PASS,
        f"this machine's clock differs from the server's by {seconds:.1f} s",
        "correct the clocks, for example with NTP; workers use that of the server",
    )
    free = facts.max_connections - facts.connections
    pooled = "; through a pooler such as pgbouncer, so workers poll for new messages" if facts.is_pooled else ""
    yield graded(
        "database connections",
        Level.WARN if free < _FREE_CONNECTIONS else Level.PASS,
        f"{facts.connections} of {facts.max_connections} in use{pooled}",
        "raise `max_connections`, or use a pooler; each worker, and each `notify serve`, uses up to 21",
    )
    yield graded(
        "database transactions",
        Level.WARN if facts.oldest_transaction > _TRANSACTION_SECONDS else Level.PASS,
        f"the oldest one has run for {facts.oldest_transaction:.0f} s"
        f"{'' if facts.sees_all_users else '; those of other users cannot be seen without the role pg_read_all_stats'}",
        "while it runs, live streams wait and no space is freed: find it in pg_stat_activity, and end it by SELECT "
        "pg_terminate_backend(PID)",
    )


def check_workers(outbox: OutboxStore) -> Iterator[Finding]:
    """Whether what waits is delivered by a running worker, and the workers agree about their transports."""
    if outbox.cluster is None:
        return
    workers = outbox.cluster.workers()
    depths = {queue.transport: queue.waiting for queue in outbox.history.metrics().queues}
    if not any(worker.delivers for worker in workers):
        if workers and any(depths.values()):  # otherwise the check of the worker reports that none runs
            waiting = plural(sum(depths.values()), "notification waits", "notifications wait")
            advice = "run `notify run --deliver-only`, or a worker without `--scan-only`"
            yield Finding("delivery", Level.WARN, f"{waiting}, and no running worker delivers", advice)
        return
    of_alerts = settings_of_targets(outbox.alert_rules.all())
    for_alerts = sum(depths.pop(name, 0) for name in of_alerts)
    if for_alerts and not any(worker.delivers and worker.scope == outbox.cluster.scope for worker in workers):
        waiting = plural(for_alerts, "notification waits", "notifications wait")
        advice = "start one: the URLs are encrypted with the key of this home"
        text = f"{waiting} for the URL of a rule, and no worker of this home delivers"
        yield Finding("alert rules", Level.WARN, text, advice)
    for name in unserved_transports(workers, depths):
        waiting = plural(depths[name], "notification waits", "notifications wait")
        text = f"{waiting} for it, and no running worker delivers through it"
        advice = "start a worker whose configuration has a transport of that name"
        yield Finding(f"transport {escape(name)}", Level.WARN, text, advice)
    for name, scopes in differing_transports(workers).items():
        text = f"the homes of {', '.join(map(escape, scopes))} give it different settings"
        advice = "each of them sends what waits for it; rename it in all but one home, unless that is intended"
        yield Finding(f"transport {escape(name)}", Level.WARN, text, advice)


def _tables(facts: DatabaseFacts) -> Finding:
    if not facts.can_write:
        advice = (
            "as their owner: GRANT USAGE ON SCHEMA syftnotify, syftnotify_scope TO USER_NAME; GRANT SELECT, INSERT, "
            "UPDATE, DELETE ON ALL TABLES IN SCHEMA syftnotify, syftnotify_scope TO USER_NAME"
        )
        if not facts.schema_version:
            advice = f"if there are none, run `notify db migrate` as the owner of the database; otherwise, {advice}"
        return Finding("database tables", Level.FAIL, "they cannot be written", advice)
    if facts.schema_version < facts.needed_version:
        found = f"version {facts.schema_version}" if facts.schema_version else "there are none"
        return Finding(
            "database tables", Level.WARN, found, f"run `notify db migrate` for version {facts.needed_version}"
        )
    return Finding("database tables", Level.PASS, f"version {facts.schema_version}")
