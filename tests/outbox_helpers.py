"""Events, notifications and attempts for tests of an outbox."""

from __future__ import annotations

from collections.abc import Sequence

from syftnotify.core.errors import Failure
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification, NotificationState
from syftnotify.core.outbox import AttemptOutcome, ClaimedNotification, OutboxStore
from tests.support import claim

RECIPIENT = "o@x.org"
DEAD = AttemptOutcome(NotificationState.DEAD)


def submitted(name: str = "a", occurrence: str = "T1") -> Event:
    """The submission of the job `name`."""
    return Event(EventKind.JOB_SUBMITTED, f"job/{name}", occurrence, "", {"name": name})


def notification(
    event: Event,
    recipient: str = RECIPIENT,
    *,
    transport: str = "box",
    audience: Audience = Audience.OWNER,
    bundle: str = "",
    skipped: str = "",
) -> Notification:
    return Notification(event.key, event.entity, recipient, audience, transport, bundle=bundle, skipped=skipped)


def enqueue(
    outbox: OutboxStore,
    *events: Event,
    to: str = RECIPIENT,
    now: float = 100.0,
    transport: str = "box",
    audience: Audience = Audience.OWNER,
    bundle: str = "",
    skipped: str = "",
) -> None:
    """Enqueue one notification about each event."""
    items = [
        notification(event, to, transport=transport, audience=audience, bundle=bundle, skipped=skipped)
        for event in events
    ]
    outbox.enqueue(events, items, now)


def claim_next(outbox: OutboxStore, now: float = 100.0, *, resend: bool = True) -> list[ClaimedNotification]:
    """Claim the next message of the transport `box`; empty if nothing is due."""
    return claim(outbox, "box", now, worker_id="me", resend=resend)


def fail(
    outbox: OutboxStore,
    claimed: Sequence[ClaimedNotification],
    now: float = 101.0,
    *,
    retry_at: float = 0.0,
    refusal: bool = False,
) -> None:
    """Record a temporary failure of the attempt; it may be retried from `retry_at` on."""
    outcome = AttemptOutcome(NotificationState.PENDING, not_before=retry_at, is_temporary=refusal)
    outbox.queue.mark_failed(claimed, now, Failure.TEMPORARY, "503", outcome)


def reject(outbox: OutboxStore, claimed: Sequence[ClaimedNotification], now: float = 101.0) -> None:
    """Record a permanent failure: the notifications become dead letters."""
    outbox.queue.mark_failed(claimed, now, Failure.PERMANENT, "550 no such user", DEAD)


def enqueue_dead(outbox: OutboxStore, event: Event, *, attempts: int = 1) -> str:
    """Enqueue a notification that becomes a dead letter at its last attempt; returns its id."""
    enqueue(outbox, event)
    for _ in range(attempts - 1):
        fail(outbox, claim_next(outbox), 100.0)
    claimed = claim_next(outbox)
    reject(outbox, claimed, 100.0)
    return claimed[0].id


def enqueue_unknown(outbox: OutboxStore, event: Event, now: float = 100.0) -> str:
    """Enqueue a notification whose first attempt has an unknown outcome, retried in 30 s; returns its id."""
    enqueue(outbox, event, now=now)
    claimed = claim_next(outbox, now)
    outcome = AttemptOutcome(NotificationState.UNKNOWN, not_before=now + 30.0)
    outbox.queue.mark_failed(claimed, now, Failure.UNKNOWN, "cut off", outcome)
    return claimed[0].id


def send_all(outbox: OutboxStore, count: int) -> list[tuple[str, str]]:
    """Claim and send `count` messages one by one; returns entity and recipient of each."""
    sent = []
    for _ in range(count):
        claimed = claim_next(outbox)
        outbox.queue.mark_sent(claimed, 100.0)
        sent.append((claimed[0].event.entity, claimed[0].recipient))
    return sent
