"""URLs as targets of alert rules: each is a webhook transport besides those of the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from syftnotify.config.urls import is_safe_url, unencrypted
from syftnotify.core.models import AlertRule
from syftnotify.core.routing import TransportInfo
from syftnotify.transports.webhook.settings import WebhookSettings


class PublicWebhookSettings(WebhookSettings):
    """A webhook whose address may not be one of a private network: that of a rule that was added through the API."""

    public_only: ClassVar[bool] = True


def settings_for_url(url: str, *, public_only: bool = False) -> WebhookSettings:
    """The settings of the webhook at `url`. Raises: ValueError, `url` is not an HTTP URL."""
    section = {"type": "webhook", "url": url, "format": "run_alert", "on_unknown": "resend"}
    return (PublicWebhookSettings if public_only else WebhookSettings).model_validate(section)


def settings_of_targets(rules: Iterable[AlertRule]) -> dict[str, WebhookSettings]:
    """The settings for the URLs among the targets of `rules`, by `AlertRule.endpoint`.

    Each URL has its own transport, so that one that is down does not delay the others.
    """
    return {rule.endpoint: _settings_of(rule) for rule in rules if rule.has_url}


def transport_info(name: str) -> TransportInfo:
    """What routing needs of the transport `name` for a URL. It has no default recipient: only alert rules use it."""
    return TransportInfo(
        name, WebhookSettings.address_type, WebhookSettings.medium(name), for_programs=WebhookSettings.for_programs
    )


def target_warning(rule: AlertRule) -> str:
    """The warning that secrets in the URL of `rule` are sent unencrypted; empty if none are."""
    if not rule.has_url or is_safe_url(rule.target):
        return ""
    exposed = _settings_of(rule).exposed
    if urlsplit(rule.target).path.strip("/"):  # often the token of a receiver
        exposed.append("the path of the address")
    return unencrypted(exposed) if exposed else ""


def _settings_of(rule: AlertRule) -> WebhookSettings:
    """The settings for the URL of `rule`, also for an invalid one, so that it does not stop the other rules."""
    try:
        return settings_for_url(rule.target, public_only=rule.public_only)
    except ValueError:  # an earlier version accepted the URL; each request to it fails and is reported
        url = SecretStr(rule.target)
        kind = PublicWebhookSettings if rule.public_only else WebhookSettings
        return kind.model_construct(type="webhook", url=url, format="run_alert", on_unknown="resend")
