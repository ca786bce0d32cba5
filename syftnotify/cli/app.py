"""The commands of `notify`: options and arguments; the work is done in the modules beside this one."""

# Without `from __future__ import annotations`: typer would compile each of them again, a tenth of `notify --help`.
import contextlib
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from syftnotify import __version__
from syftnotify.cli.console import complain, emit_line, say, typed_line, use_safe_streams, warn
from syftnotify.core.errors import AlreadyRunningError, NotifyError, NotRunningError
from syftnotify.system import ownership
from syftnotify.system.paths import Home

_CHECK_STREAMS = "check where the output goes, and the free space there and in the home folder"
_CHECK_FILES = "check the permissions and free space of the home folder, or choose another `--home`"

app = typer.Typer(
    name="notify",
    help="Notify SyftBox data owners and scientists about jobs and peers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _path(text: str) -> Path:
    """A path option; an empty one, as an unset shell variable gives it, would be the current folder."""
    if not text.strip():
        raise typer.BadParameter("expected a path, got an empty text.")
    return Path(text)


HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", parser=_path, metavar="PATH", help="Home folder; default: SYFTNOTIFY_HOME, or ~/.syft-creds."
    ),
]


def _interval(text: str) -> float | str:
    """The value of `--interval`, as it is written into the configuration."""
    from syftnotify.config.values import MAX_INTERVAL, MIN_INTERVAL, parse_seconds, redacted_repr

    value = _number_or_text(text)
    try:
        parse_seconds(value, MIN_INTERVAL, MAX_INTERVAL)
    except ValueError:
        expected = f"{MIN_INTERVAL} to {MAX_INTERVAL} seconds (30, 30s or 5m)"
        raise typer.BadParameter(f"expected {expected}, got {redacted_repr(text)}.") from None
    return value


def _timeout(text: str | float) -> float:
    if isinstance(text, float):  # the default
        return text
    from syftnotify.config.values import parse_seconds, redacted_repr

    try:
        return parse_seconds(_number_or_text(text), 0, 86400)
    except ValueError:
        raise typer.BadParameter(f"expected 0 to 86400 seconds (30, 30s or 5m), got {redacted_repr(text)}.") from None


def _mail_type(text: str) -> str:
    from syftnotify.services.mail_setup import MAIL_TYPES

    if text not in MAIL_TYPES:
        raise typer.BadParameter(f"expected {', '.join(MAIL_TYPES)}, got {text!r}.")
    return text


def _number_or_text(text: str | float) -> float | str:
    try:
        return float(text)
    except ValueError:
        return str(text)


TimeoutOption = Annotated[
    float,
    typer.Option(
        parser=_timeout, metavar="DURATION", help="Time to finish sends in progress; then the worker is killed."
    ),
]


class RoleKind(StrEnum):
    """The role of the user of this machine."""

    OWNER = "owner"
    SCIENTIST = "scientist"


class Level(StrEnum):
    """Log levels."""

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
    as_owner: Annotated[
        bool, typer.Option("--as-owner", help="As root: give up root's rights and work as the owner of the home.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""
    context.obj = home, as_owner


def _home(context: typer.Context, home: Path | None) -> Home:
    """The home to work in; with `--as-owner` this process is its owner's afterwards.

    Raises:
        UnsafeHomeError: the caller is root and the home belongs to another user.
    """
    common, as_owner = context.find_root().obj
    place = Home.at(home or common)
    if as_owner:
        ownership.drop_privileges(place)
    ownership.refuse_root(place)
    return place


@app.command()
def init(
    context: typer.Context,
    email: Annotated[str | None, typer.Option(help="Mail address of the data owner, or of the scientist.")] = None,
    role: Annotated[
        RoleKind | None, typer.Option(help="Notify an owner about jobs at their data, or a scientist about their own.")
    ] = None,
    syftbox_root: Annotated[Path | None, typer.Option(parser=_path, metavar="PATH", help="SyftBox folder.")] = None,
    notify_jobs: Annotated[bool | None, typer.Option("--notify-jobs/--no-notify-jobs", help="Monitor jobs.")] = None,
    notify_peers: Annotated[
        bool | None, typer.Option("--notify-peers/--no-notify-peers", help="Monitor peers.")
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(parser=_interval, metavar="DURATION", help="Time between two scans: 30 (seconds), 30s or 5m."),
    ] = None,
    transport: Annotated[
        str | None,
        typer.Option(parser=_mail_type, metavar="TYPE", help="Transport for mail: gmail, smtp or maildir."),
    ] = None,
    smtp_url: Annotated[
        str | None,
        typer.Option(help="Mail server: smtp://user@host:587. The password is prompted for, or read from stdin."),
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(
            parser=_path, metavar="PATH", help="Client secrets of a Google desktop app (credentials.json); signs in."
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Sign in with a browser on another machine (SSH, Colab).")
    ] = False,
    alert_contact: Annotated[
        str | None,
        typer.Option(
            help="Ping URL of a dead-man switch, or a mail address that another mail transport alerts when one fails."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the configuration by a new one.")] = False,
    no_test: Annotated[bool, typer.Option("--no-test", help="Send no test mail.")] = False,
    home: HomeOption = None,
) -> None:
    """Write the configuration, sign in, send a test mail.

    Exit code 5: the configuration is written, but the sign-in to Google is missing.
    """
    from syftnotify.cli.init import Wishes, set_up

    wishes = Wishes(
        email=email,
        syftbox_root=syftbox_root,
        notify_jobs=notify_jobs,
        notify_peers=notify_peers,
        interval=interval,
        role=role.value if role else None,
        transport=transport,
        smtp_url=smtp_url,
        credentials=credentials,
        no_browser=no_browser,
        alert_contact=alert_contact,
        force=force,
        test=not no_test,
    )
    raise typer.Exit(set_up(_home(context, home), wishes))


@app.command()
def start(context: typer.Context, home: HomeOption = None) -> None:
    """Start the background worker and return when it is running."""
    _start(_home(context, home))


def _start(home: Home) -> None:
    from syftnotify.runtime import process

    started = process.start(home)
    for warning in started.warnings:
        warn(warning)
    say(f"worker started (pid {started.pid}); follow it with `notify logs -f`")


@app.command()
def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
    home: HomeOption = None,
) -> None:
    """Show worker status. Exit code 0: running, 3: not running, 4: unhealthy."""
    from syftnotify.cli.status import show

    raise typer.Exit(show(_home(context, home), as_json=as_json))


@app.command()
def logs(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="Name of the log; only `notify` exists.")] = "notify",
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Number of records to show.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Follow new records.")] = False,
    level: Annotated[Level, typer.Option(help="Minimum level.")] = Level.DEBUG,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per record.")] = False,
    home: HomeOption = None,
) -> None:
    """Show the log of the worker."""
    from syftnotify.system import logs as log_file

    if service != "notify":
        raise NotifyError(f"there is no log of {service!r}", hint="run `notify logs`")
    path = _home(context, home).log
    if not path.exists() and not follow:
        raise NotifyError(f"there is no log at {path} yet", hint="run `notify start`")
    shown = log_file.record_as_json if as_json else str
    following = log_file.follow(path, level=level.value) if follow else iter(())
    for record in log_file.last_records(path, lines, level=level.value):
        emit_line(shown(record))
    try:
        for record in following:
            emit_line(shown(record), flush=True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def stop(
    context: typer.Context,
    timeout: TimeoutOption = 30.0,
    home: HomeOption = None,
) -> None:
    """Stop the worker after its sends in progress."""
    if not _stop(_home(context, home), timeout):
        raise typer.Exit(1)


def _stop(home: Home, timeout: float) -> bool:
    """Stop the worker and print how it ended; returns whether it did not have to be killed."""
    from syftnotify.core.text import plural
    from syftnotify.runtime import process

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
    timeout: TimeoutOption = 30.0,
    home: HomeOption = None,
) -> None:
    """Restart the worker with the current configuration."""
    from syftnotify.services.settings import check_ready

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
    once: Annotated[bool, typer.Option("--once", help="Scan and deliver once, then exit.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent; change nothing.")] = False,
    home: HomeOption = None,
) -> None:
    """Run the worker in the foreground until Ctrl-C."""
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
    """Start the worker unless it is running; silent, for cron."""
    from syftnotify.runtime import process
    from syftnotify.system import worker_lock

    place = _home(context, home)
    if worker_lock.is_held(place):
        return
    with contextlib.suppress(AlreadyRunningError):  # somebody else was faster
        process.start(place)


@app.command()
def install(context: typer.Context, home: HomeOption = None) -> None:
    """Install and start a systemd user unit for the worker."""
    from syftnotify.runtime import process, systemd
    from syftnotify.services.settings import check_ready
    from syftnotify.system import worker_lock

    place = _home(context, home)
    ownership.check_home(place)
    check_ready(place)
    stopped = False

    def stop_other_worker() -> None:
        nonlocal stopped
        pid = worker_lock.holder_pid(place)
        if pid is not None and pid != systemd.main_pid(place):
            _stop(place, 30.0)
            stopped = True

    try:
        path = systemd.install(place, stop_other_worker=stop_other_worker)
    except NotifyError:
        if stopped:
            process.start(place)  # nobody is left without a notifier
        raise
    say(f"installed and started: {path}")
    say("it starts with your session; `loginctl enable-linger` keeps it running while you are logged out")


@app.command()
def uninstall(context: typer.Context, home: HomeOption = None) -> None:
    """Stop the worker of the systemd unit, and remove the unit."""
    from syftnotify.runtime import systemd

    path = systemd.uninstall(_home(context, home))
    say(f"stopped and removed: {path}" if path else "nothing was installed")


@app.command("dead", hidden=True)
@app.command("dead-letters")
def dead_letters(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids for --ack; without any, all.")] = None,
    ack: Annotated[bool, typer.Option("--ack", help="Acknowledge them: they stop counting as unhealthy.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    home: HomeOption = None,
) -> None:
    """List notifications that could not be delivered, and why."""
    from syftnotify.cli import letters

    if ids and not ack:
        raise NotifyError("ids are for --ack", hint="run `notify dead-letters --ack ID...` or `notify resend ID...`")
    if ack:
        letters.acknowledge(_home(context, home), ids or [])
    else:
        letters.show(_home(context, home), as_json=as_json)


@app.command()
def resend(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids as `notify dead-letters` shows them.")] = None,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="All dead letters.")] = False,
    recipient: Annotated[str | None, typer.Option(help="Only to this address.")] = None,
    since: Annotated[str | None, typer.Option(help="Only of events since: 2h, 3d, 2026-01-15.")] = None,
    home: HomeOption = None,
) -> None:
    """Send dead letters again."""
    from syftnotify.cli import letters

    letters.resend(_home(context, home), ids or [], all_dead=all_dead, recipient=recipient, since=since)


@app.command()
def history(
    context: typer.Context,
    to: Annotated[str, typer.Option(help="Only to this recipient.")] = "",
    about: Annotated[str, typer.Option(help="Only about this entity, or jobs of this name.")] = "",
    event: Annotated[list[str] | None, typer.Option(help="Only this event kind; repeatable.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="Only pending, withheld, sending, sent, unknown, dead, skipped; repeatable."),
    ] = None,
    transport: Annotated[str, typer.Option(help="Only through this transport.")] = "",
    since: Annotated[str | None, typer.Option(help="Only of events since: 2h, 3d, 2026-01-15.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=0, help="Number of notifications; 0: all.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    home: HomeOption = None,
) -> None:
    """List notifications and their outcome."""
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
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    home: HomeOption = None,
) -> None:
    """Explain who was notified of a job, who was not, and why."""
    from syftnotify.cli import history as looking_back

    looking_back.explain(_home(context, home), about, as_json=as_json)


@app.command()
def prune(
    context: typer.Context,
    older_than: Annotated[
        str | None, typer.Option(help="Delete events before: 26w, 365d, 2026-01-15; default: `retention`.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the number of events; change nothing.")] = False,
    home: HomeOption = None,
) -> None:
    """Delete old history; waiting notifications are kept."""
    from syftnotify.cli import history as looking_back

    looking_back.prune(_home(context, home), older_than, dry_run=dry_run)


@app.command()
def preview(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="Template (new_job) or event kind (job_failed); default: list the names.")
    ] = "",
    html: Annotated[
        Path | None, typer.Option("--html", parser=_path, metavar="PATH", help="Write the HTML part to this file.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Preview a mail, rendered with your own templates."""
    from syftnotify.cli import preview as previews

    place = _home(context, home)
    if name:
        previews.show(place, name, as_html=html)
    elif html is not None:
        raise NotifyError("`--html` needs a name", hint="run `notify preview` for the names")
    else:
        previews.list_names()


@app.command()
def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    home: HomeOption = None,
) -> None:
    """Check configuration, transports and state. Exit code 1: a check failed."""
    from syftnotify.cli import doctor as doctors

    raise typer.Exit(doctors.examine(_home(context, home), as_json=as_json))


@app.command()
def emit(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="Event kind: job_failed, gpu_available, ...")],
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
    from syftnotify.cli.emit import hand_in

    key = hand_in(
        _home(context, home),
        kind,
        entity,
        payload=payload,
        alerts=alerts,
        user=user,
        tags=tags or [],
        key=key,
        notify_emails=notify_email or [],
        notify_on=[word for words in notify_on or [] for word in words.split(",") if word.strip()],
    )
    typer.echo(key)


@app.command("test")
def try_out(
    context: typer.Context,
    transport: Annotated[str, typer.Argument(help="Transport name; default: all transports.")] = "",
    to: Annotated[str, typer.Option(help="Recipient instead of the default one.")] = "",
    home: HomeOption = None,
) -> None:
    """Send a test message through a transport. Exit code 1: it failed."""
    from syftnotify.cli import test_send

    raise typer.Exit(test_send.send(_home(context, home), transport, to))


alerts_app = typer.Typer(
    name="alerts", help="Manage alert rules for jobs that fail, time out or run long.", no_args_is_help=True
)
app.add_typer(alerts_app)


@alerts_app.command("add")
def alerts_add(
    context: typer.Context,
    job: Annotated[str, typer.Option(help="Job name, entity, or pattern, for example 'nightly-*'.")] = "",
    tag: Annotated[str, typer.Option(help="Tag, or pattern of tags.")] = "",
    email: Annotated[str, typer.Option(help="Alert this mail address.")] = "",
    webhook: Annotated[str, typer.Option(help="Alert this webhook transport, or URL: https://...")] = "",
    on_failure: Annotated[bool, typer.Option(help="Alert on failures.")] = True,
    on_timeout: Annotated[bool, typer.Option(help="Alert on timeouts.")] = True,
    on_success: Annotated[bool, typer.Option(help="Alert on completion.")] = False,
    on_long_run_minutes: Annotated[float | None, typer.Option(help="Alert when a run takes longer.")] = None,
    home: HomeOption = None,
) -> None:
    """Add a rule; a running worker applies it from its next scan on."""
    from syftnotify.cli import alerts
    from syftnotify.core.errors import ConfigError
    from syftnotify.core.identifiers import is_address
    from syftnotify.core.models import AlertRule

    if bool(email) == bool(webhook):
        raise ConfigError("the target is missing or ambiguous", hint="pass either --email or --webhook")
    if "://" in email:  # not repeated: the URL of a webhook is often its own password
        raise ConfigError("--email: expected a mail address, got a URL", hint="pass `--webhook` instead")
    if email and not is_address(email):
        raise ConfigError(f"--email: {email[:60]!r} is not a mail address", hint="pass `--webhook` for a webhook")
    if is_address(webhook):
        raise ConfigError(f"--webhook: {webhook!r} is a mail address", hint="pass `--email` instead")
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
    about: Annotated[str, typer.Argument(help="Only rules for this job, pattern or tag.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    home: HomeOption = None,
) -> None:
    """List the rules with their ids."""
    from syftnotify.cli import alerts

    alerts.show(_home(context, home), about=about, as_json=as_json)


@alerts_app.command("rm")
def alerts_rm(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="Id as `notify alerts list` shows it.")],
    home: HomeOption = None,
) -> None:
    """Remove a rule."""
    from syftnotify.cli import alerts

    alerts.remove(_home(context, home), name)


secret_app = typer.Typer(name="secret", help="Manage secrets, encrypted in the configuration.", no_args_is_help=True)
app.add_typer(secret_app)


@secret_app.command("set")
def secret_set(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name by which the configuration refers to it.")],
    home: HomeOption = None,
) -> None:
    """Store a secret from the terminal or standard input, for `secret:NAME`."""
    from syftnotify.config.edit import edit
    from syftnotify.config.secrets import encrypt

    place = _home(context, home)
    ownership.check_home(place)
    if not place.config.exists():
        raise NotifyError(f"there is no configuration at {place.config}", hint="run `notify init`")
    value = typer.prompt("secret", hide_input=True) if sys.stdin and sys.stdin.isatty() else typed_line()
    if not value:
        raise NotifyError("the secret is empty; nothing was stored", hint="type it, or pipe it to standard input")
    edit(place, {("secrets", name): encrypt(value, place)})
    say(f"stored; use it as `secret:{name}`")


@app.command()
def demo() -> None:
    """Run a demonstration; it needs no account and no network."""
    from syftnotify.cli.demo import play

    raise typer.Exit(play())


def main() -> None:
    """The console script."""
    os.umask(0o077)  # new files are readable by their owner only
    use_safe_streams()
    try:
        app()
    except NotifyError as error:
        complain(error)
        sys.exit(error.exit_code)
    except UnicodeEncodeError as error:  # the output streams escape what they cannot encode, so it is an argument
        complain(NotifyError(f"the argument {error.object[:60]!r} is not valid UTF-8", hint="pass it as UTF-8 text"))
        sys.exit(2)
    except OSError as error:  # an unreadable home folder, a full disk: a condition of the machine
        place, hint = (error.filename, _CHECK_FILES) if error.filename else ("input or output", _CHECK_STREAMS)
        complain(NotifyError(f"{place}: {error.strerror or error}", hint=hint))
        sys.exit(1)
    except RuntimeError as error:  # `--install-completion` looks for the shell's files in the home directory
        if "home directory" not in str(error):
            raise
        complain(NotifyError("there is no home directory", hint="set HOME"))
        sys.exit(2)
