"""Printing and reading on the terminal. Text from outside is never markup, and each encoding can print it."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from syftnotify.core.errors import NotifyError

_HANGING_INDENT = "  "  # of the further lines of a text that is wrapped
_WORDS = re.compile(r" *(?:`[^`]+`|\S)+")  # a command in backticks stays whole, so that it can be copied
_MIN_COLUMNS = 20  # a narrower table is not readable
_DEFAULT_COLUMNS = 80
_GAP, _MIN_CELL = 2, 4  # columns between two cells, and of a cell that is cut off


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)
    if console.width < _MIN_COLUMNS:  # `COLUMNS=0`, and terminals that do not report their width
        console.width = _DEFAULT_COLUMNS
    return console


out, err = _console(), _console(stderr=True)
_named_home = ""  # the option `--home` of this command with its value


def repeat_home(home: Path | None) -> None:
    """Add `--home` to printed texts with commands, so that they act on the same home; None: it is the default one."""
    global _named_home  # noqa: PLW0603 - one command runs in a process
    _named_home = "" if home is None else f"--home {shlex.quote(str(home))}"


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
    """Print a text. On a terminal its lines are wrapped between words; what is longer than a line stays whole."""
    _print_wrapped(out, text, style)


def print_paragraphs(text: str) -> None:
    """Print the text of a mail. On a terminal its lines are wrapped, except indented ones: code and output."""
    for line in text.split("\n"):
        out.print(line if line.startswith(" ") else _fitted(out, line, ""), markup=False)


def print_labeled(label: str, text: str, style: str, *, width: int = 0) -> None:
    """Print a text after a label in `style` of at least `width` columns; its further lines are below its beginning."""
    from rich.text import Text

    text = _with_home(text)
    padded = label + " " * (width - cell_len(label))
    indent = " " * (cell_len(padded) + _GAP)
    first, *others = text.split("\n")
    lines = [_fitted(out, f"{padded}{' ' * _GAP}{first}", indent)]
    lines += [_fitted(out, f"{indent}{line}", indent) for line in others]
    shown = Text("\n".join(lines))
    shown.stylize(style, 0, len(label))
    out.print(shown)


def _print_wrapped(console: Console, text: str, style: str | None = None) -> None:
    text = _with_home(text)
    lines = text.split("\n")
    indents = [" " * (len(line) - len(line.lstrip(" "))) + _HANGING_INDENT for line in lines]
    fitted = "\n".join(_fitted(console, line, indent) for line, indent in zip(lines, indents, strict=True))
    console.print(fitted, style=style, markup=False)


def _with_home(text: str) -> str:
    """A text; one with commands ends with this command's `--home`, unless it is about that option."""
    return f"{text} (with `{_named_home}`)" if _named_home and "`notify " in text and "`--home`" not in text else text


def _fitted(console: Console, line: str, indent: str) -> str:
    """A line, on a terminal wrapped; `indent` is that of its further lines."""
    if not console.file.isatty() or cell_len(line) <= console.width:
        return line
    lines, current = [], ""
    for word in _WORDS.findall(line):
        if current.strip() and cell_len(current + word) > console.width:
            lines.append(current)
            current = indent + word.lstrip(" ")
        else:
            current += word
    return "\n".join([*lines, current])


def print_rows(rows: Iterable[Sequence[str]], *, header: Sequence[str] = (), flexible: Collection[int] = ()) -> None:
    """Print each row on one line. Only on a terminal there is a `header`, and the columns `flexible` are cut to fit."""
    cells = list(rows)
    is_terminal = out.file.isatty()
    if header and is_terminal:
        cells.insert(0, header)
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    if is_terminal:
        widths = _narrowed(widths, flexible)
    for row in cells:
        fitted = (_cell(text, width) for text, width in zip(row, widths, strict=True))
        print_raw((" " * _GAP).join(fitted).rstrip())


def _narrowed(widths: list[int], flexible: Collection[int]) -> list[int]:
    """The widths of columns, of which the widest `flexible` ones are narrowed until a row fits the terminal."""
    narrowed = list(widths)
    excess = sum(widths) + _GAP * (len(widths) - 1) - out.width
    while excess > 0 and (wide := [column for column in flexible if narrowed[column] > _MIN_CELL]):
        narrowed[max(wide, key=lambda column: narrowed[column])] -= 1
        excess -= 1
    return narrowed


def _cell(text: str, width: int) -> str:
    """A text that takes `width` columns: cut off, or filled up."""
    excess = cell_len(text) - width
    if excess <= 0:
        return text + " " * -excess
    return set_cell_size(text, width - 1) + "…"


@contextmanager
def show_progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show `text` on the last line of a terminal, elsewhere nothing; the yielded function replaces the text."""
    from rich.text import Text

    with err.status(Text(text), spinner="line") as status:  # which every encoding has
        yield lambda changed: status.update(Text(changed))


def print_warning(text: str) -> None:
    """Print a warning to stderr."""
    _print_wrapped(err, f"warning: {text}", "yellow")


def print_warnings(texts: Iterable[str]) -> None:
    for text in texts:
        print_warning(text)


def print_error(error: NotifyError) -> None:
    """Print an error and its hint to stderr."""
    _print_wrapped(err, f"error: {error}", "red")
    if error.hint:
        _print_wrapped(err, f"  {error.hint}")


def is_terminal() -> bool:
    """Whether the user can be prompted."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def read_line() -> str:
    """The next line of standard input; empty if it is closed."""
    return sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
