"""The Gmail transport: Google's real client against a server that plays Gmail and counts every POST."""

from __future__ import annotations

import json
import logging
import ssl
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from syftnotify.core.errors import ConfigError, DeliveryError, Failure
from syftnotify.core.models import Message
from syftnotify.transports.gmail import sending
from syftnotify.transports.gmail.sending import GmailTransport
from tests.fakes.google import (
    SECRET,
    SEND_PATH,
    Answer,
    Google,
    answers_slowly,
    babbles,
    body,
    closes,
    cuts_the_body,
    hangs,
    page,
    refuses_the_grant,
    resets,
    says,
    serving,
)
from tests.support import ANA, OWNER, PATIENCE

NOW = 1_800_000_000.0
HELLO = Message(
    id="0123456789abcdef",
    recipient=ANA,
    subject='Your SyftBox job "Übersicht ≥ 5" at owner@datasite.example',
    text="Es läuft: ≥ 5.\n",
    html="<p>Es läuft: ≥ 5.</p>\n",
    sender=OWNER,
    conversation="fedcba9876543210",
    headers=(("X-SyftNotify-Event", "job_approved"),),
)


@pytest.fixture
def google() -> Iterator[Google]:
    with serving() as google:
        yield google


@pytest.fixture
def token(google: Google, tmp_path: Path) -> Path:
    return google.write_token(tmp_path / "gmail_token.json")


@pytest.fixture
def transport(google: Google, token: Path) -> GmailTransport:
    return GmailTransport(token, api_endpoint=google.url, clock=lambda: NOW)


def failed(transport: GmailTransport, message: Message = HELLO) -> DeliveryError:
    """The error of an attempt that must fail; none of our secrets is in what a log could show of it."""
    with pytest.raises(DeliveryError) as caught:
        transport.send(message)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in str(caught.value)
    return caught.value


# -- what goes out -----------------------------------------------------------------------------------------------


def test_a_mail_goes_out_once_with_both_its_faces(google: Google, transport: GmailTransport) -> None:
    """S04, X13: multipart/alternative, the text first, in any script."""
    transport.send(HELLO)

    (post,) = google.posts
    assert google.requests == [f"POST {SEND_PATH}"]
    assert post.mail.get_content_type() == "multipart/alternative"
    parts = [part.get_content_type() for part in post.mail.iter_parts()]
    assert parts == ["text/plain", "text/html"]
    assert (post.text, post.html) == (HELLO.text, HELLO.html)
    assert (post.to, post.subject) == (ANA, HELLO.subject)


def test_a_mail_has_the_headers_of_a_serious_sender(google: Google, transport: GmailTransport) -> None:
    """X13."""
    transport.send(HELLO)

    mail = google.posts[0].mail
    expected = {
        "From": f"SyftBox <{OWNER}>",
        "Message-ID": "<0123456789abcdef@syftnotify.local>",
        "In-Reply-To": "<fedcba9876543210@syftnotify.local>",
        "References": "<fedcba9876543210@syftnotify.local>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "X-SyftNotify-Event": "job_approved",
        "MIME-Version": "1.0",
    }
    assert {name: str(mail[name]) for name in expected} == expected
    assert mail["Date"].datetime.replace(tzinfo=UTC) == datetime.fromtimestamp(NOW, UTC)
    assert "List-Id" in mail
    assert len(mail.get_all("To", [])) == len(mail.get_all("Message-ID", [])) == 1


def test_a_mail_travels_as_url_safe_base64_with_lines_that_every_relay_takes(
    google: Google, transport: GmailTransport
) -> None:
    """X13: RFC 5322, section 2.1.1."""
    transport.send(replace(HELLO, text="þÿ" * 5000))

    (post,) = google.posts
    assert set(post.body) == {"raw"}
    assert not set(post.body["raw"]) & set("+/\n")
    assert max(len(line) for line in post.source.split(b"\r\n")) <= 998
    assert b"\n" not in post.source.replace(b"\r\n", b"")


def test_a_mail_is_sent_with_the_access_token_and_that_alone(google: Google, token: Path) -> None:
    """S02."""
    GmailTransport(token, api_endpoint=google.url, clock=lambda: NOW).send(HELLO)

    (post,) = google.posts
    assert post.access_token == json.loads(token.read_text())["token"]
    assert "cookie" not in post.headers


def test_the_receipt_has_what_gmail_said(google: Google, transport: GmailTransport) -> None:
    """N27: the provider's own id is what a support case asks for."""
    google.answers += [body(b'{"id": "18c1", "threadId": "18c0", "labelIds": ["SENT"]}'), body(b'{"id": "18c2"}')]

    first, second = transport.send(HELLO), transport.send(HELLO)

    assert (first.provider_id, first.thread) == ("18c1", "18c0")
    assert (second.provider_id, second.thread) == ("18c2", "")


def test_a_later_mail_of_a_conversation_names_its_thread(google: Google, transport: GmailTransport) -> None:
    """B04."""
    receipt = transport.send(HELLO)
    transport.send(replace(HELLO, id="another", thread=receipt.thread))

    first, second = google.posts
    assert first.thread is None
    assert second.thread == receipt.thread
    assert first.subject == second.subject
    assert first.mail["References"] == second.mail["References"]


@pytest.mark.parametrize("field", ["subject", "header"])
@pytest.mark.parametrize(
    "evil",
    [
        pytest.param("x\r\nBcc: victim@elsewhere.example\r\n\r\nbody\x00\x1b[2J\u202e", id="plain"),
        pytest.param("=?utf-8?q?=0D=0ABcc=3A_victim=40elsewhere.example?=", id="encoded"),
        pytest.param("job =?utf-8?b?DQpCY2M6IHZpY3RpbUBlbHNld2hlcmUuZXhhbXBsZQ==?= x", id="encoded-within"),
    ],
)
def test_nothing_from_outside_becomes_a_header(
    google: Google, transport: GmailTransport, field: str, evil: str
) -> None:
    """X11: neither by a line end nor by an encoded one (RFC 2047)."""
    message = (
        replace(HELLO, subject=evil) if field == "subject" else replace(HELLO, headers=(("X-SyftNotify-Entity", evil),))
    )

    transport.send(message)

    mail = google.posts[0].mail
    assert "Bcc" not in mail
    assert google.posts[0].text == HELLO.text
    shown = str(mail["Subject" if field == "subject" else "X-SyftNotify-Entity"])
    assert shown.isprintable()


def test_checking_signs_in_and_sends_nothing(google: Google, tmp_path: Path) -> None:
    """N02."""
    token = google.write_token(tmp_path / "expired.json", expired=True)

    GmailTransport(token, api_endpoint=google.url, clock=lambda: NOW).check()

    assert google.requests == ["POST /token"]


def test_a_mail_call_is_cut_off_after_two_minutes() -> None:
    """S17."""
    assert sending.TIMEOUT_SECONDS == 120


@pytest.mark.parametrize("address", ["http://mail.example", "http://127.0.0.1.mail.example", "gmail", ""])
def test_an_endpoint_to_which_the_token_must_not_travel_is_refused(token: Path, address: str) -> None:
    """S02: the access token goes out by https, or not beyond this machine."""
    transport = GmailTransport(token, api_endpoint=address, clock=lambda: NOW)

    with pytest.raises(ConfigError):
        transport.send(HELLO)


# -- what an error means -----------------------------------------------------------------------------------------

_TABLE = [
    pytest.param(says(400, "invalidArgument"), Failure.PERMANENT, id="400"),
    pytest.param(page(400), Failure.PERMANENT, id="400-html"),
    pytest.param(says(403, "forbidden"), Failure.PERMANENT, id="403-forbidden"),
    pytest.param(says(403, "domainPolicy"), Failure.PERMANENT, id="403-domain-policy"),
    pytest.param(page(403), Failure.PERMANENT, id="403-html"),
    pytest.param(says(404, "notFound"), Failure.PERMANENT, id="404"),
    pytest.param(page(410), Failure.PERMANENT, id="410"),
    pytest.param(page(413), Failure.PERMANENT, id="413"),
    pytest.param(page(302, {"Location": "/elsewhere"}), Failure.PERMANENT, id="302"),
    pytest.param(page(307, {"Location": SEND_PATH}), Failure.PERMANENT, id="307"),
    pytest.param(page(308, {"Location": SEND_PATH}), Failure.PERMANENT, id="308"),
    pytest.param(page(408), Failure.TEMPORARY, id="408"),
    pytest.param(page(425), Failure.TEMPORARY, id="425"),
    pytest.param(says(429, "rateLimitExceeded"), Failure.TEMPORARY, id="429"),
    pytest.param(page(429), Failure.TEMPORARY, id="429-html"),
    pytest.param(says(403, "rateLimitExceeded"), Failure.TEMPORARY, id="403-rate"),
    pytest.param(says(403, "userRateLimitExceeded"), Failure.TEMPORARY, id="403-user-rate"),
    pytest.param(
        says(403, "rateLimitExceeded", info="RATE_LIMIT_EXCEEDED"), Failure.TEMPORARY, id="403-rate-with-error-info"
    ),
    pytest.param(says(500, "backendError"), Failure.UNKNOWN, id="500"),
    pytest.param(page(500), Failure.UNKNOWN, id="500-html"),
    pytest.param(page(502), Failure.UNKNOWN, id="502-html"),
    pytest.param(says(503, "backendError"), Failure.TEMPORARY, id="503"),
    pytest.param(page(503), Failure.TEMPORARY, id="503-html"),
    pytest.param(page(504), Failure.UNKNOWN, id="504-html"),
    pytest.param(says(403, "dailyLimitExceeded"), Failure.QUOTA, id="403-daily"),
    pytest.param(says(429, "dailyLimitExceeded"), Failure.QUOTA, id="429-daily"),
    pytest.param(
        says(403, "dailyLimitExceeded", info="DAILY_LIMIT_EXCEEDED"), Failure.QUOTA, id="403-daily-with-error-info"
    ),
    pytest.param(closes, Failure.UNKNOWN, id="closes"),
    pytest.param(resets, Failure.UNKNOWN, id="resets"),
    pytest.param(hangs(0.3), Failure.UNKNOWN, id="hangs-and-closes"),
    pytest.param(cuts_the_body, Failure.UNKNOWN, id="cuts-the-body"),
    pytest.param(body(b"<html>welcome</html>"), Failure.UNKNOWN, id="200-html"),
    pytest.param(body(b""), Failure.UNKNOWN, id="200-empty"),
    pytest.param(body(b"\xff\xfe\x00"), Failure.UNKNOWN, id="200-bytes"),
    pytest.param(body(b"{}"), Failure.UNKNOWN, id="200-without-id"),
    pytest.param(body(b'{"id": 5}'), Failure.UNKNOWN, id="200-with-a-number-as-id"),
    pytest.param(body(b'["id"]'), Failure.UNKNOWN, id="200-list"),
    pytest.param(body(b"", status=204), Failure.UNKNOWN, id="204"),
]


@pytest.mark.parametrize(("answer", "failure"), _TABLE)
def test_each_answer_means_what_the_table_says_and_is_one_post(
    google: Google, transport: GmailTransport, answer: Answer, failure: Failure
) -> None:
    """X03: the table of errors; one attempt is one POST, whatever comes back."""
    google.usual = answer

    error = failed(transport)

    assert error.failure is failure
    assert google.requests == [f"POST {SEND_PATH}"]


@pytest.mark.parametrize("answer", [closes, resets, hangs(0.1), cuts_the_body, page(503)])
def test_a_failure_leaves_nothing_behind_that_disturbs_the_next_send(
    google: Google, transport: GmailTransport, answer: Answer
) -> None:
    """X03: and on a kept connection a cut-off POST is not repeated either."""
    transport.send(HELLO)
    google.answers.append(answer)
    failed(transport)
    transport.send(HELLO)

    assert len(google.posts) == 3


def test_a_kept_connection_that_was_closed_meanwhile_costs_no_second_post(
    google: Google, transport: GmailTransport
) -> None:
    """X03: between two mails a server closes what is idle."""
    for _ in range(3):
        transport.send(HELLO)
        google.drop_idle_connections()

    assert len(google.posts) == 3


def test_a_server_that_is_down_was_sent_nothing(google: Google, transport: GmailTransport) -> None:
    """X03: nobody answered, so nothing is in doubt."""
    transport.send(HELLO)
    google.stop()

    error = failed(GmailTransport(transport._path, api_endpoint=google.url, clock=lambda: NOW))

    assert error.failure is Failure.UNREACHABLE
    assert len(google.posts) == 1


def test_a_name_that_does_not_exist_was_sent_nothing(token: Path) -> None:
    """X03."""
    transport = GmailTransport(token, api_endpoint="https://gmail.invalid", clock=lambda: NOW)

    assert failed(transport).failure is Failure.UNREACHABLE


def test_a_slow_answer_is_an_answer(google: Google, transport: GmailTransport) -> None:
    """S17."""
    google.answers.append(answers_slowly(0.5))

    assert transport.send(HELLO).provider_id == "slow"


def test_an_error_names_the_status_and_the_reason(google: Google, transport: GmailTransport) -> None:
    """N27."""
    google.answers.append(says(403, "rateLimitExceeded", text="too fast\x1b[2J"))

    error = failed(transport)

    assert "403" in str(error)
    assert "rateLimitExceeded" in str(error)
    assert str(error).isprintable()


# -- when to come back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503, 403])
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
def test_the_moment_that_google_names_is_kept(
    google: Google, transport: GmailTransport, status: int, header: str | None, text: str, seconds: int | None
) -> None:
    """G10: by its header, or in the words `Retry after ...`."""
    begun = datetime.now(UTC)
    moment = begun + timedelta(seconds=600)
    words = f"User-rate limit exceeded.  Retry after {moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    headers = {"Retry-After": format_datetime(moment, usegmt=True) if header == "date" else header} if header else None
    google.answers.append(says(status, "userRateLimitExceeded", text=words if text else "later", headers=headers))

    error = failed(transport)

    assert error.failure is Failure.TEMPORARY
    if seconds is None:
        assert error.not_before is None
    else:
        assert error.not_before is not None
        # Seconds are counted from when the answer came; a date in a header has no fraction of a second.
        earliest, latest = begun - timedelta(seconds=1), datetime.now(UTC)
        assert earliest <= error.not_before - timedelta(seconds=seconds) <= latest


# -- the sign-in -------------------------------------------------------------------------------------------------


def test_an_expired_access_token_is_refreshed_before_the_mail_goes_out(google: Google, tmp_path: Path) -> None:
    """S03."""
    token = google.write_token(tmp_path / "expired.json", expired=True)

    GmailTransport(token, api_endpoint=google.url, clock=lambda: NOW).send(HELLO)

    assert google.requests == ["POST /token", f"POST {SEND_PATH}"]
    assert json.loads(token.read_text())["token"] == google.posts[0].access_token


def test_a_refused_access_token_is_refreshed_and_the_next_attempt_goes_through(
    google: Google, transport: GmailTransport, token: Path
) -> None:
    """X07: 401, one refresh, a new attempt; and one POST an attempt."""
    google.access_tokens.clear()

    assert failed(transport).failure is Failure.TOKEN_REFRESHED
    assert google.requests == [f"POST {SEND_PATH}", "POST /token"]
    assert transport.send(HELLO).provider_id
    assert len(google.posts) == 2
    assert json.loads(token.read_text())["token"] == google.posts[1].access_token


def test_a_sign_in_that_a_refresh_does_not_heal_is_dead(google: Google, transport: GmailTransport) -> None:
    """X07: 401 survives one refresh."""
    google.usual = says(401, "authError")

    assert failed(transport).failure is Failure.TOKEN_REFRESHED
    error = failed(transport)

    assert error.failure is Failure.AUTH
    assert "notify init" in str(error)
    assert google.requests == [f"POST {SEND_PATH}", "POST /token", f"POST {SEND_PATH}"]


def test_a_sign_in_that_died_in_one_attempt_is_alive_after_a_good_one(
    google: Google, transport: GmailTransport
) -> None:
    """X07: an hour later, the next stale token is refreshed like the first."""
    for _ in range(2):
        google.access_tokens.clear()
        assert failed(transport).failure is Failure.TOKEN_REFRESHED
        transport.send(HELLO)

    assert len(google.token_requests) == 2


@pytest.mark.parametrize("expired", [True, False])
def test_a_revoked_sign_in_is_dead_at_once(google: Google, tmp_path: Path, expired: bool) -> None:
    """X07: `invalid_grant` is final."""
    token = google.write_token(tmp_path / "revoked.json", expired=expired)
    google.revoke()

    error = failed(GmailTransport(token, api_endpoint=google.url, clock=lambda: NOW))

    assert error.failure is Failure.AUTH
    assert "notify init" in str(error)
    assert len(google.token_requests) == 1
    assert len(google.posts) == (0 if expired else 1)


@pytest.mark.parametrize("expired", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(page(502), id="502-html"),
        pytest.param(closes, id="closes"),
        pytest.param(body(b"<html>a hotel's network</html>"), id="200-html"),
    ],
)
def test_a_token_endpoint_in_trouble_is_no_answer(
    google: Google, tmp_path: Path, expired: bool, answer: Answer
) -> None:
    """X07: it passes by itself: nobody is asked to sign in, and nothing is in doubt."""
    token = google.write_token(tmp_path / "stale.json", expired=expired)
    google.access_tokens.clear()
    google.token_answer = answer
    transport = GmailTransport(token, api_endpoint=google.url, clock=lambda: NOW)

    error = failed(transport)

    assert error.failure is Failure.UNREACHABLE
    assert len(google.posts) == (0 if expired else 1)


def test_no_token_is_a_matter_of_signing_in_and_is_found_when_it_comes(google: Google, tmp_path: Path) -> None:
    """X07."""
    transport = GmailTransport(tmp_path / "later.json", api_endpoint=google.url, clock=lambda: NOW)
    assert failed(transport).failure is Failure.AUTH

    google.write_token(tmp_path / "later.json")

    assert transport.send(HELLO).provider_id


@pytest.mark.parametrize("refreshes", [0, 1, 2, 3])
def test_a_new_sign_in_after_the_old_one_died_is_picked_up(
    google: Google, transport: GmailTransport, token: Path, refreshes: int
) -> None:
    """X07: without a restart, and however often the old token had been refreshed and saved before."""
    for _ in range(refreshes):
        google.access_tokens.clear()
        failed(transport)
        transport.send(HELLO)
    google.revoke()
    assert failed(transport).failure is Failure.AUTH
    fresh = google.write_token(token)

    transport.send(HELLO)

    assert google.posts[-1].access_token == json.loads(fresh.read_text())["token"]


def test_a_new_sign_in_that_was_copied_over_the_dead_one_is_picked_up(
    google: Google, transport: GmailTransport, token: Path
) -> None:
    """X07: a token from another machine, put into the same file."""
    google.revoke()
    assert failed(transport).failure is Failure.AUTH
    token.write_text(json.dumps(google.token_info()), encoding="utf-8")

    assert transport.send(HELLO).provider_id


def test_a_new_sign_in_is_never_overwritten_by_the_old_one(
    google: Google, transport: GmailTransport, token: Path
) -> None:
    """X07: who signs in again while the worker runs, perhaps with another account, stays signed in."""
    transport.send(HELLO)
    google.write_token(token)
    fresh = json.loads(token.read_text())["refresh_token"]
    google.access_tokens.clear()

    failed(transport)
    transport.send(HELLO)

    assert json.loads(token.read_text())["refresh_token"] == fresh


# -- many at once ------------------------------------------------------------------------------------------------


def test_eight_threads_share_one_transport_and_every_mail_goes_out_once(
    google: Google, transport: GmailTransport
) -> None:
    """G02: 200 mails, 200 POSTs, no error."""
    ready = threading.Barrier(8)

    def send(part: int) -> None:
        ready.wait(timeout=PATIENCE)
        for number in range(25):
            transport.send(replace(HELLO, id=f"mail-{part}-{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))

    assert len(google.posts) == 200
    sent = Counter(str(post.mail["Message-ID"]) for post in google.posts)
    assert sent == Counter({f"<mail-{part}-{number}@syftnotify.local>": 1 for part in range(8) for number in range(25)})


def test_eight_threads_whose_token_went_stale_refresh_it_once(google: Google, transport: GmailTransport) -> None:
    """X07: and none of them takes the sign-in for dead."""
    google.access_tokens.clear()
    ready = threading.Barrier(8)

    def send(_: int) -> list[Failure]:
        ready.wait(timeout=PATIENCE)
        found = []
        while True:
            try:
                transport.send(HELLO)
            except DeliveryError as error:
                found.append(error.failure)
                assert len(found) < 5
            else:
                return found

    with ThreadPoolExecutor(8) as pool:
        failures = [failure for found in pool.map(send, range(8)) for failure in found]

    assert set(failures) <= {Failure.TOKEN_REFRESHED}
    assert len(google.token_requests) == 1
    assert len(google.posts) == 8 + len(failures)


# -- with TLS, as at Google --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def secure_google(certificate: Path) -> Iterator[Google]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(context) as google:
        yield google


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        pytest.param(None, None, id="takes-it"),
        pytest.param(closes, Failure.UNKNOWN, id="closes"),
        pytest.param(resets, Failure.UNKNOWN, id="resets"),
        pytest.param(babbles, Failure.UNKNOWN, id="breaks-the-encryption"),
        pytest.param(cuts_the_body, Failure.UNKNOWN, id="cuts-the-body"),
        pytest.param(page(503), Failure.TEMPORARY, id="503"),
    ],
)
def test_with_encryption_a_cut_after_the_request_is_unknown_too(
    secure_google: Google,
    certificate: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer | None,
    failure: Failure | None,
) -> None:
    """X03."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    token = secure_google.write_token(tmp_path / "gmail_token.json")
    transport = GmailTransport(token, api_endpoint=secure_google.url, clock=lambda: NOW)
    secure_google.usual = answer

    if failure is None:
        assert transport.send(HELLO).provider_id
    else:
        assert failed(transport).failure is failure
    assert len(secure_google.posts) == 1


def test_a_server_whose_certificate_is_unknown_is_sent_nothing(
    secure_google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X03: no token and no mail for a stranger."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    token = secure_google.write_token(tmp_path / "gmail_token.json")
    transport = GmailTransport(token, api_endpoint=secure_google.url, clock=lambda: NOW)

    assert failed(transport).failure is Failure.UNREACHABLE
    assert secure_google.requests == []


# -- on this machine ---------------------------------------------------------------------------------------------


def test_a_netrc_of_the_user_does_not_replace_the_access_token(
    google: Google, transport: GmailTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S02: passwords that lie there for other programs are not sent to Gmail."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n", encoding="ascii")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    transport.send(HELLO)

    assert google.posts[0].headers["authorization"].startswith("Bearer ")


def test_no_secret_is_logged_whatever_happens(
    google: Google, transport: GmailTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """S02: at the level at which the program logs."""
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.DEBUG, logger="syftnotify")
    google.answers += [says(403, "rateLimitExceeded"), page(502), closes, says(401), says(401), body(b"?")]
    for _ in range(6):
        failed(transport)
    google.revoke()
    google.token_answer = refuses_the_grant
    failed(transport)

    assert SECRET not in caplog.text


def test_the_certificates_that_openssl_variables_name_are_trusted(
    secure_google: Google, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B6: by the same rule as webhooks, for the sign-in too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    token = secure_google.write_token(tmp_path / "gmail_token.json", expired=True)
    GmailTransport(token, api_endpoint=secure_google.url, clock=lambda: NOW).send(HELLO)

    assert secure_google.requests == ["POST /token", f"POST {SEND_PATH}"]
