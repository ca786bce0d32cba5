"""Small helpers that read what a home, its outbox and its commands contain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

import syftnotify
from syftnotify.core.outbox import OutboxCounts
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import Box

HOUR = 3600.0


def file_states(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, modification time and content hash of every path below `folder`."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def file_hashes(folder: Path) -> dict[str, str]:
    """The content hash of every file below `folder`."""
    return {name: content for name, (_, _, content) in file_states(folder).items() if content}


def read_config(home: Path) -> Any:
    return yaml.safe_load((home / "config.yaml").read_text(encoding="utf-8"))


def json_object(text: str) -> dict[str, Any]:
    """The one JSON object in `text`; NaN and Infinity are not JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def json_list(box: Box, *arguments: str) -> list[dict[str, Any]]:
    """What a command prints with `--json`."""
    done = box.notify(*arguments, "--json", check=0)
    return list(json.loads(done.stdout))


def outbox_counts(box: Box, *, holding: Sequence[str] = ()) -> OutboxCounts:
    outbox = SqliteOutbox(box.home.outbox)
    try:
        return outbox.history.counts(holding=holding)
    finally:
        outbox.close()


def add_alert_rule(box: Box, *options: str) -> str:
    """Create an alert rule; returns its id."""
    return box.notify("alerts", "add", *options, check=0).stdout.split()[0]


def emit_event(box: Box, kind: str, entity: str = "gflow/42", **options: Any) -> str:
    return syftnotify.emit(kind, entity, home=box.home.root, **options)
