"""A demonstration: a small SyftBox with all events of jobs and peers, and the mails that they cause.

It needs no account and no network: the mails are delivered into a local Maildir.
"""

from __future__ import annotations

import email
import email.policy
import json
import mailbox
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import yaml

from syftnotify.config.edit import edit
from syftnotify.core.kinds import EventKind
from syftnotify.system.paths import Home

OWNER, _ANA = "owner@datasite.example", "ana@uni.example"
_SURVEY = """\
import csv

with open("data/income.csv") as file:
    rows = list(csv.DictReader(file))
print("mean income:", sum(float(row["income"]) for row in rows) / len(rows))
"""
# Repeats the survey, and prints what the survey only aggregates: the mail shows the difference.
_RAW_ROWS = _SURVEY + "for row in rows:\n    print(row)\n"
_MERGE = """\
import csv

left = {row["person_id"]: row for row in csv.DictReader(open("data/left.csv"))}
for row in csv.DictReader(open("data/right.csv")):
    row.update(left[row["person"]])
print(len(left))
"""
_TRACEBACK = """\
Installed 1 package in 12ms
Traceback (most recent call last):
  File "main.py", line 5, in <module>
    row.update(left[row["person"]])
KeyError: 'person'
"""


class DemoMail(NamedTuple):
    """What identifies a mail of the demonstration, whether expected or received."""

    event: str  # the event kind
    recipient: str


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """A mail in the Maildir."""

    mail: DemoMail
    subject: str
    text: str
    path: Path


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One change of the SyftBox, and the mails that it causes."""

    text: str
    run: Callable[[], None]
    mails: tuple[DemoMail, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A SyftBox folder with an owner's jobs in the layout of the newest published client, and its sync snapshot."""

    root: Path
    snapshot: Path  # the state file of syft-bg's sync service

    def peers(self, requested: list[str], granted: list[str]) -> None:
        """Write the sync snapshot with these peers."""
        content = {
            "sync_time": time.time(),
            "sync_error": None,
            "peer_emails": requested,
            "approved_peer_emails": granted,
        }
        self.snapshot.write_text(json.dumps({"snapshot": content}), encoding="utf-8")

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
        self._write_state(scientist, name, status="pending", received_at=_now())

    def approve(self, scientist: str, name: str) -> None:
        self._write_state(scientist, name, status="approved", approved_at=_now(), approved_by=OWNER)

    def reject(self, scientist: str, name: str, reason: str) -> None:
        self._write_state(
            scientist, name, status="rejected", rejected_at=_now(), rejected_by=OWNER, review_reason=reason
        )

    def end(self, scientist: str, name: str, code: int, stderr: str = "") -> None:
        folder = self._review_folder(scientist, name)
        (folder / "stderr.txt").write_text(stderr, encoding="utf-8")
        (folder / "returncode.txt").write_text(str(code), encoding="utf-8")
        self._write_state(scientist, name, status="failed" if code else "done", completed_at=_now(), return_code=code)

    @property
    def _job_folder(self) -> Path:
        return self.root / OWNER / "app_data" / "job"

    def _review_folder(self, scientist: str, name: str) -> Path:
        return self._job_folder / "review" / scientist / "v1" / name

    def _write_state(self, scientist: str, name: str, **changes: object) -> None:
        path = self._review_folder(scientist, name) / "state.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        current = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(yaml.safe_dump({**current, **changes}), encoding="utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Demo:
    """The temporary folder of a demonstration."""

    folder: Path
    home: Home
    tree: Tree

    def steps(self) -> list[DemoStep]:
        return [
            *_peer_steps(self.tree),
            *_survey_steps(self.tree),
            *_failing_steps(self.tree),
            *_rejected_steps(self.tree),
        ]

    def received(self) -> list[ReceivedMail]:
        """All mails in the Maildir, in order of arrival."""
        folder = self.home.mail
        if not folder.is_dir():
            return []
        box = mailbox.Maildir(folder, create=False)
        paths = sorted((folder / "new").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return [_read_mail(box, path) for path in paths]


def create_demo() -> Demo:
    """Create a SyftBox without peers and jobs, and a configured home, in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="syftnotify-demo-"))
    home = Home(folder / "home")
    tree = Tree(folder / "SyftBox", folder / "syft-bg.json")
    tree.root.mkdir()
    tree.peers([], [])
    edit(
        home,
        {
            ("do_email",): OWNER,
            ("syftbox_root",): str(tree.root),
            ("notify", "interval"): 1,
            ("notify", "sync_state_path"): str(tree.snapshot),
            ("transports",): {"box": {"type": "maildir"}},
        },
    )
    return Demo(folder, home, tree)


def difference(some: Iterable[DemoMail], others: Iterable[DemoMail]) -> list[DemoMail]:
    """The mails of `some` that `others` lacks; repeated mails are counted."""
    return list((Counter(some) - Counter(others)).elements())


def _read_mail(box: mailbox.Maildir, path: Path) -> ReceivedMail:
    message = email.message_from_bytes(box.get_bytes(path.name), policy=email.policy.default)
    mail = DemoMail(str(message["X-SyftNotify-Event"]), str(message["To"]))
    body = message.get_body(("plain",))
    return ReceivedMail(mail, str(message["Subject"]), body.get_content() if body is not None else "", path)


def _mails(kind: EventKind, *recipients: str) -> tuple[DemoMail, ...]:
    return tuple(DemoMail(kind.value, recipient) for recipient in recipients)


def _peer_steps(tree: Tree) -> list[DemoStep]:
    def request() -> None:
        tree.peers([_ANA], [])

    def grant() -> None:
        tree.grant(_ANA)
        tree.peers([_ANA], [_ANA])

    return [
        DemoStep("ana asks to become a peer", request, _mails(EventKind.PEER_REQUESTED, OWNER, _ANA)),
        DemoStep("the owner grants it", grant, _mails(EventKind.PEER_GRANTED, _ANA)),
    ]


def _submit_step(tree: Tree, name: str, code: str) -> DemoStep:
    mails = _mails(EventKind.JOB_SUBMITTED, OWNER, _ANA)
    return DemoStep(f"ana submits {name!r}", lambda: tree.submit(_ANA, name, code), mails)


def _approve_step(tree: Tree, name: str) -> DemoStep:
    return DemoStep("the owner approves it", lambda: tree.approve(_ANA, name), _mails(EventKind.JOB_APPROVED, _ANA))


def _survey_steps(tree: Tree) -> list[DemoStep]:
    name, mails = "income survey", _mails(EventKind.JOB_COMPLETED, OWNER, _ANA)
    completed = DemoStep("it runs to its end", lambda: tree.end(_ANA, name, 0), mails)
    return [_submit_step(tree, name, _SURVEY), _approve_step(tree, name), completed]


def _failing_steps(tree: Tree) -> list[DemoStep]:
    name, mails = "merge tables", _mails(EventKind.JOB_FAILED, OWNER, _ANA)
    failed = DemoStep("it fails", lambda: tree.end(_ANA, name, 1, _TRACEBACK), mails)
    return [_submit_step(tree, name, _MERGE), _approve_step(tree, name), failed]


def _rejected_steps(tree: Tree) -> list[DemoStep]:
    name, mails = "raw rows", _mails(EventKind.JOB_REJECTED, _ANA)
    rejected = DemoStep("the owner rejects it", lambda: tree.reject(_ANA, name, "it prints raw rows"), mails)
    return [_submit_step(tree, name, _RAW_ROWS), rejected]
