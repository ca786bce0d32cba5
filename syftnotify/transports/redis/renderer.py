"""Rendering for channels of persons: the notification as its inbox has it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.inbox import entry_of, pushed_object
from syftnotify.core.models import INBOX, Item, Message
from syftnotify.core.text import timestamp
from syftnotify.rendering.summary import summary_line


class RedisRenderer:
    """Renders one notification as the JSON object that live streams send, too."""

    def message(self, items: Sequence[Item], recipient: str, *, thread: str = "", digest: str = "") -> Message:
        """The message about the single item of `items`: programs get no digests."""
        del thread, digest
        (item,) = items
        # The id of the notification in the inbox of the same person, so that a client can mark it as read.
        stored = stable_hash(item.event.key, INBOX, recipient)
        created_at = item.detected_at or timestamp(item.event.at) or 0.0  # a test message was not detected
        entry = entry_of(item.event, stored, recipient, item.audience, created_at)
        return Message(
            id=item.id,
            recipient=recipient,
            subject=entry.kind,
            text=summary_line(item),
            body=json.dumps(pushed_object(entry)).encode("ascii"),
        )
