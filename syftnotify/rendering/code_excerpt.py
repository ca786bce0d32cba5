"""The code of a job in a mail, limited to what mail programs show."""

from __future__ import annotations

import bisect
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Gmail shows only the first 102 KB of a mail's HTML. This is what code, diffs and lists of files may take of it.
HTML_LIMIT = 82 * 1024
LINE_LIMIT = 400  # lines of code in one mail; nobody reads more in a mail program
_FIRST_FILE = 250  # lines that the first file may have in any case
_FILE_OVERHEAD = 400  # bytes of HTML around the text of one file
_LINE_OVERHEAD = 40  # bytes of HTML around one line of code, of a diff, or of the list of files that are left out
_NOTE_SIZE = 40  # bytes of the note about the rest of a line
_TOO_MUCH = "too much code for one mail"


def limited_code(payload: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The files to show, limited to `HTML_LIMIT` and `LINE_LIMIT` in all, and the files that are left out.

    Shown files are dicts with `path`, `lines` (pairs of number and text), `omitted` (the number of lines that are not
    shown), `cut` (whether more follow that were not read) and `total` (the number of lines that were read).
    """
    shown: list[dict[str, Any]] = []
    left_out = list(payload.get("code_left_out") or [])
    files = [(file, str(file["text"]).splitlines()) for file in payload.get("code") or []]
    room = HTML_LIMIT - sum(map(_listed_size, left_out)) - _size_of_changes(payload.get("review"))
    room -= sum(_listed_size(file) for file, _ in files)
    others = sum(len(lines) for _, lines in files[1:])
    lines_left = LINE_LIMIT
    for number, (file, lines) in enumerate(files):
        is_first = number == 0 and others > 0
        limit = max(_FIRST_FILE, LINE_LIMIT - others) if number == 0 else lines_left
        fitting, size = _fitting(lines[:limit], room * 3 // 4 if is_first else room)
        count = len(fitting)
        if lines and not count:
            left_out.append({"path": file["path"], "why": _TOO_MUCH})
            continue
        total = max(len(lines), int(file.get("lines") or 0))
        shown.append(
            {
                "path": file["path"],
                "lines": list(enumerate(fitting, 1)),
                "omitted": total - count,
                "cut": bool(file.get("cut")),
                "total": total,
            }
        )
        room -= size
        lines_left -= count
    return shown, left_out


def _fitting(lines: Sequence[str], room: int) -> tuple[list[str], int]:
    """The first of `lines`, as many as fit into `room` bytes of HTML, and their size with that of the file around them.

    If not even the first one fits, its beginning.
    """
    size = _FILE_OVERHEAD
    for count, line in enumerate(lines):
        added = _line_size(line)
        if size + added <= room:
            size += added
        elif count:
            return list(lines[:count]), size
        else:
            beginning = _beginning(line, room - size - _LINE_OVERHEAD)
            return [beginning] if beginning else [], room
    return list(lines), size


def _beginning(line: str, room: int) -> str:
    """As much of a line as takes at most `room` bytes of HTML, with a note; empty if that is nearly nothing."""
    lengths = range(len(line))
    length = bisect.bisect_right(lengths, room - _NOTE_SIZE, key=lambda length: _html_size(line[:length])) - 1
    return f"{line[:length]}… [{len(line) - length} more characters]" if length > _NOTE_SIZE else ""


def _line_size(line: str) -> int:
    return _LINE_OVERHEAD + _html_size(line)


def _html_size(text: str) -> int:
    return len(html.escape(text).encode("utf-8"))


def _size_of_changes(review: Any) -> int:
    """The bytes of HTML of the diffs."""
    comparison = review.get("comparison") if isinstance(review, Mapping) else None
    changes: Iterable[Mapping[str, Any]] = comparison["changes"] if comparison else ()
    return sum(_FILE_OVERHEAD + sum(_line_size(line[2]) for line in change["lines"]) for change in changes)


def _listed_size(file: Mapping[str, Any]) -> int:
    """The maximum bytes of HTML of `file` in the list of files that are left out."""
    return _html_size(f"{file['path']} ({file.get('why', _TOO_MUCH)})") + _LINE_OVERHEAD
