"""X12: claims of several workers, and what becomes of those of a worker that is dead or does not respond."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import replace

import pytest
import sqlalchemy as sa

from syftnotify.core.cluster import Channel, WorkerMode
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.core.throttle import ThrottleRule
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.delivery.throttling import Throttling
from syftnotify.store.outbox.postgres import claim_statements
from syftnotify.store.outbox.postgres.store import PostgresOutbox
from syftnotify.store.outbox.schema import Priority
from syftnotify.system import failpoints
from tests import postgres
from tests.fakes.recording_transport import RecordingTransport, transport_queue
from tests.integration.postgres.conftest import OpenWorker
from tests.outbox_helpers import RECIPIENT, claim_next, enqueue, fail, notification, submitted
from tests.support import OWNER, TIMEOUT, tally, wait_until

OTHER = "other@datasite.example"


def hang(outbox: PostgresOutbox) -> None:
    """Let a worker stop renewing its lease, as one does whose process is stopped; its connections stay open."""
    outbox.cluster._renew = lambda connection: None  # type: ignore[method-assign] # it renews nothing


def recover(outbox: PostgresOutbox) -> int:
    """What a worker recovers once it has been connected for long enough to decide."""
    found: list[int] = []

    def has_recovered() -> bool:
        found.append(outbox.queue.recover(200.0))
        return found[-1] > 0

    wait_until(has_recovered)
    return found[-1]


def test_workers_claim_each_message_once(open_worker: OpenWorker) -> None:
    """X12: also in batches, and from the backlogs of two homes."""
    workers = [open_worker(scope) for scope in (OWNER, OTHER, OWNER)]
    for outbox in workers[:2]:
        enqueue(outbox, *(submitted(str(number)) for number in range(100)))
    claimed: list[int] = []

    def work(outbox: PostgresOutbox) -> None:
        while messages := outbox.queue.claim("box", 100.0, worker_id="me", limit=7):
            claimed.extend(item.attempt for message in messages for item in message)
            with outbox.queue.batch():
                for message in messages:
                    outbox.queue.mark_sent(message, 101.0)

    threads = [threading.Thread(target=work, args=(outbox,)) for outbox in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claimed) == len(set(claimed)) == 200
    assert [outbox.history.counts().sent for outbox in workers] == [100, 100, 100]
    assert len(workers[0].history.notifications()) == 100  # of its own home


def test_conversation_is_kept_in_order_by_several_workers(open_worker: OpenWorker) -> None:
    """X12"""
    first, second = open_worker(), open_worker()
    enqueue(first, submitted(), Event(submitted().kind, "job/a", "T2"))

    claimed = claim_next(first)
    assert claim_next(second) == []
    fail(first, claimed, retry_at=300.0)
    assert claim_next(second, 299.0) == []
    assert [item.event.occurrence for item in claim_next(second, 300.0)] == ["T1"]


def test_outcome_of_a_worker_that_stopped_is_recovered_at_once(open_worker: OpenWorker) -> None:
    first, second = open_worker(), open_worker()
    enqueue(first, submitted())
    claim_next(first)
    assert second.queue.recover(200.0) == 0
    first.close()

    assert second.queue.recover(200.0) == 1
    assert second.history.counts() == tally(waiting=1, unknown=1)


def test_worker_that_hangs_is_fenced(open_worker: OpenWorker, caplog: pytest.LogCaptureFixture) -> None:
    """X12: another one sends its message again; its own late outcome changes nothing, and it claims as a new worker."""
    zombie, other = open_worker(), open_worker()
    enqueue(zombie, submitted(), submitted("b"))
    late = claim_next(zombie)
    number = zombie.cluster.id
    hang(zombie)
    other.cluster.join(WorkerMode.DELIVER)

    assert recover(other) == 1
    (again,) = claim_next(other, 200.0)
    assert (again.id, again.is_repeated) == (late[0].id, True)
    with caplog.at_level(logging.WARNING):
        zombie.queue.mark_sent(late, 201.0)
    assert "is not recorded, because this worker did not respond" in caplog.text
    assert other.history.counts() == tally(waiting=2, unknown=1)
    other.queue.mark_sent([again], 202.0)
    assert other.history.counts() == tally(waiting=1, sent=1, unknown=1)

    assert claim_next(zombie, 203.0) == []  # it learns that it counts as dead
    assert [item.event.entity for item in claim_next(zombie, 203.0)] == ["job/b"]
    assert zombie.cluster.id != number


def test_worker_that_hangs_before_an_attempt_sends_nothing(
    open_worker: OpenWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X12: others may have sent the message meanwhile."""
    outbox, transport = open_worker(), RecordingTransport()
    enqueue(outbox, submitted())
    dispatcher = Dispatcher(outbox, [transport_queue(transport)], worker_id="me", clock=lambda: 100.0)

    def stop_at(point: str) -> None:
        if point == "attempt.claimed":
            hang(outbox)
            number = outbox.cluster.id
            wait_until(lambda: not outbox.cluster.is_alive(number))

    monkeypatch.setattr(failpoints, "on_reach", stop_at)
    dispatcher.drain()
    assert (transport.attempted, outbox.history.counts()) == ([], tally(waiting=1))

    monkeypatch.undo()
    outbox.cluster.leave(outbox.cluster.id)
    other = open_worker()
    dispatcher = Dispatcher(other, [transport_queue(transport)], worker_id="me", clock=lambda: 200.0)
    dispatcher.drain()
    assert (len(transport.accepted), other.history.counts()) == (1, tally(sent=1))


def test_outcome_that_is_recorded_twice_counts_once(open_worker: OpenWorker, caplog: pytest.LogCaptureFixture) -> None:
    """X12: the commit may have succeeded although its confirmation was lost."""
    outbox = open_worker()
    enqueue(outbox, submitted())
    claimed = claim_next(outbox)
    outbox.queue.mark_sent(claimed, 101.0)
    outbox.queue.mark_sent(claimed, 101.0)

    assert outbox.history.counts() == tally(sent=1)
    assert caplog.text == ""


def test_outcome_reaches_the_worker_of_the_tree(open_worker: OpenWorker) -> None:
    """X12: whichever worker sends, the home of the event learns that it is finished."""
    scanner, other_home, sender = open_worker(OWNER), open_worker(OTHER), open_worker("relay@datasite.example")
    enqueue(scanner, submitted())
    enqueue(other_home, submitted())
    assert scanner.events.pop_dirty() == other_home.events.pop_dirty() == {submitted().key}

    for message in sender.queue.claim("box", 100.0, worker_id="sender", limit=1):
        sender.queue.mark_sent(message, 101.0)
    finished = {outbox: outbox.events.pop_dirty() for outbox in (scanner, other_home)}
    assert sorted(map(len, finished.values())) == [0, 1]
    unfinished = [outbox.events.with_unfinished([submitted().key]) for outbox in (scanner, other_home)]
    assert Counter(map(len, unfinished)) == {0: 1, 1: 1}


def test_event_of_a_newer_version_waits_for_a_worker_of_that_version(
    open_worker: OpenWorker, server: postgres.Server, database_url: str
) -> None:
    """During an upgrade both versions run."""
    outbox = open_worker()
    enqueue(outbox, submitted())
    name = str(sa.make_url(database_url).database)
    server.execute("UPDATE syftnotify.events SET kind = 'job_paused'", name)

    assert claim_next(outbox) == []
    assert claim_next(outbox, 159.0) == []
    assert outbox.history.counts() == tally(waiting=1)
    server.execute("UPDATE syftnotify.events SET kind = 'job_submitted'", name)  # as a newer worker reads it
    assert len(claim_next(outbox, 160.0)) == 1


def test_number_that_a_restored_database_gives_again_is_that_of_the_later_worker(
    open_worker: OpenWorker, server: postgres.Server, database_url: str
) -> None:
    """The earlier one joins under another number."""
    outbox = open_worker()
    before = outbox.cluster.join(WorkerMode.FULL)
    server.execute("UPDATE syftnotify.workers SET started_at = started_at + 1", str(sa.make_url(database_url).database))

    wait_until(lambda: outbox.cluster.id not in {0, before})
    enqueue(outbox, submitted())
    assert len(claim_next(outbox)) == 1


def test_what_another_worker_sends_is_not_reassigned(open_worker: OpenWorker) -> None:
    """A worker with other transports starts, or leads, meanwhile."""
    first, second = open_worker(), open_worker()
    enqueue(first, submitted(), submitted("b"))
    claimed = claim_next(first)

    second.queue.reassign(["other"], "")
    first.queue.mark_sent(claimed, 101.0)
    assert first.history.counts() == tally(sent=1, dead=1, unacknowledged=1)


def test_workers_are_listed_with_their_homes(open_worker: OpenWorker) -> None:
    first, second = open_worker(), open_worker(OTHER)
    first.cluster.join(WorkerMode.FULL)
    second.cluster.join(WorkerMode.DELIVER)
    assert first.cluster.leader.acquire(60.0)

    shown = [(worker.scope, worker.mode, worker.is_leader) for worker in second.cluster.workers()]
    assert shown == [(OWNER, "scan and deliver", True), (OTHER, "deliver only", False)]
    first.close()
    assert [worker.scope for worker in second.cluster.workers()] == [OTHER]


def test_claim_reads_what_it_claims_and_not_all_that_waits(
    server: postgres.Server, open_worker: OpenWorker, database_url: str
) -> None:
    """X12: also while the server's statistics still say that nothing waits, and with plans it made at that time."""
    database = database_url.rpartition("/")[2]
    outbox, earlier = open_worker(), open_worker()
    for number in range(20):  # connections prepare statements that they execute often
        enqueue(outbox, submitted(f"earlier-{number}"))
        (message,) = earlier.queue.claim("box", 100.0, worker_id="me")
        earlier.queue.mark_sent(message, 101.0)
        if number == 9:
            server.execute("VACUUM ANALYZE", database)
    for kind in (EventKind.JOB_FAILED, EventKind.JOB_COMPLETED):
        events = [Event(kind, f"job/{kind}-{number}", payload={"name": "job"}) for number in range(2_000)]
        items = [notification(event, f"r{number % 500}@lab.example") for number, event in enumerate(events)]
        outbox.enqueue(events, items, 100.0)
    outbox.close()  # its statistics are complete then
    before = rows_read(server, database)
    outbox = open_worker()
    claims = [each.queue.claim("box", 100.0, worker_id="me", limit=16) for _ in range(10) for each in (outbox, earlier)]
    outbox.close()
    earlier.close()

    assert [len(messages) for messages in claims] == [16] * 20
    assert rows_read(server, database) - before < 20 * 500  # of the 4,000 that wait


def rows_read(server: postgres.Server, database: str) -> int:
    """How many rows of the large tables statements have read."""
    query = """
        SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables
        WHERE relname IN ('notifications', 'events', 'attempts')
    """
    (found,) = server.execute(query, database)[0]
    return int(str(found))


def test_digests_read_what_they_contain_and_not_all_that_waits(
    server: postgres.Server, open_worker: OpenWorker, database_url: str
) -> None:
    """X12: likewise with plans that were made while almost nothing waited."""
    database = database_url.rpartition("/")[2]
    queue = transport_queue(RecordingTransport())
    rule = ThrottleRule(threshold=1, window=600.0, interval=600.0)

    def claim(outbox: PostgresOutbox, limit: int) -> list[int]:
        throttle = Throttling(outbox.history, [rule], is_shared=True).for_claim(queue, 100.0)
        messages = outbox.queue.claim("box", 100.0, worker_id="me", limit=limit, throttle=throttle)
        return [len(message) for message in messages]

    outbox, earlier = open_worker(), open_worker()
    for number in range(20):  # connections prepare statements that they execute often
        enqueue(outbox, *(submitted(f"{number}-{each}") for each in range(3)), to=f"earlier{number}@lab.example")
        assert claim(earlier, 9) == [1, 2]
        if number == 9:
            server.execute("VACUUM ANALYZE", database)
    events = [submitted(f"burst-{number}") for number in range(4_000)]
    items = [notification(event, f"r{number % 500}@lab.example") for number, event in enumerate(events)]
    outbox.enqueue(events, items, 100.0)
    outbox.close()  # its statistics are complete then
    before = rows_read(server, database)
    sizes = [size for _ in range(16) for size in claim(earlier, 64)]
    earlier.close()

    assert sorted(set(sizes)) == [1, 7]
    assert len(sizes) == 1000
    assert rows_read(server, database) - before < 4_000 * 20


def test_claim_locks_nothing_that_it_does_not_return(open_worker: OpenWorker) -> None:
    """X12: locked rows are skipped by the claims of other workers, and their outcomes wait."""
    outbox, other = open_worker(), open_worker()
    events = [Event(kind, "job/a", payload={"name": "a"}) for kind in (EventKind.JOB_APPROVED, EventKind.JOB_FAILED)]
    items = [replace(notification(events[0]), not_before=1e9), notification(events[1])]  # the second one is blocked
    outbox.enqueue(events, items, 100.0)
    enqueue(outbox, Event(EventKind.JOB_FAILED, "job/b", payload={"name": "b"}))
    values = {
        "transport": "box",
        "now": 200.0,
        "resend": True,
        "priority": Priority.HIGH.value,
        "recipients": [RECIPIENT],
        "most": 9,
    }
    free = "SELECT entity FROM syftnotify.notifications ORDER BY seq FOR UPDATE SKIP LOCKED"
    with outbox.queue._database.writing() as claiming, other.queue._database.writing() as reading:
        claimed = claiming.exec_driver_sql(claim_statements.URGENT_ROWS, values).all()
        assert [row.entity for row in claimed] == ["job/b"]
        assert list(reading.exec_driver_sql(free).scalars()) == ["job/a", "job/a"]


def test_end_of_a_worker_announces_what_it_has_stored_last(open_worker: OpenWorker) -> None:
    """Announcements are collected for a moment: one that ends in it must not leave its messages to the next poll."""
    receiver, sender = open_worker(OTHER), open_worker()
    is_woken = threading.Event()
    receiver.cluster.listen(Channel.QUEUE, is_woken.set)
    receiver.cluster.join()
    assert is_woken.wait(TIMEOUT)  # once it listens
    sender.cluster.join()
    for name in ("first", "last"):
        is_woken.clear()
        enqueue(sender, submitted(name))
        if name == "last":
            sender.close()
        assert is_woken.wait(TIMEOUT)
