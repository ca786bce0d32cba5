"""Schema errors as lines of text: the path of the setting, what was expected, and the most similar known key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from syftnotify.config.schema import Config
from syftnotify.config.transport import TransportTypes
from syftnotify.config.values import CombinedKeys, redacted_repr
from syftnotify.config.yaml_reader import unquoted_name_error
from syftnotify.core.text import did_you_mean, escape, listed

_Path = Sequence[int | str]
# Sections whose keys are names chosen by the user: a number in such a path is an unquoted name, not a list index.
_NAMED_SECTIONS = frozenset({"transports", "secrets"})
# Error types of pydantic for a value where a mapping is expected.
_MAPPING_ERRORS = frozenset({"model_type", "dict_type", "model_attributes_type"})


def error_lines(error: ValidationError, types: TransportTypes) -> list[str]:
    """One line `path: text` per error; `types` are the known types of transports."""
    return [_line(item, types) for item in error.errors()]


def _line(item: ErrorDetails, types: TransportTypes) -> str:
    path = _file_path(item["loc"], types)
    if isinstance(item["input"], CombinedKeys):  # the last key is not in the file, but stands for several ones
        path = path[:-1]
    kind = item["type"]
    if kind == "invalid_key" or (path[-1] == "[key]" and not isinstance(item["input"], str)):
        section = path[:-2] if path[-1] == "[key]" else path[:-1]
        prefix = f"{_format_path(section)}: " if section else ""
        return prefix + unquoted_name_error(_yaml_spelling(item["input"]))
    name = _format_path(path)
    if kind == "extra_forbidden":
        return f"{name}: {_unknown_key([str(part) for part in item['loc']], types)}"
    if kind == "missing":
        return f"{name}: missing; it must be set"
    if kind == "union_tag_not_found":
        return f"{name}.type: missing; expected {listed(list(types), 'or')}"
    if kind == "union_tag_invalid":
        return f"{name}.type: {_unknown_type(str(item.get('ctx', {}).get('tag', '')), types)}"
    if kind in _MAPPING_ERRORS:
        # The value may be a secret that was written in the wrong place.
        value = type(item["input"]).__name__ if path[0] in _NAMED_SECTIONS else redacted_repr(item["input"])
        return f"{name}: expected keys with values, got {value}"
    return f"{name}: {_value_error(item)}"


def _value_error(item: ErrorDetails) -> str:
    kind, value = item["type"], item["input"]
    if kind in {"tuple_type", "list_type"}:
        return f"expected a list, got {redacted_repr(value)}"
    if kind == "string_type" and isinstance(value, (bool, int, float, date)):
        return f"YAML does not read {_yaml_spelling(value)} as text; put it in quotes"
    if kind == "string_type":
        return f"expected text, got {'a list' if isinstance(value, list) else 'keys with values'}"
    if kind == "literal_error":
        return f"expected {item['ctx']['expected'].replace(chr(39), '')}, got {redacted_repr(value)}"
    return item["msg"].removeprefix("Value error, ")


def _unknown_type(tag: str, types: TransportTypes) -> str:
    return f"expected {listed(list(types), 'or')}, got {escape(tag, limit=60)!r}{did_you_mean(tag, types)}"


def _unknown_key(path: list[str], types: TransportTypes) -> str:
    """The error for a key that the schema refuses: an unknown one, or a second key for the same setting."""
    model = _model_at(path[:-1], types)
    server_keys = _server_keys(path, types)
    if path[-1] in server_keys:  # accepted only without the URL
        return f"not allowed together with `{server_keys[0]}`, which already names the server; remove one of them"
    if other := _other_spelling(model, path[-1]):
        return f"not allowed together with `{other}`, which is the same setting; remove one of them"
    if guess := did_you_mean(path[-1], sorted({*_fields(model), *server_keys})):
        return f"unknown key{guess}"
    fields = model.model_fields.items() if model else ()
    known = {*(spellings(name, field)[0] for name, field in fields), *server_keys}
    return f"unknown key; known keys: {', '.join(sorted(known))}"


def _model_at(path: list[str], types: TransportTypes) -> type[BaseModel] | None:
    """The model of the section at `path`, which contains the type of a transport; None if there is none."""
    if path[:1] == ["transports"] and len(path) > 2 and path[2] in types:
        return types[path[2]]
    model: type[BaseModel] | None = Config
    for part in path:
        if not part.isdigit():
            field = _fields(model).get(part)
            model = _model_in(field.annotation) if field else None
    return model


def _server_keys(path: list[str], types: TransportTypes) -> tuple[str, ...]:
    is_transport = path[0] == "transports" and len(path) > 2 and path[2] in types
    return types[path[2]].server_keys if is_transport else ()


def _yaml_spelling(value: Any) -> str:
    """How `value`, which YAML does not read as text, is written without quotes."""
    if isinstance(value, bool):
        return "`on`, `yes` or `true`" if value else "`off`, `no` or `false`"
    return f"`{'null' if value is None else escape(str(value), limit=60)}`"


def _file_path(loc: tuple[int | str, ...], types: TransportTypes) -> _Path:
    """The path in the file: without the type of a transport, which pydantic adds for a union."""
    path = list(loc)
    if len(path) > 2 and path[0] == "transports" and path[2] in types:
        del path[2]
    return path


def _format_path(path: _Path) -> str:
    """The path as `routes[0].via`."""
    parts = (f"[{part}]" if isinstance(part, int) and path[0] not in _NAMED_SECTIONS else f".{part}" for part in path)
    return escape("".join(parts).removeprefix("."))


def _fields(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """The fields by each of their spellings in the file."""
    if model is None:
        return {}
    return {spelling: field for name, field in model.model_fields.items() for spelling in spellings(name, field)}


def spellings(name: str, field: FieldInfo) -> list[str]:
    """The accepted spellings in the file of the field `name`, the current one first."""
    if isinstance(field.validation_alias, AliasChoices):
        return [str(choice) for choice in field.validation_alias.choices]
    return [field.alias or name]


def _other_spelling(model: type[BaseModel] | None, key: str) -> str:
    """The other accepted spelling of `key`, empty if there is none."""
    field = _fields(model).get(key)
    return next((each for each in spellings(key, field) if each != key), "") if field else ""


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The first model in the type of a field such as `tuple[RouteSection, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
