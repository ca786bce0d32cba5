"""The control: a naive notifier, whose faults the harness must detect.

It scans the same tree and records each mail in a JSON file after it was sent. It rewrites the file in place, and treats
a file that it cannot read as empty.

    python -m tests.chaos.naive --root DIR --state FILE --smtp HOST:PORT --report-fd FD [--kill-at POINT:N]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import smtplib
import sys
import threading
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import yaml

from syftnotify.core.identifiers import entity_id
from tests.chaos.death import exit_with_parent, kill_at

POINTS = ("naive.sent", "naive.writing")  # sent but not recorded; state file half written
_INTERVAL = 0.1  # seconds between two scans

Key = tuple[str, str, str, str]  # event, audience, recipient, entity


def facts(root: Path) -> Iterator[Key]:
    """The facts of the tree, for layouts C and D."""
    for owner in root.iterdir():
        inbox, review = (owner / "app_data" / "job" / side for side in ("inbox", "review"))
        for scientist in inbox.iterdir() if inbox.is_dir() else ():
            if (review / scientist.name).is_dir():
                yield "peer_granted", "submitter", scientist.name, entity_id("peer", owner.name, scientist.name)
            for layout, jobs in (("C", scientist), ("D", scientist / "v1")):
                for job in jobs.iterdir() if jobs.is_dir() else ():
                    if (job / "config.yaml").is_file():
                        state = _state(review / job.relative_to(inbox) / "state.yaml")
                        entity = entity_id("job", layout, owner.name, scientist.name, job.name)
                        for event, audience in _events(state):
                            yield event, audience, owner.name if audience == "owner" else scientist.name, entity


def _events(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "job_submitted", "owner"
    yield "job_submitted", "submitter"
    if state.get("approved_at"):
        yield "job_approved", "submitter"
    if state.get("rejected_at"):
        yield "job_rejected", "submitter"
    if end := {"done": "job_completed", "failed": "job_failed"}.get(str(state.get("status"))):
        yield end, "owner"
        yield end, "submitter"


def _state(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def read_sent(path: Path) -> list[list[str]]:
    try:
        loaded: list[list[str]] = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    return loaded


def write_sent(path: Path, sent: list[list[str]], reached: Callable[[str], None]) -> None:
    text = json.dumps(sent, indent=1)
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        reached("naive.writing")
        file.write(text[len(text) // 2 :])


def send(server: str, key: Key) -> None:
    event, audience, recipient, entity = key
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "owner@datasite.example", recipient, event
    # Deterministic, unlike in such programs, so that the harness recognizes duplicates.
    mail["Message-ID"] = f"<{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}@naive.example>"
    mail["X-SyftNotify-Event"], mail["X-SyftNotify-Audience"], mail["X-SyftNotify-Entity"] = event, audience, entity
    mail.set_content(f"{event}: {entity}")
    host, _, port = server.partition(":")
    with smtplib.SMTP(host, int(port), "[127.0.0.1]", timeout=5) as session:
        session.send_message(mail)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--smtp", required=True)
    parser.add_argument("--report-fd", type=int, required=True)
    parser.add_argument("--kill-at", default="")
    arguments = parser.parse_args()
    exit_with_parent()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    reached = kill_at(arguments.kill_at) if arguments.kill_at else lambda _point: None
    sent = read_sent(arguments.state)
    os.write(arguments.report_fd, b"{}\n")
    while not stopping.wait(_INTERVAL):
        for key in facts(arguments.root):
            if stopping.is_set() or list(key) in sent:
                continue
            try:
                send(arguments.smtp, key)
            except OSError:  # the errors of smtplib are OSErrors
                continue  # the next scan repeats it
            reached("naive.sent")
            sent.append(list(key))
            write_sent(arguments.state, sent, reached)
    return 0


if __name__ == "__main__":
    sys.exit(main())
