"""Mail through the Gmail API: the official client, exactly one POST for one attempt."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import responses
from pathlib import Path
from typing import Any, Protocol

from syftnotify.config.values import is_safe_url
from syftnotify.core.errors import ConfigError, DeliveryError, Failure, NotSignedInError
from syftnotify.core.models import Message, Receipt
from syftnotify.core.retry import failure_of_status, parse_retry_after
from syftnotify.core.text import escape
from syftnotify.transports.gmail.auth import Token, file_mark
from syftnotify.transports.http_client import address_of, request
from syftnotify.transports.mime import build_mime

READ_SECONDS = 120  # the documented limit of a mail API call


class SignIn(Protocol):
    """What a sender needs of a sign-in; `google_auth.Token` is one."""

    @property
    def credentials(self) -> Any:
        """Google's credentials object."""

    def refresh(self, *, rejected: str = "") -> None:
        """Make it good, or raise."""


class GmailTransport:
    """Sends with the saved sign-in; reads it when it is first needed, and again when it was replaced."""

    def __init__(
        self,
        token: Path,
        *,
        api_endpoint: str | None = None,
        read_seconds: float = READ_SECONDS,
        clock: Callable[[], float],
    ) -> None:
        self._token = token
        self._endpoint = api_endpoint
        self._read_seconds = read_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._sender: GmailApi | None = None
        self._sign_in: Token | None = None

    def check(self) -> None:
        """Sign in without sending. Raises: DeliveryError."""
        self._api().sign_in()

    def send(self, message: Message) -> Receipt:
        """One attempt. Raises: DeliveryError."""
        return self._api().send(message, date=self._clock())

    def _api(self) -> GmailApi:
        with self._lock:
            if self._sender is None or self._sign_in is None or file_mark(self._token) != self._sign_in.written:
                try:
                    self._sign_in = Token(self._token, seconds=self._read_seconds)
                except NotSignedInError as error:
                    raise DeliveryError(Failure.AUTH, f"{error}; {error.hint}") from error
                self._sender = GmailApi(
                    self._sign_in,
                    api_endpoint=self._endpoint,
                    read_seconds=self._read_seconds,
                )
            return self._sender

    def close(self) -> None:
        """Nothing is kept that the end of its thread does not free."""


class GmailApi:
    """The Gmail API with one sign-in; safe to share between threads.

    Raises:
        ConfigError: `api_endpoint` is neither https nor on this machine.
    """

    def __init__(self, sign_in: SignIn, *, api_endpoint: str | None = None, read_seconds: float = READ_SECONDS) -> None:
        if api_endpoint is not None and not is_safe_url(api_endpoint):
            raise ConfigError("api_endpoint must be an https address (http only on this machine)")
        self._sign_in = sign_in
        self._endpoint = api_endpoint
        self._read_seconds = read_seconds
        self._local = threading.local()
        self._renewed = ""  # the access token that came of a refresh after a 401

    def sign_in(self, *, rejected: str = "") -> None:
        """Make sure that there is a good access token. Raises: DeliveryError."""
        from google.auth.exceptions import GoogleAuthError, TransportError

        try:
            self._sign_in.refresh(rejected=rejected)
        except NotSignedInError as error:
            raise DeliveryError(Failure.AUTH, f"{error}; {error.hint}") from error
        except GoogleAuthError as error:
            # Of other errors the text may repeat what the server sent.
            why = str(error) if isinstance(error, TransportError) else type(error).__name__
            raise DeliveryError(Failure.UNREACHABLE, f"Google's sign-in gave no answer ({why})") from error

    def send(self, message: Message, *, date: float | None = None) -> Receipt:
        """One attempt: one POST at most. Raises: DeliveryError."""
        from googleapiclient.errors import HttpError

        self.sign_in()
        used = str(self._sign_in.credentials.token)
        body: dict[str, str] = {
            "raw": base64.urlsafe_b64encode(build_mime(message, date=date).as_bytes()).decode("ascii")
        }
        if message.thread:
            body["threadId"] = message.thread
        call = self._messages().send(userId="me", body=body)
        try:
            answer = call.execute(num_retries=0)
        except HttpError as error:
            raise self._refused(error, used) from None  # its text may repeat our token
        except ValueError as error:
            # The client's own decoding of a body that is no JSON, after the server had said yes.
            raise DeliveryError(Failure.UNKNOWN, "Gmail's answer was cut off") from error
        if not isinstance(answer, dict) or not isinstance(answer.get("id"), str):
            raise DeliveryError(Failure.UNKNOWN, "Gmail's answer was not understood")
        self._renewed = ""
        return Receipt(provider_id=escape(answer["id"]), thread=escape(str(answer.get("threadId") or "")))

    def _refused(self, error: Any, used: str) -> DeliveryError:
        status = int(error.status_code)
        reason, text = _google_words(error)
        if status == 401:
            if used == self._renewed:
                return DeliveryError(Failure.AUTH, "Gmail refuses the sign-in; sign in with `notify init`")
            self.sign_in(rejected=used)
            self._renewed = str(self._sign_in.credentials.token)
            return DeliveryError(Failure.TOKEN_REFRESHED, "the access token was stale and has been renewed")
        failure = failure_of_status(status, reason=reason)
        moment = parse_retry_after(error.resp.get("retry-after"), datetime.now(UTC), text=text)
        return DeliveryError(failure, f"Gmail answered {status}" + (f" {reason}" if reason else ""), not_before=moment)

    def _messages(self) -> Any:
        """The service of the calling thread: building a request from it costs 0.05 ms, building it 1.4 ms."""
        known = getattr(self._local, "messages", None)
        if known is None:
            from googleapiclient.discovery import build

            service = build(
                "gmail",
                "v1",
                http=_ClientHttp(self._sign_in.credentials, self._read_seconds),
                static_discovery=True,
                cache_discovery=False,
                client_options={"api_endpoint": self._endpoint} if self._endpoint else None,
            )
            known = self._local.messages = service.users().messages()
        return known


class _ClientHttp:
    """The HTTP object of Google's client. Its default, httplib2, repeats a POST when the connection closes."""

    def __init__(self, credentials: Any, seconds: float) -> None:
        self._credentials = credentials
        self._seconds = seconds
        # The client logs the text of an error there, and a server may repeat our token in it.
        logging.getLogger("googleapiclient.http").setLevel(logging.CRITICAL)

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: dict[str, str] | None = None,
        redirections: int = 0,  # noqa: ARG002 - part of the interface; a send is never redirected
        connection_type: Any = None,  # noqa: ARG002 - likewise
    ) -> tuple[Any, bytes]:
        """One request. Raises: DeliveryError, as `net.http.request` does."""
        import httplib2

        sent = {name.lower(): value for name, value in (headers or {}).items()}
        self._credentials.apply(sent)
        content = body.encode("utf-8") if isinstance(body, str) else body or b""
        answer = request(method, address_of(uri), content, sent, seconds=self._seconds)
        response = httplib2.Response(dict(answer.headers))
        response.status = answer.status
        response.reason = responses.get(answer.status, "")
        return response, answer.content


def _google_words(error: Any) -> tuple[str, str]:
    """Google's reason and its text; both empty where a proxy answered with a page of its own.

    The reason stands in `error.errors`, in newer answers (spelled in capitals) also in `error.details`.
    """
    try:
        answer = json.loads(error.content)["error"]
        lists = [answer.get("errors") or [], answer.get("details") or []]
        words = [str(item["reason"]) for items in lists for item in items if "reason" in item]
        text = str(answer.get("message") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""
    return next((word for word in words if word.replace("_", "").isalnum()), ""), text
