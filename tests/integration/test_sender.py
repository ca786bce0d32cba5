"""GmailSender: one mail per call, True or False, never an exception."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.sender import GmailSender
from syftnotify.transports.gmail.auth import GmailAuth
from tests.fakes.google import (
    SECRET,
    Google,
    Responder,
    close_connection,
    reset_connection,
    respond_body,
    respond_error,
    respond_html,
)
from tests.support import ANA, OWNER

WHEN = datetime(2024, 1, 15, 15, 30, tzinfo=UTC)


Call = Callable[[GmailSender], bool]


def sender_at(google: Google, folder: Path, *, use_html: bool = True) -> GmailSender:
    token = google.write_token(folder / "gmail_token.json")
    return GmailSender(GmailAuth().load_credentials(token), use_html, api_endpoint=google.url)


@pytest.fixture
def sender(google: Google, tmp_path: Path) -> GmailSender:
    return sender_at(google, tmp_path)


# Each call with the recipient, and with what its subject and both its faces must say.
_CALLS = [
    pytest.param(
        lambda sender: sender.notify_new_job(OWNER, "income survey", ANA, WHEN, "https://box.example/jobs/1"),
        OWNER,
        ("income survey", ANA),
        ("income survey", ANA, "15 Jan 2024, 15:30 UTC", "https://box.example/jobs/1"),
        id="new-job",
    ),
    pytest.param(
        lambda sender: sender.notify_new_job(do_email=OWNER, job_name="income survey", submitter=ANA),
        OWNER,
        ("income survey", ANA),
        ("income survey", ANA),
        id="new-job-in-short",
    ),
    pytest.param(
        lambda sender: sender.notify_job_approved(ANA, "income survey", "https://box.example/jobs/1"),
        ANA,
        ("income survey", "approved"),
        ("income survey", "✓ Approved", "https://box.example/jobs/1"),
        id="job-approved",
    ),
    pytest.param(
        lambda sender: sender.notify_job_approved(ds_email=ANA, job_name="income survey"),
        ANA,
        ("income survey", "approved"),
        ("income survey", "✓ Approved"),
        id="job-approved-in-short",
    ),
    pytest.param(
        lambda sender: sender.notify_job_executed(ANA, "income survey", 8130, "https://box.example/results/1"),
        ANA,
        ("income survey",),
        ("income survey", "Done after 2 h 15 min", "https://box.example/results/1"),
        id="job-executed",
    ),
    pytest.param(
        lambda sender: sender.notify_job_executed(ds_email=ANA, job_name="income survey", duration=0),
        ANA,
        ("income survey",),
        ("income survey", "Done after 0 s"),
        id="job-executed-at-once",
    ),
    pytest.param(
        lambda sender: sender.notify_new_peer_request_to_do(OWNER, ANA, "https://box.example/peers"),
        OWNER,
        (ANA,),
        (ANA, "https://box.example/peers"),
        id="new-peer-request",
    ),
    pytest.param(
        lambda sender: sender.notify_peer_request_sent(ANA, OWNER), ANA, (OWNER,), (OWNER,), id="peer-request-sent"
    ),
    pytest.param(
        lambda sender: sender.notify_peer_request_granted(ds_email=ANA, do_email=OWNER),
        ANA,
        (OWNER, "accepted"),
        (OWNER, "accepted"),
        id="peer-request-granted",
    ),
    pytest.param(
        lambda sender: sender.send_email(ANA, "Custom Alert", "Plain words.", "<h1>Plain words.</h1>"),
        ANA,
        ("Custom Alert",),
        ("Plain words.",),
        id="send-email",
    ),
]


@pytest.mark.parametrize(("call", "recipient", "subject", "words"), _CALLS)
def test_sender_call_sends_one_mail_with_text_and_html(
    google: Google, sender: GmailSender, call: Call, recipient: str, subject: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """S01, S04, S05, S06, S07, S08."""
    assert call(sender) is True

    (post,) = google.posts
    assert post.to == recipient
    assert post.mail.get_content_type() == "multipart/alternative"
    for word in subject:
        assert word in post.subject
    html = post.html.replace("\N{ZERO WIDTH NON-JOINER}", "")  # it keeps mail programs from making links
    for word in words:
        assert word in post.text
        assert word in html


@pytest.mark.parametrize(("call", "recipient", "subject", "words"), _CALLS)
def test_sender_call_without_html_sends_plain_text(
    google: Google, tmp_path: Path, call: Call, recipient: str, subject: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """S04."""
    assert call(sender_at(google, tmp_path, use_html=False)) is True

    (post,) = google.posts
    assert post.to == recipient
    assert post.mail.get_content_type() == "text/plain"
    for word in words:
        assert word in post.text


def test_send_email_without_html_is_plain_text(google: Google, sender: GmailSender) -> None:
    """S08."""
    assert sender.send_email(ANA, "Custom Alert", "Plain words.") is True

    (post,) = google.posts
    assert post.mail.get_content_type() == "text/plain"
    assert post.text.strip() == "Plain words."


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(respond_html(500), id="500"),
        pytest.param(respond_error(400, "invalidArgument"), id="400"),
        pytest.param(respond_error(401, "authError"), id="401"),
        pytest.param(respond_error(403, "dailyLimitExceeded"), id="daily-limit"),
        pytest.param(respond_error(429, "rateLimitExceeded"), id="429"),
        pytest.param(respond_html(302, {"Location": "/elsewhere"}), id="302"),
        pytest.param(respond_body(b"<html></html>"), id="200-html"),
        pytest.param(close_connection, id="closes"),
        pytest.param(reset_connection, id="resets"),
    ],
)
@pytest.mark.parametrize(("call", "recipient", "subject", "words"), _CALLS[-1:])
def test_sender_call_returns_false_when_gmail_refuses(
    google: Google,
    sender: GmailSender,
    caplog: pytest.LogCaptureFixture,
    answer: Responder,
    call: Call,
    recipient: str,
    subject: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    """S09: and the log says why, without a secret."""
    google.default = answer

    assert call(sender) is False
    assert "FAILED_" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(("call", "recipient", "subject", "words"), _CALLS)
def test_sender_call_returns_false_when_the_server_is_down(
    google: Google, sender: GmailSender, call: Call, recipient: str, subject: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """S09."""
    google.stop()

    assert call(sender) is False


def test_sender_refreshes_a_stale_access_token(google: Google, sender: GmailSender) -> None:
    """S03: nobody else is there to make the new attempt."""
    google.access_tokens.clear()

    assert sender.send_email(ANA, "Hello", "Hello") is True
    assert len(google.token_requests) == 1
    assert len(google.posts) == 2


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ana",
        "ana@",
        "@uni.example",
        "ana@uni.example, eve@elsewhere.example",
        "ana@uni.example\r\nBcc: eve@elsewhere.example",
        "Ana <ana@uni.example>",
        "ana@uni.example\x00",
        "ana@uni.example\n",
        "änä@uni.example",
        "a" * 300 + "@uni.example",
        "\ud800@uni.example",
        None,
        5,
        ["ana@uni.example"],
    ],
)
def test_sender_call_with_an_invalid_address_returns_false(google: Google, sender: GmailSender, address: Any) -> None:
    """S09, X11."""
    assert sender.send_email(address, "Hello", "Hello") is False
    assert sender.notify_new_job(address, "survey", ANA) is False
    assert sender.notify_job_approved(address, "survey") is False
    assert sender.notify_job_executed(address, "survey") is False
    assert sender.notify_new_peer_request_to_do(address, ANA) is False
    assert sender.notify_peer_request_sent(address, OWNER) is False
    assert sender.notify_peer_request_granted(address, OWNER) is False
    assert google.posts == []


@pytest.mark.parametrize(
    "evil",
    [
        "x\r\nBcc: eve@elsewhere.example\r\n\r\nhello",
        "x\nBcc: eve@elsewhere.example",
        "x\x00\x1b[2J\u202e",
        "x\u2028Bcc: eve@elsewhere.example",
        "\ud800 broken",
        "{{ 7 * 7 }}<script>alert(1)</script>",
        "=?utf-8?q?=0D=0ABcc=3A_eve?=",
        "long " * 2000,
    ],
)
def test_sender_hostile_name_is_no_header_and_no_markup(google: Google, sender: GmailSender, evil: str) -> None:
    """X11."""
    assert sender.send_email(ANA, evil, "Hello") is True
    assert sender.notify_new_job(OWNER, evil, evil) is True
    assert sender.notify_job_executed(ANA, evil, 1, None) is True

    for post in google.posts:
        assert "Bcc" not in post.mail
        assert post.subject.isprintable()
        assert len(post.subject) < 400
        assert "49" not in post.text
    for post in google.posts[1:]:
        assert "<script" not in post.html
        assert "\x1b" not in post.html + post.text


@pytest.mark.parametrize(
    "call",
    [
        lambda sender: sender.send_email(ANA, None, "Hello"),
        lambda sender: sender.send_email(ANA, "Hello", None),
        lambda sender: sender.send_email(ANA, "Hello", b"bytes"),
        lambda sender: sender.send_email(ANA, "Hello", "Hello", 5),
        lambda sender: sender.send_email(ANA, "Hello", "\ud800"),
        lambda sender: sender.send_email(ANA, "Hello", "Hello", "<p>\ud800</p>"),
        lambda sender: sender.notify_new_job(OWNER, None, ANA, "yesterday"),
        lambda sender: sender.notify_new_job(OWNER, "survey", ANA, object()),
        lambda sender: sender.notify_job_executed(ANA, "survey", "long"),
        lambda sender: sender.notify_job_executed(ANA, "survey", float("nan")),
        lambda sender: sender.notify_job_executed(ANA, "survey", float("inf")),
        lambda sender: sender.notify_job_executed(ANA, 5, -5, 5),
    ],
)
def test_sender_call_with_any_arguments_returns_a_bool(
    google: Google, sender: GmailSender, call: Callable[[GmailSender], object]
) -> None:
    """S09."""
    said = call(sender)

    assert isinstance(said, bool)
    assert len(google.posts) == said


def test_sender_with_an_unsafe_endpoint_is_refused(google: Google, tmp_path: Path) -> None:
    """S02."""
    credentials = GmailAuth().load_credentials(google.write_token(tmp_path / "gmail_token.json"))

    with pytest.raises(ConfigError):
        GmailSender(credentials, api_endpoint="http://mail.example")


_SIGNATURES = {
    "notify_new_job": "do_email: str, job_name: str, submitter: str, timestamp: datetime | None = None, "
    "job_url: str | None = None",
    "notify_job_approved": "ds_email: str, job_name: str, job_url: str | None = None",
    "notify_job_executed": "ds_email: str, job_name: str, duration: int | None = None, results_url: str | None = None",
    "notify_new_peer_request_to_do": "do_email: str, ds_email: str, peer_url: str | None = None",
    "notify_peer_request_sent": "ds_email: str, do_email: str",
    "notify_peer_request_granted": "ds_email: str, do_email: str",
    "send_email": "to_email: str, subject: str, body_text: str, body_html: str | None = None",
}


@pytest.mark.parametrize(("name", "arguments"), _SIGNATURES.items())
def test_sender_calls_have_the_documented_parameters(name: str, arguments: str) -> None:
    """S05, S06, S07, S08."""
    signature = str(inspect.signature(getattr(GmailSender, name))).replace("'", "")

    assert signature == f"(self, {arguments}) -> bool"


def test_sender_has_the_documented_constructor() -> None:
    """S04."""
    parameters = list(inspect.signature(GmailSender).parameters.values())

    assert [(item.name, item.default) for item in parameters[:2]] == [
        ("credentials", inspect.Parameter.empty),
        ("use_html", True),
    ]
    assert all(item.kind is inspect.Parameter.KEYWORD_ONLY for item in parameters[2:])
