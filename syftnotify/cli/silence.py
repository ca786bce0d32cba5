"""`notify silence`: add, list and expire silences."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from syftnotify.cli.completion import event_kinds, job_names
from syftnotify.cli.console import is_terminal, print_json, print_line, print_rows, print_warning
from syftnotify.cli.options import HomeOption, JsonListOption, resolve_home

if TYPE_CHECKING:
    from syftnotify.core.silences import Silence
    from syftnotify.services.silences import ListedSilence

_HEADER = ("ID", "STATE", "TIME", "MATCHES", "SUPPRESSED", "AUTHOR, REASON")  # of `_row`
silence_app = typer.Typer(
    name="silence", help="Suppress notifications about some jobs for a time.", no_args_is_help=True
)


@silence_app.command("add")
def silence_add(
    context: typer.Context,
    job: Annotated[
        list[str] | None, typer.Option(autocompletion=job_names, help="Job name, entity, or pattern; may be repeated.")
    ] = None,
    submitter: Annotated[list[str] | None, typer.Option(help="Submitter, or pattern.")] = None,
    owner: Annotated[list[str] | None, typer.Option(help="Data owner, or pattern.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag, or pattern.")] = None,
    severity: Annotated[list[str] | None, typer.Option(help="high, medium or low.")] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(autocompletion=event_kinds, help="Event kind, for example job_failed; default: all."),
    ] = None,
    duration: Annotated[str, typer.Option("--for", metavar="DURATION", help="For this time: 2h, 3d.")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Until this time: 23:30, 2026-01-15T15:30.")] = "",
    until_change: Annotated[bool, typer.Option("--until-change", help="Until the state of the job changes.")] = False,
    start: Annotated[str, typer.Option(metavar="TIME", help="From this time on; default: now.")] = "",
    reason: Annotated[str, typer.Option(help="Why; shown where a notification is skipped.")] = "",
    author: Annotated[str, typer.Option(help="Who adds it; default: your user name.")] = "",
    home: HomeOption = None,
) -> None:
    """Add a silence.

    A running worker applies it from its next scan on, also to what is queued.
    """
    import getpass

    from syftnotify.core.text import escape
    from syftnotify.runtime.opening import create_outbox
    from syftnotify.services.silences import SilenceOptions, add_silence, unknown_jobs
    from syftnotify.system.ownership import check_home

    options = SilenceOptions(
        author=author or getpass.getuser(),
        reason=reason,
        job=job or (),
        submitter=submitter or (),
        owner=owner or (),
        tag=tag or (),
        severity=severity or (),
        events=event or (),
        start=start,
        duration=duration,
        until=until,
        until_change=until_change,
    )
    resolved = resolve_home(context, home)
    check_home(resolved)
    with create_outbox(resolved) as outbox:
        silence = add_silence(resolved, outbox, options)
        unknown = unknown_jobs(outbox, silence)
    print_line(_describe(silence) if is_terminal() else silence.id)  # scripts need the id alone
    for name in unknown:
        print_warning(f"no job named {escape(name)!r} is known yet")


@silence_app.command("list")
def silence_list(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="Only this one, with what it has suppressed.")] = "",
    include_expired: Annotated[bool, typer.Option("--all", help="Also expired ones.")] = False,
    as_json: JsonListOption = False,
    home: HomeOption = None,
) -> None:
    """List silences, and how many notifications each has suppressed."""
    from syftnotify.cli.notifications import title
    from syftnotify.core.text import escape
    from syftnotify.runtime.opening import open_outbox
    from syftnotify.services.silences import find_silence, list_silences, suppressed

    with open_outbox(resolve_home(context, home)) as outbox:
        chosen = find_silence(outbox, name).id if name else ""
        found = list_silences(outbox, include_expired=include_expired or bool(name)) if outbox is not None else []
        found = [each for each in found if not chosen or each.silence.id == chosen]
        records = suppressed(outbox, found[0].silence) if chosen and outbox is not None else []
    if as_json:
        print_json([_object(each) for each in found])
        return
    if found:
        print_rows(map(_row, found), header=_HEADER, flexible=(3, 5))
    for record in reversed(records):
        print_line(f"  {title(record)}, {escape(record.entity)}")
    if not found:
        print_line("no silence is active; add one with `notify silence add`")


@silence_app.command("expire")
def silence_expire(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="Id as `notify silence list` shows it.")],
    home: HomeOption = None,
) -> None:
    """End a silence now; what it has suppressed stays skipped."""
    from syftnotify.runtime.opening import open_outbox
    from syftnotify.services.silences import expire_silence

    with open_outbox(resolve_home(context, home)) as outbox:
        silence = expire_silence(outbox, name)
    print_line(f"expired {silence.id}")


def _describe(silence: "Silence") -> str:
    """A new silence on one line, which begins with its id."""
    from syftnotify.core.text import local_time
    from syftnotify.services.silences import silence_conditions

    end = "until its state changes" if silence.ends_at is None else f"until {local_time(silence.ends_at)}"
    start = f"from {local_time(silence.starts_at)} " if silence.starts_at > time.time() else ""
    return f"{silence.id}  {silence_conditions(silence)} {start}{end}"


def _row(listed: "ListedSilence") -> tuple[str, ...]:
    """The columns of a silence: id, state, times, conditions, what it has suppressed, author and reason."""
    from syftnotify.core.silences import SilenceState
    from syftnotify.core.text import escape, short_time
    from syftnotify.services.dead_letters import SHORT_ID
    from syftnotify.services.silences import silence_conditions

    silence, now = listed.silence, time.time()
    until = "until a change" if silence.ends_at is None else f"until {short_time(silence.ends_at, now)}"
    if listed.state is SilenceState.EXPIRED:
        until = f"ended {short_time(silence.end, now)}" if silence.end <= now else "ended by a change"
    start = f"from {short_time(silence.starts_at, now)} " if listed.state is SilenceState.PENDING else ""
    reason = f": {escape(silence.reason)}" if silence.reason else ""
    return (
        silence.id[:SHORT_ID],
        listed.state.value,
        f"{start}{until}",
        silence_conditions(silence),
        str(listed.suppressed),
        f"{escape(silence.author)}{reason}",
    )


def _object(listed: "ListedSilence") -> dict[str, object]:
    from syftnotify.core.text import iso

    silence, match = listed.silence, listed.silence.match
    return {
        "id": silence.id,
        "state": listed.state,
        "job": list(match.job),
        "submitter": list(match.submitter),
        "owner": list(match.owner),
        "tags": list(match.tags),
        "severity": list(match.severity),
        "events": None if silence.kinds is None else sorted(silence.kinds),
        "starts_at": iso(silence.starts_at),
        "ends_at": None if silence.ends_at is None else iso(silence.ends_at),
        "until_change": silence.is_until_change,
        "author": silence.author,
        "reason": silence.reason,
        "suppressed": listed.suppressed,
    }
