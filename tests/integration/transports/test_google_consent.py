"""Signing in to Google with its own client libraries, against a server that plays Google."""

from __future__ import annotations

import codecs
import http.client
import json
import os
import queue
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from syftnotify.transports.gmail.auth import GmailAuth
from syftnotify.transports.gmail.sign_in import GmailSignIn
from tests.fakes.google import (
    SCOPE,
    SECRET,
    Google,
    Responder,
    close_connection,
    grant_consent,
    respond_body,
    respond_error,
    respond_html,
)
from tests.integration.transports.sign_in_errors import file_mode, refused


def test_consent_ends_with_the_redirect_that_has_its_state_only(google: Google, tmp_path: Path) -> None:
    """C11: other visitors get an error, and a connection without a request blocks nobody."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    shown: queue.SimpleQueue[str] = queue.SimpleQueue()
    with ThreadPoolExecutor(1) as pool:
        granted = pool.submit(GmailAuth().setup_auth, credentials, open_browser=False, show=shown.put)
        redirect = grant_consent(shown.get(timeout=30).split()[-1])
        place = urlsplit(redirect)
        assert place.hostname == "127.0.0.1"
        with socket.create_connection(("127.0.0.1", place.port or 0)):
            for query in ("", "?code=x", "?code=x&state=", "?code=x&state=other", "?state=%00&error=access_denied"):
                assert fetched(f"http://127.0.0.1:{place.port}/{query}") == 404
            assert fetched(f"http://127.0.0.1:{place.port}/favicon.ico?{place.query}") == 404
            assert fetched(f"http://127.0.0.1:{place.port}/?state={parse_qs(place.query)['state'][0]}") == 404
            assert not granted.done()
            assert fetched(redirect) == 200
        assert granted.result(timeout=30).token in google.access_tokens


def test_consent_denied_in_the_browser_is_an_error(google: Google, tmp_path: Path) -> None:
    """C11: an error with the right state is an answer, too."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    google.denies_consent = True
    with ThreadPoolExecutor(1) as pool:
        refused(
            lambda: GmailAuth().setup_auth(
                credentials,
                open_browser=False,
                show=lambda line: void(pool.submit(fetched, grant_consent(line.split()[-1]))),
            )
        )
    assert google.token_requests == []


def test_code_exchange_follows_no_redirect(google: Google, tmp_path: Path) -> None:
    """B2: the code and the client's secret go to the address in the client secrets alone."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    google.default_token_response = respond_html(307, {"Location": "/elsewhere"})

    refused(lambda: GmailAuth().setup_auth(credentials, ask=grant_consent))
    assert google.requests == ["GET /auth", "POST /token"]


def fetched(url: str) -> int:
    """The status of a GET."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        return connection.getresponse().status
    finally:
        connection.close()


def void(_: Any) -> None:
    """For callbacks that return nothing."""


def test_consent_by_pasted_url_saves_the_token(google: Google, tmp_path: Path) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    before = time.time()

    granted = GmailAuth().setup_auth(credentials, ask=grant_consent)

    assert granted.valid
    assert granted.token in google.access_tokens
    info = json.loads((tmp_path / "gmail_token.json").read_text())
    assert info["token_uri"] == f"{google.url}/token"
    assert info["scopes"] == [SCOPE]
    assert before - 1 <= info["signed_in_at"] <= time.time()
    assert "refresh_token_expires_in" not in info
    assert file_mode(tmp_path / "gmail_token.json") == 0o600


def test_sign_in_of_one_account_keeps_the_token_of_another(google: Google, tmp_path: Path) -> None:
    """S02: two Gmail transports with the same client secrets."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    first, second = tmp_path / "gmail_token.json", tmp_path / "second.json"
    GmailSignIn(first, credentials).run(grant_consent, print)
    saved = first.read_bytes()

    assert GmailSignIn(second, credentials).run(grant_consent, print) == second

    assert first.read_bytes() == saved
    assert json.loads(second.read_text())["token"] in google.access_tokens
    assert file_mode(second) == 0o600


def test_consent_ignores_blanks_around_the_pasted_url(google: Google, tmp_path: Path) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "credentials.json")

    assert GmailAuth().setup_auth(credentials, ask=lambda url: f"  {grant_consent(url)}\n").valid


def test_consent_saves_how_long_it_is_valid(google: Google, tmp_path: Path) -> None:
    """X07: an app in testing loses its sign-in after seven days."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    google.refresh_token_expires_in = 604_799

    GmailAuth().setup_auth(credentials, ask=grant_consent)

    info = json.loads((tmp_path / "gmail_token.json").read_text())
    assert info["refresh_token_expires_in"] == 604_799


def test_consent_uses_a_new_state_and_challenge_each_time(google: Google, tmp_path: Path) -> None:
    """S02: and only the right to send is asked for, for a time without us."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    for _ in range(2):
        GmailAuth().setup_auth(credentials, ask=grant_consent)

    first, second = google.consents
    assert first["state"] != second["state"]
    assert first["code_challenge"] != second["code_challenge"]
    assert {consent["scope"] for consent in google.consents} == {SCOPE}
    assert {consent["prompt"] for consent in google.consents} == {"consent"}


@pytest.mark.parametrize("state", [{"state": "another"}, {}], ids=["another", "none"])
def test_consent_with_another_state_is_refused_without_a_request(
    google: Google, tmp_path: Path, state: dict[str, str]
) -> None:
    """S02: somebody else's consent is not ours."""
    credentials = google.write_credentials(tmp_path / "credentials.json")

    def ask(url: str) -> str:
        ended = urlsplit(grant_consent(url))
        query = {key: values[0] for key, values in parse_qs(ended.query).items() if key != "state"}
        return ended._replace(query=urlencode({**query, **state})).geturl()

    refused(lambda: GmailAuth().setup_auth(credentials, ask=ask))
    assert google.token_requests == []
    assert not (tmp_path / "gmail_token.json").exists()


def test_consent_code_of_another_sign_in_is_refused(google: Google, tmp_path: Path) -> None:
    """S02: the proof key (PKCE) of this sign-in does not fit the code of that one."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    stolen: list[str] = []

    def ask_first(url: str) -> str:
        stolen.append(parse_qs(urlsplit(grant_consent(url)).query)["code"][0])
        return ""

    def ask_second(url: str) -> str:
        state = parse_qs(urlsplit(url).query)["state"][0]
        return "http://127.0.0.1:8085/?" + urlencode({"state": state, "code": stolen[0], "scope": SCOPE})

    refused(lambda: GmailAuth().setup_auth(credentials, ask=ask_first))
    refused(lambda: GmailAuth().setup_auth(credentials, ask=ask_second))
    (exchange,) = google.token_requests
    assert len(exchange["code_verifier"]) >= 43  # RFC 7636, section 4.1
    assert not (tmp_path / "gmail_token.json").exists()


@pytest.mark.parametrize("answer", ["", "   ", "4/0AX4XfWh", "http://127.0.0.1:8085/", "not an address [", "http://[x"])
def test_consent_with_an_incomplete_url_is_refused(google: Google, tmp_path: Path, answer: str) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "credentials.json")

    refused(lambda: GmailAuth().setup_auth(credentials, ask=lambda _url: answer))
    assert not (tmp_path / "gmail_token.json").exists()


def test_consent_denied_keeps_the_old_token(google: Google, tmp_path: Path) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    before = google.write_token(tmp_path / "gmail_token.json").read_bytes()
    google.denies_consent = True

    refused(lambda: GmailAuth().setup_auth(credentials, ask=grant_consent))
    assert (tmp_path / "gmail_token.json").read_bytes() == before


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(respond_html(502), id="502-html"),
        pytest.param(respond_error(503), id="503"),
        pytest.param(respond_body(b"<html>sign in to the hotel's network</html>"), id="200-html"),
        pytest.param(close_connection, id="closes"),
    ],
)
def test_consent_with_a_failing_token_endpoint_is_an_error(google: Google, tmp_path: Path, answer: Responder) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    google.default_token_response = answer

    refused(lambda: GmailAuth().setup_auth(credentials, ask=grant_consent))
    assert not (tmp_path / "gmail_token.json").exists()


def test_consent_leaves_the_environment_unchanged(google: Google, tmp_path: Path) -> None:
    """S02: what is allowed for a server on this machine is not allowed for the rest of the program."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    before = dict(os.environ)

    GmailAuth().setup_auth(credentials, ask=grant_consent)

    assert dict(os.environ) == before


@pytest.mark.parametrize("key", ["auth_uri", "token_uri"])
@pytest.mark.parametrize("address", ["http://oauth.example/x", "http://127.0.0.1.oauth.example/x", "ftp://127.0.0.1/x"])
def test_client_secrets_with_unsafe_urls_are_refused(google: Google, tmp_path: Path, key: str, address: str) -> None:
    """S02: a secret travels by https, or not beyond this machine."""
    credentials = google.write_credentials(tmp_path / "credentials.json", **{key: address})

    refused(lambda: GmailAuth().setup_auth(credentials, ask=grant_consent))
    assert google.requests == []


@pytest.mark.parametrize("content", [None, "", "not JSON", "[]", "{}", '{"installed": {}}', '{"installed": []}'])
def test_client_secrets_that_are_invalid_name_their_source(tmp_path: Path, content: str | None) -> None:
    """S02."""
    path = tmp_path / "credentials.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    error = refused(lambda: GmailAuth().setup_auth(path, ask=grant_consent))
    assert str(path) in str(error)
    assert "Desktop app" in error.hint


_API_KEY = "AIza" + "x" * 35


_OTHER_FILES: dict[str, tuple[Any, str]] = {
    "web": ({"web": {"client_id": "x", "client_secret": "x"}}, "an OAuth client of type 'Web application'"),
    "service-account": ({"type": "service_account", "private_key": f"{SECRET}key"}, "a service account key"),
    "authorized-user": ({"type": "authorized_user", "refresh_token": f"{SECRET}x"}, "a saved sign-in (a token)"),
    "token": ({"token": f"{SECRET}x", "refresh_token": f"{SECRET}x"}, "a saved sign-in (a token)"),
    "external": ({"type": "external_account"}, "a credentials file of type 'external_account'"),
    "api-key-json": ({"api_key": _API_KEY}, "an API key"),
}


@pytest.mark.parametrize(("content", "kind"), _OTHER_FILES.values(), ids=_OTHER_FILES)
def test_client_secrets_of_another_type_are_named(tmp_path: Path, content: dict[str, Any], kind: str) -> None:
    """D4"""
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps(content), encoding="utf-8")

    error = refused(lambda: GmailAuth().setup_auth(path, ask=grant_consent))
    assert str(error) == f"{path} is {kind}, not an OAuth client of type 'Desktop app'"
    assert "Desktop app" in error.hint


def test_client_secrets_that_are_an_api_key_are_named(tmp_path: Path) -> None:
    """D4"""
    path = tmp_path / "credentials.json"
    path.write_text(f"{_API_KEY}\n", encoding="utf-8")

    assert "is an API key" in str(refused(lambda: GmailAuth().setup_auth(path, ask=grant_consent)))


def test_client_secrets_with_a_byte_order_mark_are_read(google: Google, tmp_path: Path) -> None:
    """D4"""
    path = google.write_credentials(tmp_path / "credentials.json")
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())

    assert GmailAuth().setup_auth(path, ask=grant_consent).valid


def test_client_secrets_in_utf_16_are_refused_with_the_reason(google: Google, tmp_path: Path) -> None:
    """D4"""
    path = google.write_credentials(tmp_path / "credentials.json")
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-16")

    assert "save it as UTF-8" in str(refused(lambda: GmailAuth().setup_auth(path, ask=grant_consent)))


@pytest.mark.parametrize("of", [str, Path])
def test_consent_takes_str_and_path_with_a_tilde(
    google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: Callable[[str], str | Path]
) -> None:
    """S02, S03."""
    monkeypatch.setenv("HOME", str(tmp_path))
    google.write_credentials(tmp_path / ".syft-creds" / "credentials.json")

    granted = GmailAuth().setup_auth(of("~/.syft-creds/credentials.json"), ask=grant_consent)

    assert GmailAuth().load_credentials(of("~/.syft-creds/gmail_token.json")).token == granted.token
