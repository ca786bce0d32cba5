"""Settings of a Gmail transport."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from syftnotify.config.transport import TIMEOUT_MEANING, ProviderQuota, SignIn
from syftnotify.config.urls import SafeUrl
from syftnotify.config.values import DailyLimit, FilePath, Rate, Timeout
from syftnotify.core.errors import Failure
from syftnotify.core.ports import Transport
from syftnotify.system.paths import TOKEN_NAME
from syftnotify.transports.mail import MailSettings

_API = "https://gmail.googleapis.com"


class GmailSettings(MailSettings):
    """Mail through the Gmail API."""

    uses_threads: ClassVar[bool] = True
    # Source: https://support.google.com/mail/answer/22839
    provider_quota: ClassVar[ProviderQuota | None] = ProviderQuota(
        500, "a free Gmail account may send 500, Workspace 2,000"
    )

    type: Literal["gmail"]
    credentials: FilePath = Field(
        Path("credentials.json"), description="Google's client secrets, only needed to sign in"
    )
    token: FilePath = Field(Path(TOKEN_NAME), description="the saved sign-in; its own `token_uri` is honoured")
    api_endpoint: SafeUrl | None = Field(
        None, description="another address of the API; http only on this machine; unset: Google's"
    )
    timeout_secs: Timeout = Field(120, description=TIMEOUT_MEANING)
    rate: Rate = 1
    daily_limit: DailyLimit = 500

    @property
    def private_files(self) -> frozenset[Path]:
        return frozenset({self.token})

    @property
    def sign_in(self) -> SignIn:
        from syftnotify.transports.gmail.sign_in import GmailSignIn

        return GmailSignIn(self.token, self.credentials)

    @property
    def clock_url(self) -> str:
        return self.api_endpoint or _API

    def advice(self, failure: Failure) -> str:
        return "sign in with `notify init`" if failure is Failure.AUTH else super().advice(failure)

    def build_transport(self, *, clock: Callable[[], float]) -> Transport:
        from syftnotify.transports.gmail.sending import GmailTransport

        return GmailTransport(self.token, api_endpoint=self.api_endpoint, timeout=self.timeout_secs, clock=clock)
