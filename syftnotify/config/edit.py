"""Changing `config.yaml`: only the named keys change, and comments stay."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from yaml import YAMLError as ReaderErrors
from yaml import safe_load

from syftnotify.config.load import parsed, read
from syftnotify.core.errors import ConfigError
from syftnotify.system.files import atomic_write
from syftnotify.system.paths import Home

_FRESH = """\
# syftnotify's configuration. Every setting is described in config.example.yaml and docs/configuration.md.
do_email:
syftbox_root:

notify:
  interval: 30          # seconds between two scans
  monitor_jobs: true
  monitor_peers: true
"""


Edits = Mapping[tuple[str, ...], Any]  # the path of each key, and its new value; None removes it


def edit(home: Home, changes: Edits) -> None:
    """Write `changes` into the configuration of `home`; a missing file starts from a commented skeleton.

    Raises:
        ConfigError: the existing file cannot be read, or is not YAML.
    """
    content = changed(home, changes, fresh=not home.config.exists())
    home.create()
    atomic_write(home.config, content)


def changed(home: Home, changes: Edits, *, fresh: bool) -> bytes:
    """The content of the configuration of `home` with `changes`; `fresh` starts from a commented skeleton.

    Raises:
        ConfigError: the existing file cannot be read, or is not YAML.
    """
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True  # an "off" that loses its quotes is another value
    content = _FRESH.encode("utf-8") if fresh else read(home.config)
    try:
        parsed(content, [])
        document = yaml.load(content)
    except ConfigError as error:
        hint = f"correct {home.config}, or start over with `notify init --force`"
        raise ConfigError(f"{error}; nothing was changed", hint=hint) from None
    except YAMLError as error:
        raise ConfigError(
            f"{home.config} cannot be edited; nothing was changed", hint="edit it by hand, or use `notify init --force`"
        ) from error
    if document is None:
        document = CommentedMap()
    for path, value in changes.items():
        _set(document, path, value)
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue().encode("utf-8")


def _set(document: CommentedMap, path: tuple[str, ...], value: Any) -> None:
    *above, last = path
    place = document
    for name in above:
        if not isinstance(place.get(name), CommentedMap):
            place[name] = CommentedMap()
        place = place[name]
    if value is None:
        place.pop(last, None)
    else:
        # A word such as `on`, which this writer takes for text and other readers do not.
        place[last if _is_plain(last) else DoubleQuotedScalarString(last)] = value


def _is_plain(word: str) -> bool:
    try:
        return bool(safe_load(word) == word)
    except ReaderErrors:
        return False
