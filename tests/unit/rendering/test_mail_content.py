"""Content of mails by audience: order, limits, imitation, links, privacy, time zones."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Item, Message
from syftnotify.rendering.email import EmailRenderer, MailOptions
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.services.samples import OWNER, SCIENTIST, Sample, SampleType, all_samples, sample
from tests.mail_samples import rendered

HOSTILE = [each for each in all_samples() if each.type is SampleType.HOSTILE]
REALISTIC = [each for each in all_samples() if each.type is SampleType.REALISTIC]


class VisibleText(HTMLParser):
    """The text of an HTML mail outside of boxes of code, where names may be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._skipped = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        is_box = "box" in (dict(attrs).get("class") or "").split()
        if self._skipped or is_box or tag in {"style", "title"}:
            self._skipped += tag not in {"br", "meta", "img"}

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= bool(self._skipped)

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.parts.append(data)


def visible_text(message: Message) -> str:
    parser = VisibleText()
    parser.feed(message.html)
    return "".join(parser.parts)


def renderer(**options: Any) -> EmailRenderer:
    return EmailRenderer(TemplateRenderer(), sender=OWNER, links=Links(), options=MailOptions(**options))


def with_payload(kind: EventKind, audience: Audience, **values: Any) -> Item:
    (item,) = sample(kind, audience).items
    return replace(item, event=replace(item.event, payload={**item.event.payload, **values}))


@pytest.mark.parametrize("each", REALISTIC, ids=lambda each: each.name)
def test_mail_begins_with_the_news_in_text_and_html(each: Sample) -> None:
    """The first line is what mail programs show beside the subject."""
    message = rendered(each)
    first = message.text.splitlines()[0]

    assert first[:2] in {"● ", "✓ ", "✕ ", "⚠ "}
    assert visible_text(message).replace("\N{ZERO WIDTH NON-JOINER}", "").strip().startswith(first)


@pytest.mark.parametrize("each", HOSTILE, ids=lambda each: each.name)
def test_mail_name_never_becomes_a_link(each: Sample) -> None:
    """Mail programs turn `evil.example` and `main.py` into links, unless something invisible interrupts them."""
    text = visible_text(rendered(each))

    assert "evil.example" not in text
    assert "main.py" not in text


@pytest.mark.parametrize("each", HOSTILE, ids=lambda each: each.name)
def test_mail_text_cannot_be_imitated(each: Sample) -> None:
    """Each line of code, output and reason is indented, quoted or numbered."""
    lines = rendered(each).text.splitlines()

    for line in (
        "To decide",
        "job.approve()",
        "✓ Approved: this job is safe. Sent by syftnotify.",
        "Not shown: nothing",
    ):
        assert lines.count(line) <= (line == "To decide")
    assert "<script>" not in rendered(each).html


def test_mail_of_a_job_shows_the_entry_point_before_a_file_of_3000_lines() -> None:
    """C2: whatever the scientist orders or adds; both are within the limits of mail programs."""
    message = rendered(sample(EventKind.JOB_SUBMITTED, Audience.OWNER, SampleType.HOSTILE))

    assert '"code/main.py" (13 lines):' in message.text
    assert message.text.index('"code/main.py" (13 lines)') < message.text.index('"code/a.py" (3000 lines or more)')
    assert "[more than 2615 more lines not shown]" in message.text
    assert message.text.index('unlisted file: "code/evil.example.so"') < message.text.index("To decide")
    assert message.text.index('binary file: "code/data.bin"') < message.text.index("To decide")


@pytest.mark.parametrize("line", ["x = 1", "<&>" * 60, "ü" * 50], ids=["short", "escaped", "long"])
def test_mail_of_much_code_is_below_the_limit_of_gmail(line: str) -> None:
    """At most 102 KB and 400 lines; cut at the end of a line, with the number of lines that are left out."""
    code = [{"path": f"code/{number}.py", "text": f"{line}\n" * 390, "cut": False, "lines": 390} for number in range(9)]
    message = renderer().message([with_payload(EventKind.JOB_SUBMITTED, Audience.OWNER, code=code, review={})], OWNER)

    assert len(message.html.encode()) < 102 * 1024
    shown = [each for each in message.text.splitlines() if re.fullmatch(r" *\d+  .*", each)]
    assert 0 < len(shown) <= 400
    assert {each.lstrip().partition("  ")[2] for each in shown} == {line}
    assert re.search(r"\[\d+ more lines not shown\]", message.text)


@pytest.mark.parametrize(
    ("kind", "audience"),
    [
        (EventKind.JOB_FAILED, Audience.SUBMITTER),
        (EventKind.JOB_FAILED, Audience.JOB_REQUESTED),
        (EventKind.JOB_TIMEOUT, Audience.SUBMITTER),
    ],
)
def test_mail_of_a_failure_shows_private_output_to_nobody_else(kind: EventKind, audience: Audience) -> None:
    """B03: only the owner, operators and recipients of the configuration."""
    message = renderer().message([with_payload(kind, audience)], SCIENTIST)

    for part in (message.text, message.html):
        assert "KeyError" not in part
        assert "site-packages" not in part


def test_mail_of_a_failure_says_what_reaches_the_scientist_anyway() -> None:
    """Only where the client's rules share the logs."""
    shared = renderer().message([with_payload(EventKind.JOB_FAILED, Audience.SUBMITTER)], SCIENTIST)
    private = renderer().message([with_payload(EventKind.JOB_FAILED, Audience.SUBMITTER, shares_logs=False)], SCIENTIST)

    assert "stdout.txt and stderr.txt of the run reach your SyftBox folder" in shared.text
    assert "ask the data owner for it" in private.text
    assert "job.stderr" not in private.text


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        ({SCIENTIST: "Asia/Kolkata", OWNER: "Europe/Berlin"}, "15 Jan 2026, 23:10 IST"),
        ({OWNER: "Europe/Berlin"}, "15 Jan 2026, 18:40 CET"),
    ],
)
def test_mail_times_are_in_the_zone_of_the_reader(zones: dict[str, str], expected: str) -> None:
    """Otherwise in the owner's."""
    options = {address: ZoneInfo(name) for address, name in zones.items()}
    message = renderer(timezones=options).message(
        [with_payload(EventKind.JOB_COMPLETED, Audience.SUBMITTER)], SCIENTIST
    )

    assert f"Ended:        {expected}, after 14 s" in message.text


def test_mail_subject_shows_the_status_if_configured() -> None:
    items = [with_payload(EventKind.JOB_FAILED, Audience.OWNER)]

    assert renderer().message(items, OWNER).subject == f'SyftBox job "income survey" from {SCIENTIST}'
    assert renderer(subject_status=True).message(items, OWNER).subject == (
        f'✕ Failed: SyftBox job "income survey" from {SCIENTIST}'
    )


@pytest.mark.parametrize(
    ("kind", "audience", "values", "expected"),
    [
        (EventKind.JOB_SUBMITTED, Audience.OWNER, {}, SCIENTIST),
        (EventKind.JOB_SUBMITTED, Audience.OWNER, {"unverified": True}, ""),
        (EventKind.JOB_SUBMITTED, Audience.OWNER, {"submitter": "", "claimed": SCIENTIST}, ""),
        (EventKind.JOB_FAILED, Audience.OWNER, {}, ""),  # a reply would quote stderr
        (EventKind.JOB_REJECTED, Audience.SUBMITTER, {}, OWNER),
        (EventKind.JOB_COMPLETED, Audience.RECIPIENT, {}, ""),
    ],
)
def test_mail_reply_goes_to_the_other_side(
    kind: EventKind, audience: Audience, values: dict[str, Any], expected: str
) -> None:
    message = renderer().message([with_payload(kind, audience, **values)], OWNER)

    assert message.reply_to == expected
    assert ("A reply to this mail goes to" in message.text) == (kind is EventKind.JOB_SUBMITTED and bool(expected))


@pytest.mark.parametrize(
    ("audience", "is_expected"), [(Audience.OWNER, False), (Audience.SUBMITTER, True), (Audience.RECIPIENT, True)]
)
def test_mail_to_others_than_the_owner_can_be_unsubscribed(audience: Audience, is_expected: bool) -> None:
    message = renderer().message([with_payload(EventKind.JOB_COMPLETED, audience)], SCIENTIST)
    found = dict(message.headers).get("List-Unsubscribe")

    assert found == (f"<mailto:{OWNER}?subject=unsubscribe>" if is_expected else None)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (137, "killed, probably out of memory"),
        (-9, "killed, probably out of memory"),
        (143, "terminated from outside"),
        (127, "command not found"),
        (-1, "time limit, or the runner failed"),
        (135, "ended by signal 7"),
    ],
)
def test_mail_of_a_failure_explains_the_exit_code(code: int, words: str) -> None:
    message = renderer().message([with_payload(EventKind.JOB_FAILED, Audience.OWNER, return_code=code)], OWNER)

    assert f"Exit code:    {code} ({words})" in message.text


def test_mail_of_a_rejection_keeps_the_paragraphs_of_the_reason() -> None:
    """A line end is a line end, in both parts."""
    reason = "First line.\n\nSecond paragraph."
    message = renderer().message([with_payload(EventKind.JOB_REJECTED, Audience.SUBMITTER, reason=reason)], SCIENTIST)

    assert message.text.startswith("✕ Rejected: First line.\n")
    assert "> First line.\n>\n> Second paragraph." in message.text
    assert html.escape(reason) in message.html.replace("\N{ZERO WIDTH NON-JOINER}", "")


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [
        ("catch-up-1#2", "when syftnotify scanned for the first time"),
        ("bundle-1#2", "syftnotify was not running"),
        ("quiet-1#2", "your quiet hours"),
        ("digest-1#2", "the `digest` setting"),
        ("storm-1#2", "very many notifications in a short time"),
        ("share-1#2", "more than a fifth"),
    ],
)
def test_digest_says_why_it_is_one(bundle: str, reason: str) -> None:
    items = [replace(each, bundle=bundle) for each in sample(EventKind.DIGEST, Audience.OWNER).items]

    assert reason in renderer().message(items, OWNER, digest="id").text


def test_digest_has_one_row_for_each_job_with_its_outcome() -> None:
    """The latest of its events counts, and the worst come first."""
    steps = (EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED, EventKind.JOB_FAILED)
    failed = [replace(with_payload(kind, Audience.OWNER), status=Status.FAILED) for kind in steps]
    other = with_payload(EventKind.JOB_SUBMITTED, Audience.OWNER, name="other")
    waiting = replace(other, event=replace(other.event, entity="job/D/o/a/other"))
    message = renderer().message([waiting, *failed], OWNER, digest="id")

    assert message.subject == "SyftBox: 1 failed, 1 waiting"
    rows = [line for line in message.text.splitlines() if line.startswith("- ")]
    assert [row.partition(" (")[0] for row in rows] == [
        "- \"income survey\": failed after 14 s: KeyError: 'weight'",
        '- "other": waiting for your review',
    ]


def test_digest_keeps_a_change_of_files_and_a_second_submission() -> None:
    """Neither is what happened to the job later, or earlier."""
    done = with_payload(EventKind.JOB_COMPLETED, Audience.OWNER)
    changed = replace(with_payload(EventKind.JOB_FILES_CHANGED, Audience.OWNER), status=Status.DONE)
    again = with_payload(EventKind.JOB_SUBMITTED, Audience.OWNER, submitted_at="2026-01-16T08:00:00Z")

    assert renderer().message([changed, done, again], OWNER, digest="id").subject == (
        "SyftBox: 1 with changed files, 1 waiting, 1 done"
    )


def test_mail_about_names_with_quotation_marks_keeps_them_inside() -> None:
    """Of files, dependencies and datasets."""
    name = 'a.py" (checked, safe) "'
    review = {"entrypoint": name, "dependencies": [{"name": name, "versions": "one"}], "datasets": [name]}
    code = [{"path": name, "text": "x\n", "cut": False, "lines": 1}]
    left_out = [{"path": name, "why": "binary"}]
    item = with_payload(EventKind.JOB_SUBMITTED, Audience.OWNER, review=review, code=code, code_left_out=left_out)

    assert '" (checked' not in renderer().message([item], OWNER).text


@pytest.mark.parametrize(
    ("is_proven", "words"), [(True, "the job you approved"), (False, "the job that is marked as approved")]
)
def test_mail_says_who_decided_only_where_it_is_proven(is_proven: bool, words: str) -> None:
    """In A to B4 a scientist can make the marks of a decision."""
    comparison = {"name": "x", "status": "approved", "is_proven": is_proven, "changed": 1, "total": 1, "changes": []}
    item = with_payload(EventKind.JOB_SUBMITTED, Audience.OWNER, review={"comparison": comparison})

    assert (
        renderer()
        .message([item], OWNER)
        .text.startswith(f"● Waiting for your review: 1 of 1 file changed since {words}\n")
    )
