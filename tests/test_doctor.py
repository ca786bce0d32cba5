"""`notify doctor`: each thing that can be wrong is found, with what to do about it, and nothing is touched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from syftnotify.core.errors import Failure
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification, NotificationState
from syftnotify.core.outbox import AttemptOutcome
from syftnotify.runtime.opening import state_access
from syftnotify.services.demo import Tree
from syftnotify.services.doctor.checks import run_checks
from syftnotify.services.doctor.findings import Finding, Level
from syftnotify.services.doctor.machine import disk_level
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.paths import Home
from tests.fakes import mailserver
from tests.fakes.google import SECRET, SEND_PATH, Google, refuses_the_grant, serving
from tests.fakes.mailserver import PASSWORD, USER, MailServer, says_and_closes
from tests.support import ANA, OWNER, Box, claim, needs_root, nested, wait_until

PASS, WARN, FAIL = Level.PASS, Level.WARN, Level.FAIL
DAY = 86400.0


# -- asking ------------------------------------------------------------------------------------------------------


def found(box: Box, *, now: float | None = None) -> list[Finding]:
    """What the checks find, asked in this process; `now` is what the clock shows."""
    return list(run_checks(box.home, state_access(box.home), clock=time.time if now is None else lambda: now))


def about(check: str, all_found: list[Finding]) -> list[Finding]:
    """What was found about one thing."""
    return [finding for finding in all_found if finding.check == check]


def the(check: str, all_found: list[Finding]) -> Finding:
    """The only thing that was found about `check`."""
    (one,) = about(check, all_found)
    return one


def levels(all_found: list[Finding]) -> dict[str, Level]:
    """The worst that was found of each."""
    order = [PASS, WARN, FAIL]
    worst: dict[str, Level] = {}
    for finding in all_found:
        worst[finding.check] = max(worst.get(finding.check, PASS), finding.level, key=order.index)
    return worst


def asked(box: Box, *, check: int) -> list[dict[str, Any]]:
    """What the real command says to machines."""
    said = json.loads(box.notify("doctor", "--json", check=check).stdout)
    assert isinstance(said, list)
    return said


@pytest.fixture
def tree(box: Box) -> Tree:
    """The box's tree, with a job folder."""
    box.snapshot.parent.mkdir(parents=True)
    tree = Tree(box.root, box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    return tree


@pytest.fixture
def google() -> Iterator[Google]:
    """Google, to whom nobody ever posts a mail here."""
    with serving() as google:
        yield google
        assert google.posts == []
        assert f"POST {SEND_PATH}" not in google.requests


@pytest.fixture
def gmail(box: Box, tree: Tree, google: Google) -> Box:
    """A box that would send through Gmail, signed in."""
    through_gmail(box, google)
    google.write_token(box.home.token)
    return box


def through_gmail(box: Box, google: Google, **changes: Any) -> None:
    mail = {"type": "gmail", "api_endpoint": google.url, **changes}
    box.configure({"transports": {"mail": mail}})
    box.home.config.chmod(0o600)


@pytest.fixture
def private(box: Box, tree: Tree) -> Box:
    """A box with nothing to be said against it, but that no worker runs."""
    box.home.config.chmod(0o600)
    return box


# -- the whole ---------------------------------------------------------------------------------------------------


def test_a_good_home_passes_every_check_with_exit_zero(private: Box) -> None:
    """B07."""
    with worker_lock.acquire(private.home):
        worker_status.write(private.home, worker_status.WorkerStatus(last_scan_s=time.time(), interval=3600))
        done = private.notify("doctor", check=0)

    *lines, last = done.stdout.splitlines()
    assert all(line.startswith("pass  ") for line in lines), done.stdout
    for check in ("home", "config", "SyftBox", "transport box", "clock", "disk", "lock", "worker"):
        assert any(line.startswith(f"pass  {check}: ") for line in lines), done.stdout
    assert last == f"{len(lines)} passed, 0 warnings, 0 failed"
    assert done.stderr == ""


def test_warnings_alone_are_exit_zero(private: Box) -> None:
    """B07: the worker does not run, and its advice stands on the next line."""
    done = private.notify("doctor", check=0)

    lines = done.stdout.splitlines()
    place = lines.index("warn  worker: not running")
    assert lines[place + 1].startswith("      ")
    assert "notify start" in lines[place + 1]
    assert "notify ensure" in lines[place + 1]
    assert lines[-1].endswith(" 1 warning, 0 failed")


def test_one_failure_is_exit_one(private: Box) -> None:
    """B07."""
    private.home.state.write_bytes(b"{")

    done = private.notify("doctor", check=1)

    assert "fail  state: " in done.stdout
    assert done.stdout.splitlines()[-1].endswith("1 failed")


@pytest.mark.parametrize("good", [True, False])
def test_for_machines_it_is_one_list_with_the_same_exit_code(private: Box, good: bool) -> None:
    """B07."""
    if not good:
        private.home.state.write_bytes(b"{")

    said = asked(private, check=0 if good else 1)

    assert all(set(one) == {"check", "level", "text", "advice"} for one in said)
    assert {one["level"] for one in said} == ({"pass", "warn"} if good else {"pass", "warn", "fail"})
    assert all(one["advice"] for one in said if one["level"] == "fail")


# -- the home ----------------------------------------------------------------------------------------------------


def test_a_home_that_is_missing_is_not_made(box: Box, tmp_path: Path) -> None:
    """B07: it says who makes one."""
    elsewhere = tmp_path / "elsewhere"

    done = box.notify("doctor", "--home", str(elsewhere), check=1)

    assert f"fail  home: there is no {elsewhere}" in done.stdout
    assert "run `notify init`" in done.stdout
    assert "fail  config: there is no configuration" in done.stdout
    assert not elsewhere.exists()


def test_a_home_that_is_a_file_is_said_without_a_traceback(box: Box, tmp_path: Path) -> None:
    """B07."""
    place = tmp_path / "file"
    place.write_text("mine\n")

    done = box.notify("doctor", "--home", str(place), check=1)

    assert "fail  home: " in done.stdout
    assert "Traceback" not in done.stderr
    assert place.read_text() == "mine\n"


@needs_root
def test_root_in_somebody_elses_home_is_a_failure(private: Box) -> None:
    """B07, C7."""
    os.chown(private.home.root, 65534, 65534)

    one = the("home", found(private))

    assert one.level is FAIL
    assert "belongs to" in one.text
    assert "--as-owner" in one.advice


@pytest.mark.parametrize("name", ["state", "outbox", "log", "worker_status"])
def test_a_file_that_others_can_read_is_named_with_its_remedy(private: Box, name: str) -> None:
    """B07."""
    path: Path = getattr(private.home, name)
    path.write_bytes(b"")
    path.chmod(0o644)

    one = the("home", found(private))

    assert one.level is WARN
    assert one.text == f"{path} is open to others (mode 0644)"
    assert one.advice == f"`chmod 600 {path}`"


def test_a_home_that_others_can_write_to_is_named_with_its_remedy(private: Box) -> None:
    """B07."""
    private.home.root.chmod(0o777)

    one = the("home", found(private))

    assert one.level is FAIL
    assert f"`chmod 700 {private.home.root}`" in one.advice


# -- the configuration -------------------------------------------------------------------------------------------


def test_without_a_configuration_the_rest_is_checked_all_the_same(private: Box) -> None:
    """B07."""
    private.home.config.unlink()

    all_found = found(private)

    one = the("config", all_found)
    assert one.level is FAIL
    assert str(private.home.config) in one.text
    assert "notify init" in one.advice
    assert levels(all_found).keys() >= {"home", "clock", "disk", "lock", "worker"}


def test_all_mistakes_are_told_at_once(private: Box) -> None:
    """B07, S15."""
    private.home.config.write_text("do_email: nobody\nnotify:\n  intervall: 5\n")

    one = the("config", found(private))

    assert one.level is FAIL
    assert "2 errors" in one.text
    assert "do_email: expected a mail address" in one.text
    assert "did you mean `interval`?" in one.text
    assert str(private.home.config) in one.advice


@pytest.mark.parametrize("which", ["config", "token", "credentials"])
def test_secrets_that_others_can_read_are_warned_of(gmail: Box, google: Google, which: str) -> None:
    """B07."""
    google.write_credentials(gmail.home.credentials).chmod(0o600)
    path: Path = getattr(gmail.home, which)
    path.chmod(0o644)

    warnings = [one for one in found(gmail) if one.level is WARN and str(path) in one.text + one.advice]

    (one,) = warnings
    assert "mode 0644" in one.text
    assert f"chmod 600 {path}" in one.text + one.advice


def test_a_master_switch_that_is_off_is_warned_of(private: Box) -> None:
    """B07, G01."""
    private.configure({"notify": {"enabled": False}})
    private.home.config.chmod(0o600)

    one = next(one for one in about("config", found(private)) if one.level is WARN)

    assert "nothing is sent" in one.text
    assert "notify.enabled" in one.advice


def test_names_from_the_configuration_are_shown_and_not_obeyed(private: Box) -> None:
    """B07, X11."""
    private.configure({"transports": {"[red]\x1b[2J": {"type": "maildir", "path": "mail"}}})

    done = private.notify("doctor", check=0)

    assert "\x1b" not in done.stdout
    assert "transport [red]\\x1b[2J: " in done.stdout


# -- the SyftBox -------------------------------------------------------------------------------------------------


def test_a_syftbox_is_found_with_its_job_folders(private: Box) -> None:
    """B07."""
    one = the("SyftBox", found(private))

    assert one.level is PASS
    assert f"job folder of {OWNER}" in one.text or f"job folders of {OWNER}" in one.text


def test_a_syftbox_that_is_not_there_yet_is_waited_for(private: Box) -> None:
    """B07, B08."""
    shutil.rmtree(private.root)

    one = the("SyftBox", found(private))

    assert one.level is WARN
    assert f"{private.root} does not exist yet" in one.text
    assert "syftbox_root" in one.advice


def test_a_syftbox_without_a_job_folder_asks_whose_it_is(box: Box) -> None:
    """B07."""
    one = the("SyftBox", found(box))

    assert one.level is WARN
    assert f"no job folder of {OWNER}" in one.text
    assert "do_email" in one.advice


def as_somebody_else(box: Box, *words: str) -> subprocess.CompletedProcess[str]:
    """The real command, run by root as a user who owns nothing here; skips where that cannot be done."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("there is no setpriv to become another user by")
    become = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-P", "-m", "syftnotify"]
    # Nor can that user write what coverage measures into the folder where the tests began.
    environment = {name: value for name, value in box.environment().items() if not name.startswith("COVERAGE")}
    more: dict[str, Any] = {
        "env": environment,
        "capture_output": True,
        "text": True,
        "stdin": subprocess.DEVNULL,
        "timeout": 60,
        "cwd": "/",
    }
    if subprocess.run([*become, "--version"], check=False, **more).returncode:
        pytest.skip("that user cannot read the interpreter, or the program")
    return subprocess.run([*become, *words], check=False, **more)


@contextlib.contextmanager
def a_box_in_reach_of_all() -> Iterator[Box]:
    """A configured box that every user can get to; pytest's own folders are for their owner alone."""
    with tempfile.TemporaryDirectory(prefix="syftnotify-") as folder:
        Path(folder).chmod(0o755)
        box = Box(Path(folder))
        box.root.mkdir(mode=0o700)
        box.configure()
        yield box


@needs_root
def test_a_syftbox_that_cannot_be_read_is_a_failure() -> None:
    """B07."""
    with a_box_in_reach_of_all() as box:
        for path in (box.home.root, box.home.config):
            os.chown(path, 65534, 65534)
        done = as_somebody_else(box, "doctor", "--json")

    (one,) = [one for one in json.loads(done.stdout) if one["check"] == "SyftBox"]
    assert done.returncode == 1
    assert (one["level"], one["text"]) == ("fail", f"{box.root} cannot be read")
    assert one["advice"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every folder")
def test_doctor_syftbox_without_read_permission_fails(private: Box) -> None:
    """B07, F5: as the test above, without root."""
    private.root.chmod(0o000)
    try:
        one = the("SyftBox", found(private))
    finally:
        private.root.chmod(0o700)

    assert (one.level, one.text) == (FAIL, f"{private.root} cannot be read")
    assert one.advice


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may work in every home")
def test_doctor_home_of_another_user_fails() -> None:
    """B07, F5: `/` belongs to root, or to nobody in a user namespace; needs no root, as the next test does."""
    root = Home(Path("/"))
    one = next(run_checks(root, state_access(root)))

    assert (one.check, one.level) == ("home", FAIL)
    assert "/ belongs to " in one.text
    assert "--home" in one.advice


@needs_root
def test_somebody_elses_home_is_a_failure() -> None:
    """B07: whose it is, and what to do."""
    with a_box_in_reach_of_all() as box:
        box.home.root.chmod(0o755)
        done = as_somebody_else(box, "doctor", "--json")

    one = json.loads(done.stdout)[0]
    assert done.returncode == 1
    assert (one["check"], one["level"]) == ("home", "fail")
    assert "belongs to root" in one["text"]
    assert "--home" in one["advice"]


# -- Gmail -------------------------------------------------------------------------------------------------------


def test_gmail_is_signed_in_to_and_nothing_is_sent(gmail: Box, google: Google) -> None:
    """B07."""
    google.write_token(gmail.home.token, expired=True)

    done = gmail.notify("doctor", check=0)

    assert "pass  transport mail: gmail is ready; nothing was sent" in done.stdout
    assert "POST /token" in google.requests
    assert google.posts == []
    assert SECRET not in done.stdout + done.stderr


def test_without_a_sign_in_it_says_how(gmail: Box) -> None:
    """B07."""
    gmail.home.token.unlink()

    one = the("transport mail", found(gmail))

    assert one.level is FAIL
    assert str(gmail.home.token) in one.text
    assert "notify init" in one.advice


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"refresh_token": "x"}'])
def test_a_token_that_is_none_is_a_failure(gmail: Box, content: bytes) -> None:
    """B07."""
    gmail.home.token.write_bytes(content)

    one = next(one for one in about("transport mail", found(gmail)) if one.level is FAIL)

    assert "notify init" in one.advice


def test_a_sign_in_that_google_does_not_accept_any_more_is_a_failure(gmail: Box, google: Google) -> None:
    """B07, X07: invalid_grant."""
    google.write_token(gmail.home.token, expired=True)
    google.token_answer = refuses_the_grant

    done = gmail.notify("doctor", "--json", check=1)

    (one,) = [one for one in json.loads(done.stdout) if one["level"] == "fail"]
    assert one["check"] == "transport mail"
    assert "invalid_grant" in one["text"]
    assert "notify init" in one["advice"]
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("left", "level", "words"),
    [
        (6.0, PASS, "ends in 6.0 days"),
        (2.1, PASS, "ends in 2.1 days"),
        (1.9, WARN, "ends in 1.9 days"),
        (1.0, WARN, "ends in 1.0 days"),
        (0.1, WARN, "ends in 0.1 days"),
        (-0.1, FAIL, "has ended"),
    ],
)
def test_a_sign_in_that_will_end_says_when(gmail: Box, google: Google, left: float, level: Level, words: str) -> None:
    """B07, X07: where Google said how long it is good for."""
    now = time.time()
    google.write_token(gmail.home.token, signed_in_at=int(now - (7 - left) * DAY), refresh_token_expires_in=7 * 86400)

    one = about("transport mail", found(gmail, now=now))[0]

    assert one.level is level
    assert f"the sign-in {words}" in one.text
    assert bool(one.advice) == (level is not PASS)
    if one.advice:
        assert "notify init --credentials" in one.advice


def test_a_sign_in_without_a_known_end_says_since_when(gmail: Box, google: Google) -> None:
    """B07, X07."""
    unknown = about("transport mail", found(gmail))[0]
    google.write_token(gmail.home.token, signed_in_at=int(time.time() - 3 * DAY))
    known = about("transport mail", found(gmail))[0]

    assert (unknown.level, unknown.text) == (PASS, "signed in, it is not known when")
    assert (known.level, known.text) == (PASS, "signed in 3 days ago, no end is known")


def test_google_that_does_not_answer_is_a_failure_of_the_network(gmail: Box, google: Google) -> None:
    """B07: and not of the sign-in."""
    google.write_token(gmail.home.token, expired=True)
    google.stop()

    all_found = found(gmail)

    one = next(one for one in about("transport mail", all_found) if one.level is FAIL)
    assert "network" in one.advice
    assert "notify init" not in one.text + one.advice
    assert the("clock", all_found).level is PASS


def test_google_that_does_not_answer_is_no_pass_because_the_last_token_is_fresh(gmail: Box, google: Google) -> None:
    """B07: "is ready" must not be said of a transport that nobody could reach."""
    google.stop()

    all_found = found(gmail)

    assert FAIL in {one.level for one in about("transport mail", all_found)}


# -- mail servers ------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mailserver.serving(users={USER: PASSWORD}) as server:
        yield server
        assert server.attempts == 0


def through_smtp(box: Box, port: int, password: str = PASSWORD) -> None:
    url = f"smtp://{USER}:{password}@127.0.0.1:{port}"
    box.configure({"transports": {"office": {"type": "smtp", "smtp_url": url}}})
    box.home.config.chmod(0o600)


def test_a_mail_server_is_signed_in_to_and_nothing_is_sent(private: Box, server: MailServer) -> None:
    """B07."""
    through_smtp(private, server.port)

    done = private.notify("doctor", check=0)

    assert "pass  transport office: smtp is ready; nothing was sent, used for mail" in done.stdout
    assert any(command.startswith("AUTH") for command in server.commands)
    assert not any(command.startswith(("MAIL", "RCPT", "DATA")) for command in server.commands)
    assert PASSWORD not in done.stdout + done.stderr


def test_a_mail_server_that_refuses_the_sign_in_is_a_failure_without_the_password(
    private: Box, server: MailServer
) -> None:
    """B07."""
    through_smtp(private, server.port, password=f"{SECRET}the-wrong-one")

    done = private.notify("doctor", "--json", check=1)

    (one,) = [one for one in json.loads(done.stdout) if one["level"] == "fail"]
    assert one["check"] == "transport office"
    assert "535" in one["text"]
    assert one["advice"] == "correct its user and password"
    assert SECRET not in done.stdout + done.stderr


def test_a_mail_server_that_is_down_is_a_failure_of_the_network(private: Box) -> None:
    """B07."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    through_smtp(private, port)

    one = the("transport office", found(private))

    assert one.level is FAIL
    assert "network" in one.advice
    assert SECRET not in one.text + one.advice


def test_a_mail_server_that_is_busy_is_asked_again_later(private: Box, server: MailServer) -> None:
    """B07."""
    server.usual["greeting"] = says_and_closes("421 4.3.2 too busy")
    through_smtp(private, server.port)

    one = the("transport office", found(private))

    assert one.level is FAIL
    assert one.advice == "try again later, or check the network and the address"


def test_one_transport_that_fails_hides_no_other(private: Box, server: MailServer) -> None:
    """B07."""
    wrong = f"smtp://{USER}:{SECRET}wrong@127.0.0.1:{server.port}"
    right = f"smtp://{USER}:{PASSWORD}@127.0.0.1:{server.port}"
    private.configure(
        {
            "transports": {
                "first": {"type": "smtp", "smtp_url": wrong},
                "second": {"type": "smtp", "smtp_url": right},
                "third": {"type": "maildir"},
            }
        }
    )

    worst = levels(found(private))

    assert [worst[f"transport {name}"] for name in ("first", "second", "third")] == [FAIL, PASS, PASS]


def test_a_maildir_that_cannot_be_written_is_a_failure(private: Box) -> None:
    """B07."""
    (private.folder / "file").write_text("")
    private.configure({"transports": {"box": {"type": "maildir", "path": str(private.folder / "file" / "mail")}}})

    assert the("transport box", found(private)).level is FAIL


# -- the clock ---------------------------------------------------------------------------------------------------


class Timepiece:
    """A server whose clock is `ahead` seconds before ours; it knows nothing else."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.says = True
        self.asked: list[str] = []
        timepiece = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                timepiece.asked.append(self.command)
                self.send_response_only(404)
                if timepiece.says:
                    self.send_header("Date", formatdate(time.time() + timepiece.ahead, usegmt=True))
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


@pytest.fixture
def timepiece(gmail: Box) -> Iterator[Timepiece]:
    """The box's Gmail endpoint is a clock."""
    timepiece = Timepiece()
    config = yaml.safe_load(gmail.home.config.read_text())
    config["transports"]["mail"]["api_endpoint"] = timepiece.url
    gmail.home.config.write_text(yaml.safe_dump(config))
    yield timepiece
    timepiece.server.shutdown()
    timepiece.server.server_close()


@pytest.mark.parametrize(
    ("ahead", "level"), [(0, PASS), (45, PASS), (120, WARN), (-120, WARN), (400, FAIL), (-400, FAIL), (-90_000, FAIL)]
)
def test_a_clock_that_differs_from_googles_is_found(
    gmail: Box, timepiece: Timepiece, ahead: float, level: Level
) -> None:
    """B07: a sign-in fails when it is minutes off."""
    timepiece.ahead = ahead

    one = the("clock", found(gmail))

    assert one.level is level
    assert bool(one.advice) == (level is not PASS)
    assert timepiece.asked == ["HEAD"]


def test_a_server_that_does_not_say_what_time_it_is_proves_nothing(gmail: Box, timepiece: Timepiece) -> None:
    """B07."""
    timepiece.says = False

    one = the("clock", found(gmail))

    assert one.level is PASS
    assert "not compared with a server's clock" in one.text


@pytest.mark.parametrize(("later", "level"), [(30.0, PASS), (3600.0, WARN)])
def test_a_clock_that_was_set_back_is_found_by_the_last_look(private: Box, later: float, level: Level) -> None:
    """B07."""
    now = time.time()
    worker_status.write(private.home, worker_status.WorkerStatus(last_scan_s=now + later))

    one = the("clock", found(private, now=now))

    assert one.level is level
    if level is WARN:
        assert "3600 s before the last scan" in one.text
        assert "set back" in one.advice


# -- the disk ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[None]:
    """A file system of that size at `place`; skips where none can be mounted."""
    place.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@needs_root
@pytest.mark.parametrize(("megabytes", "level"), [(8, FAIL), (100, WARN), (400, PASS)])
def test_a_disk_that_is_nearly_full_is_found(tmp_path: Path, megabytes: int, level: Level) -> None:
    """B07: what is owed is written down, and that needs room."""
    box = Box(tmp_path)
    with small_disk(box.home.root, megabytes):
        one = the("disk", found(box))

    assert one.level is level
    assert "MB free" in one.text
    assert bool(one.advice) == (level is not PASS)


@pytest.mark.parametrize(("megabytes", "level"), [(19, FAIL), (20, WARN), (199, WARN), (200, PASS)])
def test_disk_level_follows_the_free_space(megabytes: int, level: Level) -> None:
    """B07, F5: as the test above, without root."""
    assert disk_level(megabytes * 2**20) is level


def test_the_disk_of_a_home_that_is_not_there_is_that_of_the_folder_above(tmp_path: Path) -> None:
    """B07."""
    assert "MB free" in the("disk", found(Box(tmp_path / "not" / "there"))).text


# -- the state ---------------------------------------------------------------------------------------------------


def fingerprints(folder: Path) -> dict[str, str]:
    """The content of every file below `folder`."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is damaged"),
        (b'{"version": 1, "notif', "is damaged"),
        (b"[]", "is damaged"),
        (b'{"version": 1, "notified": []}', "is damaged"),
        (b'{"version": 99}', "newer version"),
    ],
)
def test_a_state_that_cannot_be_used_is_found_and_left_in_place(private: Box, content: bytes, words: str) -> None:
    """B07, X02: putting it aside is the worker's business."""
    private.home.state.write_bytes(content)
    before = fingerprints(private.home.root)

    one = the("state", found(private))

    assert one.level is FAIL
    assert words in one.text
    assert one.advice
    assert fingerprints(private.home.root) == before


def test_a_state_and_an_outbox_that_are_whole_pass(private: Box) -> None:
    """B07."""
    private.notify("run", "--once", check=0)

    worst = levels(found(private))

    assert (worst["state"], worst["outbox"]) == (PASS, PASS)


def test_a_home_that_never_ran_has_no_state_to_check_and_gets_none(private: Box) -> None:
    """B07."""
    worst = levels(found(private))

    assert worst.keys().isdisjoint({"state", "outbox"})
    assert not private.home.outbox.exists()
    assert not private.home.state.exists()


Write = Callable[[SqliteOutbox, float], None]


def outbox_of(box: Box, *states: str, transport: str = "box", now: float | None = None) -> None:
    """An outbox with one message in each of `states`."""
    moment = time.time() if now is None else now
    outbox = SqliteOutbox(box.home.outbox)
    try:
        for number, state in enumerate(states):
            event = Event(EventKind.JOB_APPROVED, f"job/D/{OWNER}/{ANA}/survey{number}", payload={"detail": "x" * 2000})
            outbox.enqueue([event], [Notification(event.key, event.entity, ANA, Audience.SUBMITTER, transport)], moment)
            due = claim(outbox, transport, moment, worker_id="tests", resend=False)
            if state == "sent":
                outbox.queue.mark_sent(due, moment)
            else:
                failure = {"dead": Failure.PERMANENT, "unknown": Failure.UNKNOWN}[state]
                outbox.queue.mark_failed(due, moment, failure, "said no", AttemptOutcome(NotificationState(state)))
    finally:
        outbox.close()


@pytest.mark.parametrize("first", [0, 4096], ids=["from the start", "after the first page"])
def test_an_outbox_that_is_damaged_is_found_and_left_in_place(private: Box, first: int) -> None:
    """B07, X02."""
    outbox_of(private, *["sent"] * 20)
    content = bytearray(private.home.outbox.read_bytes())
    content[first:] = b"\xa5" * (len(content) - first)
    private.home.outbox.write_bytes(content)

    done = private.notify("doctor", "--json", check=1)

    failed = [one for one in json.loads(done.stdout) if one["level"] == "fail"]
    assert {one["check"] for one in failed} == {"outbox"}
    assert private.home.outbox.name in failed[0]["text"]
    assert failed[0]["advice"]
    assert "Traceback" not in done.stderr
    assert private.home.outbox.read_bytes() == bytes(content)
    assert not [path.name for path in private.home.root.iterdir() if ".damaged-" in path.name]


def test_a_page_in_the_middle_of_the_outbox_that_is_damaged_is_found(private: Box) -> None:
    """B07, X02: although every question asked of it may still be answered."""
    outbox_of(private, *["sent"] * 40)
    content = bytearray(private.home.outbox.read_bytes())
    middle = len(content) // 4096 // 2 * 4096
    content[middle : middle + 4096] = b"\xa5" * 4096
    private.home.outbox.write_bytes(content)

    assert levels(found(private))["outbox"] is FAIL
    assert private.home.outbox.read_bytes() == bytes(content)


def test_an_outbox_of_a_newer_version_is_a_failure(private: Box) -> None:
    """B07."""
    import sqlite3

    outbox_of(private, "sent")
    with contextlib.closing(sqlite3.connect(private.home.outbox)) as database:
        database.execute("PRAGMA user_version = 99")

    one = the("outbox", found(private))

    assert one.level is FAIL
    assert "newer version" in one.text
    assert "install the newer version" in one.advice


def test_dead_letters_and_held_ones_are_warned_of(private: Box) -> None:
    """B07, X04."""
    private.configure({"notify": {"on_unknown": "hold"}})
    outbox_of(private, "dead", "dead", "unknown", "sent")

    passed, warned = about("outbox", found(private))

    assert passed.level is PASS
    assert (warned.level, warned.text) == (WARN, "2 dead letters, 1 held")
    assert "notify dead" in warned.advice
    assert "notify resend" in warned.advice


def send(box: Box, count: int, now: float) -> None:
    """Let `count` messages have gone out through Gmail at `now`."""
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


def test_a_quota_that_is_nearly_used_up_is_warned_of(gmail: Box) -> None:
    """B07: what went out more than a day ago does not count any more."""
    now = time.time()
    send(gmail, 2, now - 1.1 * DAY)
    send(gmail, 400, now - 0.9 * DAY)
    before = the("quota", found(gmail, now=now))
    send(gmail, 1, now)
    after = the("quota", found(gmail, now=now))

    assert (before.level, before.advice) == (PASS, "")
    assert before.text.startswith("400 messages in 24 hours")
    assert after.level is WARN
    assert after.text.startswith("401 messages in 24 hours")
    assert "500" in after.text
    assert "nothing is lost" in after.advice


# -- templates, watching, other programs -------------------------------------------------------------------------


def test_a_template_of_ones_own_with_a_mistake_is_named_with_its_line(private: Box) -> None:
    """B07."""
    folder = private.home.templates / "emails"
    folder.mkdir(parents=True)
    (folder / "new_job.txt").write_text("Hello\n{% if job %}\nno end\n")

    one = the("templates", found(private))

    assert one.level is FAIL
    assert "emails/new_job.txt" in one.text
    assert "line " in one.text
    assert str(private.home.templates) in one.advice


def test_templates_of_ones_own_that_can_be_used_pass(private: Box) -> None:
    """B07."""
    folder = private.home.templates / "emails"
    folder.mkdir(parents=True)
    (folder / "new_job.txt").write_text("{{ job_name }} {{ timestamp | datetime }}\n")

    assert the("templates", found(private)).level is PASS


def test_a_webhooks_body_that_is_no_template_is_named_with_what_it_may_say(private: Box) -> None:
    hook = {"type": "webhook", "url": "http://127.0.0.1:9/x", "format": "template", "body": "${jobb_id}"}
    private.configure({"transports": {"box": {"type": "maildir"}, "hook": hook}})

    one = the("transport hook", found(private))
    assert one.level is FAIL
    assert "'jobb_id' is undefined" in one.text
    assert "job_id, payload, run_id" in one.text
    assert "jobb_id" in private.notify("start", check=2).stderr


def test_a_maildir_whose_path_is_a_file_is_no_failure_of_the_network(private: Box) -> None:
    """D9"""
    private.configure({"transports": {"box": {"type": "maildir", "path": "config.yaml"}}})

    one = the("transport box", found(private))
    assert one.level is FAIL
    assert one.advice == f"check that {private.home.config} is a folder that you can write to, or change `path`"


@pytest.mark.parametrize("name", ["worker.lock", "notify.log", "worker.json", "state.json", "outbox.db", "spool"])
def test_folder_in_the_place_of_a_file_is_a_failure(private: Box, name: str) -> None:
    """D9: and a file in the place of a folder; `run --once` fails."""
    path = private.home.root / name
    if name == "spool":
        path.touch()
    else:
        path.mkdir()

    (one,) = [each for each in found(private) if each.level is FAIL]
    assert one.text.startswith(f"{path} is {'not a folder' if name == 'spool' else 'a folder'}, but ")
    assert one.advice == f"move it away: `mv {path} {path}.old`"
    assert private.notify("run", "--once").returncode != 0
    path.rename(path.with_name(f"{name}.old"))
    private.notify("run", "--once", check=0)


def test_an_alert_rule_whose_webhook_is_gone_is_named(private: Box) -> None:
    """A01."""
    hook = {"type": "webhook", "url": "http://127.0.0.1:9/x"}
    private.configure({"transports": {"box": {"type": "maildir"}, "oncall": hook}})
    rule = private.notify("alerts", "add", "--job", "*", "--webhook", "oncall", check=0).stdout.split()[0]
    private.configure()

    one = the("alerts", found(private))
    assert one.level is WARN
    assert f"{rule} alerts through oncall, which is not configured" in one.text
    private.notify("alerts", "rm", rule, check=0)
    assert not [each for each in found(private) if each.check == "alerts"]


@pytest.mark.skipif(not Path("/proc/sys/fs/inotify").exists(), reason="counts the watches of Linux")
@pytest.mark.parametrize("watch", ["auto", "off"])
def test_the_folders_to_watch_are_counted_where_they_are_watched(private: Box, watch: str) -> None:
    """B07."""
    private.configure({"notify": {"watch": watch}})

    said = about("watching", found(private))

    assert [one.level for one in said] == ([PASS] if watch == "auto" else [])


@pytest.mark.skipif(not Path("/proc/sys/fs/inotify").exists(), reason="counts the watches of Linux")
def test_folders_nested_too_deep_to_watch_are_warned_of(private: Box) -> None:
    """B8: counted without recursion."""
    base = private.root / OWNER / "app_data" / "job"
    base.mkdir(parents=True, exist_ok=True)
    with nested(private.folder / "deep", 1100) as where:
        where[0] = where[0].rename(base / "deep")
        one = the("watching", found(private))

    assert one.level is WARN
    assert "nested more than" in one.text


def test_syft_bgs_own_notifier_is_warned_of(private: Box) -> None:
    """B07: every mail would come twice."""
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        pid_file = private.folder / ".syft-bg" / "notify" / "daemon.pid"
        pid_file.parent.mkdir(parents=True)
        pid_file.write_text(f"{sleeper.pid}\n")
        said = asked(private, check=0)
    finally:
        sleeper.kill()
        sleeper.wait()

    (one,) = [one for one in said if one["check"] == "syft-bg"]
    assert one["level"] == "warn"
    assert str(sleeper.pid) in one["text"]
    assert one["advice"]


# -- the worker --------------------------------------------------------------------------------------------------


def test_a_worker_that_is_unwell_is_warned_of(private: Box) -> None:
    """B07, S16."""
    with worker_lock.acquire(private.home):
        worker_status.write(private.home, worker_status.WorkerStatus(last_scan_s=time.time() - 3600, interval=1))
        one = the("worker", found(private))

    assert one.level is WARN
    assert re.search(r"no scan for 3[67]\d\d s", one.text)
    assert "notify logs" in one.advice


def test_a_transport_that_the_worker_has_paused_is_warned_of(private: Box) -> None:
    """B07, X07."""
    paused = {"box": {"type": "maildir", "can_send": False, "problem": "sign in with `notify init`"}}
    with worker_lock.acquire(private.home):
        worker_status.write(private.home, worker_status.WorkerStatus(last_scan_s=time.time(), transports=paused))
        one = the("worker", found(private))

    assert one.level is WARN
    assert "transport box: sign in" in one.text


def test_a_worker_at_work_is_seen_and_nothing_of_its_is_changed(gmail: Box, google: Google) -> None:
    """B07: neither its files, nor its lock, nor what it sends."""
    config = yaml.safe_load(gmail.home.config.read_text())
    config["notify"] |= {"interval": 3600, "watch": "off"}
    gmail.home.config.write_text(yaml.safe_dump(config))
    gmail.notify("start", check=0)
    pid = worker_lock.holder_pid(gmail.home)
    wait_until(lambda: worker_status.read(gmail.home).last_scan_s, what="a look")
    before = fingerprints(gmail.home.root)

    said = asked(gmail, check=0)

    after = fingerprints(gmail.home.root)
    assert [one["text"] for one in said if one["check"] == "worker"] == [f"running (pid {pid})"]
    for name in ("state.json", "config.yaml", "gmail_token.json", "notify.log", "worker.lock", "outbox.db"):
        assert after[name] == before[name], name
    assert after.keys() == before.keys()
    assert worker_lock.holder_pid(gmail.home) == pid
    gmail.notify("stop", check=0)
    assert google.posts == []


def test_looking_at_a_home_at_rest_leaves_no_trace_but_what_a_transport_needs(private: Box) -> None:
    """B07: a Maildir is made when it is missing, and nothing else."""
    private.notify("run", "--once", check=0)
    before = fingerprints(private.home.root)

    found(private)

    after = fingerprints(private.home.root)
    assert {name: mark for name, mark in after.items() if not name.startswith("outbox.db-")} == before
