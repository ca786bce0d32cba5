"""A job whose configuration cannot be read, in each rendering."""

from __future__ import annotations

from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.transports.slack.renderer import SlackRenderer
from syftnotify.transports.webhook.renderer import native_object
from tests.support import ANA, OWNER


def test_unreadable_job_in_every_rendering_names_the_reason() -> None:
    """A1: in a digest, in Slack and for programs."""
    payload = {"name": "x", "submitter": ANA, "owner": OWNER, "unreadable": "config.yaml: not UTF-8 text"}
    item = Item("id", Event(EventKind.JOB_SUBMITTED, "job/D/o/a/x", "", "", payload), Audience.OWNER, Status.WAITING)
    reason = "cannot be read (config.yaml: not UTF-8 text)"
    mails = EmailRenderer(TemplateRenderer(), sender=OWNER, links=Links())

    assert reason in SlackRenderer(links=Links()).message([item], "#jobs").text
    assert reason in mails.message([item], OWNER, digest="d").text
    assert native_object(item, Links())["payload"]["unreadable"] == payload["unreadable"]
