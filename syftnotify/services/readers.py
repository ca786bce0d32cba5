"""Readers of the SyftBox tree for one configuration."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from syftnotify.config.load import Settings
from syftnotify.sources.syftbox.peers import PeerScanner, SentRequestScanner
from syftnotify.sources.syftbox.scanner import JobScanner
from syftnotify.system.syft_bg import NOTIFY, SYNC, syft_bg_homes


def job_reader(settings: Settings, **options: Any) -> JobScanner:
    """The reader of the owner's jobs, or of a scientist's jobs at other owners; `options` are those of `JobScanner`."""
    email = settings.config.do_email
    owner, submitter = ("", email) if settings.config.for_scientist else (email, "")
    return JobScanner(settings.root, owner, submitter=submitter, **options)


def peer_reader(settings: Settings, clock: Callable[[], float] = time.time) -> PeerScanner:
    """The reader of the owner's peers, or of the requests that a scientist sent."""
    if settings.config.for_scientist:
        return SentRequestScanner(settings.root, settings.config.do_email, (), (), clock)
    notify = settings.config.notify
    sync_states = _state_files(SYNC, notify.sync_state_path)
    notify_states = _state_files(NOTIFY, notify.notify_state_path)
    return PeerScanner(settings.root, settings.config.do_email, sync_states, notify_states, clock)


def _state_files(service: str, configured: Path | None) -> tuple[Path, ...]:
    """The state file of a service of syft-bg: the configured one, otherwise the places where it may be."""
    return (configured,) if configured else tuple(home.state(service) for home in syft_bg_homes())
