"""The questions of `notify init`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from syftnotify.cli.console import print_line, print_rows, print_warning, read_line
from syftnotify.cli.options import parse_interval

if TYPE_CHECKING:
    from syftnotify.config.schema import Config
    from syftnotify.services.setup.options import SetupOptions
    from syftnotify.system.paths import Home

_SERVER_QUESTION = "Mail server, as smtp://user@mail.example:587"


def ask_missing(home: "Home", options: "SetupOptions", *, can_ask: bool) -> "SetupOptions":
    """The options, completed by questions to the user, and by the SyftBox folder if one is found.

    Without a terminal nothing is asked, except that the password of the mail server is read from standard input.
    """
    from syftnotify.services.setup.mail import MAIL_TYPES
    from syftnotify.services.setup.options import (
        SetupOptions,
        contact_problem,
        email_problem,
        smtp_url_problem,
    )
    from syftnotify.services.setup.plan import is_new, needs_smtp_server

    if can_ask and not is_new(home, options) and options == SetupOptions(no_browser=options.no_browser):
        options = _ask_changes(home, options)
    asks_all = can_ask and is_new(home, options)  # an existing configuration has the other values
    if asks_all and options.email is None:
        options = replace(options, email=_ask("Your mail address, the data owner's", email_problem))
    if is_new(home, options) and options.syftbox_root is None:
        options = replace(options, syftbox_root=_find_root((options.email or "").strip(), can_ask=can_ask))
    if asks_all and options.transport is None and options.smtp_url is None:
        options = replace(options, transport=_ask_transport(MAIL_TYPES[0]))
    if can_ask and needs_smtp_server(home, options):
        options = replace(options, smtp_url=_ask(_SERVER_QUESTION, smtp_url_problem))
    options = _add_smtp_password(options, can_ask=can_ask)
    if asks_all and options.alert_contact is None:
        # A ping URL, since a new configuration has a single mail transport.
        question = (
            "Alert contact: the https ping URL of a monitor (dead man's switch) that alerts you when the notifier "
            "or its mail fails (Enter: none)"
        )
        options = replace(options, alert_contact=_ask(question, contact_problem, default="") or None)
    return options


def _ask_changes(home: "Home", options: "SetupOptions") -> "SetupOptions":
    """Show the settings of an existing configuration, and ask which of them to change, until the answer is empty.

    Raises:
        ConfigError: the configuration has mistakes.
    """
    from syftnotify.core.text import listed
    from syftnotify.services.settings import load
    from syftnotify.services.setup.options import email_problem

    settings = load(home)
    config, mail = settings.config, settings.mail_settings
    asked: dict[str, Callable[[], dict[str, Any]]] = {
        "email": lambda: {"email": _ask("Mail address", email_problem, default=config.do_email)},
        "folder": lambda: {"syftbox_root": _ask_root(settings.root)},
        "interval": lambda: {"interval": _ask_interval(f"{config.notify.interval:g}")},
        "mail": lambda: _ask_mail(mail.type if mail is not None else None),
        "page": lambda: {"serve": typer.confirm("Serve the page and the API", default=_is_served(config))},
    }
    print_line(f"{home.config} exists:")
    print_rows(
        [
            ("  email", config.do_email),
            ("  folder", str(settings.root)),
            ("  interval", f"{config.notify.interval:g} s between two scans"),
            ("  mail", f"{settings.default_mail_transport} ({mail.type})" if mail is not None else "none"),
            ("  page", "served" if _is_served(config) else "not served"),
        ],
        flexible=(1,),
    )
    question = f"Change {listed(list(asked), 'or')} (Enter: nothing more)"
    while choice := _ask(
        question, lambda text: "" if text in asked else f"enter one of {', '.join(asked)}", default=""
    ):
        options = replace(options, **asked[choice]())
    return options


def _is_served(config: "Config") -> bool:
    return config.serve is not None and config.serve.enabled


def _ask_mail(current: str | None) -> dict[str, Any]:
    """The options for a mail transport of another type, or for another server of the current type."""
    from syftnotify.services.setup.mail import SMTP
    from syftnotify.services.setup.options import smtp_url_problem

    chosen = _ask_transport(current)
    if chosen != current:
        return {"transport": chosen}
    if chosen != SMTP:
        return {}
    url = _ask(f"{_SERVER_QUESTION} (Enter: the current one)", smtp_url_problem, default="")
    return {"smtp_url": url} if url else {}


def _ask_transport(default: str | None) -> str:
    from syftnotify.services.setup.mail import MAIL_TYPES
    from syftnotify.services.setup.options import transport_problem

    return _ask(f"Mail transport ({', '.join(MAIL_TYPES)})", transport_problem, default=default)


def _ask_interval(default: str) -> float | str:
    def problem(text: str) -> str:
        try:
            parse_interval(text)
        except typer.BadParameter as error:
            return str(error)
        return ""

    return parse_interval(_ask("Interval between two scans, such as 30s or 5m", problem, default=default))


def _ask_root(default: Path | None) -> Path:
    from syftnotify.services.setup.options import root_problem
    from syftnotify.system.paths import expand_path

    while True:
        root = expand_path(typer.prompt("SyftBox folder", default=str(default) if default else None))
        if not (problem := root_problem(root)):
            return root
        print_warning(problem)


def _ask(question: str, problem: Callable[[str], str], *, default: str | None = None) -> str:
    """Prompt until the answer has no problem; an empty default is accepted as it is."""
    while True:
        answer = str(typer.prompt(question, default=default, show_default=bool(default))).strip()
        if answer == default or not (text := problem(answer)):
            return answer
        print_warning(text)


def _find_root(email: str, *, can_ask: bool) -> Path | None:
    """The SyftBox folder, found or asked for; None leaves the default."""
    from syftnotify.config.syftbox_root import default_root, find_root

    found = find_root(email)
    if found is not None:
        print_line(f"found the SyftBox folder {found}")
        return found
    return _ask_root(default_root(email)) if can_ask else None


def _add_smtp_password(options: "SetupOptions", *, can_ask: bool) -> "SetupOptions":
    """The options with the password of the mail server's user, prompted for or read from standard input."""
    from syftnotify.services.setup.options import user_without_password, with_password

    if options.smtp_url is None or not (user := user_without_password(options.smtp_url)):
        return options
    password = str(typer.prompt(f"Password of {user}", hide_input=True)) if can_ask else read_line()
    return replace(options, smtp_url=with_password(options.smtp_url, password)) if password else options
