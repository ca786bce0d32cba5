"""Store contract: severity and fairness between recipients decide the order of claims."""

from __future__ import annotations

import pytest

from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event
from syftnotify.core.outbox import OutboxStore
from tests.outbox_helpers import RECIPIENT, claim_next, enqueue, fail, send_all, submitted


def failed(name: str) -> Event:
    return Event(EventKind.JOB_FAILED, f"job/{name}", "T1", "", {"name": name})


def test_claim_with_a_long_queue_for_one_serves_every_recipient(outbox: OutboxStore) -> None:
    """A13: a new message waits for one message of each other recipient, not for the queue."""
    flood = (submitted(f"flood{number}") for number in range(50))
    enqueue(outbox, *flood, to="flood@lab.example", audience=Audience.SUBMITTER)
    enqueue(outbox, submitted("fresh"), to="ana@uni.example", audience=Audience.SUBMITTER)

    assert ("job/fresh", "ana@uni.example") in send_all(outbox, 2)


def test_claim_with_many_recipients_serves_the_owner_every_second_time(outbox: OutboxStore) -> None:
    """A13: however many recipients wait."""
    for number in range(20):
        enqueue(outbox, submitted(f"flood{number}"), to=f"{number}@lab.example", audience=Audience.SUBMITTER)
    enqueue(outbox, *(submitted(f"own{number}") for number in range(3)))

    assert [recipient for _, recipient in send_all(outbox, 6)].count(RECIPIENT) == 3


def test_claim_returns_high_severity_first(outbox: OutboxStore) -> None:
    """A13"""
    enqueue(outbox, *(submitted(f"low{number}") for number in range(20)))
    enqueue(outbox, failed("broken"))

    assert send_all(outbox, 1) == [("job/broken", RECIPIENT)]


def test_claim_moves_the_conversation_of_an_urgent_message_forward(outbox: OutboxStore) -> None:
    """A13: in unchanged order."""
    enqueue(outbox, *(submitted(f"low{number}") for number in range(20)))
    enqueue(outbox, submitted("broken"), Event(EventKind.JOB_APPROVED, "job/broken", "T1"), failed("broken"))
    kinds = []
    for _ in range(3):
        (claimed,) = claim_next(outbox)
        outbox.queue.mark_sent([claimed], 100.0)
        kinds.append((claimed.event.entity, claimed.event.kind))

    assert kinds == [
        ("job/broken", kind) for kind in (EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED, EventKind.JOB_FAILED)
    ]


def test_claim_skips_an_urgent_message_of_a_busy_conversation(outbox: OutboxStore) -> None:
    enqueue(outbox, submitted("broken"))
    (first,) = claim_next(outbox)
    enqueue(outbox, failed("broken"), submitted("other"))

    assert claim_next(outbox)[0].event.entity == "job/other"
    assert claim_next(outbox) == []
    outbox.queue.mark_sent([first], 100.0)
    assert claim_next(outbox)[0].event.kind is EventKind.JOB_FAILED


@pytest.mark.parametrize("later", [EventKind.JOB_APPROVED, EventKind.JOB_FAILED])
def test_recipients_whose_messages_are_blocked_delay_nobody(outbox: OutboxStore, later: EventKind) -> None:
    """A13: what is due for them waits for an earlier message of the conversation, which is retried later."""
    for recipient in ("c@lab.example", "b@lab.example", "a@lab.example"):  # the turn is that of one of them
        enqueue(outbox, submitted(), to=recipient)
        fail(outbox, claim_next(outbox), retry_at=900.0)
        enqueue(outbox, Event(later, "job/a", "T1"), to=recipient)
    others = [f"z{number}@lab.example" for number in range(3)]
    for recipient in others:
        enqueue(outbox, Event(later, "job/b", "T1"), to=recipient)

    found = [claim_next(outbox, 200.0) for _ in range(4)]
    assert [[item.recipient for item in message] for message in found] == [[other] for other in others] + [[]]
