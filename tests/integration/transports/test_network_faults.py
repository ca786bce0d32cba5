"""Every network conversation ends in time and in bounded memory: conversation x fault."""

from __future__ import annotations

import contextlib
import socket
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from syftnotify.core.errors import DeliveryError, Failure, NotSignedInError
from syftnotify.core.models import Message
from syftnotify.transports.gmail.auth import GmailAuth
from syftnotify.transports.gmail.sending import GmailTransport
from syftnotify.transports.http_client import probe, request
from syftnotify.transports.slack.settings import SlackSettings
from syftnotify.transports.smtp.settings import SmtpSettings
from syftnotify.transports.webhook.settings import WebhookSettings
from tests.fakes.google import SCOPE, Google
from tests.fakes.mailserver import HOST, RawServer, serve_raw
from tests.parameters import thorough_except
from tests.support import ANA, OWNER, transport_for, wait_until

HELLO = Message(id="m1", recipient=ANA, subject="s", text="t", sender=OWNER, body=b"{}")


LINE = Message(id="m1", recipient="#jobs", subject="s", text="t")


SENT = "sent"


REFUSED_SIGN_IN = "no sign-in"


# Bytes that an endless peer can get rid of before it is cut: what is read, and the buffers of both kernels.
MAX_BYTES = 64 << 20


MAX_MEMORY = 16 << 20  # bytes


LIMITS = (0.5, 3, 12, 40)  # seconds


@dataclass
class Peer:
    """What a peer did."""

    reached: bool = False  # whether it came to the point of its fault
    sent: int = 0  # bytes


Fault = Callable[[socket.socket, Peer, bytes], None]


def is_silent(connection: socket.socket, peer: Peer, start: bytes) -> None:
    while connection.recv(65536):
        pass


def dribbles(connection: socket.socket, peer: Peer, start: bytes) -> None:
    """A byte now and then, for ever: each read has its answer in time."""
    connection.sendall(start)
    connection.settimeout(0.02)  # the pause between two bytes
    while True:
        connection.sendall(b"x")
        with contextlib.suppress(TimeoutError):
            if not connection.recv(65536):
                return


def floods(part: bytes, connection: socket.socket, peer: Peer, start: bytes) -> None:
    """`start`, and then `part` without an end."""
    connection.sendall(start)
    block = part * (1 + 65536 // len(part))
    while True:
        connection.sendall(block)
        peer.sent += len(block)


@cache
def bomb() -> bytes:
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()


def bombs(connection: socket.socket, peer: Peer, start: bytes) -> None:
    """64 MiB in 64 KiB."""
    content = bomb()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\n")
    connection.sendall(b"Content-Length: %d\r\n\r\n" % len(content) + content)
    is_silent(connection, peer, start)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


BODY = HEAD + b'Content-Length: 1000000000\r\n\r\n{"id": "'


CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


# The fault, and the beginning of the reply it comes after.
IN_HEAD: dict[str, tuple[Fault, bytes]] = {
    "silent": (is_silent, b""),
    "dribbling-head": (dribbles, HEAD + b"X-Slow: "),
    "endless-header": (partial(floods, b"x"), HEAD + b"X-Long: "),
    "endless-headers": (partial(floods, b"X-More: 1\r\n"), HEAD),
    "endless-interim-responses": (partial(floods, b"HTTP/1.1 100 Continue\r\n\r\n"), b""),
}


IN_BODY: dict[str, tuple[Fault, bytes]] = {
    "dribbling-body": (dribbles, BODY),
    "endless-body": (partial(floods, b"x"), BODY),
    "endless-chunks": (partial(floods, b"1;" + b"e" * 9000 + b"\r\nx\r\n"), CHUNKS),
    "bomb": (bombs, b""),
}


IN_REPLY: dict[str, tuple[Fault, bytes]] = {
    "silent": (is_silent, b""),
    "dribbling": (dribbles, b"250-"),
    "endless-lines": (partial(floods, b"250-more\r\n"), b""),
    "endless-line": (partial(floods, b"x"), b"250-"),
}


def _read_request(file: Any) -> bool:
    """Whether a whole request came."""
    length = 0
    while line := file.readline():
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
        if line == b"\r\n":
            return len(file.read(length)) == length
    return False


def web_peer(fault: Fault, start: bytes, peer: Peer) -> Callable[[socket.socket], None]:
    """Reads a request, and does the fault."""

    def handle(connection: socket.socket) -> None:
        if _read_request(connection.makefile("rb")):
            peer.reached = True
            fault(connection, peer, start)

    return handle


def early_peer(fault: Fault, start: bytes, peer: Peer) -> Callable[[socket.socket], None]:
    """Does the fault at once."""

    def handle(connection: socket.socket) -> None:
        peer.reached = True
        fault(connection, peer, start)

    return handle


_REPLIES = {"EHLO": b"250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", "AUTH": b"235 in\r\n", "DATA": b"354 go\r\n"}


def mail_peer(step: str, fault: Fault, start: bytes, peer: Peer) -> Callable[[socket.socket], None]:
    """A mail server that does the fault in the place of its reply to `step`."""

    def handle(connection: socket.socket) -> None:
        file = connection.makefile("rb")
        verb = "greeting"
        while verb != step:
            connection.sendall({"greeting": b"220 here\r\n", **_REPLIES}.get(verb, b"250 ok\r\n"))
            line = file.readline()
            if verb == "DATA":
                while line.rstrip() != b".":
                    if not line:
                        return
                    line = file.readline()
                verb = "dot"
            else:
                verb = line.decode("latin-1").split(" ")[0].strip().upper()
            if not line:
                return
        peer.reached = True
        fault(connection, peer, start)

    return handle


def _webhook(server: RawServer, folder: Path, seconds: float) -> None:
    settings = WebhookSettings.model_validate({"type": "webhook", "url": f"http://{HOST}:{server.port}/x"})
    transport_for(settings.model_copy(update={"timeout_secs": seconds})).send(HELLO)


def _slack(server: RawServer, folder: Path, seconds: float) -> None:
    settings = SlackSettings.model_validate({"type": "slack", "url": f"http://{HOST}:{server.port}/x"})
    transport_for(settings.model_copy(update={"timeout_secs": seconds})).send(LINE)


def _get(method: str, server: RawServer, folder: Path, seconds: float) -> None:
    """As the ping of the heartbeat and the question for the time do."""
    request(method, f"http://{HOST}:{server.port}/x", seconds=seconds)


def _gmail(server: RawServer, folder: Path, seconds: float) -> None:
    token = Google(url="http://127.0.0.1:9").write_token(folder / "token.json")
    GmailTransport(token, api_endpoint=f"http://{HOST}:{server.port}", timeout=seconds, clock=time.time).send(HELLO)


def _refresh(server: RawServer, folder: Path, seconds: float) -> None:
    token = Google(url=f"http://{HOST}:{server.port}").write_token(folder / "token.json", expired=True)
    GmailTransport(token, api_endpoint="http://127.0.0.1:9", timeout=seconds, clock=time.time).send(HELLO)


def _exchange(server: RawServer, folder: Path, seconds: float) -> None:
    secrets = Google(url=f"http://{HOST}:{server.port}").write_credentials(folder / "credentials.json")

    def agree(url: str) -> str:
        state = parse_qs(urlsplit(url).query)["state"][0]
        return "http://127.0.0.1:8085/?" + urlencode({"state": state, "code": "4/x", "scope": SCOPE})

    GmailAuth(timeout_secs=seconds).setup_auth(secrets, ask=agree)


def _encrypted(server: RawServer, folder: Path, seconds: float) -> None:
    request("POST", f"https://{HOST}:{server.port}/x", seconds=seconds)


def _check(server: RawServer, folder: Path, seconds: float) -> None:
    probe(f"https://{HOST}:{server.port}/x", seconds=seconds)


def _mail(server: RawServer, folder: Path, seconds: float, *, form: str = "smtp://u:p@{place}") -> None:
    url = form.format(place=f"{HOST}:{server.port}")
    settings = SmtpSettings.model_validate({"type": "smtp", "smtp_url": url}).model_copy(
        update={"timeout_secs": seconds}
    )
    with contextlib.closing(transport_for(settings)) as transport:
        transport.send(HELLO)


Conversation = Callable[[RawServer, Path, float], None]


@dataclass(frozen=True)
class Case:
    talk: Conversation
    peer: Callable[[Fault, bytes, Peer], Callable[[socket.socket], None]]
    fault: tuple[Fault, bytes]
    outcome: str
    env: dict[str, str] = field(default_factory=dict)


def _web_cases() -> Iterator[Any]:
    webs: dict[str, tuple[Conversation, str, str]] = {
        "webhook": (_webhook, Failure.UNKNOWN, SENT),  # the status has decided before the body comes
        "slack": (_slack, Failure.UNKNOWN, SENT),
        "ping": (partial(_get, "GET"), Failure.UNKNOWN, SENT),
        "server-time": (partial(_get, "HEAD"), Failure.UNKNOWN, SENT),
        "gmail": (_gmail, Failure.UNKNOWN, Failure.UNKNOWN),
        "refresh": (_refresh, Failure.UNREACHABLE, Failure.UNREACHABLE),
        "code-exchange": (_exchange, REFUSED_SIGN_IN, REFUSED_SIGN_IN),
    }
    for name, (talk, in_head, in_body) in webs.items():
        for fault, what in IN_HEAD.items():
            yield pytest.param(Case(talk, web_peer, what, in_head), id=f"{name}-{fault}")
        for fault, what in IN_BODY.items() if name != "server-time" else ():  # HEAD has no body
            yield pytest.param(Case(talk, web_peer, what, in_body), id=f"{name}-{fault}")


def _tunnel_cases() -> Iterator[Any]:
    for name, talk in {"request": _encrypted, "check": _check}.items():
        for fault, what in IN_HEAD.items():
            early = Case(talk, early_peer, what, Failure.UNREACHABLE)
            yield pytest.param(early, id=f"tls-{name}-{fault}")
            proxied = Case(talk, web_peer, what, Failure.UNREACHABLE, {"HTTPS_PROXY": "http://{place}"})
            yield pytest.param(proxied, id=f"proxy-{name}-{fault}")


def _mail_cases() -> Iterator[Any]:
    for step in ("greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "dot"):
        for fault, what in IN_REPLY.items():
            outcome = Failure.UNKNOWN if step == "dot" else Failure.UNREACHABLE
            yield pytest.param(Case(_mail, partial(mail_peer, step), what, outcome), id=f"smtp-{step}-{fault}")
    starttls = partial(_mail, form="smtp://u:p@{place}?tls=required")
    implicit = partial(_mail, form="smtps://u:p@{place}")
    for fault, what in IN_REPLY.items():
        command = Case(starttls, partial(mail_peer, "STARTTLS"), what, Failure.UNREACHABLE)
        yield pytest.param(command, id=f"smtp-STARTTLS-{fault}")
        upgrade = Case(starttls, partial(mail_peer, "STARTTLS"), (what[0], b"220 go on\r\n"), Failure.UNREACHABLE)
        yield pytest.param(upgrade, id=f"smtp-handshake-{fault}")
        yield pytest.param(Case(implicit, early_peer, what, Failure.UNREACHABLE), id=f"smtps-handshake-{fault}")


def _outcome(talk: Conversation, server: RawServer, folder: Path, seconds: float) -> str:
    try:
        talk(server, folder, seconds)
    except DeliveryError as error:
        return str(error.failure)
    except NotSignedInError:
        return REFUSED_SIGN_IN
    return SENT


def _is_cut(peer: Peer, server: RawServer) -> bool:
    # A flooding peer is stuck in its send until the kernel probes the closed connection, up to a minute later.
    return bool(peer.sent) or not server.open_count


# At least one fault of each conversation, and each fault of some conversation.
_QUICK = {
    "webhook-silent",
    "webhook-dribbling-head",
    "webhook-endless-headers",
    "slack-endless-body",
    "ping-endless-header",
    "server-time-endless-interim-responses",
    "gmail-bomb",
    "gmail-silent",
    "refresh-dribbling-body",
    "code-exchange-endless-chunks",
    "tls-request-silent",
    "tls-check-dribbling-head",
    "proxy-request-endless-header",
    "proxy-check-silent",
    "smtp-greeting-silent",
    "smtp-EHLO-endless-lines",
    "smtp-AUTH-dribbling",
    "smtp-RCPT-endless-line",
    "smtp-dot-silent",
    "smtp-STARTTLS-silent",
    "smtp-handshake-dribbling",
    "smtps-handshake-silent",
}


@pytest.mark.parametrize("case", thorough_except(_QUICK, [*_web_cases(), *_tunnel_cases(), *_mail_cases()]))
def test_conversation_with_a_faulty_peer_ends_in_time_and_memory(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B2, X03: by the failure class that fits what had been sent; the peer is cut off."""
    bomb()
    for seconds in LIMITS:
        peer = Peer()
        with serve_raw(case.peer(*case.fault, peer)) as server, ThreadPoolExecutor(1) as pool:
            for name, value in case.env.items():
                monkeypatch.setenv(name, value.format(place=f"{HOST}:{server.port}"))
                monkeypatch.setenv("NO_PROXY", "")
            tracemalloc.start()
            try:
                outcome = pool.submit(_outcome, case.talk, server, tmp_path, seconds).result(timeout=60)
                memory = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            wait_until(partial(_is_cut, peer, server), what="the peer is cut off")
        assert peer.sent <= MAX_BYTES
        assert memory <= MAX_MEMORY
        if peer.reached and outcome == case.outcome:
            return
    pytest.fail(f"ended as {outcome} instead of {case.outcome}; the peer came to its fault: {peer.reached}")
