"""Turning a template and a context into text: Jinja2, one's own folder first, the built-in templates behind it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from syftnotify.rendering.sandbox import TemplateSandbox
from syftnotify.system.paths import expand_path

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


class TemplateRenderer:
    """Renders the templates of mails.

    Args:
        templates_dir: a folder of one's own; what it lacks comes from the built-in templates.

    Filters: `datetime` (`January 15, 2024 at 03:30 PM`), `duration` (`2 hours 15 minutes 30 seconds`) and `indented`
    (for code and stderr in plain text).
    """

    def __init__(self, templates_dir: str | Path | None = None) -> None:
        folders = [*([expand_path(templates_dir)] if templates_dir is not None else []), built_in_folder()]
        self._environment = TemplateSandbox(
            loader=jinja2.FileSystemLoader(folders, encoding="utf-8-sig"),
            autoescape=jinja2.select_autoescape(("html", "htm", "xml"), default=False),
            keep_trailing_newline=True,
        )
        self._environment.filters["datetime"] = format_datetime
        self._environment.filters["duration"] = format_duration
        self._environment.filters["indented"] = indented

    def render(self, template_name: str, context: Mapping[str, Any]) -> str:
        """The text of `template_name`, such as `emails/new_job.html`, with the variables of `context`.

        Raises:
            jinja2.TemplateNotFound: there is no such template.
            jinja2.TemplateError: it is wrong, or does what the sandbox forbids.
        """
        text: str = self._environment.get_template(template_name).render(context)
        return text

    def mistakes(self) -> dict[str, str]:
        """The templates that cannot be read, with what is wrong."""
        found = {}
        for name in self._environment.list_templates():
            try:
                self._environment.get_template(name)
            except (jinja2.TemplateError, OSError, ValueError) as error:
                line = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
                found[name] = f"{line}{error}"
        return found


@cache
def renderer_of(folder: Path | None) -> TemplateRenderer:
    """The renderer of one folder of one's own, made once: compiling its templates costs more than all that follows."""
    return TemplateRenderer(folder)


@cache
def built_in_folder() -> Path:
    """The templates that come with the program: inside an installed package, at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def format_datetime(value: Any) -> str:
    """`January 15, 2024 at 03:30 PM`, in any locale; text that is no ISO time is left as it is."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return str(value)
    if not isinstance(value, datetime):
        return "" if value is None else str(value)
    half = "AM" if value.hour < 12 else "PM"
    hour = value.hour % 12 or 12
    return f"{_MONTHS[value.month - 1]} {value.day:02d}, {value.year} at {hour:02d}:{value.minute:02d} {half}"


def indented(value: Any) -> str:
    """Foreign text with four spaces before each line, so that no line of it can imitate one of the mail's own.

    Lines end where `str.splitlines` ends them, which is wherever a mail program may; lines without text stay empty.
    """
    lines = str(value).splitlines(keepends=True)
    return "".join(f"    {line}" if line.strip() else line for line in lines)


def format_duration(value: Any) -> str:
    """`2 hours 15 minutes 30 seconds` for a number of seconds; parts that are zero are left out."""
    try:
        seconds = max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return "" if value is None else str(value)
    parts = ((seconds // 3600, "hour"), (seconds // 60 % 60, "minute"), (seconds % 60, "second"))
    words = [f"{count} {name}{'' if count == 1 else 's'}" for count, name in parts if count]
    return " ".join(words) or "0 seconds"
