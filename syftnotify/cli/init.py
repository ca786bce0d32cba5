"""`notify init`: write or edit the configuration, sign in, send a test mail."""

from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syftnotify.cli.console import is_terminal, print_line, print_raw, print_warnings
from syftnotify.cli.options import HomeOption, Role, parse_interval, parse_mail_type, parse_path, resolve_home
from syftnotify.cli.setup_questions import ask_missing
from syftnotify.core.errors import ConfigError, DeliveryError, Failure, NotifyError, NotSignedInError

if TYPE_CHECKING:
    from syftnotify.config.load import Settings
    from syftnotify.services.setup.options import SetupOptions
    from syftnotify.services.setup.syft_bg import SyftBgSettings
    from syftnotify.services.setup.writing import SetupResult
    from syftnotify.system.paths import Home


class SetupExitCode(IntEnum):
    """How `notify init` ended."""

    READY = 0
    NOT_SIGNED_IN = 5


def init(
    context: typer.Context,
    email: Annotated[str | None, typer.Option(help="Mail address of the data owner, or of the scientist.")] = None,
    role: Annotated[
        Role | None, typer.Option(help="Role of the user: an owner of data, or a scientist who submits jobs.")
    ] = None,
    syftbox_root: Annotated[
        Path | None, typer.Option(parser=parse_path, metavar="PATH", help="SyftBox folder.")
    ] = None,
    notify_jobs: Annotated[bool | None, typer.Option("--notify-jobs/--no-notify-jobs", help="Monitor jobs.")] = None,
    notify_peers: Annotated[
        bool | None, typer.Option("--notify-peers/--no-notify-peers", help="Monitor peers.")
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(
            parser=parse_interval, metavar="DURATION", help="Time between two scans: 30 (seconds), 30s or 5m."
        ),
    ] = None,
    transport: Annotated[
        str | None,
        typer.Option(parser=parse_mail_type, metavar="TYPE", help="Transport for mail: gmail, smtp or maildir."),
    ] = None,
    smtp_url: Annotated[
        str | None,
        typer.Option(help="Mail server: smtp://user@host:587. The password is prompted for, or read from stdin."),
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            metavar="PATH",
            help="Client secrets of a Google desktop app (credentials.json); signs in.",
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Sign in with a browser on another machine (SSH, Colab).")
    ] = False,
    alert_contact: Annotated[
        str | None,
        typer.Option(
            help="Ping URL of a dead man's switch, or a mail address that another mail transport alerts when one fails."
        ),
    ] = None,
    serve: Annotated[
        bool | None,
        typer.Option(
            "--serve/--no-serve", help="Whether the worker serves the page and the API; either stores inboxes."
        ),
    ] = None,
    from_syft_bg: Annotated[
        bool,
        typer.Option("--from-syft-bg", help="Take over the settings of syft-bg and its record of sent mail."),
    ] = False,
    syft_bg_home: Annotated[
        Path | None,
        typer.Option(parser=parse_path, metavar="DIR", help="With --from-syft-bg: the folder of syft-bg."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the configuration by a new one.")] = False,
    no_test: Annotated[bool, typer.Option("--no-test", help="Send no test mail.")] = False,
    home: HomeOption = None,
) -> None:
    """Write the configuration, sign in, send a test mail.

    Exit code 5: the configuration is written, but the sign-in to Google is missing.
    """
    from syftnotify.services.setup.options import SetupOptions
    from syftnotify.services.setup.plan import check_options, plan_setup
    from syftnotify.services.setup.writing import write_setup

    if serve:
        from syftnotify.web.launch import check_packages

        check_packages()
    resolved = resolve_home(context, home)
    options = SetupOptions(
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
        serve=serve,
        force=force,
    )
    can_ask = is_terminal() and not from_syft_bg
    if syft_bg_home is not None and not from_syft_bg:
        raise ConfigError("--syft-bg-home needs --from-syft-bg", hint="pass both, to take over its settings")
    imported = _syft_bg_settings(resolved, is_requested=from_syft_bg, folder=syft_bg_home, can_ask=can_ask)
    if imported is not None:
        options, can_ask = imported.complete(options), False
    check_options(resolved, options, can_ask=can_ask)
    options = ask_missing(resolved, options, can_ask=can_ask)
    result = write_setup(plan_setup(resolved, options))
    _print_result(resolved, result)
    if imported is not None:
        _import_record(result.settings, imported)
    is_ready = _sign_in(result.settings, options, can_ask=can_ask)
    if is_ready and not no_test:
        _send_test(result.settings)
    if is_ready:
        _print_next_step(resolved)
    raise typer.Exit(SetupExitCode.READY if is_ready else SetupExitCode.NOT_SIGNED_IN)


def _syft_bg_settings(
    home: "Home", *, is_requested: bool, folder: Path | None, can_ask: bool
) -> "SyftBgSettings | None":
    """The settings of syft-bg to take over: requested by option, or offered before the first start."""
    from syftnotify.services.setup.syft_bg import read_settings, syft_bg_home
    from syftnotify.system import worker_lock
    from syftnotify.system.syft_bg import find_syft_bg

    if is_requested and worker_lock.is_held(home):
        raise NotifyError(
            "the worker is running; what syft-bg has sent must be known before",
            hint="run `notify stop`, then this command again",
        )
    if is_requested:
        return read_settings(syft_bg_home(folder))
    found = None if home.state.exists() else find_syft_bg()
    if found is None or not found.config.is_file():
        return None
    if not can_ask:
        print_line(f"syft-bg is set up in {found.root}; `notify init --from-syft-bg` takes over its settings")
        return None
    question = f"syft-bg is set up in {found.root}. Take over its settings and its record of sent mail"
    return read_settings(found) if typer.confirm(question, default=True) else None


def _import_record(settings: "Settings", imported: "SyftBgSettings") -> None:
    """Take over the record of sent mail, and print what was taken over and what is left to do."""
    from syftnotify.core.text import plural
    from syftnotify.runtime.sent_import import import_sent_record

    print_line(f"taken over from syft-bg in {imported.home.root}:")
    for line in imported.summary(settings.mail_settings):
        print_line(f"  {line}")
    record = import_sent_record(settings, imported.record)
    if record is None:
        print_line("  it has sent no mail; the first scan takes jobs that have ended as known")
    else:
        print_line(f"  {plural(record.settled, 'event')} recorded as notified, {record.owed} still to be notified")
    print_warnings(imported.notes)
    print_warnings(imported.service_problems())


def _print_result(home: "Home", result: "SetupResult") -> None:
    from syftnotify.services.setup.writing import previous_config

    settings, mail, serve = result.settings, result.mail, result.settings.config.serve
    print_line(f"wrote {home.config}" if result.is_changed else f"{home.config} is unchanged")
    if mail is not None:
        print_line(f"mail goes out through transport `{mail.name}` ({settings.config.transports[mail.name].type})")
        if mail.removed:
            copy = previous_config(home).name
            print_line(f"removed from `{mail.name}`: {', '.join(mail.removed)}; the previous configuration is {copy}")
        if mail.kept:
            print_line(f"transport `{mail.kept}` stays configured")
    if serve is not None and serve.enabled:
        scheme = "http" if serve.certfile is None else "https"
        print_line(f"the worker serves the page and the API on {scheme}://{serve.host}:{serve.port}; for a token, run")
        print_line(f"`notify token create --user {settings.config.do_email} --role operator`")
    elif serve is None and result.is_changed:
        print_line("an inbox and an API for other programs: `notify init --serve`")
    print_warnings(result.warnings)
    if not settings.root.is_dir():
        print_line(f"{settings.root} does not exist yet; the worker waits for it")


def _sign_in(settings: "Settings", options: "SetupOptions", *, can_ask: bool) -> bool:
    """Sign in if the mail transport needs it and it is possible; returns whether mail can be sent."""
    from syftnotify.services.setup.sign_in import prepare_sign_in

    pending = prepare_sign_in(settings, options, can_ask=can_ask)
    if pending is None:
        return True
    sign_in = pending.sign_in
    if not pending.can_start:
        print_line(
            f"Not signed in yet. Put the OAuth client of a desktop app from Google's console at {sign_in.client}"
        )
        print_line(f"and run `notify init --credentials {sign_in.client}` (with --no-browser over SSH and on Colab).")
        print_line("No test mail was sent. Until you have signed in, `notify start` fails (exit code 2).")
        return False
    print_line("Google asks for your consent to send mail in your name, and for nothing else.")
    token = sign_in.run(_ask_for_redirect if options.no_browser else None, print_raw)
    print_line(f"signed in; the token is {token}")
    return True


def _ask_for_redirect(url: str) -> str:
    """Ask the user to open `url` in any browser; returns the URL to which that browser is redirected."""
    print_line("Open this address in a browser, on any machine, and agree:\n")
    print_raw(url)
    print_line("\nThe browser is redirected to an address at 127.0.0.1 that it cannot open; this is expected.")
    try:
        return str(typer.prompt("paste that whole address here", prompt_suffix=":\n"))
    except typer.Abort:
        raise NotSignedInError("no address was given", hint="run `notify init --no-browser` again") from None


def _send_test(settings: "Settings") -> None:
    from syftnotify.services.test_send import send_test

    name = settings.default_mail_transport
    if not name:
        print_line("no transport sends mail; run `notify test` to test the others")
        return
    try:
        destination = send_test(settings, name)
    except DeliveryError as error:
        text = f"the test mail was not sent through {name}: {error}"
        hint = "the configuration is kept; run `notify test` to try again"
        if error.failure is Failure.AUTH:
            hint = (
                "the configuration is kept; check user and password (Gmail needs an app password), "
                "and run `notify init --smtp-url URL` with the same URL again"
            )
        raise NotifyError(text, hint=hint) from error
    print_line(f"sent a test mail through {name}{destination}")


def _print_next_step(home: "Home") -> None:
    from syftnotify.system import worker_lock

    is_running = worker_lock.is_held(home)
    print_line("next: run `notify restart` to apply the configuration" if is_running else "next: run `notify start`")
