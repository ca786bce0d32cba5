"""Helpers to emit events and scan them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

import syftnotify
from tests.support import Box

GOOD_EVENT: dict[str, Any] = {"kind": "job_failed", "entity": "x", "occurrence": "o", "at": "", "payload": {}}


def emit(box: Box, kind: str = "job_failed", entity: str = "run/1", **more: Any) -> str:
    return syftnotify.emit(kind, entity, home=box.home.root, **more)


def spooled(box: Box) -> list[dict[str, Any]]:
    """The events in the spool, oldest first; fails if a file is incomplete."""
    return [json.loads(path.read_bytes()) for path in sorted(box.home.spool.glob("*.json"))]


def scan_all(box: Box) -> list[str]:
    """Scan until the spool is empty; returns the first entity of each mail."""
    while box.scan().rescan_soon:
        pass
    return [mail.entities[0] for mail in box.mails()]


def scanned(box: Box) -> list[tuple[str, str]]:
    """Scan; returns event and recipient of each new mail."""
    box.scan()
    return sorted((mail.event, mail.to) for mail in box.new_mails())


def scanned_after(box: Box, minutes: float) -> list[tuple[str, str]]:
    box.clock.advance(minutes * 60)
    return scanned(box)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def entities_of(box: Box) -> list[str]:
    """The first entity of each mail."""
    return [mail.entities[0] for mail in box.mails()]
