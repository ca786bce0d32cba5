"""Signing in to Google: once, with a person's consent; afterwards by the saved token."""

from __future__ import annotations

import json
import os
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from syftnotify.config import is_safe_url
from syftnotify.errors import NotSignedInError
from syftnotify.files import write_whole
from syftnotify.paths import expanded

if TYPE_CHECKING:
    from google.oauth2.credentials import Credentials

SCOPES = ("https://www.googleapis.com/auth/gmail.send",)
TOKEN_NAME = "gmail_token.json"  # noqa: S105 - a file name
_CONSENT_SECONDS = 600
# Our own keys in the token file, beside Google's: when consent was given, and for how many seconds it is good.
_SIGNED_IN_AT = "signed_in_at"
_GOOD_FOR = "refresh_token_expires_in"
_FARTHEST = 1e11  # seconds: the year 5138

_SIGN_IN = "sign in with `notify init`"
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
    """Gets and keeps the right to send mail in somebody's name; nothing more than that (`gmail.send`)."""

    def setup_auth(
        self,
        credentials_path: str | Path,
        *,
        open_browser: bool = True,
        ask: Callable[[str], str] | None = None,
    ) -> Credentials:
        """Ask for consent, once, and save the token as `gmail_token.json` beside `credentials_path`.

        Args:
            credentials_path: the client secrets of a "Desktop app", as Google's console gives them.
            open_browser: whether to open one on this machine; else the address is only printed.
            ask: for machines without a browser: is given the address to open elsewhere, and returns the whole address
                on which that browser ended. Its state and PKCE proof are checked.

        Raises:
            NotSignedInError: the file is missing or of another kind, or consent was not given.
        """
        from google_auth_oauthlib.flow import InstalledAppFlow
        from oauthlib.oauth2 import OAuth2Error

        path = expanded(credentials_path)
        _check_client_secrets(path)
        try:
            flow = InstalledAppFlow.from_client_secrets_file(str(path), scopes=list(SCOPES))
        except ValueError as error:
            raise NotSignedInError(
                f"{path} holds no client secrets of a desktop app",
                hint="in Google's console create an OAuth client of type 'Desktop app' and download its JSON",
            ) from error
        with _lenient_oauthlib():
            try:
                if ask is None:
                    credentials = flow.run_local_server(
                        port=0, open_browser=open_browser, timeout_seconds=_CONSENT_SECONDS, **_CONSENT
                    )
                else:
                    credentials = _pasted(flow, ask)
            except webbrowser.Error as error:
                raise NotSignedInError(
                    "there is no browser on this machine",
                    hint="say `notify init --no-browser` and use one on another machine",
                ) from error
            except AttributeError as error:  # the library's way to say that the browser never came back
                raise NotSignedInError(
                    f"nobody gave consent within {_CONSENT_SECONDS // 60} minutes", hint="try again: `notify init`"
                ) from error
            except (OAuth2Error, ValueError) as error:
                raise NotSignedInError(
                    f"Google did not give consent ({type(error).__name__})", hint="try again: `notify init`"
                ) from error
            except OSError as error:
                raise NotSignedInError("Google could not be reached to finish the sign-in") from error
        granted = getattr(credentials, "granted_scopes", None)
        if granted and not set(SCOPES) & set(granted):
            raise NotSignedInError(
                "consent was given, but not to send mail", hint="try again: `notify init`, and leave the box ticked"
            )
        _save(
            path.with_name(TOKEN_NAME),
            credentials,
            {_SIGNED_IN_AT: int(time.time()), _GOOD_FOR: flow.oauth2session.token.get(_GOOD_FOR)},
        )
        return credentials

    def load_credentials(self, token_path: str | Path) -> Credentials:
        """Valid credentials from a saved token, refreshed (and saved again) when they have expired.

        Raises:
            NotSignedInError: there is no token, it is not readable, or Google does not accept it any more.
            google.auth.exceptions.TransportError: Google could not be reached for the refresh.
        """
        token = Token(token_path)
        token.refresh()
        return token.credentials


# Google's own library waits so long.
REFRESH_SECONDS = 120.0
_CONSENT = {"access_type": "offline", "prompt": "consent"}


class Token:
    """A saved sign-in, kept fresh; safe to share between threads.

    Raises:
        NotSignedInError: there is no token, or it is not readable.
    """

    def __init__(self, path: str | Path, *, seconds: float = REFRESH_SECONDS) -> None:
        """`seconds` is how long a refresh may wait for an answer."""
        from google.oauth2.credentials import Credentials

        self._path = expanded(path)
        self._seconds = seconds
        self._lock = threading.Lock()
        self.written = file_mark(self._path)
        info = _token_info(self._path)
        try:
            credentials = Credentials.from_authorized_user_info(info, list(SCOPES))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotSignedInError(f"{self._path} is no Google token", hint=_SIGN_IN) from error
        # The library knows only Google's own address; a file that names another one means it.
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
        with self._lock:
            is_new = refreshed(self.credentials, rejected=rejected, seconds=self._seconds)
            if not is_new or file_mark(self._path) != self.written:
                return  # still good, or somebody signed in anew meanwhile, whose token must not be written over
            try:
                _save(self._path, self.credentials, self._info)
                self.written = file_mark(self._path)
            except OSError:
                # A token that cannot be saved still works; the next start refreshes it again.
                return


def refreshed(credentials: Credentials, *, rejected: str = "", seconds: float = REFRESH_SECONDS) -> bool:
    """Refresh `credentials` unless they are good; returns whether that was needed. Raises as `Token.refresh` does."""
    from google.auth.exceptions import RefreshError, TransportError
    from google.auth.transport.requests import Request

    if credentials.valid and credentials.token != rejected:
        return False
    if not credentials.refresh_token:
        raise NotSignedInError("the Google sign-in has expired and cannot be renewed", hint=_SIGN_IN)
    try:
        credentials.refresh(partial(Request(), timeout=seconds))
    except RefreshError as error:
        reason = _reason(error)
        if error.retryable or reason not in _FINAL:
            raise
        raise NotSignedInError(f"Google does not accept the sign-in any more ({reason})", hint=_SIGN_IN) from None
    except OSError as error:  # a missing certificate bundle, say
        raise TransportError(f"the token endpoint could not be asked ({type(error).__name__})") from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        # The library's own stumbling over an answer that is no token: some proxy's page.
        raise TransportError("the token endpoint's answer was not understood") from error
    return True


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


def _check_client_secrets(path: Path) -> None:
    hint = "download it from Google's console (OAuth client, type 'Desktop app') and place it there"
    try:
        loaded = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotSignedInError(f"there is no {path}", hint=hint) from None
    except (OSError, ValueError) as error:
        raise NotSignedInError(f"{path} cannot be read as JSON", hint=hint) from error
    inner = (
        next((value for value in loaded.values() if isinstance(value, dict)), {}) if isinstance(loaded, dict) else {}
    )
    for key in ("auth_uri", "token_uri"):
        if not is_safe_url(str(inner.get(key, ""))):
            raise NotSignedInError(f"{path}: {key} must be an https address (http only on this machine)", hint=hint)


def _token_info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotSignedInError(f"there is no Google sign-in at {path}", hint=_SIGN_IN) from None
    except (OSError, ValueError, RecursionError) as error:
        raise NotSignedInError(f"{path} cannot be read as a token", hint=_SIGN_IN) from error
    if not isinstance(info, dict):
        raise NotSignedInError(f"{path} is no Google token", hint=_SIGN_IN)
    return info


def _save(path: Path, credentials: Credentials, more: dict[str, Any]) -> None:
    known = json.loads(credentials.to_json())
    kept = {key: more[key] for key in (_SIGNED_IN_AT, _GOOD_FOR) if more.get(key) is not None}
    write_whole(path, json.dumps({**known, **kept}, indent=1).encode("utf-8"))


def _pasted(flow: Any, ask: Callable[[str], str]) -> Credentials:
    """Consent given in a browser elsewhere: it ends on an address that nobody serves, and that address says it all."""
    flow.redirect_uri = "http://127.0.0.1:8085/"
    url, _ = flow.authorization_url(**_CONSENT)
    answer = ask(url).strip()
    if not answer or "code=" not in urlsplit(answer).query:
        raise ValueError("not the whole address")
    # oauthlib insists on https in an address that never travels.
    flow.fetch_token(authorization_response=answer.replace("http://", "https://", 1))
    credentials: Credentials = flow.credentials
    return credentials


def _reason(error: Exception) -> str:
    """Google's word for a refused refresh, and nothing else of its answer."""
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
