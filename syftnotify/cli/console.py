"""Printing: external text is printed as text, never as markup, whatever the encoding of the terminal."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path

from rich.console import Console

from syftnotify.core.errors import NotifyError

_NARROWEST = 20  # columns; a table in less than that shows nothing


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if console.width < _NARROWEST:  # `COLUMNS=0`, and terminals that do not know their width
        console.width = 80
    return console


out, err = _console(), _console(stderr=True)


def use_safe_streams() -> None:
    """Make both output streams escape what their encoding lacks, and replace streams that are closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the end
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def emit_line(text: str, *, flush: bool = False) -> None:
    """Print one line as it is, without the cost of formatting."""
    print(text, flush=flush)  # noqa: T201 - this is the output


def say(text: str, style: str | None = None) -> None:
    """Print one line as it is."""
    out.print(text, style=style, markup=False)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    err.print(f"warning: {text}", style="yellow", markup=False)


def complain(error: NotifyError) -> None:
    """Print an error and its hint to stderr."""
    err.print(f"error: {error}", style="red", markup=False)
    if error.hint:
        err.print(f"  {error.hint}", markup=False)


def is_terminal() -> bool:
    """Whether the user can be prompted."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def typed_line() -> str:
    """The next line of standard input; empty where it is closed."""
    return sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
