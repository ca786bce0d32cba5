"""Homes to be damaged, and what must hold after the damage."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import Box, Clock
from tests.workers import SUBMITTED, layout_d, sent, submit_pending

HOUR = 3600.0
PAGE = 4096  # bytes of a page of the database

MakeCopy = Callable[[], Box]


@contextlib.contextmanager
def maildir_blocked(box: Box, kept: Path) -> Iterator[None]:
    """Make deliveries to the Maildir fail inside the block; its mails are moved to `kept` meanwhile."""
    box.home.mail.rename(kept)
    box.home.mail.write_text("not a folder")
    yield
    box.home.mail.unlink()
    kept.rename(box.home.mail)


def create_original(folder: Path) -> Box:
    """A home that has sent mails about three jobs, and has two pending about a fourth."""
    box = Box(folder)
    box.root.mkdir()
    box.configure()
    tree = layout_d(box)
    tree.grant()
    box.scan()
    for name in ("one", "two", "three"):
        submit_pending(tree, name)
        box.clock.advance(10)
        box.scan()
    assert len(box.mails()) == 6
    with maildir_blocked(box, box.folder / "kept"):
        submit_pending(tree, "owed")
        box.clock.advance(10)
        box.scan()
    return box


def copy_of(original: Box, folder: Path) -> Box:
    """A copy of the home and its tree below `folder`; its clock is an hour later."""
    place = Path(tempfile.mkdtemp(dir=folder))
    shutil.rmtree(place)
    shutil.copytree(original.folder, place)
    box = Box(place, clock=Clock(original.clock.now + HOUR, original.clock.monotonic_now + HOUR))
    box.last_scan = original.last_scan
    box.configure()
    box.new_mails()
    return box


def assert_sent_once(box: Box) -> None:
    """After two scans the owed mails have been sent, each of them once, and no others."""
    box.scan()
    box.clock.advance(HOUR)
    box.scan()
    assert sent(box.new_mails()) == SUBMITTED


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
