"""Mails of one event: content, conversation, limits, escaping."""

from __future__ import annotations

from typing import Any

import pytest

from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item, Message
from syftnotify.core.text import escape_block
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.summary import summary_line
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.transports.mime import build_mime
from tests.parameters import thorough_except
from tests.unit.rendering.emails import (
    ALL_MAILS,
    OWNER_KINDS,
    PAYLOAD,
    RENDERER,
    SUBMITTER_KINDS,
    item,
    parsed,
    rendered,
)


@pytest.mark.parametrize("emitted", [True, False])
def test_mail_return_code_is_escaped(emitted: bool) -> None:
    """C11: it may come from an emitter."""
    message = rendered(EventKind.JOB_FAILED, return_code="1\x1b[2J\r\nPaid: yes", emitted=emitted)

    assert "\x1b" not in message.text
    assert "Paid" not in [line.partition(":")[0] for line in message.text.splitlines()]
    assert "Exit code:    3 (" in rendered(EventKind.JOB_FAILED, emitted=False).text


@pytest.mark.parametrize(("kind", "audience"), ALL_MAILS)
def test_mail_of_every_kind_has_the_standard_headers(kind: EventKind, audience: Audience) -> None:
    """X13"""
    mail = parsed(rendered(kind, audience))

    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_all("To") == ["to@x.org"]
    assert mail["Message-ID"] == f"<id-{kind.value}-{audience.value}@x.org>"
    assert mail["List-Id"] == "SyftBox notifications <notifications.x.org>"
    assert (mail["List-Unsubscribe"] is None) is (audience is Audience.OWNER)
    assert mail["References"] == mail["In-Reply-To"]
    assert mail["X-SyftNotify-Event"] == kind.value
    assert mail["X-SyftNotify-Audience"] == audience.value
    assert mail["X-SyftNotify-Entity"] == "job/D/owner@x.org/ana@y.net/x"


@pytest.mark.parametrize(("kind", "audience"), ALL_MAILS)
def test_mail_of_every_kind_is_well_formed(kind: EventKind, audience: Audience) -> None:
    message = rendered(kind, audience)
    first = message.text.splitlines()[0]

    assert first[:2] in {"● ", "✕ ", "⚠ ", "✓ "}
    assert not first.endswith((" ", ".", ":"))
    assert "  " not in first
    assert "None" not in message.text
    assert "{" not in message.text
    assert "\n\n\n" not in message.text
    assert "color-scheme" in message.html
    assert "style=" in message.html, "styles are at the elements"
    assert "<script>" not in message.html


@pytest.mark.parametrize("audience", [Audience.OWNER, Audience.SUBMITTER])
def test_mails_of_a_job_are_one_conversation_per_recipient(audience: Audience) -> None:
    """B04"""
    kinds = OWNER_KINDS if audience is Audience.OWNER else SUBMITTER_KINDS
    mails = [rendered(kind, audience) for kind in kinds]

    assert len({mail.subject for mail in mails}) == 1
    assert len({mail.conversation for mail in mails}) == 1
    assert len({mail.id for mail in mails}) == len(kinds)


def test_mails_to_two_recipients_are_two_conversations() -> None:
    other = RENDERER.message([item(EventKind.JOB_FAILED)], "else@x.org")

    assert rendered(EventKind.JOB_FAILED).conversation != other.conversation


def test_mail_to_the_owner_contains_code_and_omitted_files() -> None:
    """B02"""
    message = rendered(EventKind.JOB_SUBMITTED)

    assert "print('</pre><script>')" in message.text
    assert "&lt;/pre&gt;&lt;script&gt;" in message.html
    assert '- not shown: "big.bin" (binary, 9 bytes)' in message.text


def test_mail_to_the_owner_contains_stderr_and_return_code() -> None:
    """B03"""
    message = rendered(EventKind.JOB_FAILED, status=Status.FAILED)

    assert message.text.startswith("✕ Failed: KeyError: 'secret-row'\n")
    assert "Exit code:    3 (" in message.text


@pytest.mark.parametrize("kind", SUBMITTER_KINDS)
def test_mail_to_the_submitter_contains_no_private_output(kind: EventKind) -> None:
    message = rendered(kind, Audience.SUBMITTER)

    assert "secret-row" not in message.text + message.html
    assert "print(" not in message.text + message.html


def test_mail_of_a_rejection_contains_its_reason() -> None:
    given = rendered(EventKind.JOB_REJECTED, Audience.SUBMITTER, reason="prints raw rows\n\nand names")

    assert "The data owner's reason:\n\n> prints raw rows\n>\n> and names\n" in given.text
    assert "gave no reason" in rendered(EventKind.JOB_REJECTED, Audience.SUBMITTER, reason="").text


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (Status.WAITING, "● Waiting for your review"),
        (Status.APPROVED, "✓ Already approved"),
        (Status.REJECTED, "✕ Already rejected"),
        (Status.DONE, "✓ Already done"),
    ],
)
def test_mail_names_the_current_status(status: Status, says: str) -> None:
    text = rendered(EventKind.JOB_SUBMITTED, status=status).text

    assert text.splitlines()[0] == says
    assert ("job.approve()" in text) == (status is Status.WAITING)


def test_mail_marks_a_claimed_submitter() -> None:
    """X11"""
    text = rendered(EventKind.JOB_SUBMITTED, submitter="", claimed="stranger@z.org").text

    assert "from stranger@z.org (as the job claims; not verified), submitted" in text


def test_mail_contains_configured_links() -> None:
    """N08"""
    assert "https://box.example/jobs/ana@y.net/income%20%3Csurvey%3E" in rendered(EventKind.JOB_SUBMITTED).text
    assert "https://box.example/results/" in rendered(EventKind.JOB_COMPLETED, Audience.SUBMITTER).text
    assert "https://box.example/peers/ana@y.net" in rendered(EventKind.PEER_REQUESTED).text
    plain = EmailRenderer(TemplateRenderer(), sender="o@x.org", links=Links()).message(
        [item(EventKind.JOB_SUBMITTED)], "t@x.org"
    )
    assert "http" not in plain.text
    assert "href" not in plain.html


@pytest.mark.parametrize("fillings", [*"x<&é😀", "<x"])
def test_mail_with_large_code_stays_below_the_gmail_limit(fillings: str) -> None:
    """B02"""
    text = "".join(filling * (40_000 // len(fillings)) for filling in fillings)
    code = [{"path": f"{n}.py", "text": text, "cut": False} for n in range(5)]
    message = rendered(EventKind.JOB_SUBMITTED, code=code, code_left_out=[])

    assert len(message.html.encode("utf-8")) < 102 * 1024
    assert "too much code for one mail" in message.text


def test_mail_with_many_files_stays_below_the_gmail_limit() -> None:
    code = [{"path": f"package/module_{n}.py", "text": "x = 1\n" * 20, "cut": False} for n in range(400)]
    message = rendered(EventKind.JOB_SUBMITTED, code=code, code_left_out=[])

    assert len(message.html.encode("utf-8")) < 102 * 1024
    assert all(f"package/module_{n}.py" in message.text for n in range(400))


def test_mail_entity_header_is_one_line() -> None:
    entity = "job/D/owner@datasite.example/ana@uni.example/" + "a%20long%20name" * 10
    raw = build_mime(Message("id", "t@x.org", "s", "text", headers=(("X-SyftNotify-Entity", entity),))).as_bytes()

    assert f"\r\nX-SyftNotify-Entity: {entity}\r\n".encode() in raw


def test_mail_long_entity_header_is_kept() -> None:
    entity = "job/D/owner@x.org/ana@y.net/" + "%0A" * 255
    message = Message("id", "t@x.org", "s", "text", headers=(("X-SyftNotify-Entity", entity),))

    assert parsed(message)["X-SyftNotify-Entity"] == entity


LINE_ENDS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


IMITATIONS = ["--- code/main.py ---", "View the job: https://evil.example/login", "Not shown:"]


@pytest.mark.parametrize(
    "end", thorough_except({"'\\n'", "'\\x85'", "'\\u2028'"}, {ascii(end): end for end in LINE_ENDS})
)
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
def test_mail_external_text_cannot_begin_a_line(
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


FORGED = 'x" from owner@x.org is done. Job "y'


@pytest.mark.parametrize(
    "kind", [EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED, EventKind.JOB_FAILED, EventKind.JOB_COMPLETED]
)
def test_mail_name_with_quotation_marks_is_escaped(kind: EventKind) -> None:
    """C6: in subjects, first lines and digests; calls contain it as a Python literal."""
    audience = Audience.SUBMITTER if kind is EventKind.JOB_APPROVED else Audience.OWNER
    single = rendered(kind, audience, name=FORGED)
    prose = "\n".join(line for line in single.text.splitlines() if "    if job.name == " not in line)
    digest = RENDERER.message([item(kind, audience, name=FORGED)], "to@x.org", digest="d")

    for text in (single.subject, prose, digest.text, summary_line(item(kind, audience, name=FORGED))):
        assert FORGED not in text
        assert "x\\x22 from owner@x.org is done. Job \\x22y" in text


@pytest.mark.parametrize("audience", Audience)
def test_mail_subject_of_a_peer_request_depends_on_the_reader(audience: Audience) -> None:
    subject = rendered(EventKind.PEER_REQUESTED, audience).subject

    is_peer = audience is Audience.SUBMITTER
    assert subject == ("Your SyftBox peer request to owner@x.org" if is_peer else "SyftBox peer request from ana@y.net")


@pytest.mark.parametrize("kind", EventKind)
@pytest.mark.parametrize("audience", Audience)
def test_summary_and_mail_of_every_kind_render_without_a_payload(kind: EventKind, audience: Audience) -> None:
    """An `EventSpec` row is all that a kind needs: its texts name known placeholders, its templates exist."""
    bare = Item("i", Event(kind, "job/x"), audience, Status.WAITING)

    assert summary_line(bare) or kind is EventKind.SYSTEM_ALERT
    assert RENDERER.message([bare], "to@x.org").subject
