"""URLs of alert rules are stored encrypted."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from syftnotify.core.models import AlertRule
from syftnotify.store.outbox.store import SqliteOutbox


def test_alert_rule_url_is_stored_encrypted(outbox: SqliteOutbox, tmp_path: Path) -> None:
    """C12"""
    rule = AlertRule(id="a", target="https://hooks.example/secret-path", job="x")
    outbox.alert_rules.add(rule)

    assert outbox.alert_rules.all() == [rule]
    files = [path for path in tmp_path.iterdir() if path.name.startswith("outbox.db")]
    assert files
    assert not [path for path in files if b"secret-path" in path.read_bytes()]


@pytest.mark.parametrize("content", [None, Fernet.generate_key(), b"no key"], ids=["gone", "another", "garbage"])
def test_alert_rule_whose_key_is_lost_stays_and_others_work(
    outbox: SqliteOutbox, tmp_path: Path, content: bytes | None
) -> None:
    """C12: it works again when the key is restored."""
    outbox.alert_rules.add(AlertRule(id="a", target="https://hooks.example/x", job="x", created_at=1.0))
    outbox.alert_rules.add(AlertRule(id="b", target="bo@lab.example", job="x", created_at=2.0))
    key = tmp_path / "secret.key"
    before = key.read_bytes()
    key.unlink()
    if content is not None:
        key.write_bytes(content)

    with contextlib.closing(SqliteOutbox(tmp_path / "outbox.db", repair=False)) as reopened:
        assert [(rule.id, rule.target) for rule in reopened.alert_rules.all()] == [("a", ""), ("b", "bo@lab.example")]
        assert reopened.alert_rules.unreadable == ["a"]
        key.write_bytes(before)
        assert [rule.target for rule in reopened.alert_rules.all()] == ["https://hooks.example/x", "bo@lab.example"]
        assert reopened.alert_rules.unreadable == []
