"""Editing `config.yaml`: only the named keys change, comments and order are kept."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from yaml import YAMLError as PyYAMLError
from yaml import safe_load

from syftnotify.config.yaml_reader import parse_yaml, read_config_file
from syftnotify.core.errors import ConfigError
from syftnotify.system.files import atomic_write
from syftnotify.system.paths import Home

_LINE_WIDTH = 4096  # characters; long values are not wrapped
_SKELETON = b"""\
# syftnotify's configuration. Every setting is described in config.example.yaml and docs/settings.md.
do_email:
syftbox_root:

notify:
  interval: 30          # time between two scans; a number is in seconds
  monitor_jobs: true
  monitor_peers: true
"""

Edits = Mapping[tuple[str, ...], Any]  # the new value by the path of its key; None removes the key


def edit(home: Home, edits: Edits) -> None:
    """Apply `edits` to the configuration of `home`; a missing file starts from a commented skeleton.

    Raises:
        ConfigError: the existing file cannot be read, or is not YAML.
    """
    write_config(home, apply_edits(home, edits, fresh=not home.config.exists()))


def write_config(home: Home, content: bytes) -> None:
    """Write the configuration of `home`; if it is a symbolic link, the file it points to is replaced."""
    home.create()
    atomic_write(home.config.resolve(), content)


def apply_edits(home: Home, edits: Edits, *, fresh: bool) -> bytes:
    """The content of the configuration of `home` after `edits`; `fresh` starts from a commented skeleton.

    Raises:
        ConfigError: the existing file cannot be read, or is not YAML.
    """
    yaml = YAML()
    yaml.width = _LINE_WIDTH
    yaml.preserve_quotes = True  # an "off" without its quotes is a boolean
    content = _SKELETON if fresh else read_config_file(home.config)
    try:
        parse_yaml(content)
        document = yaml.load(content)
    except ConfigError as error:
        hint = f"correct {home.config}, or start over with `notify init --force`"
        raise ConfigError(f"{error}; nothing was changed", hint=hint) from None
    except YAMLError as error:
        raise ConfigError(
            f"{home.config} cannot be edited; nothing was changed", hint="edit it by hand, or run `notify init --force`"
        ) from error
    if document is None:
        document = CommentedMap()
    for path, value in edits.items():
        _set(document, path, value)
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue().encode("utf-8")


def _set(document: CommentedMap, path: tuple[str, ...], value: Any) -> None:
    *sections, key = path
    section = document
    for name in sections:
        if not isinstance(section.get(name), CommentedMap):
            section[name] = CommentedMap()
        section = section[name]
    if value is None:
        section.pop(key, None)
    else:
        # ruamel.yaml writes a key such as `on` without quotes, and YAML 1.1 readers take it for a boolean.
        section[key if _is_plain_text(key) else DoubleQuotedScalarString(key)] = value


def _is_plain_text(key: str) -> bool:
    """Whether a YAML 1.1 reader takes `key` without quotes for this text."""
    try:
        return bool(safe_load(key) == key)
    except PyYAMLError:
        return False
