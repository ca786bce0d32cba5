"""Mail templates: rendering with Jinja2, and the filters that they may use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import jinja2
import jinja2.nodes
from markupsafe import Markup
from markupsafe import escape as escape_html

from syftnotify.core.identifiers import is_address
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
WORDS = "_words.txt"
_LINK_SIGNS = re.compile(r"(?<=\w)([.:@])(?=[\w/])")
_BLANKS = re.compile(r"(\s+)")
_CODE = re.compile(r"`([^`]+)`")
_BLANK_LINES = re.compile(r"\n{3,}")
# Exceptions that the rendering of a wrong template raises.
TEMPLATE_ERRORS = (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)


class TemplateRenderer:
    """Renders mail templates.

    Args:
        templates_dir: folder with the user's templates, which precede the built-in ones; None: only these.

        strict: a variable that does not exist is an error instead of empty text.

    Filters: `datetime` (`January 15, 2024 at 03:30 PM`), `moment` (`15 Jan 2024, 15:30 CET`), `duration` (`2 hours 15
    minutes 30 seconds`), `span` (`2 h 15 min`), `indented` and `quoted` (for external text in plain text), `unlinked`
    and `unlinked_names` (for names and for sentences in HTML), `code_marks` (for own sentences in HTML) and `tidy`.

    The sentences of a mail are the blocks of its text template; its HTML template gets them as `words.<block>`. Phrases
    that several mails share are macros in `_words.txt`, which both call as `w.<macro>()`.
    """

    def __init__(self, templates_dir: str | Path | None = None, *, strict: bool = False) -> None:
        folders = [*([expand_path(templates_dir)] if templates_dir is not None else []), built_in_folder()]
        self._environment = TemplateSandbox(
            loader=jinja2.FileSystemLoader(folders, encoding="utf-8-sig"),
            autoescape=jinja2.select_autoescape(("html", "htm", "xml"), default=False),
            keep_trailing_newline=True,
            undefined=jinja2.StrictUndefined if strict else jinja2.Undefined,
        )
        self._environment.filters |= {
            "datetime": format_datetime,
            "moment": format_moment,
            "duration": format_duration,
            "span": format_span,
            "indented": indented,
            "quoted": quoted,
            "unlinked": unlinked,
            "unlinked_names": unlinked_names,
            "code_marks": code_marks,
            "tidy": tidy,
        }
        self._environment.globals["w"] = _SharedWords(self._environment)
        self._is_built_in = templates_dir is None
        # By template, which is another object after its file has changed.
        self._parents: WeakKeyDictionary[jinja2.Template, str | None] = WeakKeyDictionary()

    def render(self, template_name: str, context: Mapping[str, Any]) -> str:
        """Render `template_name`, such as `emails/new_job.html`, with the variables of `context`.

        Raises:
            jinja2.TemplateNotFound: there is no such template.
            jinja2.TemplateError: the template has an error, or uses something that the sandbox forbids.
        """
        if template_name.endswith(".html"):
            context = {**context, "words": _Words(self, f"{template_name.removesuffix('.html')}.txt", context)}
        text: str = self._environment.get_template(template_name).render(context)
        return text

    def render_block(self, template_name: str, block: str, context: Mapping[str, Any]) -> str:
        """Render one block of a text template, of one that it extends, or of the built-in template of that name.

        Raises:
            LookupError: none of these has the block.
        """
        for template in self._with_parents(template_name):
            if block in template.blocks:
                return "".join(template.blocks[block](template.new_context(dict(context)))).strip()
        if not self._is_built_in:
            return cached_renderer(None).render_block(template_name, block, context)
        raise LookupError(f"{template_name} has no block {block!r}")

    def _with_parents(self, template_name: str) -> Iterator[jinja2.Template]:
        """The template and those that it extends; empty for an HTML template of the user without a text template."""
        name: str | None = template_name
        while name is not None:
            try:
                template = self._environment.get_template(name)
            except jinja2.TemplateNotFound:
                return
            yield template
            if template not in self._parents:
                self._parents[template] = self._parent_of(name)
            name = self._parents[template]

    def _parent_of(self, template_name: str) -> str | None:
        """The name of the template that a template extends."""
        loader = self._environment.loader
        assert loader is not None
        source, _, _ = loader.get_source(self._environment, template_name)
        extends = self._environment.parse(source).find(jinja2.nodes.Extends)
        name = extends.template if extends is not None else None
        return name.value if isinstance(name, jinja2.nodes.Const) else None

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


class _Words(dict[str, str]):
    """The blocks of a text template, each rendered when it is used."""

    def __init__(self, renderer: TemplateRenderer, template_name: str, context: Mapping[str, Any]) -> None:
        super().__init__()
        self._renderer = renderer
        self._template_name = template_name
        self._context = context

    def __missing__(self, block: str) -> str:
        self[block] = text = self._renderer.render_block(self._template_name, block, self._context)
        return text


class _SharedWords(dict[str, Callable[..., str]]):
    """The macros of `_words.txt` as functions that return plain text, which an HTML template escapes.

    A macro that is imported by an HTML template would return text that counts as escaped, although it is not.
    """

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__()
        self._environment = environment

    def __missing__(self, name: str) -> Callable[..., str]:
        def plain(*arguments: Any, **options: Any) -> str:
            macro = getattr(self._environment.get_template(WORDS).module, name)
            return str(macro(*arguments, **options)).strip()

        self[name] = plain
        return plain


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


def format_moment(value: Any) -> str:
    """`15 Jan 2024, 15:30 CET` for a `datetime` with a zone, in every locale; other values as `format_datetime`."""
    if not isinstance(value, datetime):
        return format_datetime(value)
    zone = value.tzname() or ""
    label = f"UTC{zone}" if zone[:1] in {"+", "-"} else zone  # zones without an abbreviation
    return (
        f"{value.day} {_MONTHS[value.month - 1][:3]} {value.year}, {value.hour:02d}:{value.minute:02d} {label}".strip()
    )


def format_span(value: Any) -> str:
    """`14 s`, `2 h 10 min`, `3 d 4 h`: a number of seconds in at most two units; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    seconds = max(0, int(value))
    units = ((seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s"))
    first = next((index for index, (count, _) in enumerate(units) if count), len(units) - 1)
    shown = units[first : first + 2] if seconds < 600 or first < 2 else units[first : first + 1]
    return " ".join(f"{count} {unit}" for count, unit in shown if count) or "0 s"


def quoted(value: Any) -> str:
    """External text of several lines as a quotation: each line begins with `> `."""
    return "\n".join(f"> {line}".rstrip() for line in str(value).splitlines())


def unlinked(value: Any) -> Markup:
    """A name as HTML that mail programs do not turn into a link, such as `main.py` or a host name.

    A zero-width non-joiner after each dot and colon is invisible, and ends what looks like an address.
    """
    escaped = str(escape_html("" if value is None else value))
    return Markup(_LINK_SIGNS.sub("\\1\N{ZERO WIDTH NON-JOINER}", escaped))  # noqa: S704 - escaped above


def unlinked_names(value: Any) -> Markup:
    """A sentence as HTML; like `unlinked`, except for mail addresses, which readers copy."""
    parts = _BLANKS.split(str(value))
    shown = (escape_html(part) if is_address(part.strip(".,;:()")) else unlinked(part) for part in parts)
    return Markup().join(shown)


def code_marks(value: Any) -> Markup:
    """An own sentence as HTML, with what is between backquotes as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape_html(value))))  # noqa: S704 - escaped here


def tidy(value: Any) -> str:
    """Text without blanks at the ends of lines, and with at most one blank line in a row."""
    text = "\n".join(line.rstrip() for line in str(value).strip().split("\n"))
    return _BLANK_LINES.sub("\n\n", text) + "\n"


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
