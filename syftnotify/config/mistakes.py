"""The errors of the schema as lines for a person: the path of the setting, what was expected, the nearest known key."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import date
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from syftnotify.config.schema import Config
from syftnotify.config.transport import TransportTypes
from syftnotify.config.values import CombinedKeys, got
from syftnotify.core.text import escape

_NAMING = frozenset({"transports", "secrets"})  # below them a number is a name, wrongly written, and no place in a list


def lines_of(error: ValidationError, types: TransportTypes) -> list[str]:
    """Every error, each as `path: text`."""
    lines = []
    for item in error.errors():
        path = _plain_path(item["loc"], types)
        if isinstance(item["input"], CombinedKeys):
            path = path[:-1]
        name = _spelled(path)
        kind = item["type"]
        if kind == "invalid_key" or (path[-1] == "[key]" and not isinstance(item["input"], str)):
            above = path[:-2] if path[-1] == "[key]" else path[:-1]
            place = f"{_spelled(above)}: " if above else ""
            lines.append(f"{place}{not_text_name(_written(item['input']))}")
        elif kind == "extra_forbidden":
            lines.append(f"{name}: {_unknown([str(part) for part in item['loc']], types)}")
        elif kind == "missing":
            lines.append(f"{name}: missing, it must be set")
        elif kind == "union_tag_not_found":
            lines.append(f"{name}.type: missing, expected {_listed(types)}")
        elif kind == "union_tag_invalid":
            tag = str(item.get("ctx", {}).get("tag", ""))
            near = difflib.get_close_matches(tag, types, n=1)
            guess = f", did you mean `{near[0]}`?" if near else ""
            lines.append(f"{name}.type: expected {_listed(types)}, got {escape(tag, limit=60)!r}{guess}")
        elif kind in {"model_type", "dict_type", "model_attributes_type"}:
            # Below the transports what stands in the wrong place may be a secret.
            what = type(item["input"]).__name__ if path[0] in _NAMING else got(item["input"])
            lines.append(f"{name}: expected keys with values, got {what}")
        else:
            lines.append(f"{name}: {_of_value(item)}")
    return lines


def _of_value(item: ErrorDetails) -> str:
    """What is wrong with a single value."""
    kind, value = item["type"], item["input"]
    if kind in {"tuple_type", "list_type"}:
        return f"expected a list, got {got(value)}"
    if kind == "string_type" and isinstance(value, (bool, int, float, date)):
        return f"YAML does not read {_written(value)} as text: put it into quotes"
    if kind == "string_type":
        return f"expected text, got {'a list' if isinstance(value, list) else 'keys with values'}"
    if kind == "literal_error":
        return f"expected {item['ctx']['expected'].replace(chr(39), '')}, got {got(value)}"
    return item["msg"].removeprefix("Value error, ")


def not_text_name(written: str) -> str:
    """The mistake that a name, as it is `written`, is not text for YAML."""
    return f"YAML does not read the name {written} as text: put the name into quotes"


def _written(value: Any) -> str:
    """How something without quotes is written that YAML reads as `value`, which is no text."""
    if isinstance(value, bool):
        return "`on`, `yes` or `true`" if value else "`off`, `no` or `false`"
    return f"`{'null' if value is None else escape(str(value), limit=60)}`"


def _listed(types: TransportTypes) -> str:
    *others, last = types
    return f"{', '.join(others)} or {last}"


def _plain_path(loc: tuple[int | str, ...], types: TransportTypes) -> list[int | str]:
    """Where the mistake is as the file has it: without the tag that pydantic puts in for a union."""
    path = list(loc)
    if len(path) > 2 and path[0] == "transports" and path[2] in types:
        del path[2]
    return path


def _spelled(path: Sequence[int | str]) -> str:
    """`routes[0].via`."""
    words = (f"[{part}]" if isinstance(part, int) and path[0] not in _NAMING else f".{part}" for part in path)
    return escape("".join(words).removeprefix("."))


def _unknown(path: list[str], types: TransportTypes) -> str:
    """What is wrong with a key that the schema does not accept: a second spelling, or no setting at all."""
    model: type[BaseModel] | None = Config
    server_keys: tuple[str, ...] = ()
    if path[0] == "transports" and len(path) > 2 and path[2] in types:
        model = types[path[2]]
        server_keys = types[path[2]].server_keys
        if path[-1] in server_keys:  # the parts are accepted only without the URL
            return f"cannot stand beside `{server_keys[0]}`, which names the server as well; remove one of them"
    else:
        for part in path[:-1]:
            if not part.isdigit():
                field = _fields(model).get(part)
                model = _model_in(field.annotation) if field else None
    if other := _other_spelling(model, path[-1]):
        return f"cannot stand beside `{other}`, which is the same setting; remove one of them"
    near = difflib.get_close_matches(path[-1], sorted({*_fields(model), *server_keys}), n=1, cutoff=0.6)
    known = {*(spellings(name, field)[0] for name, field in model.model_fields.items()), *server_keys} if model else ()
    return f"unknown, did you mean `{near[0]}`?" if near else f"unknown; known here: {', '.join(sorted(known))}"


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
    """The first model that is named in a field's type: `tuple[RouteSection, ...] | None`, say."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
