"""`notify secret`: store secrets, encrypted in the configuration."""

import sys
from typing import Annotated

import typer

from syftnotify.cli.console import print_json, print_line, print_rows, read_line
from syftnotify.cli.options import HomeOption, JsonListOption, resolve_home

secret_app = typer.Typer(name="secret", help="Manage secrets, encrypted in the configuration.", no_args_is_help=True)


@secret_app.command("set")
def secret_set(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name by which the configuration refers to it.")],
    home: HomeOption = None,
) -> None:
    """Store a secret.

    It is read from the terminal or from standard input; `secret:NAME` in config.yaml refers to it.
    """
    from syftnotify.core.text import escape
    from syftnotify.services.secrets import check_can_store, list_secrets, store_secret

    resolved = resolve_home(context, home)
    check_can_store(resolved, name)
    value = typer.prompt("secret", hide_input=True) if sys.stdin and sys.stdin.isatty() else read_line()
    store_secret(resolved, name, value)
    print_line(f"stored; use it as `secret:{name}`")
    if used_by := list_secrets(resolved)[name]:
        print_line(f"used by {', '.join(map(escape, used_by))}; run `notify restart` to apply it")


@secret_app.command("list")
def secret_list(context: typer.Context, as_json: JsonListOption = False, home: HomeOption = None) -> None:
    """List the names of stored secrets, and the settings that use them."""
    from syftnotify.core.text import escape
    from syftnotify.services.secrets import list_secrets

    found = list_secrets(resolve_home(context, home))
    if as_json:
        print_json([{"name": name, "used_by": paths} for name, paths in found.items()])
    elif found:
        rows = [(escape(name), ", ".join(map(escape, paths)) or "not used") for name, paths in found.items()]
        print_rows(rows, header=("NAME", "USED BY"), flexible=(1,))
    else:
        print_line("no secrets; store one with `notify secret set NAME`")


@secret_app.command("rm")
def secret_rm(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name as `notify secret list` shows it.")],
    home: HomeOption = None,
) -> None:
    """Remove a secret that no setting uses."""
    from syftnotify.core.text import escape
    from syftnotify.services.secrets import remove_secret

    remove_secret(resolve_home(context, home), name)
    print_line(f"removed {escape(name)}")
