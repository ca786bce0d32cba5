"""The code of a job in a mail, limited to what mail programs show."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Gmail shows only the first 102 KB of a mail's HTML. This is what code, diffs and lists of files may take of it.
HTML_LIMIT = 82 * 1024
LINE_LIMIT = 400  # lines of code in one mail; nobody reads more in a mail program
_FIRST_FILE = 250  # lines that the first file may have in any case
_FILE_OVERHEAD = 400  # bytes of HTML around the text of one file
_LINE_OVERHEAD = 40  # bytes of HTML around one line of code, of a diff, or of the list of files that are left out
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
        limit = lines_left if number else max(_FIRST_FILE, LINE_LIMIT - others)
        count, size = _fitting(lines[:limit], room)
        if lines and not count:
            left_out.append({"path": file["path"], "why": _TOO_MUCH})
            continue
        total = max(len(lines), int(file.get("lines") or 0))
        shown.append(
            {
                "path": file["path"],
                "lines": list(enumerate(lines[:count], 1)),
                "omitted": total - count,
                "cut": bool(file.get("cut")),
                "total": total,
            }
        )
        room -= size
        lines_left -= count
    return shown, left_out


def _fitting(lines: Sequence[str], room: int) -> tuple[int, int]:
    """How many of `lines` fit into `room` bytes of HTML, and their size with that of the file around them."""
    size = _FILE_OVERHEAD
    for count, line in enumerate(lines):
        added = _line_size(line)
        if size + added > room:
            return count, size
        size += added
    return len(lines), size


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
