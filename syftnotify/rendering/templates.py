"""Mail templates: rendering with Jinja2, and the filters that they may use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from syftnotify.core.text import escape, plural
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
# Exceptions that the rendering of a wrong template raises.
TEMPLATE_ERRORS = (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)


class TemplateRenderer:
    """Renders mail templates.

    Args:
        templates_dir: folder with the user's templates, which precede the built-in ones; None: only these.

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
        """Render `template_name`, such as `emails/new_job.html`, with the variables of `context`.

        Raises:
            jinja2.TemplateNotFound: there is no such template.
            jinja2.TemplateError: the template has an error, or uses something that the sandbox forbids.
        """
        text: str = self._environment.get_template(template_name).render(context)
        return text

    def errors(self) -> dict[str, str]:
        """The error messages of the templates that cannot be compiled, by name."""
        errors = {}
        for name in self._environment.list_templates():
            try:
                self._environment.get_template(name)
            except (jinja2.TemplateError, OSError, ValueError) as error:
                line = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
                errors[name] = f"{line}{error}"
        return errors


@cache
def cached_renderer(folder: Path | None) -> TemplateRenderer:
    """The renderer for `folder`, cached, because compiling the templates takes longer than rendering them."""
    return TemplateRenderer(folder)


@cache
def built_in_folder() -> Path:
    """The folder of the built-in templates: in the package if it is installed, otherwise at the top of the checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def template_error(name: str, error: Exception) -> str:
    """The text of an error in the mail template `name`, which is one of the user's own."""
    return f"emails/{name}.txt or emails/{name}.html cannot be used: {escape(str(error))}"


def format_datetime(value: Any) -> str:
    """`January 15, 2024 at 03:30 PM`, in every locale, for a `datetime` or an ISO 8601 text.

    Other text is returned unchanged, None as empty text.
    """
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
    """External text with four spaces before each line, so that no line looks like one of the mail itself.

    Lines end as for `str.splitlines`, which recognizes every line end of mail programs. Blank lines stay unchanged.
    """
    lines = str(value).splitlines(keepends=True)
    return "".join(f"    {line}" if line.strip() else line for line in lines)


def format_duration(value: Any) -> str:
    """`2 hours 15 minutes 30 seconds` for a number of seconds, without the parts that are zero.

    Anything else is returned as text, None as empty text.
    """
    try:
        seconds = max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return "" if value is None else str(value)
    parts = ((seconds // 3600, "hour"), (seconds // 60 % 60, "minute"), (seconds % 60, "second"))
    return " ".join(plural(count, unit) for count, unit in parts if count) or "0 seconds"
