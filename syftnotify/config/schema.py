"""Schema of `config.yaml`, apart from the settings of single types of transports."""

from __future__ import annotations

import datetime as dt
import fnmatch
import operator
import re
from functools import lru_cache, reduce
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, create_model, field_validator, model_validator

from syftnotify.config.routing import DigestSection, QuietHoursSection, Reminders, RouteSection, Timezone
from syftnotify.config.transport import TransportSettings, TransportTypes
from syftnotify.config.urls import SafeUrl, checked_page_url
from syftnotify.config.values import (
    Address,
    Database,
    Duration,
    FilePath,
    Flag,
    HeartbeatInterval,
    Interval,
    Link,
    OnUnknown,
    Pattern,
    Secret,
    Section,
    Text,
    count_or_none,
    number,
    parse_optional_time_of_day,
)


class Notify(Section):
    """What the worker scans, and when."""

    enabled: Flag = Field(
        True,
        description="the master switch. While it is off nothing is recorded and nothing is sent; notifications of "
        "that time are sent when it is on again",
    )
    interval: Interval = Field(
        30,
        description="time between two scans, from 1 second to 24 hours: a number of seconds, or a duration such as "
        "`5m`",
    )
    watch: Literal["auto", "on", "off"] = Field(
        "auto",
        description="start a scan early when the file system reports a change; `auto` does not watch network drives "
        "and very large trees; folders nested more than 400 deep are never watched",
    )
    monitor_jobs: Flag = Field(True, description="notifications of jobs")
    monitor_peers: Flag = Field(True, description="notifications of peer requests and grants")
    peers_from_folders: Flag = Field(
        False,
        description="without any sync snapshot of syft-bg, treat new job folders of a peer as your acceptance. Your "
        "own `add_peer` creates the same folders",
    )
    max_concurrent_deliveries: Annotated[int, number(1, 256, "deliveries", whole=True)] = Field(
        16, description="concurrent attempts, over all transports"
    )
    on_unknown: OnUnknown = Field(
        "resend",
        description="what happens to a message of unknown outcome (the response was cut off, or was HTTP 500, 502 or "
        "504 after the request was sent, so it may have arrived): `resend` sends it again under the same "
        "id, `hold` waits for `notify resend`, whatever `max_retries` is",
    )
    sync_state_path: FilePath | None = Field(None, description="syft-bg's `sync/state.json`; unset: searched for")
    notify_state_path: FilePath | None = Field(None, description="syft-bg's `notify/state.json`; unset: searched for")

    @field_validator("watch", mode="before")
    @classmethod
    def _watch(cls, value: Any) -> Any:
        if isinstance(value, bool):  # what YAML 1.1 reads without quotes
            return "on" if value else "off"
        return value


class Recipients(Section):
    """Which recipients that the tree names may be mailed."""

    allow: tuple[Pattern, ...] = Field(
        (),
        description="addresses or patterns (`*@uni.example`) that may be mailed without a peer record, and above "
        "`recipients.new_per_day`; one that can match no address is refused",
    )
    deny: tuple[Pattern, ...] = Field(
        (),
        description="addresses or patterns that get no mail, whatever routes, jobs and alert rules name; for people "
        "who opt out; what is already queued for them is skipped when the worker starts. It does not "
        "apply to `do_email` and `operators`",
    )
    new_per_day: Annotated[int | None, count_or_none(0, 10_000, "recipients")] = Field(
        20,
        description="how many addresses that only the tree names (submitters, requesting peers, addresses in jobs) "
        "are mailed for the first time in 24 hours: `0` to `10000`, or `none` for no limit",
    )

    def allows(self, address: str) -> bool:
        """Whether a pattern of `allow` matches `address`, letter case aside."""
        return _matches(address, self.allow)

    def denies(self, address: str) -> bool:
        """Whether a pattern of `deny` matches `address`, letter case aside."""
        return _matches(address, self.deny)


def _matches(address: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(address.lower(), pattern.lower()) for pattern in patterns)


class Links(Section):
    """URL templates for the links in mails; a link that is unset is left out."""

    job: Link | None = Field(
        None,
        description="where a job can be reviewed, with the placeholders `{job}`, `{owner}`, `{submitter}`, `{peer}` "
        "and `{entity}`",
    )
    results: Link | None = Field(None, description="where its results can be fetched, with the same placeholders")
    peer: Link | None = Field(None, description="where peers are managed, with the same placeholders")


class Heartbeat(Section):
    """How the worker shows that it is running: a ping, and mails to the data owner."""

    ping_url: SafeUrl | None = Field(
        None,
        description="requested after every successful scan while all transports are healthy and every dead letter is "
        "acknowledged, for a dead man's switch",
    )
    daily: Annotated[dt.time | None, BeforeValidator(parse_optional_time_of_day)] = Field(
        None,
        description="a daily mail to the data owner, which confirms that the worker runs, at the first successful "
        "scan at or after the time while everything is healthy: `true` (08:00) or `'07:30'`, in this "
        "machine's timezone",
    )
    every: HeartbeatInterval | None = Field(
        None, description="instead of `daily`: a mail in each interval of this length, `1m` to `7d`"
    )
    on_start: Flag = Field(
        False,
        description="a mail after the first successful scan of a worker; with `heartbeat.every` it counts as that of "
        "the current interval",
    )


class Serve(Section):
    """The API and the inbox. Where this section is, the owner and submitters have an inbox."""

    enabled: Flag = Field(
        False,
        description="whether the worker serves the page and the API; `notify serve` does it in a separate process "
        "([API](api.md))",
    )
    host: Text = Field(
        "127.0.0.1",
        description="the address to listen on; another than loopback needs `serve.certfile` or `serve.behind_proxy`",
    )
    port: Annotated[int, number(0, 65_535, "a port", whole=True)] = Field(
        8780, description="the port to listen on; `0`: any free one"
    )
    grpc_port: Annotated[int | None, count_or_none(0, 65_535, "a port")] = Field(
        None, description="the port of the gRPC service, on the same address; `0`: any free one ([API](api.md#grpc))"
    )
    certfile: FilePath | None = Field(None, description="the TLS certificate chain, PEM")
    keyfile: FilePath | None = Field(None, description="its private key, PEM; unset: in `serve.certfile`")
    behind_proxy: Flag = Field(False, description="whether a proxy on this machine adds TLS and `X-Forwarded-For`")
    url: Text | None = Field(
        None,
        description="the address under which people reach the page, such as `https://notify.lab.example`; mails link "
        "to it ([page](page.md))",
    )
    auth_header: Text | None = Field(
        None,
        description="with `serve.behind_proxy`: the header in which the proxy names the person who is signed in, such"
        " as `Remote-User`",
    )
    allow_private_targets: Flag = Field(
        False,
        description="whether URLs of alert rules that are added through the API or the page may lead into private "
        "networks",
    )

    @field_validator("url", mode="after")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        return None if value is None else checked_page_url(value)

    @field_validator("auth_header", mode="after")
    @classmethod
    def _auth_header(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}", value):
            raise ValueError("expected the name of a header, such as Remote-User")
        return value

    @model_validator(mode="after")
    def _proxy(self) -> Self:
        if self.auth_header is not None and not self.behind_proxy:
            raise ValueError("`auth_header` needs `behind_proxy`: without a proxy anybody can send that header")
        return self


class Config(Section):
    """The whole of `config.yaml`. Loading uses `config_model`, which narrows `transports`."""

    do_email: Address = Field(description="the address of the data owner, or of the scientist")
    role: Literal["owner", "scientist"] = Field(
        "owner",
        description="`scientist`: the jobs are your own submissions in other owners' folders (layouts B4, C, D), peer"
        " requests are those that older clients wrote to the tree, and all notifications go to `do_email`"
        " alone",
    )
    syftbox_root: FilePath | None = Field(
        None,
        description="the SyftBox folder; the worker waits for one that does not exist yet. Unset: "
        "`~/SyftBox_<do_email>` or `~/SyftBox`, whichever exists, otherwise the first",
    )
    notify: Notify = Notify()
    transports: dict[str, TransportSettings] = Field(
        default_factory=dict,
        description="transports of all types, by names of your choice. Without this section mail is sent through "
        "Gmail. The keys of single types follow",
    )
    routes: tuple[RouteSection, ...] | None = Field(
        None, description="which events go to which recipients, in their order; unset: the built-in routes"
    )
    extra_routes: tuple[RouteSection, ...] = Field(
        (),
        validation_alias=AliasChoices("extra_routes", "routes+"),
        description="routes like those of `routes`, evaluated after the built-in ones, or after `routes`; also "
        "spelled `routes+`",
    )
    secrets: dict[str, Secret] = Field(
        default_factory=dict, description="encrypted values that `notify secret set` stores"
    )
    recipients: Recipients = Recipients()
    links: Links = Links()
    timezones: dict[Address, Timezone] = Field(
        default_factory=dict,
        description="timezones of readers by address, `{ana@uni.example: Asia/Kolkata}`; the times in their mails "
        "are in that zone, otherwise in that of `do_email`, otherwise in this machine's",
    )
    quiet_hours: QuietHoursSection | None = Field(None, description="when notifications are deferred; unset: never")
    digest: DigestSection | None = Field(
        None, description="when single messages become a digest; unset: only above 200 to one recipient in ten minutes"
    )
    reminders: Reminders = Reminders()
    retention: Duration | None = Field(
        None, description="how long the history is kept: `26w`, `365d`, at most `7320d`; unset: unlimited"
    )
    operators: tuple[Address, ...] = Field(
        (),
        validation_alias=AliasChoices("operators", "operator"),
        description="who else is alerted about problems of the notifier, such as a paused transport or dead letters: "
        "an address or a list; also spelled `operator`. An alert about a paused transport goes through "
        "another one, so addresses need a second mail transport; with one, use `heartbeat.ping_url`",
    )
    heartbeat: Heartbeat = Heartbeat()
    database: Database | None = Field(
        None,
        description="a PostgreSQL database (14 or newer) that several workers share instead of `outbox.db`: "
        "`postgresql+psycopg://user:password@host/name`; needs `pip install 'syftnotify[postgres]'` "
        "([scaling](scaling.md)); unset: one worker with its own file",
    )
    serve: Serve | None = Field(
        None,
        description="the page, the API and the inbox; unset: none of them. With this section, also an empty one "
        "(`serve: {}`), the owner and submitters have an inbox",
    )

    @property
    def for_scientist(self) -> bool:
        """Whether it notifies a scientist of their own submissions, instead of a data owner."""
        return self.role == "scientist"

    @property
    def scope(self) -> str:
        """The name of the home where several are stored together: the same person in the same role."""
        owner = self.do_email.lower()
        return f"{self.role} {owner}" if self.for_scientist else owner

    @field_validator("operators", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


def config_model(types: TransportTypes) -> type[Config]:
    """`Config` with transports of `types`, distinguished by their `type`."""
    return _config_model(tuple(types.values()))


@lru_cache(maxsize=1)
def _config_model(types: tuple[type[TransportSettings], ...]) -> type[Config]:
    section: Any = Annotated[reduce(operator.or_, types), Field(discriminator="type")]
    return create_model("Config", __base__=Config, transports=(dict[str, section], Config.model_fields["transports"]))


# Keys of other programs, which syft-bg writes: ignored with a warning.
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
