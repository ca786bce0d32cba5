"""The samples of `notify preview`, rendered with default settings in a fixed time zone."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from syftnotify.core.models import Message
from syftnotify.rendering.email import EmailRenderer, MailOptions
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.services.samples import OWNER, Sample

_RENDERER = EmailRenderer(
    TemplateRenderer(),
    sender=OWNER,
    links=Links("https://box.example/jobs/{job}", "https://box.example/results/{job}", "https://box.example/{peer}"),
    options=MailOptions(timezones={OWNER: ZoneInfo("Europe/Berlin")}),
)


def rendered(sample: Sample) -> Message:
    return sample.render(_RENDERER)
