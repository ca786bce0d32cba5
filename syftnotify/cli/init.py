"""`notify init`: write or change the configuration, sign in, send a test mail."""

from __future__ import annotations

import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from syftnotify.cli.console import emit_line, is_terminal, say, typed_line, warn
from syftnotify.config.edit import apply_edits
from syftnotify.config.load import Settings
from syftnotify.config.secrets import encrypt
from syftnotify.config.syftbox_root import default_root, find_root
from syftnotify.config.values import is_safe_url
from syftnotify.config.yaml_reader import parse_yaml, read_config_file
from syftnotify.core.errors import ConfigError, DeliveryError, NotifyError, NotSignedInError
from syftnotify.core.identifiers import is_address
from syftnotify.services.mail_setup import (
    MAIL_TYPES,
    SMTP,
    MailSetup,
    check_oauth_client,
    mail_setup,
    user_without_password,
    with_password,
)
from syftnotify.services.settings import parse
from syftnotify.services.test_send import send_test
from syftnotify.system import worker_lock
from syftnotify.system.files import atomic_write, read_regular_file
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home, expand_path

DONE, NOT_SIGNED_IN = 0, 5  # exit codes


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of the command line; None where one was not given."""

    email: str | None
    syftbox_root: Path | None
    notify_jobs: bool | None
    notify_peers: bool | None
    interval: float | str | None
    role: str | None
    transport: str | None
    smtp_url: str | None
    credentials: Path | None
    no_browser: bool
    alert_contact: str | None
    force: bool
    test: bool


def set_up(home: Home, wishes: Wishes) -> int:
    """Run `notify init`; returns the exit code.

    Raises:
        NotifyError: something is missing or wrong; the existing configuration is unchanged.
    """
    check_home(home)
    if wishes.credentials is not None:
        check_oauth_client(expand_path(wishes.credentials))  # before anything is written
    fresh = wishes.force or not home.config.exists()
    asks = is_terminal()
    raw = {} if fresh else parse_yaml(read_config_file(home.config))[0]
    changes = _changes(wishes, fresh=fresh, asks=asks)
    mail = _mail_transport(raw, wishes, fresh=fresh, asks=asks)
    contact = _alert_contact(wishes.alert_contact, fresh=fresh, asks=asks)
    if mail is not None:
        changes |= mail.changes
    if contact:
        changes |= _contact_changes(contact, raw)
    settings = _written(home, changes, mail, fresh=fresh)
    say(f"wrote {home.config}" if changes else f"{home.config} is unchanged")
    if mail is not None and mail.changes:
        _report_mail(home, settings, mail)
    for warning in settings.warnings:
        warn(warning)
    _report_contact(settings, contact)
    if not settings.root.is_dir():
        say(f"{settings.root} does not exist yet; the worker waits for it")
    ready = _sign_in(settings, wishes, asks=asks)
    if ready and wishes.test:
        _send_test(settings)
    if ready:
        is_running = worker_lock.is_held(home)
        say("next: run `notify restart` to apply the configuration" if is_running else "next: run `notify start`")
    return DONE if ready else NOT_SIGNED_IN


def _changes(wishes: Wishes, *, fresh: bool, asks: bool) -> dict[tuple[str, ...], Any]:
    """The values to write besides transports, by path; asks for what a fresh configuration still lacks."""
    changes: dict[tuple[str, ...], Any] = {}
    email = _email(wishes.email, fresh=fresh, asks=asks)
    if email is not None:
        changes["do_email",] = email
    if wishes.syftbox_root is not None:
        root = expand_path(wishes.syftbox_root)
        if problem := _root_problem(root):
            raise ConfigError(f"--syftbox-root: {problem}", hint="pass the SyftBox folder")
        changes["syftbox_root",] = str(root)
    elif fresh and email is not None and (found := _root(email, asks=asks)) is not None:
        changes["syftbox_root",] = str(found)
    options = {
        ("role",): wishes.role,
        ("notify", "monitor_jobs"): wishes.notify_jobs,
        ("notify", "monitor_peers"): wishes.notify_peers,
        ("notify", "interval"): _plain(wishes.interval),
    }
    changes.update({path: value for path, value in options.items() if value is not None})
    return changes


def _mail_transport(raw: dict[str, Any], wishes: Wishes, *, fresh: bool, asks: bool) -> MailSetup | None:
    """The changes that make mail go out as requested; None where nothing was requested."""
    if wishes.smtp_url and wishes.transport not in {None, SMTP}:
        raise ConfigError(f"--smtp-url contradicts --transport {wishes.transport}", hint="pass one of them")
    wanted = wishes.transport or (SMTP if wishes.smtp_url else _asked_transport() if fresh and asks else None)
    if wanted is None:
        return None
    found = mail_setup(raw, wanted)
    if wanted == SMTP and (wishes.smtp_url or found.needs_server):
        return found.with_server(_smtp_url(wishes.smtp_url, asks=asks))
    return found


def _email(given: str | None, *, fresh: bool, asks: bool) -> str | None:
    if given is None and not fresh:
        return None
    if given is None and not asks:
        raise ConfigError(
            "the data owner's mail address is missing",
            hint="pass `--email you@example.org`, or run `notify init` in a terminal",
        )
    while True:
        email = str(given if given is not None else typer.prompt("Your mail address, the data owner's")).strip()
        if is_address(email):
            return email
        if given is not None:
            raise ConfigError(f"--email: {email!r} is not a mail address", hint="pass one such as owner@example.org")
        warn(f"{email!r} is not a mail address")


def _asked_transport() -> str:
    while True:
        answer = str(typer.prompt(f"Mail transport ({', '.join(MAIL_TYPES)})", default=MAIL_TYPES[0])).strip()
        if answer in MAIL_TYPES:
            return answer
        warn(f"{answer!r} is not a mail transport; enter one of {', '.join(MAIL_TYPES)}")


def _smtp_url(given: str | None, *, asks: bool) -> str:
    """The URL of a mail server with its password, which is asked for where the URL lacks it."""
    if given is None and not asks:
        raise ConfigError("the mail server is missing", hint="pass `--smtp-url smtp://user@mail.example:587`")
    question = "Mail server, as smtp://user@mail.example:587"
    while True:
        url = str(given if given is not None else typer.prompt(question)).strip()
        try:
            user = user_without_password(url)
            break
        except ValueError as error:
            if given is not None:
                raise ConfigError(f"--smtp-url: {error}") from None
            warn(str(error))
    if not user:
        return url
    password = str(typer.prompt(f"Password of {user}", hide_input=True)) if asks else typed_line()
    if not password:
        raise ConfigError(
            f"the password of {user} is missing", hint="write it to standard input, or leave the user out"
        )
    return with_password(url, password)


def _alert_contact(given: str | None, *, fresh: bool, asks: bool) -> str:
    """The alert contact; a terminal is asked for a ping URL, since a fresh configuration has one mail transport."""
    if given is not None or not (fresh and asks):
        return (given or "").strip()
    question = (
        "Alert contact: the https ping URL of a monitor (dead-man switch) that alerts you when the notifier or its "
        "mail fails (Enter: none)"
    )
    while True:
        answer = str(typer.prompt(question, default="", show_default=False)).strip()
        if not answer or is_address(answer) or is_safe_url(answer):
            return answer
        warn(f"{answer!r} is neither an https URL nor a mail address")


def _plain(interval: float | str | None) -> float | int | str | None:
    """30 instead of 30.0, as a person would write it."""
    if isinstance(interval, float) and math.isfinite(interval) and interval == int(interval):
        return int(interval)
    return interval


def _root(email: str, *, asks: bool) -> Path | None:
    """The SyftBox folder, found or asked for; None leaves the default."""
    found, default = find_root(email), default_root(email)
    if found is not None:
        say(f"found the SyftBox folder {found}")
        return found
    if not asks:
        if default is None:
            raise ConfigError(
                "there is no home directory to find the SyftBox folder in", hint="pass --syftbox-root DIR"
            )
        return None
    while True:
        root = expand_path(typer.prompt("SyftBox folder", default=str(default) if default else None))
        problem = _root_problem(root)
        if not problem:
            return root
        warn(problem)


def _root_problem(path: Path) -> str:
    """The reason why `path` can never be a folder; empty where it is one, or does not exist yet."""
    for place in (path, *path.parents):
        try:
            mode = place.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            return f"{place} cannot be used: {getattr(error, 'strerror', None) or error}"
        return "" if stat.S_ISDIR(mode) else f"{place} is not a folder"
    return ""


def _contact_changes(contact: str, raw: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    if is_address(contact):
        key = "operator" if "operator" in raw else "operators"  # the spelling that the file has
        return {(key,): [contact]}
    if is_safe_url(contact):
        return {("heartbeat", "ping_url"): contact}
    raise ConfigError(
        "--alert-contact: expected the https ping URL of a monitor, or a mail address",
        hint="for instance `--alert-contact https://monitor.example/ping/1234`",
    )


def _report_contact(settings: Settings, contact: str) -> None:
    """Warn if an address cannot be alerted: mail about a failed mail transport needs another one."""
    mail = [name for name, section in settings.config.transports.items() if section.type in MAIL_TYPES]
    if is_address(contact) and len(mail) < 2:
        warn(
            f"{contact} is alerted by mail, through another mail transport than the failed one, and there is only "
            f"`{settings.default_mail_transport}`. To be alerted when it fails, pass a ping URL "
            "(`notify init --alert-contact https://...`) or add a second mail transport to `transports:`"
        )


def _report_mail(home: Home, settings: Settings, mail: MailSetup) -> None:
    section = settings.config.transports[mail.name]
    say(f"mail goes out through transport `{mail.name}` ({section.type})")
    if mail.removed:
        say(
            f"removed from `{mail.name}`: {', '.join(mail.removed)}; the previous configuration is "
            f"{_previous(home).name}"
        )
    if mail.kept:
        say(f"transport `{mail.kept}` stays configured")


def _previous(home: Home) -> Path:
    return home.config.with_name("config.yaml.old")


def _written(home: Home, changes: dict[tuple[str, ...], Any], mail: MailSetup | None, *, fresh: bool) -> Settings:
    """Check the new configuration as the worker would, then write it.

    Raises:
        ConfigError: it would have mistakes; nothing was written.
    """
    before = home.config.read_bytes() if home.config.exists() else None
    if mail is not None and mail.password_url is not None:
        # Written before the check, which decrypts it; an unused key does no harm.
        changes = {**changes, ("secrets", mail.secret): encrypt(mail.password_url, home)}
    content = apply_edits(home, changes, fresh=fresh) if changes else read_config_file(home.config)
    try:
        settings = parse(content, home)
    except ConfigError as error:
        if not changes or before is None:
            raise
        raise ConfigError(f"{error}\nnothing was changed", hint=error.hint) from None
    if mail is not None and mail.changes and settings.default_mail_transport != mail.name:
        raise ConfigError(
            f"mail would still go out through transport `{settings.default_mail_transport}`; nothing was changed",
            hint=f"remove it from `transports:` in {home.config}, or use `transport:` in a route",
        )
    if changes:
        home.create()
        if before is not None and (fresh or (mail is not None and mail.removed)):
            atomic_write(_previous(home), before)
        atomic_write(home.config, content)
    return settings


def _sign_in(settings: Settings, wishes: Wishes, *, asks: bool) -> bool:
    """Sign in where the default mail transport needs it and it is possible; returns whether mail can be sent."""
    mail = settings.mail_settings
    sign_in = mail.sign_in if mail is not None else None
    if sign_in is None:
        return True
    wanted = wishes.credentials is not None or wishes.no_browser
    if sign_in.exists() and not wanted:
        return True
    if wishes.credentials is not None:
        atomic_write(sign_in.client, read_regular_file(expand_path(wishes.credentials)))
    if not sign_in.client.exists() or not (asks or wanted):
        say(f"Not signed in yet. Put the OAuth client of a desktop app from Google's console at {sign_in.client}, then")
        say(f"run `notify init --credentials {sign_in.client}` (with --no-browser over SSH and on Colab).")
        say("No test mail was sent. Until you have signed in, `notify start` fails (exit code 2).")
        return False
    say("Google asks for your consent to send mail in your name, and for nothing else.")
    token = sign_in.run(_ask_elsewhere if wishes.no_browser else None)
    say(f"signed in; the token is {token}")
    return True


def _ask_elsewhere(url: str) -> str:
    say("Open this address in a browser, on any machine, and agree:\n")
    emit_line(url)
    say("\nThe browser ends on an address at 127.0.0.1 that it cannot show. That is right:")
    try:
        return str(typer.prompt("paste that whole address here", prompt_suffix=":\n"))
    except typer.Abort:
        raise NotSignedInError("no address was given", hint="run `notify init --no-browser` again") from None


def _send_test(settings: Settings) -> None:
    if not settings.default_mail_transport:
        say("no transport sends mail; `notify test` tries out the others")
        return
    try:
        where = send_test(settings, settings.default_mail_transport)
    except DeliveryError as error:
        raise NotifyError(
            f"the test mail did not go out through {settings.default_mail_transport}: {error}",
            hint="the configuration is kept",
        ) from error
    say(f"sent a test mail through {settings.default_mail_transport}{where}")
