"""Readers of the SyftBox tree for one configuration."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from syftnotify.config.load import Settings
from syftnotify.sources.syftbox.peers import PeerScanner, SentRequestScanner
from syftnotify.sources.syftbox.scanner import JobScanner
from syftnotify.system.paths import try_expand_path
from syftnotify.system.procinfo import is_alive

_COLAB_SYFT_BG = "/content/drive/MyDrive/syft-bg"


def job_reader(settings: Settings, **more: Any) -> JobScanner:
    """The reader of the owner's jobs, or of a scientist's jobs at other owners."""
    email = settings.config.do_email
    owner, submitter = ("", email) if settings.config.for_scientist else (email, "")
    return JobScanner(settings.root, owner, submitter=submitter, **more)


def _syft_bg_homes() -> tuple[Path, ...]:
    """Folders in which syft-bg keeps its state: newer releases, older ones, and on Colab."""
    return tuple(filter(None, map(try_expand_path, ("~/.syft-bg", "~/.syft-creds", _COLAB_SYFT_BG))))


def syft_bg_pid() -> int | None:
    """The pid of syft-bg's own notifier if it runs; otherwise None."""
    for home in _syft_bg_homes():
        try:
            pid = int((home / "notify" / "daemon.pid").read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if pid > 0 and is_alive(pid):
            return pid
    return None


def peer_reader(settings: Settings, clock: Callable[[], float] = time.time) -> PeerScanner:
    """The reader of the owner's peers, or of the requests that a scientist sent."""
    if settings.config.for_scientist:
        return SentRequestScanner(settings.root, settings.config.do_email, (), (), clock)
    notify = settings.config.notify
    homes = _syft_bg_homes()
    sync = (
        (notify.sync_state_path,) if notify.sync_state_path else tuple(home / "sync" / "state.json" for home in homes)
    )
    notified = (
        (notify.notify_state_path,)
        if notify.notify_state_path
        else tuple(home / "notify" / "state.json" for home in homes)
    )
    return PeerScanner(settings.root, settings.config.do_email, sync, notified, clock)
