"""One attempt that ends with a failed sign-in."""

from __future__ import annotations

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.core.throttle import ThrottleRule
from syftnotify.delivery.attempt import AttemptRunner
from syftnotify.delivery.outcomes import DeliveryStatus, OutcomeRecorder
from syftnotify.delivery.throttling import Throttling
from syftnotify.delivery.transport_queue import TransportQueue
from syftnotify.store.outbox.store import SqliteOutbox
from tests.fakes.recording_transport import RENDERER, enqueue_jobs
from tests.support import Clock


class BrokenCheck:
    """A transport that fails to sign in, and whose check has a fault."""

    def check(self) -> None:
        raise RuntimeError("broken")

    def send(self, message: Message) -> Receipt:
        raise DeliveryError(Failure.AUTH, f"sign-in failed for {message.recipient}")

    def close(self) -> None:
        """Nothing is kept."""


def test_failed_sign_in_pauses_the_transport_before_it_is_checked(outbox: SqliteOutbox, clock: Clock) -> None:
    """A4: otherwise other messages are attempted meanwhile, and without end if the check has a fault."""
    enqueue_jobs(outbox, 1, transport="mail")
    status = DeliveryStatus()
    outcomes = OutcomeRecorder(outbox.queue, status, clock=clock.time, on_change=lambda: None)
    throttling = Throttling(outbox.history, (ThrottleRule(),))
    attempts = AttemptRunner(outbox.queue, outcomes, throttling, status, clock=clock.time, monotonic=clock.monotonic)
    queue = TransportQueue("mail", BrokenCheck(), RENDERER)
    (claimed,) = outbox.queue.claim("mail", clock.time(), worker_id="worker")
    attempts.run(queue, claimed, clock.time())

    assert queue.wait(clock.monotonic()) == 300
    assert "sign-in failed" in queue.health.pause_reason
