"""The message that tests send through Gmail."""

from __future__ import annotations

import traceback

import pytest

from syftnotify.core.errors import DeliveryError
from syftnotify.core.models import Message
from syftnotify.transports.gmail.sending import GmailTransport
from tests.fakes.google import (
    SECRET,
)
from tests.mail_message import HELLO

NOW = 1_800_000_000.0


def failed(transport: GmailTransport, message: Message = HELLO) -> DeliveryError:
    """The error of an attempt that must fail; none of our secrets is in what a log could show of it."""
    with pytest.raises(DeliveryError) as caught:
        transport.send(message)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in str(caught.value)
    return caught.value
