"""A mail with everything that a mail can have."""

from __future__ import annotations

from syftnotify.core.models import Message
from tests.support import ANA, OWNER

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
