"""The Google sign-in of a Gmail transport."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from syftnotify.transports.gmail.auth import GmailAuth
from syftnotify.transports.gmail.token_file import sign_in_ends, signed_in_at


@dataclass(frozen=True, slots=True)
class GmailSignIn:
    """Implements `config.transport.SignIn`: `token` is the saved sign-in, `client` the file with client secrets."""

    token: Path
    client: Path
    renewal: str = "sign in with `notify init --credentials FILE`; publish the app in Google's console to keep it"

    @property
    def missing(self) -> str:
        return f"there is no Google sign-in at {self.token}"

    def exists(self) -> bool:
        return self.token.exists()

    def started_at(self) -> float | None:
        return signed_in_at(self.token)

    def ends_at(self) -> float | None:
        return sign_in_ends(self.token)

    def run(self, ask: Callable[[str], str] | None, show: Callable[[str], None]) -> Path:
        GmailAuth().setup_auth(self.client, token_path=self.token, ask=ask, show=show)
        return self.token
