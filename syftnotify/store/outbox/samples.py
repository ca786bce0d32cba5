"""Samples of the state of the queues, in the database of the outbox."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from syftnotify.core.metrics import Sample
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.inserts import insert_new
from syftnotify.store.outbox.schema import SAMPLES


class SampleStore:
    """Implements `core.metrics.SampleStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, sample: Sample, keep_since: float) -> None:
        with self._database.writing() as connection:
            connection.execute(SAMPLES.delete().where(SAMPLES.c.at < keep_since))
            connection.execute(insert_new(SAMPLES), asdict(sample))

    def since(self, moment: float) -> list[Sample]:
        columns = (SAMPLES.c.at, SAMPLES.c.sent, SAMPLES.c.failed, SAMPLES.c.waiting, SAMPLES.c.oldest_age)
        query = sa.select(*columns).where(SAMPLES.c.at >= moment).order_by(SAMPLES.c.at)
        with self._database.reading() as connection:
            return [Sample(*row) for row in connection.execute(query)]
