"""All checks of a home, in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache

from syftnotify.config.load import Settings
from syftnotify.core.errors import NotifyError
from syftnotify.services.doctor.access import StateAccess
from syftnotify.services.doctor.database import check_database
from syftnotify.services.doctor.findings import Finding, Level
from syftnotify.services.doctor.home import check_access, check_folder, check_settings, check_templates
from syftnotify.services.doctor.machine import check_clock, check_disk, check_syft_bg, check_watch_limit
from syftnotify.services.doctor.state import check_ledger, check_locks, check_outbox
from syftnotify.services.doctor.transports import check_transports
from syftnotify.services.doctor.tree import check_other_stores, check_peers, check_root
from syftnotify.services.settings import load_reporting_all
from syftnotify.system.paths import Home
from syftnotify.transports.ping import server_time


def run_checks(home: Home, state: StateAccess, *, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Run all checks of `home`; those that need the configuration are left out if it cannot be used."""
    unreadable = list(check_access(home))
    if unreadable:
        yield from unreadable
        return
    yield from check_folder(home)
    cached_server_time = cache(server_time)  # one request per URL
    settings: Settings | None = None
    try:
        settings = load_reporting_all(home)
    except NotifyError as error:
        yield Finding("config", Level.FAIL, str(error), error.hint)
    else:
        yield from check_settings(settings)
        yield from check_root(settings)
        yield from check_other_stores(settings)
        yield from check_peers(settings, clock)
        yield from check_transports(settings, clock, cached_server_time)
        yield from check_templates(home)
    yield from check_clock(home, settings, clock, cached_server_time)
    yield from check_disk(home)
    yield from check_locks(home, clock)
    yield from check_ledger(home, state)
    yield from check_database(state)
    yield from check_outbox(home, settings, state, clock)
    if settings is not None:
        yield from check_watch_limit(settings)
    yield from check_syft_bg(home)
