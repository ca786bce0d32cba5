"""Grouping of notifications into digests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from syftnotify.core.identifiers import AddressType, stable_hash
from syftnotify.core.models import Notification

# After time off, or when many things happened at once while nobody looked: more than so many become one message.
BUNDLE_ABOVE = 5


def group_into_digests(
    notifications: Sequence[Notification], *, always: bool = False, above: int = BUNDLE_ABOVE
) -> list[Notification]:
    """The same notifications; those of a recipient who would get more than `above` leave as one message.

    `always` bundles even a single one (the catch-up of a first look is a digest whatever its size). What a program
    reads is never bundled.
    """
    by_recipient: dict[tuple[str, str], list[Notification]] = {}
    for notification in notifications:
        if not notification.skipped and not notification.medium.startswith(AddressType.WEBHOOK):
            by_recipient.setdefault((notification.recipient, notification.transport), []).append(notification)
    names = {
        recipient: "bundle-" + stable_hash(*(item.id for item in items))
        for recipient, items in by_recipient.items()
        if always or len(items) > above
    }
    return [
        item
        if item.skipped or item.medium.startswith(AddressType.WEBHOOK)
        else replace(item, bundle=names.get((item.recipient, item.transport), ""))
        for item in notifications
    ]
