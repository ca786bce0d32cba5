"""`notify preview`: print the mails of an event kind or a template."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syftnotify.cli.console import print_line
from syftnotify.cli.options import HomeOption, parse_path, resolve_home
from syftnotify.core.errors import NotifyError

if TYPE_CHECKING:
    from syftnotify.services.preview import Preview


def preview(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="Template (new_job) or event kind (job_failed); default: list the names.")
    ] = "",
    html: Annotated[
        Path | None, typer.Option("--html", parser=parse_path, metavar="PATH", help="Write the HTML part to this file.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Preview a mail, rendered with your own templates."""
    from syftnotify.services.preview import previews

    resolved = resolve_home(context, home)
    if name:
        found = previews(resolved, name)
        if html is not None:
            _write_html(found, html)
        else:
            _print(found)
    elif html is not None:
        raise NotifyError("`--html` needs a name", hint="run `notify preview` for the names")
    else:
        _print_names()


def _print(found: "list[Preview]") -> None:
    for each in found:
        print_line(f"{each.kind} to the {each.audience}")
        print_line(f"Subject: {each.message.subject}\n")
        print_line(each.message.text)


def _write_html(found: "list[Preview]", path: Path) -> None:
    """Write the HTML part of the last mail."""
    from syftnotify.core.text import plural

    try:
        path.write_text(found[-1].message.html, encoding="utf-8")
    except OSError as error:
        raise NotifyError(f"{path} cannot be written: {error.strerror}", hint="choose another file") from error
    others = f": the last of {plural(len(found), 'mail')}" if len(found) > 1 else ""
    print_line(f"wrote {path}{others}")


def _print_names() -> None:
    from syftnotify.core.kinds import EventKind
    from syftnotify.services.preview import template_names

    print_line(f"templates: {', '.join(template_names())}")
    print_line(f"event kinds: {', '.join(EventKind)}")
