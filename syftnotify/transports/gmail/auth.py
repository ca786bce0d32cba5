"""Google sign-in with a person's consent."""

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
from syftnotify.transports.gmail.token_file import REFRESH_SECONDS, SCOPES, SavedToken, save_consent

if TYPE_CHECKING:
    from google.oauth2.credentials import Credentials

_CONSENT_SECONDS = 600
_CONSENT_OPTIONS = {"access_type": "offline", "prompt": "consent"}
_REDIRECT_ELSEWHERE = "http://127.0.0.1:8085/"  # where no server listens: the address is copied from the browser
_HINT = "run `notify init` again"


class GmailAuth:
    """Gets and keeps the permission to send mail for an account, and no other permission (`gmail.send`).

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
            credentials_path: the client secrets of a "Desktop app", as downloaded from Google's console.
            open_browser: whether to open one on this machine; otherwise the address is only shown.
            ask: for machines without a browser: receives the address to open elsewhere, and returns the whole address
                on which that browser ended. Its state and PKCE proof are verified.
            show: receives the line with the address to open on this machine.

        Raises:
            NotSignedInError: the file is missing or of another kind, or consent was not given.
        """
        from google_auth_oauthlib.flow import InstalledAppFlow

        from syftnotify.transports.gmail.http_adapters import adapt_session

        path = expand_path(credentials_path)
        flow = InstalledAppFlow.from_client_config(client_secrets(path), scopes=list(SCOPES))
        adapt_session(flow.oauth2session, self._seconds)
        with _lenient_oauthlib(), _sign_in_errors():
            redirect = _ask_for_consent(flow, ask) if ask else _wait_for_consent(flow, show, open_browser=open_browser)
            # oauthlib demands https even in an address that never leaves this machine.
            flow.fetch_token(authorization_response=redirect.replace("http://", "https://", 1))
        credentials: Credentials = flow.credentials
        granted = getattr(credentials, "granted_scopes", None)
        if granted and not set(SCOPES) & set(granted):
            raise NotSignedInError(
                "consent was given, but not for sending mail",
                hint="run `notify init` again, and keep the box ticked that allows it",
            )
        save_consent(path.with_name(TOKEN_NAME), credentials, flow.oauth2session.token.get("refresh_token_expires_in"))
        return credentials

    def load_credentials(self, token_path: str | Path) -> Credentials:
        """Valid credentials from a saved token, refreshed (and saved again) when they have expired.

        Raises:
            NotSignedInError: there is no token, it is not readable, or Google does not accept it any more.
            google.auth.exceptions.TransportError: Google could not be reached for the refresh.
        """
        token = SavedToken(token_path, seconds=self._seconds)
        token.refresh()
        return token.credentials


def _wait_for_consent(flow: Any, show: Callable[[str], None], *, open_browser: bool) -> str:
    """The address of the redirect after consent in a browser on this machine."""
    from syftnotify.transports.gmail.redirect import redirect_server

    with redirect_server() as server:
        flow.redirect_uri = server.url
        url, server.state = flow.authorization_url(**_CONSENT_OPTIONS)
        if open_browser:
            webbrowser.get().open(url, new=1)
        show(f"Open this address in a browser on this machine, if none opened: {url}")
        redirect = server.wait(_CONSENT_SECONDS)
    if redirect is None:
        raise NotSignedInError(f"no consent was given within {_CONSENT_SECONDS // 60} minutes", hint=_HINT)
    return redirect


def _ask_for_consent(flow: Any, ask: Callable[[str], str]) -> str:
    """The address of the redirect after consent in a browser elsewhere, as a person copied it."""
    flow.redirect_uri = _REDIRECT_ELSEWHERE
    url, _ = flow.authorization_url(**_CONSENT_OPTIONS)
    redirect = ask(url).strip()
    if not redirect or "code=" not in urlsplit(redirect).query:
        raise ValueError("not the whole address")
    return redirect


@contextmanager
def _sign_in_errors() -> Iterator[None]:
    """Turn the errors of a consent into NotSignedInError. Their own text may contain secrets."""
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
    """Let oauthlib accept a token endpoint over http on this machine, and a changed scope.

    Both are verified elsewhere: the endpoints before, the granted scope afterwards.
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
