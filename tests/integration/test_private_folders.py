"""Everything that creates files creates missing folders privately."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from syftnotify.config.secrets import encrypt
from syftnotify.core.models import Message
from syftnotify.sources.spool import emit
from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.system.paths import Home
from syftnotify.transports.maildir.sending import MaildirTransport


@pytest.mark.parametrize(
    "write",
    [
        lambda path: JsonStateManager(path / "state.json").mark_notified("job", "new"),
        lambda path: emit("job_failed", "run/1", home=path),
        lambda path: encrypt("secret", Home(path)),
        lambda path: MaildirTransport(path, clock=time.time).send(Message("id", "o@x.example", "subject", "text")),
    ],
    ids=["JsonStateManager", "emit", "encrypt", "maildir"],
)
def test_missing_folders_are_created_private_whatever_the_umask(
    tmp_path: Path, no_umask: None, write: Callable[[Path], object]
) -> None:
    """C12: also through the Python API, where no command sets the umask."""
    write(tmp_path / "a" / "b" / "c")

    created = list((tmp_path / "a").rglob("*"))
    assert tmp_path / "a" / "b" / "c" in created
    assert [path for path in (tmp_path / "a", *created) if path.stat().st_mode & 0o077] == []
