"""What may stand in `config.yaml`: the one source for checking, for the example and for the documentation."""

from __future__ import annotations

import datetime as dt
import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator

from syftnotify.config.smtp import Mailbox, SmtpServer, mailbox, smtp_server
from syftnotify.config.values import (
    Address,
    Burst,
    FilePath,
    Flag,
    Link,
    OnUnknown,
    Pattern,
    Rate,
    Retries,
    SafeUrl,
    Seconds,
    Section,
    TimeOut,
    got,
    number,
    time_of_day,
)


class Notify(Section):
    """When and at what the worker looks."""

    enabled: Flag = Field(True, description="the master switch: false sends nothing")
    interval: Seconds = Field(30, description="seconds between two looks, 1 to 86400")
    watch: Literal["auto", "on", "off"] = Field("auto", description="let the file system wake the look early")
    monitor_jobs: Flag = Field(True, description="tell of jobs")
    monitor_peers: Flag = Field(True, description="tell of peer requests and grants")
    max_concurrent_deliveries: Annotated[int, number(1, 256, "deliveries", whole=True)] = Field(
        16, description="attempts under way at once, over all transports"
    )
    on_unknown: OnUnknown = Field("resend", description="what becomes of a message that may have arrived")
    sync_state_path: FilePath | None = Field(None, description="syft-bg's sync/state.json, where it is not found")
    notify_state_path: FilePath | None = Field(None, description="syft-bg's notify/state.json, likewise")

    @field_validator("watch", mode="before")
    @classmethod
    def _watch(cls, value: Any) -> Any:
        value = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
        if not isinstance(value, str) or value not in {"auto", "on", "off"}:
            raise ValueError(f"expected auto, on or off, got {got(value)}")
        return value


class Outgoing(Section):
    """What every transport may set."""

    max_retries: Retries | None = Field(None, description="how often a 'not now' is tried again; unset: for 72 h")
    on_unknown: OnUnknown | None = Field(None, description="resend or hold; unset: as notify.on_unknown says")


class Gmail(Outgoing):
    """Mail through the Gmail API."""

    type: Literal["gmail"]
    credentials: FilePath = Field(Path("credentials.json"), description="client secrets; only needed to sign in")
    token: FilePath = Field(Path("gmail_token.json"), description="what signing in saved")
    api_endpoint: SafeUrl | None = Field(None, description="another address of the API: a proxy, an emulator")
    timeout_secs: TimeOut = Field(120, description="seconds until a call without an answer is cut off")
    rate: Rate = Field(1, description="messages a second")
    burst: Burst = Field(5, description="messages that may go out at once after a pause")


class Smtp(Outgoing):
    """Mail through a mail server."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    type: Literal["smtp"]
    smtp_url: Annotated[SmtpServer, BeforeValidator(smtp_server)] = Field(
        description="the server: smtp://user:password@host:587, smtps://host:465"
    )
    sender: Annotated[Mailbox, BeforeValidator(mailbox)] | None = Field(
        None, alias="from", description="who the mails come from; unset: do_email"
    )
    ca_file: FilePath | None = Field(None, description="certificates to trust besides the system's: a private CA's")
    timeout_secs: TimeOut = Field(60, description="seconds until a send without an end is cut off")
    rate: Rate | None = Field(None, description="messages a second; unset: no limit")
    burst: Burst = Field(5, description="messages that may go out at once after a pause")


class Maildir(Outgoing):
    """Mail into a folder on this machine, one file a message."""

    type: Literal["maildir"]
    path: FilePath = Field(Path("mail"), description="the Maildir; made when missing")
    rate: Rate | None = Field(None, description="messages a second; unset: no limit")
    burst: Burst = Field(5, description="messages that may go out at once after a pause")


Transport = Annotated[Gmail | Smtp | Maildir, Field(discriminator="type")]
TRANSPORT_TYPES: dict[str, type[Outgoing]] = {"gmail": Gmail, "smtp": Smtp, "maildir": Maildir}


class Recipients(Section):
    """Who may be mailed beyond those whom the tree vouches for."""

    allow: tuple[Pattern, ...] = Field((), description="addresses or patterns")

    def allows(self, address: str) -> bool:
        """Whether a pattern matches `address`, letter case aside."""
        return any(fnmatch.fnmatchcase(address.lower(), pattern.lower()) for pattern in self.allow)


class Links(Section):
    """Address templates for the links in mails; what is unset is left out."""

    job: Link | None = Field(None, description="where a job can be reviewed")
    results: Link | None = Field(None, description="where its results can be fetched")
    peer: Link | None = Field(None, description="where peers are managed")


class Heartbeat(Section):
    """How the world learns that the worker has died."""

    ping_url: SafeUrl | None = Field(None, description="fetched after every good look; a dead-man switch counts it")
    daily: Annotated[dt.time | None, BeforeValidator(time_of_day)] = Field(
        None, description="a mail a day that all is well: true (08:00), or a time of the day such as '07:30'"
    )


class Config(Section):
    """The whole of `config.yaml`."""

    do_email: Address = Field(description="the data owner's address")
    syftbox_root: FilePath | None = Field(None, description="the SyftBox folder")
    notify: Notify = Notify()
    transports: dict[str, Transport] = Field(default_factory=dict, description="the ways out, by name")
    recipients: Recipients = Recipients()
    links: Links = Links()
    operator: tuple[Address, ...] = Field((), description="who else hears when the notifier itself is in trouble")
    heartbeat: Heartbeat = Heartbeat()

    @field_validator("operator", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


# Keys that syft-bg writes and that say nothing to us: named in a warning, left alone.
FOREIGN: dict[str, frozenset[str]] = {
    "": frozenset({"approve", "email_approve", "sync", "credentials_path", "gmail_token_path", "drive_token_path"}),
    "notify": frozenset(
        {
            "do_email",
            "syftbox_root",
            "credentials_path",
            "gmail_token_path",
            "drive_token_path",
            "heartbeat_enabled",
            "heartbeat_interval",
        }
    ),
}
