"""The contract of transports: each test runs for each registered transport, against a real server."""

from __future__ import annotations

import ast
import json
import socket
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

import syftnotify
from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.identifiers import AddressType
from syftnotify.core.models import Message
from syftnotify.core.ports import Transport
from syftnotify.transports.registry import TRANSPORT_TYPES
from tests.fakes import google, mailserver, web
from tests.fakes.mailserver import HOST, raw, swallows
from tests.support import ANA, OWNER, PATIENCE, mails_in, transport_for, transport_settings

NOW = 1_800_000_000.0
LATER = datetime.fromtimestamp(NOW + 120, UTC)
# Every secret of every server here begins so: one look at a text tells whether any of them is in it.
SECRET = "secret-"
HELLO = Message(
    id="0123456789abcdef",
    recipient=ANA,
    subject="job_completed",
    text="It has ended: ≥ 5.\n",
    html="<p>It has ended: ≥ 5.</p>\n",
    sender=OWNER,
)


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message as the other side has it."""

    id: str  # empty where the protocol has no place for one
    text: str
    to: tuple[str, ...]  # empty where the address of the server says it all
    names: tuple[str, ...]  # of its headers, and of the keys of its object


def mail_arrived(mail: EmailMessage, *, envelope: tuple[str, ...] = ()) -> Arrived:
    part = mail.get_body(("plain",))
    assert part is not None
    return Arrived(
        id=str(mail["Message-ID"]).strip("<>").partition("@")[0],
        text=str(part.get_content()).replace("\r\n", "\n"),
        # Some carry to the envelope, some to the header: whichever names more.
        to=max(envelope, tuple(address.addr_spec for address in mail["To"].addresses), key=len),
        names=tuple(name.lower() for name in mail.keys()),  # noqa: SIM118 - each as often as it stands there
    )


class Rig(ABC):
    """A transport type, and the place to which it delivers."""

    recipient = ANA
    has_ids = True  # the protocol has a place for the id of a message
    has_waits = False  # the protocol has a place for the time of the next attempt

    def __init__(self, folder: Path, end: ExitStack) -> None:
        self.folder = folder
        self.end = end

    def transport(self, *, port: int | None = None, seconds: float = 20) -> Transport:
        """A transport to this place, or to whatever listens on `port` of this machine."""
        section = transport_settings(self.section(port, seconds))
        made = transport_for(section, clock=lambda: NOW)
        self.end.callback(made.close)
        return made

    def message(self, **changes: Any) -> Message:
        """One that is worded for this kind; `changes` replace its fields."""
        message = replace(HELLO, **{"recipient": self.recipient, **changes})
        return replace(message, body=json.dumps({"id": message.id, "text": message.text}).encode())

    @abstractmethod
    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        """What `config.yaml` would say."""

    @abstractmethod
    def vanishes(self) -> None:
        """From now on there is nothing to deliver to."""

    @property
    @abstractmethod
    def requests(self) -> int:
        """How many sends were begun, as the other side counts them."""

    @property
    @abstractmethod
    def received(self) -> list[Arrived]:
        """What arrived."""


class Served(Rig):
    """A place behind a network, where more can go wrong."""

    @abstractmethod
    def refuses(self) -> None:
        """Says no to every message, for good."""

    @abstractmethod
    def repeats(self) -> None:
        """Says no in words that hold the secrets that it was sent."""

    @abstractmethod
    def says_later(self, wait: str = "") -> None:
        """Says "not now", and how long to wait where the protocol has a place for that."""

    @abstractmethod
    def hangs_up(self) -> None:
        """Takes everything, and closes the connection without an answer."""

    @abstractmethod
    def hangs(self) -> None:
        """Takes everything, and never answers."""


class GmailRig(Served):
    has_waits = True

    def __init__(self, folder: Path, end: ExitStack) -> None:
        super().__init__(folder, end)
        self.server = end.enter_context(google.serving())

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        url = self.server.url if port is None else f"http://{HOST}:{port}"
        # Expired, because a sign-in that is still good asks nobody, and a check could find nothing out.
        token = self.server.write_token(self.folder / "token.json", expired=True, token_uri=f"{url}/token")
        return {"type": "gmail", "token": str(token), "api_endpoint": url, "timeout_secs": seconds}

    def refuses(self) -> None:
        self.server.usual = google.says(400, "invalidArgument")

    def repeats(self) -> None:
        self.server.usual = lambda asked: google.says(400, text=asked.headers["Authorization"])(asked)

    def says_later(self, wait: str = "") -> None:
        self.server.usual = google.says(503, "backendError", headers={"Retry-After": wait} if wait else None)

    def hangs_up(self) -> None:
        self.server.usual = google.closes

    def hangs(self) -> None:
        self.server.usual = google.hangs(60)

    def vanishes(self) -> None:
        self.server.stop()

    @property
    def requests(self) -> int:
        return len(self.server.posts)

    @property
    def received(self) -> list[Arrived]:
        return [mail_arrived(post.mail) for post in self.server.posts]


class SmtpRig(Served):
    def __init__(self, folder: Path, end: ExitStack) -> None:
        super().__init__(folder, end)
        self.server = end.enter_context(mailserver.serving(users={mailserver.USER: mailserver.PASSWORD}))

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        place = f"{HOST}:{self.server.port if port is None else port}"
        url = f"smtp://{mailserver.USER}:{mailserver.PASSWORD}@{place}"
        return {"type": "smtp", "smtp_url": url, "timeout_secs": seconds}

    def refuses(self) -> None:
        self.server.usual["RCPT"] = mailserver.says("550 5.1.1 no such user")

    def repeats(self) -> None:
        self.server.usual["AUTH"] = mailserver.repeats_what_it_heard

    def says_later(self, wait: str = "") -> None:
        assert not wait, "a mail server names no time"
        self.server.usual["RCPT"] = mailserver.says("451 4.3.0 later")

    def hangs_up(self) -> None:
        self.server.usual["dot"] = mailserver.in_turn(mailserver.commits, mailserver.closes)

    def hangs(self) -> None:
        self.server.usual["dot"] = mailserver.in_turn(mailserver.commits, mailserver.hangs)

    def vanishes(self) -> None:
        self.server.stop()

    @property
    def requests(self) -> int:
        return self.server.attempts

    @property
    def received(self) -> list[Arrived]:
        return [mail_arrived(taken.mail, envelope=taken.recipients) for taken in self.server.committed]


class WebRig(Served):
    has_waits = True
    refusal = 404  # status of a refusal that concerns one message

    def __init__(self, folder: Path, end: ExitStack) -> None:
        super().__init__(folder, end)
        self.server = end.enter_context(web.web())

    def url(self, port: int | None) -> str:
        return self.server.url if port is None else f"http://{HOST}:{port}/services/T000/{SECRET}path"

    def refuses(self) -> None:
        self.server.usual = web.says(self.refusal, "channel_not_found")

    def repeats(self) -> None:
        def answer(connection: socket.socket) -> None:
            request = self.server.requests[-1]
            word = request.headers.get("authorization", "")
            web.says(self.refusal, f"Cannot {request.line.removesuffix(' HTTP/1.1')} {word}".strip())(connection)

        self.server.usual = answer

    def says_later(self, wait: str = "") -> None:
        self.server.usual = web.says(503, "later", **({"Retry_After": wait} if wait else {}))

    def hangs_up(self) -> None:
        self.server.usual = web.closes

    def hangs(self) -> None:
        self.server.usual = web.hangs

    def vanishes(self) -> None:
        assert self.server.server is not None
        self.server.server.stop()

    @property
    def requests(self) -> int:
        return len(self.server.requests)


class SlackRig(WebRig):
    recipient = "#jobs"
    has_ids = False

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        return {"type": "slack", "url": self.url(port), "timeout_secs": seconds}

    @property
    def received(self) -> list[Arrived]:
        return [
            Arrived("", request.json["text"], (request.json["channel"],), (*request.headers, *request.json))
            for request in self.server.requests
        ]


class DiscordRig(WebRig):
    recipient = "chat"
    has_ids = False
    refusal = 400

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        return {"type": "discord", "url": self.url(port), "timeout_secs": seconds}

    @property
    def received(self) -> list[Arrived]:
        return [
            Arrived("", request.json["content"], (), (*request.headers, *request.json))
            for request in self.server.requests
        ]


class WebhookRig(WebRig):
    recipient = "ci"

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        return {
            "type": "webhook",
            "url": self.url(port),
            "secret": f"{SECRET}of-the-signature",
            "headers": {"Authorization": f"Bearer {SECRET}of-the-header"},
            "timeout_secs": seconds,
        }

    @property
    def received(self) -> list[Arrived]:
        return [
            Arrived(request.headers["webhook-id"], request.json["text"], (), (*request.headers, *request.json))
            for request in self.server.requests
        ]


class MaildirRig(Rig):
    @property
    def path(self) -> Path:
        return self.folder / "mail"

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        return {"type": "maildir", "path": str(self.path)}

    def vanishes(self) -> None:
        if self.path.exists():
            self.path.rename(self.folder / "kept")
        self.path.write_text("in the way")

    @property
    def requests(self) -> int:
        return len(self.received)

    @property
    def received(self) -> list[Arrived]:
        return [mail_arrived(mail.message) for mail in mails_in(self.path)]


# One entry for each registered transport; the tests run for every name in the registry.
RIGS: dict[str, type[Rig]] = {
    "gmail": GmailRig,
    "smtp": SmtpRig,
    "maildir": MaildirRig,
    "slack": SlackRig,
    "discord": DiscordRig,
    "webhook": WebhookRig,
}


def _each(condition: Callable[[type[Rig]], bool]) -> pytest.MarkDecorator:
    """Run a test for the registered transports that meet a condition, and for those without an entry, which fail."""
    names = [name for name in TRANSPORT_TYPES if name not in RIGS or condition(RIGS[name])]
    return pytest.mark.parametrize("rig", names, indirect=True)


each_kind = _each(lambda _rig: True)
each_served = _each(lambda rig: issubclass(rig, Served))
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


def test_registered_transports_all_have_an_entry() -> None:
    """A registered transport without an entry fails, and so does an entry without a transport."""
    assert set(RIGS) == set(TRANSPORT_TYPES)


# Texts that are equal to the name of a type and mean something else, or that a person could have typed.
_OTHER_MEANINGS = {
    ("core/identifiers.py", "slack"),  # stored values of address types
    ("core/identifiers.py", "webhook"),
    ("cli/alerts.py", "webhook"),  # a value in the output of `notify alerts list --json`
    ("services/demo.py", "maildir"),  # the configuration of the demo
}


@pytest.mark.parametrize("kind", TRANSPORT_TYPES)
def test_type_is_named_in_its_folder_only(kind: str) -> None:
    """A new transport needs a folder and a registry entry, because no other module knows of single types."""
    package = Path(syftnotify.__file__).parent
    found = {
        (str(file.relative_to(package)), node.value)
        for file in package.rglob("*.py")
        if file.parent != package / "transports" / kind
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == kind
    }
    assert found <= _OTHER_MEANINGS


@pytest.mark.parametrize("kind", TRANSPORT_TYPES)
def test_medium_is_what_notification_ids_contain(kind: str) -> None:
    """It is stored: another one would send every notification again. All mail is one medium."""
    is_mail = TRANSPORT_TYPES[kind].address_type is AddressType.MAIL

    assert TRANSPORT_TYPES[kind].medium("team") == ("mail" if is_mail else f"{kind}/team")


# -- checking ----------------------------------------------------------------------------------------------------


@each_kind
def test_checking_finds_a_healthy_side_and_sends_nothing(rig: Rig) -> None:
    """N02: whoever checks may do it at any time, so nobody may receive anything by it."""
    rig.transport().check()

    assert rig.requests == 0


@each_kind
@pytest.mark.parametrize("was_there", [False, True])
def test_checking_finds_out_that_nobody_is_there(rig: Rig, was_there: bool) -> None:
    """N02: a check that succeeds says that sending could work; it fails with `DeliveryError` and nothing else."""
    if was_there:
        rig.transport().send(rig.message())
    transport = rig.transport()
    rig.vanishes()

    with pytest.raises(DeliveryError) as caught:
        transport.check()
    assert caught.value.failure is Failure.UNREACHABLE
    assert SECRET not in "".join(traceback.format_exception(caught.value))


# -- sending -----------------------------------------------------------------------------------------------------


@each_kind
def test_a_message_is_one_request_and_arrives_with_its_text_and_its_id(rig: Rig) -> None:
    """X03: chats have no place for an id."""
    message = rig.message()
    rig.transport().send(message)

    assert rig.requests == 1
    (arrived,) = rig.received
    assert arrived.text == message.text
    assert arrived.id == (message.id if rig.has_ids else "")


@each_kind
def test_a_message_that_is_sent_again_has_the_same_id(rig: Rig) -> None:
    """X03: so that a reader's program can tell that it is the same message."""
    if not rig.has_ids:
        pytest.skip("the protocol has no id that the sender can choose")
    for _ in range(2):
        rig.transport().send(rig.message())

    first, second = rig.received
    assert first.id == second.id == rig.message().id


@each_kind
def test_eight_threads_share_one_transport_and_each_message_arrives_once(rig: Rig) -> None:
    """G02: the dispatcher has one transport of a kind and many attempts under way."""
    transport = rig.transport()
    ready = threading.Barrier(8)

    def send(part: int) -> None:
        ready.wait(timeout=PATIENCE)
        for number in range(2):
            transport.send(rig.message(id=f"id-{part}-{number}", text=f"text {part}-{number}\n"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))

    assert rig.requests == 16
    assert sorted(arrived.text for arrived in rig.received) == [
        f"text {part}-{number}\n" for part in range(8) for number in range(2)
    ]


# -- what an error means -----------------------------------------------------------------------------------------


@each_served
def test_a_refusal_is_final_and_is_one_request(rig: Served) -> None:
    """X03, X04"""
    rig.refuses()

    assert failed(rig.transport(), rig.message()).failure is Failure.PERMANENT
    assert rig.requests == 1


@each_served
def test_not_now_is_told_from_never_and_is_one_request(rig: Served) -> None:
    """G10: when to try again is the dispatcher's business."""
    rig.says_later()
    error = failed(rig.transport(), rig.message())

    assert error.failure is Failure.TEMPORARY
    assert error.not_before is None
    assert rig.requests == 1


@each_with_waits
def test_a_wait_that_the_other_side_names_is_kept(rig: Served) -> None:
    """G10: `Retry-After` in seconds."""
    rig.says_later("120")
    error = failed(rig.transport(), rig.message())

    assert error.failure is Failure.TEMPORARY
    assert error.not_before is not None
    assert rig.requests == 1


@each_with_waits
def test_a_moment_that_the_other_side_names_is_kept(rig: Served) -> None:
    """G10: `Retry-After` as a date."""
    rig.says_later(format_datetime(LATER, usegmt=True))

    assert failed(rig.transport(), rig.message()).not_before == LATER


@each_kind
@pytest.mark.parametrize("was_there", [False, True])
def test_where_nobody_is_there_nothing_was_handed_over(rig: Rig, was_there: bool) -> None:
    """X03: also when the transport kept a connection, and then nothing is in doubt either."""
    transport = rig.transport()
    if was_there:
        transport.send(rig.message())
    rig.vanishes()

    assert failed(transport, rig.message()).failure is Failure.UNREACHABLE


@each_served
def test_a_side_that_closes_at_once_is_not_asked_again(rig: Served) -> None:
    """X03: before anything was taken; where the protocol lets nobody know that, it counts as in doubt."""
    connections: list[socket.socket] = []
    with raw(connections.append) as rude:
        error = failed(rig.transport(port=rude.port), rig.message())

    assert error.failure in {Failure.UNREACHABLE, Failure.UNKNOWN}
    assert len(connections) == 1


@each_served
def test_a_side_that_took_everything_and_died_leaves_it_in_doubt(rig: Served) -> None:
    """X03: one request; whether to send it again is not the transport's to decide."""
    rig.hangs_up()

    assert failed(rig.transport(), rig.message()).failure is Failure.UNKNOWN
    assert rig.requests == 1


@each_served
@pytest.mark.timeout(50)
def test_a_side_that_took_everything_and_is_silent_is_left_in_time(rig: Served) -> None:
    """G09: `timeout_secs`; the time limit of this test is far above it, and below those of the libraries."""
    rig.hangs()

    assert failed(rig.transport(seconds=3), rig.message()).failure is Failure.UNKNOWN
    assert rig.requests == 1


@each_served
@pytest.mark.timeout(50)
def test_a_black_hole_is_left_in_time(rig: Served) -> None:
    """G09: it accepts every connection and never says a word, not even about the sign-in."""
    with raw(swallows) as hole:
        error = failed(rig.transport(port=hole.port, seconds=1), rig.message())

    assert error.failure in {Failure.UNREACHABLE, Failure.UNKNOWN}


# -- hostile content ---------------------------------------------------------------------------------------------

EVIL = {
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
@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_hostile_content_is_carried_or_refused_and_never_obeyed(
    rig: Rig, usual_names: dict[type[Rig], tuple[str, ...]], field: str, evil: str
) -> None:
    """X11: no header, no recipient and no message more than a harmless one has, and an object stays an object."""
    message = rig.message(**{field: getattr(rig.message(), field) + evil})
    with suppress(DeliveryError):
        rig.transport().send(message)

    assert len(rig.received) <= 1
    for arrived in rig.received:
        assert arrived.names == usual_names[type(rig)]
        assert len(arrived.to) <= 1


# -- secrets -----------------------------------------------------------------------------------------------------


@each_served
def test_a_refusal_that_repeats_what_it_was_sent_gives_no_secret_away(rig: Served) -> None:
    """N03: many servers name the path in their "not found", and some the password. `failed` looks for them."""
    rig.repeats()

    assert failed(rig.transport(), rig.message()).failure in {Failure.PERMANENT, Failure.AUTH}


@each_kind
def test_nothing_that_can_be_printed_of_a_transport_shows_a_secret(rig: Rig) -> None:
    """N03: neither before nor after it was used."""
    transport = rig.transport()
    before = repr(transport)
    transport.send(rig.message())

    assert SECRET not in f"{before} {transport!r} {transport!s}"


# -- the end -----------------------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("sends", [0, 1])
def test_closing_may_be_done_twice_and_before_anything_was_sent(rig: Rig, sends: int) -> None:
    """Whoever lets go of all transports need not know which of them were ever used."""
    transport = rig.transport()
    for _ in range(sends):
        transport.send(rig.message())

    transport.close()
    transport.close()

    assert rig.requests == sends
