"""E-mail through the Gmail API, with Google's client library and at most one POST per attempt."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from syftnotify.config.urls import is_safe_url
from syftnotify.core.errors import ConfigError, DeliveryError, Failure, NotSignedInError
from syftnotify.core.models import Message, Receipt
from syftnotify.core.retry import failure_of_status, parse_retry_after
from syftnotify.core.text import escape
from syftnotify.transports.gmail.http_adapters import ApiHttp
from syftnotify.transports.gmail.token_file import SavedToken, file_version
from syftnotify.transports.mime import build_mime

TIMEOUT_SECONDS = 120  # the documented limit of a mail API call


class RefreshableCredentials(Protocol):
    """Credentials and a way to refresh them, such as `SavedToken`."""

    @property
    def credentials(self) -> Any:
        """The credentials object of google-auth."""

    def refresh(self, *, rejected: str = "") -> None:
        """Refresh the access token unless it is valid and not `rejected`.

        Raises:
            NotSignedInError: Google does not accept the sign-in any more.
            google.auth.exceptions.GoogleAuthError: the refresh failed, and may succeed later.
        """


class GmailTransport:
    """Sends with the sign-in saved in a file, which is read at the first use and again after the file was replaced."""

    def __init__(
        self,
        token: Path,
        *,
        api_endpoint: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        clock: Callable[[], float],
    ) -> None:
        """Set up without reading the token.

        Args:
            token: the file with the saved sign-in.
            api_endpoint: another URL of the API: a proxy, an emulator.
            timeout: time limit of one request, in seconds.
            clock: seconds since 1970.
        """
        self._path = token
        self._endpoint = api_endpoint
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._api: GmailApi | None = None
        self._token: SavedToken | None = None

    def check(self) -> None:
        """Refresh the access token if necessary. Raises: DeliveryError."""
        self._current_api().refresh()

    def send(self, message: Message) -> Receipt:
        """Make one attempt. Raises: DeliveryError."""
        return self._current_api().send(message, date=self._clock())

    def _current_api(self) -> GmailApi:
        with self._lock:
            if self._api is None or self._token is None or file_version(self._path) != self._token.version:
                try:
                    self._token = SavedToken(self._path, seconds=self._timeout)
                except NotSignedInError as error:
                    raise DeliveryError(Failure.AUTH, f"{error}; {error.hint}") from error
                self._api = GmailApi(self._token, api_endpoint=self._endpoint, timeout=self._timeout)
            return self._api

    def close(self) -> None:
        """Nothing is kept open."""


class GmailApi:
    """The Gmail API for one account. Safe to share between threads."""

    def __init__(
        self, token: RefreshableCredentials, *, api_endpoint: str | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        """`timeout` is the time limit of one request, in seconds.

        Raises:
            ConfigError: `api_endpoint` is neither https nor on this machine.
        """
        if api_endpoint is not None and not is_safe_url(api_endpoint):
            raise ConfigError("api_endpoint must be an https URL (http only for this machine)")
        self._token = token
        self._endpoint = api_endpoint
        self._timeout = timeout
        self._local = threading.local()
        self._refreshed = ""  # the access token of a refresh after a 401
        self._lost_threads: set[str] = set()  # conversations that Gmail refuses

    def refresh(self, *, rejected: str = "") -> None:
        """Refresh the access token unless it is valid and not `rejected`. Raises: DeliveryError."""
        from google.auth.exceptions import GoogleAuthError, TransportError

        try:
            self._token.refresh(rejected=rejected)
        except NotSignedInError as error:
            raise DeliveryError(Failure.AUTH, f"{error}; {error.hint}") from error
        except GoogleAuthError as error:
            # The text of other errors may repeat what the server sent.
            reason = str(error) if isinstance(error, TransportError) else type(error).__name__
            raise DeliveryError(Failure.UNREACHABLE, f"Google's sign-in could not be refreshed ({reason})") from error

    def send(self, message: Message, *, date: float | None = None) -> Receipt:
        """Make one attempt, with at most one POST. Raises: DeliveryError."""
        from googleapiclient.errors import HttpError

        self.refresh()
        used_token = str(self._token.credentials.token)
        body: dict[str, str] = {
            "raw": base64.urlsafe_b64encode(build_mime(message, date=date).as_bytes()).decode("ascii")
        }
        thread = message.thread if message.thread not in self._lost_threads else ""
        if thread:
            body["threadId"] = thread
        call = self._messages().send(userId="me", body=body)
        try:
            sent = call.execute(num_retries=0)
        except HttpError as error:
            raise self._error(error, used_token, thread) from None  # its text may repeat the token
        except ValueError as error:
            # googleapiclient raises it for a body that is not JSON, after a 2xx status.
            raise DeliveryError(Failure.UNKNOWN, "Gmail's response was cut off") from error
        if not isinstance(sent, dict) or not isinstance(sent.get("id"), str):
            raise DeliveryError(Failure.UNKNOWN, "Gmail's response was not understood")
        self._refreshed = ""
        return Receipt(provider_id=escape(sent["id"]), thread=escape(str(sent.get("threadId") or "")))

    def _error(self, error: Any, used_token: str, thread: str) -> DeliveryError:
        """The error that `error`, an HttpError, means; `used_token` and `thread` are those of the request.

        After a 401 the token is refreshed once. A 401 with that new token means that the sign-in is not accepted. A
        request that is refused may be so for its conversation, which the user has deleted: the next one has none.
        """
        status = int(error.status_code)
        if status in {400, 404} and thread:
            self._lost_threads.add(thread)
            return DeliveryError(Failure.CORRECTED, "Gmail refused the conversation; the mail begins a new one")
        reason, text = _reason_and_text(error)
        if status == 401:
            if used_token == self._refreshed:
                return DeliveryError(Failure.AUTH, "Gmail refuses the sign-in; run `notify init` to sign in")
            self.refresh(rejected=used_token)
            self._refreshed = str(self._token.credentials.token)
            return DeliveryError(Failure.CORRECTED, "the access token had expired and was refreshed")
        failure = failure_of_status(status, reason=reason)
        not_before = parse_retry_after(error.resp.get("retry-after"), datetime.now(UTC), text=text)
        return DeliveryError(failure, f"Gmail answered {status} {reason}".rstrip(), not_before=not_before)

    def _messages(self) -> Any:
        """The API's `users.messages`, built once per thread: that takes 1.4 ms, a request from it 0.05 ms."""
        messages = getattr(self._local, "messages", None)
        if messages is None:
            from googleapiclient.discovery import build

            service = build(
                "gmail",
                "v1",
                http=ApiHttp(self._token.credentials, self._timeout),
                static_discovery=True,
                cache_discovery=False,
                client_options={"api_endpoint": self._endpoint} if self._endpoint else None,
            )
            messages = self._local.messages = service.users().messages()
        return messages


def _reason_and_text(error: Any) -> tuple[str, str]:
    """The reason and the message in Google's response; both empty for a response of others, such as a proxy's page.

    The reason is in `error.errors`, in newer responses also in `error.details`, there in upper case.
    """
    try:
        content = json.loads(error.content)["error"]
        lists = [content.get("errors") or [], content.get("details") or []]
        reasons = [str(item["reason"]) for items in lists for item in items if "reason" in item]
        text = str(content.get("message") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""
    return next((reason for reason in reasons if reason.replace("_", "").isalnum()), ""), text
