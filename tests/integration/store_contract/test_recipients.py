"""Store contract: recipients whose notifications are withheld, addresses that were mailed, and emitted jobs."""

from __future__ import annotations

from dataclasses import replace

from syftnotify.core.emitted_jobs import EmittedJob
from syftnotify.core.outbox import OutboxStore
from tests.integration.store_contract.stores import OpenOutbox
from tests.outbox_helpers import claim_next, enqueue, notification, submitted
from tests.support import ANA, BO, claim, tally


def withhold(outbox: OutboxStore, name: str, recipient: str, now: float) -> None:
    event = submitted(name)
    outbox.enqueue([event], [replace(notification(event, recipient), withheld="unverified")], now)


def test_release_queues_only_the_named_recipients(outbox: OutboxStore) -> None:
    """C1: withheld notifications are not claimed before."""
    withhold(outbox, "a", ANA, 1.0)
    withhold(outbox, "b", BO, 2.0)

    assert claim_next(outbox) == []
    assert outbox.recipients.withheld() == [ANA, BO]
    assert outbox.recipients.release([BO], 4.0) == 1
    assert outbox.history.counts() == tally(waiting=1, withheld=1)
    assert [item.recipient for item in claim_next(outbox)] == [BO]
    assert outbox.recipients.release([BO], 6.0) == 0


def test_reassign_moves_withheld_mail_of_a_removed_transport(outbox: OutboxStore) -> None:
    """C1"""
    withhold(outbox, "a", ANA, 1.0)

    assert outbox.queue.reassign(["other"], "other") == 1
    outbox.recipients.release([ANA], 2.0)
    assert [item.transport for item in claim(outbox, "other", 3.0, worker_id="me")] == ["other"]


def test_new_recipients_are_counted_when_they_are_queued(outbox: OutboxStore) -> None:
    """C1: withheld ones when they are released; only those that the caller names."""
    withhold(outbox, "a", ANA, 10.0)
    enqueue(outbox, submitted("b"), to=BO, now=10.0)

    assert outbox.recipients.unmailed([ANA, BO]) == {ANA}
    outbox.recipients.release([ANA], 20.0, newcomers=[ANA])
    assert outbox.recipients.unmailed([ANA, BO]) == set()
    assert [outbox.recipients.count_new(since, 30.0) for since in (0.0, 15.0, 20.0)] == [1, 1, 0]
    assert outbox.recipients.count_new(0.0, 19.0) == 0, "after the clock was set back"


def test_emitted_jobs_are_kept_until_they_end(outbox: OutboxStore, open_outbox: OpenOutbox) -> None:
    queued = EmittedJob("run/1", {"name": "one"}, {"notify": {"emails": [ANA]}})
    started = EmittedJob("run/2", started_at=90.0, occurrence="T1", reminded=(3600.0,))
    outbox.enqueue([submitted()], [], 100.0, jobs={"run/1": queued, "run/2": started})

    reopened = open_outbox()
    assert reopened.emitted_jobs.find(["run/1", "run/2", "run/3"]) == {"run/1": queued, "run/2": started}
    assert reopened.emitted_jobs.started() == [started]
    outbox.enqueue([submitted("b")], [], 101.0, jobs={"run/2": None})
    assert outbox.emitted_jobs.started() == []
    assert [*outbox.emitted_jobs.find(["run/1", "run/2"])] == ["run/1"]
