"""Writes docs/settings.md, the reference of all settings, from the models of the configuration.

python -m tests.settings_page
"""

from __future__ import annotations

import types
from collections.abc import Collection, Iterator
from datetime import time
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from syftnotify.config.schema import Config
from syftnotify.config.transport import TransportSettings
from syftnotify.core.kinds import EventKind
from syftnotify.transports.mail import MailSettings
from syftnotify.transports.registry import TRANSPORT_TYPES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
_INTRODUCTION = """\
# Settings

Every setting of `config.yaml` with its default. [Configuration](configuration.md) explains how they work together,
and `config.example.yaml` has all of them with examples.
"""
_HEAD = "| setting | default | meaning |\n|---|---|---|"
_TRANSPORT = "transports.<name>."


def page() -> str:
    """The content of the page."""
    parts = [_INTRODUCTION, *_sections("", Config, "Keys outside of a section.")]
    text = _sentence(Config.model_fields["transports"].description or "")
    parts.append(_section("`transports`", TransportSettings, TransportSettings.model_fields, _TRANSPORT, text))
    mail = MailSettings.model_fields.keys() - TransportSettings.model_fields.keys()
    title = "Transports of types `gmail`, `smtp` and `maildir`"
    parts.append(_section(title, MailSettings, mail, _TRANSPORT, "Further settings of transports that send mail."))
    for name, model in TRANSPORT_TYPES.items():
        own = model.model_fields.keys() - TransportSettings.model_fields.keys()
        own -= mail if issubclass(model, MailSettings) else set()
        parts.append(_section(f"Transports of type `{name}`", model, own, _TRANSPORT, _first_line(model)))
    return "\n".join(parts)


def _sections(prefix: str, model: type[BaseModel], text: str) -> Iterator[str]:
    """The section of a model, with a text about it, then those of its nested ones."""
    title = f"`{prefix.rstrip('.')}`" if prefix else "Top level"
    nested = {key: inner for key in model.model_fields if (inner := _nested_model(model, key)) is not None}
    yield _section(title, model, model.model_fields.keys() - nested.keys() - {"transports"}, prefix, text)
    for key, inner in nested.items():
        field = model.model_fields[key]
        is_list = tuple in _origins(field.annotation)
        name = f"{prefix}{field.alias or key}{'[]' if is_list else ''}."
        yield from _sections(name, inner, _sentence(field.description or _first_line(inner)))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _section(title: str, model: type[BaseModel], keys: Collection[str], prefix: str, text: str) -> str:
    rows = [
        f"| `{prefix}{field.alias or key}` | {_defaults(model, key)} | {_meaning(field)} |"
        for key, field in model.model_fields.items()
        if key in keys
    ]
    return f"## {title}\n\n{text}\n\n{_HEAD}\n" + "\n".join(rows) + "\n"


def _nested_model(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The model of a section, or of the items of a list; None: the setting has plain values."""
    if key in {"transports", "extra_routes", "excluding"}:  # the latter are like `routes` and `match`
        return None
    return _model_in(model.model_fields[key].annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)


def _origins(annotation: Any) -> set[Any]:
    """The generic types in an annotation."""
    found = {get_origin(annotation)}
    return found.union(*map(_origins, get_args(annotation)))


def _defaults(model: type[BaseModel], key: str) -> str:
    """The default; for all transports together, those of the types that differ from the others."""
    if model is not TransportSettings or key == "type":
        return _default(model.model_fields[key])
    by_type = {name: _default(each.model_fields[key]) for name, each in TRANSPORT_TYPES.items()}
    usual = _default(model.model_fields[key])
    special: dict[str, list[str]] = {}
    for name, default in by_type.items():
        if default != usual:
            special.setdefault(default, []).append(name)
    named = [f"{', '.join(names)}: {default}" for default, names in special.items()]
    return "; ".join([*named, f"others: {usual}"]) if named else usual


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return "must be set"
    if value is None:
        return "unset"
    if value in ((), {}, "", frozenset()) or isinstance(value, BaseModel):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, (int, float)):
        return f"`{_duration(value)}`" if _is_duration(field) else f"`{value:g}`"
    if value in (frozenset(EventKind), frozenset(range(7))):
        return "all"
    if isinstance(value, (tuple, list, frozenset)):
        return f"`{', '.join(sorted(map(str, value)))}`"
    return f"`{value:%H:%M}`" if isinstance(value, time) else f"`{value}`"


def _is_duration(field: FieldInfo) -> bool:
    """Whether `2m` is a value of the setting."""
    annotation: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    try:
        return bool(TypeAdapter(annotation).validate_python("2m") == 120.0)
    except ValidationError:
        return False


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g}m" if seconds >= 120 and seconds % 60 == 0 else f"{seconds:g}s"


def _meaning(field: FieldInfo) -> str:
    text = (field.description or "").replace("|", "\\|")
    choices = _choices(field.annotation)
    return f"{text} ({', '.join(f'`{each}`' for each in choices)})" if choices and text else text or "-"


def _choices(annotation: Any) -> tuple[str, ...]:
    """The only values that a setting may have; empty: it may have others."""
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    if isinstance(annotation, types.UnionType):
        return next((found for each in get_args(annotation) if (found := _choices(each))), ())
    return ()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
