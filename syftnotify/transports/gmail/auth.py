"""Google sign-in: once, with a person's consent; afterwards by the saved token."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from syftnotify.config.values import is_safe_url
from syftnotify.core.errors import DeliveryError, NotSignedInError
from syftnotify.core.text import decode
from syftnotify.system.files import atomic_write, read_regular_file
from syftnotify.system.paths import expand_path
from syftnotify.transports.gmail.client_files import LARGEST, client_secrets, kind_of

if TYPE_CHECKING:
    from google.oauth2.credentials import Credentials

SCOPES = ("https://www.googleapis.com/auth/gmail.send",)
TOKEN_NAME = "gmail_token.json"  # noqa: S105 - a file name
_CONSENT_SECONDS = 600
# Our own keys in the token file, beside Google's: when consent was given, and for how many seconds it is good.
_SIGNED_IN_AT = "signed_in_at"
_GOOD_FOR = "refresh_token_expires_in"
_FARTHEST = 1e11  # seconds: the year 5138

REFRESH_SECONDS = 120.0  # as Google's own library
_CONSENT = {"access_type": "offline", "prompt": "consent"}
_SIGN_IN = "sign in with `notify init`"
_AGAIN = "run `notify init` again"
# What OAuth's token endpoint says when no repetition will help (RFC 6749, 5.2). Anything else is trouble that passes.
_FINAL = frozenset(
    {
        "invalid_grant",
        "invalid_client",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
        "deleted_client",
        "disabled_client",
        "access_denied",
    }
)


class GmailAuth:
    """Gets and keeps the permission to send mail for an account, and no other (`gmail.send`).

    Args:
        timeout_secs: limit of each request to Google, in seconds.
    """

    def __init__(self, *, timeout_secs: float = REFRESH_SECONDS) -> None:
        self._seconds = timeout_secs

    def setup_auth(
        self,
        credentials_path: str | Path,
        *,
        open_browser: bool = True,
        ask: Callable[[str], str] | None = None,
        show: Callable[[str], None] = print,
    ) -> Credentials:
        """Ask for consent, once, and save the token as `gmail_token.json` beside `credentials_path`.

        Args:
            credentials_path: the client secrets of a "Desktop app", as Google's console gives them.
            open_browser: whether to open one on this machine; otherwise the address is only shown.
            ask: for machines without a browser: is given the address to open elsewhere, and returns the whole address
                on which that browser ended. Its state and PKCE proof are checked.
            show: is given the line with the address to open on this machine.

        Raises:
            NotSignedInError: the file is missing or of another kind, or consent was not given.
        """
        from google_auth_oauthlib.flow import InstalledAppFlow
        from oauthlib.oauth2 import OAuth2Error

        path = expand_path(credentials_path)
        flow = InstalledAppFlow.from_client_config(client_secrets(path), scopes=list(SCOPES))
        _bound_requests(flow.oauth2session, self._seconds)
        with _lenient_oauthlib():
            try:
                answer = _pasted(flow, ask) if ask is not None else _redirected(flow, show, open_browser=open_browser)
                # oauthlib insists on https in an address that never leaves this machine.
                flow.fetch_token(authorization_response=answer.replace("http://", "https://", 1))
            except webbrowser.Error as error:
                raise NotSignedInError(
                    "there is no browser on this machine",
                    hint="run `notify init --no-browser` and use one on another machine",
                ) from error
            except DeliveryError as error:
                raise NotSignedInError(f"the sign-in could not be finished: {error}", hint=_AGAIN) from None
            except (OAuth2Error, ValueError) as error:
                raise NotSignedInError(f"Google did not give consent ({type(error).__name__})", hint=_AGAIN) from error
            except OSError as error:
                raise NotSignedInError(
                    f"the sign-in could not be finished ({type(error).__name__})", hint=_AGAIN
                ) from error
        credentials: Credentials = flow.credentials
        granted = getattr(credentials, "granted_scopes", None)
        if granted and not set(SCOPES) & set(granted):
            raise NotSignedInError(
                "consent was given, but not to send mail", hint="run `notify init` again, and leave the box ticked"
            )
        kept = {_SIGNED_IN_AT: int(time.time()), _GOOD_FOR: flow.oauth2session.token.get(_GOOD_FOR)}
        info = {**json.loads(credentials.to_json()), **{key: value for key, value in kept.items() if value is not None}}
        _save(path.with_name(TOKEN_NAME), info)
        return credentials

    def load_credentials(self, token_path: str | Path) -> Credentials:
        """Valid credentials from a saved token, refreshed (and saved again) when they have expired.

        Raises:
            NotSignedInError: there is no token, it is not readable, or Google does not accept it any more.
            google.auth.exceptions.TransportError: Google could not be reached for the refresh.
        """
        token = Token(token_path, seconds=self._seconds)
        token.refresh()
        return token.credentials


class Token:
    """A saved sign-in, kept fresh; safe to share between threads.

    Raises:
        NotSignedInError: there is no token, or it is not readable.
    """

    def __init__(self, path: str | Path, *, seconds: float = REFRESH_SECONDS) -> None:
        """`seconds` limits a refresh."""
        from google.oauth2.credentials import Credentials

        self._path = expand_path(path)
        self._seconds = seconds
        self._lock = threading.Lock()
        self.written = file_mark(self._path)
        info = _token_info(self._path)
        try:
            # A refresh that names scopes gets an access token for these alone: without any it keeps those of the
            # sign-in, which other programs that share the file may need.
            unscoped = {key: value for key, value in info.items() if key != "scopes"}
            credentials = Credentials.from_authorized_user_info(unscoped, None if info.get("scopes") else list(SCOPES))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            kind = kind_of(info)
            what = f"is {kind}, not a saved sign-in" if kind else "is no Google token"
            raise NotSignedInError(f"{self._path} {what}", hint=_SIGN_IN) from error
        # The library ignores the file's `token_uri`.
        uri = info.get("token_uri")
        if isinstance(uri, str) and uri:
            if not is_safe_url(uri):
                raise NotSignedInError(f"{self._path}: token_uri must be https (http only on this machine)")
            expiry = credentials.expiry  # which the copy would lose, and be valid for ever
            credentials = credentials.with_token_uri(uri)
            credentials.expiry = expiry
        self._info = info
        self.credentials = credentials

    def refresh(self, *, rejected: str = "") -> None:
        """Make the access token good, if it is not, and save it.

        Args:
            rejected: an access token that was refused although it had not expired; it is replaced.

        Raises:
            NotSignedInError: Google does not accept the sign-in any more.
            google.auth.exceptions.GoogleAuthError: it could not be done now, but may later.
        """
        until = time.monotonic() + self._seconds
        if not self._lock.acquire(timeout=self._seconds):
            from google.auth.exceptions import TransportError

            raise TransportError("another refresh has not ended yet")
        try:
            is_new = refreshed(self.credentials, rejected=rejected, seconds=until - time.monotonic())
            if is_new and file_mark(self._path) == self.written:  # otherwise a newer sign-in replaced it: keep that one
                self._write()
        finally:
            self._lock.release()

    def _write(self) -> None:
        """Save what the refresh changed; every other key belongs to the program that wrote it."""
        fresh = json.loads(self.credentials.to_json())
        self._info |= {key: fresh[key] for key in ("token", "expiry", "refresh_token") if key in fresh}
        try:
            _save(self._path.resolve(), self._info)  # the file itself, where a link leads to one that is shared
            self.written = file_mark(self._path)
        except OSError:
            # A token that cannot be saved still works; the next start refreshes it again.
            return


def refreshed(credentials: Credentials, *, rejected: str = "", seconds: float = REFRESH_SECONDS) -> bool:
    """Refresh `credentials` unless they are good; returns whether that was needed. Raises as `Token.refresh` does."""
    from google.auth.exceptions import RefreshError, TransportError

    if credentials.valid and credentials.token != rejected:
        return False
    if not credentials.refresh_token:
        raise NotSignedInError("the Google sign-in has expired and cannot be renewed", hint=_SIGN_IN)
    # It warns there of scopes that were not granted. Gmail itself refuses a token without the one that is needed.
    logging.getLogger("google.oauth2.credentials").setLevel(logging.ERROR)
    try:
        credentials.refresh(_requests_within(seconds))
    except RefreshError as error:
        reason = _reason(error)
        if error.retryable or reason not in _FINAL:
            raise
        raise NotSignedInError(f"Google does not accept the sign-in any more ({reason})", hint=_SIGN_IN) from None
    except DeliveryError as error:
        raise TransportError(str(error)) from None
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        # The library's own failure at a response that is no token: the page of a proxy, or one that was cut off.
        raise TransportError("the token endpoint's answer was not understood") from error
    return True


def _requests_within(seconds: float) -> Callable[..., Any]:
    """The function by which Google's library sends requests; `seconds` is the limit for all of them together."""
    from syftnotify.transports.http_client import address_of, request

    until = time.monotonic() + seconds

    def send(url: str, method: str = "GET", body: Any = None, headers: Any = None, **_more: Any) -> Any:
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        answer = request(method, address_of(url), body or b"", sent, seconds=max(0.0, until - time.monotonic()))
        return SimpleNamespace(status=answer.status, headers=answer.headers, data=answer.content)

    return send


def _bound_requests(session: Any, seconds: float) -> None:
    """Let a session of `requests` send through `net.http`, without redirects, each request within `seconds`."""
    import requests
    from requests.adapters import BaseAdapter

    send_within = _requests_within

    class Adapter(BaseAdapter):
        def send(self, request: requests.PreparedRequest, *_arguments: Any, **_more: Any) -> requests.Response:
            body = request.body.encode("utf-8") if isinstance(request.body, str) else request.body
            answer = send_within(seconds)(request.url, request.method, body, request.headers)
            response = requests.Response()
            response.status_code = answer.status
            response.headers.update(answer.headers)
            response.encoding = "utf-8"
            response.raw = io.BytesIO(answer.data)
            response.request, response.url = request, str(request.url)
            return response

        def close(self) -> None:
            """Nothing is kept."""

    session.trust_env = False  # no passwords of a .netrc; proxies and certificates are the business of `net.http`
    session.max_redirects = 0
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter())


def sign_in_ends(path: Path) -> float | None:
    """When the sign-in in a token file will die, in seconds since 1970, where Google said so at the consent.

    It does so for apps in its *Testing* state, whose refresh tokens live for 7 days; a token tells nothing else.
    """
    given = _consent(path)
    return None if given is None or given[1] is None else given[0] + given[1]


def signed_in_at(path: Path) -> float | None:
    """When consent for a token file was given, in seconds since 1970, where that was written down."""
    given = _consent(path)
    return given[0] if given else None


def _consent(path: Path) -> tuple[float, float | None] | None:
    """When consent was given, and for how many seconds it holds."""
    try:
        info = _token_info(path)
    except NotSignedInError:
        return None
    at = _plausible(info.get(_SIGNED_IN_AT))
    return None if at is None else (at, _plausible(info.get(_GOOD_FOR)))


def _plausible(seconds: Any) -> float | None:
    """A number of seconds that a calendar can hold, else None: anybody may have edited the file."""
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return float(seconds) if is_number and 0 < seconds < _FARTHEST else None


def file_mark(path: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced or written over; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size


def _token_info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(decode(read_regular_file(path, LARGEST)))
    except FileNotFoundError:
        raise NotSignedInError(f"there is no Google sign-in at {path}", hint=_SIGN_IN) from None
    except (OSError, ValueError, RecursionError) as error:
        raise NotSignedInError(f"{path} cannot be read as a token", hint=_SIGN_IN) from error
    if not isinstance(info, dict):
        raise NotSignedInError(f"{path} is no Google token", hint=_SIGN_IN)
    return info


def _save(path: Path, info: dict[str, Any]) -> None:
    atomic_write(path, json.dumps(info, indent=1).encode("utf-8"))


def _redirected(flow: Any, show: Callable[[str], None], *, open_browser: bool) -> str:
    """Consent given in a browser on this machine: the address of the redirect."""
    from syftnotify.transports.gmail.redirect import redirect_server

    with redirect_server() as server:
        flow.redirect_uri = server.url
        url, server.state = flow.authorization_url(**_CONSENT)
        if open_browser:
            webbrowser.get().open(url, new=1)
        show(f"Open this address in a browser on this machine, if none opened: {url}")
        answer = server.wait(_CONSENT_SECONDS)
    if answer is None:
        raise NotSignedInError(f"no consent was given within {_CONSENT_SECONDS // 60} minutes", hint=_AGAIN)
    return answer


def _pasted(flow: Any, ask: Callable[[str], str]) -> str:
    """Consent given in a browser elsewhere, whose redirect address is not served here: that address."""
    flow.redirect_uri = "http://127.0.0.1:8085/"
    url, _ = flow.authorization_url(**_CONSENT)
    answer = ask(url).strip()
    if not answer or "code=" not in urlsplit(answer).query:
        raise ValueError("not the whole address")
    return answer


def _reason(error: Exception) -> str:
    """Google's code for a refused refresh, and nothing else of its answer."""
    answer = error.args[1] if len(error.args) > 1 else None
    word = answer.get("error") if isinstance(answer, dict) else None
    return word if isinstance(word, str) and word.replace("_", "").isalnum() else "refused"


@contextmanager
def _lenient_oauthlib() -> Iterator[None]:
    """Let oauthlib use an http token endpoint on this machine, and take a widened scope for no error.

    What it must not do is checked before and after: the endpoints are safe, and the scope holds what was asked for.
    """
    names = ("OAUTHLIB_INSECURE_TRANSPORT", "OAUTHLIB_RELAX_TOKEN_SCOPE")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
