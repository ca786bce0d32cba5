"""The settings of the server: those of the configuration, with the options of the command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from syftnotify.config.load import Settings
from syftnotify.config.schema import Serve
from syftnotify.services.settings import load
from syftnotify.system.paths import Home


def load_with_server(home: Home, options: Mapping[str, Any]) -> Settings:
    """The configuration of `home`; `options` that are not None replace those of its section `serve`.

    Raises:
        ConfigError, UnsafeHomeError, NotifyError: as `services.settings.load`.
    """
    settings = load(home)
    given = {name: value for name, value in options.items() if value is not None}
    serve = (settings.config.serve or Serve()).model_copy(update=given)
    return replace(settings, config=settings.config.model_copy(update={"serve": serve}))


def stores_inboxes(home: Home) -> bool:
    """Whether the configuration of `home` has inboxes, whatever options a server has. Raises: as `load_with_server`."""
    return load(home).config.serve is not None
