"""Kept alive by others: what the worker says to systemd, the unit that is installed, and what cron is given."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from syftnotify.services.demo import Tree
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.locks import file_lock
from tests.support import ANA, OWNER, PATIENCE, Box, wait_until, workers_of

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("systemd's socket is a Unix one", allow_module_level=True)


# -- what is said to the supervisor ------------------------------------------------------------------------------


@dataclass(slots=True)
class Supervisor:
    """What systemd is to a service: it starts it as ExecStart says, and hears what it says of itself."""

    box: Box
    channel: socket.socket
    address: str  # as NOTIFY_SOCKET names it
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    heard: list[tuple[float, str]] = field(default_factory=list)  # monotonic seconds, one line of a message

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "syftnotify.worker", "--home", str(self.box.home.root)],
            env={**self.box.environment(), "NOTIFY_SOCKET": self.address, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def listen(self, seconds: float) -> None:
        """Hear what is said within `seconds`, or what was said before; one message ends the wait."""
        self.channel.settimeout(max(0.001, seconds))
        with contextlib.suppress(TimeoutError):
            message = self.channel.recv(4096).decode("ascii")
            self.heard += [(time.monotonic(), line) for line in message.splitlines()]

    def hears(self, line: str, count: int = 1, seconds: float = PATIENCE) -> None:
        """Wait until `line` was said `count` times."""
        until = time.monotonic() + seconds
        while self.times(line, count) is None:
            assert time.monotonic() < until, f"{line} was not said {count} times: {self.lines}"
            self.listen(until - time.monotonic())

    def times(self, line: str, count: int) -> list[float] | None:
        """When `line` was said; None before it was said `count` times."""
        found = [moment for moment, said in self.heard if said == line]
        return found if len(found) >= count else None

    def forget(self) -> None:
        """Begin to listen anew."""
        self.channel.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self.channel.recv(4096):
                pass
        self.heard.clear()

    @property
    def lines(self) -> list[str]:
        return [line for _, line in self.heard]


@pytest.fixture(params=["a path", "an abstract name"])
def supervisor(request: pytest.FixtureRequest, box: Box) -> Iterator[Supervisor]:
    yield from supervising(box, abstract=request.param == "an abstract name")


@pytest.fixture
def plain(box: Box) -> Iterator[Supervisor]:
    """A supervisor with a socket of the usual sort."""
    yield from supervising(box, abstract=False)


def supervising(box: Box, *, abstract: bool) -> Iterator[Supervisor]:
    if abstract and not sys.platform.startswith("linux"):
        pytest.skip("only Linux has abstract names")
    name = f"syftnotify-tests-{uuid.uuid4()}"
    # Not below `tmp_path`: the path of a socket has some hundred characters at the most.
    short = tempfile.TemporaryDirectory(prefix="sn-", dir="/tmp")
    with short as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        path = f"{folder}/notify"
        channel.bind(f"\0{name}" if abstract else path)
        supervisor = Supervisor(box, channel, f"@{name}" if abstract else path)
        try:
            yield supervisor
        finally:
            for process in supervisor.processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                process.wait()


def quiet(box: Box, interval: int = 3600) -> None:
    """The box looks once in `interval` seconds, whatever happens in its tree."""
    box.configure({"notify": {"interval": interval, "watch": "off", "sync_state_path": str(box.snapshot)}})


def tree_of(box: Box) -> Tree:
    box.snapshot.parent.mkdir(parents=True)
    tree = Tree(box.root, box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    return tree


def waiting(box: Box) -> int:
    """How many notifications wait in the outbox, or are being sent."""
    if not box.home.outbox.exists():
        return 0
    outbox = SqliteOutbox(box.home.outbox)
    try:
        return outbox.history.counts().waiting
    finally:
        outbox.close()


@contextlib.contextmanager
def a_look_that_hangs(box: Box) -> Iterator[None]:
    """No look can be finished while the block runs: somebody else holds the ledger."""
    with file_lock(box.home.state.with_name("state.json.lock"), seconds=10) as held:
        assert held
        yield


def test_it_is_ready_when_it_has_looked_and_ends_well_on_sigterm(supervisor: Supervisor) -> None:
    """B07, S16."""
    process = supervisor.start()

    supervisor.hears("READY=1")
    assert worker_lock.is_held(supervisor.box.home)
    assert worker_status.read(supervisor.box.home).last_scan_s is not None
    process.terminate()
    supervisor.hears("STOPPING=1")
    assert process.wait(PATIENCE) == 0

    supervisor.listen(0.01)
    assert [line for line in supervisor.lines if not line.startswith("STATUS=")] == ["READY=1", "STOPPING=1"]
    assert worker_status.read(supervisor.box.home).ended == "stopped"


def test_it_is_not_ready_while_its_first_look_goes_on(plain: Supervisor) -> None:
    """B07: so that whatever waits for it waits for the truth."""
    quiet(plain.box)
    tree_of(plain.box).submit(ANA, "survey", "print(1)\n")
    with a_look_that_hangs(plain.box):
        plain.start()
        plain.hears("STATUS=first scan")
        wait_until(lambda: waiting(plain.box), what="what the look found is written down")
        plain.listen(0.5)
        assert "READY=1" not in plain.lines

    plain.hears("READY=1")
    assert worker_status.read(plain.box.home).jobs == 1


def test_it_says_that_it_lives_long_before_the_limit_however_rarely_it_looks(plain: Supervisor) -> None:
    """B07, F2: about twice in the time after which it would be killed; a busy machine delays some of the messages."""
    quiet(plain.box)
    limit = 4.0  # seconds
    plain.start(WATCHDOG_USEC="4000000")
    plain.hears("READY=1")

    def is_in_time() -> bool:
        plain.listen(0.2)
        moments = plain.times("WATCHDOG=1", 2) or []
        return any(0.25 * limit < after - before < 0.75 * limit for before, after in pairwise(moments))

    wait_until(is_in_time, what="a message about half the limit after the one before")
    assert "WATCHDOG=1" not in plain.lines[: plain.lines.index("READY=1")]


def test_it_says_so_while_the_tree_never_rests(plain: Supervisor) -> None:
    """B07: many looks in a row are no reason to be killed."""
    plain.box.configure({"notify": {"interval": 3600, "watch": "on", "sync_state_path": str(plain.box.snapshot)}})
    tree = tree_of(plain.box)
    plain.start(WATCHDOG_USEC="3000000")
    plain.hears("READY=1")

    known = len(plain.times("WATCHDOG=1", 0) or [])
    numbers = itertools.count()

    def is_heard() -> bool:
        tree.submit(ANA, f"survey {next(numbers)}", "print(1)\n")
        plain.listen(0.1)
        return len(plain.times("WATCHDOG=1", 0) or []) >= known + 4

    wait_until(is_heard, what="four messages while jobs come in")


def test_a_look_that_hangs_is_not_covered_up(plain: Supervisor) -> None:
    """B07: silence is what makes systemd kill and start it again."""
    quiet(plain.box, interval=1)
    tree = tree_of(plain.box)
    plain.start(WATCHDOG_USEC="1000000")
    plain.hears("WATCHDOG=1", 2)

    with a_look_that_hangs(plain.box):
        tree.submit(ANA, "survey", "print(1)\n")
        wait_until(lambda: waiting(plain.box), what="the look has written down what it owes")
        plain.forget()
        plain.listen(2.0)  # the silence itself is what is measured: twice the limit
        assert plain.lines == []

    plain.hears("WATCHDOG=1")


def test_a_worker_that_is_stopped_in_its_tracks_says_nothing(plain: Supervisor) -> None:
    """B07: SIGSTOP."""
    quiet(plain.box)
    process = plain.start(WATCHDOG_USEC="500000")
    plain.hears("WATCHDOG=1", 2)

    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT), what="it stands still")
    plain.forget()
    plain.listen(1.0)  # the silence itself is what is measured: twice the limit
    assert plain.lines == []

    process.send_signal(signal.SIGCONT)
    plain.hears("WATCHDOG=1")


@pytest.mark.parametrize(
    "asked", [{}, {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}]
)
def test_nobody_who_did_not_ask_hears_that_it_lives(plain: Supervisor, asked: dict[str, str]) -> None:
    """B07."""
    quiet(plain.box, interval=1)
    process = plain.start(**asked)
    plain.hears("READY=1")
    first = worker_status.read(plain.box.home).last_scan_s or 0.0

    wait_until(lambda: (worker_status.read(plain.box.home).last_scan_s or 0.0) > first, what="another look")
    process.terminate()
    plain.hears("STOPPING=1")

    assert "WATCHDOG=1" not in plain.lines


def test_a_supervisor_that_has_gone_disturbs_nothing(plain: Supervisor) -> None:
    """B07."""
    quiet(plain.box, interval=1)
    process = plain.start(NOTIFY_SOCKET=str(plain.box.folder / "gone"), WATCHDOG_USEC="400000")
    wait_until(lambda: worker_status.read(plain.box.home).last_scan_s, what="a look")

    process.terminate()

    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(("broken", "code"), [(True, 2), (False, 3)], ids=["mistakes", "another worker"])
def test_what_starting_again_would_not_help_has_the_exit_codes_of_the_unit(
    plain: Supervisor, broken: bool, code: int
) -> None:
    """B07: RestartPreventExitStatus names them."""
    with worker_lock.acquire(plain.box.home) if not broken else contextlib.nullcontext():
        if broken:
            plain.box.home.config.write_text("do_email: nobody\n")
        process = plain.start()
        assert process.wait(PATIENCE) == code

    plain.listen(0.01)
    assert "READY=1" not in plain.lines


# -- install and uninstall ---------------------------------------------------------------------------------------

# Writes its words down, one call a line, and fails where it is told to; asked which worker it runs, it says so.
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> "$CALLS"
for word in "$@"; do
    if [ "$word" = "$FAILS_AT" ]; then
        echo "Failed to connect to bus: No medium found" >&2
        exit 1
    fi
    if [ "$word" = show ]; then
        echo "$MAIN_PID"
    fi
done
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A box whose user has a systemd that only writes down what it is told."""

    box: Box

    @property
    def calls(self) -> list[str]:
        """The words of each call."""
        path = Path(self.box.env["CALLS"])
        return path.read_text().splitlines() if path.exists() else []

    @property
    def units(self) -> list[Path]:
        """The unit files of this user."""
        return sorted((self.box.folder / ".config" / "systemd" / "user").glob("*"))

    @property
    def unit(self) -> Path:
        (one,) = self.units
        return one

    def fails_at(self, word: str) -> None:
        self.box.env["FAILS_AT"] = word


@pytest.fixture
def session(box: Box) -> Session:
    return with_systemctl(box)


def with_systemctl(box: Box) -> Session:
    program = box.folder / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    box.env |= {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(box.folder / "calls"),
        "FAILS_AT": "",
        "MAIN_PID": "0",
        "XDG_CONFIG_HOME": "",
    }
    return Session(box)


def test_install_writes_a_unit_and_has_it_started_now_and_with_each_session(session: Session) -> None:
    """B07."""
    done = session.box.notify("install", check=0)

    name = session.unit.name
    assert session.calls == ["--user daemon-reload", f"--user enable {name}", f"--user restart {name}"]
    assert str(session.unit) in done.stdout
    assert "enable-linger" in done.stdout
    assert done.stderr == ""
    assert stat.S_IMODE(session.unit.stat().st_mode) == 0o644


def test_the_unit_says_how_the_worker_is_kept_alive(session: Session) -> None:
    """B07: supervised by what the worker says, started again unless that would not help, private files."""
    session.box.notify("install", check=0)

    lines = session.unit.read_text().splitlines()
    for line in (
        "Type=notify",
        "Restart=on-failure",
        "RestartPreventExitStatus=2 3",
        "StartLimitIntervalSec=0",
        "UMask=0077",
        "WantedBy=default.target",
    ):
        assert line in lines
    assert any(line.startswith("WatchdogSec=") for line in lines)
    assert f"EnvironmentFile=-{session.box.home.root / 'environment'}" in lines
    assert f'ExecStart="{sys.executable}" -P -m syftnotify.worker --home "{session.box.home.root}"' in lines


def test_unit_is_hardened_without_options_that_need_privileges(session: Session) -> None:
    """C13: an option that a user's systemd cannot enforce keeps the worker from starting."""
    session.box.notify("install", check=0)

    lines = session.unit.read_text().splitlines()
    for line in (
        "NoNewPrivileges=yes",
        "LockPersonality=yes",
        "MemoryDenyWriteExecute=yes",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
    ):
        assert line in lines
    needing_privileges = ("Protect", "Private", "CapabilityBoundingSet", "ReadWritePaths", "Device", "User")
    assert not [line for line in lines if line.startswith(needing_privileges)]


def test_exposure_of_the_unit_is_medium_by_systemds_own_measure(session: Session) -> None:
    """C13: 9.4 (unsafe) without the restrictions; the scale is that of `systemd-analyze security`."""
    session.box.notify("install", check=0)
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze")

    done = subprocess.run(
        [program, "security", "--offline=true", "--threshold=65", "--no-pager", str(session.unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "offline" in done.stderr:
        pytest.skip("this systemd-analyze measures no file")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("variable", ["", "settings"])
def test_the_unit_lies_where_systemd_looks_for_it(box: Box, variable: str) -> None:
    """B07: `syftnotify.service` for the usual home."""
    session = with_systemctl(box)
    home = box.folder / ".syft-creds"
    shutil.copytree(box.home.root, home)
    box.env |= {"SYFTNOTIFY_HOME": "", "XDG_CONFIG_HOME": str(box.folder / variable) if variable else ""}

    box.notify("install", check=0)

    place = box.folder / (variable or ".config") / "systemd" / "user" / "syftnotify.service"
    assert f'--home "{home}"' in place.read_text()
    assert session.calls[-1] == "--user restart syftnotify.service"


def test_another_home_is_another_unit_and_always_the_same(session: Session) -> None:
    """B07: two homes stand beside each other."""
    elsewhere = session.box.folder / "elsewhere"
    shutil.copytree(session.box.home.root, elsewhere)

    session.box.notify("install", check=0)
    first = session.unit
    session.box.notify("install", "--home", str(elsewhere), check=0)
    session.box.notify("install", check=0)

    assert len(session.units) == 2
    assert all(unit.name.startswith("syftnotify-") and unit.suffix == ".service" for unit in session.units)
    (second,) = set(session.units) - {first}
    assert str(elsewhere) in second.read_text()
    assert str(elsewhere) not in first.read_text()


@pytest.mark.parametrize(
    "name",
    [
        "with blanks  in it",
        "double\"quotes'single",
        "per%cent %h %%",
        "$HOME ${HOME} $$",
        "back\\slash\\n",
        "; # é ü 漢",
    ],
)
def test_any_home_is_taken_as_it_is(box: Box, name: str) -> None:
    """B07, X11: as systemd itself reads the unit, where it is present."""
    session = with_systemctl(box)
    home = box.folder / name
    shutil.copytree(box.home.root, home)

    box.notify("install", "--home", str(home), check=0)

    words = [sys.executable, "-P", "-m", "syftnotify.worker", "--home", str(home)]
    assert words_of(session.unit) == words
    assert as_systemd_reads(session.unit) in (words, None)


def words_of(unit: Path) -> list[str]:
    """The words of ExecStart, unquoted as systemd.service(5) says."""
    (line,) = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(line.removeprefix("ExecStart="))
    return [word.replace("%%", "%").replace("$$", "$") for word in words]


def as_systemd_reads(unit: Path) -> list[str] | None:
    """The words of ExecStart by systemd's own account, before it looks for variables; None where it is not present."""
    said = verified(unit, SYSTEMD_LOG_LEVEL="debug")
    if said is None:
        return None
    (line,) = [line for line in said.stdout.splitlines() if "Command Line: " in line]
    words = shlex.split(line.partition("Command Line: ")[2].replace("\\$", "$"))
    return [word.replace("$$", "$") for word in words]


def verified(unit: Path, **environment: str) -> subprocess.CompletedProcess[str] | None:
    """What `systemd-analyze verify` says of a user's unit; None where there is none."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return None
    # It looks for units in the user's own folders, and is not to find any. Their sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="sn-", dir="/tmp") as nothing:
        places = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), nothing)
        return subprocess.run(
            [program, "--user", "--man=no", "verify", str(unit)],
            env={**os.environ, **places, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def test_systemd_itself_finds_nothing_wrong_with_the_unit(session: Session) -> None:
    """B07."""
    session.box.notify("install", check=0)

    said = verified(session.unit)

    if said is None:
        pytest.skip("there is no systemd-analyze")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_install_again_writes_the_unit_anew(session: Session) -> None:
    """B07: a new version, another interpreter."""
    session.box.notify("install", check=0)
    before = session.unit.read_bytes()
    session.unit.write_bytes(before.replace(b"syftnotify.worker", b"syftnotify.old"))

    session.box.notify("install", check=0)

    assert session.unit.read_bytes() == before
    assert session.calls[3:] == session.calls[:3]


def holder(box: Box) -> int:
    """The pid of the worker that runs."""
    pid = worker_lock.holder_pid(box.home)
    assert pid is not None
    return pid


def test_install_ends_a_worker_that_was_started_by_hand(session: Session) -> None:
    """B07: else systemd's own would be refused."""
    session.box.notify("start", check=0)
    pid = holder(session.box)

    done = session.box.notify("install", check=0)

    assert f"worker stopped (pid {pid})" in done.stdout
    assert not worker_lock.is_held(session.box.home)


def test_install_over_a_unit_ends_a_worker_that_was_started_by_hand_too(session: Session) -> None:
    """B07: the unit was there, but it is not systemd who started the worker."""
    session.box.notify("install", check=0)
    session.box.notify("start", check=0)

    session.box.notify("install", check=0)

    assert not worker_lock.is_held(session.box.home)


def test_install_leaves_the_worker_that_systemd_started_to_systemd(session: Session) -> None:
    """B07: `systemctl restart` ends it and starts the next, so that it is never taken for a crash."""
    session.box.notify("install", check=0)
    session.box.notify("start", check=0)
    pid = holder(session.box)
    session.box.env["MAIN_PID"] = str(pid)

    session.box.notify("install", check=0)

    assert session.calls[-1] == f"--user restart {session.unit.name}"
    assert holder(session.box) == pid


@pytest.mark.parametrize("word", ["daemon-reload", "enable", "restart"])
def test_a_systemd_that_does_not_answer_leaves_no_unit_and_a_worker_at_work(session: Session, word: str) -> None:
    """B07: exit 1, its own words, and what to do instead; nobody is left without a notifier."""
    session.box.notify("start", check=0)
    session.fails_at(word)

    done = session.box.notify("install", check=1)

    assert "Failed to connect to bus" in done.stderr
    assert f"systemctl --user {word}" in done.stderr
    assert "notify ensure" in done.stderr
    assert "Traceback" not in done.stderr
    assert session.units == []
    assert worker_lock.is_held(session.box.home)


@pytest.mark.parametrize("word", ["daemon-reload", "enable", "restart"])
def test_an_install_that_fails_keeps_the_unit_of_before(session: Session, word: str) -> None:
    """B07."""
    session.box.notify("install", check=0)
    session.unit.write_text("[Unit]\nDescription=mine\n")
    session.fails_at(word)

    session.box.notify("install", check=1)

    assert session.unit.read_text() == "[Unit]\nDescription=mine\n"


def test_a_place_for_units_that_is_none_is_said_without_a_traceback(session: Session) -> None:
    """B07: exit 1, and the worker that runs is left alone."""
    session.box.notify("start", check=0)
    (session.box.folder / ".config").write_text("mine\n")

    done = session.box.notify("install", check=1)

    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert session.calls == []
    assert worker_lock.is_held(session.box.home)


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_without_systemd_cron_is_named_instead(session: Session, command: str) -> None:
    """B07."""
    if command == "uninstall":
        session.box.notify("install", check=0)
    empty = session.box.folder / "empty"
    empty.mkdir()
    session.box.env["PATH"] = str(empty)

    done = session.box.notify(command, check=1)

    assert "systemctl was not found" in done.stderr
    assert "notify ensure" in done.stderr
    assert len(session.units) == (command == "uninstall")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("do_email: nobody\n", "do_email: expected a mail address"),
        ("do_email: [\n", "line 2"),
        (f"do_email: {OWNER}\n", "sign in with `notify init`"),
    ],
    ids=["mistake", "no YAML", "no sign-in"],
)
def test_what_could_not_start_is_not_installed(session: Session, config: str, words: str) -> None:
    """B07, S15: exit 2, nothing is written, systemd is not asked."""
    session.box.home.config.write_text(config)

    done = session.box.notify("install", check=2)

    assert words in done.stderr
    assert session.units == []
    assert session.calls == []


def test_uninstall_stops_the_worker_and_removes_the_unit(session: Session) -> None:
    """B07."""
    session.box.notify("install", check=0)
    unit = session.unit
    made = len(session.calls)

    done = session.box.notify("uninstall", check=0)

    assert session.calls[made:] == [f"--user disable --now {unit.name}", "--user daemon-reload"]
    assert session.units == []
    assert str(unit) in done.stdout


def test_uninstall_without_a_unit_asks_nobody(session: Session) -> None:
    """B07."""
    done = session.box.notify("uninstall", check=0)

    assert "nothing was installed" in done.stdout
    assert session.calls == []


def test_uninstall_leaves_the_unit_of_another_home_alone(session: Session) -> None:
    """B07."""
    session.box.notify("install", check=0)

    session.box.notify("uninstall", "--home", str(session.box.folder / "elsewhere"), check=0)

    assert session.unit.exists()


def test_a_systemd_that_cannot_stop_it_keeps_the_unit(session: Session) -> None:
    """B07."""
    session.box.notify("install", check=0)
    session.fails_at("disable")

    done = session.box.notify("uninstall", check=1)

    assert "Failed to connect to bus" in done.stderr
    assert session.unit.exists()


# -- ensure ------------------------------------------------------------------------------------------------------


def test_ensure_starts_a_worker_and_then_leaves_it_alone_without_a_word(box: Box) -> None:
    """B07: what cron is given must print nothing, or somebody gets a mail every five minutes."""
    box.home.config.chmod(0o644)  # a warning at any other start
    first = box.notify("ensure", check=0)
    pid = holder(box)
    second = box.notify("ensure", check=0)

    assert (first.stdout, first.stderr) == ("", "")
    assert (second.stdout, second.stderr) == ("", "")
    assert holder(box) == pid
    assert worker_status.read(box.home).last_scan_s is not None


def test_of_five_at_once_all_are_content_and_one_worker_runs(box: Box) -> None:
    """B07."""
    with ThreadPoolExecutor(5) as pool:
        done = list(pool.map(lambda _: box.notify("ensure"), range(5)))

    assert [(one.returncode, one.stdout, one.stderr) for one in done] == [(0, "", "")] * 5
    assert len(workers_of(box)) == 1


def test_ensure_replaces_a_worker_that_was_killed(box: Box) -> None:
    """B07, X01."""
    box.notify("ensure", check=0)
    pid = holder(box)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not worker_lock.is_held(box.home), what="the lock is free")

    done = box.notify("ensure", check=0)

    assert (done.stdout, done.stderr) == ("", "")
    assert holder(box) != pid


def test_ensure_says_why_it_cannot(box: Box) -> None:
    """B07, S15: exit 2, and cron mails what stands on stderr."""
    box.home.config.write_text("do_email: nobody\nnotify:\n  intervall: 5\n")

    done = box.notify("ensure", check=2)

    assert done.stdout == ""
    assert "2 errors" in done.stderr
    assert "did you mean `interval`?" in done.stderr
    assert not worker_lock.is_held(box.home)


def test_ensure_needs_no_good_configuration_where_a_worker_runs(box: Box) -> None:
    """B07: the worker that runs has read it before."""
    box.notify("ensure", check=0)
    box.home.config.write_text("do_email: nobody\n")

    box.notify("ensure", check=0)
