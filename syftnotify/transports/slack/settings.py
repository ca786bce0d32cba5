"""Settings of a Slack transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field

from syftnotify.config.transport import TIMEOUT_MEANING, RenderContext, TransportSettings
from syftnotify.config.urls import SecretUrl
from syftnotify.config.values import Burst, Rate, Retries, Text, Timeout
from syftnotify.core.identifiers import AddressType
from syftnotify.core.ports import Renderer, Transport


class SlackSettings(TransportSettings):
    """Messages to a Slack workspace, through an incoming webhook."""

    address_type: ClassVar[AddressType] = AddressType.CHANNEL
    secret_keys: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["slack"]
    url: SecretUrl = Field(description="the incoming webhook, a secret")
    username: Text = Field("syftnotify", description="the name beside the messages")
    icon_emoji: Text = Field(":gear:", description="the picture beside the messages")
    timeout_secs: Timeout = Field(10, description=TIMEOUT_MEANING)
    max_retries: Retries | None = 3
    # Source: https://docs.slack.dev/apis/web-api/rate-limits
    rate: Rate = 1  # Slack accepts one per second and channel
    burst: Burst = 1

    def build_transport(self, *, clock: Callable[[], float]) -> Transport:
        from syftnotify.transports.slack.sending import SlackTransport

        return SlackTransport(
            self.url.get_secret_value(),
            username=self.username,
            icon_emoji=self.icon_emoji,
            timeout=self.timeout_secs,
            clock=clock,
        )

    def build_renderer(self, context: RenderContext) -> Renderer:
        from syftnotify.rendering.links import Links
        from syftnotify.transports.slack.renderer import SlackRenderer

        return SlackRenderer(links=Links(**context.links))
