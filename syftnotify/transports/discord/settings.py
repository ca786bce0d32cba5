"""Settings of a Discord transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from syftnotify.config.transport import TIMEOUT_MEANING, RenderContext, TransportSettings
from syftnotify.config.urls import SecretUrl
from syftnotify.config.values import Rate, Retries, Text, Timeout, redacted_repr
from syftnotify.core.identifiers import AddressType
from syftnotify.core.ports import Renderer, Transport

# Source: https://discord.com/developers/docs/resources/user#usernames-and-nicknames
_MAX_NAME_LENGTH = 80
_RESERVED = ("discord", "clyde")


class DiscordSettings(TransportSettings):
    """Messages to one channel of a Discord server, through an incoming webhook."""

    address_type: ClassVar[AddressType] = AddressType.ENDPOINT
    secret_keys: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["discord"]
    url: SecretUrl = Field(description="the incoming webhook, a secret")
    username: Text = Field(
        "syftnotify", description="the name beside the messages, without the words discord and clyde"
    )
    timeout_secs: Timeout = Field(10, description=TIMEOUT_MEANING)
    max_retries: Retries | None = 3
    rate: Rate = 0.5  # Discord accepts 30 a minute per channel

    @field_validator("username")
    @classmethod
    def _allowed_username(cls, value: str) -> str:
        if not 0 < len(value.strip()) <= _MAX_NAME_LENGTH or any(word in value.lower() for word in _RESERVED):
            reserved = " and ".join(_RESERVED)
            raise ValueError(
                f"expected 1 to {_MAX_NAME_LENGTH} characters without {reserved}, got {redacted_repr(value)}"
            )
        return value

    def build_transport(self, *, clock: Callable[[], float]) -> Transport:
        from syftnotify.transports.discord.sending import DiscordTransport

        url = self.url.get_secret_value()
        return DiscordTransport(url, username=self.username, timeout=self.timeout_secs, clock=clock)

    def build_renderer(self, context: RenderContext) -> Renderer:
        from syftnotify.rendering.links import Links
        from syftnotify.transports.discord.renderer import DiscordRenderer

        return DiscordRenderer(links=Links(**context.links))
