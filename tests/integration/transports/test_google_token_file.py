"""The saved token: loading, refreshing, damage."""

from __future__ import annotations

import codecs
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from google.auth.exceptions import GoogleAuthError

from syftnotify.transports.gmail.auth import GmailAuth
from tests.fakes.google import (
    CLIENT_SECRET,
    SCOPE,
    SECRET,
    Google,
    Responder,
    close_connection,
    grant_consent,
    reject_grant,
    respond_body,
    respond_html,
)
from tests.integration.transports.sign_in_errors import file_mode, formatted_traceback, refused


def test_token_file_with_client_secrets_is_named(google: Google, tmp_path: Path) -> None:
    """D4"""
    path = google.write_credentials(tmp_path / "gmail_token.json")

    assert "type 'Desktop app', not a saved sign-in" in str(refused(lambda: GmailAuth().load_credentials(path)))


def test_token_file_with_a_byte_order_mark_is_read(google: Google, tmp_path: Path) -> None:
    """D4"""
    path = google.write_token(tmp_path / "gmail_token.json", expired=True)
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())

    assert GmailAuth().load_credentials(path).valid


def test_token_file_that_is_valid_is_loaded_without_a_request(google: Google, tmp_path: Path) -> None:
    """S03."""
    token = google.write_token(tmp_path / "gmail_token.json")
    before = token.read_bytes()

    credentials = GmailAuth().load_credentials(token)

    assert credentials.valid
    assert google.requests == []
    assert token.read_bytes() == before


def test_token_file_that_expired_is_refreshed_and_saved(google: Google, tmp_path: Path) -> None:
    """S03."""
    token = google.write_token(
        tmp_path / "gmail_token.json", expired=True, signed_in_at=1_700_000_000, refresh_token_expires_in=604_799
    )
    before = json.loads(token.read_text())

    credentials = GmailAuth().load_credentials(token)

    assert credentials.valid
    assert credentials.token in google.access_tokens
    assert [form["grant_type"] for form in google.token_requests] == ["refresh_token"]
    after = json.loads(token.read_text())
    assert after["token"] == credentials.token != before["token"]
    assert after["expiry"] > before["expiry"]
    kept = ("refresh_token", "token_uri", "client_id", "client_secret", "signed_in_at", "refresh_token_expires_in")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert file_mode(token) == 0o600
    GmailAuth().load_credentials(token)
    assert len(google.token_requests) == 1


_SHARED_SCOPES = ["https://www.googleapis.com/auth/drive", SCOPE]


@pytest.mark.parametrize("scopes", [_SHARED_SCOPES, " ".join(_SHARED_SCOPES), []])
def test_token_file_shared_with_programs_keeps_scopes_and_keys(google: Google, tmp_path: Path, scopes: Any) -> None:
    """E: a refresh that names a scope would narrow the access token for all of them, or be refused."""
    token = google.write_token(
        tmp_path / "gmail_token.json", expired=True, scopes=scopes, quota_project_id="p1", theirs={"a": [1]}
    )
    before = json.loads(token.read_text())

    fresh = GmailAuth().load_credentials(token).token

    assert "scope" not in google.token_requests[0]
    after = json.loads(token.read_text())
    assert after["token"] == fresh
    changed = {"token", "expiry"}
    assert {key: after[key] for key in after if key not in changed} == {
        key: before[key] for key in before if key not in changed
    }


def test_token_file_gets_a_rotated_refresh_token(google: Google, tmp_path: Path) -> None:
    """E"""
    token = google.write_token(tmp_path / "gmail_token.json", expired=True)
    fresh = {"access_token": google.new_access_token(), "refresh_token": f"1//{SECRET}new", "expires_in": 3599}
    google.default_token_response = lambda handler: handler.respond_json(200, fresh)

    GmailAuth().load_credentials(token)

    assert json.loads(token.read_text())["refresh_token"] == f"1//{SECRET}new"


def test_token_file_that_is_a_symlink_stays_one(google: Google, tmp_path: Path) -> None:
    """E: the file that is shared is the one that changes."""
    shared = google.write_token(tmp_path / "shared.json", expired=True)
    token = tmp_path / "gmail_token.json"
    token.symlink_to(shared)

    fresh = GmailAuth().load_credentials(token).token

    assert token.is_symlink()
    assert json.loads(shared.read_text())["token"] == fresh


def test_token_file_after_a_refused_refresh_is_unchanged(google: Google, tmp_path: Path) -> None:
    """S03."""
    token = google.write_token(tmp_path / "gmail_token.json", expired=True)
    before = token.read_bytes()
    google.default_token_response = reject_grant

    error = refused(lambda: GmailAuth().load_credentials(token))

    assert "invalid_grant" in str(error)
    assert "notify init" in error.hint
    assert len(google.token_requests) == 1
    assert token.read_bytes() == before


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(respond_html(500), id="500-html"),
        pytest.param(respond_html(502), id="502-html"),
        pytest.param(respond_body(b"<html>sign in to the hotel's network</html>"), id="200-html"),
        pytest.param(close_connection, id="closes"),
    ],
)
def test_token_endpoint_in_trouble_is_no_sign_in_error(google: Google, tmp_path: Path, answer: Responder) -> None:
    """S03: a temporary failure, so nobody is asked to sign in."""
    token = google.write_token(tmp_path / "gmail_token.json", expired=True)
    before = token.read_bytes()
    google.default_token_response = answer

    with pytest.raises(GoogleAuthError) as caught:
        GmailAuth().load_credentials(token)

    assert SECRET not in formatted_traceback(caught.value)
    assert token.read_bytes() == before
    google.default_token_response = None
    assert GmailAuth().load_credentials(token).valid


@pytest.mark.parametrize(
    "address",
    [
        "http://oauth.example/token",
        "http://127.0.0.1.oauth.example/token",
        "http://localhost@oauth.example/token",
        "http://127.1/token",
        "ftp://localhost/token",
        "//localhost/token",
        "http://[::1/token",
    ],
)
def test_token_file_with_an_unsafe_url_is_refused(google: Google, tmp_path: Path, address: str) -> None:
    """S03: a refresh token travels by https, or not beyond this machine."""
    token = google.write_token(tmp_path / "gmail_token.json", expired=True, token_uri=address)

    assert "https" in str(refused(lambda: GmailAuth().load_credentials(token)))


@pytest.mark.parametrize(
    "changes",
    [
        {"refresh_token": None},
        {"client_id": None},
        {"expiry": "tomorrow"},
        {"expiry": 5},
        {"expiry": ["2026"]},
    ],
)
def test_token_file_with_wrong_values_is_refused(google: Google, tmp_path: Path, changes: dict[str, Any]) -> None:
    """S03, X11: an error that says what to do, whatever stands in the file."""
    info = {**google.token_info(expired=True), **changes}
    token = tmp_path / "gmail_token.json"
    token.write_text(json.dumps({key: value for key, value in info.items() if value is not None}), encoding="utf-8")

    error = refused(lambda: GmailAuth().load_credentials(token))

    assert "notify init" in error.hint


@pytest.mark.parametrize("content", [None, b"", b"not JSON", b"[]", b"{}", b'"token"', b"\xff\xfe\x00", b'{"token": '])
def test_token_file_that_is_invalid_names_notify_init(tmp_path: Path, content: bytes | None) -> None:
    """S03."""
    token = tmp_path / "gmail_token.json"
    if content is not None:
        token.write_bytes(content)

    error = refused(lambda: GmailAuth().load_credentials(token))

    assert str(token) in str(error)
    assert "notify init" in error.hint


def test_sign_in_logs_no_secret(google: Google, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """S02, S03: at the level at which the program logs, whatever Google answers."""
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.DEBUG, logger="syftnotify")
    credentials = google.write_credentials(tmp_path / "credentials.json")
    GmailAuth().setup_auth(credentials, ask=grant_consent)
    token = google.write_token(tmp_path / "gmail_token.json", expired=True)
    GmailAuth().load_credentials(token)
    google.write_token(token, expired=True)
    google.default_token_response = lambda handler: handler.respond_json(
        400, {"error": "invalid_grant", "error_description": f"no {CLIENT_SECRET}", "token": f"1//{SECRET}refresh"}
    )
    refused(lambda: GmailAuth().load_credentials(token))

    assert SECRET not in caplog.text
