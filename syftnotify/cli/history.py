"""`notify history`, `why` and `prune`: who was notified of what, and why."""

from typing import TYPE_CHECKING, Annotated

import typer

from syftnotify.cli.completion import event_kinds, job_names, transport_names
from syftnotify.cli.console import is_terminal, print_json, print_line, print_rows
from syftnotify.cli.options import HomeOption, JsonListOption, SinceOption, UtcOption, resolve_home
from syftnotify.core.errors import NotifyError

if TYPE_CHECKING:
    from syftnotify.services.history import EventExplanation, Explanation


def history(
    context: typer.Context,
    to: Annotated[str, typer.Option(help="Only to this recipient.")] = "",
    about: Annotated[
        str, typer.Option(autocompletion=job_names, help="Only about this entity, or jobs of this name.")
    ] = "",
    event: Annotated[
        list[str] | None, typer.Option(autocompletion=event_kinds, help="Only this event kind; repeatable.")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="Only pending, withheld, sending, sent, unknown, dead, skipped; repeatable."),
    ] = None,
    transport: Annotated[str, typer.Option(autocompletion=transport_names, help="Only through this transport.")] = "",
    since: SinceOption = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=0, help="Number of notifications; 0: all.")] = 50,
    utc: UtcOption = False,
    as_json: JsonListOption = False,
    home: HomeOption = None,
) -> None:
    """List notifications and their outcome.

    `notify why JOB` has the details of a job.
    """
    from syftnotify.cli.notifications import HEADER, nothing_yet, notification_object, row
    from syftnotify.runtime.opening import open_outbox
    from syftnotify.services.history import find_notifications, parse_filter

    resolved = resolve_home(context, home)
    conditions = parse_filter(
        states=state or (),
        kinds=event or (),
        about=about,
        recipient=to,
        transport=transport,
        since=since,
        limit=limit,
    )
    with open_outbox(resolved) as outbox:
        records = find_notifications(outbox, conditions) if outbox else []
    if as_json:
        print_json([notification_object(record) for record in records])
        return
    if records:
        print_rows((row(record, utc=utc) for record in records), header=HEADER, flexible=(4, 5))
    else:
        print_line("no notification matches" if outbox and conditions.has_conditions else nothing_yet(resolved))


def why(
    context: typer.Context,
    about: Annotated[
        str,
        typer.Argument(metavar="JOB", autocompletion=job_names, help="Name of a job, or an entity: `job/D/...`."),
    ],
    as_json: JsonListOption = False,
    home: HomeOption = None,
) -> None:
    """Explain who was notified of a job, who was not, and why."""
    from syftnotify.cli.notifications import nothing_yet
    from syftnotify.runtime.opening import open_outbox, read_ledger
    from syftnotify.services.history import explain

    resolved = resolve_home(context, home)
    with open_outbox(resolved) as outbox:
        if outbox is not None:
            explanation = explain(outbox, read_ledger(resolved), about)
        elif as_json:
            print_json([])
            return
        else:
            print_line(nothing_yet(resolved))
            return
    if as_json:
        print_json(_explanation_objects(explanation))
    else:
        _print_explanation(explanation)


def prune(
    context: typer.Context,
    older_than: Annotated[
        str | None, typer.Option(help="Delete events before: 26w, 365d, 2026-01-15; default: `retention`.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the number of events; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation prompt.")] = False,
    home: HomeOption = None,
) -> None:
    """Delete old history; waiting notifications are kept."""
    from syftnotify.core.text import local_time, plural
    from syftnotify.runtime.opening import open_ledger, open_outbox
    from syftnotify.services import history as service

    resolved = resolve_home(context, home)
    before = service.prune_limit(resolved, older_than)
    with open_outbox(resolved) as outbox:
        ledger = open_ledger(resolved)
        run = service.count_prunable if dry_run else service.prune
        if outbox is not None and not (dry_run or yes):
            _confirm(service.count_prunable(outbox, ledger, before), before)
        count = run(outbox, ledger, before) if outbox is not None else 0
    print_line(f"{plural(count, 'event')} from before {local_time(before)} {'would be ' if dry_run else ''}deleted")


def _confirm(count: int, before: float) -> None:
    """Ask before `count` events are deleted.

    Raises:
        NotifyError: nobody can be asked.
        Abort: the answer is no.
    """
    from syftnotify.core.text import local_time, plural

    if not count:
        return
    if not is_terminal():
        raise NotifyError(
            f"{plural(count, 'event')} from before {local_time(before)} would be deleted",
            hint="pass --yes to delete them",
        )
    typer.confirm(f"delete {plural(count, 'event')} from before {local_time(before)}?", abort=True)


def _explanation_objects(explanation: "Explanation") -> list[dict[str, object]]:
    from syftnotify.cli.notifications import notification_object
    from syftnotify.core.text import iso

    found: list[dict[str, object]] = [
        {
            "event": each.kind.value,
            "entity": each.entity,
            "noticed_at": each.scanned_at,
            "notifications": [],
            "recorded_by": "baseline",
        }
        for each in explanation.baseline
    ]
    found += [
        {
            "event": each.event.kind,
            "entity": each.event.entity,
            "noticed_at": iso(each.event.noticed_at),
            "notifications": [notification_object(record) for record in each.notifications],
        }
        for each in explanation.events
    ]
    return found


def _print_explanation(explanation: "Explanation") -> None:
    from syftnotify.core.text import escape, iso_to_local

    for entity in explanation.entities:
        print_line(escape(entity))
        for silent in explanation.baseline:
            if silent.entity == entity:
                scanned_at = iso_to_local(escape(silent.scanned_at))
                print_line(f"  {silent.kind}, recorded as notified by the baseline scan of {scanned_at}")
                print_line(
                    "    nobody: already true or sent by syft-bg before the first scan, or deleted by `notify prune`"
                )
        for each in explanation.events:
            if each.event.entity == entity:
                _print_event(each)


def _print_event(explained: "EventExplanation") -> None:
    from syftnotify.cli.notifications import outcome
    from syftnotify.core.text import escape, local_time

    print_line(f"  {explained.event.kind}, detected {local_time(explained.event.noticed_at)}")
    for record in explained.notifications:
        print_line(f"    {record.audience} {escape(record.recipient)}: {outcome(record)}")
        route = f"by {escape(record.route) or 'a route of an older version'}"
        print_line(f"      through {escape(record.transport)}, {route}" if record.transport else f"      {route}")
    if not explained.notifications:
        print_line("    nobody: no route has a recipient for it, or it was already true before the first scan")
