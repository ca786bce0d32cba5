"""Settings of a Maildir transport."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field

from syftnotify.config.values import FilePath
from syftnotify.core.errors import Failure
from syftnotify.core.ports import Transport
from syftnotify.transports.mail import MailSettings


class MaildirSettings(MailSettings):
    """Mail into a Maildir on this machine: a folder with one file per message."""

    type: Literal["maildir"]
    path: FilePath = Field(Path("mail"), description="the folder; created if it is missing")

    def destination(self, name: str, recipient: str) -> str:  # noqa: ARG002 - all recipients share the folder
        return f", into {self.path}"

    def advice(self, failure: Failure) -> str:
        if failure is Failure.UNREACHABLE:
            return f"check that {self.path} is a folder that you can write to, or change `path`"
        return super().advice(failure)

    def build_transport(self, *, clock: Callable[[], float]) -> Transport:
        from syftnotify.transports.maildir.sending import MaildirTransport

        return MaildirTransport(self.path, clock=clock)
