"""Templates of mails: built-in, custom, filters, sandbox."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.filters import indented
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer, built_in_folder
from tests.support import ANA, OWNER
from tests.unit.rendering.emails import item


def test_custom_template_replaces_one_built_in_file(tmp_path: Any) -> None:
    """S10"""
    (tmp_path / "emails").mkdir()
    (tmp_path / "emails" / "new_job.txt").write_text("Mine: {{ job_name }}")
    renderer = EmailRenderer(TemplateRenderer(tmp_path), sender="o@x.org", links=Links())
    message = renderer.message([item(EventKind.JOB_SUBMITTED)], "t@x.org")

    assert message.text == "Mine: income <survey>"
    assert "New job request" in message.html


def test_template_with_a_byte_order_mark_is_read_without_it(tmp_path: Path) -> None:
    """D4"""
    folder = tmp_path / "emails"
    folder.mkdir()
    (folder / "test.txt").write_bytes(codecs.BOM_UTF8 + b"hello")

    assert TemplateRenderer(tmp_path).render("emails/test.txt", {}) == "hello"


def test_indented_of_a_block_keeps_its_lines() -> None:
    """C6: lines without text stay empty."""
    assert indented("a\n\n\tb\r\nc\u2028d\n") == "    a\n\n    \tb\r\n    c\u2028    d\n"
    assert indented("") == ""


WHEN = datetime(2024, 1, 15, 15, 30, tzinfo=UTC)
_CONTEXTS: dict[str, dict[str, Any]] = {
    "new_job": {"job_name": "analysis_job", "submitter": ANA, "timestamp": WHEN},
    "job_approved": {"job_name": "analysis_job"},
    "job_executed": {"job_name": "analysis_job", "duration": 8130},
    "new_peer_request": {"ds_email": ANA},
    "peer_granted": {"do_email": OWNER},
    "peer_request_sent": {"do_email": OWNER},
}


@pytest.mark.parametrize("kind", ["html", "txt"])
@pytest.mark.parametrize(("name", "context"), _CONTEXTS.items())
def test_built_in_template_renders_with_the_documented_context(name: str, context: dict[str, Any], kind: str) -> None:
    """S10, S11."""
    text = TemplateRenderer().render(f"emails/{name}.{kind}", context)

    assert next(iter(context.values())) in text
    assert "None" not in text
    assert "Undefined" not in text
    assert ("</html>" in text) is (kind == "html")


@pytest.mark.parametrize("name", ["new_job", "job_approved", "job_executed", "new_peer_request", "peer_granted"])
def test_built_in_template_omits_missing_links(name: str) -> None:
    """S10: and one that is given is there."""
    renderer = TemplateRenderer()
    url = "https://box.example/somewhere"
    with_links = {**_CONTEXTS[name], "job_url": url, "results_url": url, "peer_url": url}

    assert "href" not in renderer.render(f"emails/{name}.html", _CONTEXTS[name])
    if name != "peer_granted":  # nothing is to be seen there
        assert url in renderer.render(f"emails/{name}.html", with_links)


@pytest.mark.parametrize("path", sorted((built_in_folder() / "emails").iterdir()), ids=lambda path: path.name)
def test_built_in_template_renders_without_a_context(path: Path) -> None:
    """S10: an absent variable is an absent line."""
    text = TemplateRenderer().render(f"emails/{path.name}", {})

    assert "Undefined" not in text
    assert "None" not in text


def test_built_in_template_escapes_names() -> None:
    """X11."""
    html = TemplateRenderer().render("emails/new_job.html", {"job_name": "<b>x</b>", "submitter": "{{ 7 * 7 }}"})

    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "{{ 7 * 7 }}" in html


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime(2024, 1, 15, 15, 30, tzinfo=UTC), "January 15, 2024 at 03:30 PM"),
        (datetime(2024, 1, 15, 15, 30), "January 15, 2024 at 03:30 PM"),  # noqa: DTZ001 - users hand in such ones
        (datetime(2024, 12, 1, 0, 5, tzinfo=UTC), "December 01, 2024 at 12:05 AM"),
        (datetime(2024, 6, 30, 12, 0, tzinfo=UTC), "June 30, 2024 at 12:00 PM"),
        ("2024-01-15T15:30:00+00:00", "January 15, 2024 at 03:30 PM"),
        ("2024-01-15T15:30:00Z", "January 15, 2024 at 03:30 PM"),
        ("yesterday", "yesterday"),
        (None, ""),
    ],
)
def test_datetime_filter_formats_as_documented(tmp_path: Path, value: Any, shown: str) -> None:
    """S12."""
    (tmp_path / "mine.txt").write_text("{{ value|datetime }}", encoding="utf-8")

    assert TemplateRenderer(tmp_path).render("mine.txt", {"value": value}) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (8130, "2 hours 15 minutes 30 seconds"),
        (3661, "1 hour 1 minute 1 second"),
        (60, "1 minute"),
        (3630, "1 hour 30 seconds"),
        (86400, "24 hours"),
        (0, "0 seconds"),
        (0.4, "0 seconds"),
        (59.9, "59 seconds"),
        ("90", "1 minute 30 seconds"),
        ("long", "long"),
        (-5, "0 seconds"),
        (float("inf"), "inf"),
        (None, ""),
    ],
)
def test_duration_filter_formats_as_documented(tmp_path: Path, value: Any, shown: str) -> None:
    """S12."""
    (tmp_path / "mine.txt").write_text("{{ value|duration }}", encoding="utf-8")

    assert TemplateRenderer(tmp_path).render("mine.txt", {"value": value}) == shown


@pytest.mark.parametrize("of", [str, Path])
def test_custom_folder_precedes_the_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: Callable[[str], str | Path]
) -> None:
    """S10: as text or as Path, with `~` expanded."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine" / "emails").mkdir(parents=True)
    (tmp_path / "mine" / "emails" / "new_job.html").write_text("<p>{{ job_name }}!</p>", encoding="utf-8")
    renderer = TemplateRenderer(of("~/mine"))

    assert renderer.render("emails/new_job.html", {"job_name": "a & b"}) == "<p>a &amp; b!</p>"
    assert "analysis_job" in renderer.render("emails/job_approved.html", _CONTEXTS["job_approved"])


def test_template_that_is_missing_is_named() -> None:
    """S10."""
    with pytest.raises(jinja2.TemplateNotFound, match="nothing"):
        TemplateRenderer().render("emails/nothing.html", {})


@pytest.mark.parametrize("name", ["../pyproject.toml", "emails/../../pyproject.toml", "/etc/hostname"])
def test_template_outside_the_folders_is_not_read(name: str) -> None:
    """X11."""
    with pytest.raises(jinja2.TemplateNotFound):
        TemplateRenderer().render(name, {})


ESCAPES = {
    "class": "{{ ''.__class__.__mro__ }}",
    "class alone": "{{ ''.__class__ }}",
    "item": "{{ ''['__class__'] }}",
    "filter": "{{ ''|attr('__class__') }}",
    "format": "{{ '{0.__class__}'.format(1) }}",
    "function": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "loop": "{% for name in job_name.__class__.__subclasses__() %}{{ name }}{% endfor %}",
    "change": "{{ given.append(1) }}",
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_template_that_accesses_internals_is_an_error(tmp_path: Path, escape: str) -> None:
    """C7: not an empty text, and nothing is run or changed."""
    (tmp_path / "mine.txt").write_text(escape, encoding="utf-8")
    given: list[int] = []

    with pytest.raises(jinja2.exceptions.SecurityError):
        TemplateRenderer(tmp_path).render("mine.txt", {"job_name": "survey", "given": given})

    assert given == []
