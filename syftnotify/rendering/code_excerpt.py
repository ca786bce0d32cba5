"""The parts of a review in a mail, limited to what mail programs show: code, diffs, names."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from syftnotify.core.submissions import TOO_MUCH_CODE
from syftnotify.core.text import html_size
from syftnotify.rendering.filters import unlinked

# Gmail shows only the first 102 KB of a mail's HTML. Bytes of it that code, diffs and lists may take in all, and those
# that other parts than the code may take, so that nothing takes the place of the entry point.
HTML_LIMIT = 80 * 1024
_CHANGES_LIMIT = 20 * 1024
_LEFT_OUT_LIMIT = 28 * 1024
_NAMES_LIMIT = 2 * 1024  # dependencies; and datasets
LINE_LIMIT = 400  # lines of code in one mail; nobody reads more in a mail program
_FIRST_FILE = 250  # lines that the first file may have in any case
_FILE_OVERHEAD = 400  # bytes of HTML around the text of one file
_LINE_OVERHEAD = 40  # bytes of HTML around one line of code, of a diff, or of the list of files that are left out
_LISTED_OVERHEAD = 24  # bytes of HTML around a file that is left out
_NOTE_SIZE = 40  # bytes of the note about the rest of a line


def limited_code(payload: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The files to show, limited to `HTML_LIMIT` and `LINE_LIMIT` in all, and the files that are left out.

    Shown files are dicts with `path`, `lines` (pairs of number and text), `omitted` (the number of lines that are not
    shown), `cut` (whether more follow that were not read) and `total` (the number of lines that were read).
    """
    shown: list[dict[str, Any]] = []
    left_out = list(payload.get("code_left_out") or [])
    files = [(file, str(file["text"]).splitlines()) for file in payload.get("code") or []]
    changes = min(_CHANGES_LIMIT, _size_of_changes(payload.get("review")))
    list_limit = _LEFT_OUT_LIMIT + _CHANGES_LIMIT - changes
    listed = sum(map(_listed_size, (*left_out, *(file for file, _ in files))))
    room = HTML_LIMIT - 2 * _NAMES_LIMIT - changes - min(listed, list_limit)
    others = sum(len(lines) for _, lines in files[1:])
    lines_left = LINE_LIMIT
    for number, (file, lines) in enumerate(files):
        is_first = number == 0 and others > 0
        limit = max(_FIRST_FILE, LINE_LIMIT - others) if number == 0 else lines_left
        fitting, size = _fitting(lines[:limit], room * 3 // 4 if is_first else room)
        count = len(fitting)
        if lines and not count:
            left_out.append({"path": file["path"], "why": TOO_MUCH_CODE})
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
    return shown, _limited_list(left_out, list_limit)


def _limited_list(left_out: Sequence[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """As many files as fit into `room` bytes of HTML; the rest is counted. Counts of folders are always listed."""
    counts = [file for file in left_out if file.get("count")]
    others = [file for file in left_out if not file.get("count")]
    room -= sum(map(_listed_size, counts))
    for number, file in enumerate(others):
        room -= _listed_size(file)
        if room < 0:
            return [*others[:number], {"path": "", "more": len(others) - number}, *counts]
    return list(left_out)


def limited_changes(changes: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The changes of files, as JSON, with as many lines as there is room for, and the number of further changes."""
    room = _CHANGES_LIMIT
    given, shown = list(changes), list[dict[str, Any]]()
    for change in given:
        room -= _FILE_OVERHEAD + _name_size(str(change["path"]))
        if room < 0:
            break
        lines = change["lines"]
        count = 0
        while count < len(lines) and room >= _line_size(lines[count][2]):
            room -= _line_size(lines[count][2])
            count += 1
        shown.append({**change, "lines": lines[:count], "omitted": change["omitted"] + len(lines) - count})
    return shown, len(given) - len(shown)


def limited_names(names: Sequence[str]) -> int:
    """How many of the names of dependencies or datasets there is room for."""
    room = _NAMES_LIMIT
    for count, name in enumerate(names):
        room -= _name_size(name) + _LINE_OVERHEAD
        if room < 0:
            return count
    return len(names)


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
    length = bisect.bisect_right(lengths, room - _NOTE_SIZE, key=lambda length: html_size(line[:length])) - 1
    return f"{line[:length]}… [{len(line) - length} more characters]" if length > _NOTE_SIZE else ""


def _line_size(line: str) -> int:
    return _LINE_OVERHEAD + html_size(line)


def _name_size(text: str) -> int:
    """The bytes of HTML of a name, with what keeps mail programs from making links of it."""
    return len(unlinked(text).encode("utf-8"))


def _size_of_changes(review: Any) -> int:
    """The bytes of HTML of the diffs."""
    comparison = review.get("comparison") if isinstance(review, Mapping) else None
    changes: Iterable[Mapping[str, Any]] = comparison["changes"] if comparison else ()
    return sum(_FILE_OVERHEAD + sum(_line_size(line[2]) for line in change["lines"]) for change in changes)


def _listed_size(file: Mapping[str, Any]) -> int:
    """The maximum bytes of HTML of `file` in the list of files that are left out."""
    return _name_size(f"{file['path']} ({file.get('why', TOO_MUCH_CODE)})") + _LISTED_OVERHEAD
