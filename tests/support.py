"""Shared test helpers: a home with its tree, a controlled clock, received mails, processes."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from syftnotify.config.transport import TransportSettings
from syftnotify.core.outbox import ClaimedNotification, OutboxCounts, OutboxStore
from syftnotify.core.ports import Transport
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.runtime.container import App, build_app
from syftnotify.runtime.health.reporter import HealthReporter
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.services.settings import load
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system.paths import Home
from syftnotify.transports.registry import TRANSPORT_TYPES
from tests import in_process

OWNER = "owner@datasite.example"
ANA = "ana@uni.example"
BO = "bo@lab.example"

PROJECT_ROOT = Path(__file__).parent.parent
DATA = PROJECT_ROOT / "tests" / "data"

# Multiplier for the number of Hypothesis examples; `make fuzz` sets it.
FUZZ_FACTOR = int(os.environ.get("FUZZ", "1"))

# Seconds to wait for a condition. Far above what a slow or busy machine needs, so that no result depends on its
# speed; it is only reached if a test fails.
TIMEOUT = 90.0

# For setups that need root; each property tested this way is also tested without root.
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to give files to another user"
)

Sent = tuple[str, str, str]  # event, audience, recipient


MakeDispatcher = Callable[..., Dispatcher]  # takes queues and settings of the dispatcher


@dataclass(slots=True)
class Clock:
    """Wall clock and monotonic clock that advance only under control of the test."""

    now: float = 1_800_000_000.0
    monotonic_now: float = 1_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.monotonic_now

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.monotonic_now += seconds


# The default policy parses a header again at each access, which took a third of the time of some tests.
_PARSER = BytesParser(policy=default.clone(header_factory=lru_cache(maxsize=4096)(default.header_factory)))


@dataclass(frozen=True, slots=True)
class Mail:
    """One parsed mail."""

    path: Path
    message: EmailMessage

    @property
    def id(self) -> str:
        """The part of Message-ID before the @."""
        return str(self.message["Message-ID"]).strip("<>").partition("@")[0]

    @property
    def event(self) -> str:
        return str(self.message["X-SyftNotify-Event"])

    @property
    def audience(self) -> str:
        return str(self.message["X-SyftNotify-Audience"])

    @property
    def to(self) -> str:
        return str(self.message["To"])

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def entities(self) -> list[str]:
        return [str(value) for value in self.message.get_all("X-SyftNotify-Entity", [])]

    @property
    def text(self) -> str:
        part = self.message.get_body(("plain",))
        assert part is not None
        return str(part.get_content())

    @property
    def html(self) -> str:
        part = self.message.get_body(("html",))
        assert part is not None
        return str(part.get_content())

    @property
    def readable_html(self) -> str:
        """The HTML part without the invisible characters that keep mail programs from making links."""
        return self.html.replace("\N{ZERO WIDTH NON-JOINER}", "")

    @property
    def sent(self) -> Sent:
        return self.event, self.audience, self.to


def transport_settings(raw: Mapping[str, Any]) -> TransportSettings:
    """The settings of a transport from a section of `config.yaml`."""
    return TRANSPORT_TYPES[raw["type"]].model_validate(raw)


def transport_for(section: TransportSettings, *, clock: Callable[[], float] = time.time) -> Transport:
    return section.build_transport(clock=clock)


def mails_in(folder: Path, parsed: dict[str, Mail] | None = None) -> list[Mail]:
    """The mails in a Maildir, in order of arrival; `parsed` caches them by file name."""
    if not (folder / "new").is_dir():
        return []
    cache = {} if parsed is None else parsed
    paths = sorted((folder / "new").iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name))
    for path in paths:
        if path.name not in cache:
            cache[path.name] = Mail(path, _PARSER.parsebytes(path.read_bytes()))
    return [cache[path.name] for path in paths]


@dataclass(slots=True)
class Box:
    """A home, a SyftBox root and a Maildir in one folder; scanned in this process or by the real command."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    env: dict[str, str] = field(default_factory=dict)
    _parsed: dict[str, Mail] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    last_scan: float | None = None

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    @property
    def root(self) -> Path:
        return self.folder / "SyftBox"

    @property
    def snapshot(self) -> Path:
        """The path of syft-bg's sync state."""
        return self.folder / "syft-bg" / "sync" / "state.json"

    def configure(self, changes: Mapping[str, Any] | None = None, *, notify: Mapping[str, Any] | None = None) -> None:
        """Write config.yaml with a Maildir; `changes` replace top-level keys, `notify` keys of the section `notify`."""
        settings: dict[str, Any] = {
            "do_email": OWNER,
            "syftbox_root": str(self.root),
            "notify": {
                "interval": 1,
                "sync_state_path": str(self.snapshot),
                "notify_state_path": str(self.folder / "syft-bg" / "notify" / "state.json"),
                **(notify or {}),
            },
            "transports": {"box": {"type": "maildir"}},
        }
        settings.update(changes or {})
        self.home.create()
        self.home.config.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def open_app(self) -> App:
        """Build the app of this home with the clock of this box; the caller closes it."""
        return build_app(load(self.home), clock=self.clock.time, monotonic=self.clock.monotonic)

    def scan(self) -> ScanReport:
        """Scan as a new process does: read everything from disk, and deliver what is due."""
        app = self.open_app()
        try:
            report = app.run_once(self.last_scan)
        finally:
            app.close()
        self.last_scan = self.clock.now
        return report

    def mails(self) -> list[Mail]:
        return mails_in(self.home.mail, self._parsed)

    def new_mails(self) -> list[Mail]:
        """The mails that arrived since the previous call."""
        new = [mail for mail in self.mails() if mail.path.name not in self._seen]
        self._seen.update(mail.path.name for mail in new)
        return new

    def notify(self, *arguments: str, check: int | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command with this home in this process; `check` is the expected exit code, `typed` is standard input.

        A box with variables of its own gets a process if modules may have read them already.
        """
        if self.env.keys() - in_process.VARIABLES:
            return self.run_process(*arguments, check=check, stdin=stdin)
        return self._checked(arguments, in_process.run(arguments, self.environment(), stdin), check)

    def run_process(
        self, *arguments: str, check: int | None = None, stdin: str = "", **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with this home in a new process."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "syftnotify", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            input=stdin,
            timeout=TIMEOUT,
            check=False,
            **more,
        )
        return self._checked(arguments, done, check)

    @staticmethod
    def _checked(
        arguments: Sequence[str], done: subprocess.CompletedProcess[str], check: int | None
    ) -> subprocess.CompletedProcess[str]:
        if check is not None:
            assert done.returncode == check, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start_process(self, *arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start a command with this home in a new process; the caller ends it."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "syftnotify", *arguments],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        """The environment of commands: independent of the home folder and the variables of the user."""
        own = ("SYFTNOTIFY", "FORCE_COLOR", "CLICOLOR", "TTY_", "COLORTERM", "LINES")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        return {
            **kept,
            "HOME": str(self.folder),
            "SYFTNOTIFY_HOME": str(self.home.root),
            "COLUMNS": "80",
            "NO_COLOR": "1",
            **self.env,
        }


def alias_bomb() -> str:
    """Twelve lines of YAML with aliases that expand to 280,000,000,000 words."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


def scan_for_hours(box: Box, hours: float, *, step: float = 0.5) -> list[tuple[str, str]]:
    """Scan every `step` hours for `hours` with one app; returns event and recipient of each new mail."""
    box.new_mails()
    app = box.open_app()
    try:
        for _ in range(round(hours / step)):
            box.clock.advance(step * 3600)
            app.run_once(box.last_scan)
            box.last_scan = box.clock.now
    finally:
        app.close()
    return [(mail.event, mail.to) for mail in box.new_mails()]


def delete_outbox(box: Box) -> None:
    for path in box.home.root.glob("outbox.db*"):
        path.unlink()


def delete_ledger(box: Box) -> None:
    for path in box.home.root.glob("state.json*"):
        path.unlink()


def tally(**values: int) -> OutboxCounts:
    """Outbox counts; by default each message has one notification and no dead letter is acknowledged."""
    counts = {"notifications": values.get("sent", 0), "unacknowledged": values.get("dead", 0), **values}
    return OutboxCounts(**counts)


def claim(outbox: OutboxStore, transport: str, now: float, **more: Any) -> list[ClaimedNotification]:
    """Claim the next message of a transport; empty if nothing is due."""
    return next(iter(outbox.queue.claim(transport, now, **more)), [])


def claim_and_crash(path: Path, transport: str, now: float) -> list[ClaimedNotification]:
    """Claim a message from the database at `path` as a worker that is killed before it sends it."""
    other = SqliteOutbox(path)
    try:
        return claim(other, transport, now, worker_id="killed")
    finally:
        other.close()


@contextmanager
def nested_folders(folder: Path, depth: int) -> Iterator[list[Path]]:
    """Create folders nested to `depth`; removed afterwards even if they were moved, which pytest cannot do."""
    folder.mkdir()
    current = [folder]
    for _ in range(depth - 1):  # from the innermost one
        outer = folder.with_name("outer")
        outer.mkdir()
        folder.rename(outer / "d")
        outer.rename(folder)
    try:
        yield current
    finally:
        folder = current[0]
        while (folder / "d").exists():
            (folder / "d").rename(folder.with_name("inner"))
            folder.rmdir()
            folder.with_name("inner").rename(folder)
        folder.rmdir()


@dataclass(frozen=True, slots=True)
class Process:
    """A running process, not a zombie."""

    pid: int
    command: str  # the arguments, joined by spaces


def processes() -> list[Process]:
    """All processes: from /proc, or from `ps` on systems without it."""
    if Path("/proc/self/cmdline").exists():
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                arguments = (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                found.append(Process(int(folder.name), os.fsdecode(b" ".join(arguments))))
        return [each for each in found if each.command]  # a zombie has no arguments left
    listing = subprocess.run(["ps", "-ww", "-axo", "pid=,stat=,command="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    return [Process(int(pid), run_process) for pid, state, run_process in rows if not state.startswith("Z")]


def workers_of(box: Box) -> list[int]:
    """The pids of all workers of the home of `box`."""
    home = f"{box.home.root} "
    return [each.pid for each in processes() if "syftnotify.worker" in each.command and home in f"{each.command} "]


@contextmanager
def worker_in_process(box: Box) -> Iterator[Callable[..., App]]:
    """Yield a function that runs one scan and the following health checks, as the worker does; it returns the app."""
    app = box.open_app()
    health = HealthReporter(app, clock=box.clock.time, monotonic=box.clock.monotonic)

    def scan(*, advance: float = 0.0, is_healthy: bool = True) -> App:
        box.clock.advance(advance)
        report = app.run_once(box.last_scan)
        box.last_scan = box.clock.now
        health.after_scan(app.outbox.history.counts(), jobs=report.jobs, peers=report.peers, is_healthy=is_healthy)
        health.finish()
        app.dispatcher.drain()
        return app

    try:
        yield scan
    finally:
        app.close()


def path_without_spaces(folder: Path) -> Path:
    """A path to `folder` without spaces, as shebang lines and LD_PRELOAD require."""
    if " " not in str(folder):
        return folder
    parent = Path(tempfile.mkdtemp(prefix="sn-", dir="/tmp"))
    atexit.register(shutil.rmtree, parent)
    (parent / "link").symlink_to(folder)
    return parent / "link"


def wait_until(condition: Callable[[], Any], seconds: float = TIMEOUT, what: str = "") -> Any:
    """Poll `condition` and return its first true value; fails after `seconds`, at least `TIMEOUT`."""
    seconds = max(seconds, TIMEOUT)
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.02)  # interval of polling
