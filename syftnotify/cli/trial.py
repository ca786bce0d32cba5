"""Does the wiring hold, before a real failure puts it to the test? For `notify test` and `notify init`."""

from __future__ import annotations

import contextlib
import time
import uuid

from syftnotify.cli.console import complain, say
from syftnotify.cli.preview import MISTAKES, mistake_in
from syftnotify.config.load import Settings
from syftnotify.config.schema import Maildir
from syftnotify.core.errors import ConfigError, DeliveryError, Failure
from syftnotify.core.identifiers import AddressType, address_type_of
from syftnotify.core.kinds import ROLES, Audience, EventKind, Status
from syftnotify.core.models import Event, Item
from syftnotify.core.routing import TransportInfo
from syftnotify.core.text import escape, iso
from syftnotify.runtime.container import load_listing_all, ways_of, words_of
from syftnotify.system.paths import Home
from syftnotify.transports.registry import send_now, transport_for


def send(home: Home, name: str, to: str) -> int:
    """Send a test message through the transport `name`, or through each; returns the exit code."""
    settings = load_listing_all(home)
    transports = settings.config.transports
    if name and name not in transports:
        raise ConfigError(f"there is no transport {escape(name)!r}", hint=f"there are {', '.join(transports)}")
    ways = ways_of(settings.config)
    chosen = [name] if name else [each for each in transports if not to or _carries(ways[each], to)]
    if not chosen:
        raise ConfigError(f"no transport carries to {escape(to)!r}")
    failures = 0
    for each in chosen:
        try:
            say(f"sent a test message through {each}{send_one(settings, each, to)}")
        except DeliveryError as error:
            failures += 1
            complain(DeliveryError(error.failure, f"the test message did not go out through {each}: {error}"))
        except ConfigError as error:
            if name:
                raise
            failures += 1
            complain(error)
    return 1 if failures else 0


def _carries(way: TransportInfo, recipient: str) -> bool:
    return address_type_of(recipient) is way.form and (way.form is not AddressType.WEBHOOK or recipient == way.name)


def send_one(settings: Settings, name: str, to: str = "") -> str:
    """Send a test message through one transport to its default recipient, or `to`; returns where it went.

    Raises:
        ConfigError: it carries to nobody like `to`.
        DeliveryError: it did not go out.
    """
    way = ways_of(settings.config)[name]
    owner = settings.config.do_email
    recipient = to or (owner if way.default[0] in ROLES else way.default[0])
    if to and not _carries(way, to):
        raise ConfigError(f"{name}, which carries {way.form}, carries nothing to {escape(to)!r}")
    event = Event(EventKind.TEST, f"test/{uuid.uuid4()}", at=iso(time.time(), exact=True), payload={"owner": owner})
    words = words_of(settings, name, settings.config.transports[name])
    try:
        message = words.message([Item(uuid.uuid4().hex, event, Audience.OWNER, Status.WAITING)], recipient)
    except MISTAKES as error:
        raise DeliveryError(Failure.PERMANENT, mistake_in("test", error)) from error
    section = settings.config.transports[name]
    with contextlib.closing(transport_for(section)) as transport:
        send_now(transport, message)
    if isinstance(section, Maildir):
        return f", into {section.path}"
    return f" to {recipient}" if way.form is AddressType.MAIL or recipient != name else ""
