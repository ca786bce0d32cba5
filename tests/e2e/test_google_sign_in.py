"""Signing in to Google by `notify init` and in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fakes.google import (
    SCOPE,
    SECRET,
    Google,
    grant_consent,
    respond_error,
)
from tests.gmail_boxes import configure_gmail
from tests.integration.transports.sign_in_errors import file_mode
from tests.support import OWNER, TIMEOUT, Box

_SIGN_IN = "import sys; from syftnotify import GmailAuth; GmailAuth().setup_auth(sys.argv[1])"


def run_setup_auth(credentials: Path, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`setup_auth` in a process of its own: which browser there is, is asked once a process."""
    kept = {key: value for key, value in os.environ.items() if key not in {"BROWSER", "DISPLAY", "WAYLAND_DISPLAY"}}
    return subprocess.run(
        [sys.executable, "-c", _SIGN_IN, str(credentials)],
        env={**kept, "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.mark.thorough
def test_consent_in_a_browser_saves_a_token_with_the_credentials(google: Google, tmp_path: Path) -> None:
    """S02."""
    credentials = google.write_credentials(tmp_path / "creds" / "credentials.json")
    browser = tmp_path / "browser.py"
    browser.write_text("import sys, urllib.request\nurllib.request.urlopen(sys.argv[1]).read()\n")

    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(browser))} %s &"
    done = run_setup_auth(credentials, tmp_path, BROWSER=command)

    assert done.returncode == 0, done.stderr
    saved = tmp_path / "creds" / "gmail_token.json"
    assert file_mode(saved) == 0o600
    assert json.loads(saved.read_text())["refresh_token"] in google.refresh_tokens
    (consent,) = google.consents
    assert consent["scope"] == SCOPE
    assert urlsplit(consent["redirect_uri"]).hostname in {"127.0.0.1", "localhost"}
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.thorough
def test_consent_without_a_browser_is_a_sign_in_error(google: Google, tmp_path: Path) -> None:
    """S02: an error that says what to do, not a traceback."""
    credentials = google.write_credentials(tmp_path / "credentials.json")

    done = run_setup_auth(credentials, tmp_path, PATH=str(tmp_path))

    assert done.returncode != 0
    assert "NotSignedInError" in done.stderr.splitlines()[-1]


def test_refresh_with_a_narrower_scope_prints_nothing(google: Google, tmp_path: Path) -> None:
    """E: Google's library warns of it, and without a logging setup that ends on the terminal."""
    token = google.write_token(tmp_path / "gmail_token.json", expired=True, scopes=[])
    narrow = {"access_token": google.new_access_token(), "expires_in": 3599, "scope": "openid"}
    google.default_token_response = lambda handler: handler.respond_json(200, narrow)
    script = "import sys; from syftnotify import GmailAuth; GmailAuth().load_credentials(sys.argv[1])"

    done = subprocess.run([sys.executable, "-c", script, str(token)], capture_output=True, timeout=60, check=True)

    assert done.stderr == b""


def run_init(box: Box, google: Google, words: list[str], *, terminal: bool) -> tuple[int, str]:
    """Run `notify init` and answer its one question as a person does; returns the exit code and what it said."""
    command = [sys.executable, "-P", "-m", "syftnotify", *words]
    if terminal:
        ours, theirs = pty.openpty()
        reads = writes = ours
        started = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=box.environment())
        os.close(theirs)
    else:
        stdin, writes = os.pipe()
        reads, stdout = os.pipe()
        started = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stdout, env=box.environment())
        os.close(stdin)
        os.close(stdout)
    heard, answered = "", False
    try:
        with started:
            while select.select([reads], [], [], 30)[0]:
                try:
                    piece = os.read(reads, 65536)
                except OSError:  # a terminal reports the end of its process like this
                    break
                if not piece:
                    break
                heard += piece.decode()
                question = re.search(
                    r"(http://127\.0\.0\.1:\d+/auth\?\S+)\s.*paste that whole address", heard, re.DOTALL
                )
                if question and not answered:
                    answered = True
                    os.write(writes, f"{grant_consent(question[1])}\n".encode())
            code = started.wait(timeout=TIMEOUT)
    finally:
        if started.poll() is None:
            started.kill()
        for descriptor in {reads, writes}:
            os.close(descriptor)
    return code, heard


@pytest.mark.thorough
@pytest.mark.parametrize(("terminal", "token_path"), [(True, "gmail_token.json"), (False, "tokens/mail.json")])
def test_init_without_a_browser_saves_a_token_and_sends_a_test(
    google: Google, box: Box, tmp_path: Path, terminal: bool, token_path: str
) -> None:
    """S02, S16, N04, X14: on a terminal and over pipes; the token is saved at `transports.<name>.token`."""
    configure_gmail(box, google, token=token_path)
    saved = box.home.root / token_path
    saved.parent.mkdir(exist_ok=True)
    credentials = google.write_credentials(tmp_path / "downloads" / "client_secret_123.json")

    code, heard = run_init(box, google, ["init", "--no-browser", "--credentials", str(credentials)], terminal=terminal)

    assert code == 0, heard
    assert "signed in" in heard
    token = json.loads(saved.read_text())
    assert token["refresh_token"] in google.refresh_tokens
    for path in (saved, box.home.credentials):
        assert path.stat().st_mode & 0o777 == 0o600
    (post,) = google.posts
    assert (post.event, post.to) == ("test", OWNER)
    assert post.access_token == token["token"]
    assert token["token"] not in heard
    assert token["refresh_token"] not in heard


@pytest.mark.parametrize("content", ['{"web": {}}', "no JSON", None])
def test_init_with_a_wrong_credentials_file_changes_nothing(
    google: Google, box: Box, tmp_path: Path, content: str | None
) -> None:
    """D3: neither the credentials that are there nor the configuration; the file that was given is named."""
    configure_gmail(box, google)
    good = google.write_credentials(box.home.credentials).read_bytes()
    config = box.home.config.read_bytes()
    bad = tmp_path / "bad.json"
    if content is not None:
        bad.write_text(content, encoding="utf-8")

    done = box.notify("init", "--no-browser", "--interval", "77", "--credentials", str(bad), check=2)

    assert str(bad) in " ".join(done.stderr.split())
    assert box.home.credentials.read_bytes() == good
    assert box.home.config.read_bytes() == config


def test_init_with_an_endless_credentials_file_is_refused(google: Google, box: Box) -> None:
    """D4"""
    configure_gmail(box, google)

    done = box.notify("init", "--no-browser", "--credentials", "/dev/zero", check=2)

    assert "/dev/zero cannot be read: not a regular file" in " ".join(done.stderr.split())


def test_init_at_end_of_input_keeps_the_old_token(google: Google, box: Box) -> None:
    """S02: the end of the input is a no."""
    configure_gmail(box, google)
    google.write_credentials(box.home.credentials)
    before = google.write_token(box.home.token).read_bytes()

    done = box.notify("init", "--no-browser", check=2)

    assert "no address was given" in done.stderr
    assert box.home.token.read_bytes() == before
    assert google.posts == []


def test_init_with_a_refused_test_mail_keeps_the_token(google: Google, box: Box) -> None:
    """N04."""
    configure_gmail(box, google)
    google.write_token(box.home.token)
    google.default = respond_error(403, "forbidden")

    done = box.notify("init", check=1)

    assert "403" in done.stderr
    assert box.home.token.exists()
    assert len(google.posts) == 1
