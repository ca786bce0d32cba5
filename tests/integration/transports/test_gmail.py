"""What the Gmail transport sends, and what each answer of Gmail means."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from syftnotify.core.errors import ConfigError, Failure
from syftnotify.transports.gmail import sending
from syftnotify.transports.gmail.sending import GmailTransport
from tests.fakes.google import (
    SEND_PATH,
    Google,
    Responder,
    close_connection,
    hang,
    reset_connection,
    respond_body,
    respond_error,
    respond_html,
    truncate_body,
)
from tests.integration.transports.gmail_clients import NOW, failed
from tests.mail_message import HELLO
from tests.parameters import thorough_except
from tests.support import ANA


def test_gmail_message_is_one_post_with_text_and_html(google: Google, gmail: GmailTransport) -> None:
    """S04, X13: multipart/alternative, the text first, in any script."""
    gmail.send(HELLO)

    (post,) = google.posts
    assert google.requests == [f"POST {SEND_PATH}"]
    assert post.mail.get_content_type() == "multipart/alternative"
    parts = [part.get_content_type() for part in post.mail.iter_parts()]
    assert parts == ["text/plain", "text/html"]
    assert (post.text, post.html) == (HELLO.text, HELLO.html)
    assert (post.to, post.subject) == (ANA, HELLO.subject)


def test_gmail_message_is_url_safe_base64_with_short_lines(google: Google, gmail: GmailTransport) -> None:
    """X13: RFC 5322, section 2.1.1."""
    gmail.send(replace(HELLO, text="þÿ" * 5000))

    (post,) = google.posts
    assert set(post.body) == {"raw"}
    assert not set(post.body["raw"]) & set("+/\n")
    assert max(len(line) for line in post.source.split(b"\r\n")) <= 998
    assert b"\n" not in post.source.replace(b"\r\n", b"")


def test_gmail_receipt_contains_id_and_thread(google: Google, gmail: GmailTransport) -> None:
    """N27: the provider's own id is what a support case asks for."""
    google.responses += [
        respond_body(b'{"id": "18c1", "threadId": "18c0", "labelIds": ["SENT"]}'),
        respond_body(b'{"id": "18c2"}'),
    ]

    first, second = gmail.send(HELLO), gmail.send(HELLO)

    assert (first.provider_id, first.thread) == ("18c1", "18c0")
    assert (second.provider_id, second.thread) == ("18c2", "")


def test_gmail_later_message_names_its_thread(google: Google, gmail: GmailTransport) -> None:
    """B04."""
    receipt = gmail.send(HELLO)
    gmail.send(replace(HELLO, id="another", thread=receipt.thread))

    first, second = google.posts
    assert first.thread is None
    assert second.thread == receipt.thread
    assert first.subject == second.subject
    assert first.mail["References"] == second.mail["References"]


@pytest.mark.parametrize(
    "refusal", [respond_error(404, "notFound"), respond_error(400, "invalidArgument")], ids=["deleted", "invalid"]
)
def test_gmail_refused_conversation_is_not_named_again(
    google: Google, gmail: GmailTransport, refusal: Responder
) -> None:
    """B04: the user has deleted it; the message is sent at the next attempt."""
    google.responses.append(refusal)
    message = replace(HELLO, thread="18c0")

    assert failed(gmail, message).failure is Failure.CORRECTED
    gmail.send(message)

    assert [post.thread for post in google.posts] == ["18c0", None]


def test_gmail_check_refreshes_the_token_and_sends_nothing(google: Google, tmp_path: Path) -> None:
    """N02."""
    gmail_token = google.write_token(tmp_path / "expired.json", expired=True)

    GmailTransport(gmail_token, api_endpoint=google.url, clock=lambda: NOW).check()

    assert google.requests == ["POST /token"]


def test_gmail_timeout_is_120_seconds() -> None:
    """S17."""
    assert sending.TIMEOUT_SECONDS == 120


@pytest.mark.parametrize("address", ["http://mail.example", "http://127.0.0.1.mail.example", "gmail", ""])
def test_gmail_unsafe_endpoint_is_refused(gmail_token: Path, address: str) -> None:
    """S02: the access token goes out by https, or not beyond this machine."""
    gmail = GmailTransport(gmail_token, api_endpoint=address, clock=lambda: NOW)

    with pytest.raises(ConfigError):
        gmail.send(HELLO)


_ANSWERS = [
    pytest.param(respond_error(400, "invalidArgument"), Failure.PERMANENT, id="400"),
    pytest.param(respond_html(400), Failure.PERMANENT, id="400-html"),
    pytest.param(respond_error(403, "forbidden"), Failure.PERMANENT, id="403-forbidden"),
    pytest.param(respond_error(403, "domainPolicy"), Failure.PERMANENT, id="403-domain-policy"),
    pytest.param(respond_html(403), Failure.PERMANENT, id="403-html"),
    pytest.param(respond_error(404, "notFound"), Failure.PERMANENT, id="404"),
    pytest.param(respond_html(410), Failure.PERMANENT, id="410"),
    pytest.param(respond_html(413), Failure.PERMANENT, id="413"),
    pytest.param(respond_html(302, {"Location": "/elsewhere"}), Failure.PERMANENT, id="302"),
    pytest.param(respond_html(307, {"Location": SEND_PATH}), Failure.PERMANENT, id="307"),
    pytest.param(respond_html(308, {"Location": SEND_PATH}), Failure.PERMANENT, id="308"),
    pytest.param(respond_html(408), Failure.TEMPORARY, id="408"),
    pytest.param(respond_html(425), Failure.TEMPORARY, id="425"),
    pytest.param(respond_error(429, "rateLimitExceeded"), Failure.TEMPORARY, id="429"),
    pytest.param(respond_html(429), Failure.TEMPORARY, id="429-html"),
    pytest.param(respond_error(403, "rateLimitExceeded"), Failure.TEMPORARY, id="403-rate"),
    pytest.param(respond_error(403, "userRateLimitExceeded"), Failure.TEMPORARY, id="403-user-rate"),
    pytest.param(
        respond_error(403, "rateLimitExceeded", info="RATE_LIMIT_EXCEEDED"),
        Failure.TEMPORARY,
        id="403-rate-error-info",
    ),
    pytest.param(respond_error(500, "backendError"), Failure.UNKNOWN, id="500"),
    pytest.param(respond_html(500), Failure.UNKNOWN, id="500-html"),
    pytest.param(respond_html(502), Failure.UNKNOWN, id="502-html"),
    pytest.param(respond_error(503, "backendError"), Failure.TEMPORARY, id="503"),
    pytest.param(respond_html(503), Failure.TEMPORARY, id="503-html"),
    pytest.param(respond_html(504), Failure.UNKNOWN, id="504-html"),
    pytest.param(respond_error(403, "dailyLimitExceeded"), Failure.QUOTA, id="403-daily"),
    pytest.param(respond_error(429, "dailyLimitExceeded"), Failure.QUOTA, id="429-daily"),
    pytest.param(
        respond_error(403, "dailyLimitExceeded", info="DAILY_LIMIT_EXCEEDED"),
        Failure.QUOTA,
        id="403-daily-error-info",
    ),
    pytest.param(close_connection, Failure.UNKNOWN, id="closes"),
    pytest.param(reset_connection, Failure.UNKNOWN, id="resets"),
    pytest.param(hang(0.3), Failure.UNKNOWN, id="hangs-and-closes"),
    pytest.param(truncate_body, Failure.UNKNOWN, id="cuts-the-body"),
    pytest.param(respond_body(b"<html>welcome</html>"), Failure.UNKNOWN, id="200-html"),
    pytest.param(respond_body(b""), Failure.UNKNOWN, id="200-empty"),
    pytest.param(respond_body(b"\xff\xfe\x00"), Failure.UNKNOWN, id="200-bytes"),
    pytest.param(respond_body(b"{}"), Failure.UNKNOWN, id="200-without-id"),
    pytest.param(respond_body(b'{"id": 5}'), Failure.UNKNOWN, id="200-with-a-number-as-id"),
    pytest.param(respond_body(b'["id"]'), Failure.UNKNOWN, id="200-list"),
    pytest.param(respond_body(b"", status=204), Failure.UNKNOWN, id="204"),
]


_QUICK_ANSWERS = {
    "400", "403-html", "302", "308", "429", "403-user-rate", "403-rate-error-info", "500", "503", "403-daily",
    "429-daily", "403-daily-error-info", "closes", "hangs-and-closes", "cuts-the-body", "200-html",
    "200-without-id", "200-with-a-number-as-id",
}  # fmt: skip


@pytest.mark.parametrize(("answer", "failure"), thorough_except(_QUICK_ANSWERS, _ANSWERS))
def test_gmail_answer_has_its_failure_class_and_is_one_post(
    google: Google, gmail: GmailTransport, answer: Responder, failure: Failure
) -> None:
    """X03: the table of errors; one attempt is one POST, whatever comes back."""
    google.default = answer

    error = failed(gmail)

    assert error.failure is failure
    assert google.requests == [f"POST {SEND_PATH}"]


@pytest.mark.parametrize("answer", [close_connection, reset_connection, hang(0.1), truncate_body, respond_html(503)])
def test_gmail_failure_does_not_affect_the_next_send(google: Google, gmail: GmailTransport, answer: Responder) -> None:
    """X03: and on a kept connection a cut-off POST is not repeated either."""
    gmail.send(HELLO)
    google.responses.append(answer)
    failed(gmail)
    gmail.send(HELLO)

    assert len(google.posts) == 3


def test_gmail_connection_that_was_closed_costs_no_second_post(google: Google, gmail: GmailTransport) -> None:
    """X03: between two mails a server closes what is idle."""
    for _ in range(3):
        gmail.send(HELLO)
        google.drop_idle_connections()

    assert len(google.posts) == 3


def test_gmail_host_that_does_not_exist_is_unreachable(gmail_token: Path) -> None:
    """X03."""
    gmail = GmailTransport(gmail_token, api_endpoint="https://gmail.invalid", clock=lambda: NOW)

    assert failed(gmail).failure is Failure.UNREACHABLE


def test_gmail_error_names_status_and_reason(google: Google, gmail: GmailTransport) -> None:
    """N27."""
    google.responses.append(respond_error(403, "rateLimitExceeded", text="too fast\x1b[2J"))

    error = failed(gmail)

    assert "403" in str(error)
    assert "rateLimitExceeded" in str(error)
    assert str(error).isprintable()


@pytest.mark.parametrize("status", thorough_except({"403"}, {"429": 429, "503": 503, "403": 403}))
@pytest.mark.parametrize(
    ("header", "text", "seconds"),
    [
        pytest.param("240", "", 240, id="seconds"),
        pytest.param("date", "", 600, id="date"),
        pytest.param(None, "date", 600, id="text"),
        pytest.param("240", "date", 240, id="header-before-text"),
        pytest.param(None, "", None, id="none"),
        pytest.param("soon", "", None, id="nonsense"),
    ],
)
def test_gmail_retry_after_is_kept(
    google: Google, gmail: GmailTransport, status: int, header: str | None, text: str, seconds: int | None
) -> None:
    """G10: by its header, or in the words `Retry after ...`."""
    begun = datetime.now(UTC)
    moment = begun + timedelta(seconds=600)
    words = f"User-rate limit exceeded.  Retry after {moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    headers = {"Retry-After": format_datetime(moment, usegmt=True) if header == "date" else header} if header else None
    google.responses.append(
        respond_error(status, "userRateLimitExceeded", text=words if text else "later", headers=headers)
    )

    error = failed(gmail)

    assert error.failure is Failure.TEMPORARY
    if seconds is None:
        assert error.not_before is None
    else:
        assert error.not_before is not None
        # Seconds are counted from when the answer came; a date in a header has no fraction of a second.
        earliest, latest = begun - timedelta(seconds=1), datetime.now(UTC)
        assert earliest <= error.not_before - timedelta(seconds=seconds) <= latest
