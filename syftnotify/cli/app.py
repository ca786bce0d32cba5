"""The commands of `notify`."""

# Without `from __future__ import annotations`: typer would compile each of them again, a tenth of `notify --help`.
import contextlib
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from syftnotify import __version__
from syftnotify.cli.console import complain, say, warn
from syftnotify.errors import AlreadyRunningError, NotifyError, NotRunningError
from syftnotify.paths import Home

app = typer.Typer(
    name="notify",
    help="Tells a SyftBox data owner, and the scientists, what happens to jobs and peers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="The folder that holds everything (SYFTNOTIFY_HOME, ~/.syft-creds).")
]


class TransportKind(StrEnum):
    """How mail can go out."""

    GMAIL = "gmail"
    SMTP = "smtp"
    MAILDIR = "maildir"


class RoleKind(StrEnum):
    """On whose machine it runs."""

    OWNER = "owner"
    SCIENTIST = "scientist"


class Level(StrEnum):
    """How much a log line matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _version(asked: bool) -> None:
    if asked:
        say(f"syftnotify {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    context: typer.Context,
    home: HomeOption = None,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """What holds for every command."""
    context.obj = home


def _home(context: typer.Context, home: Path | None) -> Home:
    return Home.at(home or context.find_root().obj)


@app.command()
def init(
    context: typer.Context,
    email: Annotated[str | None, typer.Option(help="The data owner's mail address; a scientist's own.")] = None,
    role: Annotated[
        RoleKind | None, typer.Option(help="owner, or scientist: then your own submissions are told, to you alone.")
    ] = None,
    syftbox_root: Annotated[Path | None, typer.Option(help="The SyftBox folder.")] = None,
    notify_jobs: Annotated[bool | None, typer.Option("--notify-jobs/--no-notify-jobs", help="Tell of jobs.")] = None,
    notify_peers: Annotated[
        bool | None, typer.Option("--notify-peers/--no-notify-peers", help="Tell of peer requests and grants.")
    ] = None,
    interval: Annotated[float | None, typer.Option(help="Seconds between two looks.")] = None,
    transport: Annotated[TransportKind | None, typer.Option(help="How mail goes out.")] = None,
    smtp_url: Annotated[
        str | None,
        typer.Option(help="A mail server to send through: smtp://user@host:587. The password is asked for, or read."),
    ] = None,
    credentials: Annotated[
        Path | None, typer.Option(help="Google's client secrets (a desktop app's credentials.json); signs in.")
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Sign in with a browser on another machine (SSH, Colab).")
    ] = False,
    second_way: Annotated[
        str | None, typer.Option(help="Another address, or a ping URL, that tells when the notifier is in trouble.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Start over with a new configuration.")] = False,
    no_test: Annotated[bool, typer.Option("--no-test", help="Send no test mail.")] = False,
    home: HomeOption = None,
) -> None:
    """Write or change the configuration, sign in, send a test mail."""
    from syftnotify.cli.init import Wishes, set_up

    wishes = Wishes(
        email=email,
        syftbox_root=syftbox_root,
        notify_jobs=notify_jobs,
        notify_peers=notify_peers,
        interval=interval,
        role=role.value if role else None,
        transport=transport.value if transport else None,
        smtp_url=smtp_url,
        credentials=credentials,
        no_browser=no_browser,
        second_way=second_way,
        force=force,
        test=not no_test,
    )
    set_up(_home(context, home), wishes)


@app.command()
def start(context: typer.Context, home: HomeOption = None) -> None:
    """Start the background worker and return once it is really running."""
    _start(_home(context, home))


def _start(home: Home) -> None:
    from syftnotify import process

    started = process.start(home)
    for warning in started.warnings:
        warn(warning)
    say(f"worker started (pid {started.pid}); `notify logs -f` follows it")


@app.command()
def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
    home: HomeOption = None,
) -> None:
    """Say how it is going. Exit code 0: running, 3: not running, 4: running but unwell."""
    from syftnotify.cli.status import show

    raise typer.Exit(show(_home(context, home), as_json=as_json))


@app.command()
def logs(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="Whose log; there is only `notify`.")] = "notify",
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new lines as they come.")] = False,
    level: Annotated[Level, typer.Option(help="Only lines that matter at least so much.")] = Level.DEBUG,
    as_json: Annotated[bool, typer.Option("--json", help="Each line as a JSON object.")] = False,
    home: HomeOption = None,
) -> None:
    """Show what the worker wrote down."""
    from syftnotify import logs as log_file

    if service != "notify":
        raise NotifyError(f"there is no log of {service!r}", hint="`notify logs` shows the only one")
    path = _home(context, home).log
    if not path.exists() and not follow:
        raise NotifyError(f"there is no log at {path} yet", hint="`notify start` begins one")
    shown = log_file.as_json if as_json else str
    following = log_file.follow(path, level=level.value) if follow else iter(())
    for record in log_file.last_lines(path, lines, level=level.value):
        typer.echo(shown(record))
    try:
        for line in following:
            typer.echo(shown(line))
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def stop(
    context: typer.Context,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds for the sends in flight.")] = 30.0,
    home: HomeOption = None,
) -> None:
    """End the worker when the sends in flight are finished."""
    if not _stop(_home(context, home), timeout):
        raise typer.Exit(1)


def _stop(home: Home, timeout: float) -> bool:
    """Stop the worker and say how it ended; returns whether it ended by itself."""
    from syftnotify import process
    from syftnotify.text import plural

    stopped = process.stop(home, seconds=timeout)
    left = f"; left for the next start: {plural(stopped.waiting, 'notification')}" if stopped.waiting else ""
    if stopped.killed:
        warn(f"the worker (pid {stopped.pid}) did not end within {timeout:g} s and was killed{left}")
        warn("what it was sending counts as unknown and is sent again at the next start")
    else:
        say(f"worker stopped (pid {stopped.pid}), sends finished{left}")
    return not stopped.killed


@app.command()
def restart(
    context: typer.Context,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds for the sends in flight.")] = 30.0,
    home: HomeOption = None,
) -> None:
    """Stop the worker and start it anew, with the configuration of now."""
    from syftnotify.assembly import check_ready

    place = _home(context, home)
    check_ready(place)  # before the worker that runs is stopped for nothing
    try:
        _stop(place, timeout)
    except NotRunningError:
        say("no worker was running")
    _start(place)


@app.command()
def run(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="One look; what is due is delivered; then end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and change nothing.")] = False,
    home: HomeOption = None,
) -> None:
    """Be the worker in the foreground, until Ctrl-C."""
    from syftnotify.cli import run as runs

    place = _home(context, home)
    if dry_run:
        runs.rehearse(place)
    elif once:
        runs.once(place)
    else:
        runs.foreground(place)


@app.command()
def ensure(context: typer.Context, home: HomeOption = None) -> None:
    """Start the worker unless one is running; says nothing. Made for cron."""
    from syftnotify import process, running

    place = _home(context, home)
    if running.is_held(place):
        return
    with contextlib.suppress(AlreadyRunningError):  # somebody else was faster
        process.start(place)


@app.command()
def install(context: typer.Context, home: HomeOption = None) -> None:
    """Let systemd keep the worker alive: a user unit with a watchdog, started now and with each session."""
    from syftnotify import process, running, systemd
    from syftnotify.assembly import check_ready

    place = _home(context, home)
    if warning := running.check_owner(place):
        warn(warning)
    check_ready(place)
    stopped = False

    def make_way() -> None:
        nonlocal stopped
        pid = running.holder(place)
        if pid is not None and pid != systemd.main_pid(place):
            _stop(place, 30.0)
            stopped = True

    try:
        path = systemd.install(place, make_way=make_way)
    except NotifyError:
        if stopped:
            process.start(place)  # nobody is left without a notifier
        raise
    say(f"installed and started: {path}")
    say("it starts with your session; `loginctl enable-linger` keeps it running while you are logged out")


@app.command()
def uninstall(context: typer.Context, home: HomeOption = None) -> None:
    """Stop the worker that systemd keeps alive, and remove the unit."""
    from syftnotify import systemd

    path = systemd.uninstall(_home(context, home))
    say(f"stopped and removed: {path}" if path else "nothing was installed")


@app.command()
def dead(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list, for machines.")] = False,
    home: HomeOption = None,
) -> None:
    """List what could not be delivered, and why."""
    from syftnotify.cli import letters

    letters.show(_home(context, home), as_json=as_json)


@app.command()
def resend(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids as `notify dead` shows them.")] = None,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="Every dead letter.")] = False,
    recipient: Annotated[str | None, typer.Option(help="Only to this address.")] = None,
    since: Annotated[str | None, typer.Option(help="Only what was noticed since: 2h, 3d, 2026-01-15.")] = None,
    home: HomeOption = None,
) -> None:
    """Send dead letters again; who was served is left alone."""
    from syftnotify.cli import letters

    letters.resend(_home(context, home), ids or [], all_dead=all_dead, recipient=recipient, since=since)


@app.command()
def history(
    context: typer.Context,
    to: Annotated[str, typer.Option(help="Only to this recipient.")] = "",
    about: Annotated[str, typer.Option(help="Only about this entity, or the jobs of this name.")] = "",
    event: Annotated[list[str] | None, typer.Option(help="Only this kind of event; repeatable.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="Only pending, withheld, sending, sent, unknown, dead, skipped; repeatable."),
    ] = None,
    transport: Annotated[str, typer.Option(help="Only through this transport.")] = "",
    since: Annotated[str | None, typer.Option(help="Only what was noticed since: 2h, 3d, 2026-01-15.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=0, help="How many of the last; 0: all.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list, for machines.")] = False,
    home: HomeOption = None,
) -> None:
    """List who was told what, when, through what, with what outcome."""
    from syftnotify.cli import history as looking_back

    looking_back.show(
        _home(context, home),
        recipient=to,
        about=about,
        kinds=event or [],
        states=state or [],
        transport=transport,
        since=since,
        limit=limit,
        as_json=as_json,
    )


@app.command()
def why(
    context: typer.Context,
    about: Annotated[str, typer.Argument(help="A job's name, or an entity as `notify history` shows it.")],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list, for machines.")] = False,
    home: HomeOption = None,
) -> None:
    """Say of each event of a job who was told, who was not, and for what reason."""
    from syftnotify.cli import history as looking_back

    looking_back.explain(_home(context, home), about, as_json=as_json)


@app.command()
def prune(
    context: typer.Context,
    older_than: Annotated[
        str | None, typer.Option(help="Forget what was noticed before: 26w, 365d, 2026-01-15; unset: `retention`.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how much that would be, and change nothing.")] = False,
    home: HomeOption = None,
) -> None:
    """Forget old history; what waits is kept, and nothing is told again."""
    from syftnotify.cli import history as looking_back

    looking_back.prune(_home(context, home), older_than, dry_run=dry_run)


@app.command()
def preview(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A template (new_job) or an event (job_failed).")],
    html: Annotated[Path | None, typer.Option("--html", help="Write the mail's HTML into this file.")] = None,
    home: HomeOption = None,
) -> None:
    """Show what a mail looks like, with your own templates where you have some."""
    from syftnotify.cli import preview as previews

    previews.show(_home(context, home), name, as_html=html)


@app.command()
def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list, for machines.")] = False,
    home: HomeOption = None,
) -> None:
    """Check everything and say what to do. Exit code 1 when something fails."""
    from syftnotify.cli import doctor as doctors

    raise typer.Exit(doctors.examine(_home(context, home), as_json=as_json))


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


@app.command()
def emit(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="What happened: job_failed, gpu_available, ...")],
    entity: Annotated[str, typer.Option(help="What it happened to; any text.")],
    user: Annotated[str, typer.Option(help="Whose it is.")] = "",
    tags: Annotated[list[str] | None, typer.Option("--tag", help="A word that routes can match; repeatable.")] = None,
    payload: Annotated[str, typer.Option(help="A JSON object with whatever else is to be told.")] = "",
    key: Annotated[str, typer.Option(help="The same key twice is one event.")] = "",
    notify_email: Annotated[list[str] | None, typer.Option(help="Who else hears by mail; repeatable.")] = None,
    notify_on: Annotated[list[str] | None, typer.Option(help="About which events: job_failed,job_timeout.")] = None,
    home: HomeOption = None,
) -> None:
    """Hand in an event of a scheduler, a script or a job; a worker tells it, now or when one runs."""
    import json

    from syftnotify.errors import EmitError
    from syftnotify.spool import emit as hand_in

    try:
        what = json.loads(payload, parse_constant=_refuse) if payload else None
    except (ValueError, RecursionError) as error:
        raise EmitError(f"the payload is no JSON: {error}", hint="for instance: '{\"job_id\": 42}'") from error
    if payload and not isinstance(what, dict):
        raise EmitError(f"the payload must be a JSON object, got {payload[:60]}")
    hand_in(
        kind,
        entity,
        user=user,
        tags=tags or [],
        payload=what,
        key=key,
        notify_emails=notify_email or [],
        notify_on=[word for words in notify_on or [] for word in words.split(",") if word.strip()],
        home=_home(context, home).root,
    )


@app.command("test")
def try_out(
    context: typer.Context,
    transport: Annotated[str, typer.Argument(help="The transport's name; without one, every transport.")] = "",
    to: Annotated[str, typer.Option(help="Somebody else than its default recipient.")] = "",
    home: HomeOption = None,
) -> None:
    """Send a one-line test message through a transport. Exit code 1 when it fails."""
    from syftnotify.cli import trial

    raise typer.Exit(trial.send(_home(context, home), transport, to))


alerts_app = typer.Typer(
    name="alerts", help="Rules that tell somebody how the runs of some jobs end.", no_args_is_help=True
)
app.add_typer(alerts_app)


@alerts_app.command("add")
def alerts_add(
    context: typer.Context,
    job: Annotated[str, typer.Option(help="A job's name or entity, or a pattern such as 'nightly-*'.")] = "",
    tag: Annotated[str, typer.Option(help="A tag, or a pattern of tags.")] = "",
    email: Annotated[str, typer.Option(help="Tell this address.")] = "",
    webhook: Annotated[str, typer.Option(help="Tell this transport, or this address: https://...")] = "",
    on_failure: Annotated[bool, typer.Option(help="When it failed.")] = True,
    on_timeout: Annotated[bool, typer.Option(help="When it ran out of time.")] = True,
    on_success: Annotated[bool, typer.Option(help="When it completed.")] = False,
    on_long_run_minutes: Annotated[float | None, typer.Option(help="When it still runs after so long.")] = None,
    home: HomeOption = None,
) -> None:
    """Add a rule; a running worker obeys it from its next look on."""
    from syftnotify.cli import alerts
    from syftnotify.errors import ConfigError
    from syftnotify.model import AlertRule, is_address

    if bool(email) == bool(webhook):
        raise ConfigError("say who hears: either --email or --webhook")
    if "://" in email:  # not repeated: the address of a webhook is often its own password
        raise ConfigError("--email takes no address of the web", hint="say `--webhook` instead")
    if email and not is_address(email):
        raise ConfigError(f"{email[:60]!r} is no mail address", hint="a webhook is told by `--webhook`")
    if is_address(webhook):
        raise ConfigError(f"{webhook!r} is a mail address and no webhook", hint="say `--email` instead")
    alerts.add(
        _home(context, home),
        AlertRule(
            id="",
            target=email or webhook,
            job=job,
            tag=tag,
            on_failure=on_failure,
            on_timeout=on_timeout,
            on_success=on_success,
            on_long_run_minutes=on_long_run_minutes,
        ),
    )


@alerts_app.command("list")
def alerts_list(
    context: typer.Context,
    about: Annotated[str, typer.Argument(help="Only rules about this job, pattern or tag.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list, for machines.")] = False,
    home: HomeOption = None,
) -> None:
    """List the rules with their ids."""
    from syftnotify.cli import alerts

    alerts.show(_home(context, home), about=about, as_json=as_json)


@alerts_app.command("rm")
def alerts_rm(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="As `notify alerts list` shows it.")],
    home: HomeOption = None,
) -> None:
    """Remove a rule."""
    from syftnotify.cli import alerts

    alerts.remove(_home(context, home), name)


secret_app = typer.Typer(name="secret", help="Secrets, encrypted in the configuration.", no_args_is_help=True)
app.add_typer(secret_app)


@secret_app.command("set")
def secret_set(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The name by which the configuration refers to it.")],
    home: HomeOption = None,
) -> None:
    """Keep a secret, read from the terminal or from standard input; `secret:NAME` stands for it then."""
    from syftnotify.config.edit import edit
    from syftnotify.config.secrets import sealed

    place = _home(context, home)
    if not place.config.exists():
        raise NotifyError(f"there is no configuration at {place.config}", hint="`notify init` writes one")
    value = typer.prompt("secret", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not value:
        raise NotifyError("nothing was typed, so nothing was kept")
    edit(place, {("secrets", name): sealed(value, place)})
    say(f"kept; `secret:{name}` stands for it")


@app.command()
def demo() -> None:
    """Show the whole main job, with no account and no network."""
    from syftnotify.cli.demo import play

    raise typer.Exit(play())


def main() -> None:
    """The console script."""
    os.umask(0o077)  # whatever the caller's: all that we make is for its owner alone
    try:
        app()
    except NotifyError as error:
        complain(error)
        sys.exit(error.exit_code)
