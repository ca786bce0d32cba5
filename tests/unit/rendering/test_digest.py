"""Digest mails: grouping, order, limits."""

from __future__ import annotations

from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item
from tests.unit.rendering.emails import (
    PAYLOAD,
    RENDERER,
    parsed,
)


def test_digest_is_one_mail_with_a_header_per_item() -> None:
    items = [
        Item(
            str(n),
            Event(EventKind.JOB_SUBMITTED, f"job/{n}", payload={**PAYLOAD, "name": f"job {n}"}),
            Audience.OWNER,
            Status.WAITING,
        )
        for n in range(150)
    ]
    message = RENDERER.message(items, "to@x.org", digest="d1")
    mail = parsed(message)

    assert message.subject == "SyftBox: 150 waiting"
    assert mail["X-SyftNotify-Event"] == "digest"
    assert mail["X-SyftNotify-Items"] == "150"
    assert message.id == "d1"
    assert mail.get_all("X-SyftNotify-Entity") == [f"job/{n}" for n in range(150)]
    assert "\nana@y.net, 150 jobs\n" in message.text
    assert '- "job 0": waiting for your review https://box.example/' in message.text
    assert "- and 50 more\n" in message.text


def test_digest_is_grouped_by_submitter_most_severe_first() -> None:
    """X06"""

    def of(submitter: str, kind: EventKind, count: int = 1) -> list[Item]:
        payload = {**PAYLOAD, "submitter": submitter}
        events = [Event(kind, f"job/{submitter}/{kind}/{n}", payload=payload) for n in range(count)]
        return [Item("i", event, Audience.OWNER, Status.DONE) for event in events]

    items = [
        *of("calm@x.example", EventKind.JOB_COMPLETED, 2),
        *of("flood@x.example", EventKind.JOB_COMPLETED, 400),
        *of("flood@x.example", EventKind.JOB_FAILED),
        *of("rare@x.example", EventKind.JOB_FAILED),
    ]
    message = RENDERER.message(items, "to@x.org", digest="d1")
    text = message.text
    headings = ["\nrare@x.example, 1 job\n", "\nflood@x.example, 401 jobs\n"]
    rare, flood, calm = map(text.index, [*headings, "\ncalm@x.example, 2 jobs\n"])

    assert message.subject == "SyftBox: 2 failed, 402 done", "in quiet hours, too"
    assert rare < flood < text.index("failed: ", flood) < text.index(": done", flood) < calm
    assert "- and 304 more\n" in text[flood:calm]
    assert text[calm:].count(": done") == 2


def test_digest_counts_submitters_that_it_does_not_name() -> None:
    people = [{**PAYLOAD, "submitter": f"p{n % 130}@x.example"} for n in range(140)]
    events = [Event(EventKind.JOB_COMPLETED, f"job/{n}", payload=who) for n, who in enumerate(people)]
    items = [Item("i", event, Audience.OWNER, Status.DONE) for event in events]

    assert "And 40 more from 30 other senders;" in RENDERER.message(items, "to@x.org", digest="d1").text


def test_digest_headers_stay_below_the_gmail_limit() -> None:
    """Google: https://support.google.com/a/answer/14016360; sendmail refuses more than 32 KB."""
    entities = [f"job/{n}/{'x' * (n % 700)}" for n in range(6000)]
    items = [Item(entity, Event(EventKind.JOB_FAILED, entity), Audience.OWNER, Status.FAILED) for entity in entities]
    mail = parsed(RENDERER.message(items, "to@x.org", digest="d1"))

    named = mail.get_all("X-SyftNotify-Entity", [])
    assert named == entities[: len(named)]
    assert len(named) > 50
    assert sum(len(key) + len(value) + 4 for key, value in mail.items()) < 8 * 1024
    assert mail["X-SyftNotify-Items"] == "6000"
