"""Checks of the worker, of its locks, and of the ledger and the outbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from syftnotify.config.load import Settings
from syftnotify.core.errors import StateError
from syftnotify.core.outbox import OutboxCounts
from syftnotify.core.text import escape, plural
from syftnotify.services.doctor.access import StateAccess
from syftnotify.services.doctor.database import check_workers
from syftnotify.services.doctor.findings import Finding, Level
from syftnotify.services.doctor.transports import check_alert_targets, check_quota
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.locks import supports_locks
from syftnotify.system.paths import Home

_DAY = 86400.0


def check_locks(home: Home, clock: Callable[[], float]) -> Iterator[Finding]:
    """Whether file locks work, and if so, the worker that holds one."""
    if not home.root.is_dir():
        return
    if supports_locks(home.root):
        yield Finding("lock", Level.PASS, "file locks work")
        yield from _check_worker(home, clock)
    else:
        text = f"file locks do not work in {home.root}"
        yield Finding("lock", Level.FAIL, text, "use a `--home` on a local disk")


def _check_worker(home: Home, clock: Callable[[], float]) -> Iterator[Finding]:
    if not worker_lock.is_held(home):
        yield Finding("worker", Level.WARN, "not running", "run `notify start`, or `notify ensure` from cron")
        return
    problems = worker_status.health_problems(
        worker_status.read(home), clock(), lock_lost=worker_lock.is_lock_lost(home)
    )
    for problem in problems:
        yield Finding("worker", Level.WARN, f"unhealthy: {problem}", "run `notify logs --level warning` for details")
    if not problems:
        yield Finding("worker", Level.PASS, f"running (pid {worker_lock.holder_pid(home)})")


def check_ledger(home: Home, state: StateAccess) -> Iterator[Finding]:
    if not home.state.is_file():
        return
    if problem := state.ledger_problem():
        yield Finding("state", Level.FAIL, problem, "run `notify restart`, which restores the last good copy")
    else:
        yield Finding("state", Level.PASS, f"{home.state.name} is intact")


def check_outbox(
    home: Home, settings: Settings | None, state: StateAccess, clock: Callable[[], float]
) -> Iterator[Finding]:
    """The database, the alert rules in it, dead letters, and the messages of the last day."""
    is_shared = settings is not None and settings.config.database is not None
    if not (is_shared or home.outbox.is_file()):
        return
    try:
        with state.open_outbox() as outbox:
            if outbox is None:
                return
            corruption = outbox.check()
            counts = outbox.history.counts(holding=settings.holding if settings else ())
            sent_today = len(outbox.history.sent_since(clock() - _DAY))
            rules = outbox.alert_rules.all()
            of_workers = list(check_workers(outbox))
    except StateError as error:
        yield Finding("outbox", Level.FAIL, str(error), error.hint)
        return
    yield from of_workers
    yield from check_alert_targets(home, settings, rules)
    yield _check_database("the outbox" if is_shared else home.outbox.name, corruption, counts)
    if counts.dead or counts.held:
        text = f"{plural(counts.dead, 'dead letter')}, {counts.held} held"
        advice = "run `notify dead-letters` for the list, `notify resend --all-dead` to send them again"
        yield Finding("outbox", Level.WARN, text, advice)
    if settings is not None:
        yield from check_quota(settings, sent_today)


def _check_database(name: str, corruption: str, counts: OutboxCounts) -> Finding:
    if corruption:
        return Finding("outbox", Level.FAIL, f"{name} is damaged: {escape(corruption)}", "run `notify restart`")
    withheld = f", {counts.withheld} withheld" if counts.withheld else ""
    numbers = f"{counts.waiting} waiting, {counts.sent} sent, {counts.unknown} of unknown outcome{withheld}"
    return Finding("outbox", Level.PASS, f"{name} is intact; {numbers}")
