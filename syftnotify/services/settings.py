"""Loading the configuration of a home, with a check of the templates of its transports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from syftnotify.config import load as configuration
from syftnotify.config.load import Settings
from syftnotify.config.schema import Gmail
from syftnotify.core.errors import ConfigError, NotSignedInError
from syftnotify.core.text import escape
from syftnotify.rendering.email import Links
from syftnotify.services.transports import build_renderer
from syftnotify.system.paths import Home
from syftnotify.transports.webhook.renderer import WebhookRenderer


def load(home: Home) -> Settings:
    """The configuration of `home`, without a check of the templates of transports.

    Raises:
        ConfigError, UnsafeHomeError, NotifyError: as `config.load.load`.
    """
    return configuration.load(home)


def load_reporting_all(home: Home) -> Settings:
    """Like `load`; if there are mistakes, the error lists those in templates as well.

    Mistakes in templates alone are not an error here.
    """
    try:
        return load(home)
    except ConfigError:
        configuration.load(home, check=template_mistakes)
        raise


def parse(content: bytes, home: Home) -> Settings:
    """The configuration that `content` would be as the `config.yaml` of `home`, templates included.

    Raises:
        ConfigError: it has mistakes.
    """
    return configuration.parse(content, home, check=template_mistakes)


def check_ready(home: Home) -> Settings:
    """The configuration of `home`, if a worker can run with it.

    Raises:
        ConfigError: it has mistakes.
        NotSignedInError: mail needs a sign-in, and there is none.
    """
    settings = configuration.load(home, check=template_mistakes)
    settings = replace(settings, warnings=(*settings.warnings, *_template_warnings(settings)))
    transport = settings.mail_section
    if not settings.config.notify.enabled:
        return settings
    if isinstance(transport, Gmail) and not transport.token.exists():
        raise NotSignedInError(f"there is no Google sign-in at {transport.token}", hint="sign in with `notify init`")
    return settings


def template_mistakes(raw: Mapping[str, Any]) -> Iterator[str]:
    """The mistakes in the templates of webhooks, as `path: text`; `raw` is the configuration, validated or not."""
    sections = raw.get("transports")
    for name, section in sections.items() if isinstance(sections, dict) else ():
        if not isinstance(section, dict) or section.get("format") != "template":
            continue
        body = section.get("body")
        if isinstance(body, str):
            try:
                WebhookRenderer("template", links=Links(), template=body)
            except ValueError as error:
                yield f"transports.{escape(str(name))}.body: {escape(str(error))}"


def _template_warnings(settings: Settings) -> Iterator[str]:
    for name, section in settings.config.transports.items():
        renderer = build_renderer(settings, name, section)
        if isinstance(renderer, WebhookRenderer) and renderer.warning:
            yield f"config.yaml: transports.{name}.body: {renderer.warning}"
