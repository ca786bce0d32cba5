"""Sending test messages, without the outbox."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from syftnotify.config.load import Settings
from syftnotify.core.errors import ConfigError, DeliveryError, Failure, NotifyError
from syftnotify.core.kinds import ROLES, Audience, EventKind, Status
from syftnotify.core.models import Event, Item, Message
from syftnotify.core.text import escape, iso
from syftnotify.delivery.direct import send_now
from syftnotify.rendering.templates import TEMPLATE_ERRORS, template_error
from syftnotify.services.transports import build_renderer, transport_infos


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of one test message."""

    transport: str
    destination: str = ""  # for the end of a sentence: " to ana@uni.example", ", into /a/folder"; empty: the transport
    error: NotifyError | None = None  # None: it was sent


def transports_to_test(settings: Settings, name: str, to: str) -> list[str]:
    """The transports to test: `name`, or all that accept the recipient `to`, or all.

    Raises:
        ConfigError: there is no such transport.
    """
    infos = transport_infos(settings.config)
    if name and name not in infos:
        raise ConfigError(f"there is no transport {escape(name)!r}", hint=f"use one of {', '.join(infos)}")
    found = [name] if name else [each for each, info in infos.items() if not to or info.accepts(to)]
    if not found:
        raise ConfigError(f"no transport sends to {escape(to)!r}", hint=f"pass a recipient of {', '.join(infos)}")
    return found


def send_tests(settings: Settings, name: str = "", to: str = "") -> Iterator[SendResult]:
    """Send a test message through the transport `name`, or through each that accepts `to`.

    Raises:
        ConfigError: there is no such transport, or `name` does not accept `to`.
    """
    for transport in transports_to_test(settings, name, to):
        try:
            yield SendResult(transport, send_test(settings, transport, to))
        except DeliveryError as error:
            text = f"the test message was not sent through {transport}: {error}"
            yield SendResult(transport, error=DeliveryError(error.failure, text))
        except ConfigError as error:
            if name:
                raise
            yield SendResult(transport, error=error)


def send_test(settings: Settings, name: str, to: str = "") -> str:
    """Send a test message through the transport `name` to `to`, or to its first default recipient.

    Returns:
        The destination, as in `SendResult`.

    Raises:
        ConfigError: the transport does not accept `to`.
        DeliveryError: the message was not sent.
    """
    section, info = settings.config.transports[name], transport_infos(settings.config)[name]
    if to and not info.accepts(to):
        raise ConfigError(
            f"{name}, which is of type {section.type}, does not send to {escape(to)!r}",
            hint="pass another transport or recipient, or leave `--to` out",
        )
    default = info.default_recipients[0]
    recipient = to or (settings.config.do_email if default in ROLES else default)
    message = _message(settings, name, recipient)
    with contextlib.closing(section.build_transport(clock=time.time)) as transport:
        send_now(transport, message)
    return section.destination(name, recipient)


def _message(settings: Settings, name: str, recipient: str) -> Message:
    payload = {"owner": settings.config.do_email, "transport": name}
    event = Event(EventKind.TEST, f"test/{uuid.uuid4()}", at=iso(time.time(), exact=True), payload=payload)
    item = Item(uuid.uuid4().hex, event, Audience.OWNER, Status.WAITING)
    renderer = build_renderer(settings, name, settings.config.transports[name])
    try:
        return renderer.message([item], recipient)
    except TEMPLATE_ERRORS as error:
        raise DeliveryError(Failure.PERMANENT, template_error(EventKind.TEST.value, error)) from error
