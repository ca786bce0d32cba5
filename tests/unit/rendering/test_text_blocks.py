"""The sentences of a mail: from its text template into its HTML, and their filters."""

from __future__ import annotations

from pathlib import Path

import pytest

from syftnotify.rendering.filters import format_span, unlinked, unlinked_names
from syftnotify.rendering.templates import TemplateRenderer

CONTEXT = {"job_name": "<survey>", "submitter": "ana@uni.example", "status": "waiting", "audience": "owner"}


def test_words_of_an_own_text_template_are_in_the_built_in_html(tmp_path: Path) -> None:
    (tmp_path / "emails").mkdir()
    own = '{% extends "_layout.txt" %}{% block headline %}Neuer Auftrag <{{ job_name }}>{% endblock %}'
    (tmp_path / "emails" / "new_job.txt").write_text(own)
    html = TemplateRenderer(tmp_path).render("emails/new_job.html", CONTEXT)

    assert "Neuer Auftrag &lt;&lt;survey&gt;&gt;" in html
    assert "it does not run before you approve it" in html, "blocks that it lacks are built-in"


def test_words_of_own_shared_phrases_are_used_and_escaped(tmp_path: Path) -> None:
    (tmp_path / "_phrases.txt").write_text("{% macro state(kind) %}<b>{% endmacro %}")
    html = TemplateRenderer(tmp_path).render("emails/job_approved.html", CONTEXT)

    assert "&lt;b&gt;" in html


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 s"), (14, "14 s"), (61, "1 min 1 s"), (900, "15 min"), (7800, "2 h 10 min")),
        *((86400, "1 day"), (100_000, "1 day 3 h"), ("x", ""), (None, ""), (True, "")),
    ],
)
def test_span_has_at_most_two_units(seconds: object, text: str) -> None:
    assert format_span(seconds) == text


def test_unlinked_interrupts_what_looks_like_an_address() -> None:
    assert unlinked("a.b <http://c> d@e.f") == ("a.\u200cb &lt;http:\u200c//c&gt; d@\u200ce.\u200cf")
    assert unlinked_names("ask ana@uni.example, about main.py") == "ask ana@uni.example, about main.\u200cpy"
