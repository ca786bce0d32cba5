"""`notify alerts`: add, list and remove alert rules."""

from __future__ import annotations

import json

from syftnotify.cli.console import emit_line, say, warn
from syftnotify.cli.letters import outbox_of
from syftnotify.core.errors import NotifyError
from syftnotify.core.identifiers import is_address
from syftnotify.core.models import AlertRule
from syftnotify.core.text import escape, hostname, iso
from syftnotify.services.alert_rules import add_rule, check_rule
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home


def add(home: Home, rule: AlertRule) -> None:
    """Save `rule` under a new id.

    Raises:
        ConfigError: its jobs, its conditions or its target are wrong.
    """
    check_home(home)
    if warning := check_rule(home, rule):
        warn(warning)
    saved = add_rule(home, rule)
    say(f"{saved.id}  {_sentence(saved)}")


def show(home: Home, *, about: str, as_json: bool) -> None:
    """Print the rules, or those whose job pattern or tag is `about`."""
    with outbox_of(home) as outbox:
        known = outbox.alert_rules.all() if outbox else []
    rules = [rule for rule in known if not about or about in {rule.job, rule.tag}]
    if as_json:
        emit_line(json.dumps([_object(rule) for rule in rules]))
        return
    for rule in rules:
        say(f"{rule.id}  {_sentence(rule)}")
    if not rules:
        say("no alert rules; add one with `notify alerts add`")


def remove(home: Home, name: str) -> None:
    """Remove the rule whose id begins with `name`.

    Raises:
        NotifyError: there is none, or several.
    """
    with outbox_of(home) as outbox:
        known = outbox.alert_rules.all() if outbox else []
        found = [rule for rule in known if name and rule.id.startswith(name.lower())]
        if len(found) != 1:
            many = f"{len(found)} alert rules begin" if found else "no alert rule begins"
            raise NotifyError(f"{many} with {escape(name)!r}", hint="`notify alerts list` shows the ids")
        if outbox:
            outbox.alert_rules.remove(found[0].id)
    say(f"removed {found[0].id}")


def _target(rule: AlertRule) -> str:
    if not rule.target:
        return "an address that cannot be decrypted; restore secret.key, or remove the rule and add it again"
    if rule.has_url:
        return f"the webhook at {escape(hostname(rule.target))} ({rule.endpoint})"
    return escape(rule.target)


def _sentence(rule: AlertRule) -> str:
    minutes = rule.on_long_run_minutes
    when = [
        word
        for word, is_wanted in (
            ("failed", rule.on_failure),
            ("timed out", rule.on_timeout),
            ("completed", rule.on_success),
            (f"running for {minutes:g} minutes" if minutes else "", bool(minutes)),
        )
        if is_wanted
    ]
    what = f"job {escape(rule.job)}" if rule.job else f"jobs tagged {escape(rule.tag)}"
    return f"{what} {', '.join(when)} -> {_target(rule)}"


def _object(rule: AlertRule) -> dict[str, object]:
    return {
        "id": rule.id,
        "job": rule.job or None,
        "tag": rule.tag or None,
        "alert_type": "email" if is_address(rule.target) else "webhook",
        "target": hostname(rule.target) if rule.has_url else rule.target or None,
        "on_failure": rule.on_failure,
        "on_timeout": rule.on_timeout,
        "on_success": rule.on_success,
        "on_long_run_minutes": rule.on_long_run_minutes,
        "created_at": iso(rule.created_at),
    }
