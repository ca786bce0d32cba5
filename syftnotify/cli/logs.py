"""`notify logs`: show and follow the log of the worker."""

from typing import Annotated

import typer

from syftnotify.cli.console import print_raw
from syftnotify.cli.options import HomeOption, LogLevel, resolve_home
from syftnotify.core.errors import NotifyError

_SERVICE = "notify"


def logs(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="Name of the log; only `notify` exists.")] = _SERVICE,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Number of records to show.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Follow new records.")] = False,
    level: Annotated[LogLevel, typer.Option(case_sensitive=False, help="Minimum level.")] = LogLevel.DEBUG,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per record.")] = False,
    home: HomeOption = None,
) -> None:
    """Show the log of the worker."""
    from syftnotify.system import logs as log_file

    if service != _SERVICE:
        raise NotifyError(f"there is no log of {service!r}", hint="run `notify logs`")
    path = resolve_home(context, home).log
    if not path.exists() and not follow:
        raise NotifyError(f"there is no log at {path} yet", hint="run `notify start`")
    shown = log_file.record_as_json if as_json else str
    # The file is opened before the last records are read, so that none written in between is missed.
    following = log_file.follow(path, level=level.value) if follow else iter(())
    for record in log_file.last_records(path, lines, level=level.value):
        print_raw(shown(record), flush=follow)
    try:
        for record in following:
            print_raw(shown(record), flush=True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
