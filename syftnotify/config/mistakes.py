"""The errors of the schema as lines for a person: the path of the setting, what was expected, the nearest known key."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import date
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from syftnotify.config.schema import PIECES, TRANSPORT_TYPES, Config, Pieces
from syftnotify.config.values import got
from syftnotify.core.text import escape

_NAMING = frozenset({"transports", "secrets"})  # below them a number is a name, wrongly written, and no place in a list


def lines_of(error: ValidationError) -> list[str]:
    """Every error, each as `path: text`."""
    lines = []
    for item in error.errors():
        path = _plain_path(item["loc"])
        if isinstance(item["input"], Pieces):  # nobody wrote `smtp_url`
            path = path[:-1]
        name = _spelled(path)
        kind = item["type"]
        if kind == "invalid_key" or (path[-1] == "[key]" and not isinstance(item["input"], str)):
            above = path[:-2] if path[-1] == "[key]" else path[:-1]
            place = f"{_spelled(above)}: " if above else ""
            lines.append(f"{place}{not_text_name(_written(item['input']))}")
        elif kind == "extra_forbidden":
            lines.append(f"{name}: {_unknown([str(part) for part in item['loc']])}")
        elif kind == "missing":
            lines.append(f"{name}: missing, it must be set")
        elif kind == "union_tag_not_found":
            lines.append(f"{name}.type: missing, expected {_types()}")
        elif kind == "union_tag_invalid":
            tag = str(item.get("ctx", {}).get("tag", ""))
            near = difflib.get_close_matches(tag, TRANSPORT_TYPES, n=1)
            guess = f", did you mean `{near[0]}`?" if near else ""
            lines.append(f"{name}.type: expected {_types()}, got {escape(tag, limit=60)!r}{guess}")
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


def _types() -> str:
    *others, last = TRANSPORT_TYPES
    return f"{', '.join(others)} or {last}"


def _plain_path(loc: tuple[int | str, ...]) -> list[int | str]:
    """Where the mistake is as the file has it: without the tag that pydantic puts in for a union."""
    path = list(loc)
    if len(path) > 2 and path[0] == "transports" and path[2] in TRANSPORT_TYPES:
        del path[2]
    return path


def _spelled(path: Sequence[int | str]) -> str:
    """`routes[0].via`."""
    words = (f"[{part}]" if isinstance(part, int) and path[0] not in _NAMING else f".{part}" for part in path)
    return escape("".join(words).removeprefix("."))


def _unknown(path: list[str]) -> str:
    model: type[BaseModel] | None = Config
    if path[0] == "transports" and len(path) > 2 and path[2] in TRANSPORT_TYPES:
        known = set(_fields(TRANSPORT_TYPES[path[2]]))
        if "smtp_url" in known:
            if path[-1] in PIECES:
                return "cannot stand beside `smtp_url`, which names the server as well; remove one of them"
            known.update(PIECES)
    else:
        for part in path[:-1]:
            if not part.isdigit():
                field = _fields(model).get(part)
                model = _model_in(field.annotation) if field else None
        known = set(_fields(model))
    near = difflib.get_close_matches(path[-1], sorted(known), n=1, cutoff=0.6)
    return f"unknown, did you mean `{near[0]}`?" if near else f"unknown; known here: {', '.join(sorted(known))}"


def _fields(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """By the names that the file has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()} if model else {}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The first model that is named in a field's type: `tuple[RouteSection, ...] | None`, say."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
