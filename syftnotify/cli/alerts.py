"""`notify alerts`: who hears how the runs of some jobs end, kept beside the history and not in the configuration."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import replace

from syftnotify.cli.console import emit_line, say, warn
from syftnotify.cli.letters import outbox_of
from syftnotify.config.schema import Webhook
from syftnotify.config.values import glob
from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.identifiers import is_address
from syftnotify.core.models import AlertRule
from syftnotify.core.text import escape, hostname, iso
from syftnotify.runtime.container import alert_warning, alert_webhook, load_listing_all
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home


def add(home: Home, rule: AlertRule) -> None:
    """Keep `rule`, with an id and a moment of its own.

    Raises:
        ConfigError: it is about no jobs, about no way in which they end, or its target is none.
    """
    check_home(home)
    if bool(rule.job) == bool(rule.tag):
        raise ConfigError("the jobs are missing or ambiguous", hint="pass either --job or --tag")
    try:
        glob(rule.job or rule.tag)
    except ValueError as error:
        raise ConfigError(f"{'--job' if rule.job else '--tag'}: {error}") from None
    minutes = rule.on_long_run_minutes
    if minutes is not None and not 0 < minutes < 1e6:
        raise ConfigError("--on-long-run-minutes is a number above 0")
    if not (rule.on_failure or rule.on_timeout or rule.on_success or minutes):
        raise ConfigError("this rule would never alert anybody", hint="enable one of its conditions")
    _check_target(home, rule)
    home.create()
    outbox = SqliteOutbox(home.outbox, repair=False)
    try:
        kept = replace(rule, id=uuid.uuid4().hex[:12], created_at=time.time())
        outbox.alert_rules.add(kept)
    finally:
        outbox.close()
    say(f"{kept.id}  {_sentence(kept)}")


def show(home: Home, *, about: str, as_json: bool) -> None:
    """Print the rules, or those whose `--job` or `--tag` was typed as `about`."""
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
    """Forget the rule whose id begins with `name`.

    Raises:
        NotifyError: none does, or several do.
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


def _check_target(home: Home, rule: AlertRule) -> None:
    if is_address(rule.target):
        if not load_listing_all(home).mailer:
            raise ConfigError("no transport can send mail", hint="add one of type gmail, smtp or maildir")
        return
    if rule.has_url:
        try:
            alert_webhook(rule.target)
        except ValueError:
            raise ConfigError("the target is no address such as https://hooks.example/x") from None
        if warning := alert_warning(rule):
            warn(f"{warning}; use an https:// address")
        return
    transports = load_listing_all(home).config.transports
    if not isinstance(transports.get(rule.target), Webhook):
        names = [name for name, section in transports.items() if isinstance(section, Webhook)]
        raise ConfigError(
            f"{escape(rule.target)!r} is no transport of type webhook",
            hint=f"there are {', '.join(names)}" if names else "give its address: https://hooks.example/x",
        )


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
