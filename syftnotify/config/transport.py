"""Base model of transport settings; each type of transport answers here every question of other packages about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any, ClassVar, Protocol, get_args

from pydantic import Field

from syftnotify.config.routing import Globs, Kinds, People
from syftnotify.config.secrets import is_plain_text
from syftnotify.config.values import Burst, DailyLimit, OnUnknown, Rate, Retries, Section
from syftnotify.core.errors import Failure
from syftnotify.core.identifiers import AddressType, stable_hash
from syftnotify.core.models import MAIL
from syftnotify.core.ports import Renderer, Transport

# The description of `timeout_secs`, whose default is that of the type.
TIMEOUT_MEANING = "time limit of one attempt, a number of seconds or a duration such as `2m`"


@dataclass(frozen=True, slots=True)
class RenderContext:
    """The input of renderers besides the settings of their transport."""

    owner: str  # address of the data owner, the usual sender of mail
    links: Mapping[str, str]  # URL templates by their key in `links`; empty where unset
    templates: Path | None = None  # folder of the user's own templates
    timezones: Mapping[str, tzinfo] = field(default_factory=dict)  # of readers, by address in lower case


class SignIn(Protocol):
    """The sign-in of a transport that needs one. Times are in seconds since 1970, None if unknown."""

    @property
    def client(self) -> Path:
        """The OAuth client that signing in needs."""

    @property
    def missing(self) -> str:
        """The error message while there is no sign-in."""

    @property
    def renewal(self) -> str:
        """What to do before it ends."""

    def exists(self) -> bool: ...

    def started_at(self) -> float | None: ...

    def ends_at(self) -> float | None: ...

    def run(self, ask: Callable[[str], str] | None, show: Callable[[str], None]) -> Path:
        """Ask the user for consent and save the sign-in; returns the file.

        `ask` shows a URL and returns the address to which the browser was redirected; None uses a local browser, and
        `show` receives the line with the URL.

        Raises:
            NotSignedInError: there was no consent.
        """


@dataclass(frozen=True, slots=True)
class ProviderQuota:
    """A provider's limit on messages in 24 hours, for a warning before it is reached."""

    messages: int
    text: str


class TransportSettings(Section, ABC):
    """Settings of every transport, and traits by type.

    A subclass narrows `type` to one literal, sets the class variables, and builds its transport and its renderer. These
    are imported inside the methods, so that loading a configuration stays cheap.
    """

    address_type: ClassVar[AddressType]
    for_programs: ClassVar[bool] = False  # programs read its messages: no digests, no quiet hours
    uses_threads: ClassVar[bool] = False  # the provider assigns conversations and returns their ids
    secret_keys: ClassVar[tuple[str, ...]] = ()  # settings whose values are secrets
    server_keys: ClassVar[tuple[str, ...]] = ()  # settings that name the server: its URL, or the parts of it
    provider_quota: ClassVar[ProviderQuota | None] = None
    plain_scheme: ClassVar[str] = "http"  # of URLs without encryption; with it an `s` is added
    pushes_inbox: ClassVar[bool] = False  # sends what an inbox stores, to the same persons

    type: str = Field(description="one of the types below; the name of a transport must not contain blanks, `#` or `@`")
    max_retries: Retries | None = Field(
        None,
        description="how often a message is sent again after a temporary failure or an unknown outcome; `0`: not at "
        "all; unset: for 72 hours",
    )
    on_unknown: OnUnknown | None = Field(None, description="`notify.on_unknown` for this transport alone")
    events: Kinds | None = Field(
        None,
        description="events sent here besides those of the routes, in any spelling; `['*']` for all. This is a "
        "separate route, evaluated first, with `continue`",
    )
    filter_users: Globs = Field(
        (), description="with `events`: only events of these submitters or owners of reservations: patterns"
    )
    to: People = Field((), description="with `events`: their recipients; unset: the default recipient")
    default_recipient: People = Field(
        (),
        description="recipient of messages without one; unset: smtp: `from`; mail and redis: `do_email`; slack and "
        "discord: the webhook's own channel",
    )
    daily_limit: DailyLimit = Field(
        None,
        description="messages in 24 hours that the provider allows, or `none`. One submitter causes at most a fifth "
        "of it: half of that as single messages, the rest as digests spread over the day, so that the "
        "others and the notifier's own alerts are still sent",
    )
    rate: Rate | None = Field(None, description="messages per second; unset: no limit")
    burst: Burst = Field(5, description="messages that may be sent at once after a pause")

    @classmethod
    def type_name(cls) -> str:
        """The value of `type`."""
        return str(get_args(cls.model_fields["type"].annotation)[0])

    @classmethod
    def medium(cls, name: str) -> str:
        """The stored medium of the transport `name`. All mail is one medium: an address gets one mail per event."""
        return MAIL if cls.address_type is AddressType.MAIL else f"{cls.type_name()}/{name}"

    @classmethod
    def plain_secrets(cls, raw: Mapping[str, Any]) -> list[str]:
        """The settings in `raw`, as written in the file, that contain a secret in plain text."""
        return [key for key in cls.secret_keys if is_plain_text(raw.get(key))]

    @classmethod
    def conflicts(cls, raw: Mapping[str, Any]) -> Iterator[str]:
        """Conflicts between settings in `raw`, as written in the file; values of a wrong type are ignored."""
        names = [f"`{name}`" for name in ("filter_users", "to") if raw.get(name)]
        if names and raw.get("events") is None:
            verb = "needs" if len(names) == 1 else "need"
            yield f"{' and '.join(names)} {verb} `events` as well (['*'] for all)"

    @classmethod
    def template_errors(cls, raw: Mapping[str, Any]) -> Iterator[str]:  # noqa: ARG003 - for subclasses
        """Errors in a template in `raw`, as `key: text`. Slow: the template is rendered for every event kind."""
        yield from ()

    def template_warning(self) -> tuple[str, str] | None:
        """The key of a valid template and a warning about it; None if there is none. As slow as `template_errors`."""
        return None

    def default_recipients(self, name: str, owner: str) -> tuple[str, ...]:  # noqa: ARG002 - for mail
        """The recipients of messages without one; `name` is that of the transport, `owner` the data owner's address."""
        return self.default_recipient or (name,)

    def destination(self, name: str, recipient: str) -> str:
        """The end of the sentence "sent through NAME"; empty if the destination is fixed."""
        return "" if recipient == name else f" to {recipient}"

    @property
    def fingerprint(self) -> str:
        """A hash of what determines how and from where messages are sent, without secrets."""
        others = {"events", "filter_users", "to", "default_recipient"}  # where they are sent
        return stable_hash(self.model_dump_json(exclude=others), *sorted(map(str, self.private_files)))

    @property
    def private_files(self) -> frozenset[Path]:
        """Files with secrets, which only their owner may read."""
        return frozenset()

    @property
    def trusted_files(self) -> frozenset[Path]:
        """Files that only their owner may change."""
        return frozenset()

    @property
    def exposed(self) -> list[str]:
        """Names of the secrets that are sent unencrypted."""
        return []

    @property
    def sign_in(self) -> SignIn | None:
        """The sign-in; None if the transport needs none."""
        return None

    @property
    def clock_url(self) -> str:
        """A URL of the provider whose responses have a `Date` header; empty if the time does not matter to it."""
        return ""

    def advice(self, failure: Failure) -> str:
        """What to do when a check of the transport ended in `failure`."""
        return {
            Failure.AUTH: "correct its user and password",
            Failure.UNREACHABLE: "try again later, or check the network and the address",
        }.get(failure, "try again later")

    @abstractmethod
    def build_transport(self, *, clock: Callable[[], float]) -> Transport:
        """The transport. `clock` gives seconds since 1970."""

    @abstractmethod
    def build_renderer(self, context: RenderContext) -> Renderer:
        """The renderer of its messages.

        Raises:
            ValueError: a template in the settings is wrong.
        """


# The registered types of transports by name, in order of preference for mail.
TransportTypes = Mapping[str, type[TransportSettings]]


def mail_types(types: TransportTypes) -> tuple[str, ...]:
    """The names of the types that send mail, the preferred one first."""
    return tuple(name for name, settings in types.items() if settings.medium(name) == MAIL)


def settings_type(types: TransportTypes, raw: object) -> type[TransportSettings] | None:
    """The type of a transport's section as written in the file; None if it is unknown."""
    name = raw.get("type") if isinstance(raw, Mapping) else None
    return types.get(name) if isinstance(name, str) else None
