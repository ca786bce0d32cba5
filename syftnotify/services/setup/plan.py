"""The changes to a configuration that a setup makes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syftnotify.config.edit import Edits
from syftnotify.config.syftbox_root import default_root, find_root
from syftnotify.config.yaml_reader import parse_yaml, read_config_file
from syftnotify.core.errors import ConfigError
from syftnotify.core.identifiers import is_address
from syftnotify.services.setup.mail import MAIL_TYPES, SMTP, MailSetup, mail_setup, preferred_mail_transport
from syftnotify.services.setup.options import SetupOptions, check_values, user_without_password
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home, expand_path


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """The changes to the configuration of a home. `write_setup` checks the configuration that results."""

    home: Home
    is_new: bool  # whether a new configuration is written; otherwise the existing one is edited
    changes: Edits
    mail: MailSetup | None  # the default mail transport, if it is set; its changes are among `changes`
    alert_contact: str = ""


def check_options(home: Home, options: SetupOptions, *, can_ask: bool = False) -> None:
    """Check the options before the user is asked for others, and before anything is written.

    `can_ask`: the user is asked for missing options, so they are not an error.

    Raises:
        NotifyError: an option is wrong or missing, the home is not safe, or its configuration cannot be edited.
    """
    check_home(home)
    check_values(options)
    _current_config(home, options)
    if can_ask:
        return
    if is_new(home, options) and options.email is None:
        raise ConfigError(
            "the data owner's mail address is missing",
            hint="pass `--email you@example.org`, or run `notify init` in a terminal",
        )
    if needs_smtp_server(home, options):
        raise ConfigError("the mail server is missing", hint="pass `--smtp-url smtp://user@mail.example:587`")


def is_new(home: Home, options: SetupOptions) -> bool:
    """Whether a new configuration is written."""
    return options.force or not home.config.exists()


def needs_smtp_server(home: Home, options: SetupOptions) -> bool:
    """Whether the options select an SMTP transport without a server. Raises: ConfigError, a damaged configuration."""
    mail = _selected_transport(home, options)
    return mail is not None and mail.needs_server and options.smtp_url is None


def plan_setup(home: Home, options: SetupOptions) -> SetupPlan:
    """The changes for options that have passed `check_options`, and that the user has completed since.

    Raises:
        ConfigError: the password of a mail server is missing, or there is no SyftBox folder and no home directory.
    """
    changes = _settings(options)
    if is_new(home, options) and options.email is not None and options.syftbox_root is None:
        changes |= _default_root(options.email.strip())
    mail = _mail_setup(home, options)
    if mail is not None:
        changes |= mail.changes
    if options.syft_bg is not None:
        changes |= options.syft_bg.changes(home, _gmail_transport(home, options, mail))
    contact = (options.alert_contact or "").strip()
    if contact:
        changes |= _alert_contact(contact, _current_config(home, options))
    return SetupPlan(home, is_new(home, options), changes, mail, contact)


def _settings(options: SetupOptions) -> dict[tuple[str, ...], Any]:
    """The values by path, without transports and the alert contact."""
    root = options.syftbox_root
    values = {
        ("do_email",): options.email.strip() if options.email is not None else None,
        ("syftbox_root",): str(expand_path(root)) if root is not None else None,
        ("role",): options.role,
        ("notify", "monitor_jobs"): options.notify_jobs,
        ("notify", "monitor_peers"): options.notify_peers,
        ("notify", "interval"): _without_fraction(options.interval),
        ("serve", "enabled"): options.serve,
    }
    return {path: value for path, value in values.items() if value is not None}


def _default_root(email: str) -> dict[tuple[str, ...], Any]:
    """The SyftBox folder if one is found. If not, the default is not written, but it needs a home directory."""
    if (found := find_root(email)) is not None:
        return {("syftbox_root",): str(found)}
    if default_root(email) is None:
        raise ConfigError("there is no home directory to find the SyftBox folder in", hint="pass --syftbox-root DIR")
    return {}


def _mail_setup(home: Home, options: SetupOptions) -> MailSetup | None:
    """The changes for the default mail transport and its server; None if the options do not set it."""
    found = _selected_transport(home, options)
    if found is None or options.smtp_url is None:
        return found
    if user := user_without_password(options.smtp_url):
        raise ConfigError(
            f"the password of {user} is missing", hint="write it to standard input, or leave the user out"
        )
    return found.with_server(options.smtp_url.strip())


def _selected_transport(home: Home, options: SetupOptions) -> MailSetup | None:
    """The changes for the default mail transport, without its server."""
    wanted = options.transport or (SMTP if options.smtp_url is not None else None)
    return mail_setup(_current_config(home, options), wanted) if wanted is not None else None


def _current_config(home: Home, options: SetupOptions) -> Mapping[str, Any]:
    """The configuration to edit, as written in the file. Raises: ConfigError, it cannot be read."""
    return {} if is_new(home, options) else parse_yaml(read_config_file(home.config))[0]


def _gmail_transport(home: Home, options: SetupOptions, mail: MailSetup | None) -> str:
    """The name of the Gmail transport that sends mail after the setup; empty if another type does."""
    if mail is not None:
        return mail.name if options.transport == MAIL_TYPES[0] else ""
    return preferred_mail_transport(_current_config(home, options))


def _alert_contact(contact: str, current: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """The change that makes an address an operator, or a URL the ping URL, of the configuration `current`."""
    if is_address(contact):
        key = "operator" if "operator" in current else "operators"  # both spellings are accepted; keep the file's
        return {(key,): [contact]}
    return {("heartbeat", "ping_url"): contact}


def _without_fraction(interval: float | str | None) -> float | int | str | None:
    """`interval` as a user would write it: 30 instead of 30.0."""
    if isinstance(interval, float) and math.isfinite(interval) and interval == int(interval):
        return int(interval)
    return interval
