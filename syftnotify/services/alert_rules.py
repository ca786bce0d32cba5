"""Alert rules: recipients of alerts about runs of some jobs. They are stored in the outbox, not in `config.yaml`."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace

from syftnotify.config.load import Settings
from syftnotify.config.transport import mail_types
from syftnotify.config.values import valid_glob
from syftnotify.core.errors import ConfigError, ConflictError, NotFoundError
from syftnotify.core.identifiers import AddressType, is_address
from syftnotify.core.matching import is_like, literal
from syftnotify.core.models import AlertRule
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import escape, hostname, listed
from syftnotify.services.arguments import by_id_prefix
from syftnotify.services.jobs import job_name
from syftnotify.services.settings import load_reporting_all
from syftnotify.system.paths import Home
from syftnotify.transports.registry import TRANSPORT_TYPES
from syftnotify.transports.webhook.alert_targets import settings_for_url, target_warning

MAX_MINUTES = 1_000_000  # almost two years
_LOOKUP_SECONDS = 5.0
_EXAMPLE_URL = "https://hooks.example/x"


@dataclass(frozen=True, slots=True)
class RuleOptions:
    """A rule as a user enters it: one of `job` and `tag`, one of `email` and `webhook`."""

    job: str = ""  # name, entity or pattern
    tag: str = ""  # tag or pattern
    email: str = ""
    webhook: str = ""  # name of a webhook transport, or a URL
    on_failure: bool = True
    on_timeout: bool = True
    on_success: bool = False
    on_long_run_minutes: float | None = None


@dataclass(frozen=True, slots=True)
class NewRule:
    """A valid rule that is not saved yet."""

    rule: AlertRule
    warning: str = ""  # about secrets in its target


def create_rule(home: Home, options: RuleOptions) -> NewRule:
    """Make a rule with a new id from `options`.

    Raises:
        ConfigError: its jobs, its conditions or its target are wrong.
    """
    target = _target(options)
    _check_jobs(options)
    _check_conditions(options)
    rule = AlertRule(
        id=uuid.uuid4().hex[:12],
        target=target,
        job=options.job,
        tag=options.tag,
        on_failure=options.on_failure,
        on_timeout=options.on_timeout,
        on_success=options.on_success,
        on_long_run_minutes=options.on_long_run_minutes,
        created_at=time.time(),
    )
    return NewRule(rule, _check_target(home, rule))


def create_page_rule(settings: Settings, options: RuleOptions) -> NewRule:
    """Like `create_rule`, for a rule that was entered in the page; its target is restricted as in `add_api_rule`.

    Raises:
        ConfigError: as `create_rule`, or its URL leads into a private network.
    """
    new = create_rule(settings.home, options)
    rule = replace(new.rule, public_only=_is_public_only(settings))
    _check_public(rule)
    return replace(new, rule=rule)


def _is_public_only(settings: Settings) -> bool:
    return not (settings.config.serve and settings.config.serve.allow_private_targets)


def _check_public(rule: AlertRule) -> None:
    if rule.has_url and rule.public_only and _has_private_address(rule.target):
        raise ConfigError(
            f"target: {hostname(rule.target)} has an address of a private network",
            hint="set `serve.allow_private_targets` in config.yaml to permit such targets",
        )


def add_api_rule(
    settings: Settings,
    outbox: OutboxStore,
    job: str,
    *,
    is_email: bool,
    target: str,
    on_failure: bool,
    on_timeout: bool,
) -> AlertRule:
    """Save a rule that was received through the API.

    Unless the configuration permits it, the URL of a webhook may not lead into a private network. That is checked
    again at each request to it, because names can change their address.

    Raises:
        ConfigError: its job, its conditions or its target are wrong.
        ConflictError: there is an identical one.
    """
    rule = AlertRule(
        id=uuid.uuid4().hex[:12],
        target=target,
        job=literal(job),
        on_failure=on_failure,
        on_timeout=on_timeout,
        created_at=time.time(),
        public_only=_is_public_only(settings),
    )
    if not (on_failure or on_timeout):
        raise ConfigError("the rule has no condition", hint="set `on_failure` or `on_timeout`")
    _check_api_target(settings, rule, is_email=is_email)
    save_rule(outbox, rule)
    return rule


def _check_api_target(settings: Settings, rule: AlertRule, *, is_email: bool) -> None:
    if is_email:
        if not is_address(rule.target):
            raise ConfigError("target: not a mail address")
        if not settings.default_mail_transport:
            raise ConfigError("target: no transport can send mail")
    elif rule.has_url:
        try:
            settings_for_url(rule.target, public_only=rule.public_only)
        except ValueError:
            raise ConfigError(f"target: expected a URL such as {_EXAMPLE_URL}") from None
        _check_public(rule)
    elif rule.target not in endpoints(settings):
        raise ConfigError("target: expected a URL, or the name of a webhook transport of the configuration")


def _has_private_address(url: str) -> bool:
    from syftnotify.transports.http_client import has_private_address

    return has_private_address(url, seconds=_LOOKUP_SECONDS)


def save_rule(outbox: OutboxStore, rule: AlertRule) -> None:
    """Save a new rule.

    Raises:
        ConflictError: there is an identical one, which would alert the same target twice.
    """
    for other in outbox.alert_rules.all():
        if replace(rule, id=other.id, created_at=other.created_at, public_only=other.public_only) == other:
            raise ConflictError(f"the same alert rule exists: {other.id}", hint="run `notify alerts list` to see it")
    outbox.alert_rules.add(rule)


def rules_of_job(outbox: OutboxStore, job: str) -> list[AlertRule]:
    """The rules that apply to `job`, an entity or a name, by any of its names or a pattern, the oldest first."""
    names = {job} | {event.entity for event in outbox.history.events(job)}
    records = filter(None, map(outbox.history.job, list(names)))
    names |= {name for record in records if (name := job_name(record))}
    return [rule for rule in outbox.alert_rules.all() if rule.job and any(is_like(name, rule.job) for name in names)]


def delete_rule(outbox: OutboxStore, rule_id: str) -> None:
    """Delete a rule. Raises: NotFoundError, there is none with this id."""
    if not any(rule.id == rule_id for rule in outbox.alert_rules.all()):
        raise NotFoundError("there is no such alert rule")
    outbox.alert_rules.remove(rule_id)


def list_rules(outbox: OutboxStore, about: str = "") -> list[AlertRule]:
    """All rules, oldest first, or only those whose job pattern or tag is `about`."""
    return [rule for rule in outbox.alert_rules.all() if not about or about in {rule.job, rule.tag}]


def remove_rule(outbox: OutboxStore | None, id_prefix: str) -> AlertRule:
    """Delete the rule whose id begins with `id_prefix`; returns it. Without an outbox there is none.

    Raises:
        NotifyError: there is none, or several.
    """
    rules = outbox.alert_rules.all() if outbox is not None else []
    rule = by_id_prefix(rules, id_prefix, noun="alert rule", command="notify alerts list")
    if outbox is not None:
        outbox.alert_rules.remove(rule.id)
    return rule


def _target(options: RuleOptions) -> str:
    email, webhook = options.email, options.webhook
    if bool(email) == bool(webhook):
        raise ConfigError("the target is missing or ambiguous", hint="pass either --email or --webhook")
    if "://" in email:  # not repeated: the URL of a webhook often contains a token
        raise ConfigError("--email: expected a mail address, got a URL", hint="pass `--webhook` instead")
    if email and not is_address(email):
        raise ConfigError(f"--email: {email[:60]!r} is not a mail address", hint="pass `--webhook` for a webhook")
    if is_address(webhook):
        raise ConfigError(f"--webhook: {webhook!r} is a mail address", hint="pass `--email` instead")
    return email or webhook


def _check_jobs(options: RuleOptions) -> None:
    if not options.job and not options.tag:
        raise ConfigError("the rule names no jobs", hint="pass --job or --tag")
    if options.job and options.tag:
        raise ConfigError("the rule names jobs and a tag, which is ambiguous", hint="pass either --job or --tag")
    try:
        valid_glob(options.job or options.tag)
    except ValueError as error:
        raise ConfigError(f"{'--job' if options.job else '--tag'}: {error}") from None


def _check_conditions(options: RuleOptions) -> None:
    minutes = options.on_long_run_minutes
    if minutes is not None and not 0 < minutes < MAX_MINUTES:
        raise ConfigError(
            f"--on-long-run-minutes: expected a number above 0 and below {MAX_MINUTES:,}, got {minutes:g}",
            hint="for example 90",
        )
    if not (options.on_failure or options.on_timeout or options.on_success or minutes):
        raise ConfigError("the rule has no condition; it would never alert", hint="enable one of its conditions")


def _check_target(home: Home, rule: AlertRule) -> str:
    """Check that the target can be notified; returns a warning, empty if there is none."""
    if rule.has_url:
        try:
            settings_for_url(rule.target)
        except ValueError:
            raise ConfigError(f"--webhook: expected a URL such as {_EXAMPLE_URL}") from None
        warning = target_warning(rule)
        return f"{warning}; use an https:// address" if warning else ""
    settings = load_reporting_all(home)
    if is_address(rule.target):
        if not settings.default_mail_transport:
            types = listed(mail_types(TRANSPORT_TYPES), "or")
            raise ConfigError("no transport can send mail", hint=f"add one of type {types}")
        return ""
    names = endpoints(settings)
    if rule.target not in names:
        raise ConfigError(
            f"{escape(rule.target)!r} is not a transport of type {_endpoint_types()}",
            hint=f"use one of {', '.join(names)}" if names else f"pass a URL: {_EXAMPLE_URL}",
        )
    return ""


def endpoints(settings: Settings) -> list[str]:
    """The names of the transports with a fixed destination."""
    sections = settings.config.transports.items()
    return [name for name, section in sections if section.address_type is AddressType.ENDPOINT]


def _endpoint_types() -> str:
    """The transport types with a fixed destination, as text: `a, b or c`."""
    names = [name for name, settings in TRANSPORT_TYPES.items() if settings.address_type is AddressType.ENDPOINT]
    return listed(names, "or")
