"""Store contract: alert rules."""

from __future__ import annotations

from syftnotify.core.models import AlertRule
from syftnotify.core.outbox import OutboxStore
from tests.integration.store_contract.stores import OpenOutbox
from tests.support import ANA


def test_alert_rules_are_stored_oldest_first_until_removed(outbox: OutboxStore, open_outbox: OpenOutbox) -> None:
    targets = ("https://hooks.example/secret-path", "bo@lab.example", "oncall")
    rules = [
        AlertRule(id=target[:5], target=target, job="x", created_at=float(at)) for at, target in enumerate(targets)
    ]
    for rule in rules:
        outbox.alert_rules.add(rule)

    reopened = open_outbox()
    assert reopened.alert_rules.all() == rules
    reopened.alert_rules.remove(rules[1].id)
    assert outbox.alert_rules.all() == [rules[0], rules[2]]


def test_alert_rule_of_a_job_absent_for_a_day_expires(outbox: OutboxStore) -> None:
    """A rule whose job was never present is kept, and so is one that is not in the argument."""
    for rule_id in ("present", "absent", "never", "other"):
        outbox.alert_rules.add(AlertRule(id=rule_id, target=ANA, job=f"job/{rule_id}"))
    presence = {"present": True, "absent": False, "never": False}

    assert outbox.alert_rules.expire({**presence, "absent": True}, 900.0) == []
    assert outbox.alert_rules.expire(presence, 1000.0) == []
    assert outbox.alert_rules.expire(presence, 1000.0 + 86399.0) == []
    assert outbox.alert_rules.expire(presence, 1000.0 + 86400.0) == ["absent"]
    assert {rule.id for rule in outbox.alert_rules.all()} == {"present", "never", "other"}
