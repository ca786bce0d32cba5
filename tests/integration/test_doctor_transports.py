"""Doctor checks of transports and the clock, with real servers; no message is sent."""

from __future__ import annotations

import json
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification
from syftnotify.services.demo import Tree
from syftnotify.services.doctor.findings import Level
from syftnotify.store.outbox.store import SqliteOutbox
from tests.doctor_findings import findings, findings_of, levels, only_finding, sign_in, unused_google
from tests.fakes import mailserver
from tests.fakes.google import SECRET, Google, reject_grant
from tests.fakes.mailserver import PASSWORD, USER, MailServer, reply_and_close
from tests.support import ANA, OWNER, Box, claim

PASS, WARN, FAIL = Level.PASS, Level.WARN, Level.FAIL


@pytest.fixture
def google() -> Iterator[Google]:
    with unused_google() as google:
        yield google


@pytest.fixture
def gmail(box: Box, tree_with_peer: Tree, google: Google) -> Box:
    return sign_in(box, google)


@pytest.mark.parametrize("which", ["config", "token", "credentials"])
def test_doctor_secret_file_readable_by_others_warns(gmail: Box, google: Google, which: str) -> None:
    """B07."""
    google.write_credentials(gmail.home.credentials).chmod(0o600)
    path: Path = getattr(gmail.home, which)
    path.chmod(0o644)

    warnings = [one for one in findings(gmail) if one.level is WARN and str(path) in one.text + one.advice]

    (one,) = warnings
    assert "mode 0644" in one.text
    assert f"chmod 600 {shlex.quote(str(path))}" in one.text + one.advice


def test_doctor_gmail_signs_in_and_sends_nothing(gmail: Box, google: Google) -> None:
    """B07."""
    google.write_token(gmail.home.token, expired=True)

    done = gmail.notify("doctor", check=0)

    assert "pass  transport mail: gmail is ready; nothing was sent" in done.stdout
    assert "POST /token" in google.requests
    assert google.posts == []
    assert SECRET not in done.stdout + done.stderr


def test_doctor_gmail_without_token_names_init(gmail: Box) -> None:
    """B07."""
    gmail.home.token.unlink()

    one = only_finding("transport mail", findings(gmail))

    assert one.level is FAIL
    assert str(gmail.home.token) in one.text
    assert "notify init" in one.advice


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"refresh_token": "x"}'])
def test_doctor_gmail_with_damaged_token_fails(gmail: Box, content: bytes) -> None:
    """B07."""
    gmail.home.token.write_bytes(content)

    one = next(one for one in findings_of("transport mail", findings(gmail)) if one.level is FAIL)

    assert "notify init" in one.advice


def test_doctor_gmail_revoked_sign_in_fails(gmail: Box, google: Google) -> None:
    """B07, X07: invalid_grant."""
    google.write_token(gmail.home.token, expired=True)
    google.default_token_response = reject_grant

    done = gmail.notify("doctor", "--json", check=1)

    (one,) = [one for one in json.loads(done.stdout) if one["level"] == "fail"]
    assert one["check"] == "transport mail"
    assert "invalid_grant" in one["text"]
    assert "notify init" in one["advice"]
    assert SECRET not in done.stdout + done.stderr


DAY = 86400.0


@pytest.mark.parametrize(
    ("days_left", "level", "text"),
    [
        (6.0, PASS, "ends in 6.0 days"),
        (2.1, PASS, "ends in 2.1 days"),
        (1.9, WARN, "ends in 1.9 days"),
        (1.0, WARN, "ends in 1.0 days"),
        (0.1, WARN, "ends in 0.1 days"),
        (-0.1, FAIL, "has ended"),
    ],
)
def test_doctor_gmail_sign_in_end_is_reported(
    gmail: Box, google: Google, days_left: float, level: Level, text: str
) -> None:
    """B07, X07: if Google gave the lifetime."""
    now = time.time()
    google.write_token(
        gmail.home.token, signed_in_at=int(now - (7 - days_left) * DAY), refresh_token_expires_in=7 * 86400
    )

    one = findings_of("transport mail", findings(gmail, now=now))[0]

    assert one.level is level
    assert f"the sign-in {text}" in one.text
    assert bool(one.advice) == (level is not PASS)
    if one.advice:
        assert "notify init --credentials" in one.advice


def test_doctor_gmail_sign_in_without_end_shows_its_age(gmail: Box, google: Google) -> None:
    """B07, X07."""
    unknown = findings_of("transport mail", findings(gmail))[0]
    google.write_token(gmail.home.token, signed_in_at=int(time.time() - 3 * DAY))
    known = findings_of("transport mail", findings(gmail))[0]

    assert (unknown.level, unknown.text) == (PASS, "signed in, it is not known when")
    assert (known.level, known.text) == (PASS, "signed in 3 days ago, no end is known")


def test_doctor_unreachable_gmail_is_a_network_failure(gmail: Box, google: Google) -> None:
    """B07: and not one of the sign-in."""
    google.write_token(gmail.home.token, expired=True)
    google.stop()

    all_found = findings(gmail)

    one = next(one for one in findings_of("transport mail", all_found) if one.level is FAIL)
    assert "network" in one.advice
    assert "notify init" not in one.text + one.advice
    assert only_finding("clock", all_found).level is PASS


def test_doctor_unreachable_gmail_with_fresh_token_fails(gmail: Box, google: Google) -> None:
    """B07: an unreachable transport is not "ready"."""
    google.stop()

    all_found = findings(gmail)

    assert FAIL in {one.level for one in findings_of("transport mail", all_found)}


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mailserver.serve_mail(users={USER: PASSWORD}) as server:
        yield server
        assert server.attempts == 0


def use_smtp(box: Box, port: int, password: str = PASSWORD) -> None:
    url = f"smtp://{USER}:{password}@127.0.0.1:{port}"
    box.configure({"transports": {"office": {"type": "smtp", "smtp_url": url}}})
    box.home.config.chmod(0o600)


def test_doctor_smtp_signs_in_and_sends_nothing(healthy_box: Box, server: MailServer) -> None:
    """B07."""
    use_smtp(healthy_box, server.port)

    done = healthy_box.notify("doctor", check=0)

    assert "pass  transport office: smtp is ready; nothing was sent, used for mail" in done.stdout
    assert any(command.startswith("AUTH") for command in server.commands)
    assert not any(command.startswith(("MAIL", "RCPT", "DATA")) for command in server.commands)
    assert PASSWORD not in done.stdout + done.stderr


def test_doctor_smtp_refused_sign_in_shows_no_password(healthy_box: Box, server: MailServer) -> None:
    """B07."""
    use_smtp(healthy_box, server.port, password=f"{SECRET}the-wrong-one")

    done = healthy_box.notify("doctor", "--json", check=1)

    (one,) = [one for one in json.loads(done.stdout) if one["level"] == "fail"]
    assert one["check"] == "transport office"
    assert "535" in one["text"]
    assert one["advice"] == "correct its user and password"
    assert SECRET not in done.stdout + done.stderr


def test_doctor_unreachable_smtp_is_a_network_failure(healthy_box: Box) -> None:
    """B07."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    use_smtp(healthy_box, port)

    one = only_finding("transport office", findings(healthy_box))

    assert one.level is FAIL
    assert "network" in one.advice
    assert SECRET not in one.text + one.advice


def test_doctor_busy_smtp_advises_to_try_again(healthy_box: Box, server: MailServer) -> None:
    """B07."""
    server.default["greeting"] = reply_and_close("421 4.3.2 too busy")
    use_smtp(healthy_box, server.port)

    one = only_finding("transport office", findings(healthy_box))

    assert one.level is FAIL
    assert one.advice == "try again later, or check the network and the address"


def test_doctor_failing_transport_hides_no_other(healthy_box: Box, server: MailServer) -> None:
    """B07."""
    wrong = f"smtp://{USER}:{SECRET}wrong@127.0.0.1:{server.port}"
    right = f"smtp://{USER}:{PASSWORD}@127.0.0.1:{server.port}"
    healthy_box.configure(
        {
            "transports": {
                "first": {"type": "smtp", "smtp_url": wrong},
                "second": {"type": "smtp", "smtp_url": right},
                "third": {"type": "maildir"},
            }
        }
    )

    worst = levels(findings(healthy_box))

    assert [worst[f"transport {name}"] for name in ("first", "second", "third")] == [FAIL, PASS, PASS]


def test_doctor_unwritable_maildir_fails(healthy_box: Box) -> None:
    """B07."""
    (healthy_box.folder / "file").write_text("")
    healthy_box.configure(
        {"transports": {"box": {"type": "maildir", "path": str(healthy_box.folder / "file" / "mail")}}}
    )

    assert only_finding("transport box", findings(healthy_box)).level is FAIL


def test_doctor_webhook_template_error_lists_the_known_names(healthy_box: Box) -> None:
    hook = {"type": "webhook", "url": "http://127.0.0.1:9/x", "format": "template", "body": "${jobb_id}"}
    healthy_box.configure({"transports": {"box": {"type": "maildir"}, "hook": hook}})

    one = only_finding("transport hook", findings(healthy_box))
    assert one.level is FAIL
    assert "'jobb_id' is undefined" in one.text
    assert "job_id, payload, run_id" in one.text


def test_doctor_maildir_that_is_a_file_is_no_network_failure(healthy_box: Box) -> None:
    """D9"""
    healthy_box.configure({"transports": {"box": {"type": "maildir", "path": "config.yaml"}}})

    one = only_finding("transport box", findings(healthy_box))
    assert one.level is FAIL
    assert one.advice == f"check that {healthy_box.home.config} is a folder that you can write to, or change `path`"


@pytest.fixture
def clock_server(gmail: Box) -> Iterator[ClockServer]:
    """A clock server as the box's Gmail endpoint."""
    clock_server = ClockServer()
    config = yaml.safe_load(gmail.home.config.read_text())
    config["transports"]["mail"]["api_endpoint"] = clock_server.url
    gmail.home.config.write_text(yaml.safe_dump(config))
    yield clock_server
    clock_server.server.shutdown()
    clock_server.server.server_close()


class ClockServer:
    """An HTTP server whose clock differs from ours by `offset` seconds."""

    def __init__(self) -> None:
        self.offset = 0.0
        self.has_date = True
        self.asked: list[str] = []
        clock_server = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                clock_server.asked.append(self.command)
                self.send_response_only(404)
                if clock_server.has_date:
                    self.send_header("Date", formatdate(time.time() + clock_server.offset, usegmt=True))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.do_HEAD()

            def do_POST(self) -> None:
                self.do_HEAD()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's word
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.mark.parametrize(
    ("offset", "level"), [(0, PASS), (45, PASS), (120, WARN), (-120, WARN), (400, FAIL), (-400, FAIL), (-90_000, FAIL)]
)
def test_doctor_clock_offset_from_google_is_reported(
    gmail: Box, clock_server: ClockServer, offset: float, level: Level
) -> None:
    """B07: a sign-in fails when the clock is minutes off."""
    clock_server.offset = offset

    one = only_finding("clock", findings(gmail))

    assert one.level is level
    assert bool(one.advice) == (level is not PASS)
    assert clock_server.asked == ["HEAD"]


def test_doctor_clock_without_server_date_passes(gmail: Box, clock_server: ClockServer) -> None:
    """B07."""
    clock_server.has_date = False

    one = only_finding("clock", findings(gmail))

    assert one.level is PASS
    assert "not compared with a server's clock" in one.text


def store_sent(box: Box, count: int, now: float) -> None:
    """Store `count` messages that were sent through Gmail at `now`."""
    events = [Event(EventKind.JOB_APPROVED, f"job/D/{OWNER}/{ANA}/{now}-{number}") for number in range(count)]
    outbox = SqliteOutbox(box.home.outbox)
    try:
        outbox.enqueue(
            events, [Notification(one.key, one.entity, ANA, Audience.SUBMITTER, "mail") for one in events], now
        )
        while due := claim(outbox, "mail", now, worker_id="tests"):
            outbox.queue.mark_sent(due, now)
    finally:
        outbox.close()


@pytest.mark.thorough
def test_doctor_quota_nearly_used_up_warns(gmail: Box) -> None:
    """B07: messages of more than a day ago do not count."""
    now = time.time()
    store_sent(gmail, 2, now - 1.1 * DAY)
    store_sent(gmail, 400, now - 0.9 * DAY)
    before = only_finding("quota", findings(gmail, now=now))
    store_sent(gmail, 1, now)
    after = only_finding("quota", findings(gmail, now=now))

    assert (before.level, before.advice) == (PASS, "")
    assert before.text.startswith("400 messages in 24 hours")
    assert after.level is WARN
    assert after.text.startswith("401 messages in 24 hours")
    assert "500" in after.text
    assert "nothing is lost" in after.advice
