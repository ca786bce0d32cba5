"""What may stand in `config.yaml`: the one source for checking, for the example and for the documentation."""

from __future__ import annotations

import datetime as dt
import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from syftnotify.config.routing import DigestSection, Globs, Kinds, People, QuietSection, Reminders, Role, RouteSection
from syftnotify.config.secrets import names_secret
from syftnotify.config.values import (
    Address,
    Burst,
    DailyLimit,
    Duration,
    FilePath,
    Flag,
    HeaderName,
    HeaderValue,
    Interval,
    Link,
    OnUnknown,
    Pattern,
    Rate,
    Retries,
    SafeUrl,
    Secret,
    SecretUrl,
    Section,
    Text,
    TimeOut,
    WebUrl,
    got,
    is_safe_url,
    number,
    optional_time_of_day,
)
from syftnotify.core.text import escape
from syftnotify.transports.smtp.server import (
    Mailbox,
    SmtpServer,
    parse_mailbox,
    parse_smtp_url,
    smtp_server_from_settings,
)

PIECES = ("host", "port", "user", "password", "tls")


def _count_or_none(value: Any) -> int | None:
    if value == "none":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10_000:
        raise ValueError(f"expected 0 to 10000 recipients, or none, got {got(value)}")
    return value


class Pieces(dict[str, Any]):
    """A server that is not named by one address."""


def _server(value: Any) -> Any:
    return smtp_server_from_settings(*map(value.get, PIECES)) if isinstance(value, Pieces) else parse_smtp_url(value)


class Notify(Section):
    """When and at what the worker looks."""

    enabled: Flag = Field(True, description="the master switch: false sends nothing")
    interval: Interval = Field(30, description="time between two scans, 1 s to 24 h: 30 (seconds), 30s or 5m")
    watch: Literal["auto", "on", "off"] = Field("auto", description="let the file system wake the look early")
    monitor_jobs: Flag = Field(True, description="tell of jobs")
    monitor_peers: Flag = Field(True, description="tell of peer requests and grants")
    peers_from_folders: Flag = Field(
        False, description="without any sync snapshot of syft-bg, take new job folders of a peer for your acceptance"
    )
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
    events: Kinds | None = Field(None, description="events that go out here besides what the routes say; ['*'] for all")
    filter_users: Globs = Field((), description="of these only what these submitters or owners of reservations caused")
    to: People = Field((), description="to whom these events go; unset: the default recipient")
    default_recipient: People = Field((), description="who gets what names nobody")
    daily_limit: DailyLimit = Field(
        None, description="messages in 24 hours that the provider allows, or none; one submitter causes a fifth at most"
    )


class MailSection(Outgoing):
    """What every transport of mail may set."""

    subject_prefix: Text = Field("", description="stands before each subject: '[prod]'")
    body: Literal["both", "plain", "html"] = Field("both", description="text and HTML, or one of them")


class Gmail(MailSection):
    """Mail through the Gmail API."""

    type: Literal["gmail"]
    credentials: FilePath = Field(Path("credentials.json"), description="client secrets; only needed to sign in")
    token: FilePath = Field(Path("gmail_token.json"), description="what signing in saved")
    api_endpoint: SafeUrl | None = Field(None, description="another address of the API: a proxy, an emulator")
    timeout_secs: TimeOut = Field(120, description="seconds until a call without an answer is cut off")
    rate: Rate = Field(1, description="messages a second")
    daily_limit: DailyLimit = Field(
        500, description="messages in 24 hours that the provider allows, or none; one submitter causes a fifth at most"
    )
    burst: Burst = Field(5, description="messages that may go out at once after a pause")


class Smtp(MailSection):
    """Mail through a mail server."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    type: Literal["smtp"]
    smtp_url: Annotated[SmtpServer, BeforeValidator(_server)] = Field(
        description="the server: smtp://user:password@host:587, smtps://host:465; or host, port, user, password, tls"
    )
    sender: Annotated[Mailbox, BeforeValidator(parse_mailbox)] | None = Field(
        None, alias="from", description="who the mails come from; unset: do_email"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_pieces(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "smtp_url" in value or value.keys().isdisjoint(PIECES):
            return value
        rest = {name: inner for name, inner in value.items() if name not in PIECES}
        return {**rest, "smtp_url": Pieces((name, value[name]) for name in PIECES if name in value)}

    ca_file: FilePath | None = Field(None, description="certificates to trust besides the system's: a private CA's")
    timeout_secs: TimeOut = Field(60, description="seconds until a send without an end is cut off")
    rate: Rate | None = Field(None, description="messages a second; unset: no limit")
    burst: Burst = Field(5, description="messages that may go out at once after a pause")


class Maildir(MailSection):
    """Mail into a folder on this machine, one file a message."""

    type: Literal["maildir"]
    path: FilePath = Field(Path("mail"), description="the Maildir; made when missing")
    rate: Rate | None = Field(None, description="messages a second; unset: no limit")
    burst: Burst = Field(5, description="messages that may go out at once after a pause")


class Slack(Outgoing):
    """Lines in a Slack workspace, through an incoming webhook."""

    type: Literal["slack"]
    url: SecretUrl = Field(description="the incoming webhook; a secret")
    username: Text = Field("syftnotify", description="the name beside the lines")
    icon_emoji: Text = Field(":gear:", description="the picture beside the lines")
    timeout_secs: TimeOut = Field(10, description="seconds until a request without an end is cut off")
    max_retries: Retries | None = Field(3, description="how often a 'not now' is tried again")
    rate: Rate = Field(1, description="messages a second; Slack takes one a channel")
    burst: Burst = Field(1, description="messages that may go out at once after a pause")


class Webhook(Outgoing):
    """A JSON object to an address of your own, signed when there is a secret."""

    type: Literal["webhook"]
    url: WebUrl = Field(description="the address; only its host is ever shown")
    secret: Secret | None = Field(None, description="signs each request as Standard Webhooks says; whsec_...")
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, description="added to each request")
    format: Literal["native", "gflow", "nomaflow", "run_alert", "template"] = Field(
        "native", description="what the object looks like"
    )
    body: str | None = Field(None, description="for format: template; knows ${job_id} and Jinja")

    @property
    def sends_json(self) -> bool:
        """Whether the requests say that they are JSON: by default, or by a header `content-type`."""
        given = {name.lower(): value.get_secret_value() for name, value in self.headers.items()}
        kind = given.get("content-type", "application/json").partition(";")[0].strip().lower()
        return kind.endswith(("/json", "+json"))

    @property
    def exposed(self) -> list[str]:
        """The secrets, by name, that leave this machine unencrypted."""
        url = self.url.get_secret_value()
        if is_safe_url(url):
            return []
        parts = urlsplit(url)
        return [
            *(["`secret`"] if self.secret is not None else []),
            *(f"the header {header}" for header in self.headers if names_secret(header)),
            *(["the sign-in in the address"] if parts.username is not None else []),
            *(
                f"the parameter {escape(name, limit=40)} of the address"
                for name, _ in parse_qsl(parts.query, keep_blank_values=True)
                if names_secret(name)
            ),
        ]

    timeout_secs: TimeOut = Field(10, description="seconds until a request without an end is cut off")
    max_retries: Retries | None = Field(3, description="how often a 'not now' is tried again")
    rate: Rate | None = Field(None, description="messages a second; unset: no limit")
    burst: Burst = Field(5, description="messages that may go out at once after a pause")


Transport = Annotated[Gmail | Smtp | Maildir | Slack | Webhook, Field(discriminator="type")]
TRANSPORT_TYPES: dict[str, type[Outgoing]] = {
    "gmail": Gmail,
    "smtp": Smtp,
    "maildir": Maildir,
    "slack": Slack,
    "webhook": Webhook,
}


MAIL_TYPES = ("gmail", "smtp", "maildir")  # the preferred one first


class Recipients(Section):
    """Which recipients named in the tree may be mailed."""

    allow: tuple[Pattern, ...] = Field((), description="addresses or patterns that need no peer record")
    new_per_day: Annotated[int | None, BeforeValidator(_count_or_none)] = Field(
        20, description="recipients mailed for the first time in 24 hours, 0 to 10000, or none for no limit"
    )

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
    daily: Annotated[dt.time | None, BeforeValidator(optional_time_of_day)] = Field(
        None, description="a mail a day that all is well: true (08:00), or a time of the day such as '07:30'"
    )


class Config(Section):
    """The whole of `config.yaml`."""

    do_email: Address = Field(description="the data owner's address; of a scientist, one's own")
    role: Role = Field("owner", description="owner, or scientist: then one's own submissions to others are told")
    syftbox_root: FilePath | None = Field(None, description="the SyftBox folder")
    notify: Notify = Notify()
    transports: dict[str, Transport] = Field(default_factory=dict, description="the ways out, by name")
    routes: tuple[RouteSection, ...] | None = Field(None, description="who hears what, instead of the built-in rules")
    more_routes: tuple[RouteSection, ...] = Field(
        (), alias="routes+", description="who hears besides the built-in rules"
    )
    secrets: dict[str, Secret] = Field(default_factory=dict, description="what `notify secret set` keeps, encrypted")
    recipients: Recipients = Recipients()
    links: Links = Links()
    quiet_hours: QuietSection | None = Field(None, description="when nobody is to be disturbed")
    digest: DigestSection | None = Field(None, description="when single messages become digests, besides storms")
    reminders: Reminders = Reminders()
    retention: Duration | None = Field(None, description="how long the history is kept; unset: for ever")
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
