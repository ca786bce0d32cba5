"""Grouping of notifications into digests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.models import DIGEST_PREFIX, FLOOD_PREFIX, QUIET_HOURS_PREFIX, SHARE_PREFIX, Notification

# After downtime, or in a burst of events: more notifications of one recipient than this become one digest.
BUNDLE_ABOVE = 5
_BUNDLE_PREFIX, _CATCH_UP_PREFIX = "bundle-", "catch-up-"


class DigestCause(StrEnum):
    """Why notifications are in one message."""

    CATCH_UP = "catch_up"  # the baseline scan
    DOWNTIME = "downtime"  # or a burst of events
    QUIET_HOURS = "quiet_hours"
    CONFIGURED = "configured"  # the `digest` section
    FLOOD = "flood"  # the throttle of a recipient
    DAILY_SHARE = "daily_share"  # of a submitter


_CAUSES = {
    _CATCH_UP_PREFIX: DigestCause.CATCH_UP,
    QUIET_HOURS_PREFIX: DigestCause.QUIET_HOURS,
    DIGEST_PREFIX: DigestCause.CONFIGURED,
    FLOOD_PREFIX: DigestCause.FLOOD,
    SHARE_PREFIX: DigestCause.DAILY_SHARE,
}


def cause_of(bundle: str) -> DigestCause:
    """Why the notifications of `bundle` are in one message."""
    return next((cause for prefix, cause in _CAUSES.items() if bundle.startswith(prefix)), DigestCause.DOWNTIME)


def group_into_digests(
    notifications: Sequence[Notification], *, always: bool = False, above: int = BUNDLE_ABOVE
) -> list[Notification]:
    """The same notifications; a recipient with more than `above` of them gets one digest.

    `always`, for the catch-up after the baseline scan, groups even a single one. Notifications for programs are never
    grouped.
    """
    by_recipient: dict[tuple[str, str], list[Notification]] = {}
    for notification in notifications:
        if _may_be_grouped(notification):
            by_recipient.setdefault((notification.recipient, notification.transport), []).append(notification)
    prefix = _CATCH_UP_PREFIX if always else _BUNDLE_PREFIX
    bundles = {
        key: prefix + stable_hash(*(item.id for item in items))
        for key, items in by_recipient.items()
        if always or len(items) > above
    }
    return [
        replace(item, bundle=bundles.get((item.recipient, item.transport), "")) if _may_be_grouped(item) else item
        for item in notifications
    ]


def _may_be_grouped(notification: Notification) -> bool:
    return not notification.skipped and not notification.for_programs
