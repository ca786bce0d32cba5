"""Alert rules in the database of the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path

import sqlalchemy as sa

from syftnotify.core.models import AlertRule
from syftnotify.store.outbox.alert_targets import AlertTargets
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.schema import ALERTS

# A rule is deleted after its job was absent for this time, because most trees that disappear come back.
JOB_GONE_SECONDS = 86400.0
_ALL = sa.select(*(ALERTS.c[item.name] for item in fields(AlertRule))).order_by(ALERTS.c.created_at, ALERTS.c.id)
_PLAIN_TEXT = CompiledStatement(sa.select(ALERTS.c.id).where(ALERTS.c.target.contains("://")).limit(1))


class AlertRuleStore:
    """Implements `core.outbox.AlertRuleStore`."""

    def __init__(self, database: Database, targets: AlertTargets, *, file: Path | None = None) -> None:
        """`file` is an SQLite database in which earlier versions may have stored URLs as plain text."""
        self._database = database
        self._targets = targets
        self._file = file
        self.unreadable: list[str] = []

    def add(self, rule: AlertRule) -> None:
        self.encrypt_stored()
        row = asdict(rule) | {"target": self._targets.encrypt(rule.target)}
        with self._database.writing() as connection:
            connection.execute(ALERTS.insert(), [row])

    def all(self) -> list[AlertRule]:
        with self._database.reading() as connection:
            stored = [AlertRule(*row) for row in connection.execute(_ALL)]
        rules = [replace(rule, target=self._targets.decrypt(rule.target)) for rule in stored]
        self.unreadable = [rule.id for rule in rules if not rule.target]
        return rules

    def remove(self, rule_id: str) -> None:
        with self._database.writing() as connection:
            connection.execute(ALERTS.delete().where(ALERTS.c.id == rule_id))

    def expire(self, is_present: Mapping[str, bool], now: float) -> list[str]:
        with self._database.writing() as connection:
            rows = connection.execute(sa.select(ALERTS.c.id, ALERTS.c.gone_at)).all()
            gone_at = {row.id: row.gone_at for row in rows if row.id in is_present}
            for rule_id, since in gone_at.items():
                moment = 0.0 if is_present[rule_id] else now if since == 0.0 else since
                if moment != since:
                    connection.execute(ALERTS.update().where(ALERTS.c.id == rule_id).values(gone_at=moment))
            expired = [
                rule_id
                for rule_id, since in gone_at.items()
                if since and now - since >= JOB_GONE_SECONDS and not is_present[rule_id]
            ]
            connection.execute(ALERTS.delete().where(ALERTS.c.id.in_(expired)))
        return expired

    def encrypt_stored(self) -> None:
        """Encrypt the URLs that an earlier version stored as plain text."""
        if self._file is None:
            return
        with self._database.reading() as connection:
            if _PLAIN_TEXT.first(connection, {}) is None:
                return
        self._targets.encrypt_stored(self._file)
