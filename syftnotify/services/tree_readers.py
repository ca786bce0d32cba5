"""Readers of the SyftBox tree, as the configuration selects them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from syftnotify.config.load import Settings
from syftnotify.sources.syftbox.peers import OwnRequests, PeerReader
from syftnotify.sources.syftbox.scanner import JobReader
from syftnotify.system.paths import expanded_if_possible
from syftnotify.system.procinfo import is_alive

_COLAB_SYFT_BG = "/content/drive/MyDrive/syft-bg"


def job_reader(settings: Settings, **options: Any) -> JobReader:
    """The reader of an owner's jobs, or of the jobs that a scientist submitted to owners."""
    email = settings.config.do_email
    owner, submitter = (email, "") if settings.config.role == "owner" else ("", email)
    return JobReader(settings.root, owner, submitter=submitter, **options)


def peer_reader(settings: Settings, clock: Callable[[], float] = time.time) -> PeerReader:
    """The reader of an owner's peers, or of the owners to whom a scientist sent a request."""
    if settings.config.role == "scientist":
        return OwnRequests(settings.root, settings.config.do_email, (), (), clock)
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
    return PeerReader(settings.root, settings.config.do_email, sync, notified, clock)


def syft_bg_pid() -> int | None:
    """The pid of syft-bg's own notify service if it is alive."""
    for home in _syft_bg_homes():
        try:
            pid = int((home / "notify" / "daemon.pid").read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if pid > 0 and is_alive(pid):
            return pid
    return None


def _syft_bg_homes() -> tuple[Path, ...]:
    """The folders of syft-bg: newer releases, older ones, and on Colab."""
    return tuple(filter(None, map(expanded_if_possible, ("~/.syft-bg", "~/.syft-creds", _COLAB_SYFT_BG))))
