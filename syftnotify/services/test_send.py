"""Sending test messages, without the outbox."""

from __future__ import annotations

import contextlib
import time
import uuid

from syftnotify.config.load import Settings
from syftnotify.core.errors import ConfigError, DeliveryError, Failure
from syftnotify.core.kinds import ROLES, Audience, EventKind, Status
from syftnotify.core.models import Event, Item
from syftnotify.core.text import escape, iso
from syftnotify.delivery.direct import send_now
from syftnotify.services.preview import TEMPLATE_ERRORS, template_error
from syftnotify.services.transports import build_renderer, transport_infos


def transports_to_test(settings: Settings, name: str, to: str) -> list[str]:
    """The transports to test: `name`, or all that accept the recipient `to`, or all.

    Raises:
        ConfigError: there is no such transport.
    """
    infos = transport_infos(settings.config)
    if name and name not in infos:
        raise ConfigError(f"there is no transport {escape(name)!r}", hint=f"there are {', '.join(infos)}")
    found = [name] if name else [each for each, info in infos.items() if not to or info.accepts(to)]
    if not found:
        raise ConfigError(f"no transport carries to {escape(to)!r}")
    return found


def send_test(settings: Settings, name: str, to: str = "") -> str:
    """Send a test message through the transport `name` to `to`, or to its first default recipient.

    Returns the end of the sentence "sent through NAME".

    Raises:
        ConfigError: the transport does not accept `to`.
        DeliveryError: the message was not sent.
    """
    section, info = settings.config.transports[name], transport_infos(settings.config)[name]
    if to and not info.accepts(to):
        raise ConfigError(f"{name}, which is of type {section.type}, does not send to {escape(to)!r}")
    default = info.default_recipients[0]
    owner = settings.config.do_email
    recipient = to or (owner if default in ROLES else default)
    event = Event(EventKind.TEST, f"test/{uuid.uuid4()}", at=iso(time.time(), exact=True), payload={"owner": owner})
    item = Item(uuid.uuid4().hex, event, Audience.OWNER, Status.WAITING)
    renderer = build_renderer(settings, name, section)
    try:
        message = renderer.message([item], recipient)
    except TEMPLATE_ERRORS as error:
        raise DeliveryError(Failure.PERMANENT, template_error("test", error)) from error
    with contextlib.closing(section.build_transport(clock=time.time)) as transport:
        send_now(transport, message)
    return section.destination(name, recipient)
