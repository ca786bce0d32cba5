"""The sign-in of the default mail transport, if its type needs one."""

from __future__ import annotations

from dataclasses import dataclass

from syftnotify.config.load import Settings
from syftnotify.config.transport import SignIn
from syftnotify.services.setup.options import SetupOptions
from syftnotify.system.files import atomic_write, read_regular_file
from syftnotify.system.paths import expand_path


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """A sign-in that is missing, or that the options request."""

    sign_in: SignIn
    can_start: bool  # whether the OAuth client exists and a user can give consent


def prepare_sign_in(settings: Settings, options: SetupOptions, *, can_ask: bool) -> PendingSignIn | None:
    """The sign-in to do; None if none is needed. An OAuth client in the options is copied to its configured path.

    `can_ask`: the user can be asked for consent although the options do not request a sign-in.
    """
    mail = settings.mail_settings
    sign_in = mail.sign_in if mail is not None else None
    if sign_in is None:
        return None
    is_requested = options.credentials is not None or options.no_browser
    if sign_in.exists() and not is_requested:
        return None
    if options.credentials is not None:
        atomic_write(sign_in.client, read_regular_file(expand_path(options.credentials)))
    return PendingSignIn(sign_in, sign_in.client.exists() and (can_ask or is_requested))
