"""Store contract: what waits for the owner, silences, and samples of the queues."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syftnotify.core.decisions import PendingDecision
from syftnotify.core.kinds import EventKind
from syftnotify.core.matching import Match
from syftnotify.core.metrics import Sample
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.silences import Silence
from syftnotify.store.outbox.store import SqliteOutbox
from tests.outbox_helpers import enqueue, submitted


def decision(
    entity: str, since: float, kind: EventKind = EventKind.JOB_SUBMITTED, **payload: object
) -> PendingDecision:
    return PendingDecision(entity, kind, since, payload)


def test_decisions_are_changed_and_read_in_pages(outbox: OutboxStore) -> None:
    first, second, third = decision("b", 1.0), decision("a", 2.0, name="x"), decision("c", 2.0)
    outbox.decisions.change([third, first, second])

    assert outbox.decisions.page(2) == [first, second]
    assert outbox.decisions.page(2, (2.0, "a")) == [third]
    assert (outbox.decisions.count(), outbox.decisions.find("a"), outbox.decisions.find("z")) == (3, second, None)
    later = decision("b", 9.0, name="again")
    outbox.decisions.change([later], ["a"])
    assert outbox.decisions.page(9) == [third, later]


def test_replacing_decisions_keeps_when_a_request_was_first_seen(outbox: OutboxStore) -> None:
    requests = [decision(name, 5.0, EventKind.PEER_REQUESTED) for name in ("p", "q")]
    outbox.decisions.change([*requests, decision("job", 5.0)])
    outbox.decisions.change([decision("p", 9.0, EventKind.PEER_REQUESTED), decision("job", 9.0)], replaces=True)

    assert [(each.entity, each.since) for each in outbox.decisions.page(9)] == [("p", 5.0), ("job", 9.0)]


@pytest.mark.parametrize(("column", "value"), [("kind", "none"), ("since", "x")])
def test_page_of_decisions_is_full_beside_a_damaged_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, value: str
) -> None:
    with closing(SqliteOutbox(tmp_path / "outbox.db")) as outbox:
        outbox.decisions.change([decision(name, 1.0) for name in ("a", "b", "c", "d")])
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as connection:
        connection.execute(f"UPDATE pending_decisions SET {column} = ? WHERE entity = 'b'", (value,))
        connection.commit()
    with closing(SqliteOutbox(tmp_path / "outbox.db")) as outbox, caplog.at_level(logging.ERROR):
        assert [each.entity for each in outbox.decisions.page(2)] == ["a", "c"]
        assert outbox.decisions.find("b") is None

    assert "the pending decision about b is not valid" in caplog.records[0].getMessage()


def test_samples_of_a_time_are_read_in_order(outbox: OutboxStore) -> None:
    samples = [Sample(float(moment), moment, 0, 1, 2.5) for moment in (100, 160, 220)]
    for sample in reversed(samples):
        outbox.samples.add(sample, 0.0)
    outbox.samples.add(samples[0], 150.0)  # the clock was set back

    assert outbox.samples.since(0.0) == samples
    outbox.samples.add(Sample(280.0, 4, 0, 0, 0.0), 200.0)
    assert [sample.at for sample in outbox.samples.since(0.0)] == [220.0, 280.0]


def test_notifications_that_a_silence_suppressed_are_counted_and_listed(outbox: OutboxStore) -> None:
    silence = Silence("3f2a", "o@x.org", "maintenance", Match(job=("a",)))
    outbox.silences.add(silence)
    for number in range(3):
        enqueue(outbox, submitted(f"j{number}"), skipped=silence.text if number else "another reason")

    assert outbox.silences.all() == [silence]
    assert outbox.silences.count_suppressed(silence) == 2
    found = outbox.history.notifications(skipped_for=silence.text, limit=1)
    assert [record.entity for record in found] == ["job/j2"]
