"""Checks of transports, and what their failures mean."""

from __future__ import annotations

import logging

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.delivery.checks import TransportChecks
from syftnotify.delivery.claims import Claims
from syftnotify.delivery.outcomes import DeliveryStatus
from syftnotify.delivery.throttling import Throttling
from syftnotify.delivery.transport_health import UNREACHABLE_SECONDS
from syftnotify.delivery.transport_queue import TransportQueue
from syftnotify.store.outbox.store import SqliteOutbox
from tests.fakes.recording_transport import RENDERER
from tests.support import Clock


class CheckedTransport:
    """A transport whose check raises `error`."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def send(self, message: Message) -> Receipt:
        raise AssertionError(message)

    def close(self) -> None:
        """Nothing is kept."""


@pytest.fixture
def transport() -> CheckedTransport:
    return CheckedTransport()


@pytest.fixture
def queue(transport: CheckedTransport) -> TransportQueue:
    return TransportQueue("mail", transport, RENDERER)


@pytest.fixture
def checks(outbox: SqliteOutbox, clock: Clock) -> TransportChecks:
    claims = Claims(outbox.queue, Throttling(outbox.history, ()), "worker")
    return TransportChecks(claims, DeliveryStatus(), clock=clock.time, monotonic=clock.monotonic)


def test_check_with_an_unexpected_error_is_repeated_after_a_backoff(
    transport: CheckedTransport,
    queue: TransportQueue,
    checks: TransportChecks,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A4: otherwise an unreachable transport with an empty queue would be checked without end."""
    transport.error = DeliveryError(Failure.UNREACHABLE, "mail.example could not be reached")
    checks.run(queue)
    clock.advance(UNREACHABLE_SECONDS)
    assert checks.is_due(queue)
    transport.error = RuntimeError("broken")
    with caplog.at_level(logging.ERROR):
        checks.run(queue)

    assert not checks.is_due(queue)
    assert "unexpected RuntimeError" in queue.health.unavailable_reason(clock.monotonic())
    assert "broken" in caplog.text
    clock.advance(3600)
    assert checks.is_due(queue)


def test_unreachable_check_leaves_a_failed_sign_in_to_be_checked(
    transport: CheckedTransport, queue: TransportQueue, checks: TransportChecks, clock: Clock
) -> None:
    """A4: it shows nothing about the sign-in, so the pause ends with the first check that succeeds."""
    for failure in (Failure.AUTH, Failure.UNREACHABLE):
        transport.error = DeliveryError(failure, "no sign-in")
        checks.run(queue)
    assert queue.health.pause_reason
    clock.advance(3600)
    assert checks.is_due(queue)
    transport.error = None
    checks.run(queue)

    assert not queue.health.unavailable_reason(clock.monotonic())
