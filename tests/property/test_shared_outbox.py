"""X12: three workers on one database, interleaved: what they claim, send, and leave behind.

The model knows the state of every notification. Hypothesis draws which worker does what, and which one hangs:
the others then take over, and it may still report an outcome later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from syftnotify.core.errors import Failure
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event, NotificationState
from syftnotify.core.outbox import AttemptOutcome, ClaimedNotification
from syftnotify.store.outbox.postgres.lease import Lease
from syftnotify.store.outbox.postgres.store import PostgresOutbox
from syftnotify.system.paths import Home
from tests import postgres
from tests.outbox_helpers import enqueue
from tests.support import FUZZ_FACTOR

pytestmark = pytest.mark.thorough

WORKERS = 3
SCOPES = ("one@datasite.example", "two@datasite.example", "one@datasite.example")
PENDING, SENDING, UNKNOWN, SENT, DEAD = (
    state.value
    for state in (
        NotificationState.PENDING,
        NotificationState.SENDING,
        NotificationState.UNKNOWN,
        NotificationState.SENT,
        NotificationState.DEAD,
    )
)
workers = st.integers(0, WORKERS - 1)
ACTIONS = ["enqueue", "enqueue_bundle", "claim", "claim", "claim", "finish", "finish", "hang", "recover", "advance"]
ANSWERS = ["sent", "sent", "retry", "unknown", "dead"]
ENDLESS = Lease(seconds=1e6, renewal=1e6, patience=1e6)  # only the rules end a lease
Key = tuple[str, str]  # scope and id


@dataclass
class Known:
    """What the model knows about a notification."""

    order: int
    conversation: tuple[str, str, str]  # scope, entity, recipient
    bundle: str
    state: str = PENDING
    not_before: float = 0.0
    attempt: int = 0  # the attempt whose outcome is recorded
    deliveries: int = 0
    unknown: int = 0


@dataclass
class Shared:
    """The database and its workers, which all examples use."""

    connection: psycopg.Connection[tuple[object, ...]]
    outboxes: list[PostgresOutbox] = field(default_factory=list)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    server = postgres.shared_server(min(postgres.installations(), key=int, default="15"))
    url = server.create_database("interleaved")
    home = Home(tmp_path_factory.mktemp("home"))
    found = Shared(server.connect("interleaved"), [PostgresOutbox(url, scope, home, lease=ENDLESS) for scope in SCOPES])
    yield found
    for outbox in found.outboxes:
        outbox.close()
    found.connection.close()


class Interleaved(RuleBasedStateMachine):
    """Three workers and what they do."""

    shared: Shared

    @initialize()
    def begin(self) -> None:
        tables = "notifications, attempts, events, totals, workers, counted_messages, changed_events"
        self.shared.connection.execute(f"TRUNCATE {', '.join(f'syftnotify.{name}' for name in tables.split(', '))}")
        self.now = 1000.0
        self.known: dict[Key, Known] = {}
        # By worker: each message, and the number that the worker had in the database when it claimed it.
        self.held: list[list[tuple[int, list[ClaimedNotification]]]] = [[] for _ in range(WORKERS)]
        self.numbers: list[int] = []
        for outbox in self.shared.outboxes:
            outbox.cluster.leave(outbox.cluster.id)
            self.numbers.append(outbox.cluster.join())

    # One rule, because Hypothesis disables some rules at random.
    @rule(steps=st.lists(st.tuples(workers, st.sampled_from(ACTIONS), st.integers(0, 11)), min_size=1, max_size=8))
    def act(self, steps: list[tuple[int, str, int]]) -> None:
        for worker, action, number in steps:
            getattr(self, action)(worker, number)
            self.database_agrees()

    def enqueue(self, worker: int, number: int) -> None:
        for _ in range(1 + number % 3):
            self._enqueue(worker, "ab"[number % 2], f"{'xy'[number % 4 // 2]}@x.org", "")

    def enqueue_bundle(self, worker: int, number: int) -> None:
        to = f"{'xy'[number % 2]}@x.org"
        for part in range(1 + number % 3):
            self._enqueue(worker, f"c{part}", to, f"bundle-{to}")

    def _enqueue(self, worker: int, entity: str, to: str, bundle: str) -> None:
        order = len(self.known)
        event = Event(EventKind.JOB_SUBMITTED, f"job/{entity}", f"T{order}")
        enqueue(self.shared.outboxes[worker], event, to=to, now=self.now, bundle=bundle)
        (row,) = self.shared.connection.execute(
            "SELECT id FROM syftnotify.notifications ORDER BY seq DESC LIMIT 1"
        ).fetchall()
        self.known[SCOPES[worker], str(row[0])] = Known(order, (SCOPES[worker], event.entity, to), bundle)

    def claim(self, worker: int, number: int) -> None:
        limit = 1 + number % 4
        outbox, is_ended = self.shared.outboxes[worker], self._is_ended(self.numbers[worker])
        messages = outbox.queue.claim("box", self.now, worker_id=f"worker {worker}", limit=limit)
        assert not (is_ended and messages)
        assert messages or is_ended or not any(map(self._is_claimable, self.known.values()))
        assert len(messages) <= limit
        for message in messages:
            for item in message:
                self._check_claimed(item)
            self.held[worker].append((outbox.cluster.id, message))
        for message in messages:
            for item in message:
                known = self.known[item.scope, item.id]
                known.state, known.attempt, known.bundle = SENDING, item.attempt, item.bundle
        self.numbers[worker] = outbox.cluster.id

    def _check_claimed(self, item: ClaimedNotification) -> None:
        """It was due, nobody else sends it, and nothing earlier of its conversation is unfinished."""
        known = self.known[item.scope, item.id]
        assert self._is_claimable(known)
        assert item.is_repeated == (known.state == UNKNOWN)

    def _is_claimable(self, known: Known) -> bool:
        """Whether a worker may claim it now."""
        earlier = [
            other
            for other in self.known.values()
            if other.conversation == known.conversation and other.order < known.order
        ]
        blocking = [other for other in earlier if other.state in {PENDING, SENDING, UNKNOWN}]
        is_blocked = any(not known.bundle or other.bundle != known.bundle for other in blocking)
        return known.state in {PENDING, UNKNOWN} and known.not_before <= self.now and not is_blocked

    def finish(self, worker: int, number: int) -> None:
        """The oldest message of a worker ends; the outcome counts only if its claim is still valid."""
        if not self.held[worker]:
            return
        answer = ANSWERS[number % len(ANSWERS)]
        _, message = self.held[worker].pop(0)
        queue, wait = self.shared.outboxes[worker].queue, self.now + 60.0
        if answer == "sent":
            queue.mark_sent(message, self.now)
        else:
            failure = {"retry": Failure.TEMPORARY, "unknown": Failure.UNKNOWN, "dead": Failure.PERMANENT}[answer]
            state = {"retry": PENDING, "unknown": UNKNOWN, "dead": DEAD}[answer]
            outcome = AttemptOutcome(NotificationState(state), 0.0 if answer == "dead" else wait)
            queue.mark_failed(message, self.now, failure, answer, outcome)
        for item in message:
            self._end(item, answer, wait)

    def _end(self, item: ClaimedNotification, answer: str, wait: float) -> None:
        known = self.known[item.scope, item.id]
        known.deliveries += answer in {"sent", "unknown"}
        if known.state != SENDING or known.attempt != item.attempt:
            return  # the claim had ended
        known.unknown += answer == "unknown"
        is_still_unknown = answer == "retry" and item.is_repeated
        known.state = {"sent": SENT, "dead": DEAD}.get(
            answer, UNKNOWN if is_still_unknown or answer == "unknown" else PENDING
        )
        known.not_before = wait if known.state in {PENDING, UNKNOWN} else 0.0

    def hang(self, worker: int, _number: int) -> None:
        """Its lease ends, as another worker would record."""
        self.shared.connection.execute(
            "UPDATE syftnotify.workers SET ended_at = 1 WHERE id = %s", (self.numbers[worker],)
        )

    def recover(self, worker: int, _number: int) -> None:
        outbox = self.shared.outboxes[worker]
        number = outbox.cluster.id
        lost = {
            (item.scope, item.id)
            for number_at_claim, message in chain(*self.held)
            if self._is_ended(number_at_claim)
            for item in message
            if self.known[item.scope, item.id].attempt == item.attempt
        }
        lost = {key for key in lost if self.known[key].state == SENDING}
        assert outbox.queue.recover(self.now) == len(lost)
        assert outbox.cluster.id == number
        for key in lost:
            self.known[key].state = UNKNOWN
            self.known[key].unknown += 1

    def advance(self, _worker: int, number: int) -> None:
        self.now += 61.0 if number % 2 else 1.0

    def _is_ended(self, number: int) -> bool:
        query = "SELECT ended_at IS NOT NULL FROM syftnotify.workers WHERE id = %s"
        return self.shared.connection.execute(query, (number,)).fetchall() == [(True,)]

    def database_agrees(self) -> None:
        rows = self.shared.connection.execute(
            "SELECT n.scope, n.id, n.state, (SELECT count(*) FROM syftnotify.attempts a WHERE a.scope = n.scope "
            "AND a.notification = n.id AND a.outcome = 'unknown') FROM syftnotify.notifications n"
        ).fetchall()
        assert {(scope, name): (state, unknown) for scope, name, state, unknown in rows} == {
            key: (known.state, known.unknown) for key, known in self.known.items()
        }

    def teardown(self) -> None:
        """All workers respond again: everything is sent, and what was sent twice was counted."""
        if not hasattr(self, "known"):
            return
        for worker in range(WORKERS):
            while self.held[worker]:
                self.finish(worker, 0)
        self.recover(0, 0)
        for _ in range(3 * len(self.known) + 3):
            self.now += 61.0
            for worker in range(WORKERS):
                self.claim(worker, 3)
                while self.held[worker]:
                    self.finish(worker, 0)
        self.database_agrees()
        assert Counter(known.state for known in self.known.values()).keys() <= {SENT, DEAD}
        for known in self.known.values():
            assert known.deliveries - 1 <= known.unknown


Interleaved.TestCase.settings = settings(
    max_examples=30 * FUZZ_FACTOR,
    stateful_step_count=15,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def test_interleaved_workers_lose_nothing_and_count_duplicates(shared: Shared) -> None:
    Interleaved.shared = shared
    Interleaved.TestCase("runTest").runTest()
