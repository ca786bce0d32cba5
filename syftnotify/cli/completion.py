"""Completion of names in the shell: of jobs, transports, event kinds and templates.

A completion must not fail or write into the line that is edited: after an error nothing is offered.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from syftnotify.core.errors import NotifyError

if TYPE_CHECKING:
    from syftnotify.system.paths import Home

_MAX_JOBS = 500


def job_names(context: typer.Context, incomplete: str) -> list[str]:
    """The names of the jobs with the latest events."""
    from syftnotify.runtime.opening import open_outbox
    from syftnotify.services.jobs import job_name

    try:
        with open_outbox(_home(context)) as outbox:
            jobs = outbox.history.jobs(limit=_MAX_JOBS) if outbox is not None else []
    except (NotifyError, OSError):
        return []
    return _matching((job_name(job) for job in jobs), incomplete)


def transport_names(context: typer.Context, incomplete: str) -> list[str]:
    """The transports of the configuration."""
    from syftnotify.services.settings import load

    try:
        return _matching(load(_home(context)).config.transports, incomplete)
    except (NotifyError, OSError):
        return []


def event_kinds(incomplete: str) -> list[str]:
    """The names of event kinds."""
    from syftnotify.core.kinds import EventKind

    return _matching(EventKind, incomplete)


def template_or_kind_names(incomplete: str) -> list[str]:
    """The names of mail templates and of event kinds."""
    from syftnotify.services.preview import template_names

    return [*_matching(template_names(), incomplete), *event_kinds(incomplete)]


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _home(context: typer.Context) -> "Home":
    """The home that the line names so far. Callbacks, which find it for a command, do not run for a completion."""
    from syftnotify.system.paths import Home

    return Home.at(context.params.get("home") or context.find_root().params.get("home"))
