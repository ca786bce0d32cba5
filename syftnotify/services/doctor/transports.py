"""Checks of transports, of the mail provider's limit, and of the targets of alert rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

from syftnotify.config.load import Settings
from syftnotify.config.secrets import key_file
from syftnotify.config.transport import SignIn, TransportSettings
from syftnotify.core.errors import DeliveryError, NotifyError
from syftnotify.core.identifiers import is_address
from syftnotify.core.models import AlertRule
from syftnotify.core.text import escape, hostname, plural
from syftnotify.services.doctor.findings import Finding, Level, graded
from syftnotify.services.status import SIGN_IN_WARNING_SECONDS
from syftnotify.services.transports import build_renderer
from syftnotify.system.paths import Home
from syftnotify.transports.webhook.alert_targets import target_warning

_DAY = 86400.0
_QUOTA_WARNING = 0.8  # of the provider's limit

ServerTime = Callable[[str], float | None]  # the time at a URL, in seconds since 1970; None: no response


def check_transports(settings: Settings, clock: Callable[[], float], server_time: ServerTime) -> Iterator[Finding]:
    for name, section in settings.config.transports.items():
        check = f"transport {escape(name)}"
        try:
            build_renderer(settings, name, section)
        except NotifyError as error:
            yield Finding(check, Level.FAIL, str(error), "correct it in config.yaml")
            continue
        if warning := section.template_warning():
            key, text = warning
            yield Finding(check, Level.WARN, f"`{key}`: {text}", f"change `{key}` in config.yaml")
        yield from _check_transport(check, name, section, settings, clock, server_time)


def _check_transport(
    check: str,
    name: str,
    section: TransportSettings,
    settings: Settings,
    clock: Callable[[], float],
    server_time: ServerTime,
) -> Iterator[Finding]:
    if section.sign_in is not None:
        yield _check_sign_in(check, section.sign_in, clock())
        if not section.sign_in.exists():
            return
    with closing(section.build_transport(clock=clock)) as transport:
        try:
            transport.check()
        except DeliveryError as error:
            yield Finding(check, Level.FAIL, str(error), section.advice(error.failure))
            return
    # With a valid access token, `check` passes without a connection.
    if section.clock_url and server_time(section.clock_url) is None:
        yield Finding(check, Level.FAIL, f"{hostname(section.clock_url)} does not answer", "check the network")
        return
    role = ", used for mail" if name == settings.default_mail_transport else ""
    yield Finding(check, Level.PASS, f"{section.type} is ready; nothing was sent{role}")


def _check_sign_in(check: str, sign_in: SignIn, now: float) -> Finding:
    if not sign_in.exists():
        return Finding(check, Level.FAIL, sign_in.missing, "sign in with `notify init`")
    ends, since = sign_in.ends_at(), sign_in.started_at()
    if ends is not None:
        left = ends - now
        level = Level.FAIL if left <= 0 else Level.WARN if left <= SIGN_IN_WARNING_SECONDS else Level.PASS
        text = f"ends in {left / _DAY:.1f} days" if left > 0 else "has ended"
        return graded(check, level, f"the sign-in {text}", sign_in.renewal)
    if since is not None:
        days = max(0.0, now - since) / _DAY
        return Finding(check, Level.PASS, f"signed in {days:.0f} days ago, no end is known")
    return Finding(check, Level.PASS, "signed in, it is not known when")


def check_quota(settings: Settings, sent: int) -> Iterator[Finding]:
    """Compare `sent`, the number of messages in the last 24 hours, with the limit of the mail provider."""
    quota = settings.mail_settings.provider_quota if settings.mail_settings else None
    if quota is None:
        return
    text = f"{plural(sent, 'message')} in 24 hours; {quota.text}"
    level = Level.WARN if sent > _QUOTA_WARNING * quota.messages else Level.PASS
    yield graded("quota", level, text, "at the limit the transport pauses, and nothing is lost")


def check_alert_targets(home: Home, settings: Settings | None, rules: Iterable[AlertRule]) -> Iterator[Finding]:
    for rule in rules:
        if not rule.target:
            yield Finding(
                "alerts",
                Level.FAIL,
                f"{rule.id}: its address cannot be decrypted with {key_file(home)}",
                f"restore that file, or run `notify alerts rm {rule.id}` and add the rule again",
            )
        elif warning := target_warning(rule):
            advice = f"run `notify alerts rm {rule.id}`, then add the rule with an https:// address"
            yield Finding("alerts", Level.WARN, f"{rule.id}: {warning}", advice)
        elif is_address(rule.target) or rule.has_url or settings is None:
            continue
        elif rule.target not in settings.config.transports:
            text = f"{rule.id} alerts through {escape(rule.target)}, which is not configured"
            yield Finding("alerts", Level.WARN, text, f"run `notify alerts rm {rule.id}`, or add that transport")
