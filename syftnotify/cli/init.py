"""`notify init`: asks little, writes the configuration, signs in, proves it with a test mail."""

from __future__ import annotations

import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import typer

from syftnotify import running
from syftnotify.cli.console import is_terminal, say, warn
from syftnotify.cli.trial import send_one
from syftnotify.config import Gmail, Settings, found_root, is_safe_url, load
from syftnotify.config.edit import edit, written_transports
from syftnotify.config.secrets import sealed
from syftnotify.config.smtp import smtp_server
from syftnotify.errors import ConfigError, DeliveryError, NotifyError, NotSignedInError
from syftnotify.files import write_whole
from syftnotify.google_auth import GmailAuth
from syftnotify.google_files import client_secrets
from syftnotify.model import is_address
from syftnotify.paths import Home, expanded

_MAIL_TYPES = ("gmail", "smtp", "maildir")
_TRANSPORT = ("transports", "mail", "type")
_SMTP_URL = ("transports", "mail", "smtp_url")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was said on the command line; None where nothing was."""

    email: str | None
    syftbox_root: Path | None
    notify_jobs: bool | None
    notify_peers: bool | None
    interval: float | None
    role: str | None
    transport: str | None
    smtp_url: str | None
    credentials: Path | None
    no_browser: bool
    second_way: str | None
    force: bool
    test: bool


def set_up(home: Home, wishes: Wishes) -> None:
    """Do what `notify init` promises.

    Raises:
        NotifyError: something is missing or wrong; what had been written before is as it was.
    """
    if warning := running.check_owner(home):
        warn(warning)
    if wishes.credentials is not None:
        client_secrets(expanded(wishes.credentials))  # before anything is written
    fresh = wishes.force or not home.config.exists()
    asks = is_terminal()
    changes = _changes(wishes, fresh=fresh, asks=asks)
    settings = _written(home, changes, fresh=fresh)
    say(f"wrote {home.config}" if changes else f"{home.config} is unchanged")
    for warning in settings.warnings:
        warn(warning)
    if not settings.root.is_dir():
        say(f"{settings.root} does not exist yet; the worker waits for it")
    ready = _sign_in(settings, wishes, asks=asks)
    if ready and wishes.test:
        _send_test(settings)
    if running.is_held(home):
        say("next: `notify restart` takes the configuration up")
    elif ready:
        say("next: `notify start`")


def _changes(wishes: Wishes, *, fresh: bool, asks: bool) -> dict[tuple[str, ...], Any]:
    """What is to be written, by path in the configuration; asks for what a fresh one still lacks."""
    changes: dict[tuple[str, ...], Any] = {}
    email = _email(wishes.email, fresh=fresh, asks=asks)
    if email is not None:
        changes["do_email",] = email
    if wishes.syftbox_root is not None:
        changes["syftbox_root",] = str(expanded(wishes.syftbox_root))
    elif fresh and email is not None and (root := _root(email, asks=asks)) is not None:
        changes["syftbox_root",] = str(root)
    said = {
        ("role",): wishes.role,
        ("notify", "monitor_jobs"): wishes.notify_jobs,
        ("notify", "monitor_peers"): wishes.notify_peers,
        ("notify", "interval"): _plain(wishes.interval),
    }
    changes.update({path: value for path, value in said.items() if value is not None})
    transport = wishes.transport or ("smtp" if wishes.smtp_url else _asked_transport() if fresh and asks else None)
    if transport is not None:
        changes[_TRANSPORT] = transport
    if transport == "smtp" and (wishes.smtp_url or fresh):
        changes[_SMTP_URL] = _smtp_url(wishes.smtp_url, asks=asks)
    second = wishes.second_way if wishes.second_way is not None or not (fresh and asks) else _asked_second_way()
    if second and second.strip():
        changes.update(_second_way(second.strip()))
    return changes


def _email(given: str | None, *, fresh: bool, asks: bool) -> str | None:
    if given is None and not fresh:
        return None
    if given is None and not asks:
        raise ConfigError(
            "whose SyftBox is it?", hint="say `notify init --email you@example.org`, or run it in a terminal"
        )
    while True:
        email = str(given if given is not None else typer.prompt("Your mail address, the data owner's")).strip()
        if is_address(email):
            return email
        if given is not None:
            raise ConfigError(f"{email!r} is no mail address", hint="say one such as owner@example.org")
        warn(f"{email!r} is no mail address")


def _asked_transport() -> str:
    while True:
        answer = str(
            typer.prompt("How shall mail go out: gmail, smtp, or maildir (a folder on this machine)?", default="gmail")
        ).strip()
        if answer in _MAIL_TYPES:
            return answer
        warn(f"there is no way {answer!r}; say gmail, smtp or maildir")


def _smtp_url(given: str | None, *, asks: bool) -> str:
    """The address of a mail server, with its password, which is asked for where it is not in the address."""
    if given is None and not asks:
        raise ConfigError("through which mail server?", hint="say `--smtp-url smtp://user@mail.example:587`")
    question = "The mail server, as smtp://user@mail.example:587"
    while True:
        url = str(given if given is not None else typer.prompt(question)).strip()
        try:
            server = smtp_server(url)
            break
        except ValueError as error:
            if given is not None:
                raise ConfigError(f"--smtp-url: {error}") from None
            warn(str(error))
    if not server.user or server.password:
        return url
    if asks:
        password = str(typer.prompt(f"The password of {server.user}", hide_input=True))
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ConfigError(
            f"the password of {server.user} is missing", hint="say it on standard input, or leave the user out"
        )
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def _asked_second_way() -> str:
    question = (
        "A second way to reach you, should this one fail: another address, or the ping URL of a monitor (Enter: none)"
    )
    return str(typer.prompt(question, default="", show_default=False))


def _plain(number: float | None) -> float | int | None:
    """30 instead of 30.0, as a person would write it."""
    return int(number) if number is not None and math.isfinite(number) and number == int(number) else number


def _root(email: str, *, asks: bool) -> Path | None:
    """The SyftBox folder, found or asked for; None leaves it to be found when it is there."""
    found = found_root(email)
    if found is not None:
        say(f"found the SyftBox folder {found}")
        return found
    guess = expanded(f"~/SyftBox_{email}")
    return expanded(typer.prompt("Where is your SyftBox folder?", default=str(guess))) if asks else None


def _second_way(text: str) -> dict[tuple[str, ...], Any]:
    if is_address(text):
        return {("operator",): [text]}
    if is_safe_url(text):
        return {("heartbeat", "ping_url"): text}
    raise ConfigError("a second way is a mail address or an https address")


def _written(home: Home, changes: dict[tuple[str, ...], Any], *, fresh: bool) -> Settings:
    """Write, read back as the worker would, and put the old file back if that does not hold."""
    before = home.config.read_bytes() if home.config.exists() else None
    if _TRANSPORT in changes and not fresh:
        changes = _with_transport(home, changes)
    url = changes.get(_SMTP_URL)
    if url is not None and smtp_server(url).password:
        changes = {**changes, ("secrets", "smtp"): sealed(url, home), _SMTP_URL: "secret:smtp"}
    if changes:
        edit(home, changes, fresh=fresh)
    try:
        settings = load(home)
    except ConfigError:
        if changes and before is not None:
            write_whole(home.config, before)
        elif changes:
            home.config.unlink()
        raise
    if changes and fresh and before is not None:
        write_whole(home.config.with_name("config.yaml.old"), before)
    return settings


def _with_transport(home: Home, changes: dict[tuple[str, ...], Any]) -> dict[tuple[str, ...], Any]:
    """The changes that make mail go out the wanted way, and touch no transport that somebody has set up.

    Raises:
        ConfigError: only an editor can tell which of the transports shall go.
    """
    wanted = changes[_TRANSPORT]
    rest = {path: value for path, value in changes.items() if path != _TRANSPORT}
    settings = load(home)
    if settings.mail_section is not None and settings.mail_section.type == wanted and _SMTP_URL not in changes:
        return rest
    written = written_transports(home)
    if not written or (set(written) == {"mail"} and written["mail"].get("type") == wanted == "smtp"):
        return {**rest, _TRANSPORT: wanted}
    if wanted != "smtp" and len(written) == 1 and all(set(section) == {"type"} for section in written.values()):
        return {**rest, ("transports", next(iter(written)), "type"): wanted}
    raise ConfigError(
        f"mail goes out through `{settings.mailer}`, and `--transport {wanted}` would have to take its settings away",
        hint=f"edit `transports:` in {home.config}, or start over with `--force`",
    )


def _sign_in(settings: Settings, wishes: Wishes, *, asks: bool) -> bool:
    """Sign in where that is needed and can be done; returns whether mail can go out."""
    transport = settings.mail_section
    if not isinstance(transport, Gmail):
        return True
    wanted = wishes.credentials is not None or wishes.no_browser
    if transport.token.exists() and not wanted:
        return True
    secrets = transport.credentials
    if wishes.credentials is not None:
        write_whole(secrets, expanded(wishes.credentials).read_bytes())
    if not secrets.exists() or not (asks or wanted):
        say(f"Not signed in yet. Put the OAuth client of a desktop app from Google's console at {secrets}, then")
        say(f"run `notify init --credentials {secrets}` (with --no-browser over SSH and on Colab).")
        say("No test mail was sent, and `notify start` will ask for the sign-in.")
        return False
    say("Google asks for your consent to send mail in your name, and for nothing else.")
    GmailAuth().setup_auth(secrets, ask=_ask_elsewhere if wishes.no_browser else None)
    saved = secrets.with_name("gmail_token.json")
    if saved != transport.token:
        shutil.move(saved, transport.token)
    say(f"signed in; the token is {transport.token}")
    return True


def _ask_elsewhere(url: str) -> str:
    say("Open this address in a browser, on any machine, and agree:\n")
    typer.echo(url)
    say("\nThe browser ends on an address at 127.0.0.1 that it cannot show. That is right:")
    try:
        return str(typer.prompt("paste that whole address here", prompt_suffix=":\n"))
    except typer.Abort:
        raise NotSignedInError("no address was given", hint="run `notify init --no-browser` again") from None


def _send_test(settings: Settings) -> None:
    if not settings.mailer:
        say("no transport sends mail; `notify test` tries out the others")
        return
    try:
        where = send_one(settings, settings.mailer)
    except DeliveryError as error:
        raise NotifyError(
            f"the test mail did not go out through {settings.mailer}: {error}", hint="the configuration is kept"
        ) from error
    say(f"sent a test mail through {settings.mailer}{where}")
