"""Reading `config.yaml` as YAML: size limit, one document, no aliases, duplicate keys reported."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

from syftnotify.core.errors import ConfigError
from syftnotify.core.text import decode, escape
from syftnotify.system.permissions import owner_suffix

_MAX_BYTES = 1 << 20


def read_config_file(path: Path) -> bytes:
    """The content of a `config.yaml` of at most 1 MiB.

    Raises:
        ConfigError: it is missing, not a regular file, larger, or cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would block
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise ConfigError(f"{path} is {kind}", hint="move it away, then run `notify init`")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration at {path}", hint="run `notify init`") from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}{owner_suffix(path)}",
            hint="give yourself read permission, or choose another `--home`",
        ) from error
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path} is larger than 1 MiB, so it is not a configuration", hint="move it away")
    return content


def parse_yaml(content: bytes) -> tuple[dict[str, Any], list[str]]:
    """The mapping in a `config.yaml`, and an error for each duplicate key.

    Raises:
        ConfigError: it is not YAML, not one mapping, or has aliases.
    """
    try:
        text = decode(content)
    except ValueError as error:
        raise ConfigError(f"config.yaml: {error}") from None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        duplicates = list(_duplicate_keys(node))
        raw = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error) from error
    except ReaderError as error:
        raise _character_error(error, text) from error
    except _READER_ERRORS as error:
        raise ConfigError(
            f"config.yaml: not YAML: {escape(str(error))}",
            hint="it must be UTF-8 text, `key: value` on each line",
        ) from error
    if raw is None:
        return {}, duplicates
    if not isinstance(raw, dict):
        raise ConfigError("config.yaml: expected keys with values, such as `do_email: owner@example.org`")
    return raw, duplicates


def unquoted_name_error(written: str) -> str:
    """The error for a name, as `written` in the file, that YAML does not read as text."""
    return f"YAML does not read the name {written} as text; put it in quotes"


# What the YAML reader raises for hostile input, besides its own errors: invalid dates, unhashable keys, deep nesting.
_READER_ERRORS = (
    yaml.YAMLError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)


def _syntax_error(error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark
    position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = error.problem or "not YAML"
    if problem == "but found another document":
        problem = "a second YAML document begins here; a configuration is one document"
    if "'\\t'" in problem:
        problem = "YAML does not allow tabs for indentation or before a value; use spaces"
    hint = "correct that line, or the one before it; a `#` begins a comment, except in quotes"
    return ConfigError(f"config.yaml: {position}{problem}", hint=hint)


def _character_error(error: ReaderError, text: str) -> ConfigError:
    line, code = text.count("\n", 0, error.position) + 1, f"U+{ord(text[error.position]):04X}"
    return ConfigError(
        f"config.yaml: line {line}: the character {code} is not allowed in YAML", hint="remove that character"
    )


_STRING_TAG = "tag:yaml.org,2002:str"
# The patterns of YAML 1.1 without those for numbers of base 60.
_NUMBERS = {
    "tag:yaml.org,2002:int": r"^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$",
    "tag:yaml.org,2002:float": (
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
}


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without aliases and numbers of base 60: 22:00 is text, as in YAML 1.2, and not the number 1320."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node. Raises: ConfigError, it is an alias."""
        if self.check_event(yaml.AliasEvent):
            raise ConfigError("config.yaml: YAML aliases (*name) are not supported", hint="repeat the value instead")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, re.compile(_NUMBERS[tag]) if tag in _NUMBERS else pattern) for tag, pattern in resolvers]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _duplicate_keys(node: yaml.Node | None, path: str = "") -> Iterator[str]:
    """An error for each key that equals another one of its mapping; YAML readers silently keep the last value."""
    if isinstance(node, yaml.SequenceNode):
        for index, entry in enumerate(node.value):
            yield from _duplicate_keys(entry, f"{path}[{index}]")
    if not isinstance(node, yaml.MappingNode):
        return
    names: set[str] = set()
    values: set[object] = set()  # of keys that are not text: `1` and `yes` are equal in Python
    for key, value in node.value:
        name = f"{path}.{key.value}".removeprefix(".")
        if name in names:
            yield f"{escape(name)}: duplicate key (again in line {key.start_mark.line + 1}); merge both"
        elif isinstance(key, yaml.ScalarNode) and key.tag != _STRING_TAG:
            constructed = yaml.load(key.value, Loader=_Loader)  # noqa: S506 - a SafeLoader
            if constructed in values:
                yield f"{f'{escape(path)}: ' if path else ''}{unquoted_name_error(f'`{escape(key.value, limit=60)}`')}"
            values.add(constructed)
        names.add(name)
        yield from _duplicate_keys(value, name)
