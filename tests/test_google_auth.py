"""Signing in, against a server that plays Google, with Google's own client libraries."""

from __future__ import annotations

import codecs
import http.client
import json
import logging
import os
import queue
import shlex
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from google.auth.exceptions import GoogleAuthError

from syftnotify.core.errors import NotSignedInError
from syftnotify.transports.gmail.auth import GmailAuth
from tests.fakes.google import (
    CLIENT_SECRET,
    SCOPE,
    SECRET,
    Answer,
    Google,
    body,
    closes,
    page,
    refuses_the_grant,
    says,
    serving,
    visited,
)
from tests.support import PATIENCE

_SIGN_IN = "import sys; from syftnotify import GmailAuth; GmailAuth().setup_auth(sys.argv[1])"


@pytest.fixture
def google() -> Iterator[Google]:
    with serving() as google:
        yield google


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def whole_story(error: BaseException) -> str:
    """Everything that a log would show of an error: its text, its causes, their lines."""
    return "".join(traceback.format_exception(error))


def refused(call: Callable[[], Any]) -> NotSignedInError:
    """The error of a sign-in that must fail; none of our secrets is in it."""
    with pytest.raises(NotSignedInError) as caught:
        call()
    assert SECRET not in whole_story(caught.value)
    return caught.value


# -- consent -----------------------------------------------------------------------------------------------------


def signing_in(credentials: Path, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`setup_auth` in a process of its own: which browser there is, is asked once a process."""
    kept = {key: value for key, value in os.environ.items() if key not in {"BROWSER", "DISPLAY", "WAYLAND_DISPLAY"}}
    return subprocess.run(
        [sys.executable, "-c", _SIGN_IN, str(credentials)],
        env={**kept, "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=False,
    )


def test_consent_in_a_browser_saves_a_token_beside_the_credentials(google: Google, tmp_path: Path) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "creds" / "credentials.json")
    browser = tmp_path / "browser.py"
    browser.write_text("import sys, urllib.request\nurllib.request.urlopen(sys.argv[1]).read()\n")

    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(browser))} %s &"
    done = signing_in(credentials, tmp_path, BROWSER=command)

    assert done.returncode == 0, done.stderr
    saved = tmp_path / "creds" / "gmail_token.json"
    assert mode_of(saved) == 0o600
    assert json.loads(saved.read_text())["refresh_token"] in google.refresh_tokens
    (consent,) = google.consents
    assert consent["scope"] == SCOPE
    assert urlsplit(consent["redirect_uri"]).hostname in {"127.0.0.1", "localhost"}
    assert SECRET not in done.stdout + done.stderr


def test_consent_ends_only_by_the_redirect_with_its_state(google: Google, tmp_path: Path) -> None:
    """C11: other visitors get an error, and a connection without a request blocks nobody."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    shown: queue.SimpleQueue[str] = queue.SimpleQueue()
    with ThreadPoolExecutor(1) as pool:
        granted = pool.submit(GmailAuth().setup_auth, credentials, open_browser=False, show=shown.put)
        redirect = visited(shown.get(timeout=30).split()[-1])
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


def test_consent_that_is_denied_in_the_browser_ends_at_once(google: Google, tmp_path: Path) -> None:
    """C11: an error with the right state is an answer, too."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    google.denies = True
    with ThreadPoolExecutor(1) as pool:
        refused(
            lambda: GmailAuth().setup_auth(
                credentials, open_browser=False, show=lambda line: void(pool.submit(fetched, visited(line.split()[-1])))
            )
        )
    assert google.token_requests == []


def test_the_code_exchange_follows_no_redirect(google: Google, tmp_path: Path) -> None:
    """B2: the code and the client's secret go to the address in the client secrets alone."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    google.token_answer = page(307, {"Location": "/elsewhere"})

    refused(lambda: GmailAuth().setup_auth(credentials, ask=visited))
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


def test_a_machine_without_any_browser_is_told_what_to_do(google: Google, tmp_path: Path) -> None:
    """S02: an error that says what to do, not a traceback."""
    credentials = google.write_credentials(tmp_path / "credentials.json")

    done = signing_in(credentials, tmp_path, PATH=str(tmp_path))

    assert done.returncode != 0
    assert "NotSignedInError" in done.stderr.splitlines()[-1]


def test_without_a_browser_here_the_whole_address_is_pasted(google: Google, tmp_path: Path) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    before = time.time()

    granted = GmailAuth().setup_auth(credentials, ask=visited)

    assert granted.valid
    assert granted.token in google.access_tokens
    info = json.loads((tmp_path / "gmail_token.json").read_text())
    assert info["token_uri"] == f"{google.url}/token"
    assert info["scopes"] == [SCOPE]
    assert before - 1 <= info["signed_in_at"] <= time.time()
    assert "refresh_token_expires_in" not in info
    assert mode_of(tmp_path / "gmail_token.json") == 0o600


def test_blanks_around_the_pasted_address_do_no_harm(google: Google, tmp_path: Path) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "credentials.json")

    assert GmailAuth().setup_auth(credentials, ask=lambda url: f"  {visited(url)}\n").valid


def test_how_long_the_consent_is_good_is_kept_where_google_says_it(google: Google, tmp_path: Path) -> None:
    """X07: an app in testing loses its sign-in after seven days."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    google.refresh_token_expires_in = 604_799

    GmailAuth().setup_auth(credentials, ask=visited)

    info = json.loads((tmp_path / "gmail_token.json").read_text())
    assert info["refresh_token_expires_in"] == 604_799


def test_every_sign_in_has_a_state_and_a_proof_of_its_own(google: Google, tmp_path: Path) -> None:
    """S02: and only the right to send is asked for, for a time without us."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    for _ in range(2):
        GmailAuth().setup_auth(credentials, ask=visited)

    first, second = google.consents
    assert first["state"] != second["state"]
    assert first["code_challenge"] != second["code_challenge"]
    assert {consent["scope"] for consent in google.consents} == {SCOPE}
    assert {consent["prompt"] for consent in google.consents} == {"consent"}


def test_a_pasted_address_with_another_state_is_refused_before_google_is_asked(google: Google, tmp_path: Path) -> None:
    """S02: somebody else's consent is not ours."""
    credentials = google.write_credentials(tmp_path / "credentials.json")

    def ask(url: str) -> str:
        ended = urlsplit(visited(url))
        query = {key: values[0] for key, values in parse_qs(ended.query).items()}
        return ended._replace(query=urlencode({**query, "state": "another"})).geturl()

    refused(lambda: GmailAuth().setup_auth(credentials, ask=ask))
    assert google.token_requests == []
    assert not (tmp_path / "gmail_token.json").exists()


def test_a_pasted_address_without_a_state_is_refused(google: Google, tmp_path: Path) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "credentials.json")

    def ask(url: str) -> str:
        ended = urlsplit(visited(url))
        return ended._replace(query=urlencode({"code": parse_qs(ended.query)["code"][0]})).geturl()

    refused(lambda: GmailAuth().setup_auth(credentials, ask=ask))
    assert google.token_requests == []


def test_a_code_that_was_given_to_another_sign_in_is_refused(google: Google, tmp_path: Path) -> None:
    """S02: the proof key (PKCE) of this sign-in does not fit the code of that one."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    stolen: list[str] = []

    def ask_first(url: str) -> str:
        stolen.append(parse_qs(urlsplit(visited(url)).query)["code"][0])
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
def test_what_is_not_the_whole_address_is_refused(google: Google, tmp_path: Path, answer: str) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "credentials.json")

    refused(lambda: GmailAuth().setup_auth(credentials, ask=lambda _url: answer))
    assert not (tmp_path / "gmail_token.json").exists()


def test_a_person_who_does_not_agree_gets_an_error_and_the_old_token_stays(google: Google, tmp_path: Path) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    before = google.write_token(tmp_path / "gmail_token.json").read_bytes()
    google.denies = True

    refused(lambda: GmailAuth().setup_auth(credentials, ask=visited))
    assert (tmp_path / "gmail_token.json").read_bytes() == before


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(page(502), id="502-html"),
        pytest.param(says(503), id="503"),
        pytest.param(body(b"<html>sign in to the hotel's network</html>"), id="200-html"),
        pytest.param(closes, id="closes"),
    ],
)
def test_a_token_endpoint_in_trouble_is_an_error_in_words(google: Google, tmp_path: Path, answer: Answer) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    google.token_answer = answer

    refused(lambda: GmailAuth().setup_auth(credentials, ask=visited))
    assert not (tmp_path / "gmail_token.json").exists()


def test_signing_in_leaves_the_environment_as_it_was(google: Google, tmp_path: Path) -> None:
    """S02: what is allowed for a server on this machine is not allowed for the rest of the program."""
    credentials = google.write_credentials(tmp_path / "credentials.json")
    before = dict(os.environ)

    GmailAuth().setup_auth(credentials, ask=visited)

    assert dict(os.environ) == before


@pytest.mark.parametrize("key", ["auth_uri", "token_uri"])
@pytest.mark.parametrize("address", ["http://oauth.example/x", "http://127.0.0.1.oauth.example/x", "ftp://127.0.0.1/x"])
def test_client_secrets_that_point_anywhere_unsafe_are_refused(
    google: Google, tmp_path: Path, key: str, address: str
) -> None:
    """S02: a secret travels by https, or not beyond this machine."""
    credentials = google.write_credentials(tmp_path / "credentials.json", **{key: address})

    refused(lambda: GmailAuth().setup_auth(credentials, ask=visited))
    assert google.requests == []


@pytest.mark.parametrize("content", [None, "", "not JSON", "[]", "{}", '{"installed": {}}', '{"installed": []}'])
def test_client_secrets_that_are_none_are_told_with_where_to_get_them(tmp_path: Path, content: str | None) -> None:
    """S02."""
    path = tmp_path / "credentials.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    error = refused(lambda: GmailAuth().setup_auth(path, ask=visited))
    assert str(path) in str(error)
    assert "Desktop app" in error.hint


_KEY = "AIza" + "x" * 35
_OTHERS: dict[str, tuple[Any, str]] = {
    "web": ({"web": {"client_id": "x", "client_secret": "x"}}, "an OAuth client of type 'Web application'"),
    "service-account": ({"type": "service_account", "private_key": f"{SECRET}key"}, "a service account key"),
    "authorized-user": ({"type": "authorized_user", "refresh_token": f"{SECRET}x"}, "a saved sign-in (a token)"),
    "token": ({"token": f"{SECRET}x", "refresh_token": f"{SECRET}x"}, "a saved sign-in (a token)"),
    "external": ({"type": "external_account"}, "a credentials file of type 'external_account'"),
    "api-key-json": ({"api_key": _KEY}, "an API key"),
}


@pytest.mark.parametrize(("content", "kind"), _OTHERS.values(), ids=_OTHERS)
def test_another_file_of_googles_is_named_with_the_one_that_is_needed(
    tmp_path: Path, content: dict[str, Any], kind: str
) -> None:
    """D4"""
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps(content), encoding="utf-8")

    error = refused(lambda: GmailAuth().setup_auth(path, ask=visited))
    assert str(error) == f"{path} is {kind}, not an OAuth client of type 'Desktop app'"
    assert "Desktop app" in error.hint


def test_an_api_key_as_text_is_named(tmp_path: Path) -> None:
    """D4"""
    path = tmp_path / "credentials.json"
    path.write_text(f"{_KEY}\n", encoding="utf-8")

    assert "is an API key" in str(refused(lambda: GmailAuth().setup_auth(path, ask=visited)))


def test_client_secrets_in_the_place_of_a_token_are_named(google: Google, tmp_path: Path) -> None:
    """D4"""
    path = google.write_credentials(tmp_path / "gmail_token.json")

    assert "type 'Desktop app', not a saved sign-in" in str(refused(lambda: GmailAuth().load_credentials(path)))


def test_client_secrets_with_a_byte_order_mark_are_read(google: Google, tmp_path: Path) -> None:
    """D4"""
    path = google.write_credentials(tmp_path / "credentials.json")
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())

    assert GmailAuth().setup_auth(path, ask=visited).valid


def test_client_secrets_in_utf_16_are_refused_with_the_reason(google: Google, tmp_path: Path) -> None:
    """D4"""
    path = google.write_credentials(tmp_path / "credentials.json")
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-16")

    assert "save it as UTF-8" in str(refused(lambda: GmailAuth().setup_auth(path, ask=visited)))


def test_a_token_with_a_byte_order_mark_is_read(google: Google, tmp_path: Path) -> None:
    """D4"""
    path = google.write_token(tmp_path / "gmail_token.json", expired=True)
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())

    assert GmailAuth().load_credentials(path).valid


@pytest.mark.parametrize("of", [str, Path])
def test_signing_in_takes_a_path_of_either_kind_below_the_home_folder(
    google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: Callable[[str], str | Path]
) -> None:
    """S02, S03."""
    monkeypatch.setenv("HOME", str(tmp_path))
    google.write_credentials(tmp_path / ".syft-creds" / "credentials.json")

    granted = GmailAuth().setup_auth(of("~/.syft-creds/credentials.json"), ask=visited)

    assert GmailAuth().load_credentials(of("~/.syft-creds/gmail_token.json")).token == granted.token


# -- the saved token ---------------------------------------------------------------------------------------------


def test_a_good_token_is_loaded_without_asking_google(google: Google, tmp_path: Path) -> None:
    """S03."""
    token = google.write_token(tmp_path / "gmail_token.json")
    before = token.read_bytes()

    credentials = GmailAuth().load_credentials(token)

    assert credentials.valid
    assert google.requests == []
    assert token.read_bytes() == before


def test_an_expired_token_is_refreshed_where_its_file_says_and_saved(google: Google, tmp_path: Path) -> None:
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
    assert mode_of(token) == 0o600
    GmailAuth().load_credentials(token)
    assert len(google.token_requests) == 1


_SHARED = ["https://www.googleapis.com/auth/drive", SCOPE]


@pytest.mark.parametrize("scopes", [_SHARED, " ".join(_SHARED)])
def test_a_token_that_other_programs_share_keeps_its_scopes_and_keys(
    google: Google, tmp_path: Path, scopes: Any
) -> None:
    """E: a refresh that names a scope would narrow the access token for all of them."""
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


def test_a_token_without_scopes_asks_for_the_one_that_is_needed(google: Google, tmp_path: Path) -> None:
    """E"""
    token = google.write_token(tmp_path / "gmail_token.json", expired=True, scopes=[])

    GmailAuth().load_credentials(token)

    assert google.token_requests[0]["scope"] == SCOPE
    assert json.loads(token.read_text())["scopes"] == []


def test_a_rotated_refresh_token_is_saved(google: Google, tmp_path: Path) -> None:
    """E"""
    token = google.write_token(tmp_path / "gmail_token.json", expired=True)
    fresh = {"access_token": google.new_access_token(), "refresh_token": f"1//{SECRET}new", "expires_in": 3599}
    google.token_answer = lambda asked: asked.answer_json(200, fresh)

    GmailAuth().load_credentials(token)

    assert json.loads(token.read_text())["refresh_token"] == f"1//{SECRET}new"


def test_a_linked_token_stays_a_link(google: Google, tmp_path: Path) -> None:
    """E: the file that is shared is the one that changes."""
    shared = google.write_token(tmp_path / "shared.json", expired=True)
    token = tmp_path / "gmail_token.json"
    token.symlink_to(shared)

    fresh = GmailAuth().load_credentials(token).token

    assert token.is_symlink()
    assert json.loads(shared.read_text())["token"] == fresh


def test_a_scope_that_was_not_granted_is_no_line_on_stderr(google: Google, tmp_path: Path) -> None:
    """E: Google's library warns of it, and without a logging setup that ends on the terminal."""
    token = google.write_token(tmp_path / "gmail_token.json", expired=True, scopes=[])
    narrow = {"access_token": google.new_access_token(), "expires_in": 3599, "scope": "openid"}
    google.token_answer = lambda asked: asked.answer_json(200, narrow)
    script = "import sys; from syftnotify import GmailAuth; GmailAuth().load_credentials(sys.argv[1])"

    done = subprocess.run([sys.executable, "-c", script, str(token)], capture_output=True, timeout=60, check=True)

    assert done.stderr == b""


def test_a_refused_refresh_asks_to_sign_in_again_and_keeps_the_file(google: Google, tmp_path: Path) -> None:
    """S03."""
    token = google.write_token(tmp_path / "gmail_token.json", expired=True)
    before = token.read_bytes()
    google.token_answer = refuses_the_grant

    error = refused(lambda: GmailAuth().load_credentials(token))

    assert "invalid_grant" in str(error)
    assert "notify init" in error.hint
    assert len(google.token_requests) == 1
    assert token.read_bytes() == before


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(page(500), id="500-html"),
        pytest.param(page(502), id="502-html"),
        pytest.param(body(b"<html>sign in to the hotel's network</html>"), id="200-html"),
        pytest.param(closes, id="closes"),
    ],
)
def test_a_token_endpoint_in_trouble_never_means_sign_in_again(google: Google, tmp_path: Path, answer: Answer) -> None:
    """S03: it passes by itself, so nobody is sent to do something about it."""
    token = google.write_token(tmp_path / "gmail_token.json", expired=True)
    before = token.read_bytes()
    google.token_answer = answer

    with pytest.raises(GoogleAuthError) as caught:
        GmailAuth().load_credentials(token)

    assert SECRET not in whole_story(caught.value)
    assert token.read_bytes() == before
    google.token_answer = None
    assert GmailAuth().load_credentials(token).valid


def test_a_token_endpoint_that_is_down_never_means_sign_in_again(google: Google, tmp_path: Path) -> None:
    """S03."""
    token = google.write_token(tmp_path / "gmail_token.json", expired=True)
    google.stop()

    with pytest.raises(GoogleAuthError) as caught:
        GmailAuth().load_credentials(token)

    assert SECRET not in whole_story(caught.value)


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
def test_a_token_file_that_points_anywhere_unsafe_is_refused(google: Google, tmp_path: Path, address: str) -> None:
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
def test_a_token_file_with_wrong_contents_is_no_token(google: Google, tmp_path: Path, changes: dict[str, Any]) -> None:
    """S03, X11: an error that says what to do, whatever stands in the file."""
    info = {**google.token_info(expired=True), **changes}
    token = tmp_path / "gmail_token.json"
    token.write_text(json.dumps({key: value for key, value in info.items() if value is not None}), encoding="utf-8")

    error = refused(lambda: GmailAuth().load_credentials(token))

    assert "notify init" in error.hint


@pytest.mark.parametrize("content", [None, b"", b"not JSON", b"[]", b"{}", b'"token"', b"\xff\xfe\x00", b'{"token": '])
def test_a_token_file_that_is_none_asks_to_sign_in(tmp_path: Path, content: bytes | None) -> None:
    """S03."""
    token = tmp_path / "gmail_token.json"
    if content is not None:
        token.write_bytes(content)

    error = refused(lambda: GmailAuth().load_credentials(token))

    assert str(token) in str(error)
    assert "notify init" in error.hint


def test_no_secret_is_ever_logged(google: Google, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """S02, S03: at the level at which the program logs, whatever Google answers."""
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.DEBUG, logger="syftnotify")
    credentials = google.write_credentials(tmp_path / "credentials.json")
    GmailAuth().setup_auth(credentials, ask=visited)
    token = google.write_token(tmp_path / "gmail_token.json", expired=True)
    GmailAuth().load_credentials(token)
    google.write_token(token, expired=True)
    google.token_answer = lambda asked: asked.answer_json(
        400, {"error": "invalid_grant", "error_description": f"no {CLIENT_SECRET}", "token": f"1//{SECRET}refresh"}
    )
    refused(lambda: GmailAuth().load_credentials(token))

    assert SECRET not in caplog.text
