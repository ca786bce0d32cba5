"""`notify demo`: a small SyftBox lives through everything, and the real detached worker tells of it.

No account and no network: the mails land in a local Maildir. The tree is written as the newest published client writes
it (layout D), in place and file by file.
"""

from __future__ import annotations

import json
import mailbox
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml
from rich.table import Table
from rich.text import Text

from syftnotify.cli.console import out, say
from syftnotify.config.edit import edit
from syftnotify.core.text import escape, plural
from syftnotify.runtime import process
from syftnotify.system.paths import Home

OWNER, ANA = "owner@datasite.example", "ana@uni.example"
_WIDE = 140  # columns of a terminal in which one line has room for a whole row
_STEP_SECONDS = 20.0  # a mail that takes longer than this after its step is missing
_QUIET_SECONDS = 2.5  # two looks and a bit: whatever would come twice has come by then

_SURVEY = """\
import csv

with open("data/income.csv") as file:
    rows = list(csv.DictReader(file))
print("mean income:", sum(float(row["income"]) for row in rows) / len(rows))
"""
_TRACEBACK = """\
Traceback (most recent call last):
  File "main.py", line 4, in <module>
    rows = left.join(right, on="person_id")
KeyError: 'person_id'
"""


@dataclass(frozen=True, slots=True)
class Tree:
    """The owner's SyftBox, and the notes that syft-bg keeps beside it."""

    root: Path
    notes: Path

    def peers(self, requested: list[str], granted: list[str]) -> None:
        """What syft-bg's sync writes down about peers."""
        snapshot = {
            "sync_time": time.time(),
            "sync_error": None,
            "peer_emails": requested,
            "approved_peer_emails": granted,
        }
        self.notes.write_text(json.dumps({"snapshot": snapshot}), encoding="utf-8")

    def grant(self, scientist: str) -> None:
        for side, access in (("inbox", "write"), ("review", "read")):
            folder = self._job_folder / side / scientist
            folder.mkdir(parents=True)
            rule = {"pattern": "**", "access": {access: [scientist]}}
            (folder / "syft.pub.yaml").write_text(yaml.safe_dump({"rules": [rule]}), encoding="utf-8")

    def submit(self, scientist: str, name: str, code: str) -> None:
        folder = self._job_folder / "inbox" / scientist / "v1" / name
        (folder / "code").mkdir(parents=True)
        (folder / "run.sh").write_text("python main.py\n", encoding="utf-8")
        (folder / "code" / "main.py").write_text(code, encoding="utf-8")
        config = {
            "canonical_name": "JobSubmissionMetadata",
            "version": "1",
            "name": name,
            "type": "python",
            "entrypoint": "main.py",
            "files": ["main.py"],
            "submitted_at": _now(),
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        self._state(scientist, name, status="pending", received_at=_now())

    def approve(self, scientist: str, name: str) -> None:
        self._state(scientist, name, status="approved", approved_at=_now(), approved_by=OWNER)

    def reject(self, scientist: str, name: str, reason: str) -> None:
        self._state(scientist, name, status="rejected", rejected_at=_now(), rejected_by=OWNER, review_reason=reason)

    def end(self, scientist: str, name: str, code: int, stderr: str = "") -> None:
        folder = self._review(scientist, name)
        (folder / "stderr.txt").write_text(stderr, encoding="utf-8")
        (folder / "returncode.txt").write_text(str(code), encoding="utf-8")
        self._state(scientist, name, status="failed" if code else "done", completed_at=_now(), return_code=code)

    @property
    def _job_folder(self) -> Path:
        return self.root / OWNER / "app_data" / "job"

    def _review(self, scientist: str, name: str) -> Path:
        return self._job_folder / "review" / scientist / "v1" / name

    def _state(self, scientist: str, name: str, **changes: object) -> None:
        path = self._review(scientist, name) / "state.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        known = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(yaml.safe_dump({**known, **changes}), encoding="utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


Mail = tuple[str, str]  # event, recipient


def _steps(tree: Tree) -> list[tuple[str, Callable[[], None], list[Mail]]]:
    """What happens, and which mails it owes."""

    def grant() -> None:
        tree.grant(ANA)
        tree.peers([ANA], [ANA])

    survey, merge, rows = "income survey", "merge tables", "raw rows"
    return [
        (
            "ana asks to become a peer",
            lambda: tree.peers([ANA], []),
            [("peer_requested", OWNER), ("peer_requested", ANA)],
        ),
        ("the owner grants it", grant, [("peer_granted", ANA)]),
        (
            f"ana submits {survey!r}",
            lambda: tree.submit(ANA, survey, _SURVEY),
            [("job_submitted", OWNER), ("job_submitted", ANA)],
        ),
        ("the owner approves it", lambda: tree.approve(ANA, survey), [("job_approved", ANA)]),
        ("it runs to its end", lambda: tree.end(ANA, survey, 0), [("job_completed", OWNER), ("job_completed", ANA)]),
        (
            f"ana submits {merge!r}",
            lambda: tree.submit(ANA, merge, "rows = left.join(right)\n"),
            [("job_submitted", OWNER), ("job_submitted", ANA)],
        ),
        ("the owner approves it", lambda: tree.approve(ANA, merge), [("job_approved", ANA)]),
        ("it fails", lambda: tree.end(ANA, merge, 1, _TRACEBACK), [("job_failed", OWNER), ("job_failed", ANA)]),
        (
            f"ana submits {rows!r}",
            lambda: tree.submit(ANA, rows, "print(open('data/income.csv').read())\n"),
            [("job_submitted", OWNER), ("job_submitted", ANA)],
        ),
        ("the owner rejects it", lambda: tree.reject(ANA, rows, "it prints raw rows"), [("job_rejected", ANA)]),
    ]


def play() -> int:
    """Play it; returns 0 only if every mail came, once."""
    begun = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="syftnotify-demo-"))
    home = Home(place / "home")
    tree = Tree(place / "SyftBox", place / "syft-bg.json")
    tree.root.mkdir()
    tree.peers([], [])
    edit(
        home,
        {
            ("do_email",): OWNER,
            ("syftbox_root",): str(tree.root),
            ("notify", "interval"): 1,
            ("notify", "sync_state_path"): str(tree.notes),
            ("transports",): {"box": {"type": "maildir"}},
        },
    )
    say(f"a SyftBox, a home and a Maildir in {place}")
    started = process.start(home)
    say(f"the worker runs (pid {started.pid})")
    owed: list[Mail] = []
    try:
        for what, act, mails in _steps(tree):
            act()
            owed += mails
            _wait_for(home, len(owed))
            say(f"  {what}: {plural(len(_arrived(home)), 'mail')}")
        time.sleep(_QUIET_SECONDS)  # only time shows that nothing comes twice
    finally:
        process.stop(home)
    arrived = _arrived(home)
    _print(arrived, home)
    missing = _without(owed, [(event, to) for event, to, _, _ in arrived])
    extra = _without([(event, to) for event, to, _, _ in arrived], owed)
    for event, to in missing:
        say(f"missing: {event} to {to}", style="red")
    for event, to in extra:
        say(f"too much: {event} to {to}", style="red")
    if missing or extra:
        say(f"the worker's log is {home.log}")
        return 1
    say(f"{plural(len(arrived), 'mail')}, each of them once, in {time.monotonic() - begun:.1f} s", style="green")
    say(f"look at them: {home.mail}/new; the folder is yours to delete: {place}")
    shutil.rmtree(place / "SyftBox")
    return 0


def _wait_for(home: Home, count: int) -> None:
    until = time.monotonic() + _STEP_SECONDS
    while len(_arrived(home)) < count and time.monotonic() < until:
        time.sleep(0.05)  # between two questions, never instead of one


def _arrived(home: Home) -> list[tuple[str, str, str, Path]]:
    """(event, recipient, subject, path) of every mail, in the order in which they came."""
    if not home.mail.is_dir():
        return []
    box = mailbox.Maildir(home.mail, create=False)
    found = []
    for path in sorted((home.mail / "new").iterdir(), key=lambda path: path.stat().st_mtime_ns):
        mail = box[path.name]
        found.append((str(mail["X-SyftNotify-Event"]), str(mail["To"]), str(mail["Subject"]), path))
    return found


def _without(some: list[Mail], others: list[Mail]) -> list[Mail]:
    return list((Counter(some) - Counter(others)).elements())


def _print(arrived: list[tuple[str, str, str, Path]], home: Home) -> None:
    table = Table(box=None, pad_edge=False, title=f"mails in {home.mail}", title_justify="left")
    for name in ("event", "to"):
        table.add_column(name, no_wrap=True)
    wide = out.width >= _WIDE
    for name in ("subject", "path") if wide else ("subject, path",):
        table.add_column(name, overflow="fold")
    for event, to, subject, path in arrived:
        cells = [Text(escape(subject)), Text(str(path.relative_to(home.mail)))]
        table.add_row(event, to, *(cells if wide else [Text("\n").join(cells)]))
    out.print(table)
