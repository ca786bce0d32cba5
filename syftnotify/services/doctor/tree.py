"""Checks of the SyftBox folder and of the source of peers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from syftnotify.config.load import Settings
from syftnotify.core.text import age_text, escape, plural
from syftnotify.services.doctor.findings import Finding, Level
from syftnotify.services.readers import job_reader, peer_reader
from syftnotify.sources.syftbox.other_stores import other_stores
from syftnotify.system import worker_status


def check_root(settings: Settings) -> Iterator[Finding]:
    yield _find_root_problem(settings.root) or _check_job_folders(settings)


def _find_root_problem(root: Path) -> Finding | None:
    """The finding that the SyftBox folder cannot be read; None if it can."""
    try:
        is_folder = root.is_dir()
        is_other = not is_folder and root.exists()
        is_readable = is_folder and os.access(root, os.R_OK | os.X_OK)
    except OSError:
        is_folder = is_other = is_readable = False
    if is_other:
        return Finding("SyftBox", Level.FAIL, f"{root} is not a folder", "set `syftbox_root` to the SyftBox folder")
    if not is_folder:
        advice = "the worker waits for it; or set `syftbox_root`"
        return Finding("SyftBox", Level.WARN, f"{root} does not exist yet", advice)
    if not is_readable:
        return Finding("SyftBox", Level.FAIL, f"{root} cannot be read", "change its permissions")
    return None


def _check_job_folders(settings: Settings) -> Finding:
    root, email = settings.root, settings.config.do_email
    is_owner = not settings.config.for_scientist
    if folders := job_reader(settings).job_folders():
        relation = f"of {email}" if is_owner else f"to which {email} may have submitted"
        return Finding("SyftBox", Level.PASS, f"{root} has {plural(len(folders), 'job folder')} {relation}")
    if not is_owner:
        return Finding("SyftBox", Level.PASS, f"{root} has no job folder of any data owner yet")
    advice = "check that `do_email` is your address in SyftBox"
    return Finding("SyftBox", Level.WARN, f"{root} has no job folder of {email}", advice)


def check_other_stores(settings: Settings) -> Iterator[Finding]:
    """Whether another program keeps jobs of the owner where they are not read."""
    for program, folder in other_stores(settings.root, settings.config.do_email):
        text = f"{escape(str(folder))} contains jobs of {program}, which are not read"
        yield Finding("SyftBox", Level.WARN, text, "nobody is notified about them; move to a client that uses syft-job")


def check_peers(settings: Settings, clock: Callable[[], float]) -> Iterator[Finding]:
    """Whether there is a sync snapshot with the peers."""
    if not settings.config.notify.monitor_peers:
        return
    reader = peer_reader(settings, clock)
    count = len(reader.scan())
    status = reader.status
    if status is None:  # a scientist's machine has none
        return
    if status.problem:
        text, advice = worker_status.peer_source_notice(status.problem)
        yield Finding("peers", Level.WARN, text, advice)
        return
    age = "" if status.synced_at is None else f", synced {age_text(clock() - status.synced_at)} ago"
    yield Finding("peers", Level.PASS, f"{plural(count, 'peer')}, by the sync snapshot in {status.path}{age}")
