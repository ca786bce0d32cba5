"""Printing: what comes from outside is text, never markup."""

from __future__ import annotations

import sys

from rich.console import Console

from syftnotify.errors import NotifyError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str, style: str | None = None) -> None:
    """One line for the person, shown as it is."""
    out.print(text, style=style, markup=False)


def warn(text: str) -> None:
    """One line about something that works but should be looked at."""
    err.print(f"warning: {text}", style="yellow", markup=False)


def complain(error: NotifyError) -> None:
    """What went wrong, and what to do."""
    err.print(f"error: {error}", style="red", markup=False)
    if error.hint:
        err.print(f"  {error.hint}", markup=False)


def is_terminal() -> bool:
    """Whether somebody sits there who could be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
