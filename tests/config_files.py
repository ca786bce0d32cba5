"""Writes configuration files and reads the errors of their validation."""

from __future__ import annotations

import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load
from syftnotify.system.paths import Home


def write_config(home: Home, text: str) -> Home:
    home.create()
    home.config.write_text(text, encoding="utf-8")
    return home


def config_errors(home: Home, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write_config(home, text))
    assert caught.value.exit_code == 2
    head, *lines = str(caught.value).splitlines()
    assert head == f"config.yaml: {len(lines)} error{'' if len(lines) == 1 else 's'}"
    return [line.strip() for line in lines]
