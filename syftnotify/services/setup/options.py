"""The options of a setup, and the checks of their values."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from syftnotify.config.urls import is_safe_url
from syftnotify.core.errors import ConfigError
from syftnotify.core.identifiers import is_address
from syftnotify.services.setup.mail import MAIL_TYPES, SMTP
from syftnotify.system.paths import expand_path
from syftnotify.transports.gmail.client_files import client_secrets
from syftnotify.transports.smtp.server import parse_smtp_url

if TYPE_CHECKING:
    from syftnotify.services.setup.syft_bg import SyftBgSettings


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """The values that a user wants to set; None leaves the value of the configuration, or the default."""

    email: str | None = None
    syftbox_root: Path | None = None
    notify_jobs: bool | None = None
    notify_peers: bool | None = None
    interval: float | str | None = None
    role: str | None = None
    transport: str | None = None  # type of the default mail transport
    smtp_url: str | None = None  # URL of the mail server
    credentials: Path | None = None  # client secrets of a Google desktop app
    no_browser: bool = False  # sign in with a browser on another machine
    alert_contact: str | None = None  # ping URL or mail address
    serve: bool | None = None  # whether the worker serves the API
    force: bool = False  # replace the configuration by a new one
    syft_bg: SyftBgSettings | None = None  # to take over, besides the values above


def check_values(options: SetupOptions) -> None:
    """Check each option that is set.

    Raises:
        ConfigError: a value is wrong, or two options contradict each other.
        NotSignedInError: the file with the client secrets cannot be used.
    """
    if options.credentials is not None:
        client_secrets(expand_path(options.credentials))
    if options.email is not None and (problem := email_problem(options.email)):
        raise ConfigError(f"--email: {problem}", hint="pass one such as owner@example.org")
    if options.syftbox_root is not None and (problem := root_problem(expand_path(options.syftbox_root))):
        raise ConfigError(f"--syftbox-root: {problem}", hint="pass the SyftBox folder")
    if options.smtp_url is not None and options.transport not in {None, SMTP}:
        raise ConfigError(f"--smtp-url contradicts --transport {options.transport}", hint="pass one of them")
    if options.smtp_url is not None and (problem := smtp_url_problem(options.smtp_url)):
        raise ConfigError(f"--smtp-url: {problem}")
    if options.alert_contact is not None and contact_problem(options.alert_contact):
        is_empty = not options.alert_contact.strip()
        expected = "the https ping URL of a monitor, or a mail address"
        raise ConfigError(
            # The value is not repeated: a ping URL is often a secret.
            f"--alert-contact: expected {expected}{', got an empty text' if is_empty else ''}",
            hint="for example `--alert-contact https://monitor.example/ping/1234`",
        )


def email_problem(text: str) -> str:
    """Why `text` is not a mail address; empty if it is one."""
    return "" if is_address(text.strip()) else f"{text.strip()!r} is not a mail address"


def transport_problem(text: str) -> str:
    """Why `text` is not the type of a mail transport; empty if it is one."""
    return "" if text in MAIL_TYPES else f"{text!r} is not a mail transport; enter one of {', '.join(MAIL_TYPES)}"


def contact_problem(text: str) -> str:
    """Why `text` is not an alert contact; empty if it is one."""
    contact = text.strip()
    return "" if is_address(contact) or is_safe_url(contact) else f"{contact!r} is neither an https URL nor an address"


def root_problem(path: Path) -> str:
    """Why `path` cannot be a folder; empty if it is one, or can be created as one."""
    for each in (path, *path.parents):
        try:
            mode = each.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            return f"{each} cannot be used: {getattr(error, 'strerror', None) or error}"
        return "" if stat.S_ISDIR(mode) else f"{each} is not a folder"
    return ""


def smtp_url_problem(url: str) -> str:
    """Why `url` is not the URL of a mail server; empty if it is one. A password is not repeated."""
    try:
        parse_smtp_url(url.strip())
    except ValueError as error:
        return str(error)
    return ""


def user_without_password(url: str) -> str:
    """The user in the URL of a mail server if it lacks a password; otherwise empty. Raises: ValueError, a wrong URL."""
    server = parse_smtp_url(url.strip())
    return "" if server.password else server.user


def with_password(url: str, password: str) -> str:
    """The URL of a mail server with the password of its user."""
    parts = urlsplit(url.strip())
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))
