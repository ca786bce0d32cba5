"""Printing and reading on the terminal. Text from outside is never markup, and each encoding can print it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from rich.console import Console

from syftnotify.core.errors import NotifyError

_MIN_COLUMNS = 20  # a narrower table is not readable
_DEFAULT_COLUMNS = 80
_GAP, _MIN_CELL = 2, 4  # columns between two cells, and of a cell that is cut off
_UNLIMITED_COLUMNS = 10_000  # in a pipe or a file: programs read whole lines


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNLIMITED_COLUMNS
    elif console.width < _MIN_COLUMNS:  # `COLUMNS=0`, and terminals that do not report their width
        console.width = _DEFAULT_COLUMNS
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


def flush_output() -> None:
    """Write what is buffered for stdout: in a pipe or a file, all that the command printed.

    Raises:
        OSError: it cannot be written. The rest of the output is dropped: the interpreter would fail again at its exit.
    """
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
        raise


def print_raw(text: str, *, flush: bool = False) -> None:
    """Print one line as it is. Rich, which `print_line` uses, takes much longer."""
    print(text, flush=flush)  # noqa: T201 - this is the output


def print_json(value: Any) -> None:
    """Print `value` as JSON on one line."""
    import json

    print_raw(json.dumps(value))


def print_line(text: str, style: str | None = None) -> None:
    out.print(text, style=style, markup=False)


def print_rows(rows: Iterable[Sequence[str]], *, flexible: Collection[int] = ()) -> None:
    """Print each row on one line. Where a terminal is too narrow, the columns `flexible` are cut off."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    cells = list(rows)
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    # Rich would shrink all columns by the same share.
    excess = sum(widths) + _GAP * (len(widths) - 1) - out.width
    for _ in range(excess if flexible else 0):
        widest = max(flexible, key=lambda column: widths[column])
        widths[widest] = max(_MIN_CELL, widths[widest] - 1)
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for width in widths:
        table.add_column(no_wrap=True, overflow="ellipsis", width=width)
    for row in cells:
        table.add_row(*map(Text, row))
    out.print(table)


@contextmanager
def show_progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show `text`, and later what the result is called with, on the last line of a terminal; elsewhere nothing."""
    with err.status(text, spinner="line") as status:  # which every encoding has
        yield status.update


def print_warning(text: str) -> None:
    """Print a warning to stderr."""
    err.print(f"warning: {text}", style="yellow", markup=False)


def print_warnings(texts: Iterable[str]) -> None:
    for text in texts:
        print_warning(text)


def print_error(error: NotifyError) -> None:
    """Print an error and its hint to stderr."""
    err.print(f"error: {error}", style="red", markup=False)
    if error.hint:
        err.print(f"  {error.hint}", markup=False)


def is_terminal() -> bool:
    """Whether the user can be prompted."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def read_line() -> str:
    """The next line of standard input; empty if it is closed."""
    return sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
