"""The control: a notifier as one writes it in an afternoon. The harness must find out what is wrong with it.

It scans the same tree, keeps a list of what it sent in a JSON file, marks each mail after it was sent, writes the
file anew in place, and takes a file that it cannot read for an empty one.

    python -m tests.chaos.naive --root DIR --state FILE --smtp HOST:PORT --report-fd FD [--die-at POINT:N]
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
from tests.chaos.death import die_at, end_with_the_harness

POINTS = ("naive.sent", "naive.writing")  # sent and not marked; the state file half written
_INTERVAL = 0.1  # seconds between two scans

Key = tuple[str, str, str, str]  # event, audience, recipient, entity


def facts(root: Path) -> Iterator[Key]:
    """What the tree says now, for layouts C and D."""
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
    # A better name than such programs give: two copies shall be seen as copies.
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
    parser.add_argument("--die-at", default="")
    given = parser.parse_args()
    end_with_the_harness()
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    reached = die_at(given.die_at) if given.die_at else lambda _point: None
    sent = read_sent(given.state)
    os.write(given.report_fd, b"{}\n")
    while not ending.wait(_INTERVAL):
        for key in facts(given.root):
            if ending.is_set() or list(key) in sent:
                continue
            try:
                send(given.smtp, key)
            except OSError:  # smtplib's own errors are OSErrors, too
                continue  # the next scan finds it again
            reached("naive.sent")
            sent.append(list(key))
            write_sent(given.state, sent, reached)
    return 0


if __name__ == "__main__":
    sys.exit(main())
