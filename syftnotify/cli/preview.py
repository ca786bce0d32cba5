"""`notify preview`: print the mails of an event kind or a template."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syftnotify.cli.completion import template_or_kind_names
from syftnotify.cli.console import print_line, print_paragraphs
from syftnotify.cli.options import HomeOption, parse_path, resolve_home
from syftnotify.core.errors import NotifyError

if TYPE_CHECKING:
    from syftnotify.services.preview import Preview
    from syftnotify.system.paths import Home


def preview(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=template_or_kind_names,
            help="Template (new_job) or event kind (job_failed); default: list the names.",
        ),
    ] = "",
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", parser=parse_path, metavar="PATH", help="Write the HTML part to this file; with --all a folder."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Write the HTML of all sample mails; needs --html.")] = False,
    check: Annotated[
        Path | None,
        typer.Option("--check", parser=parse_path, metavar="DIR", help="Check a folder of own templates."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Preview a mail, rendered with your own templates."""
    resolved = resolve_home(context, home)
    if check is not None:
        _check(check)
    elif every:
        _write_all(resolved, html)
    elif name:
        _preview(resolved, name, html)
    elif html is not None:
        raise NotifyError("`--html` needs a name, or `--all`", hint="run `notify preview` for the names")
    else:
        _print_names()


def _preview(home: "Home", name: str, html: Path | None) -> None:
    from syftnotify.services.preview import previews

    found = previews(home, name)
    if html is not None:
        _write_html(found, html)
    else:
        _print(found)


def _write_all(home: "Home", folder: Path | None) -> None:
    from syftnotify.services.preview import write_gallery

    if folder is None:
        raise NotifyError("`--all` needs a folder", hint="run `notify preview --all --html DIR`")
    index, *mails = write_gallery(home, folder)
    print_line(f"wrote {len(mails)} mails; open {index}")


def _check(folder: Path) -> None:
    from syftnotify.services.preview import check_templates

    errors = check_templates(folder)
    for error in errors:
        print_line(error)
    if errors:
        raise typer.Exit(1)
    print_line(f"the templates in {folder} are valid")


def _print(found: "list[Preview]") -> None:
    for each in found:
        print_line(f"{each.sample.kind} to the {each.sample.audience}")
        print_line(f"Subject: {each.message.subject}\n")
        print_paragraphs(each.message.text)


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
