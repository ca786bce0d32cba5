"""The sentences that the text and the HTML of mails share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jinja2

_FILE = "_phrases.txt"
# Renders a block: template, block, variables.
RenderBlock = Callable[[str, str, Mapping[str, Any]], str]


class TextBlocks(dict[str, str]):
    """The blocks of a text template, each rendered when it is used."""

    def __init__(self, render_block: RenderBlock, template_name: str, context: Mapping[str, Any]) -> None:
        super().__init__()
        self._render_block = render_block
        self._template_name = template_name
        self._context = context

    def __missing__(self, block: str) -> str:
        try:
            text = self._render_block(self._template_name, block, self._context)
        except (TypeError, AttributeError) as error:  # Jinja takes them for a missing attribute
            raise jinja2.TemplateRuntimeError(f"{self._template_name}, block {block}: {error}") from error
        self[block] = text
        return text


class Phrases(dict[str, Callable[..., str]]):
    """The macros of `_phrases.txt` as functions that return plain text, which an HTML template escapes.

    A macro that is imported by an HTML template would return text that counts as escaped, although it is not. `clear`
    makes changes of the file effective.
    """

    def __init__(self, environment: jinja2.Environment, fallback: Phrases | None) -> None:
        """`fallback` has the macros that the user's own file lacks."""
        super().__init__()
        self._environment = environment
        self._fallback = fallback

    def __missing__(self, name: str) -> Callable[..., str]:
        macro = getattr(self._environment.get_template(_FILE).module, name, None)
        if macro is None and self._fallback is not None:
            return self._fallback[name]
        if macro is None:
            raise jinja2.TemplateRuntimeError(f"{_FILE} has no macro {name!r}")

        def plain(*arguments: Any, **options: Any) -> str:
            return str(macro(*arguments, **options)).strip()

        self[name] = plain
        return plain
