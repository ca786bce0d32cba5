"""Mail templates, rendered with Jinja2."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import jinja2
import jinja2.nodes

from syftnotify.core.text import escape
from syftnotify.rendering.filters import FILTERS
from syftnotify.rendering.sandbox import CompiledTemplates, TemplateSandbox
from syftnotify.rendering.text_blocks import Phrases, TextBlocks
from syftnotify.system.paths import expand_path

_TEXT_LAYOUT = "_layout.txt"
_COMPILED = CompiledTemplates()
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

    The sentences of a mail are the blocks of its text template; its HTML template gets them as `text.<block>`. Phrases
    that several mails share are macros in `_phrases.txt`, which both call as `phrases.<macro>()`.
    """

    def __init__(self, templates_dir: str | Path | None = None, *, strict: bool = False) -> None:
        folders = [*([expand_path(templates_dir)] if templates_dir is not None else []), built_in_folder()]
        self._environment = TemplateSandbox(
            loader=jinja2.FileSystemLoader(folders, encoding="utf-8-sig"),
            autoescape=jinja2.select_autoescape(("html", "htm", "xml"), default=False),
            keep_trailing_newline=True,
            undefined=jinja2.StrictUndefined if strict else jinja2.Undefined,
            bytecode_cache=_COMPILED,
        )
        self._environment.filters |= FILTERS
        self._is_built_in = templates_dir is None
        fallback = None if self._is_built_in else cached_renderer(None).phrases
        self.phrases: Phrases = Phrases(self._environment, fallback)
        self._environment.globals["phrases"] = self.phrases
        # By template, which is another object after its file has changed.
        self._parents: WeakKeyDictionary[jinja2.Template, str | None] = WeakKeyDictionary()

    def render(self, template_name: str, context: Mapping[str, Any]) -> str:
        """Render `template_name`, such as `emails/new_job.html`, with the variables of `context`.

        Raises:
            jinja2.TemplateNotFound: there is no such template.
            jinja2.TemplateError: the template has an error, or uses something that the sandbox forbids.
        """
        self.phrases.clear()
        if template_name.endswith(".html"):
            text_template = f"{template_name.removesuffix('.html')}.txt"
            context = {**context, "text": TextBlocks(self.render_block, text_template, context)}
        text: str = self._environment.get_template(template_name).render(context)
        return text

    def render_block(self, template_name: str, block: str, context: Mapping[str, Any]) -> str:
        """Render one block of a text template, of the built-in template of that name, or of the layout.

        Raises:
            LookupError: none of these has the block.
        """
        built_in = cached_renderer(None)
        templates = itertools.chain(
            self.extended(template_name),
            built_in.extended(template_name) if not self._is_built_in else (),
            [self._environment.get_template(_TEXT_LAYOUT)],
        )
        for template in templates:
            if block in template.blocks:
                return "".join(template.blocks[block](template.new_context(dict(context)))).strip()
        raise LookupError(f"{template_name} has no block {block!r}")

    def extended(self, template_name: str) -> Iterator[jinja2.Template]:
        """The template and those that it extends, without the layout. Empty if there is no such template."""
        name: str | None = template_name
        while name is not None and name != _TEXT_LAYOUT:
            try:
                template = self._environment.get_template(name)
            except jinja2.TemplateNotFound:  # an HTML template of the user without a text template
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
