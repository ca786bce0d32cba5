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
from tests.support import ANA, OWNER

NOW = 1_800_000_000.0


HELLO = Message(
    id="0123456789abcdef",
    recipient=ANA,
    subject='Your SyftBox job "Übersicht ≥ 5" at owner@datasite.example',
    text="Es läuft: ≥ 5.\n",
    html="<p>Es läuft: ≥ 5.</p>\n",
    sender=OWNER,
    conversation="fedcba9876543210",
    headers=(("X-SyftNotify-Event", "job_approved"),),
)


def failed(transport: GmailTransport, message: Message = HELLO) -> DeliveryError:
    """The error of an attempt that must fail; none of our secrets is in what a log could show of it."""
    with pytest.raises(DeliveryError) as caught:
        transport.send(message)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in str(caught.value)
    return caught.value
