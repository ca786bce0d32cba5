"""The outbox as the other packages see it: its records and the `OutboxStore` protocol.

SQLite is one implementation (`store.outbox`). All methods are safe to call from several threads. Each of them raises
`StateError` if the database cannot be opened, read or written; moments are in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from syftnotify.core.cluster import Cluster
from syftnotify.core.decisions import PendingDecisionStore
from syftnotify.core.emitted_jobs import EmittedJob, EmittedJobChanges
from syftnotify.core.errors import Failure
from syftnotify.core.history import History, NotificationRecord, SentMessage
from syftnotify.core.inbox import Inbox
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.metrics import SampleStore
from syftnotify.core.models import AlertRule, DigestWindow, Event, Notification, NotificationState
from syftnotify.core.silences import SilenceStore
from syftnotify.core.submissions import SubmissionLog
from syftnotify.core.tokens import TokenStore


@dataclass(frozen=True, slots=True)
class ClaimedNotification:
    """A notification of which an attempt begins, with everything that rendering needs."""

    id: str
    event: Event
    recipient: str
    audience: Audience
    transport: str
    bundle: str
    created_at: float
    first_failed_at: float | None
    failures: int
    temporary_failures: int  # of these, the ones that count against `max_retries`
    source: str = ""  # who caused the event
    is_repeated: bool = False  # an earlier attempt may have delivered it
    message_domain: str = ""  # of the message's id; empty: the sender's
    last_kind: EventKind | None = None  # of the entity's latest event that changes the status of a job
    scope: str = ""  # the home that it belongs to; empty if the outbox has one home only
    context: str = ""  # JSON: what that home has published for the rendering of its messages; empty: nothing
    attempt: int = 0  # identifies the attempt if several workers share the outbox: only its outcome is recorded

    @property
    def message_id(self) -> str:
        """The id of the message, the same at each attempt: the notification's own, or that of its digest.

        The id of a digest is in `bundle`, after a `#`.
        """
        return self.bundle.rpartition("#")[2] or self.id


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """What becomes of a notification after a failed attempt."""

    state: NotificationState  # PENDING, UNKNOWN or DEAD
    not_before: float = 0.0
    counts: bool = True  # whether it counts as a failure of this notification
    is_temporary: bool = False  # whether it counts against `max_retries`


class RecordedEvent(NamedTuple):
    """What identifies an event. `kind` may be one of a newer version."""

    key: str
    entity: str
    kind: str
    occurrence: str


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """Numbers of notifications.

    `sent`, `notifications` and `unknown` are totals since the outbox was created, which pruning does not lower. The
    others count notifications that are in that state now.
    """

    waiting: int = 0
    sent: int = 0  # messages; a digest is one
    notifications: int = 0  # in those messages
    failed: int = 0  # waiting, with at least one failed attempt
    unknown: int = 0  # attempts of unknown outcome
    held: int = 0  # of unknown outcome, not resent before a user decides
    withheld: int = 0  # the recipient is not verified yet
    dead: int = 0
    unacknowledged: int = 0  # dead letters that no user has acknowledged


class Throttle(Protocol):
    """Decides which claimed notifications become part of a digest instead."""

    def digest_window(self, recipient: str, kind: EventKind, source: str, bundle: str) -> DigestWindow | None:
        """The digest for what is due for `recipient`; None: this notification may be sent as it is."""

    def record(self, recipient: str, bundle: str, source: str) -> None:
        """A message was claimed. `bundle` is empty unless it is a digest, `source` unless all of it has one source."""

    def undo(self) -> None:
        """Nothing that was recorded since the claim began was claimed."""

    @property
    def seconds(self) -> tuple[float, float]:
        """How long messages count: those to one recipient, and those that one source caused; 0.0: not at all."""

    def recall(self, to_recipients: Sequence[SentMessage], of_sources: Sequence[SentMessage]) -> None:
        """Count messages that were claimed before, by any worker; only of an outbox that several workers share."""


class NotificationQueue(Protocol):
    """Claims of due notifications, and the outcomes of their attempts."""

    def claim(
        self,
        transport: str,
        now: float,
        *,
        worker_id: str,
        limit: int = 1,
        resend: bool = True,
        throttle: Throttle | None = None,
    ) -> list[list[ClaimedNotification]]:
        """Claim the next messages of `transport`; empty when nothing is due.

        Each message is one notification, or all of a bundle. Per entity and recipient they are claimed in order, one at
        a time. A row that cannot be read becomes a dead letter, and the claim continues.

        Args:
            transport: name of the transport.
            now: seconds since 1970.
            worker_id: the claiming worker.
            limit: maximum number of messages.
            resend: whether unknown outcomes are sent again; otherwise they wait for a user's decision.
            throttle: decides which notifications become a digest instead; None: all are sent as they are.
        """

    def next_due(self, transport: str, now: float, *, resend: bool = True) -> float | None:
        """The earliest moment at which something of `transport` may be attempted; 0.0: now, None: nothing waits.

        The moment may be too early for something that waits for an earlier message of its conversation.
        """

    def is_held(self, claimed: Sequence[ClaimedNotification]) -> bool:
        """Whether the message with `claimed` is still this process's; otherwise another one may have sent it."""

    def mark_sent(
        self, claimed: Sequence[ClaimedNotification], now: float, *, provider_id: str = "", thread: str = ""
    ) -> None:
        """The message with `claimed` was sent."""

    def mark_failed(
        self, claimed: Sequence[ClaimedNotification], now: float, failure: Failure, error: str, outcome: AttemptOutcome
    ) -> None:
        """The attempt failed; `outcome` is the new state of `claimed`."""

    def batch(self) -> AbstractContextManager[None]:
        """Outcomes that this thread records in the block are one transaction, and one sync of the disk."""

    def abandon(self, ids: Iterable[str]) -> None:
        """These attempts of this process ended without an outcome: `recover` may count them as unknown."""

    def recover(self, now: float) -> int:
        """Record attempts that another process left behind as unknown; returns how many.

        Only for the holder of the worker lock. Attempts in progress in this process are left alone.
        """

    def bound_waits(self, now: float) -> int:
        """Bring forward what waits longer than it may, because the clock was wrong; returns how many rows."""

    def reassign(self, transports: Sequence[str], to: str) -> int:
        """Move waiting mail of transports that are not in `transports` to the transport `to`; returns how much.

        What waits for another kind of transport becomes a dead letter, and so does mail if `to` is empty.
        """

    def skip_silenced(self, reason: Callable[[Event, float], str]) -> int:
        """Skip what waits and for whose event and its time of detection `reason` is not empty; returns how many."""

    def skip_denied(self, denies: Callable[[str], bool], reason: str) -> int:
        """Skip what waits for addresses that `denies` matches, owner and operators aside; returns how much.

        `reason` is recorded. Unknown outcomes stay what they are.
        """

    def thread_of(self, notification: ClaimedNotification) -> str:
        """The provider's id of its conversation: that of the last message about its entity to its recipient.

        Empty if there is none.
        """


class EventLog(Protocol):
    """The events, and which of them still have unfinished notifications."""

    def known(self, keys: Iterable[str]) -> set[str]:
        """Those of the event keys that are recorded."""

    def find(self, keys: Iterable[str]) -> list[RecordedEvent]:
        """The events with these keys, without emitted ones."""

    def for_entities(self, entities: Iterable[str]) -> list[RecordedEvent]:
        """The events of `entities`, oldest first, without emitted ones."""

    def all(self) -> list[RecordedEvent]:
        """All events, oldest first, without emitted ones."""

    def last_emitted(self, entity: str) -> EventKind | None:
        """The kind of the last emitted event of `entity`."""

    def with_unfinished(self, keys: Iterable[str]) -> set[str]:
        """Those of the event keys that have unfinished notifications."""

    def unfinished(self) -> list[RecordedEvent]:
        """All events with unfinished notifications, without emitted ones."""

    def unfinished_emitted(self) -> set[str]:
        """The keys of emitted events with unfinished notifications."""

    def mark_dirty(self, keys: Iterable[str]) -> None:
        """Return these keys from the next `pop_dirty`."""

    def pop_dirty(self) -> set[str]:
        """The keys of events that were enqueued, or of which a notification was finished, since the last call."""

    def progress(self) -> list[int]:
        """Totals that only grow. A database that lost its last changes has smaller ones."""

    def has_regressed(self, progress: Sequence[int]) -> bool:
        """Whether the database is older than when `progress` was recorded."""

    def mark_uncertain(self, now: float, *, finished: Collection[str]) -> int:
        """After a loss of changes: record what may have been sent meanwhile; returns how many became unknown.

        Notifications of the events `finished` (keys) count as sent, other pending ones as unknown.
        """


class DeadLetters(Protocol):
    """Notifications that are not retried any more."""

    def all(self) -> list[NotificationRecord]:
        """Dead letters, and notifications of unknown outcome, oldest first."""

    def states(self, id_prefix: str) -> dict[str, str]:
        """The notifications whose id begins with `id_prefix`, with their states."""

    def requeue(self, ids: Iterable[str]) -> int:
        """Queue these again, if they are dead or of unknown outcome; returns how many were.

        What may have been delivered as part of a digest is requeued with the rest of it, so that it has the same id.
        A dead letter leaves its digest: the next digest may have other items.
        """

    def acknowledge(self, now: float, ids: Iterable[str] | None = None) -> int:
        """Record that a user has seen these dead letters, or all of them; returns how many were new."""

    def unreported(self) -> list[NotificationRecord]:
        """Dead letters that the owner was not alerted about, oldest first, without the worker's own alerts."""

    def mark_reported(self, ids: Iterable[str], now: float) -> None:
        """The owner was alerted about these dead letters."""


class AlertRuleStore(Protocol):
    """Alert rules. Targets that are URLs are stored encrypted."""

    @property
    def unreadable(self) -> Sequence[str]:
        """Ids of the rules whose target could not be decrypted at the last `all`."""

    def add(self, rule: AlertRule) -> None:
        """Store a rule.

        Raises:
            NotifyError: its target cannot be encrypted.
        """

    def all(self) -> list[AlertRule]:
        """All rules, oldest first. The target is empty if its key is lost."""

    def remove(self, rule_id: str) -> None:
        """Delete a rule."""

    def expire(self, is_present: Mapping[str, bool], now: float) -> list[str]:
        """Delete rules whose only job has been absent for a day; returns their ids.

        `is_present` holds by rule id whether that job is in the tree. A rule whose job was never seen is kept.
        """


class RecipientStore(Protocol):
    """Addresses that were mailed, and recipients whose notifications are withheld."""

    def withheld(self) -> list[str]:
        """Recipients with withheld notifications, the longest waiting first."""

    def unmailed(self, addresses: Iterable[str]) -> set[str]:
        """Those of `addresses` that were never mailed."""

    def import_mailed(self, addresses: Collection[str], now: float) -> None:
        """Record addresses that another program has mailed."""

    def count_new(self, since: float, now: float) -> int:
        """How many recipients counted as new between two moments."""

    def release(self, recipients: Iterable[str], now: float, *, newcomers: Collection[str] = ()) -> int:
        """Queue what is withheld from these recipients; returns how many notifications.

        `newcomers` are the addresses that count towards the daily limit of new recipients.
        """


class EmittedJobStore(Protocol):
    """Jobs of other schedulers, from their first emitted event to their last."""

    def find(self, entities: Collection[str]) -> dict[str, EmittedJob]:
        """The stored jobs among `entities`, by entity."""

    def started(self) -> list[EmittedJob]:
        """The jobs that have started and not ended."""


class IdempotencyKeys(Protocol):
    """Keys of requests that create something."""

    def claim(self, token_id: str, key: str, request_hash: str, now: float) -> bool | None:
        """Record the key of a request for a day.

        Returns:
            Whether it is new; None if it is that of another request.
        """

    def release(self, token_id: str, key: str) -> None:
        """Forget a key."""


class OutboxStore(Protocol):
    """The durable queue of one home and its history."""

    @property
    def queue(self) -> NotificationQueue: ...
    @property
    def events(self) -> EventLog: ...
    @property
    def history(self) -> History: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def alert_rules(self) -> AlertRuleStore: ...
    @property
    def recipients(self) -> RecipientStore: ...
    @property
    def emitted_jobs(self) -> EmittedJobStore: ...
    @property
    def submissions(self) -> SubmissionLog: ...
    @property
    def silences(self) -> SilenceStore: ...
    @property
    def decisions(self) -> PendingDecisionStore: ...
    @property
    def samples(self) -> SampleStore: ...
    @property
    def inbox(self) -> Inbox: ...
    @property
    def tokens(self) -> TokenStore: ...
    @property
    def idempotency(self) -> IdempotencyKeys: ...
    @property
    def cluster(self) -> Cluster | None:
        """The workers that share the outbox; None: only one worker can use it."""

    @property
    def corruption(self) -> str:
        """What was wrong with the database when it was opened; empty: nothing."""

    def enqueue(
        self,
        events: Sequence[Event],
        notifications: Sequence[Notification],
        now: float,
        *,
        jobs: EmittedJobChanges | None = None,
        uncertain: Collection[str] = (),
        newcomers: Collection[str] = (),
    ) -> None:
        """Record `events`, their notifications and changes to emitted `jobs` in one transaction.

        Events and notifications that are recorded already are left unchanged. Notifications of the medium `INBOX` are
        delivered by it: they are stored in the inbox. Notifications of the events `uncertain`
        (keys) may have been sent already: their outcome is unknown from the start. `newcomers` are the addresses that
        count towards the daily limit of new recipients.
        """

    def import_sent(
        self, events: Sequence[Event], notifications: Sequence[Notification], threads: Mapping[str, str], now: float
    ) -> None:
        """Record skipped `notifications`, which another program has sent, and their `events` in one transaction.

        `threads` has the provider's ids of their conversations, by notification id.
        """

    def check(self) -> str:
        """What the database's integrity check reports; empty: nothing."""

    def reopen_if_replaced(self) -> bool:
        """Open the database again if it was removed, replaced or damaged while in use; returns whether it was."""

    def close(self) -> None:
        """Close all connections."""
