"""SMTP sections of config.yaml, loaded."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load
from syftnotify.system.paths import Home
from syftnotify.transports.smtp.settings import SmtpSettings

SECRET = "hunter2"


GOOD = "smtp://mail.example:587"


def write_config(home: Home, transport: Any, **more: Any) -> Home:
    """A home with one transport, `mail`."""
    home.create()
    content = {"do_email": "o@x.org", "transports": {"mail": transport}, **more}
    home.config.write_text(yaml.safe_dump(content), encoding="utf-8")
    return home


def loaded_section(home: Home, **keys: Any) -> SmtpSettings:
    found = load(write_config(home, {"type": "smtp", "smtp_url": GOOD, **keys})).config.transports["mail"]
    assert isinstance(found, SmtpSettings)
    return found


def config_errors(home: Home, transport: Any, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write_config(home, transport, **more))
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.hint}"
    head, *lines = str(caught.value).splitlines()
    assert head == f"config.yaml: {len(lines)} error{'' if len(lines) == 1 else 's'}"
    return [line.strip() for line in lines]
