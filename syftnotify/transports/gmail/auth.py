"""Google sign-in with a user's consent (OAuth 2.0 for desktop apps)."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from syftnotify.core.errors import DeliveryError, NotSignedInError
from syftnotify.system.paths import TOKEN_NAME, expand_path
from syftnotify.transports.gmail.client_files import client_secrets
from syftnotify.transports.gmail.token_file import REFRESH_SECONDS, SavedToken, save_consent

if TYPE_CHECKING:
    from google.oauth2.credentials import Credentials

_SCOPES = ("https://www.googleapis.com/auth/gmail.send",)
_CONSENT_SECONDS = 600
_CONSENT_OPTIONS = {"access_type": "offline", "prompt": "consent"}
_UNSERVED_REDIRECT = "http://127.0.0.1:8085/"  # no server listens here: the user copies the URL from the browser
_HINT = "run `notify init` again"


class GmailAuth:
    """Gets and refreshes the permission to send mail for an account, and no other permission (scope `gmail.send`).

    Args:
        timeout_secs: time limit of each request to Google, in seconds.
    """

    def __init__(self, *, timeout_secs: float = REFRESH_SECONDS) -> None:
        self._seconds = timeout_secs

    def setup_auth(
        self,
        credentials_path: str | Path,
        *,
        token_path: str | Path | None = None,
        open_browser: bool = True,
        ask: Callable[[str], str] | None = None,
        show: Callable[[str], None] = print,
    ) -> Credentials:
        """Ask the user for consent and save the token.

        Args:
            credentials_path: the client secrets of a "Desktop app", as downloaded from Google's console.
            token_path: where to save the token; None: `gmail_token.json` beside `credentials_path`.
            open_browser: whether to open a browser on this machine; otherwise the URL is only shown.
            ask: for machines without a browser: receives the URL to open on another machine, and returns the complete
                URL to which that browser was redirected. Its state and PKCE proof are verified. None: a browser on this
                machine is used.
            show: receives the line with the URL to open on this machine.

        Raises:
            NotSignedInError: the client secrets are missing or of another kind, or consent was not given.
            OSError: the token cannot be saved.
        """
        from google_auth_oauthlib.flow import InstalledAppFlow

        from syftnotify.transports.gmail.http_adapters import adapt_session

        path = expand_path(credentials_path)
        flow = InstalledAppFlow.from_client_config(client_secrets(path), scopes=list(_SCOPES))
        adapt_session(flow.oauth2session, self._seconds)
        with _lenient_oauthlib(), _sign_in_errors():
            redirect = _ask_for_consent(flow, ask) if ask else _wait_for_consent(flow, show, open_browser=open_browser)
            # oauthlib accepts only https, also for a URL on this machine.
            flow.fetch_token(authorization_response=redirect.replace("http://", "https://", 1))
        credentials: Credentials = flow.credentials
        granted = getattr(credentials, "granted_scopes", None)
        if granted and not set(_SCOPES) & set(granted):
            raise NotSignedInError(
                "consent was given, but not for sending mail",
                hint="run `notify init` again and leave the permission to send mail selected",
            )
        saved_to = path.with_name(TOKEN_NAME) if token_path is None else expand_path(token_path)
        save_consent(saved_to, credentials, flow.oauth2session.token.get("refresh_token_expires_in"))
        return credentials

    def load_credentials(self, token_path: str | Path) -> Credentials:
        """Valid credentials from a saved token, refreshed and saved again if they have expired.

        Raises:
            NotSignedInError: there is no token, it cannot be read, or Google does not accept it any more.
            google.auth.exceptions.GoogleAuthError: the refresh failed, and may succeed later.
        """
        token = SavedToken(token_path, seconds=self._seconds)
        token.refresh()
        return token.credentials


def _wait_for_consent(flow: Any, show: Callable[[str], None], *, open_browser: bool) -> str:
    """The URL of the redirect after consent in a browser on this machine."""
    from syftnotify.transports.gmail.redirect import redirect_server

    with redirect_server() as server:
        flow.redirect_uri = server.url
        url, server.state = flow.authorization_url(**_CONSENT_OPTIONS)
        if open_browser:
            webbrowser.get().open(url, new=1)
        show(f"Open this URL in a browser on this machine, if none has opened: {url}")
        redirect = server.wait(_CONSENT_SECONDS)
    if redirect is None:
        raise NotSignedInError(f"no consent was given within {_CONSENT_SECONDS // 60} minutes", hint=_HINT)
    return redirect


def _ask_for_consent(flow: Any, ask: Callable[[str], str]) -> str:
    """The URL of the redirect after consent in a browser on another machine, as the user copied it."""
    flow.redirect_uri = _UNSERVED_REDIRECT
    url, _ = flow.authorization_url(**_CONSENT_OPTIONS)
    redirect = ask(url).strip()
    if not redirect or "code=" not in urlsplit(redirect).query:
        raise ValueError("not the complete URL")
    return redirect


@contextmanager
def _sign_in_errors() -> Iterator[None]:
    """Convert the errors of a consent to NotSignedInError, without their text, which may contain secrets."""
    from oauthlib.oauth2 import OAuth2Error

    try:
        yield
    except webbrowser.Error as error:
        raise NotSignedInError(
            "there is no browser on this machine",
            hint="run `notify init --no-browser` and use a browser on another machine",
        ) from error
    except DeliveryError as error:
        raise NotSignedInError(f"the sign-in could not be finished: {error}", hint=_HINT) from None
    except (OAuth2Error, ValueError) as error:
        raise NotSignedInError(f"Google did not give consent ({type(error).__name__})", hint=_HINT) from error
    except OSError as error:
        raise NotSignedInError(f"the sign-in could not be finished ({type(error).__name__})", hint=_HINT) from error


@contextmanager
def _lenient_oauthlib() -> Iterator[None]:
    """Let oauthlib accept a token endpoint over http on this machine, and scopes other than the requested ones.

    Both are verified by other code: the endpoints in `client_secrets`, the granted scopes in `setup_auth`.
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
