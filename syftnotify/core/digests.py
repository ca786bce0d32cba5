"""Grouping of notifications into digests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.models import Notification

# After downtime, or in a burst of events: more notifications of one recipient than this become one digest.
BUNDLE_ABOVE = 5
_BUNDLE_PREFIX = "bundle-"


def group_into_digests(
    notifications: Sequence[Notification], *, always: bool = False, above: int = BUNDLE_ABOVE
) -> list[Notification]:
    """The same notifications; a recipient with more than `above` of them gets one digest.

    `always` groups even a single one. Notifications for programs are never grouped.
    """
    by_recipient: dict[tuple[str, str], list[Notification]] = {}
    for notification in notifications:
        if _may_be_grouped(notification):
            by_recipient.setdefault((notification.recipient, notification.transport), []).append(notification)
    bundles = {
        key: _BUNDLE_PREFIX + stable_hash(*(item.id for item in items))
        for key, items in by_recipient.items()
        if always or len(items) > above
    }
    return [
        replace(item, bundle=bundles.get((item.recipient, item.transport), "")) if _may_be_grouped(item) else item
        for item in notifications
    ]


def _may_be_grouped(notification: Notification) -> bool:
    return not notification.skipped and not notification.for_programs
