"""Settings of an SMTP transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from syftnotify.config.secrets import is_plain_text
from syftnotify.config.transport import TIMEOUT_MEANING
from syftnotify.config.values import CombinedKeys, FilePath, Timeout
from syftnotify.core.ports import Transport
from syftnotify.transports.mail import MailSettings
from syftnotify.transports.smtp.server import (
    Mailbox,
    SmtpServer,
    parse_mailbox,
    parse_smtp_url,
    smtp_server_from_settings,
)

_SERVER_PARTS = ("host", "port", "user", "password", "tls")


def _server(value: Any) -> SmtpServer:
    """The server that a URL, or the combined settings `_SERVER_PARTS`, describe. Raises: ValueError."""
    if isinstance(value, CombinedKeys):
        return smtp_server_from_settings(*map(value.get, _SERVER_PARTS))
    return parse_smtp_url(value)


class SmtpSettings(MailSettings):
    """Mail through an SMTP server."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    secret_keys: ClassVar[tuple[str, ...]] = ("password",)
    server_keys: ClassVar[tuple[str, ...]] = ("smtp_url", *_SERVER_PARTS)

    type: Literal["smtp"]
    smtp_url: Annotated[SmtpServer, BeforeValidator(_server)] = Field(
        description="the server. `smtp://user:password@host:587` requires STARTTLS (`?tls=off` only without a "
        "password, or on this machine), `smtps://host:465` uses implicit TLS, `smtp://localhost:25` needs"
        " neither. Instead of it the settings `host`, `port`, `user`, `password`, and `tls`: `starttls`, "
        "`implicit` or `off` (unset: `implicit` on port 465, `off` on this machine, otherwise `starttls`)"
    )
    sender: Annotated[Mailbox, BeforeValidator(parse_mailbox)] | None = Field(
        None, alias="from", description="the sender, with or without a name; unset: `do_email`"
    )
    ca_file: FilePath | None = Field(None, description="certificates to trust besides the system's, PEM")
    timeout_secs: Timeout = Field(60, description=TIMEOUT_MEANING)

    @model_validator(mode="before")
    @classmethod
    def _combine_parts(cls, value: Any) -> Any:
        """Replace the settings `_SERVER_PARTS` by one value of `smtp_url`, so that they are validated together."""
        if not isinstance(value, dict) or "smtp_url" in value or value.keys().isdisjoint(_SERVER_PARTS):
            return value
        others = {name: setting for name, setting in value.items() if name not in _SERVER_PARTS}
        return {**others, "smtp_url": CombinedKeys((name, value[name]) for name in _SERVER_PARTS if name in value)}

    @classmethod
    def plain_secrets(cls, raw: Mapping[str, Any]) -> list[str]:
        url = raw.get("smtp_url")
        user_info = str(url).partition("://")[2].rpartition("@")[0] if is_plain_text(url) else ""
        return [*super().plain_secrets(raw), *(["smtp_url"] if ":" in user_info else [])]

    def default_recipients(self, name: str, owner: str) -> tuple[str, ...]:
        return super().default_recipients(name, self.sender.address if self.sender else owner)

    @property
    def trusted_files(self) -> frozenset[Path]:
        return frozenset({self.ca_file} if self.ca_file else ())

    def build_transport(self, *, clock: Callable[[], float]) -> Transport:
        from syftnotify.transports.smtp.sending import SmtpTransport

        return SmtpTransport(
            self.smtp_url, sender=self.sender, ca_file=self.ca_file, timeout=self.timeout_secs, clock=clock
        )
