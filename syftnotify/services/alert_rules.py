"""Alert rules: who is notified of how runs of some jobs end. They are kept in the outbox, not in the configuration."""

from __future__ import annotations

import time
import uuid
from contextlib import closing
from dataclasses import replace

from syftnotify.config.values import valid_glob
from syftnotify.core.errors import ConfigError
from syftnotify.core.identifiers import AddressType, is_address
from syftnotify.core.models import AlertRule
from syftnotify.core.text import escape
from syftnotify.services.settings import load_reporting_all
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system.paths import Home
from syftnotify.transports.registry import TRANSPORT_TYPES
from syftnotify.transports.webhook.alert_targets import settings_for_url, target_warning


def check_rule(home: Home, rule: AlertRule) -> str:
    """Check a new rule; returns a warning, empty if there is none.

    Raises:
        ConfigError: its jobs, its conditions or its target are wrong.
    """
    if bool(rule.job) == bool(rule.tag):
        raise ConfigError("the jobs are missing or ambiguous", hint="pass either --job or --tag")
    try:
        valid_glob(rule.job or rule.tag)
    except ValueError as error:
        raise ConfigError(f"{'--job' if rule.job else '--tag'}: {error}") from None
    minutes = rule.on_long_run_minutes
    if minutes is not None and not 0 < minutes < 1e6:
        raise ConfigError("--on-long-run-minutes is a number above 0")
    if not (rule.on_failure or rule.on_timeout or rule.on_success or minutes):
        raise ConfigError("this rule would never alert anybody", hint="enable one of its conditions")
    return _check_target(home, rule)


def add_rule(home: Home, rule: AlertRule) -> AlertRule:
    """Save a checked rule; returns it with its id and creation time."""
    home.create()
    saved = replace(rule, id=uuid.uuid4().hex[:12], created_at=time.time())
    with closing(SqliteOutbox(home.outbox, repair=False)) as outbox:
        outbox.alert_rules.add(saved)
    return saved


def _check_target(home: Home, rule: AlertRule) -> str:
    if rule.has_url:
        try:
            settings_for_url(rule.target)
        except ValueError:
            raise ConfigError("the target is no address such as https://hooks.example/x") from None
        warning = target_warning(rule)
        return f"{warning}; use an https:// address" if warning else ""
    settings = load_reporting_all(home)
    if is_address(rule.target):
        if not settings.default_mail_transport:
            raise ConfigError("no transport can send mail", hint=f"add one of type {_types(AddressType.MAIL)}")
        return ""
    endpoints = [
        name for name, section in settings.config.transports.items() if section.address_type is AddressType.ENDPOINT
    ]
    if rule.target not in endpoints:
        raise ConfigError(
            f"{escape(rule.target)!r} is no transport of type {_types(AddressType.ENDPOINT)}",
            hint=f"there are {', '.join(endpoints)}" if endpoints else "give its address: https://hooks.example/x",
        )
    return ""


def _types(address_type: AddressType) -> str:
    """The transport types with these addresses, as a list in words."""
    *others, last = [name for name, settings in TRANSPORT_TYPES.items() if settings.address_type is address_type]
    return f"{', '.join(others)} or {last}" if others else last
