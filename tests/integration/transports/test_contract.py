"""The contract of transports: each test runs for each registered transport, against a real server."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from email.utils import format_datetime
from pathlib import Path

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message
from syftnotify.core.ports import Transport
from syftnotify.transports.registry import TRANSPORT_TYPES
from tests.fakes.mailserver import never_respond, serve_raw
from tests.integration.transports.rigs import LATER, RIGS, SECRET, Rig, Served
from tests.parameters import thorough_except
from tests.support import TIMEOUT


def _each(condition: Callable[[type[Rig]], bool]) -> pytest.MarkDecorator:
    """Run a test for the registered transports that meet a condition, and for those without an entry, which fail."""
    names = [name for name in TRANSPORT_TYPES if name not in RIGS or condition(RIGS[name])]
    return pytest.mark.parametrize("rig", names, indirect=True)


each_kind = _each(lambda _rig: True)


each_served = _each(lambda rig: issubclass(rig, Served))


each_with_ids = _each(lambda rig: rig.has_ids)
each_with_waits = _each(lambda rig: rig.has_waits)


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param not in RIGS:
        pytest.fail(f"the registered transport {request.param} has no entry in RIGS")
    with ExitStack() as end:
        yield RIGS[request.param](tmp_path, end)


@pytest.fixture(scope="module")
def usual_names(tmp_path_factory: pytest.TempPathFactory) -> dict[type[Rig], tuple[str, ...]]:
    """The names that a harmless message has of each kind."""
    found = {}
    for name, kind in RIGS.items():
        with ExitStack() as end:
            rig = kind(tmp_path_factory.mktemp(name), end)
            rig.transport().send(rig.message())
            found[kind] = rig.received[0].names
    return found


def failed(transport: Transport, message: Message) -> DeliveryError:
    """The error of an attempt that must fail; no secret is in what a person or a log could be shown of it."""
    with pytest.raises(DeliveryError) as caught:
        transport.send(message)
    assert SECRET not in f"{caught.value} {caught.value!r}"
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return caught.value


def test_registered_transports_all_have_a_rig() -> None:
    """A registered transport without an entry fails, and so does an entry without a transport."""
    assert set(RIGS) == set(TRANSPORT_TYPES)


@each_kind
def test_check_of_a_healthy_server_sends_nothing(rig: Rig) -> None:
    """N02: a check may run at any time, so nobody may receive anything by it."""
    rig.transport().check()

    assert rig.requests == 0


@each_kind
@pytest.mark.parametrize("was_there", [False, True])
def test_check_of_a_missing_server_is_unreachable(rig: Rig, was_there: bool) -> None:
    """N02: a check that succeeds says that sending could work; it fails with `DeliveryError` and nothing else."""
    if was_there:
        rig.transport().send(rig.message())
    transport = rig.transport()
    rig.stop_server()

    with pytest.raises(DeliveryError) as caught:
        transport.check()
    assert caught.value.failure is Failure.UNREACHABLE
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@each_kind
def test_message_is_one_request_with_text_and_id(rig: Rig) -> None:
    """X03: chats have no place for an id."""
    message = rig.message()
    rig.transport().send(message)

    assert rig.requests == 1
    (arrived,) = rig.received
    assert arrived.text == message.text
    assert arrived.id == (message.id if rig.has_ids else "")


@each_with_ids
def test_message_sent_again_has_the_same_id(rig: Rig) -> None:
    """X03: so that a reader's program can tell that it is the same message."""
    for _ in range(2):
        rig.transport().send(rig.message())

    first, second = rig.received
    assert first.id == second.id == rig.message().id


@each_kind
def test_messages_from_8_threads_arrive_once_each(rig: Rig) -> None:
    """G02: the dispatcher has one transport of a kind and many attempts under way."""
    transport = rig.transport()
    ready = threading.Barrier(8)

    def send(part: int) -> None:
        ready.wait(timeout=TIMEOUT)
        for number in range(2):
            transport.send(rig.message(id=f"id-{part}-{number}", text=f"text {part}-{number}\n"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))

    assert rig.requests == 16
    assert sorted(arrived.text for arrived in rig.received) == [
        f"text {part}-{number}\n" for part in range(8) for number in range(2)
    ]


@each_served
def test_refusal_is_permanent_and_one_request(rig: Served) -> None:
    """X03, X04"""
    rig.reject()

    assert failed(rig.transport(), rig.message()).failure is Failure.PERMANENT
    assert rig.requests == 1


@each_served
def test_temporary_rejection_is_one_request(rig: Served) -> None:
    """G10: the dispatcher decides when to try again."""
    rig.reject_temporarily()
    error = failed(rig.transport(), rig.message())

    assert error.failure is Failure.TEMPORARY
    assert error.not_before is None
    assert rig.requests == 1


@each_with_waits
def test_retry_after_in_seconds_is_kept(rig: Served) -> None:
    """G10: `Retry-After` in seconds."""
    rig.reject_temporarily("120")
    error = failed(rig.transport(), rig.message())

    assert error.failure is Failure.TEMPORARY
    assert error.not_before is not None
    assert rig.requests == 1


@each_with_waits
def test_retry_after_as_a_date_is_kept(rig: Served) -> None:
    """G10: `Retry-After` as a date."""
    rig.reject_temporarily(format_datetime(LATER, usegmt=True))

    assert failed(rig.transport(), rig.message()).not_before == LATER


@each_kind
@pytest.mark.parametrize("was_there", [False, True])
def test_missing_server_is_unreachable(rig: Rig, was_there: bool) -> None:
    """X03: also when the transport kept a connection, and then nothing is in doubt either."""
    transport = rig.transport()
    if was_there:
        transport.send(rig.message())
    rig.stop_server()

    assert failed(transport, rig.message()).failure is Failure.UNREACHABLE


@each_served
def test_server_that_closes_at_once_gets_one_connection(rig: Served) -> None:
    """X03: before anything was accepted; where the protocol does not show that, the outcome is unknown."""
    connections: list[socket.socket] = []
    with serve_raw(connections.append) as rude:
        error = failed(rig.transport(port=rude.port), rig.message())

    assert error.failure in {Failure.UNREACHABLE, Failure.UNKNOWN}
    assert len(connections) == 1


@each_served
def test_server_that_closes_after_the_message_is_unknown(rig: Served) -> None:
    """X03: one request; the dispatcher decides whether to send it again."""
    rig.close_after_message()

    assert failed(rig.transport(), rig.message()).failure is Failure.UNKNOWN
    assert rig.requests == 1


@each_served
@pytest.mark.timeout(50)
def test_server_that_is_silent_after_the_message_is_unknown(rig: Served) -> None:
    """G09: `timeout_secs`; the time limit of this test is far above it, and below those of the libraries."""
    rig.hangs()

    assert failed(rig.transport(seconds=3), rig.message()).failure is Failure.UNKNOWN
    assert rig.requests == 1


@each_served
@pytest.mark.timeout(50)
def test_server_that_never_answers_ends_at_the_timeout(rig: Served) -> None:
    """G09: it accepts connections and never replies, not even to the sign-in."""
    with serve_raw(never_respond) as hole:
        error = failed(rig.transport(port=hole.port, seconds=1), rig.message())

    assert error.failure in {Failure.UNREACHABLE, Failure.UNKNOWN}


HOSTILE = {
    "crlf-and-a-header": "\r\nBcc: victim@elsewhere.example\r\n\r\nbody",
    "lf-and-a-header": "\nBcc: victim@elsewhere.example",
    "cr-and-a-header": "\rBcc: victim@elsewhere.example",
    "encoded-header": "=?utf-8?q?=0D=0ABcc=3A_victim=40elsewhere.example?=",
    "end-of-mail": "\r\n.\r\nMAIL FROM:<victim@elsewhere.example>\r\n",
    "another-recipient": ", victim@elsewhere.example",
    "nul": "\x00",
    "lone-surrogate": "\udc80",
    "right-to-left": "\u202e",
    "markup-quotes-and-backslashes": '<!channel>"\'\\"\\',
}


@each_kind
@pytest.mark.parametrize("field", ["recipient", "subject", "text"])
@pytest.mark.parametrize(
    "hostile", thorough_except({"crlf-and-a-header", "end-of-mail", "another-recipient", "lone-surrogate"}, HOSTILE)
)
def test_hostile_content_adds_no_header_recipient_or_message(
    rig: Rig, usual_names: dict[type[Rig], tuple[str, ...]], field: str, hostile: str
) -> None:
    """X11: no header, no recipient and no message more than a harmless one has, and an object stays an object."""
    message = rig.message(**{field: getattr(rig.message(), field) + hostile})
    with suppress(DeliveryError):
        rig.transport().send(message)

    assert len(rig.received) <= 1
    for arrived in rig.received:
        assert arrived.names == usual_names[type(rig)]
        assert len(arrived.to) <= 1


@each_served
def test_refusal_that_repeats_secrets_is_redacted(rig: Served) -> None:
    """N03: many servers name the path in their "not found", and some the password. `failed` looks for them."""
    rig.reject_with_secrets()

    assert failed(rig.transport(), rig.message()).failure in {Failure.PERMANENT, Failure.AUTH}


@each_kind
def test_repr_of_a_transport_contains_no_secret(rig: Rig) -> None:
    """N03: neither before nor after it was used."""
    transport = rig.transport()
    before = repr(transport)
    transport.send(rig.message())

    assert SECRET not in f"{before} {transport!r} {transport!s}"


@each_kind
@pytest.mark.parametrize("sends", [0, 1])
def test_close_may_be_called_twice_and_unused(rig: Rig, sends: int) -> None:
    """All transports are closed at the end, whether they were used or not."""
    transport = rig.transport()
    for _ in range(sends):
        transport.send(rig.message())

    transport.close()
    transport.close()

    assert rig.requests == sends
