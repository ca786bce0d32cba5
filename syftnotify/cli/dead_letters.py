"""`notify dead-letters` and `resend`: notifications that are not retried any more."""

from typing import TYPE_CHECKING, Annotated

import typer

from syftnotify.cli.console import print_json, print_line, print_warning
from syftnotify.cli.options import HomeOption, JsonListOption, SinceOption, resolve_home
from syftnotify.core.errors import NotifyError

if TYPE_CHECKING:
    from syftnotify.services.dead_letters import DeadLetterList
    from syftnotify.system.paths import Home


def dead_letters(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids for --ack; without any, all.")] = None,
    ack: Annotated[
        bool, typer.Option("--ack", help="Acknowledge them: they no longer make the worker unhealthy.")
    ] = False,
    as_json: JsonListOption = False,
    home: HomeOption = None,
) -> None:
    """List notifications that could not be delivered, and why."""
    if ids and not ack:
        raise NotifyError("ids are for --ack", hint="run `notify dead-letters --ack ID...` or `notify resend ID...`")
    resolved = resolve_home(context, home)
    if ack:
        _acknowledge(resolved, ids or [])
    else:
        _list(resolved, as_json=as_json)


def resend(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids as `notify dead-letters` shows them.")] = None,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="All dead letters.")] = False,
    recipient: Annotated[str | None, typer.Option(help="Only to this address.")] = None,
    since: SinceOption = None,
    home: HomeOption = None,
) -> None:
    """Send dead letters again."""
    from syftnotify.core.text import plural
    from syftnotify.runtime.opening import open_outbox
    from syftnotify.services import dead_letters as service
    from syftnotify.services.arguments import parse_time
    from syftnotify.system import worker_lock

    resolved = resolve_home(context, home)
    selection = service.ResendSelection(
        tuple(ids or ()), all_dead, recipient, parse_time(since) if since is not None else None
    )
    with open_outbox(resolved) as outbox:
        if outbox is None and selection.ids:
            raise service.unknown_id(selection.ids[0])
        result = service.resend(resolved, outbox, selection) if outbox else service.ResendResult(0)
    if result.warning:
        print_warning(result.warning)
    if not result.count:
        print_line("nothing to send again")
        return
    is_running = worker_lock.is_held(resolved)
    when = "the worker sends at its next scan" if is_running else "run `notify start` to send"
    print_line(f"{plural(result.count, 'notification')} queued again: {when}")


def _acknowledge(home: "Home", ids: list[str]) -> None:
    from syftnotify.cli.notifications import nothing_yet
    from syftnotify.core.text import plural
    from syftnotify.runtime.opening import open_outbox
    from syftnotify.services.dead_letters import acknowledge

    with open_outbox(home) as outbox:
        if outbox is None:
            print_line(nothing_yet(home))
            return
        count = acknowledge(outbox, ids)
    print_line(f"{plural(count, 'dead letter')} acknowledged")


def _list(home: "Home", *, as_json: bool) -> None:
    from syftnotify.cli.notifications import nothing_yet, notification_object
    from syftnotify.runtime.opening import open_outbox
    from syftnotify.services.dead_letters import DeadLetterList, list_dead_letters

    with open_outbox(home) as outbox:
        found = list_dead_letters(home, outbox) if outbox else DeadLetterList(())
    if found.warning:
        print_warning(found.warning)
    if as_json:
        print_json([notification_object(record) for record in found.records])
    elif found.records:
        _print(found)
    else:
        print_line("no dead letters" if outbox else nothing_yet(home))


def _print(found: "DeadLetterList") -> None:
    from syftnotify.cli.notifications import INDENT, title
    from syftnotify.core.text import escape, local_time, plural
    from syftnotify.services.dead_letters import is_dead

    for record in found.records:
        label = "dead" if is_dead(record) else "held"
        label += ", may have arrived" if record.may_have_arrived else ""
        label += ", acknowledged" if record.acknowledged_at is not None else ""
        attempts = plural(record.attempts, "attempt")
        print_line(title(record))
        print_line(f"{INDENT}{label} after {attempts}, detected {local_time(record.created_at)}")
        print_line(f"{INDENT}{escape(record.entity)}")
        print_line(f"{INDENT}{escape(record.reason, limit=1000)}")
    print_line("run `notify resend ID...` to send some of them again, `notify resend --all-dead` for all dead letters")
    if found.has_unacknowledged:
        print_line("the worker is unhealthy until they are sent again or acknowledged: `notify dead-letters --ack`")
