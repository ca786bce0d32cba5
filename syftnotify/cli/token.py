"""`notify token`: create, list and revoke access tokens of the API."""

from typing import Annotated

import typer

from syftnotify.cli.console import print_json, print_line
from syftnotify.cli.options import HomeOption, JsonListOption, resolve_home

token_app = typer.Typer(name="token", help="Manage access tokens of the API.", no_args_is_help=True)


@token_app.command("create")
def token_create(
    context: typer.Context,
    user: Annotated[str, typer.Option(help="Whose inbox it opens: a mail address.")],
    role: Annotated[str, typer.Option(help="viewer, operator or service.")] = "viewer",
    expires: Annotated[str | None, typer.Option(help="When it ends: 90d, 26w or 2027-01-15; default never.")] = None,
    home: HomeOption = None,
) -> None:
    """Create a token and print it; it cannot be shown again."""
    from syftnotify.runtime.opening import create_outbox
    from syftnotify.services.tokens import create_token, parse_expiry, parse_role
    from syftnotify.system.ownership import check_home

    permitted, expires_at = parse_role(role), parse_expiry(expires)
    resolved = resolve_home(context, home)
    check_home(resolved)
    with create_outbox(resolved) as outbox:
        new = create_token(outbox, user, permitted, expires_at=expires_at)
    print_line(new.secret)


@token_app.command("list")
def token_list(context: typer.Context, as_json: JsonListOption = False, home: HomeOption = None) -> None:
    """List the tokens with their ids, without their secrets."""
    from syftnotify.core.text import escape, iso, local_time
    from syftnotify.runtime.opening import open_outbox

    with open_outbox(resolve_home(context, home)) as outbox:
        tokens = outbox.tokens.all() if outbox else []
    if as_json:
        print_json(
            [
                {
                    "id": token.id,
                    "user": token.user,
                    "role": token.role.value,
                    "is_session": token.is_session,
                    "created_at": iso(token.created_at),
                    "expires_at": None if token.expires_at is None else iso(token.expires_at),
                    "revoked_at": None if token.revoked_at is None else iso(token.revoked_at),
                }
                for token in tokens
            ]
        )
        return
    for token in tokens:
        end = "" if token.expires_at is None else f", expires {local_time(token.expires_at)}"
        revoked = "" if token.revoked_at is None else f", revoked {local_time(token.revoked_at)}"
        since = f"{'session since' if token.is_session else 'created'} {local_time(token.created_at)}"
        print_line(f"{token.id}  {token.role.value:8} {escape(token.user)}, {since}{end}{revoked}")
    if not tokens:
        print_line("no tokens; create one with `notify token create`")


@token_app.command("revoke")
def token_revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="Id as `notify token list` shows it.")],
    home: HomeOption = None,
) -> None:
    """Revoke a token; its open streams end within seconds."""
    from syftnotify.runtime.opening import open_outbox
    from syftnotify.services.tokens import revoke_token

    with open_outbox(resolve_home(context, home)) as outbox:
        revoked = revoke_token(outbox, name)
    print_line(f"revoked {revoked.id}")
