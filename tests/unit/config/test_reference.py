"""The example configuration and docs/configuration.md name every setting and its default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from syftnotify.config.routing import Matching
from syftnotify.config.schema import Config
from syftnotify.config.values import parse_duration
from syftnotify.core.kinds import EventKind
from syftnotify.services.settings import load
from syftnotify.services.setup.mail import MAIL_TYPES
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


def test_documentation_names_every_setting_and_no_other() -> None:
    page = (EXAMPLE.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {key.strip(" `") for row in rows for key in row.split(",")}

    assert named == _keys(Config)


def _defaults(model: type[BaseModel], above: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = f"{above}{field.alias or name}"
        default = ... if field.is_required() else field.get_default(call_default_factory=True)
        inner = next((each for each in _classes(field.annotation) if issubclass(each, BaseModel)), None)
        if inner is None or key == "extra_routes" or key.endswith(".not") or name == "transports":
            found[key] = default
        else:
            found |= _defaults(inner, f"{key}[]." if key == "routes" else f"{key}.")
    return found


def _documented_defaults() -> dict[str, str]:
    page = (EXAMPLE.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    return {key.strip(" `"): default.strip() for keys, default in rows for key in keys.split(",")}


# What the documentation calls a default that is no single value in the schema.
_IN_WORDS = {"must be set", "found", "none", "unset", "all", "any", "nothing", "never", "for ever", ""}


def _is_value(spans: list[str]) -> bool:
    """Whether these would be values, and not other settings or paths that stand for the default."""
    return any(re.fullmatch(r"[0-9]+[smhdw]?|true|false", span) for span in spans)


def _same(span: str, default: Any) -> bool:
    if span == str(default):
        return True
    value = yaml.safe_load(span)
    if isinstance(value, str) and isinstance(default, float):
        return parse_duration(value) == default
    if isinstance(default, tuple):
        return tuple(value) == default
    return bool(str(value) == str(default) if isinstance(default, Path) else value == default)


def _says(documented: str, default: Any) -> bool:
    """Whether the cell of a table is right about a default: its code spans are YAML, other words stand for unset."""
    spans = re.findall(r"`([^`]*)`", documented)
    if default is ...:
        return documented == "must be set"
    if default in (None, (), {}, "", frozenset(range(7)), frozenset(EventKind), Matching()):
        return not spans or spans == ["[]"] or documented in _IN_WORDS or "unset" in documented or not _is_value(spans)
    return any(_same(span, default) for span in spans)


def test_documentation_gives_the_defaults_of_the_schema() -> None:
    """D10"""
    documented = _documented_defaults()
    found = {key: value for key, value in _defaults(Config, "").items() if key != "transports"}
    wrong = {key: (documented[key], value) for key, value in found.items() if not _says(documented[key], value)}
    assert wrong == {}


def _of_type(cell: str, kind: str) -> str:
    """The default for one type of transport in a cell such as "gmail, slack `1`; others none"."""
    known = {*TRANSPORT_TYPES, "mail", "others"}
    named: dict[str, str] = {}
    for entry in cell.split("; "):
        names = re.match(r"(?:\w+, )*\w+", entry)
        if names and set(names.group().split(", ")) <= known:
            named |= dict.fromkeys(names.group().split(", "), entry[names.end() :].strip())
    if not named:
        return cell
    return next(
        (named[each] for each in (kind, "mail" if kind in MAIL_TYPES else "", "others") if each in named), "unset"
    )


@pytest.mark.parametrize("kind", TRANSPORT_TYPES)
def test_documentation_gives_the_defaults_of_each_transport(kind: str) -> None:
    """D10"""
    documented = _documented_defaults()
    found = _defaults(TRANSPORT_TYPES[kind], "transports.<name>.")
    wrong = {
        key: (documented[key], value)
        for key, value in found.items()
        if key != "transports.<name>.type" and not _says(_of_type(documented[key], kind), value)
    }
    assert wrong == {}
