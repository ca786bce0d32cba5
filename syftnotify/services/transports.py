"""The configured transports: facts for routing, and their renderers."""

from __future__ import annotations

from syftnotify.config.load import Settings
from syftnotify.config.schema import Config, Slack, Smtp, Transport, Webhook
from syftnotify.core.errors import ConfigError
from syftnotify.core.identifiers import AddressType
from syftnotify.core.ports import Renderer
from syftnotify.core.routing import TransportInfo
from syftnotify.core.text import escape
from syftnotify.rendering.email import EmailRenderer, Links
from syftnotify.rendering.templates import renderer_of
from syftnotify.transports.slack.renderer import SlackRenderer
from syftnotify.transports.webhook.renderer import WebhookRenderer


def transport_infos(config: Config) -> dict[str, TransportInfo]:
    """The facts about each configured transport, by name."""
    found = {}
    for name, section in config.transports.items():
        default = section.default_recipient
        if isinstance(section, Slack):
            # Without a channel of its own a line goes where the webhook was made for.
            found[name] = TransportInfo(name, AddressType.SLACK, default or (name,), bool(default))
        elif isinstance(section, Webhook):
            found[name] = TransportInfo(name, AddressType.WEBHOOK, (name,), bool(default))
        else:
            sender = section.sender if isinstance(section, Smtp) else None
            usual = (sender.address if sender else config.do_email,)
            found[name] = TransportInfo(name, AddressType.MAIL, default or usual, bool(default))
    return found


def build_renderer(settings: Settings, name: str, section: Transport) -> Renderer:
    """The renderer of the transport `name`. Raises: ConfigError, a template in its settings is wrong."""
    config, templates = settings.config, settings.home.templates
    links = Links(config.links.job or "", config.links.results or "", config.links.peer or "")
    if isinstance(section, Slack):
        return SlackRenderer(links=links)
    if isinstance(section, Webhook):
        try:
            return WebhookRenderer(section.format, links=links, template=section.body or "", is_json=section.sends_json)
        except ValueError as error:
            reason = escape(str(error), limit=300)
            raise ConfigError(f"config.yaml: transports.{name}.body: {reason}") from None
    return EmailRenderer(
        renderer_of(templates if templates.is_dir() else None),
        sender=config.do_email,
        links=links,
        prefix=section.subject_prefix,
        body=section.body,
    )
