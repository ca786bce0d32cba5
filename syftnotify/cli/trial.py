"""Does the wiring hold, before a real failure puts it to the test? For `notify test` and `notify init`."""

from __future__ import annotations

import time
import uuid

from syftnotify.assembly import ways_of, words_of
from syftnotify.cli.console import complain, say
from syftnotify.config import Maildir, Settings, load
from syftnotify.deliver import send_now, transport_for
from syftnotify.errors import ConfigError, DeliveryError
from syftnotify.model import Audience, Event, Form, Kind, Status, form_of
from syftnotify.paths import Home
from syftnotify.render import Item
from syftnotify.text import iso, shown


def send(home: Home, name: str, to: str) -> int:
    """Send a test message through the transport `name`, or through each; returns the exit code."""
    settings = load(home)
    transports = settings.config.transports
    if name and name not in transports:
        raise ConfigError(f"there is no transport {shown(name)!r}", hint=f"there are {', '.join(transports)}")
    failures = 0
    for each in [name] if name else transports:
        try:
            say(f"sent a test message through {each}{send_one(settings, each, to)}")
        except DeliveryError as error:
            failures += 1
            complain(DeliveryError(error.failure, f"the test message did not go out through {each}: {error}"))
    return 1 if failures else 0


def send_one(settings: Settings, name: str, to: str = "") -> str:
    """Send a test message through one transport to its default recipient, or `to`; returns where it went.

    Raises:
        ConfigError: it carries to nobody like `to`.
        DeliveryError: it did not go out.
    """
    way = ways_of(settings.config)[name]
    recipient = to or way.default[0]
    if to and form_of(to) is not way.form:
        raise ConfigError(f"{name}, which carries {way.form}, carries nothing to {shown(to)!r}")
    owner = settings.config.do_email
    event = Event(Kind.TEST, f"test/{uuid.uuid4()}", at=iso(time.time(), exact=True), payload={"owner": owner})
    message = words_of(settings, name, settings.config.transports[name]).message(
        [Item(uuid.uuid4().hex, event, Audience.OWNER, Status.WAITING)], recipient
    )
    section = settings.config.transports[name]
    send_now(transport_for(section), message)
    if isinstance(section, Maildir):
        return f", into {section.path}"
    return f" to {recipient}" if way.form is Form.MAIL or recipient != name else ""
