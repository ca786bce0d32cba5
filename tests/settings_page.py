"""Writes docs/settings.md, the reference of all settings, from the models of the configuration.

python -m tests.settings_page
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import time
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from syftnotify.config.schema import Config
from syftnotify.core.kinds import EventKind
from syftnotify.transports.registry import TRANSPORT_TYPES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
_INTRODUCTION = """\
# Settings

Every setting of `config.yaml` with its default, from the models that check it. [Configuration](configuration.md)
explains them with examples. `python -m tests.settings_page` writes this page.
"""
_HEAD = "| setting | default | meaning |\n|---|---|---|"


def page() -> str:
    """The content of the page."""
    parts = [_INTRODUCTION, *_sections("", Config)]
    for name, model in TRANSPORT_TYPES.items():
        parts.append(_section(f"Transports of type `{name}`", model, "transports.<name>."))
    return "\n".join(parts)


def _sections(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    """The section of a model, then those of its nested ones."""
    title = f"`{prefix.rstrip('.')}`" if prefix else "Top level"
    yield _section(title, model, prefix)
    for key, field in model.model_fields.items():
        inner = _inner_model(field.annotation)
        if inner is not None and key not in {"transports", "extra_routes"}:  # the latter are like `routes`
            is_list = tuple in _origins(field.annotation)
            yield from _sections(f"{prefix}{field.alias or key}{'[]' if is_list else ''}.", inner)


def _section(title: str, model: type[BaseModel], prefix: str) -> str:
    rows = [
        f"| `{prefix}{field.alias or key}` | {_default(field)} | {_meaning(field)} |"
        for key, field in model.model_fields.items()
        if _inner_model(field.annotation) is None and key not in {"type", "transports"}
    ]
    text = (model.__doc__ or "").strip().partition("\n")[0] if prefix else "The keys without a section of their own."
    return f"## {title}\n\n{text}\n\n{_HEAD}\n" + "\n".join(rows) + "\n"


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model that a field has, or a list or a mapping of; None: it has plain values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _inner_model(each)) is not None), None)


def _origins(annotation: Any) -> set[Any]:
    """The generic types in an annotation."""
    found = {get_origin(annotation)}
    return found.union(*map(_origins, get_args(annotation)))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return "must be set"
    if value is None:
        return "unset"
    if value in ((), {}, "", frozenset()):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, float) and value.is_integer():
        return f"`{value:g}`"
    if value == frozenset(EventKind):
        return "all"
    if isinstance(value, (tuple, list, frozenset)):
        return f"`{', '.join(sorted(map(str, value)))}`"
    return f"`{value:%H:%M}`" if isinstance(value, time) else f"`{value}`"


def _meaning(field: FieldInfo) -> str:
    text = (field.description or "").replace("|", "\\|")
    choices = _choices(field.annotation)
    return f"{text} ({', '.join(f'`{each}`' for each in choices)})" if choices and text else text or "-"


def _choices(annotation: Any) -> tuple[str, ...]:
    """The only values that a field may have; empty: it may have others."""
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    if isinstance(annotation, types.UnionType):
        return next((found for each in get_args(annotation) if (found := _choices(each))), ())
    return ()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
