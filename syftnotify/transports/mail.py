"""Settings that all mail transports share."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from syftnotify.config.transport import RenderContext, TransportSettings
from syftnotify.config.values import Flag, Text
from syftnotify.core.identifiers import AddressType
from syftnotify.core.ports import Renderer


class MailSettings(TransportSettings):
    """Base class of the settings of mail transports."""

    address_type: ClassVar[AddressType] = AddressType.MAIL

    subject_prefix: Text = Field("", description="prefix of each subject: `'[prod]'`")
    body: Literal["both", "plain", "html"] = Field("both", description="text and HTML, or one of them")
    subject_status: Flag = Field(
        False,
        description="each subject begins with the status (`✕ Failed: SyftBox job ...`), for mail programs that do not"
        " group conversations; programs that do then show each status as a separate conversation",
    )

    def default_recipients(self, name: str, owner: str) -> tuple[str, ...]:  # noqa: ARG002 - mail goes to addresses
        return self.default_recipient or (owner,)

    def build_renderer(self, context: RenderContext) -> Renderer:
        from syftnotify.rendering.email import EmailRenderer, MailOptions
        from syftnotify.rendering.links import Links
        from syftnotify.rendering.templates import cached_renderer

        return EmailRenderer(
            cached_renderer(context.templates),
            sender=context.owner,
            links=Links(**context.links),
            options=MailOptions(self.subject_prefix, self.body, self.subject_status, context.timezones),
        )
