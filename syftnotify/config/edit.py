"""Writing `config.yaml`: only the keys that were named change, and comments stay."""

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

from syftnotify.errors import ConfigError
from syftnotify.files import write_whole
from syftnotify.paths import Home
from syftnotify.text import decoded

_FRESH = """\
# syftnotify's configuration. Every setting is described in config.example.yaml and docs/configuration.md.
do_email:
syftbox_root:

notify:
  interval: 30          # seconds between two looks
  monitor_jobs: true
  monitor_peers: true
"""


def edit(home: Home, changes: Mapping[tuple[str, ...], Any], *, fresh: bool = False) -> None:
    """Set the keys of `changes` (path -> value; None removes it) in the configuration of `home`.

    A missing file, or `fresh`, starts from a commented skeleton.

    Raises:
        ConfigError: the file that is there is not YAML.
    """
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True  # an "off" that loses its quotes is another value
    try:
        text = _FRESH if fresh or not home.config.exists() else decoded(home.config.read_bytes())
        document = yaml.load(text)
    except (YAMLError, ValueError) as error:
        raise ConfigError(
            f"{home.config} is not YAML, so nothing was changed", hint="mend it, or start over with `--force`"
        ) from error
    if document is None:
        document = CommentedMap()
    if not isinstance(document, CommentedMap):
        raise ConfigError(f"{home.config} has no keys, so nothing was changed", hint="start over with `--force`")
    for path, value in changes.items():
        _set(document, path, value)
    out = io.StringIO()
    yaml.dump(document, out)
    home.create()
    write_whole(home.config, out.getvalue().encode("utf-8"))


def written_transports(home: Home) -> dict[str, dict[str, Any]]:
    """The transports as the file of `home` has them, without any defaults."""
    document = YAML(typ="safe").load(decoded(home.config.read_bytes()))
    return dict(document.get("transports") or {})


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
