"""The saved Google sign-in: reading, refreshing and saving `gmail_token.json`."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syftnotify.config.urls import is_safe_url
from syftnotify.core.errors import DeliveryError, NotSignedInError
from syftnotify.core.text import decode
from syftnotify.system.files import atomic_write, read_regular_file
from syftnotify.system.paths import expand_path
from syftnotify.transports.gmail.client_files import MAX_FILE_BYTES, kind_of

if TYPE_CHECKING:
    from google.oauth2.credentials import Credentials

log = logging.getLogger(__name__)

REFRESH_SECONDS = 120.0  # the default of google-auth
_HINT = "run `notify init` to sign in"
# Keys that syftnotify adds to Google's: the time of consent in seconds since 1970, and its validity in seconds.
_SIGNED_IN_AT = "signed_in_at"
_VALID_SECONDS = "refresh_token_expires_in"
_LATEST_TIMESTAMP = 1e11  # seconds since 1970: the year 5138
# Errors of an OAuth token endpoint after which a retry is useless (RFC 6749, 5.2, and Google's own ones). All others
# are temporary.
_FINAL_ERRORS = frozenset(
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


class SavedToken:
    """A saved sign-in that is refreshed when needed. Safe to share between threads.

    Attributes:
        credentials: the credentials of google-auth.
        version: `file_version` of the file when it was read or saved.
    """

    def __init__(self, path: str | Path, *, seconds: float = REFRESH_SECONDS) -> None:
        """Read the file. `seconds` is the time limit of a refresh.

        Raises:
            NotSignedInError: there is no token, or it cannot be read.
        """
        self._path = expand_path(path)
        self._seconds = seconds
        self._lock = threading.Lock()
        self.version = file_version(self._path)
        self._info = _read(self._path)
        self.credentials = _credentials(self._info, self._path)

    def refresh(self, *, rejected: str = "") -> None:
        """Refresh the access token and save it, unless it is still valid.

        Args:
            rejected: an access token that the API rejected before it expired. If it is the current one, it is
                refreshed, too.

        Raises:
            NotSignedInError: Google does not accept the sign-in any more.
            google.auth.exceptions.GoogleAuthError: the refresh failed, and may succeed later.
        """
        ends_at = time.monotonic() + self._seconds
        if not self._lock.acquire(timeout=self._seconds):
            from google.auth.exceptions import TransportError

            raise TransportError("another refresh has not ended yet")
        try:
            is_new = refresh_credentials(self.credentials, rejected=rejected, seconds=ends_at - time.monotonic())
            if is_new and file_version(self._path) == self.version:  # otherwise a newer sign-in replaced the file
                self._save()
        finally:
            self._lock.release()

    def _save(self) -> None:
        """Save what the refresh changed; keys of other programs stay as they are."""
        fresh = json.loads(self.credentials.to_json())
        self._info |= {key: fresh[key] for key in ("token", "expiry", "refresh_token") if key in fresh}
        try:
            _write(self._path.resolve(), self._info)  # a symbolic link to a shared file stays a link
            self.version = file_version(self._path)
        except OSError as error:  # the token still works; the next start refreshes it again
            log.warning("%s cannot be saved: %s", self._path, error.strerror)


def save_consent(path: Path, credentials: Credentials, valid_seconds: Any) -> None:
    """Save a new sign-in.

    `valid_seconds` is for how long it is valid, as Google sent it; None if it does not expire.
    """
    own = {_SIGNED_IN_AT: int(time.time()), _VALID_SECONDS: valid_seconds}
    info = {**json.loads(credentials.to_json()), **{key: value for key, value in own.items() if value is not None}}
    _write(path, info)


def refresh_credentials(credentials: Credentials, *, rejected: str = "", seconds: float = REFRESH_SECONDS) -> bool:
    """Refresh `credentials` unless they are valid and not `rejected`; returns whether they were refreshed.

    Raises:
        NotSignedInError, google.auth.exceptions.GoogleAuthError: as `SavedToken.refresh`.
    """
    from google.auth.exceptions import RefreshError, TransportError

    from syftnotify.transports.gmail.http_adapters import auth_request

    if credentials.valid and credentials.token != rejected:
        return False
    if not credentials.refresh_token:
        raise NotSignedInError("the Google sign-in has expired and cannot be renewed", hint=_HINT)
    # This logger warns about scopes that were not granted. Gmail itself rejects a token without the necessary scope.
    logging.getLogger("google.oauth2.credentials").setLevel(logging.ERROR)
    try:
        credentials.refresh(auth_request(seconds))
    except RefreshError as error:
        reason = _error_code(error)
        if error.retryable or reason not in _FINAL_ERRORS:
            raise
        raise NotSignedInError(f"Google does not accept the sign-in any more ({reason})", hint=_HINT) from None
    except DeliveryError as error:
        raise TransportError(str(error)) from None
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        # google-auth raises these for a response that is no token: a page of a proxy, or one that was cut off.
        raise TransportError("the response of the token endpoint was not understood") from error
    return True


def sign_in_ends(path: Path) -> float | None:
    """When the sign-in in a token file expires, in seconds since 1970; None if Google named no end at the consent.

    Refresh tokens of apps in the state *Testing* expire after 7 days; the token itself does not contain its end.
    """
    consent = _consent(path)
    return None if consent is None or consent[1] is None else consent[0] + consent[1]


def signed_in_at(path: Path) -> float | None:
    """When the consent for a token file was given, in seconds since 1970; None if it is not recorded."""
    consent = _consent(path)
    return consent[0] if consent else None


def file_version(path: Path) -> tuple[int, int, int]:
    """Inode, time of the last change in ns, and size: they change when a file is replaced or overwritten.

    Zeros if there is no file.
    """
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_mtime_ns, status.st_size


def _credentials(info: dict[str, Any], path: Path) -> Credentials:
    """The credentials in `info`, the content of the token file `path`."""
    from google.oauth2.credentials import Credentials

    try:
        # A refresh that names scopes returns a token for only these, or is refused. Without them the token keeps all
        # scopes of the sign-in, which other programs that share the file may need.
        unscoped = {key: value for key, value in info.items() if key != "scopes"}
        credentials = Credentials.from_authorized_user_info(unscoped)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        kind = kind_of(info)
        problem = f"is {kind}, not a saved sign-in" if kind else "is not a Google token"
        raise NotSignedInError(f"{path} {problem}", hint=_HINT) from error
    # google-auth ignores the file's `token_uri`.
    uri = info.get("token_uri")
    if isinstance(uri, str) and uri:
        if not is_safe_url(uri):
            raise NotSignedInError(f"{path}: token_uri must be an https URL (http only for this machine)", hint=_HINT)
        expiry = credentials.expiry  # `with_token_uri` drops it, and then the copy would never expire
        credentials = credentials.with_token_uri(uri)
        credentials.expiry = expiry
    return credentials


def _consent(path: Path) -> tuple[float, float | None] | None:
    """When consent was given, and for how many seconds it is valid."""
    try:
        info = _read(path)
    except NotSignedInError:
        return None
    given_at = _plausible(info.get(_SIGNED_IN_AT))
    return None if given_at is None else (given_at, _plausible(info.get(_VALID_SECONDS)))


def _plausible(seconds: Any) -> float | None:
    """A number of seconds that `datetime` supports; None for anything else, because a user may have edited the file."""
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return float(seconds) if is_number and 0 < seconds < _LATEST_TIMESTAMP else None


def _error_code(error: Exception) -> str:
    """Google's code for a rejected refresh, without the rest of the response; `refused` if there is none."""
    response = error.args[1] if len(error.args) > 1 else None
    code = response.get("error") if isinstance(response, dict) else None
    return code if isinstance(code, str) and code.replace("_", "").isalnum() else "refused"


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a token file. Raises: NotSignedInError."""
    try:
        info = json.loads(decode(read_regular_file(path, MAX_FILE_BYTES)))
    except FileNotFoundError:
        raise NotSignedInError(f"there is no Google sign-in at {path}", hint=_HINT) from None
    except (OSError, ValueError, RecursionError) as error:
        raise NotSignedInError(f"{path} cannot be read as a token", hint=_HINT) from error
    if not isinstance(info, dict):
        raise NotSignedInError(f"{path} is not a Google token", hint=_HINT)
    return info


def _write(path: Path, info: dict[str, Any]) -> None:
    atomic_write(path, json.dumps(info, indent=1).encode("utf-8"))
