"""The table of emitted jobs."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from syftnotify.core.emitted_jobs import EXPIRY_SECONDS, EmittedJob, EmittedJobChanges
from syftnotify.core.text import escape
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import chunks
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.inserts import Upsert
from syftnotify.store.outbox.rows import dump_json
from syftnotify.store.outbox.schema import EMITTED_JOBS

log = logging.getLogger(__name__)

_STORE = Upsert(
    EMITTED_JOBS, ["entity"], lambda new: {each.name: new[each.name] for each in EMITTED_JOBS.c if not each.primary_key}
)
_STARTED = CompiledStatement(
    sa.select(EMITTED_JOBS).where(EMITTED_JOBS.c.started_at.is_not(None)).order_by(EMITTED_JOBS.c.entity)
)


class EmittedJobStore:
    """Implements `core.outbox.EmittedJobStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, entities: Collection[str]) -> dict[str, EmittedJob]:
        found: dict[str, EmittedJob] = {}
        with self._database.reading() as connection:
            for some in chunks(sorted(entities)):
                for row in connection.execute(sa.select(EMITTED_JOBS).where(EMITTED_JOBS.c.entity.in_(some))):
                    if job := _job(row):
                        found[job.entity] = job
        return found

    def started(self) -> list[EmittedJob]:
        with self._database.reading() as connection:
            return [job for row in _STARTED.all(connection) if (job := _job(row))]


def change_emitted_jobs(connection: sa.Connection, changes: EmittedJobChanges, now: float) -> None:
    """Write `changes`, and delete jobs that had no event for `EXPIRY_SECONDS`."""
    for some in chunks(sorted(entity for entity, job in changes.items() if job is None)):
        connection.execute(EMITTED_JOBS.delete().where(EMITTED_JOBS.c.entity.in_(some)))
    rows = [
        {
            "entity": job.entity,
            "payload": dump_json(dict(job.payload)),
            "routing": dump_json(dict(job.routing)),
            "started_at": job.started_at,
            "occurrence": job.occurrence,
            "reminded": dump_json(list(job.reminded)),
            "changed_at": now,
        }
        for job in changes.values()
        if job is not None
    ]
    if rows:
        _STORE.execute(connection, sorted(rows, key=lambda row: str(row["entity"])))
    connection.execute(EMITTED_JOBS.delete().where(EMITTED_JOBS.c.changed_at < now - EXPIRY_SECONDS))


def _job(row: Any) -> EmittedJob | None:
    """The job of a row; None, with a log entry, if the row is not valid."""
    try:
        payload, routing, reminded = map(json.loads, (row.payload, row.routing, row.reminded))
        started_at = None if row.started_at is None else float(row.started_at)
        return EmittedJob(row.entity, dict(payload), dict(routing), started_at, row.occurrence, tuple(reminded))
    except (ValueError, TypeError, RecursionError) as error:
        log.error(
            "the stored options of emitted job %s are not valid (%s) and are ignored", escape(str(row.entity)), error
        )
        return None
