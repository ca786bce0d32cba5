"""The configured transports: facts for routing, their renderers, and when their sign-ins expire."""

from __future__ import annotations

from syftnotify.config.load import Settings
from syftnotify.config.schema import Config
from syftnotify.config.transport import RenderContext, TransportSettings
from syftnotify.core.errors import ConfigError
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


def build_renderer(settings: Settings, name: str, section: TransportSettings) -> Renderer:
    """The renderer of the transport `name`. Raises: ConfigError, a template in its settings is wrong."""
    config, templates = settings.config, settings.home.templates
    links = {key: value or "" for key, value in config.links.model_dump().items()}
    if config.serve is not None and config.serve.url:
        links["page"] = f"{config.serve.url}/ui"
    context = RenderContext(
        config.do_email,
        links,
        templates if templates.is_dir() else None,
        {address.lower(): zone for address, zone in config.timezones.items()},
    )
    try:
        return section.build_renderer(context)
    except ValueError as error:
        raise ConfigError(f"config.yaml: transports.{name}.{escape(str(error), limit=300)}") from None


def sign_in_expirations(settings: Settings) -> dict[str, float]:
    """When the sign-ins of transports expire, by name, in seconds since 1970; only those that are known."""
    sign_ins = {name: section.sign_in for name, section in settings.config.transports.items()}
    found = {name: sign_in.ends_at() for name, sign_in in sign_ins.items() if sign_in is not None}
    return {name: expiry for name, expiry in found.items() if expiry is not None}
