from __future__ import annotations

import os
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.delivery.transport_queue import TransportQueue
from syftnotify.runtime import process
from syftnotify.services.demo import Tree as DemoTree
from syftnotify.sources.spool import emit
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_lock
from syftnotify.system.paths import Home
from tests.fakes import mailserver
from tests.fakes.google import Google, serve_google
from tests.fakes.mailserver import PASSWORD, USER, Authority, MailServer, create_authority
from tests.fakes.recording_transport import RecordingTransport
from tests.fakes.web import WebServer, serve_web
from tests.other_user import give_to_nobody
from tests.support import FUZZ_FACTOR, Box, Clock, MakeDispatcher
from tests.terminal import OpenTerminal, Terminal
from tests.trees import TREES, Disk, Tree
from tests.workers import PingServer, demo_tree

WIDE = "\u2615"
_INTEGRATION, _E2E = (Path(__file__).parent / name for name in ("integration", "e2e"))

# No deadline: the duration depends on the machine. The examples are the same in each run, so that failures are
# reproducible; `make fuzz` draws new ones.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=FUZZ_FACTOR == 1
)
settings.load_profile("any machine")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Set in background jobs of a shell: child processes would inherit it, and Ctrl-C could not be tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Python would write output at once, so that no test shows whether a command flushes it and reports a failed write.
os.environ.pop("PYTHONUNBUFFERED", None)

# Files writable by other users are refused, so tests do not depend on the umask of the shell.
_UMASK = 0o022
os.umask(_UMASK)


@pytest.hookimpl(tryfirst=True)  # before tests are selected by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases of each test with processes, files or servers that `make test` leaves out: all but the first.

    Tests of a contract keep all, because they have a case for each implementation.
    """
    cases: defaultdict[str, list[tuple[tuple[int, ...], pytest.Item]]] = defaultdict(list)
    for item in items:
        is_slow = item.path.is_relative_to(_INTEGRATION) or item.path.is_relative_to(_E2E)
        if (
            is_slow
            and "contract" not in item.path.as_posix()
            and hasattr(item, "callspec")
            and item.get_closest_marker("thorough") is None
        ):
            cases[item.nodeid.partition("[")[0]].append((tuple(item.callspec.indices.values()), item))
    for found in cases.values():
        for _, item in sorted(found, key=itemgetter(0))[1:]:
            item.add_marker("check_only")


@pytest.fixture(autouse=True)
def _restore_umask() -> Iterator[None]:
    yield
    os.umask(_UMASK)  # a command run in this process sets its own


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A configured home and an empty SyftBox folder; a worker that still runs is stopped."""
    box = Box(tmp_path)
    box.root.mkdir()
    box.configure()
    yield box
    if worker_lock.is_held(box.home):
        process.stop(box.home, seconds=5)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    outbox = SqliteOutbox(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


@pytest.fixture
def make(outbox: SqliteOutbox, clock: Clock) -> Iterator[MakeDispatcher]:
    """A function that creates a dispatcher of `outbox` with the given queues; all are stopped afterwards."""
    dispatchers: list[Dispatcher] = []

    queues_made: list[TransportQueue] = []

    def make(*queues: TransportQueue, **more: Any) -> Dispatcher:
        queues_made.extend(queues)
        settings: dict[str, Any] = {"clock": clock.time, "monotonic": clock.monotonic, **more}
        dispatchers.append(Dispatcher(outbox, queues, worker_id="test", **settings))
        return dispatchers[-1]

    yield make
    for queue in queues_made:
        if isinstance(queue.transport, RecordingTransport):
            queue.transport.gate.set()  # a test that failed may have left it closed
    for dispatcher in dispatchers:
        dispatcher.stop()


@pytest.fixture
def in_zone() -> Iterator[Callable[[str], None]]:
    """A function that sets the timezone of this process; restored afterwards."""
    with pytest.MonkeyPatch.context() as patch:

        def set_zone(name: str) -> None:
            patch.setenv("TZ", name)
            time.tzset()

        yield set_zone
    time.tzset()


@pytest.fixture
def hook() -> Iterator[WebServer]:
    """An HTTP server that responds 200 and records requests."""
    with serve_web() as server:
        yield server


@pytest.fixture
def google() -> Iterator[Google]:
    """A fake Google server."""
    with serve_google() as server:
        yield server


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A private certificate authority that is not trusted by default."""
    return create_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def open_terminal() -> Iterator[OpenTerminal]:
    """A function that runs a command in a terminal; commands that still run are killed afterwards."""
    opened: list[Terminal] = []

    def open_one(box: Box, *arguments: str, **variables: str) -> Terminal:
        opened.append(Terminal(box, *arguments, **variables))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()


@pytest.fixture
def new_user(tmp_path: Path) -> Box:
    """A user without a configuration: an empty home folder and no variables of the program."""
    return Box(tmp_path, env={"SYFTNOTIFY_HOME": ""})


@pytest.fixture
def user_home(tmp_path: Path) -> Path:
    """The home of `new_user`, which does not exist yet."""
    return tmp_path / ".syft-creds"


@pytest.fixture
def disk(box: Box) -> Disk:
    return Disk(box.root, box.clock.time)


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home below a home directory of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return Home(tmp_path / "home")


@pytest.fixture
def healthy_box(box: Box, tree_with_peer: Tree) -> Box:
    """A box without any problem, except that no worker runs."""
    box.home.config.chmod(0o600)
    return box


@pytest.fixture
def ping_server() -> Iterator[PingServer]:
    server = PingServer()
    yield server
    server.stop()


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """A mail server that requires a sign-in."""
    with mailserver.serve_mail(users={USER: PASSWORD}) as server:
        yield server


@pytest.fixture
def foreign_box() -> Iterator[Box]:
    """A configured box that belongs to the user `nobody`."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with tempfile.TemporaryDirectory(prefix="syftnotify-") as folder:
        Path(folder).chmod(0o755)
        box = Box(Path(folder))
        box.root.mkdir()
        box.configure()
        (box.home.root / "templates" / "emails").mkdir(parents=True)
        give_to_nobody(box.home.root)
        give_to_nobody(box.root)
        yield box
        if worker_lock.is_held(box.home):
            box.run_process("--as-owner", "stop", check=0)


@pytest.fixture
def wide_box(box: Box) -> Box:
    """A box whose outbox and log contain a character that few encodings have."""
    emit("job_failed", f"job {WIDE}", payload={"name": WIDE}, home=box.home.root)
    box.scan()
    box.home.log.write_text(f"2026-01-01T00:00:00.000Z INFO syftnotify.worker: about {WIDE}\n", encoding="utf-8")
    return box


@pytest.fixture
def tree(disk: Disk) -> Tree:
    """The tree of `box` in layout D, still empty."""
    return TREES["D"](disk)


@pytest.fixture
def alert_tree(box: Box, tree: Tree) -> Tree:
    """A tree whose routes match nothing, so that only alert rules notify."""
    box.configure({"routes": [{"events": ["job_held"]}]})
    return tree


@pytest.fixture
def tree_with_peer(box: Box) -> DemoTree:
    """The tree of `box` with ANA as an approved peer; the job folder exists."""
    return demo_tree(box)
