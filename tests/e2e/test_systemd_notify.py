"""What the worker process reports to systemd: ready, alive, stopping."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from syftnotify.system import worker_lock, worker_status
from syftnotify.system.locks import file_lock
from tests.support import ANA, TIMEOUT, Box, wait_until
from tests.workers import CODE, demo_tree, has_scanned, outbox_counts, worker_process

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("needs Unix sockets", allow_module_level=True)


@dataclass(slots=True)
class Supervisor:
    """The part of systemd: starts the worker as ExecStart does, and receives its messages."""

    box: Box
    channel: socket.socket
    address: str  # as NOTIFY_SOCKET names it
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    received: list[tuple[float, str]] = field(default_factory=list)  # monotonic seconds, one line of a message

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        process = worker_process(self.box, **{"NOTIFY_SOCKET": self.address, **environment})
        self.processes.append(process)
        return process

    def receive(self, seconds: float) -> None:
        """Receive one message, within `seconds`."""
        self.channel.settimeout(max(0.001, seconds))
        with contextlib.suppress(TimeoutError):
            message = self.channel.recv(4096).decode("ascii")
            self.received += [(time.monotonic(), line) for line in message.splitlines()]

    def wait_for(self, line: str, count: int = 1, seconds: float = TIMEOUT) -> None:
        """Wait until `line` was received `count` times."""
        until = time.monotonic() + seconds
        while self.times(line, count) is None:
            assert time.monotonic() < until, f"{line} was not received {count} times: {self.lines}"
            self.receive(until - time.monotonic())

    def times(self, line: str, count: int) -> list[float] | None:
        """When `line` was received; None before it was received `count` times."""
        found = [moment for moment, text in self.received if text == line]
        return found if len(found) >= count else None

    def clear(self) -> None:
        """Discard what was received or sent so far."""
        self.channel.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self.channel.recv(4096):
                pass
        self.received.clear()

    @property
    def lines(self) -> list[str]:
        return [line for _, line in self.received]


@pytest.fixture
def supervisor(box: Box) -> Iterator[Supervisor]:
    # Not below `tmp_path`: the path of a socket has about a hundred characters at most.
    short = tempfile.TemporaryDirectory(prefix="sn-", dir="/tmp")
    with short as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        path = f"{folder}/notify"
        channel.bind(path)
        supervisor = Supervisor(box, channel, path)
        try:
            yield supervisor
        finally:
            for process in supervisor.processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                process.wait()


def configure_polling(box: Box, interval: int = 3600) -> None:
    """Scan once in `interval` seconds, whatever happens in the tree."""
    box.configure({"notify": {"interval": interval, "watch": "off", "sync_state_path": str(box.snapshot)}})


def waiting(box: Box) -> int:
    """The number of notifications that are pending or being sent."""
    if not box.home.outbox.exists():
        return 0
    return outbox_counts(box).waiting


@contextlib.contextmanager
def blocked_scan(box: Box) -> Iterator[None]:
    """No scan can finish inside the block, which holds the lock of the ledger."""
    with file_lock(box.home.state.with_name("state.json.lock"), seconds=10) as held:
        assert held
        yield


@pytest.mark.thorough
def test_worker_reports_ready_alive_and_stopping(supervisor: Supervisor) -> None:
    """B07, S16, F2: ready after the first scan; alive about twice per limit, however rare the scans are."""
    configure_polling(supervisor.box)
    limit = 4.0  # seconds
    process = supervisor.start(WATCHDOG_USEC="4000000")

    supervisor.wait_for("READY=1")
    assert worker_lock.is_held(supervisor.box.home)
    assert has_scanned(supervisor.box)

    def is_in_time() -> bool:
        supervisor.receive(0.2)
        times = supervisor.times("WATCHDOG=1", 2) or []
        return any(0.25 * limit < after - before < 0.75 * limit for before, after in pairwise(times))

    # A busy machine delays some of the messages.
    wait_until(is_in_time, what="a message about half the limit after the one before")
    assert "WATCHDOG=1" not in supervisor.lines[: supervisor.lines.index("READY=1")]

    process.terminate()
    supervisor.wait_for("STOPPING=1")
    assert process.wait(TIMEOUT) == 0
    supervisor.receive(0.01)
    states = [line for line in supervisor.lines if not line.startswith(("STATUS=", "WATCHDOG="))]
    assert states == ["READY=1", "STOPPING=1"]
    assert worker_status.read(supervisor.box.home).ended == "stopped"


@pytest.mark.thorough
def test_worker_is_not_ready_during_its_first_scan(supervisor: Supervisor) -> None:
    """B07."""
    configure_polling(supervisor.box)
    demo_tree(supervisor.box).submit(ANA, "survey", CODE)
    with blocked_scan(supervisor.box):
        supervisor.start()
        supervisor.wait_for("STATUS=first scan")
        wait_until(lambda: waiting(supervisor.box), what="the notification is in the outbox")
        supervisor.receive(0.5)
        assert "READY=1" not in supervisor.lines

    supervisor.wait_for("READY=1")
    assert worker_status.read(supervisor.box.home).jobs == 1


@pytest.mark.thorough
def test_watchdog_messages_continue_during_many_scans(supervisor: Supervisor) -> None:
    """B07."""
    supervisor.box.configure(
        {"notify": {"interval": 3600, "watch": "on", "sync_state_path": str(supervisor.box.snapshot)}}
    )
    tree = demo_tree(supervisor.box)
    supervisor.start(WATCHDOG_USEC="3000000")
    supervisor.wait_for("READY=1")

    known = len(supervisor.times("WATCHDOG=1", 0) or [])
    numbers = itertools.count()

    def is_received() -> bool:
        tree.submit(ANA, f"survey {next(numbers)}", CODE)
        supervisor.receive(0.1)
        return len(supervisor.times("WATCHDOG=1", 0) or []) >= known + 4

    wait_until(is_received, what="four messages while jobs come in")


@pytest.mark.thorough
def test_watchdog_messages_stop_while_a_scan_hangs(supervisor: Supervisor) -> None:
    """B07: so that systemd restarts the worker."""
    configure_polling(supervisor.box, interval=1)
    tree = demo_tree(supervisor.box)
    supervisor.start(WATCHDOG_USEC="1000000")
    supervisor.wait_for("WATCHDOG=1", 2)

    with blocked_scan(supervisor.box):
        tree.submit(ANA, "survey", CODE)
        wait_until(lambda: waiting(supervisor.box), what="the notification is in the outbox")
        supervisor.clear()
        supervisor.receive(2.0)  # twice the limit: the test measures the silence
        assert supervisor.lines == []

    supervisor.wait_for("WATCHDOG=1")


@pytest.mark.thorough
def test_watchdog_messages_stop_while_suspended(supervisor: Supervisor) -> None:
    """B07: SIGSTOP."""
    configure_polling(supervisor.box)
    process = supervisor.start(WATCHDOG_USEC="500000")
    supervisor.wait_for("WATCHDOG=1", 2)

    process.send_signal(signal.SIGSTOP)
    wait_until(
        lambda: os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT), what="the process is suspended"
    )
    supervisor.clear()
    supervisor.receive(1.0)  # twice the limit: the test measures the silence
    assert supervisor.lines == []

    process.send_signal(signal.SIGCONT)
    supervisor.wait_for("WATCHDOG=1")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "variables",
    [{}, {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}],
)
def test_watchdog_messages_are_sent_on_request_only(supervisor: Supervisor, variables: dict[str, str]) -> None:
    """B07."""
    configure_polling(supervisor.box, interval=1)
    process = supervisor.start(**variables)
    supervisor.wait_for("READY=1")
    first = worker_status.read(supervisor.box.home).last_scan_s or 0.0

    wait_until(lambda: (worker_status.read(supervisor.box.home).last_scan_s or 0.0) > first, what="another scan")
    process.terminate()
    supervisor.wait_for("STOPPING=1")

    assert "WATCHDOG=1" not in supervisor.lines


@pytest.mark.thorough
def test_worker_without_a_listening_supervisor_runs(supervisor: Supervisor) -> None:
    """B07."""
    configure_polling(supervisor.box, interval=1)
    process = supervisor.start(NOTIFY_SOCKET=str(supervisor.box.folder / "gone"), WATCHDOG_USEC="400000")
    wait_until(lambda: worker_status.read(supervisor.box.home).last_scan_s, what="a scan")

    process.terminate()

    assert process.wait(TIMEOUT) == 0


@pytest.mark.parametrize(
    ("broken", "code"),
    [(True, 2), pytest.param(False, 3, marks=pytest.mark.thorough)],
    ids=["mistakes", "another worker"],
)
def test_worker_exit_codes_prevent_useless_restarts(supervisor: Supervisor, broken: bool, code: int) -> None:
    """B07: RestartPreventExitStatus lists them."""
    with worker_lock.acquire(supervisor.box.home) if not broken else contextlib.nullcontext():
        if broken:
            supervisor.box.home.config.write_text("do_email: nobody\n")
        process = supervisor.start()
        assert process.wait(TIMEOUT) == code

    supervisor.receive(0.01)
    assert "READY=1" not in supervisor.lines
