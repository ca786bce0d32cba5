"""The configuration as programs and pages may see it: without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from syftnotify.config.transport import TransportSettings
from syftnotify.config.yaml_reader import read_config_file
from syftnotify.core.errors import ConfigError
from syftnotify.system import worker_status
from syftnotify.system.paths import Home

_HIDDEN = "(secret)"
_SIMPLE = (str, int, float, bool, type(None))


def public_settings(section: TransportSettings) -> dict[str, Any]:
    """The settings of a transport that are set, as JSON, with secrets replaced."""
    found = {name: _public(getattr(section, name)) for name in type(section).model_fields}
    return {name: value for name, value in found.items() if value not in (None, [], {}, "")}


def _public(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return _HIDDEN
    if isinstance(value, Mapping):
        return {str(key): _public(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return sorted(str(each) for each in value) if isinstance(value, (set, frozenset)) else [*map(_public, value)]
    if isinstance(value, _SIMPLE):
        return value
    return str(value) if isinstance(value, Path) else _HIDDEN


def place_of_transport(home: Home, name: str) -> int | None:
    """The line of `config.yaml` in which the settings of a transport begin; None: it cannot be told."""
    try:
        document = yaml.compose(read_config_file(home.config), Loader=yaml.SafeLoader)
    except (ConfigError, yaml.YAMLError):
        return None
    section = _value_of(document, "transports")
    return next((key.start_mark.line + 1 for key, _ in _pairs(section) if key.value == name), None)


def _value_of(node: yaml.Node | None, name: str) -> yaml.Node | None:
    return next((value for key, value in _pairs(node) if key.value == name), None)


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def transport_state(home: Home) -> Mapping[str, Mapping[str, Any]]:
    """What the worker of `home` reports about each transport."""
    return worker_status.read(home).transports
