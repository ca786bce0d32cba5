"""Dead letters: listing, acknowledging and requeueing notifications that are not retried any more."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syftnotify.core.errors import ConfigError, ConflictError, NotFoundError, NotifyError
from syftnotify.core.history import NotificationRecord
from syftnotify.core.models import NotificationState
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import escape, plural
from syftnotify.services.arguments import UsageError
from syftnotify.services.settings import load
from syftnotify.sources.spool import request_scan
from syftnotify.system.paths import Home

SHORT_ID = 8  # digits of an id that are shown; any unambiguous prefix of at least four is accepted
_ID_PREFIX = re.compile(r"[0-9a-fA-F]{4,32}")
_RESENDABLE = frozenset({NotificationState.DEAD, NotificationState.UNKNOWN})
_NOT_RESENDABLE = {
    NotificationState.SENT: "was sent and is not sent again",
    NotificationState.SKIPPED: "was never meant to be sent",
    NotificationState.WITHHELD: "is withheld; run `notify history --state withheld` for the reason",
}


@dataclass(frozen=True, slots=True)
class DeadLetterList:
    """Dead letters and held notifications, oldest first."""

    records: tuple[NotificationRecord, ...]
    warning: str = ""  # why all notifications of unknown outcome are included

    @property
    def has_unacknowledged(self) -> bool:
        return any(is_dead(record) and record.acknowledged_at is None for record in self.records)


@dataclass(frozen=True, slots=True)
class ResendSelection:
    """The notifications to resend: those with `ids`, or all that match the other fields."""

    ids: tuple[str, ...] = ()  # each may be a prefix
    all_dead: bool = False  # only dead letters, no held notifications
    recipient: str | None = None
    since: float | None = None  # detected since then, in seconds since 1970

    def __post_init__(self) -> None:
        """Raises: UsageError, neither or both kinds of selection are used."""
        if bool(self.ids) == bool(self.all_dead or self.recipient or self.since is not None):
            raise UsageError(
                "pass ids, or --all-dead, --recipient, --since", hint="run `notify dead-letters` for the ids"
            )

    def matches(self, record: NotificationRecord) -> bool:
        """Whether the filters select `record`."""
        return (
            (not self.all_dead or is_dead(record))
            and (self.recipient is None or record.recipient.lower() == self.recipient.lower())
            and (self.since is None or record.created_at >= self.since)
        )


@dataclass(frozen=True, slots=True)
class ResendResult:
    """The result of a resend."""

    count: int  # notifications that were requeued
    warning: str = ""  # as in `DeadLetterList`


def is_dead(record: NotificationRecord) -> bool:
    return record.state == NotificationState.DEAD


def list_dead_letters(home: Home, outbox: OutboxStore) -> DeadLetterList:
    """Dead letters, and notifications of unknown outcome whose transport does not resend them.

    All of unknown outcome are included if the configuration cannot be used, for example without an environment
    variable.
    """
    records = outbox.dead_letters.all()
    try:
        holding = load(home).holding
    except ConfigError as error:
        return DeadLetterList(tuple(records), str(error))
    return DeadLetterList(tuple(record for record in records if is_dead(record) or record.transport in holding))


def acknowledge(outbox: OutboxStore, ids: Sequence[str] = ()) -> int:
    """Record that a user has seen the dead letters with `ids`, by default all; returns how many were unacknowledged.

    Acknowledged ones do not make the worker unhealthy.

    Raises:
        NotifyError: an id matches no dead letter, or several; nothing is changed then.
    """
    return outbox.dead_letters.acknowledge(time.time(), _find_ids(outbox, ids) or None)


def resend(home: Home, outbox: OutboxStore, selection: ResendSelection) -> ResendResult:
    """Requeue dead letters and held notifications.

    Raises:
        NotifyError: an id matches no such notification, or several; nothing is changed then.
    """
    if selection.ids:
        result = ResendResult(outbox.dead_letters.requeue(_find_ids(outbox, selection.ids)))
    else:
        found = list_dead_letters(home, outbox)
        chosen = [record.id for record in found.records if selection.matches(record)]
        result = ResendResult(outbox.dead_letters.requeue(chosen), found.warning)
    if result.count:
        request_scan(home)
    return result


def unknown_id(text: str) -> NotFoundError:
    """The error that no notification has the id `text`."""
    return NotFoundError(f"there is no notification {escape(text)!r}", hint="run `notify dead-letters` for the ids")


def _find_ids(outbox: OutboxStore, prefixes: Iterable[str]) -> list[str]:
    return [_find_id(outbox, prefix) for prefix in prefixes]


def _find_id(outbox: OutboxStore, prefix: str) -> str:
    """The full id of the dead letter, or notification of unknown outcome, whose id begins with `prefix`."""
    found = outbox.dead_letters.states(prefix.lower()) if _ID_PREFIX.fullmatch(prefix) else {}
    if not found:
        raise unknown_id(prefix)
    if len(found) > 1:
        raise NotifyError(
            f"the ids of {plural(len(found), 'notification')} begin with {prefix!r}", hint="pass more digits of the id"
        )
    full_id, state = next(iter(found.items()))
    if state not in _RESENDABLE:
        reason = _NOT_RESENDABLE.get(NotificationState(state), "is already queued")
        raise ConflictError(f"{full_id[:SHORT_ID]} {reason}")
    return full_id
