"""`notify preview`: print the mails of an event kind or a template."""

from __future__ import annotations

from pathlib import Path

from syftnotify.cli.console import say
from syftnotify.core.errors import NotifyError
from syftnotify.core.kinds import EventKind
from syftnotify.core.text import plural
from syftnotify.services.preview import previews, template_names
from syftnotify.system.paths import Home


def show(home: Home, name: str, *, as_html: Path | None) -> None:
    """Print the mails of a template or an event kind, or write the HTML of the last one to a file.

    Raises:
        NotifyError: there is no such template or event kind, or the file cannot be written.
        UnsafeHomeError: others can change the templates.
    """
    found = previews(home, name)
    if as_html is None:
        for preview in found:
            say(f"{preview.kind} to the {preview.audience}")
            say(f"Subject: {preview.message.subject}\n")
            say(preview.message.text)
        return
    try:
        as_html.write_text(found[-1].message.html, encoding="utf-8")
    except OSError as error:
        raise NotifyError(f"{as_html} cannot be written: {error.strerror}") from error
    say(f"wrote {as_html}; {plural(len(found), 'mail')} would be sent" if len(found) > 1 else f"wrote {as_html}")


def list_names() -> None:
    """Print the names of the templates and of the event kinds."""
    say(f"templates: {', '.join(template_names())}")
    say(f"event kinds: {', '.join(EventKind)}")
