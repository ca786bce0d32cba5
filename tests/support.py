"""What tests share: a home with its tree, a clock that is handed in, the mails that arrived, real processes."""

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

TOP = Path(__file__).parent.parent
DATA = TOP / "tests" / "data"

# How many times the usual number of examples is drawn; `make fuzz` draws more.
THOROUGH = int(os.environ.get("FUZZ", "1"))

# Seconds until something that must happen counts as missing. Far above what a slow or busy machine needs, so that
# no verdict depends on its speed; a program that works never waits that long.
PATIENCE = 90.0

# What an unprivileged user cannot set up; each promise that is tested so is also tested without.
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, which alone may give files to another user"
)

Sent = tuple[str, str, str]  # event, audience, recipient


MakeDispatcher = Callable[..., Dispatcher]  # takes queues, and settings of the dispatcher


@dataclass(slots=True)
class Clock:
    """Wall clock and monotonic clock in one; both move only when told to."""

    now: float = 1_800_000_000.0
    ticks: float = 1_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.ticks

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.ticks += seconds


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail as a reader's program would see it."""

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
    def sent(self) -> Sent:
        return self.event, self.audience, self.to


def transport_settings(raw: Mapping[str, Any]) -> TransportSettings:
    """The settings of a transport as a section of `config.yaml` gives them."""
    return TRANSPORT_TYPES[raw["type"]].model_validate(raw)


def transport_for(section: TransportSettings, *, clock: Callable[[], float] = time.time) -> Transport:
    return section.build_transport(clock=clock)


def mails_in(folder: Path, known: dict[str, Mail] | None = None) -> list[Mail]:
    """The mails in a Maildir, in the order in which they came; those in `known`, by file name, are not parsed again."""
    if not (folder / "new").is_dir():
        return []
    cache = {} if known is None else known
    paths = sorted((folder / "new").iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name))
    for path in paths:
        if path.name not in cache:
            cache[path.name] = Mail(path, BytesParser(policy=default).parsebytes(path.read_bytes()))
    return [cache[path.name] for path in paths]


@dataclass(slots=True)
class Box:
    """A home, a SyftBox root and a Maildir in one folder; looked at in this process or by the real command."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    env: dict[str, str] = field(default_factory=dict)
    _parsed: dict[str, Mail] = field(default_factory=dict)
    _read: set[str] = field(default_factory=set)
    last_scan: float | None = None

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    @property
    def root(self) -> Path:
        return self.folder / "SyftBox"

    @property
    def snapshot(self) -> Path:
        """Where syft-bg's sync state lies for this box."""
        return self.folder / "syft-bg" / "sync" / "state.json"

    def configure(self, changes: Mapping[str, Any] | None = None, *, notify: Mapping[str, Any] | None = None) -> None:
        """Write config.yaml: a Maildir, a short interval; `changes` replace top-level keys, `notify` keys of that."""
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
        """The rooms of this home, with this box's clock; the caller closes them."""
        return build_app(load(self.home), clock=self.clock.time, monotonic=self.clock.monotonic)

    def scan(self) -> ScanReport:
        """One look of a fresh process: everything is read from disk again, and what is due is delivered."""
        app = self.open_app()
        try:
            tick = app.run_once(self.last_scan)
        finally:
            app.close()
        self.last_scan = self.clock.now
        return tick

    def mails(self) -> list[Mail]:
        """Every mail in the Maildir."""
        return mails_in(self.home.mail, self._parsed)

    def new_mails(self) -> list[Mail]:
        """The mails that came since this was last asked."""
        fresh = [mail for mail in self.mails() if mail.path.name not in self._read]
        self._read.update(mail.path.name for mail in fresh)
        return fresh

    def notify(self, *words: str, check: int | None = None, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command with this home in this process; `check` is the expected exit code, `typed` is standard input.

        A box with variables of its own gets a process if modules may have read them already.
        """
        if self.env.keys() - in_process.VARIABLES:
            return self.command(*words, check=check, typed=typed)
        return self._checked(words, in_process.run(words, self.environment(), typed), check)

    def command(
        self, *words: str, check: int | None = None, typed: str = "", **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """The same in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "syftnotify", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            input=typed,
            timeout=PATIENCE,
            check=False,
            **more,
        )
        return self._checked(words, done, check)

    @staticmethod
    def _checked(
        words: Sequence[str], done: subprocess.CompletedProcess[str], check: int | None
    ) -> subprocess.CompletedProcess[str]:
        if check is not None:
            assert done.returncode == check, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def begin(self, *words: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Begin the real command with this home; the caller sees to its end."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "syftnotify", *words],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        """An environment in which neither the home folder nor a variable of this machine's user matters."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SYFTNOTIFY")}
        return {
            **kept,
            "HOME": str(self.folder),
            "SYFTNOTIFY_HOME": str(self.home.root),
            "COLUMNS": "80",
            "NO_COLOR": "1",
            **self.env,
        }


def alias_bomb() -> str:
    """Twelve lines of YAML that stand for 280,000,000,000 words."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


def pass_hours(box: Box, hours: float, *, step: float = 0.5) -> list[tuple[str, str]]:
    """Scan every `step` hours for that long; the event and recipient of each mail that was sent."""
    box.new_mails()
    for _ in range(round(hours / step)):
        box.clock.advance(step * 3600)
        box.scan()
    return [(mail.event, mail.to) for mail in box.new_mails()]


def lose_outbox(box: Box) -> None:
    for path in box.home.root.glob("outbox.db*"):
        path.unlink()


def lose_ledger(box: Box) -> None:
    for path in box.home.root.glob("state.json*"):
        path.unlink()


def tally(**values: int) -> OutboxCounts:
    """The counts in which, unless named, each message holds one notification and no dead letter is acknowledged."""
    filled = {"notifications": values.get("sent", 0), "unacknowledged": values.get("dead", 0), **values}
    return OutboxCounts(**filled)


def claim(outbox: OutboxStore, transport: str, now: float, **more: Any) -> list[ClaimedNotification]:
    """The next message of a transport; empty when nothing is due."""
    return next(iter(outbox.queue.claim(transport, now, **more)), [])


def claim_and_die(path: Path, transport: str, now: float) -> list[ClaimedNotification]:
    """The message that another process claimed from the database at `path` before it was killed."""
    other = SqliteOutbox(path)
    try:
        return claim(other, transport, now, worker_id="killed")
    finally:
        other.close()


@contextmanager
def nested(folder: Path, depth: int) -> Iterator[list[Path]]:
    """So many folders in one another; removed again from wherever they are then, which pytest cannot do by itself."""
    folder.mkdir()
    where = [folder]
    for _ in range(depth - 1):  # each becomes the first of those below it
        outer = folder.with_name("outer")
        outer.mkdir()
        folder.rename(outer / "d")
        outer.rename(folder)
    try:
        yield where
    finally:
        folder = where[0]
        while (folder / "d").exists():
            (folder / "d").rename(folder.with_name("inner"))
            folder.rmdir()
            folder.with_name("inner").rename(folder)
        folder.rmdir()


@dataclass(frozen=True, slots=True)
class Process:
    """A process that runs on this machine; zombies are left out."""

    pid: int
    command: str  # its arguments, joined by blanks


def processes() -> list[Process]:
    """Every process: from /proc, otherwise from `ps`, which a minimal Linux lacks."""
    if Path("/proc/self/cmdline").exists():
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                words = (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                found.append(Process(int(folder.name), os.fsdecode(b" ".join(words))))
        return [each for each in found if each.command]  # a zombie has no arguments left
    shown = subprocess.run(["ps", "-ww", "-axo", "pid=,stat=,command="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in shown.stdout.splitlines()]
    return [Process(int(pid), command) for pid, state, command in rows if not state.startswith("Z")]


def workers_of(box: Box) -> list[int]:
    """The pids of every worker that runs for the home of `box`."""
    inside = f"{box.home.root} "
    return [each.pid for each in processes() if "syftnotify.worker" in each.command and inside in f"{each.command} "]


@contextmanager
def worker_in_process(box: Box) -> Iterator[Callable[..., App]]:
    """A worker's app, and a function for one scan with the health checks that follow it."""
    app = box.open_app()
    health = HealthReporter(app, clock=box.clock.time, monotonic=box.clock.monotonic)

    def scan(*, advance: float = 0.0, well: bool = True) -> App:
        box.clock.advance(advance)
        tick = app.run_once(box.last_scan)
        box.last_scan = box.clock.now
        health.after_scan(app.outbox.history.counts(), jobs=tick.jobs, peers=tick.peers, is_healthy=well)
        health.finish()
        app.dispatcher.drain()
        return app

    try:
        yield scan
    finally:
        app.close()


def without_blanks(folder: Path) -> Path:
    """`folder` under a name that fits into a shebang line or into LD_PRELOAD, which blanks would end."""
    if " " not in str(folder):
        return folder
    place = Path(tempfile.mkdtemp(prefix="sn-", dir="/tmp"))
    atexit.register(shutil.rmtree, place)
    (place / "link").symlink_to(folder)
    return place / "link"


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE, what: str = "") -> Any:
    """The first true value of `condition`, polled; fails after `seconds`, which only lengthen `PATIENCE`."""
    seconds = max(seconds, PATIENCE)
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"not within {seconds} s: {what or condition}"
        time.sleep(0.02)  # between two questions, never instead of one
