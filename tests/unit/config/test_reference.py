"""The example configuration names every setting."""

from __future__ import annotations

from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from syftnotify.config.schema import Config
from syftnotify.services.settings import load
from syftnotify.system.paths import Home
from syftnotify.transports.registry import TRANSPORT_TYPES
from tests.config_files import write_config
from tests.support import PROJECT_ROOT

EXAMPLE = PROJECT_ROOT / "config.example.yaml"


def _classes(annotation: Any) -> list[type]:
    """The classes in an annotation, however deep."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation]
    return [found for each in get_args(annotation) for found in _classes(each)]


def _names(kind: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in kind.model_fields.items()}


def _keys(model: type[BaseModel], above: str = "") -> set[str]:
    """Every key; `routes[]` is a list of sections, and `extra_routes` and `not` are like what they stand beside."""
    found = set()
    for field_name, field in model.model_fields.items():
        name = field.alias or field_name
        inner = next((each for each in _classes(field.annotation) if issubclass(each, BaseModel)), None)
        if name == "transports":
            found |= {f"transports.<name>.{key}" for kind in TRANSPORT_TYPES.values() for key in _names(kind)}
            found |= {f"transports.<name>.{key}" for key in ("host", "port", "user", "password", "tls")}
        elif inner is None or name in {"extra_routes", "not"}:
            found.add(above + name)
        else:
            is_list = tuple in {get_origin(each) for each in (field.annotation, *get_args(field.annotation))}
            found |= _keys(inner, f"{above}{name}{'[]' if is_list else ''}.")
    return found


def _written_keys(value: dict[str, Any], above: str = "") -> set[str]:
    found = set()
    for name, inner in value.items():
        if above == "transports.":
            found |= {f"transports.<name>.{key}" for key in inner}
        elif name == "routes":
            found |= {key for route in inner for key in _written_keys(route, "routes[].")}
        elif isinstance(inner, dict) and name not in {"secrets", "timezones", "not"}:
            found |= _written_keys(inner, f"{above}{name}.")
        else:
            found.add(above + name)
    return found


def test_example_config_names_every_setting_and_is_valid(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_URL", "https://hooks.slack.example/services/x")
    monkeypatch.setenv("DISCORD_URL", "https://discord.example/api/webhooks/1/x")
    monkeypatch.setenv("HOOK_SECRET", "whsec_c2VjcmV0")
    home.create()
    (home.root / "mail-password").write_text("a password")
    load(write_config(home, EXAMPLE.read_text(encoding="utf-8")))

    assert _written_keys(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))) == _keys(Config)
