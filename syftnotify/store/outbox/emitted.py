"""The table of emitted jobs: reading and changing it within a transaction of the outbox."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa

from syftnotify.core.emitted_jobs import FORGOTTEN_SECONDS, EmittedJob, JobChanges
from syftnotify.core.text import escape
from syftnotify.store.outbox.tables import EMITTED_JOBS, heaps

log = logging.getLogger(__name__)

# As it is stored: a row that is not valid must not keep the others from being read.
_JOBS = sa.select(
    *(column for column in EMITTED_JOBS.c if not isinstance(column.type, sa.JSON)),
    *(
        sa.type_coerce(column, sa.Text).label(column.name)
        for column in EMITTED_JOBS.c
        if isinstance(column.type, sa.JSON)
    ),
)
_STARTED = _JOBS.where(EMITTED_JOBS.c.started_at.is_not(None)).order_by(EMITTED_JOBS.c.entity)


def find(connection: sa.Connection, entities: Collection[str]) -> Iterator[EmittedJob]:
    """Those of `entities` that are remembered."""
    for some in heaps(sorted(entities)):
        for row in connection.execute(_JOBS.where(EMITTED_JOBS.c.entity.in_(some))):
            if job := _job(row):
                yield job


def started(connection: sa.Connection) -> list[EmittedJob]:
    """Every job that has started and not ended."""
    return [job for row in connection.execute(_STARTED) if (job := _job(row))]


def change(connection: sa.Connection, changes: JobChanges, now: float) -> None:
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


def _job(row: Any) -> EmittedJob | None:
    """The job of a row; None with an entry in the log for one that is not valid: its options are lost."""
    try:
        payload, routing, reminded = map(json.loads, (row.payload, row.routing, row.reminded))
        started_at = None if row.started_at is None else float(row.started_at)
        return EmittedJob(row.entity, dict(payload), dict(routing), started_at, row.occurrence, tuple(reminded))
    except (ValueError, TypeError, RecursionError) as error:
        log.error("what is remembered of job %s is not valid (%s) and is ignored", escape(str(row.entity)), error)
        return None
