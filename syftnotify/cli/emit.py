"""`notify emit`: submit an event of a scheduler or script."""

import sys
from typing import Annotated

import typer

from syftnotify.cli.completion import event_kinds
from syftnotify.cli.options import HomeOption, resolve_home


def emit(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(autocompletion=event_kinds, help="Event kind: job_failed, gpu_available, ...")],
    entity: Annotated[str, typer.Option(help="Entity that the event is about; any text.")],
    user: Annotated[str, typer.Option(help="Owner of the entity; an email address is notified as submitter.")] = "",
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Tag that routes can match; repeatable.")] = None,
    payload: Annotated[str, typer.Option(help="JSON object with data to show; `-` reads standard input.")] = "",
    key: Annotated[str, typer.Option(help="Deduplication key: the same key is the same event.")] = "",
    notify_email: Annotated[list[str] | None, typer.Option(help="Further mail recipient; repeatable.")] = None,
    notify_on: Annotated[list[str] | None, typer.Option(help="Event kinds for them: job_failed,job_timeout.")] = None,
    alerts: Annotated[str, typer.Option(help="Alerts block, as a JSON object.")] = "",
    home: HomeOption = None,
) -> None:
    """Submit an event of a scheduler or script; prints its key."""
    import logging

    from syftnotify.services.emit import EmitRequest, emit_event

    resolved = resolve_home(context, home)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)  # to stderr
    request = EmitRequest(
        kind,
        entity,
        payload=_standard_input() if payload == "-" else payload,
        alerts=alerts,
        user=user,
        tags=tags or (),
        key=key,
        notify_emails=notify_email or (),
        notify_on=[name for names in notify_on or () for name in names.split(",") if name.strip()],
    )
    typer.echo(emit_event(resolved, request))


def _standard_input() -> str:
    from syftnotify.services.emit import MAX_INPUT_BYTES, decode_input

    return decode_input(b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_INPUT_BYTES + 1))
