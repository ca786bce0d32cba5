"""Summary lines: status, submitters, placeholders."""

from __future__ import annotations

from string import Formatter

import pytest

from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item
from syftnotify.core.text import escape
from syftnotify.rendering.links import Links
from syftnotify.rendering.summary import PLACEHOLDERS, summary_line
from syftnotify.transports.slack.renderer import SlackRenderer
from tests.unit.rendering.emails import (
    OWNER_KINDS,
    PAYLOAD,
    item,
    parsed,
    rendered,
)


@pytest.mark.parametrize(
    ("kind", "status", "says"),
    [
        (EventKind.JOB_WAITING, Status.WAITING, "has been waiting for 24 hours."),
        (EventKind.JOB_WAITING, Status.APPROVED, "had been waiting for 24 hours and is approved now."),
        (EventKind.JOB_LONG_RUNNING, Status.WAITING, "has been running for 24 hours."),
        (EventKind.JOB_LONG_RUNNING, Status.DONE, "had been running for 24 hours and is done now."),
    ],
)
def test_summary_of_a_late_reminder_names_the_current_status(kind: EventKind, status: Status, says: str) -> None:
    """X08: out of quiet hours, or a pause."""
    event = Event(kind, "job/x", payload={**PAYLOAD, "minutes": 1440})

    assert summary_line(Item("i", event, Audience.OWNER, status)).endswith(says)


def test_summary_quotes_a_submitter_that_is_a_sentence() -> None:
    """C6: the name of a folder may contain blanks and imitate a sentence."""
    forged = "ana@y.net is trusted; job"
    text = summary_line(item(EventKind.JOB_SUBMITTED, submitter=forged))

    assert f'from "{forged}" is waiting' in text
    assert "from ana@y.net is waiting" in summary_line(item(EventKind.JOB_SUBMITTED, submitter="ana@y.net"))
    assert 'from "\\u0430na@y.net" is waiting' in summary_line(
        item(EventKind.JOB_SUBMITTED, submitter="\u0430na@y.net")
    )


@pytest.mark.parametrize("audience", [Audience.OWNER, Audience.OPERATOR, Audience.RECIPIENT, Audience.JOB_REQUESTED])
@pytest.mark.parametrize("kind", [*OWNER_KINDS, EventKind.JOB_WAITING, EventKind.JOB_LONG_RUNNING])
def test_summary_marks_an_unverified_submitter(kind: EventKind, audience: Audience) -> None:
    """C1: in digests and on Slack, too."""
    unverified = item(kind, audience, unverified=True)

    assert "ana@y.net (unverified: no peer record)" in summary_line(unverified)
    assert "ana@y.net (unverified: no peer record)" in SlackRenderer(links=Links()).message([unverified], "#jobs").text
    assert "unverified" not in summary_line(item(kind, audience))
    assert "unverified" not in parsed(rendered(kind, Audience.SUBMITTER, unverified=True)).as_string()


@pytest.mark.parametrize(
    "who", ["ana", "ana.y.net", "\u0430na@y.net", "ana@", "ana@y.net.", "\u7528\u6237@\u4f8b\u3048.jp"]
)
def test_summary_quotes_a_submitter_that_is_no_address(who: str) -> None:
    """C6: one word, too, so that it is not read as an address or as our own word."""
    assert f'from "{escape(who, quoted=True)}" is waiting' in summary_line(item(EventKind.JOB_SUBMITTED, submitter=who))


@pytest.mark.parametrize("kind", EventKind)
def test_summary_of_every_kind_has_known_placeholders(kind: EventKind) -> None:
    texts = (kind.spec.summary, kind.spec.submitter_summary)

    assert {name for text in texts for _, name, _, _ in Formatter().parse(text) if name} <= set(PLACEHOLDERS)
