"""Checks of transports, of the mail provider's limit, and of the targets of alert rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

from syftnotify.config.load import Settings
from syftnotify.config.schema import Gmail, Maildir, Transport
from syftnotify.config.secrets import key_file
from syftnotify.core.errors import DeliveryError, Failure, NotifyError
from syftnotify.core.identifiers import is_address
from syftnotify.core.models import AlertRule
from syftnotify.core.text import escape, plural
from syftnotify.services.doctor.findings import Finding, Level, graded
from syftnotify.services.transports import build_renderer
from syftnotify.system.paths import Home
from syftnotify.transports.gmail.auth import sign_in_ends, signed_in_at
from syftnotify.transports.registry import transport_for
from syftnotify.transports.webhook.alert_targets import target_warning
from syftnotify.transports.webhook.renderer import WebhookRenderer

_DAY = 86400.0
_SIGN_IN_WARNING = 2 * _DAY  # seconds before the end of a sign-in
# A free account may write to 500 recipients in 24 hours, one of Workspace to 2,000.
# Source: https://support.google.com/mail/answer/22839
_FREE_QUOTA = 500
_QUOTA_WARNING = 0.8  # of the provider's limit
_GOOGLE = "https://gmail.googleapis.com"

ServerTime = Callable[[str], float | None]  # the time at a URL, in seconds since 1970; None: no response


def check_transports(settings: Settings, clock: Callable[[], float], server_time: ServerTime) -> Iterator[Finding]:
    for name, section in settings.config.transports.items():
        check = f"transport {escape(name)}"
        try:
            renderer = build_renderer(settings, name, section)
        except NotifyError as error:
            yield Finding(check, Level.FAIL, str(error), "correct it in config.yaml")
            continue
        if isinstance(renderer, WebhookRenderer) and renderer.warning:
            yield Finding(check, Level.WARN, f"`body`: {renderer.warning}", "change `body` in config.yaml")
        yield from _check_transport(check, name, section, settings, clock, server_time)


def _check_transport(
    check: str,
    name: str,
    section: Transport,
    settings: Settings,
    clock: Callable[[], float],
    server_time: ServerTime,
) -> Iterator[Finding]:
    if isinstance(section, Gmail):
        yield _check_sign_in(check, section, clock())
        if not section.token.exists():
            return
    with closing(transport_for(section, clock=clock)) as transport:
        try:
            transport.check()
        except DeliveryError as error:
            yield Finding(check, Level.FAIL, str(error), _advice(section, error.failure))
            return
    # A valid access token makes `check` pass without a connection.
    if isinstance(section, Gmail) and server_time(endpoint(section)) is None:
        yield Finding(check, Level.FAIL, f"{urlsplit(endpoint(section)).hostname} does not answer", "check the network")
        return
    role = ", used for mail" if name == settings.mailer else ""
    yield Finding(check, Level.PASS, f"{section.type} is ready; nothing was sent{role}")


def _advice(section: Transport, failure: Failure) -> str:
    if failure is Failure.AUTH:
        return "sign in with `notify init`" if isinstance(section, Gmail) else "check its user and password"
    if failure is Failure.UNREACHABLE and isinstance(section, Maildir):
        return f"check that {section.path} is a folder that you can write to, or change `path`"
    if failure is Failure.UNREACHABLE:
        return "try again later, or check the network and the address"
    return "try again later"


def endpoint(section: Gmail) -> str:
    """The URL of the Gmail API."""
    return section.api_endpoint or _GOOGLE


def _check_sign_in(check: str, section: Gmail, now: float) -> Finding:
    if not section.token.exists():
        text = f"there is no Google sign-in at {section.token}"
        return Finding(check, Level.FAIL, text, "sign in with `notify init`")
    ends, since = sign_in_ends(section.token), signed_in_at(section.token)
    if ends is not None:
        left = ends - now
        level = Level.FAIL if left <= 0 else Level.WARN if left <= _SIGN_IN_WARNING else Level.PASS
        text = f"ends in {left / _DAY:.1f} days" if left > 0 else "has ended"
        advice = "sign in with `notify init --credentials FILE`; publish the app in Google's console to keep it"
        return graded(check, level, f"the sign-in {text}", advice)
    if since is not None:
        days = max(0.0, now - since) / _DAY
        return Finding(check, Level.PASS, f"signed in {days:.0f} days ago, no end is known")
    return Finding(check, Level.PASS, "signed in, it is not known when")


def check_quota(settings: Settings, sent: int) -> Iterator[Finding]:
    """The limit of the mail provider; `sent` is the number of messages in the last 24 hours."""
    if not isinstance(settings.mail_section, Gmail):
        return
    level = Level.WARN if sent > _QUOTA_WARNING * _FREE_QUOTA else Level.PASS
    text = f"{plural(sent, 'message')} in 24 hours; a free Gmail account may send {_FREE_QUOTA}, Workspace 2,000"
    yield graded("quota", level, text, "at the limit Gmail pauses, and nothing is lost")


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
        elif is_address(rule.target) or rule.has_own_address or settings is None:
            continue
        elif rule.target not in settings.config.transports:
            text = f"{rule.id} alerts through {escape(rule.target)}, which is not configured"
            yield Finding("alerts", Level.WARN, text, f"run `notify alerts rm {rule.id}`, or add that transport")
