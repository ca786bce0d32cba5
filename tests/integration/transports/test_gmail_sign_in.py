"""The Gmail transport and its token: refresh, revocation, replacement, TLS, secrets."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.transports.gmail.sending import GmailTransport
from tests.fakes.google import (
    SECRET,
    SEND_PATH,
    Google,
    Responder,
    close_connection,
    reject_grant,
    reset_connection,
    respond_body,
    respond_error,
    respond_html,
    send_garbage,
    truncate_body,
)
from tests.fakes.mailserver import Authority
from tests.integration.transports.gmail_clients import NOW, failed
from tests.mail_message import HELLO
from tests.support import TIMEOUT


def test_gmail_expired_token_is_refreshed_before_the_post(google: Google, tmp_path: Path) -> None:
    """S03."""
    gmail_token = google.write_token(tmp_path / "expired.json", expired=True)

    GmailTransport(gmail_token, api_endpoint=google.url, clock=lambda: NOW).send(HELLO)

    assert google.requests == ["POST /token", f"POST {SEND_PATH}"]
    assert json.loads(gmail_token.read_text())["token"] == google.posts[0].access_token


def test_gmail_refused_token_is_refreshed_for_the_next_attempt(
    google: Google, gmail: GmailTransport, gmail_token: Path
) -> None:
    """X07: 401, one refresh, a new attempt; and one POST an attempt."""
    google.access_tokens.clear()

    assert failed(gmail).failure is Failure.CORRECTED
    assert google.requests == [f"POST {SEND_PATH}", "POST /token"]
    assert gmail.send(HELLO).provider_id
    assert len(google.posts) == 2
    assert json.loads(gmail_token.read_text())["token"] == google.posts[1].access_token


def test_gmail_refusal_after_a_refresh_is_an_auth_failure(google: Google, gmail: GmailTransport) -> None:
    """X07: 401 survives one refresh."""
    google.default = respond_error(401, "authError")

    assert failed(gmail).failure is Failure.CORRECTED
    error = failed(gmail)

    assert error.failure is Failure.AUTH
    assert "notify init" in str(error)
    assert google.requests == [f"POST {SEND_PATH}", "POST /token", f"POST {SEND_PATH}"]


def test_gmail_success_resets_the_refused_token(google: Google, gmail: GmailTransport) -> None:
    """X07: an hour later, the next stale token is refreshed like the first."""
    for _ in range(2):
        google.access_tokens.clear()
        assert failed(gmail).failure is Failure.CORRECTED
        gmail.send(HELLO)

    assert len(google.token_requests) == 2


@pytest.mark.parametrize("expired", [True, False])
def test_gmail_revoked_sign_in_is_an_auth_failure(google: Google, tmp_path: Path, expired: bool) -> None:
    """X07: `invalid_grant` is final."""
    gmail_token = google.write_token(tmp_path / "revoked.json", expired=expired)
    google.revoke()

    error = failed(GmailTransport(gmail_token, api_endpoint=google.url, clock=lambda: NOW))

    assert error.failure is Failure.AUTH
    assert "notify init" in str(error)
    assert len(google.token_requests) == 1
    assert len(google.posts) == (0 if expired else 1)


@pytest.mark.parametrize("expired", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(respond_html(502), id="502-html"),
        pytest.param(close_connection, id="closes"),
        pytest.param(respond_body(b"<html>a hotel's network</html>"), id="200-html"),
    ],
)
def test_gmail_token_endpoint_in_trouble_is_unreachable(
    google: Google, tmp_path: Path, expired: bool, answer: Responder
) -> None:
    """X07: a temporary failure: nobody is asked to sign in, and no outcome is unknown."""
    gmail_token = google.write_token(tmp_path / "stale.json", expired=expired)
    google.access_tokens.clear()
    google.default_token_response = answer
    gmail = GmailTransport(gmail_token, api_endpoint=google.url, clock=lambda: NOW)

    error = failed(gmail)

    assert error.failure is Failure.UNREACHABLE
    assert len(google.posts) == (0 if expired else 1)


def test_gmail_token_that_appears_later_is_used(google: Google, tmp_path: Path) -> None:
    """X07."""
    gmail = GmailTransport(tmp_path / "later.json", api_endpoint=google.url, clock=lambda: NOW)
    assert failed(gmail).failure is Failure.AUTH

    google.write_token(tmp_path / "later.json")

    assert gmail.send(HELLO).provider_id


@pytest.mark.parametrize("refreshes", [0, 1, 2, 3])
def test_gmail_new_sign_in_after_a_revocation_is_used(
    google: Google, gmail: GmailTransport, gmail_token: Path, refreshes: int
) -> None:
    """X07: without a restart, and however often the old token had been refreshed and saved before."""
    for _ in range(refreshes):
        google.access_tokens.clear()
        failed(gmail)
        gmail.send(HELLO)
    google.revoke()
    assert failed(gmail).failure is Failure.AUTH
    fresh = google.write_token(gmail_token)

    gmail.send(HELLO)

    assert google.posts[-1].access_token == json.loads(fresh.read_text())["token"]


def test_gmail_token_copied_over_a_revoked_one_is_used(
    google: Google, gmail: GmailTransport, gmail_token: Path
) -> None:
    """X07: a token from another machine, put into the same file."""
    google.revoke()
    assert failed(gmail).failure is Failure.AUTH
    gmail_token.write_text(json.dumps(google.token_info()), encoding="utf-8")

    assert gmail.send(HELLO).provider_id


def test_gmail_new_sign_in_is_not_overwritten_by_the_old_one(
    google: Google, gmail: GmailTransport, gmail_token: Path
) -> None:
    """X07: who signs in again while the worker runs, perhaps with another account, stays signed in."""
    gmail.send(HELLO)
    google.write_token(gmail_token)
    fresh = json.loads(gmail_token.read_text())["refresh_token"]
    google.access_tokens.clear()

    failed(gmail)
    gmail.send(HELLO)

    assert json.loads(gmail_token.read_text())["refresh_token"] == fresh


def test_gmail_8_threads_with_a_stale_token_refresh_it_once(google: Google, gmail: GmailTransport) -> None:
    """X07: and none of them takes the sign-in for dead."""
    google.access_tokens.clear()
    ready = threading.Barrier(8)

    def send(_: int) -> list[Failure]:
        ready.wait(timeout=TIMEOUT)
        found = []
        while True:
            try:
                gmail.send(HELLO)
            except DeliveryError as error:
                found.append(error.failure)
                assert len(found) < 5
            else:
                return found

    with ThreadPoolExecutor(8) as pool:
        failures = [failure for found in pool.map(send, range(8)) for failure in found]

    assert set(failures) <= {Failure.CORRECTED}
    assert len(google.token_requests) == 1
    assert len(google.posts) == 8 + len(failures)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        pytest.param(None, None, id="takes-it"),
        pytest.param(close_connection, Failure.UNKNOWN, id="closes"),
        pytest.param(reset_connection, Failure.UNKNOWN, id="resets"),
        pytest.param(send_garbage, Failure.UNKNOWN, id="breaks-the-encryption"),
        pytest.param(truncate_body, Failure.UNKNOWN, id="cuts-the-body"),
        pytest.param(respond_html(503), Failure.TEMPORARY, id="503"),
    ],
)
def test_gmail_answer_over_tls_has_its_failure_class(
    tls_google: Google,
    ca: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Responder | None,
    failure: Failure | None,
) -> None:
    """X03."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca.file))
    gmail_token = tls_google.write_token(tmp_path / "gmail_token.json")
    gmail = GmailTransport(gmail_token, api_endpoint=tls_google.url, clock=lambda: NOW)
    tls_google.default = answer

    if failure is None:
        assert gmail.send(HELLO).provider_id
    else:
        assert failed(gmail).failure is failure
    assert len(tls_google.posts) == 1


def test_gmail_server_with_unknown_certificate_receives_nothing(
    tls_google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X03: no token and no mail for a stranger."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    gmail_token = tls_google.write_token(tmp_path / "gmail_token.json")
    gmail = GmailTransport(gmail_token, api_endpoint=tls_google.url, clock=lambda: NOW)

    assert failed(gmail).failure is Failure.UNREACHABLE
    assert tls_google.requests == []


def test_gmail_netrc_does_not_replace_the_access_token(
    google: Google, gmail: GmailTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S02: passwords that lie there for other programs are not sent to Gmail."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n", encoding="ascii")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    gmail.send(HELLO)

    assert google.posts[0].headers["authorization"].startswith("Bearer ")


def test_gmail_log_contains_no_secret(google: Google, gmail: GmailTransport, caplog: pytest.LogCaptureFixture) -> None:
    """S02: at the level at which the program logs."""
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.DEBUG, logger="syftnotify")
    google.responses += [
        respond_error(403, "rateLimitExceeded"),
        respond_html(502),
        close_connection,
        respond_error(401),
        respond_error(401),
        respond_body(b"?"),
    ]
    for _ in range(6):
        failed(gmail)
    google.revoke()
    google.default_token_response = reject_grant
    failed(gmail)

    assert SECRET not in caplog.text


def test_gmail_trusts_certificates_of_ssl_cert_file(
    tls_google: Google, ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B6: by the same rule as webhooks, for the sign-in too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.file))
    gmail_token = tls_google.write_token(tmp_path / "gmail_token.json", expired=True)
    GmailTransport(gmail_token, api_endpoint=tls_google.url, clock=lambda: NOW).send(HELLO)

    assert tls_google.requests == ["POST /token", f"POST {SEND_PATH}"]
