"""What may stand in `config.yaml`: the one source for checking, for the example and for the documentation."""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from syftnotify.config.smtp import LOOPBACK, Mailbox, SmtpServer, mailbox, smtp_server
from syftnotify.model import is_address
from syftnotify.text import shown


def got(value: Any) -> str:
    """A value as a mistake may show it: of addresses the beginning alone, for the rest is often a secret."""
    return shown(re.sub(r"(\w+://)[^\s'\"]+", r"\1…", repr(value)), limit=60)


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {got(value)}")
    return value


def _number(low: float, high: float, unit: str, *, whole: bool = False) -> BeforeValidator:
    def check(value: Any) -> Any:
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise ValueError(f"expected {low:g} to {high:.0f} {unit}, got {got(value)}")
        return value

    return BeforeValidator(check)


def _address(value: Any) -> str:
    if not isinstance(value, str) or not is_address(value):
        raise ValueError(f"expected a mail address, got {got(value)}")
    return value


def _pattern(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected an address or a pattern such as '*@uni.example', got {got(value)}")
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise ValueError(f"expected a path, got {got(value)}")
    try:
        Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"nobody here is called so: {got(value)}") from None
    return Path(value)


def is_safe_url(url: str) -> bool:
    """Whether `url` is https, or http to this very machine (an emulator, a proxy): secrets travel nowhere else."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))


def _safe_url(value: Any) -> str:
    # The value itself is not repeated: an address of this sort is often its own password.
    if not isinstance(value, str) or not is_safe_url(value):
        raise ValueError("expected an https address (http only on this machine)")
    return value


def _time_of_day(value: Any) -> dt.time | None:
    """`"07:30"`; true is 08:00. YAML reads 18:30 without quotes as a number of base 60, which is the minutes."""
    if value is None or value is False:
        return None
    if value is True:
        return dt.time(8)
    if isinstance(value, int) and 60 <= value < 24 * 60:  # below an hour it is no time but, say, an 8
        return dt.time(value // 60, value % 60)
    try:
        return dt.datetime.strptime(value, "%H:%M").time()  # noqa: DTZ007 - a time of the day has no zone
    except (TypeError, ValueError):
        raise ValueError(f"expected true, false or a time of the day such as '07:30', got {got(value)}") from None


def _link(value: Any) -> str:
    if not isinstance(value, str) or urlsplit(value).scheme not in {"http", "https"}:
        raise ValueError(f"expected an address template such as 'https://box.example/jobs/{{job}}', got {got(value)}")
    try:
        value.format_map(dict.fromkeys(LINK_FIELDS, ""))
    except (KeyError, ValueError, IndexError, AttributeError):
        raise ValueError(f"knows only {', '.join('{' + name + '}' for name in LINK_FIELDS)}") from None
    return value


# What a link template may name. All are percent-encoded when they are put in.
LINK_FIELDS = ("job", "owner", "submitter", "peer", "entity")

Flag = Annotated[bool, BeforeValidator(_flag)]
Address = Annotated[str, BeforeValidator(_address)]
Pattern = Annotated[str, BeforeValidator(_pattern)]
FilePath = Annotated[Path, BeforeValidator(_path)]
SafeUrl = Annotated[str, BeforeValidator(_safe_url)]
Link = Annotated[str, BeforeValidator(_link)]
Seconds = Annotated[float, _number(1, 86400, "seconds")]
Retries = Annotated[int, _number(0, 1000, "retries", whole=True)]
Rate = Annotated[float, _number(0.001, 10000, "messages a second")]
TimeOut = Annotated[float, _number(1, 3600, "seconds")]
OnUnknown = Literal["resend", "hold"]
Burst = Annotated[int, _number(1, 10000, "messages", whole=True)]


class Section(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Notify(Section):
    """When and at what the worker looks."""

    enabled: Flag = Field(True, description="the master switch: false sends nothing")
    interval: Seconds = Field(30, description="seconds between two looks, 1 to 86400")
    watch: Literal["auto", "on", "off"] = Field("auto", description="let the file system wake the look early")
    monitor_jobs: Flag = Field(True, description="tell of jobs")
    monitor_peers: Flag = Field(True, description="tell of peer requests and grants")
    max_concurrent_deliveries: Annotated[int, _number(1, 256, "deliveries", whole=True)] = Field(
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
    daily: Annotated[dt.time | None, BeforeValidator(_time_of_day)] = Field(
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
