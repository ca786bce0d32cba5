"""How a mail reads, and how it looks on the wire."""

from __future__ import annotations

import codecs
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item, Message
from syftnotify.core.text import escape, escape_block
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.summary import PLACEHOLDERS, summary_line
from syftnotify.rendering.templates import TemplateRenderer, indented
from syftnotify.transports.mime import build_mime
from syftnotify.transports.slack.renderer import SlackRenderer

WORDING = EmailRenderer(
    TemplateRenderer(),
    sender="owner@x.org",
    links=Links(
        "https://box.example/jobs/{submitter}/{job}",
        "https://box.example/results/{job}",
        "https://box.example/peers/{peer}",
    ),
)
PAYLOAD: dict[str, Any] = {
    "name": "income <survey>",
    "owner": "owner@x.org",
    "submitter": "ana@y.net",
    "reason": "prints raw rows",
    "return_code": 3,
    "stderr": "KeyError: 'secret-row'",
    "code": [{"path": "main.py", "text": "print('</pre><script>')", "cut": False}],
    "summary": "Transport mail is paused.",
    "detail": "sign in again",
    "code_left_out": [{"path": "big.bin", "why": "binary, 9 bytes"}],
}


def item(kind: EventKind, audience: Audience = Audience.OWNER, status: Status = Status.WAITING, **more: Any) -> Item:
    event = Event(kind, "job/D/owner@x.org/ana@y.net/x", "T", "2026-11-22T00:02:00Z", {**PAYLOAD, **more})
    return Item(f"id-{kind.value}-{audience.value}", event, audience, status)


def worded(
    kind: EventKind, audience: Audience = Audience.OWNER, status: Status = Status.WAITING, **more: Any
) -> Message:
    return WORDING.message([item(kind, audience, status, **more)], "to@x.org")


def received(message: Message) -> EmailMessage:
    """The mail after its way over the wire."""
    return BytesParser(policy=default).parsebytes(build_mime(message, date=0.0).as_bytes())


OWNERS = [EventKind.JOB_SUBMITTED, EventKind.JOB_COMPLETED, EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT]
SUBMITTERS = [*OWNERS, EventKind.JOB_APPROVED, EventKind.JOB_REJECTED]
ALL = [
    (kind, Audience.OWNER) for kind in [*OWNERS, EventKind.PEER_REQUESTED, EventKind.SYSTEM_ALERT, EventKind.TEST]
] + [(kind, Audience.SUBMITTER) for kind in [*SUBMITTERS, EventKind.PEER_REQUESTED, EventKind.PEER_GRANTED]]


@pytest.mark.parametrize("emitted", [True, False])
def test_return_code_of_any_kind_is_escaped(emitted: bool) -> None:
    """C11: it may come from an emitter."""
    message = worded(EventKind.JOB_FAILED, return_code="1\x1b[2J\r\nPaid: yes", emitted=emitted)

    assert "\x1b" not in message.text
    assert "Paid" not in [line.partition(":")[0] for line in message.text.splitlines()]
    assert "Return code: 3" in worded(EventKind.JOB_FAILED, emitted=False).text


@pytest.mark.parametrize(("kind", "audience"), ALL)
def test_every_mail_is_standard(kind: EventKind, audience: Audience) -> None:
    """X13"""
    mail = received(worded(kind, audience))

    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_all("To") == ["to@x.org"]
    assert mail["Message-ID"] == f"<id-{kind.value}-{audience.value}@syftnotify.local>"
    assert mail["References"] == mail["In-Reply-To"]
    assert mail["X-SyftNotify-Event"] == kind.value
    assert mail["X-SyftNotify-Audience"] == audience.value
    assert mail["X-SyftNotify-Entity"] == "job/D/owner@x.org/ana@y.net/x"


@pytest.mark.parametrize(("kind", "audience"), ALL)
def test_every_mail_reads_well(kind: EventKind, audience: Audience) -> None:
    message = worded(kind, audience)
    first = message.text.splitlines()[0]

    assert first.endswith(".")
    assert "  " not in first
    assert "None" not in message.text
    assert "{" not in message.text
    assert "\n\n\n" not in message.text
    assert "color-scheme" in message.html
    assert "style=" in message.html, "styles are at the elements"
    assert "<script>" not in message.html


@pytest.mark.parametrize("audience", [Audience.OWNER, Audience.SUBMITTER])
def test_a_job_is_one_conversation_for_each_reader(audience: Audience) -> None:
    """B04"""
    kinds = OWNERS if audience is Audience.OWNER else SUBMITTERS
    mails = [worded(kind, audience) for kind in kinds]

    assert len({mail.subject for mail in mails}) == 1
    assert len({mail.conversation for mail in mails}) == 1
    assert len({mail.id for mail in mails}) == len(kinds)


def test_two_readers_have_two_conversations() -> None:
    other = WORDING.message([item(EventKind.JOB_FAILED)], "else@x.org")

    assert worded(EventKind.JOB_FAILED).conversation != other.conversation


def test_the_owner_sees_the_code_and_what_is_left_out() -> None:
    """B02"""
    message = worded(EventKind.JOB_SUBMITTED)

    assert "print('</pre><script>')" in message.text
    assert "&lt;/pre&gt;&lt;script&gt;" in message.html
    assert "big.bin (binary, 9 bytes)" in message.text


def test_the_owner_sees_the_end_of_stderr_and_the_code_of_return() -> None:
    """B03"""
    message = worded(EventKind.JOB_FAILED, status=Status.FAILED)

    assert "KeyError: 'secret-row'" in message.text
    assert "Return code: 3" in message.text


@pytest.mark.parametrize("kind", SUBMITTERS)
def test_the_scientists_copy_carries_no_private_output(kind: EventKind) -> None:
    message = worded(kind, Audience.SUBMITTER)

    assert "secret-row" not in message.text + message.html
    assert "print(" not in message.text + message.html


def test_a_rejection_carries_its_reason() -> None:
    assert "Reason: prints raw rows" in worded(EventKind.JOB_REJECTED, Audience.SUBMITTER).text
    assert "Reason: none was given" in worded(EventKind.JOB_REJECTED, Audience.SUBMITTER, reason="").text


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (Status.WAITING, "waits for you"),
        (Status.APPROVED, "approved already"),
        (Status.REJECTED, "rejected already"),
        (Status.DONE, "has ended since"),
    ],
)
def test_what_is_true_now_decides_the_words(status: Status, says: str) -> None:
    text = worded(EventKind.JOB_SUBMITTED, status=status).text

    assert says in text
    assert ("waits for you" in text) == (status is Status.WAITING)


def test_a_claimed_submitter_is_shown_as_claimed() -> None:
    """X11"""
    text = worded(EventKind.JOB_SUBMITTED, submitter="", claimed="stranger@z.org").text

    assert "stranger@z.org (claimed by the job itself, not verified)" in text


def test_links_are_put_in_where_they_are_set() -> None:
    """N08"""
    assert "https://box.example/jobs/ana@y.net/income%20%3Csurvey%3E" in worded(EventKind.JOB_SUBMITTED).text
    assert "https://box.example/results/" in worded(EventKind.JOB_COMPLETED, Audience.SUBMITTER).text
    assert "https://box.example/peers/ana@y.net" in worded(EventKind.PEER_REQUESTED).text
    plain = EmailRenderer(TemplateRenderer(), sender="o@x.org", links=Links()).message(
        [item(EventKind.JOB_SUBMITTED)], "t@x.org"
    )
    assert "http" not in plain.text
    assert "href" not in plain.html


def test_a_digest_is_one_mail_with_a_header_for_each_item() -> None:
    items = [
        Item(
            str(n),
            Event(EventKind.JOB_SUBMITTED, f"job/{n}", payload={**PAYLOAD, "name": f"job {n}"}),
            Audience.OWNER,
            Status.WAITING,
        )
        for n in range(150)
    ]
    message = WORDING.message(items, "to@x.org", digest="d1")
    mail = received(message)

    assert message.subject == "SyftBox: 150 requests wait for you"
    assert mail["X-SyftNotify-Event"] == "digest"
    assert mail["X-SyftNotify-Items"] == "150"
    assert message.id == "d1"
    assert mail.get_all("X-SyftNotify-Entity") == [f"job/{n}" for n in range(150)]
    assert '"job 0" from ana@y.net waits for you' in message.text
    assert "- and 50 more from ana@y.net" in message.text


def test_a_digest_is_by_submitter_the_worst_first_and_nobody_hides_behind_a_flood() -> None:
    """X06"""

    def of(submitter: str, kind: EventKind, count: int = 1) -> list[Item]:
        payload = {**PAYLOAD, "submitter": submitter}
        return [Item("i", Event(kind, f"job/{n}", payload=payload), Audience.OWNER, Status.DONE) for n in range(count)]

    items = [
        *of("calm@x.example", EventKind.JOB_COMPLETED, 2),
        *of("flood@x.example", EventKind.JOB_COMPLETED, 400),
        *of("flood@x.example", EventKind.JOB_FAILED),
        *of("rare@x.example", EventKind.JOB_FAILED),
    ]
    message = WORDING.message(items, "to@x.org", digest="d1")
    text = message.text
    places = [text.index(f"\n{who}@x.example\n") for who in ("rare", "flood", "calm")]

    assert message.subject == "SyftBox: 404 things happened", "in quiet hours, too"
    assert places == sorted(places)
    assert text.index("from flood@x.example failed") < text.index("from flood@x.example is done")
    assert "- and 304 more from flood@x.example" in text
    assert text.count("from calm@x.example is done") == 2


def test_a_digest_of_very_many_people_counts_whom_it_does_not_name() -> None:
    people = [{**PAYLOAD, "submitter": f"p{n}@x.example"} for n in range(130)]
    events = [Event(EventKind.JOB_COMPLETED, f"job/{n}", payload=who) for n, who in enumerate(people)]
    items = [Item("i", event, Audience.OWNER, Status.DONE) for event in [*events, *events[:10]]]

    assert "And 40 more from 30 others." in WORDING.message(items, "to@x.org", digest="d1").text


def test_a_digest_names_as_much_in_its_headers_as_gmail_takes() -> None:
    """Limits: https://support.google.com/a/answer/14016360"""
    entities = [f"job/{n}/{'x' * (n % 700)}" for n in range(6000)]
    items = [Item(entity, Event(EventKind.JOB_FAILED, entity), Audience.OWNER, Status.FAILED) for entity in entities]
    mail = received(WORDING.message(items, "to@x.org", digest="d1"))

    named = mail.get_all("X-SyftNotify-Entity", [])
    assert named == entities[: len(named)]
    assert len(named) > 500
    assert len(mail.keys()) < 5000
    assert sum(len(key) + len(value) + 4 for key, value in mail.items()) < 500_000
    assert mail["X-SyftNotify-Items"] == "6000"


@pytest.mark.parametrize("filling", ["x", "<", "&", "é", "😀"])
def test_no_mail_is_so_large_that_gmail_clips_it(filling: str) -> None:
    """B02"""
    code = [{"path": f"{n}.py", "text": filling * 40_000, "cut": False} for n in range(5)]
    message = worded(EventKind.JOB_SUBMITTED, code=code, code_left_out=[])

    assert len(message.html.encode("utf-8")) < 102 * 1024
    assert "too much code for one mail" in message.text


def test_many_small_files_make_no_large_mail() -> None:
    code = [{"path": f"package/module_{n}.py", "text": "x = 1\n" * 20, "cut": False} for n in range(400)]
    message = worded(EventKind.JOB_SUBMITTED, code=code, code_left_out=[])

    assert len(message.html.encode("utf-8")) < 102 * 1024
    assert all(f"package/module_{n}.py" in message.text for n in range(400))


@given(st.text(max_size=120), st.text(max_size=80))
@settings(max_examples=60, deadline=None)
def test_no_name_can_break_out_of_its_place(name: str, submitter: str) -> None:
    """X11"""
    message = worded(EventKind.JOB_SUBMITTED, name=name, submitter=submitter, reason=name)
    mail = received(message)

    assert set(mail.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted",
        "X-Auto-Response-Suppress", "List-Id", "X-SyftNotify-Event", "X-SyftNotify-Audience", "X-SyftNotify-Entity",
        "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert "\x1b" not in message.text + message.subject
    assert "\n" not in message.subject


def test_an_entity_stands_in_one_line_that_a_filter_can_read() -> None:
    entity = "job/D/owner@datasite.example/ana@uni.example/" + "a%20long%20name" * 10
    raw = build_mime(Message("id", "t@x.org", "s", "text", headers=(("X-SyftNotify-Entity", entity),))).as_bytes()

    assert f"\r\nX-SyftNotify-Entity: {entity}\r\n".encode() in raw


def test_a_long_entity_survives_the_wire() -> None:
    entity = "job/D/owner@x.org/ana@y.net/" + "%0A" * 255
    message = Message("id", "t@x.org", "s", "text", headers=(("X-SyftNotify-Entity", entity),))

    assert received(message)["X-SyftNotify-Entity"] == entity


def test_ones_own_template_is_used_and_the_rest_is_built_in(tmp_path: Any) -> None:
    """S10"""
    (tmp_path / "emails").mkdir()
    (tmp_path / "emails" / "new_job.txt").write_text("Mine: {{ job_name }}")
    wording = EmailRenderer(TemplateRenderer(tmp_path), sender="o@x.org", links=Links())
    message = wording.message([item(EventKind.JOB_SUBMITTED)], "t@x.org")

    assert message.text == "Mine: income <survey>"
    assert "New job request" in message.html


@pytest.mark.parametrize(
    ("kind", "status", "says"),
    [
        (EventKind.JOB_WAITING, Status.WAITING, "has been waiting for 24 hours."),
        (EventKind.JOB_WAITING, Status.APPROVED, "had been waiting for 24 hours and is approved now."),
        (EventKind.JOB_LONG_RUNNING, Status.WAITING, "has been running for 24 hours."),
        (EventKind.JOB_LONG_RUNNING, Status.DONE, "had been running for 24 hours and is done now."),
    ],
)
def test_a_reminder_that_comes_late_says_what_is_so_now(kind: EventKind, status: Status, says: str) -> None:
    """X08: out of quiet hours, or a pause."""
    event = Event(kind, "job/x", payload={**PAYLOAD, "minutes": 1440})

    assert summary_line(Item("i", event, Audience.OWNER, status)).endswith(says)


def test_template_with_a_byte_order_mark_is_read_without_it(tmp_path: Path) -> None:
    """D4"""
    folder = tmp_path / "emails"
    folder.mkdir()
    (folder / "test.txt").write_bytes(codecs.BOM_UTF8 + b"hello")

    assert TemplateRenderer(tmp_path).render("emails/test.txt", {}) == "hello"


FORGED = 'x" from owner@x.org is done. Job "y'


@pytest.mark.parametrize(
    "kind", [EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED, EventKind.JOB_FAILED, EventKind.JOB_COMPLETED]
)
def test_a_name_between_quotation_marks_cannot_imitate_a_sentence(kind: EventKind) -> None:
    """C6: in subjects, first lines and digests."""
    audience = Audience.SUBMITTER if kind is EventKind.JOB_APPROVED else Audience.OWNER
    single = worded(kind, audience, name=FORGED)
    digest = WORDING.message([item(kind, audience, name=FORGED)], "to@x.org", digest="d")

    for text in (single.subject, single.text, digest.text, summary_line(item(kind, audience, name=FORGED))):
        assert FORGED not in text
        assert "x\\x22 from owner@x.org is done. Job \\x22y" in text


def test_a_submitter_that_is_no_address_stands_between_quotation_marks() -> None:
    """C6: the name of a folder can have blanks, and so look like words of ours."""
    forged = "ana@y.net is trusted; job"
    text = summary_line(item(EventKind.JOB_SUBMITTED, submitter=forged))

    assert f'from "{forged}" waits' in text
    assert "from ana@y.net waits" in summary_line(item(EventKind.JOB_SUBMITTED, submitter="ana@y.net"))
    assert 'from "\\u0430na@y.net" waits' in summary_line(item(EventKind.JOB_SUBMITTED, submitter="\u0430na@y.net"))


@pytest.mark.parametrize("audience", [Audience.OWNER, Audience.OPERATOR, Audience.RECIPIENT, Audience.JOB_REQUESTED])
@pytest.mark.parametrize("kind", [*OWNERS, EventKind.JOB_WAITING, EventKind.JOB_LONG_RUNNING])
def test_line_marks_an_unverified_submitter(kind: EventKind, audience: Audience) -> None:
    """C1: in digests and on Slack, too."""
    unverified = item(kind, audience, unverified=True)

    assert "ana@y.net (unverified: no peer record)" in summary_line(unverified)
    assert "ana@y.net (unverified: no peer record)" in SlackRenderer(links=Links()).message([unverified], "#jobs").text
    assert "unverified" not in summary_line(item(kind, audience))
    assert "unverified" not in received(worded(kind, Audience.SUBMITTER, unverified=True)).as_string()


LINE_ENDS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
IMITATIONS = ["--- code/main.py ---", "See the job: https://evil.example/login", "Not shown:"]


@pytest.mark.parametrize("end", LINE_ENDS, ids=ascii)
@pytest.mark.parametrize(
    ("kind", "audience", "more"),
    [
        (EventKind.JOB_SUBMITTED, Audience.OWNER, {}),
        (EventKind.JOB_FAILED, Audience.OWNER, {}),
        (EventKind.JOB_FAILED, Audience.RECIPIENT, {}),
        (EventKind.JOB_FAILED, Audience.RECIPIENT, {"emitted": True}),
        (EventKind.JOB_FAILED, Audience.RECIPIENT, {"emitted": True, "error": IMITATIONS[1]}),
        (EventKind.JOB_REJECTED, Audience.SUBMITTER, {}),
        (EventKind.JOB_APPROVED, Audience.SUBMITTER, {}),
    ],
)
def test_text_of_foreign_blocks_cannot_begin_a_line(
    kind: EventKind, audience: Audience, more: dict[str, Any], end: str
) -> None:
    """C6, C2: code, stderr, an error or a reason cannot imitate headings and links of the mail."""
    foreign = end.join(["", *IMITATIONS, ""])
    code = [{"path": "run.sh", "text": escape_block(foreign), "cut": False}]
    values = {"code": code, "stderr": escape_block(foreign), "error": foreign, "reason": foreign, **more}
    emitted = bool(values.pop("emitted", False))
    event = Event(kind, "job/x", payload={**PAYLOAD, "code_left_out": [], **values}, emitted=emitted)
    plain = EmailRenderer(TemplateRenderer(), sender="o@x.org", links=Links())
    text = plain.message([Item("i", event, audience, Status.FAILED)], "to@x.org").text

    assert any(imitation in text for imitation in IMITATIONS)
    assert not [line for line in text.splitlines() if line.startswith(tuple(IMITATIONS))]


def test_indented_of_a_block_keeps_its_lines() -> None:
    """C6: lines without text stay empty."""
    assert indented("a\n\n\tb\r\nc\u2028d\n") == "    a\n\n    \tb\r\n    c\u2028    d\n"
    assert indented("") == ""


@pytest.mark.parametrize(
    "who", ["ana", "ana.y.net", "\u0430na@y.net", "ana@", "ana@y.net.", "\u7528\u6237@\u4f8b\u3048.jp"]
)
def test_a_submitter_without_a_mail_address_is_quoted(who: str) -> None:
    """C6: one word, too, so that it is not read as an address or as our own word."""
    assert f'from "{escape(who, quoted=True)}" waits' in summary_line(item(EventKind.JOB_SUBMITTED, submitter=who))


@pytest.mark.parametrize("kind", EventKind)
@pytest.mark.parametrize("audience", Audience)
def test_summary_and_mail_of_every_kind_render_without_a_payload(kind: EventKind, audience: Audience) -> None:
    """An `EventSpec` row is all that a kind needs: its texts name known placeholders, its templates exist."""
    bare = Item("i", Event(kind, "job/x"), audience, Status.WAITING)

    assert summary_line(bare) or kind is EventKind.SYSTEM_ALERT
    assert WORDING.message([bare], "to@x.org").subject


@pytest.mark.parametrize("kind", EventKind)
def test_texts_of_every_kind_name_known_placeholders(kind: EventKind) -> None:
    texts = (kind.spec.summary, kind.spec.submitter_summary, kind.spec.subject)

    assert {name for text in texts for _, name, _, _ in Formatter().parse(text) if name} <= set(PLACEHOLDERS)


@pytest.mark.parametrize("audience", Audience)
def test_subject_of_peer_mail_says_your_request_to_the_peer_only(audience: Audience) -> None:
    subject = worded(EventKind.PEER_REQUESTED, audience).subject

    is_peer = audience is Audience.SUBMITTER
    assert subject == ("Your SyftBox peer request to owner@x.org" if is_peer else "SyftBox peer request from ana@y.net")
