"""The configured transports: facts for routing, their renderers, and when their sign-ins expire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from syftnotify.config.load import Settings
from syftnotify.config.schema import Config
from syftnotify.config.transport import RenderContext, TransportSettings
from syftnotify.core.errors import ConfigError, DeliveryError, Failure
from syftnotify.core.identifiers import AddressType
from syftnotify.core.models import INBOX
from syftnotify.core.ports import Renderer
from syftnotify.core.routing import TransportInfo
from syftnotify.core.text import escape


def transport_infos(config: Config) -> dict[str, TransportInfo]:
    """The facts about each configured transport, by name."""
    return {
        name: TransportInfo(
            name,
            section.address_type,
            section.medium(name),
            section.default_recipients(name, config.do_email),
            sets_default=bool(section.default_recipient),
            for_programs=section.for_programs,
        )
        for name, section in config.transports.items()
    }


def inbox_info(config: Config) -> dict[str, TransportInfo]:
    """The facts about the inbox, by its name; empty if there is none."""
    if config.serve is None:
        return {}
    return {INBOX: TransportInfo(INBOX, AddressType.MAIL, INBOX, (config.do_email,), for_programs=True)}


def pushing_transports(config: Config) -> list[TransportInfo]:
    """The transports that send what an inbox stores."""
    infos = transport_infos(config)
    return [infos[name] for name, section in config.transports.items() if section.pushes_inbox]


def render_context(settings: Settings) -> RenderContext:
    """What the configuration says about all messages."""
    config, templates = settings.config, settings.home.templates
    links = {key: value or "" for key, value in config.links.model_dump().items()}
    if config.serve is not None and config.serve.url:
        links["page"] = f"{config.serve.url}/ui"
    return RenderContext(
        config.do_email,
        links,
        templates if templates.is_dir() else None,
        {address.lower(): zone for address, zone in config.timezones.items()},
    )


def build_renderer(
    settings: Settings, name: str, section: TransportSettings, context: RenderContext | None = None
) -> Renderer:
    """The renderer of the transport `name`, by default for messages of this home.

    Raises:
        ConfigError: a template in its settings is wrong.
    """
    try:
        return section.build_renderer(context or render_context(settings))
    except ValueError as error:
        raise ConfigError(f"config.yaml: transports.{name}.{escape(str(error), limit=300)}") from None


def published_context(settings: Settings) -> dict[str, Any]:
    """The render context of this home as a JSON object, for workers that send its messages."""
    context = render_context(settings)
    zones = {address: str(zone) for address, zone in context.timezones.items()}
    return {"owner": context.owner, "links": dict(context.links), "timezones": zones}


class ScopeRenderers:
    """The renderers of one transport for messages of other homes, by scope. Safe to use from several threads."""

    def __init__(self, settings: Settings, name: str, section: TransportSettings) -> None:
        self._settings = settings
        self._name = name
        self._section = section
        self._own = build_renderer(settings, name, section)
        self._others: dict[str, tuple[str, Renderer]] = {}  # by scope: what it has published, and the renderer

    def __call__(self, scope: str, published: str) -> Renderer:
        """The renderer for `scope`, which has `published` its context: JSON, as `published_context` makes it.

        Raises:
            DeliveryError: that home has published nothing, or what this machine cannot use.
        """
        if scope == self._settings.config.scope:
            return self._own
        known, renderer = self._others.get(scope, ("", None))
        if renderer is None or known != published:
            if not published:
                raise DeliveryError(
                    Failure.TEMPORARY, f"the home of {scope} has not published its links; start its worker once"
                )
            try:
                context = self._context(json.loads(published))
            except (ValueError, TypeError, LookupError) as error:
                # For example a time zone that this machine does not know. Another worker may be able to render it.
                raise DeliveryError(
                    Failure.TEMPORARY, f"what the home of {scope} has published cannot be used: {escape(str(error))}"
                ) from error
            renderer = build_renderer(self._settings, self._name, self._section, context)
            self._others[scope] = (published, renderer)
        return renderer

    def _context(self, published: Mapping[str, Any]) -> RenderContext:
        """The context of another home, with the templates of this one."""
        own = render_context(self._settings)
        links = {key: str(published["links"].get(key, "")) for key in own.links.keys() | published["links"].keys()}
        zones = {address: ZoneInfo(zone) for address, zone in published["timezones"].items()}
        return RenderContext(str(published["owner"]), links, own.templates, zones)


def sign_in_expirations(settings: Settings) -> dict[str, float]:
    """When the sign-ins of transports expire, by name, in seconds since 1970; only those that are known."""
    sign_ins = {name: section.sign_in for name, section in settings.config.transports.items()}
    found = {name: sign_in.ends_at() for name, sign_in in sign_ins.items() if sign_in is not None}
    return {name: expiry for name, expiry in found.items() if expiry is not None}
