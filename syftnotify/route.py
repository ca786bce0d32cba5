"""Who must hear, through what? Pure: events in, notifications out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from syftnotify.model import MAIL, Audience, Event, Kind, Notification, digest_of, is_address

# Who is told what by default on the data owner's machine. A kind that is not here is told to nobody.
BUILT_IN: dict[Kind, tuple[Audience, ...]] = {
    Kind.JOB_SUBMITTED: (Audience.OWNER, Audience.SUBMITTER),
    Kind.JOB_APPROVED: (Audience.SUBMITTER,),
    Kind.JOB_REJECTED: (Audience.SUBMITTER,),
    Kind.JOB_COMPLETED: (Audience.OWNER, Audience.SUBMITTER),
    Kind.JOB_FAILED: (Audience.OWNER, Audience.SUBMITTER),
    Kind.JOB_TIMEOUT: (Audience.OWNER, Audience.SUBMITTER),
    Kind.PEER_REQUESTED: (Audience.OWNER, Audience.SUBMITTER),
    Kind.PEER_GRANTED: (Audience.SUBMITTER,),
    Kind.SYSTEM_ALERT: (Audience.OWNER, Audience.OPERATOR),
    Kind.HEARTBEAT: (Audience.OWNER,),
}

# After time off, or when many things happened at once while nobody looked: more than so many become one message.
BUNDLE_ABOVE = 5


@dataclass(frozen=True, slots=True)
class Reach:
    """Who stands behind the audiences, and who may be mailed.

    `allows` says whether the owner's configuration lets an address be mailed that no path vouches for.
    """

    owner: str
    operators: tuple[str, ...]
    transport: str
    peers: frozenset[str]
    allows: Callable[[str], bool]


def notifications_for(
    events: Iterable[Event], reach: Reach, *, only_owner: bool = False, transport: str = ""
) -> list[Notification]:
    """What is owed for `events` by the built-in routes: one for each recipient, none twice.

    `only_owner` leaves out everybody else (the catch-up of a first look).
    """
    owed: dict[str, Notification] = {}
    for event in events:
        for audience in BUILT_IN.get(event.kind, ()):
            if only_owner and audience is not Audience.OWNER:
                continue
            for recipient, refusal in _recipients(event, audience, reach):
                notification = Notification(
                    event_key=event.key,
                    entity=event.entity,
                    recipient=recipient.lower(),
                    audience=audience,
                    transport=transport or reach.transport,
                    medium=MAIL,
                    skipped=refusal,
                )
                owed.setdefault(notification.id, notification)
    return list(owed.values())


def _recipients(event: Event, audience: Audience, reach: Reach) -> list[tuple[str, str]]:
    """Pairs of an address and why it is not mailed (empty: it is)."""
    if audience is Audience.OWNER:
        return [(reach.owner, "")]
    if audience is Audience.OPERATOR:
        return [(address, "") for address in reach.operators]
    submitter = str(event.payload.get("submitter") or "")
    if submitter:
        return [(submitter, "" if is_address(submitter) else "the folder's name is no mail address")]
    claimed = str(event.payload.get("claimed") or "")
    if not is_address(claimed):
        return []  # nobody is named, so nobody is left out
    if claimed.lower() in reach.peers or reach.allows(claimed):
        return [(claimed, "")]
    return [(claimed, "only the job's own config.yaml names this address; recipients.allow would let it pass")]


def bundled(
    notifications: Sequence[Notification], *, always: bool = False, above: int = BUNDLE_ABOVE
) -> list[Notification]:
    """The same notifications; those of a recipient who would get more than `above` leave as one message.

    `always` bundles even a single one (the catch-up of a first look is a digest whatever its size).
    """
    by_recipient: dict[tuple[str, str], list[Notification]] = {}
    for notification in notifications:
        if not notification.skipped:
            by_recipient.setdefault((notification.recipient, notification.transport), []).append(notification)
    names = {
        recipient: "bundle-" + digest_of(*(item.id for item in items))
        for recipient, items in by_recipient.items()
        if always or len(items) > above
    }
    return [
        replace(item, bundle=names.get((item.recipient, item.transport), "")) if not item.skipped else item
        for item in notifications
    ]
