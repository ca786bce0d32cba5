"""Completion of names in the shell: of jobs, transports, event kinds and templates.

Completion never raises or prints; after an error it offers nothing. Shells insert what it offers as it is, and names of
the tree are not trusted: only names without characters that a shell interprets are offered.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from syftnotify.core.errors import NotifyError

if TYPE_CHECKING:
    from syftnotify.system.paths import Home

_MAX_JOBS = 500
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_@%+=,./-]*")


def job_names(context: typer.Context, incomplete: str) -> list[str]:
    """The names of the jobs with the latest events; the percent-encoded entity of a job whose name is not safe."""
    from syftnotify.runtime.opening import open_outbox
    from syftnotify.services.jobs import job_name

    try:
        with open_outbox(_home(context)) as outbox:
            jobs = outbox.history.jobs(limit=_MAX_JOBS) if outbox is not None else []
    except (NotifyError, OSError):
        return []
    named = ((job_name(job), job.entity) for job in jobs)
    return _matching((name if _SAFE_NAME.fullmatch(name) else entity for name, entity in named), incomplete)


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
    return [name for name in dict.fromkeys(names) if _SAFE_NAME.fullmatch(name) and name.startswith(incomplete)]


def _home(context: typer.Context) -> "Home":
    """The home that the line names so far. Callbacks, which find it for a command, do not run for a completion."""
    from syftnotify.system.paths import Home

    return Home.at(context.params.get("home") or context.find_root().params.get("home"))
