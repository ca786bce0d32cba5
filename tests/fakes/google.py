"""A fake Google server: OAuth consent, token endpoint and Gmail's send method. Every request is recorded."""

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

from tests.fakes.ports import refuse_connections
from tests.support import TIMEOUT

SCOPE = "https://www.googleapis.com/auth/gmail.send"
SEND_PATH = "/gmail/v1/users/me/messages/send"
CLIENT_ID = "tests.apps.googleusercontent.example"
CLIENT_SECRET = "GOCSPX-secret-of-the-client"

# Part of every secret of this server: a text without it contains none of them.
SECRET = "secret-of-"


@dataclass(frozen=True, slots=True)
class Post:
    """One request to Gmail's send method."""

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
        """The decoded RFC 5322 message."""
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


class Handler(BaseHTTPRequestHandler):
    """Handles one connection, which stays open between requests (keep-alive), as with Google."""

    protocol_version = "HTTP/1.1"
    server: _Server
    post: Post  # the last one on this connection

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

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - name of the base class
        """Log nothing."""

    def do_GET(self) -> None:
        self.google.requests.append(f"GET {urlsplit(self.path).path}")
        if urlsplit(self.path).path == "/auth":
            self._consent()
        else:
            self.respond(404, b"", "text/plain")

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.google.requests.append(f"POST {path}")
        if path == "/token":
            self._token({key: values[0] for key, values in parse_qs(content.decode()).items()})
        elif path == SEND_PATH:
            self._send(content)
        else:
            self.respond(404, b"", "text/plain")

    def respond(
        self, status: int, body: bytes, content_type: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def respond_json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self.respond(status, json.dumps(value).encode(), headers=headers)

    def disconnect(self, *, reset: bool = False) -> None:
        """Close the connection without a response, by FIN or by RST."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.google.connections.discard(self.connection)
            os.close(self.connection.detach())

    def _consent(self) -> None:
        request = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        google = self.google
        with google.lock:
            google.consents.append(request)
        expected = {
            "client_id": CLIENT_ID,
            "response_type": "code",
            "scope": SCOPE,
            "access_type": "offline",
            "code_challenge_method": "S256",
        }
        wrong = {key: request.get(key) for key, value in expected.items() if request.get(key) != value}
        if wrong or not request.get("state") or not request.get("code_challenge"):
            self.respond(400, f"invalid request: {wrong}".encode(), "text/plain")
            return
        if google.denies_consent:
            query = {"error": "access_denied", "state": request["state"]}
        else:
            code = google.new_code(request)
            query = {"state": request["state"], "code": code, "scope": SCOPE}
        self.respond(302, b"", "text/plain", {"Location": f"{request['redirect_uri']}?{urlencode(query)}"})

    def _token(self, form: dict[str, str]) -> None:
        google = self.google
        with google.lock:
            google.token_requests.append(form)
            scripted = google.token_responses.popleft() if google.token_responses else google.default_token_response
        if scripted is not None:
            scripted(self)
            return
        in_form = form.get("client_id"), form.get("client_secret")
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        is_known_client = in_form == (CLIENT_ID, CLIENT_SECRET) or self.headers.get("Authorization") == f"Basic {basic}"
        with google.lock:
            tokens = google.issue_tokens(form) if is_known_client else None
        if tokens is None:
            reject_grant(self)
        else:
            self.respond_json(200, tokens)

    def _send(self, content: bytes) -> None:
        google = self.google
        post = Post({name.lower(): value for name, value in self.headers.items()}, json.loads(content))
        self.post = post
        with google.lock:
            google.posts.append(post)
            number = len(google.posts)
            scripted = google.responses.popleft() if google.responses else google.default
            is_valid = post.access_token in google.access_tokens
        if scripted is not None:
            scripted(self)
        elif not is_valid:
            respond_error(401, "authError")(self)
        else:
            self.respond_json(200, {"id": f"mail-{number}", "threadId": post.thread or f"thread-{number}"})


Responder = Callable[[Handler], None]


class _Server(ThreadingHTTPServer):
    allow_reuse_address = False  # see `tests.fakes.ports`
    daemon_threads = True
    block_on_close = False
    google: Google

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of connections that a test closed."""


@dataclass(slots=True)
class Google:
    """The recorded requests and the configured responses.

    A POST to the send method is handled by the next of `responses`, then by `default`. None means Gmail's normal
    behaviour: the mail is accepted if the access token is valid. `token_responses` and `default_token_response` are the
    same for the token endpoint.
    """

    url: str = ""
    posts: list[Post] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    consents: list[dict[str, str]] = field(default_factory=list)
    token_requests: list[dict[str, str]] = field(default_factory=list)
    responses: deque[Responder | None] = field(default_factory=deque)
    default: Responder | None = None
    token_responses: deque[Responder | None] = field(default_factory=deque)
    default_token_response: Responder | None = None
    denies_consent: bool = False
    refresh_token_expires_in: int | None = None
    access_tokens: set[str] = field(default_factory=set)
    refresh_tokens: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)
    stopped: threading.Event = field(default_factory=threading.Event)
    connections: set[socket.socket] = field(default_factory=set)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _count: int = 0
    _server: _Server | None = None

    def start(self, tls: ssl.SSLContext | None = None) -> None:
        server = _Server(("127.0.0.1", 0), Handler)
        server.google = self
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Stop the server and close all open connections."""
        self.stopped.set()
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        refuse_connections(server.socket)
        server.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def drop_idle_connections(self) -> None:
        """Close every idle connection, as a server does after its keep-alive timeout."""
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

    def new_code(self, request: dict[str, str]) -> str:
        with self.lock:
            self._count += 1
            code = f"4/{SECRET}consent-{self._count}"
            self._codes[code] = request
        return code

    def issue_tokens(self, form: dict[str, str]) -> dict[str, Any] | None:
        """The token response for `form`; None if the grant is invalid."""
        tokens: dict[str, Any] = {"expires_in": 3599, "scope": SCOPE, "token_type": "Bearer"}
        if form.get("grant_type") == "refresh_token" and form.get("refresh_token") in self.refresh_tokens:
            return {**tokens, "access_token": self.new_access_token()}
        if form.get("grant_type") != "authorization_code":
            return None
        request = self._codes.pop(form.get("code", ""), None)
        if request is None or form.get("redirect_uri") != request["redirect_uri"]:
            return None
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).decode()
        if challenge.rstrip("=") != request["code_challenge"]:
            return None
        if self.refresh_token_expires_in is not None:
            tokens["refresh_token_expires_in"] = self.refresh_token_expires_in
        return {**tokens, "access_token": self.new_access_token(), "refresh_token": self.new_refresh_token()}

    def revoke(self) -> None:
        """Revoke all access and refresh tokens."""
        with self.lock:
            self.access_tokens.clear()
            self.refresh_tokens.clear()

    # -- files ----------------------------------------------------------------------------------------------------

    def write_credentials(self, path: Path, **changes: Any) -> Path:
        """Write the credentials.json of a desktop app, with the endpoints of this server."""
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
        """The content of a token file after a sign-in at this server."""
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
        """Write a token file as a sign-in does: a new file replaces the old one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.write_text(json.dumps(self.token_info(expired=expired, **changes)), encoding="utf-8")
        temporary.chmod(0o600)
        temporary.replace(path)
        return path


@contextlib.contextmanager
def serve_google(tls: ssl.SSLContext | None = None) -> Iterator[Google]:
    """Run the server for the duration of the block."""
    google = Google()
    google.start(tls)
    try:
        yield google
    finally:
        google.stop()


def grant_consent(url: str) -> str:
    """Give consent at `url` as a browser would; returns the redirect URL, which is not opened."""
    parts = urlsplit(url)
    assert parts.hostname == "127.0.0.1"
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        response = connection.getresponse()
        content = response.read()
        assert response.status == 302, content
        return str(response.headers["Location"])
    finally:
        connection.close()


# -- responses ----------------------------------------------------------------------------------------------------


def respond_error(
    status: int,
    reason: str = "",
    *,
    text: str = "rejected",
    headers: dict[str, str] | None = None,
    info: str = "",
) -> Responder:
    """Respond with a Google JSON error; `info` adds an ErrorInfo to the older list of errors."""
    error: dict[str, Any] = {
        "code": status,
        "message": text,
        "errors": [{"message": text, "domain": "global", "reason": reason}],
        "status": "PERMISSION_DENIED",
    }
    if info:
        type_url = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": type_url, "reason": info, "domain": "googleapis.com"}]
    return lambda handler: handler.respond_json(status, {"error": error}, headers)


def respond_html(status: int, headers: dict[str, str] | None = None) -> Responder:
    """Respond with an HTML page, as a proxy does."""
    html = b"<html><title>Error</title><body>That's an error.</body></html>"
    return lambda handler: handler.respond(status, html, "text/html; charset=UTF-8", headers)


def respond_body(content: bytes, status: int = 200) -> Responder:
    """Respond with `content` as the body."""
    return lambda handler: handler.respond(status, content)


def close_connection(handler: Handler) -> None:
    """Read the request and close the connection."""
    handler.disconnect()


def reset_connection(handler: Handler) -> None:
    """Read the request and reset the connection."""
    handler.disconnect(reset=True)


def hang(seconds: float) -> Responder:
    """Read the request, wait for `seconds`, and close the connection without a response."""

    def respond(handler: Handler) -> None:
        handler.google.stopped.wait(seconds)
        handler.disconnect()

    return respond


def respond_slowly(seconds: float) -> Responder:
    """Accept the mail after `seconds`."""

    def respond(handler: Handler) -> None:
        handler.google.stopped.wait(seconds)
        handler.respond_json(200, {"id": "slow", "threadId": "slow"})

    return respond


def respond_when(released: threading.Event) -> Responder:
    """Accept the mail once `released` is set."""

    def respond(handler: Handler) -> None:
        released.wait(TIMEOUT)
        handler.respond_json(200, {"id": "held", "threadId": "held"})

    return respond


def truncate_body(handler: Handler) -> None:
    """Respond 200 with a truncated body."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"id": "mail')
    handler.disconnect()


def send_garbage(handler: Handler) -> None:
    """Read the request and send plain text in a TLS connection, which breaks it."""
    handler.close_connection = True
    os.write(handler.connection.fileno(), b"this is not a TLS record\n")


def reject_grant(handler: Handler) -> None:
    """Respond as the token endpoint does to a revoked grant."""
    handler.respond_json(400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."})
