"""Checks of the home folder, the configuration and the templates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from syftnotify.config.load import Settings
from syftnotify.core.errors import NotifyError
from syftnotify.core.text import escape
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.services.doctor.findings import Finding, Level
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home
from syftnotify.system.permissions import PermissionProblem, foreign_owner, mode_problem


def check_access(home: Home) -> Iterator[Finding]:
    """Yield a finding only if the home cannot be read; then nothing else can be checked."""
    try:
        home.config.exists()
    except OSError as error:
        text = f"{home.root} cannot be read: {error.strerror}"
        yield Finding("home", Level.FAIL, text, "change its permissions, or choose another `--home`")


def check_folder(home: Home) -> Iterator[Finding]:
    """The folder itself, and the permissions of the files in it."""
    if not home.root.is_dir():
        yield Finding("home", Level.FAIL, f"there is no {home.root}", "run `notify init`")
        return
    try:
        check_home(home)
    except NotifyError as error:
        yield Finding("home", Level.FAIL, str(error), error.hint)
        return
    if not os.access(home.root, os.W_OK | os.X_OK):
        advice = "check its owner, its permissions, and whether the disk is read-only"
        yield Finding("home", Level.FAIL, f"{home.root} cannot be written", advice)
        return
    yield from _misplaced(home)
    problems = _permission_problems(home)
    for problem in problems:
        yield Finding("home", Level.WARN, problem.text, f"`{problem.command}`")
    if not problems:
        yield Finding("home", Level.PASS, f"only you can use {home.root}")


def check_settings(settings: Settings) -> Iterator[Finding]:
    for warning in settings.warnings:
        yield Finding("config", Level.WARN, warning)
    yield Finding("config", Level.PASS, f"{settings.home.config} is valid, for {settings.config.do_email}")
    if not settings.config.notify.enabled:
        yield Finding("config", Level.WARN, "nothing is sent", "set `notify.enabled: true`")


def check_templates(home: Home) -> Iterator[Finding]:
    """The user's own templates, if there are any."""
    if not home.templates.is_dir():
        return
    mistakes = TemplateRenderer(home.templates).errors()
    for name, mistake in mistakes.items():
        text = f"{escape(name)}: {escape(mistake)}"
        yield Finding("templates", Level.FAIL, text, f"correct it in {home.templates}")
    if not mistakes:
        yield Finding("templates", Level.PASS, f"all in {home.templates} are valid")


def _misplaced(home: Home) -> Iterator[Finding]:
    """Folders and special files where the worker expects regular files, and the reverse."""
    for path in (home.lock, home.log, home.worker_status, home.state, home.outbox):
        if os.path.exists(path) and not path.is_file():  # noqa: PTH110 - never raises
            kind = "a folder, but the worker needs a file there" if path.is_dir() else "not a file"
            yield _move_away(path, kind)
    if os.path.lexists(home.spool) and not home.spool.is_dir():
        yield _move_away(home.spool, "not a folder, but the worker keeps emitted events there")


def _move_away(path: Path, kind: str) -> Finding:
    return Finding("home", Level.FAIL, f"{path} is {kind}", f"move it away: `mv {path} {path}.old`")


def _permission_problems(home: Home) -> list[PermissionProblem]:
    """The problems of files that others own or can read."""
    files = [path for path in (home.state, home.outbox, home.log, home.worker_status) if path.is_file()]
    return [found for problem_of in (foreign_owner, mode_problem) for path in files if (found := problem_of(path))]
