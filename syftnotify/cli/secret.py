"""`notify secret`: store secrets, encrypted in the configuration."""

import sys
from typing import Annotated

import typer

from syftnotify.cli.console import print_line, read_line
from syftnotify.cli.options import HomeOption, resolve_home

secret_app = typer.Typer(name="secret", help="Manage secrets, encrypted in the configuration.", no_args_is_help=True)


@secret_app.command("set")
def secret_set(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name by which the configuration refers to it.")],
    home: HomeOption = None,
) -> None:
    """Store a secret from the terminal or standard input, for `secret:NAME`."""
    from syftnotify.services.secrets import check_can_store, store_secret

    resolved = resolve_home(context, home)
    check_can_store(resolved, name)
    value = typer.prompt("secret", hide_input=True) if sys.stdin and sys.stdin.isatty() else read_line()
    store_secret(resolved, name, value)
    print_line(f"stored; use it as `secret:{name}`")
