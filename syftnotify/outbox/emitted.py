"""The table of emitted jobs: reading and changing it within a transaction of the outbox."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa

from syftnotify.emitted_jobs import FORGOTTEN_SECONDS, Changes, EmittedJob
from syftnotify.outbox.tables import EMITTED_JOBS, heaps

_JOBS = sa.select(EMITTED_JOBS)
_STARTED = _JOBS.where(EMITTED_JOBS.c.started_at.is_not(None)).order_by(EMITTED_JOBS.c.entity)


def find(connection: sa.Connection, entities: Collection[str]) -> Iterator[EmittedJob]:
    """Those of `entities` that are remembered."""
    for some in heaps(sorted(entities)):
        for row in connection.execute(_JOBS.where(EMITTED_JOBS.c.entity.in_(some))):
            yield _job(row)


def started(connection: sa.Connection) -> list[EmittedJob]:
    """Every job that has started and not ended."""
    return [_job(row) for row in connection.execute(_STARTED)]


def change(connection: sa.Connection, changes: Changes, now: float) -> None:
    """Write `changes`, and forget jobs without an event for very long."""
    for some in heaps(sorted(changes)):
        connection.execute(EMITTED_JOBS.delete().where(EMITTED_JOBS.c.entity.in_(some)))
    rows = [
        {
            "entity": job.entity,
            "payload": dict(job.payload),
            "routing": dict(job.routing),
            "started_at": job.started_at,
            "occurrence": job.occurrence,
            "reminded": list(job.reminded),
            "changed_at": now,
        }
        for job in changes.values()
        if job is not None
    ]
    if rows:
        connection.execute(EMITTED_JOBS.insert(), rows)
    connection.execute(EMITTED_JOBS.delete().where(EMITTED_JOBS.c.changed_at < now - FORGOTTEN_SECONDS))


def _job(row: Any) -> EmittedJob:
    return EmittedJob(row.entity, row.payload, row.routing, row.started_at, row.occurrence, tuple(row.reminded))
