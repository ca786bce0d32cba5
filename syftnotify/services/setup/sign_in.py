"""The sign-in that the default mail transport may need."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from syftnotify.config.load import Settings
from syftnotify.config.schema import Gmail
from syftnotify.services.setup.options import SetupOptions
from syftnotify.system.files import atomic_write, read_regular
from syftnotify.system.paths import expanded
from syftnotify.transports.gmail.auth import TOKEN_NAME, GmailAuth


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in to Google that is missing, or that the options ask for."""

    token: Path
    client: Path  # client secrets of a desktop app
    can_start: bool  # whether the client secrets exist and a user can give consent


def prepare_sign_in(settings: Settings, options: SetupOptions, *, can_ask: bool) -> SignIn | None:
    """The sign-in to do, None if none is needed; client secrets in the options are copied into the home.

    `can_ask`: a user can be asked for consent even if the options do not request it.
    """
    transport = settings.mail_section
    if not isinstance(transport, Gmail):
        return None
    is_requested = options.credentials is not None or options.no_browser
    if transport.token.exists() and not is_requested:
        return None
    if options.credentials is not None:
        atomic_write(transport.credentials, read_regular(expanded(options.credentials)))
    can_start = transport.credentials.exists() and (can_ask or is_requested)
    return SignIn(transport.token, transport.credentials, can_start)


def run_sign_in(sign_in: SignIn, *, ask: Callable[[str], str] | None, show: Callable[[str], None]) -> None:
    """Ask the user for consent and save the token.

    `ask` gets the URL to open in a browser elsewhere and returns the URL that the browser ended on; without it a
    browser is opened here, and `show` gets the URL.

    Raises:
        NotSignedInError: consent was not given, or the sign-in failed.
    """
    GmailAuth().setup_auth(sign_in.client, ask=ask, show=show)
    saved = sign_in.client.with_name(TOKEN_NAME)
    if saved != sign_in.token:
        shutil.move(saved, sign_in.token)
