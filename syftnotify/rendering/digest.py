"""Grouping of a digest's items by submitter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from syftnotify.core.kinds import REMINDER_KINDS, EventKind, Severity, Status
from syftnotify.core.models import Item
from syftnotify.core.text import plural
from syftnotify.rendering.fields import submitter

# Categories of the rows of a digest in the order in which they are listed, the worst first, each with its glyph.
CATEGORIES = {
    "failed": "✕",
    "problem": "⚠",
    "files_changed": "⚠",
    "waiting": "●",
    "peer_request": "●",
    "rejected": "✕",
    "running": "●",
    "approved": "✓",
    "done": "✓",
    "other": "●",
}
_CATEGORY_RANKS = {name: rank for rank, name in enumerate(CATEGORIES)}
_BY_KIND = {
    EventKind.JOB_FILES_CHANGED: "files_changed",
    EventKind.SYSTEM_ALERT: "problem",
    EventKind.PEER_REQUESTED: "peer_request",
}
_RANKS = {severity: rank for rank, severity in enumerate(Severity)}  # 0 is the most urgent


@dataclass(frozen=True, slots=True)
class Group:
    """The items of one submitter in a digest."""

    who: str
    items: list[Item]
    more: int  # items beyond the limit of the digest


def group_by_submitter(items: Iterable[Item], limit: int) -> tuple[list[Group], str]:
    """Group `items` by submitter, most severe first.

    At most `limit` items are listed. They are chosen round-robin among the submitters, so that one with many items does
    not displace the others.

    Returns:
        The groups, and a text about the submitters without a listed item (`7 more from 2 others`), empty if there are
        none.
    """
    by_submitter: dict[str, list[Item]] = {}
    for item in sorted(items, key=_rank):
        by_submitter.setdefault(submitter(item.event), []).append(item)
    ordered = sorted(by_submitter.items(), key=lambda pair: (_rank(pair[1][0]), len(pair[1])))
    turns = (who for turn in range(limit) for who, own in ordered if turn < len(own))
    listed = Counter(islice(turns, limit))
    groups = [Group(who, own[: listed[who]], len(own) - listed[who]) for who, own in ordered if listed[who]]
    unlisted = [len(own) for who, own in ordered if not listed[who]]
    return groups, f"{sum(unlisted)} more from {plural(len(unlisted), 'other')}" if unlisted else ""


def category(item: Item) -> str:
    """The key of `CATEGORIES` for an item."""
    kind = item.event.kind
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    status = kind.spec.status_after
    if status is None and kind not in REMINDER_KINDS:
        return "other"
    # The submission and a reminder are outdated by what happened later.
    return (item.status if status in {None, Status.WAITING} else status or item.status).value


def one_per_job(items: Iterable[Item]) -> list[Item]:
    """The items, of those about one submission only the latest; the worst categories first, else in the given order.

    A change of its files is an item of its own.
    """
    latest: dict[str, Item] = {}
    for item in items:
        key = _submission_of(item)
        before = latest.get(key)
        if before is None or _stage(item) >= _stage(before):
            latest[key] = item
    return sorted(latest.values(), key=lambda item: _CATEGORY_RANKS[category(item)])


def _submission_of(item: Item) -> str:
    """What all items about one submission share, and no other."""
    event = item.event
    if not event.kind.is_about_job or event.kind is EventKind.JOB_FILES_CHANGED:
        return item.id
    return f"{event.entity} {event.payload.get('submitted_at') or ''}"


def _stage(item: Item) -> int:
    return item.event.kind.spec.stage


def rarest_submitter_first(items: Sequence[Item]) -> list[Item]:
    """`items` sorted by the number of items of their submitter, fewest first."""
    counts = Counter(submitter(item.event) for item in items)
    return sorted(items, key=lambda item: counts[submitter(item.event)])


def _rank(item: Item) -> int:
    return _RANKS[item.event.severity]
