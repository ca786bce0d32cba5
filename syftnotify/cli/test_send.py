"""`notify test`: send a test message through one transport or through each."""

from typing import Annotated

import typer

from syftnotify.cli.completion import transport_names
from syftnotify.cli.console import print_error, print_line
from syftnotify.cli.options import HomeOption, resolve_home


def send_test_message(
    context: typer.Context,
    transport: Annotated[
        str, typer.Argument(autocompletion=transport_names, help="Transport name; default: all transports.")
    ] = "",
    to: Annotated[str, typer.Option(help="Recipient instead of the default one.")] = "",
    home: HomeOption = None,
) -> None:
    """Send a test message through a transport. Exit code 1: it failed."""
    from syftnotify.core.models import INBOX
    from syftnotify.runtime.opening import create_outbox
    from syftnotify.services.inbox import store_test
    from syftnotify.services.settings import load_reporting_all
    from syftnotify.services.test_send import send_tests

    resolved = resolve_home(context, home)
    settings = load_reporting_all(resolved)
    if settings.config.serve is not None and transport == INBOX:
        with create_outbox(resolved) as outbox:
            user = store_test(outbox, settings.config.do_email, to)
        print_line(f"stored a test message in the inbox of {user}")
        return
    has_failed = False
    for result in send_tests(settings, transport, to):
        if result.error is None:
            print_line(f"sent a test message through {result.transport}{result.destination}")
        else:
            print_error(result.error)
            has_failed = True
    raise typer.Exit(1 if has_failed else 0)
