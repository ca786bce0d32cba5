"""Settings of a Redis transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from syftnotify.config.secrets import is_plain_text
from syftnotify.config.transport import RenderContext, TransportSettings
from syftnotify.config.values import FilePath, Retries, Timeout
from syftnotify.core.errors import Failure
from syftnotify.core.identifiers import LOOPBACK, AddressType
from syftnotify.core.ports import Renderer, Transport

_EXPECTED = "expected a URL such as 'redis://user:password@redis.example:6379/0', or rediss:// for TLS"


def _redis_url(value: Any) -> SecretStr:
    """A URL without a query, which could change how the client connects. Raises: ValueError."""
    url = value.strip() if isinstance(value, str) else ""
    if not url.isprintable():
        raise ValueError(_EXPECTED)
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or parts.query or parts.fragment or not (parts.path.strip("/") or "0").isdecimal():
        raise ValueError(_EXPECTED)
    return SecretStr(url)


class RedisSettings(TransportSettings):
    """Messages on the channel `notifications:PERSON` of a Redis server, for dashboards that subscribe to it."""

    address_type: ClassVar[AddressType] = AddressType.MAIL
    for_programs: ClassVar[bool] = True
    plain_scheme: ClassVar[str] = "redis"
    pushes_inbox: ClassVar[bool] = True

    type: Literal["redis"]
    url: Annotated[SecretStr, BeforeValidator(_redis_url)] = Field(
        description="the server: `redis://user:password@host:6379/0`, or `rediss://` for TLS; only its host is shown "
        "([API](api.md#redis))"
    )
    ca_file: FilePath | None = Field(None, description="certificates to trust instead of the system's, PEM")
    timeout_secs: Timeout = Field(
        10, description="time limit of each step of a publication, a number of seconds or a duration"
    )
    max_retries: Retries | None = 3

    @classmethod
    def medium(cls, name: str) -> str:
        return f"{cls.type_name()}/{name}"  # its recipients are addresses, but what they get is not mail

    @classmethod
    def plain_secrets(cls, raw: Mapping[str, Any]) -> list[str]:
        url = raw.get("url")
        user_info = str(url).partition("://")[2].rpartition("@")[0] if is_plain_text(url) else ""
        return ["url"] if ":" in user_info else []

    def default_recipients(self, name: str, owner: str) -> tuple[str, ...]:  # noqa: ARG002 - channels are of persons
        return self.default_recipient or (owner,)

    @property
    def trusted_files(self) -> frozenset[Path]:
        return frozenset({self.ca_file} if self.ca_file else ())

    @property
    def exposed(self) -> list[str]:
        parts = urlsplit(self.url.get_secret_value())
        is_exposed = parts.scheme == "redis" and parts.password and parts.hostname not in LOOPBACK
        return ["the password in `url`"] if is_exposed else []

    def advice(self, failure: Failure) -> str:
        if failure is Failure.UNREACHABLE:
            return "check that the server is running, that `url` is right, and that `syftnotify[redis]` is installed"
        return super().advice(failure)

    def build_transport(self, *, clock: Callable[[], float]) -> Transport:  # noqa: ARG002 - nothing depends on the time
        from syftnotify.transports.redis.sending import RedisTransport

        return RedisTransport(self.url.get_secret_value(), ca_file=self.ca_file, timeout=self.timeout_secs)

    def build_renderer(self, context: RenderContext) -> Renderer:  # noqa: ARG002 - as an inbox stores it
        from syftnotify.transports.redis.renderer import RedisRenderer

        return RedisRenderer()
