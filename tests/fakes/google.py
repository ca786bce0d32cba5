"""Google, played by a small server on this machine: consent, tokens, and Gmail's send; every request is recorded."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support import PATIENCE

SCOPE = "https://www.googleapis.com/auth/gmail.send"
SEND_PATH = "/gmail/v1/users/me/messages/send"
CLIENT_ID = "tests.apps.googleusercontent.example"
CLIENT_SECRET = "GOCSPX-secret-of-the-client"

# What every secret of this server contains, so that one look at a text tells whether any of them is in it.
SECRET = "secret-of-"


@dataclass(frozen=True, slots=True)
class Post:
    """One POST to Gmail's send, as it came in."""

    headers: dict[str, str]  # names in lower case
    body: dict[str, Any]

    @property
    def access_token(self) -> str:
        return self.headers["authorization"].removeprefix("Bearer ")

    @property
    def thread(self) -> str | None:
        return self.body.get("threadId")

    @property
    def source(self) -> bytes:
        """The mail as it would travel on."""
        return base64.b64decode(self.body["raw"], altchars=b"-_", validate=True)

    @property
    def mail(self) -> EmailMessage:
        return BytesParser(policy=default).parsebytes(self.source)

    @property
    def to(self) -> str:
        return str(self.mail["To"])

    @property
    def subject(self) -> str:
        return str(self.mail["Subject"])

    @property
    def text(self) -> str:
        part = self.mail.get_body(("plain",))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")

    @property
    def html(self) -> str:
        part = self.mail.get_body(("html",))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")

    @property
    def event(self) -> str:
        return str(self.mail["X-SyftNotify-Event"])


class Asked(BaseHTTPRequestHandler):
    """One connection to the server; keeps it open between requests, as Google does."""

    protocol_version = "HTTP/1.1"
    server: _Server
    post: Post  # the mail that came in last on this connection

    def setup(self) -> None:
        super().setup()
        self.google.connections.add(self.connection)

    def finish(self) -> None:
        self.google.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    @property
    def google(self) -> Google:
        return self.server.google

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing on stderr."""

    def do_GET(self) -> None:
        self.google.requests.append(f"GET {urlsplit(self.path).path}")
        if urlsplit(self.path).path == "/auth":
            self._consent()
        else:
            self.answer(404, b"", "text/plain")

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.google.requests.append(f"POST {path}")
        if path == "/token":
            self._token({key: values[0] for key, values in parse_qs(content.decode()).items()})
        elif path == SEND_PATH:
            self._send(content)
        else:
            self.answer(404, b"", "text/plain")

    def answer(
        self, status: int, body: bytes, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self.answer(status, json.dumps(value).encode(), headers=headers)

    def vanish(self, *, reset: bool = False) -> None:
        """End the connection without an answer, by FIN or by RST."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.google.connections.discard(self.connection)
            os.close(self.connection.detach())

    def _consent(self) -> None:
        asked = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        google = self.google
        with google.lock:
            google.consents.append(asked)
        expected = {
            "client_id": CLIENT_ID,
            "response_type": "code",
            "scope": SCOPE,
            "access_type": "offline",
            "code_challenge_method": "S256",
        }
        wrong = {key: asked.get(key) for key, value in expected.items() if asked.get(key) != value}
        if wrong or not asked.get("state") or not asked.get("code_challenge"):
            self.answer(400, f"cannot be granted: {wrong}".encode(), "text/plain")
            return
        if google.denies:
            said = {"error": "access_denied", "state": asked["state"]}
        else:
            code = google.code_for(asked)
            said = {"state": asked["state"], "code": code, "scope": SCOPE}
        self.answer(302, b"", "text/plain", {"Location": f"{asked['redirect_uri']}?{urlencode(said)}"})

    def _token(self, form: dict[str, str]) -> None:
        google = self.google
        with google.lock:
            google.token_requests.append(form)
            scripted = google.token_answers.popleft() if google.token_answers else google.token_answer
        if scripted is not None:
            scripted(self)
            return
        in_form = form.get("client_id"), form.get("client_secret")
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        known = in_form == (CLIENT_ID, CLIENT_SECRET) or self.headers.get("Authorization") == f"Basic {basic}"
        with google.lock:
            granted = google.granted(form) if known else None
        if granted is None:
            refuses_the_grant(self)
        else:
            self.answer_json(200, granted)

    def _send(self, content: bytes) -> None:
        google = self.google
        post = Post({name.lower(): value for name, value in self.headers.items()}, json.loads(content))
        self.post = post
        with google.lock:
            google.posts.append(post)
            number = len(google.posts)
            scripted = google.answers.popleft() if google.answers else google.usual
            knows = post.access_token in google.access_tokens
        if scripted is not None:
            scripted(self)
        elif not knows:
            says(401, "authError")(self)
        else:
            self.answer_json(200, {"id": f"mail-{number}", "threadId": post.thread or f"thread-{number}"})


Answer = Callable[[Asked], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    google: Google

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that a test tore down is no news."""


@dataclass(slots=True)
class Google:
    """The server's memory, and what it is told to answer.

    `answers` are used up one a POST; after them holds `usual`; None is Gmail's own behaviour: it takes the mail when
    the access token is good. The same goes for `token_answers` and `token_answer`.
    """

    url: str = ""
    posts: list[Post] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    consents: list[dict[str, str]] = field(default_factory=list)
    token_requests: list[dict[str, str]] = field(default_factory=list)
    answers: deque[Answer | None] = field(default_factory=deque)
    usual: Answer | None = None
    token_answers: deque[Answer | None] = field(default_factory=deque)
    token_answer: Answer | None = None
    denies: bool = False
    refresh_token_expires_in: int | None = None
    access_tokens: set[str] = field(default_factory=set)
    refresh_tokens: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)
    ended: threading.Event = field(default_factory=threading.Event)
    connections: set[socket.socket] = field(default_factory=set)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _count: int = 0
    _server: _Server | None = None

    def start(self, tls: ssl.SSLContext | None = None) -> None:
        server = _Server(("127.0.0.1", 0), Asked)
        server.google = self
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Answer nobody any more, on open connections neither."""
        self.ended.set()
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def drop_idle_connections(self) -> None:
        """Close every kept connection, as a server does that has waited long enough."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # -- tokens ---------------------------------------------------------------------------------------------------

    def new_access_token(self) -> str:
        with self.lock:
            self._count += 1
            token = f"ya29.{SECRET}access-{self._count}"
            self.access_tokens.add(token)
        return token

    def new_refresh_token(self) -> str:
        with self.lock:
            self._count += 1
            token = f"1//{SECRET}refresh-{self._count}"
            self.refresh_tokens.add(token)
        return token

    def code_for(self, asked: dict[str, str]) -> str:
        with self.lock:
            self._count += 1
            code = f"4/{SECRET}consent-{self._count}"
            self._codes[code] = asked
        return code

    def granted(self, form: dict[str, str]) -> dict[str, Any] | None:
        """What the token endpoint gives for `form`, None when it gives nothing."""
        given: dict[str, Any] = {"expires_in": 3599, "scope": SCOPE, "token_type": "Bearer"}
        if form.get("grant_type") == "refresh_token" and form.get("refresh_token") in self.refresh_tokens:
            return {**given, "access_token": self.new_access_token()}
        if form.get("grant_type") != "authorization_code":
            return None
        asked = self._codes.pop(form.get("code", ""), None)
        if asked is None or form.get("redirect_uri") != asked["redirect_uri"]:
            return None
        proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).decode()
        if proof.rstrip("=") != asked["code_challenge"]:
            return None
        if self.refresh_token_expires_in is not None:
            given["refresh_token_expires_in"] = self.refresh_token_expires_in
        return {**given, "access_token": self.new_access_token(), "refresh_token": self.new_refresh_token()}

    def revoke(self) -> None:
        """Nothing that was granted so far is good any more."""
        with self.lock:
            self.access_tokens.clear()
            self.refresh_tokens.clear()

    # -- files ----------------------------------------------------------------------------------------------------

    def write_credentials(self, path: Path, **changes: Any) -> Path:
        """A desktop app's credentials.json, as Google's console gives it, that names this server."""
        client = {
            "client_id": CLIENT_ID,
            "project_id": "tests",
            "auth_uri": f"{self.url}/auth",
            "token_uri": f"{self.url}/token",
            "client_secret": CLIENT_SECRET,
            "redirect_uris": ["http://localhost"],
            **changes,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"installed": client}), encoding="utf-8")
        return path

    def token_info(self, *, expired: bool = False, **changes: Any) -> dict[str, Any]:
        """What stands in a token file after a sign-in here."""
        expiry = datetime.now(UTC) + timedelta(hours=-1 if expired else 1)
        token = self.new_access_token()
        if expired:
            self.access_tokens.discard(token)
        return {
            "token": token,
            "refresh_token": self.new_refresh_token(),
            "token_uri": f"{self.url}/token",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "scopes": [SCOPE],
            "universe_domain": "googleapis.com",
            "account": "",
            "expiry": expiry.replace(tzinfo=None).isoformat() + "Z",
            **changes,
        }

    def write_token(self, path: Path, *, expired: bool = False, **changes: Any) -> Path:
        """A token file as a sign-in leaves it: a new file in place of the old one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.fresh")
        fresh.write_text(json.dumps(self.token_info(expired=expired, **changes)), encoding="utf-8")
        fresh.chmod(0o600)
        fresh.replace(path)
        return path


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Google]:
    """The server, while the block runs."""
    google = Google()
    google.start(tls)
    try:
        yield google
    finally:
        google.stop()


def visited(url: str) -> str:
    """The address on which a browser ends that opens `url` and agrees; that address itself is not opened."""
    parts = urlsplit(url)
    assert parts.hostname == "127.0.0.1"
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 302, content
        return str(answer.headers["Location"])
    finally:
        connection.close()


# -- what may be answered ----------------------------------------------------------------------------------------


def says(
    status: int,
    reason: str = "",
    *,
    text: str = "said no",
    headers: dict[str, str] | None = None,
    info: str = "",
) -> Answer:
    """An error in Google's JSON form; `info` adds the newer ErrorInfo beside the older list of errors."""
    error: dict[str, Any] = {
        "code": status,
        "message": text,
        "errors": [{"message": text, "domain": "global", "reason": reason}],
        "status": "PERMISSION_DENIED",
    }
    if info:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": info, "domain": "googleapis.com"}]
    return lambda asked: asked.answer_json(status, {"error": error}, headers)


def page(status: int, headers: dict[str, str] | None = None) -> Answer:
    """A page of HTML, as a proxy in between answers."""
    html = b"<html><title>Error</title><body>That's an error.</body></html>"
    return lambda asked: asked.answer(status, html, "text/html; charset=UTF-8", headers)


def body(content: bytes, status: int = 200) -> Answer:
    """Success, with `content` as its body."""
    return lambda asked: asked.answer(status, content)


def closes(asked: Asked) -> None:
    """Reads the request and closes the connection."""
    asked.vanish()


def resets(asked: Asked) -> None:
    """Reads the request and resets the connection."""
    asked.vanish(reset=True)


def hangs(seconds: float) -> Answer:
    """Takes the mail, is silent for `seconds`, and then closes the connection."""

    def answer(asked: Asked) -> None:
        asked.google.ended.wait(seconds)
        asked.vanish()

    return answer


def answers_slowly(seconds: float) -> Answer:
    """Takes the mail, and says so after `seconds`."""

    def answer(asked: Asked) -> None:
        asked.google.ended.wait(seconds)
        asked.answer_json(200, {"id": "slow", "threadId": "slow"})

    return answer


def answers_when(released: threading.Event) -> Answer:
    """Takes the mail, and says so once `released` is set."""

    def answer(asked: Asked) -> None:
        released.wait(PATIENCE)
        asked.answer_json(200, {"id": "held", "threadId": "held"})

    return answer


def cuts_the_body(asked: Asked) -> None:
    """Success, but the body ends in its middle."""
    asked.send_response(200)
    asked.send_header("Content-Type", "application/json")
    asked.send_header("Content-Length", "100")
    asked.end_headers()
    asked.wfile.write(b'{"id": "mail')
    asked.vanish()


def babbles(asked: Asked) -> None:
    """Reads the request and answers past the encryption, so that the TLS connection breaks."""
    asked.close_connection = True
    os.write(asked.connection.fileno(), b"this is no TLS record at all\n")


def refuses_the_grant(asked: Asked) -> None:
    """The token endpoint's final no."""
    asked.answer_json(400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."})
