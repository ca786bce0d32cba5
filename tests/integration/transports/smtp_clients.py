"""SMTP transports for tests, and the message that they send."""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from syftnotify.core.errors import DeliveryError
from syftnotify.core.models import Message
from syftnotify.core.ports import Transport
from syftnotify.transports.smtp.settings import SmtpSettings
from tests.fakes.mailserver import (
    HOST,
    PASSWORD,
    SECRET,
    USER,
    MailServer,
)
from tests.mail_message import HELLO
from tests.support import TIMEOUT, transport_for

NOW = 1_800_000_000.0


# So large that it cannot lie in buffers on the way: the final dot leaves only when somebody reads.
LARGE = replace(HELLO, text=("x" * 70 + "\n") * 120_000, html="")


STARTTLS = "smtp://{user}:{password}@{place}?tls=required"


ENCRYPTED = "smtps://{user}:{password}@{place}"


UNENCRYPTED = "smtp://{user}:{password}@{place}"  # this machine only


def section(url: str, **more: Any) -> SmtpSettings:
    """A transport's section as `config.yaml` would hold it."""
    return SmtpSettings.model_validate({"type": "smtp", "smtp_url": url, **more})


class SmtpClients:
    """Makes transports and lets go of them."""

    def __init__(self) -> None:
        self._made: list[Transport] = []

    def to(self, server: MailServer, *, form: str = "smtp://{place}", **more: Any) -> Transport:
        """A transport that knows `server` by an address of this form."""
        place = f"{HOST}:{server.port}"
        return self.at(form.format(place=place, user=USER, password=PASSWORD), **more)

    def at(self, url: str, **more: Any) -> Transport:
        self._made.append(transport_for(section(url, **more), clock=lambda: NOW))
        return self._made[-1]

    def close(self) -> None:
        for transport in self._made:
            transport.close()


def failed(transport: Transport, message: Message = HELLO) -> DeliveryError:
    """The error of an attempt that must fail; no password is in what a log could show of it."""
    with pytest.raises(DeliveryError) as caught:
        transport.send(message)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


def failed_in_time(transport: Transport, message: Message = HELLO) -> DeliveryError:
    """As `failed`, for a server that would never let go: it must end long before anybody here gives up."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(failed, transport, message).result(timeout=TIMEOUT)
    finally:
        pool.shutdown(wait=False)
