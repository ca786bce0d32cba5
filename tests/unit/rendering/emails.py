"""Rendered mails for the tests of the rendering package."""

from __future__ import annotations

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item, Message
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.transports.mime import build_mime

RENDERER = EmailRenderer(
    TemplateRenderer(),
    sender="owner@x.org",
    links=Links(
        "https://box.example/jobs/{submitter}/{job}",
        "https://box.example/results/{job}",
        "https://box.example/peers/{peer}",
    ),
)


PAYLOAD: dict[str, Any] = {
    "name": "income <survey>",
    "owner": "owner@x.org",
    "submitter": "ana@y.net",
    "reason": "prints raw rows",
    "return_code": 3,
    "stderr": "KeyError: 'secret-row'",
    "code": [{"path": "main.py", "text": "print('</pre><script>')", "cut": False}],
    "alert": "transport_stopped",
    "summary": '"office" stopped sending',
    "transport": "office",
    "code_left_out": [{"path": "big.bin", "why": "binary, 9 bytes"}],
}


def item(kind: EventKind, audience: Audience = Audience.OWNER, status: Status = Status.WAITING, **more: Any) -> Item:
    event = Event(kind, "job/D/owner@x.org/ana@y.net/x", "T", "2026-11-22T00:02:00Z", {**PAYLOAD, **more})
    return Item(f"id-{kind.value}-{audience.value}", event, audience, status)


def rendered(
    kind: EventKind, audience: Audience = Audience.OWNER, status: Status = Status.WAITING, **more: Any
) -> Message:
    return RENDERER.message([item(kind, audience, status, **more)], "to@x.org")


def parsed(message: Message) -> EmailMessage:
    """The mail after its way over the wire."""
    return BytesParser(policy=default).parsebytes(build_mime(message, date=0.0).as_bytes())


OWNER_KINDS = [EventKind.JOB_SUBMITTED, EventKind.JOB_COMPLETED, EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT]


SUBMITTER_KINDS = [*OWNER_KINDS, EventKind.JOB_APPROVED, EventKind.JOB_REJECTED]


ALL_MAILS = [
    (kind, Audience.OWNER) for kind in [*OWNER_KINDS, EventKind.PEER_REQUESTED, EventKind.SYSTEM_ALERT, EventKind.TEST]
] + [(kind, Audience.SUBMITTER) for kind in [*SUBMITTER_KINDS, EventKind.PEER_REQUESTED, EventKind.PEER_GRANTED]]
