"""URLs as targets of alert rules: each is a webhook of its own, besides those of the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from syftnotify.config.load import unencrypted
from syftnotify.config.schema import Webhook
from syftnotify.config.values import is_safe_url
from syftnotify.core.models import AlertRule


def settings_for_url(url: str) -> Webhook:
    """The settings of the webhook at `url`. Raises: ValueError, it is not an HTTP URL."""
    return Webhook.model_validate({"type": "webhook", "url": url, "format": "run_alert", "on_unknown": "resend"})


def settings_of_targets(rules: Iterable[AlertRule]) -> dict[str, Webhook]:
    """The settings for the URLs among the targets of `rules`, by endpoint name.

    Each has its own transport, so that one that is down does not delay the others.
    """
    return {rule.endpoint: _settings_of(rule) for rule in rules if rule.has_own_address}


def target_warning(rule: AlertRule) -> str:
    """The warning that secrets in the URL of `rule` are sent unencrypted; empty if there is none.

    Raises:
        ValueError: it is not an HTTP URL.
    """
    if not rule.has_own_address or is_safe_url(rule.target):
        return ""
    exposed = _settings_of(rule).exposed
    if urlsplit(rule.target).path.strip("/"):  # often the token of a receiver
        exposed.append("the path of the address")
    return unencrypted(exposed) if exposed else ""


def _settings_of(rule: AlertRule) -> Webhook:
    return settings_for_url(rule.target.replace(" ", "%20"))  # earlier versions accepted blanks in the host
