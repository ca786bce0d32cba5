"""Web transports for tests, and the message that they send."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from syftnotify.core.errors import DeliveryError
from syftnotify.core.models import Message
from syftnotify.core.ports import Transport
from tests.support import transport_for, transport_settings

PASSWORD = "pä:ss@wörd"


NOW = 1_800_000_000.0


HELLO = Message(
    id="m1",
    recipient="#jobs",
    subject="job_failed",
    text="it &lt;failed&gt;",
    colour="#a30200",
    body=b'{"a":"\xc3\xa9"}',
)


def transport(kind: str, url: str, **more: Any) -> Transport:
    section = transport_settings({"type": kind, "url": url, **more})
    return transport_for(section, clock=lambda: NOW)


def answering(httpserver: HTTPServer, text: str = "") -> str:
    """The address of a server that answers 200."""
    httpserver.expect_request("/x", method="POST").respond_with_data(text)
    return str(httpserver.url_for("/x"))


def failed(transport: Transport) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        transport.send(HELLO)
    return caught.value


each_web = pytest.mark.parametrize("kind", ["slack", "discord", "webhook"])
