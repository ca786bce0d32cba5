"""The code of a job in a mail, limited to what mail programs show."""

from __future__ import annotations

import bisect
import html
from collections.abc import Mapping
from typing import Any

# Bytes of HTML. Gmail shows only the first 102 KB of a mail.
CODE_LIMIT = 80 * 1024
_FILE_OVERHEAD = 600  # bytes of HTML around the text of one file
_LINE_OVERHEAD = 2  # bytes of HTML after one line of the list of files that are left out
_TOO_MUCH = "too much code for one mail"


def limited_code(payload: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The files to show, limited to `CODE_LIMIT` in all, and the files that are left out, which are all listed.

    Shown files are dicts with `path`, `text` and `cut` (whether the end of the file is missing), the others dicts with
    `path` and `why`.
    """
    shown: list[dict[str, Any]] = []
    left_out = list(payload.get("code_left_out") or [])
    files = list(payload.get("code") or [])
    room = CODE_LIMIT - sum(map(_listed_size, left_out)) - sum(map(_listed_size, files))
    for file in files:
        if room <= _FILE_OVERHEAD:
            left_out.append({"path": file["path"], "why": _TOO_MUCH})
            continue
        text = _cut(file["text"], room)
        shown.append({"path": file["path"], "text": text, "cut": file["cut"] or len(text) < len(file["text"])})
        room -= _html_size(text)
    return shown, left_out


def _html_size(text: str) -> int:
    """Bytes of HTML of one shown file; a line end is sent as two bytes."""
    return _FILE_OVERHEAD + len(html.escape(text).encode("utf-8")) + text.count("\n")


def _cut(text: str, room: int) -> str:
    """The longest beginning of `text` that takes at most `room` bytes of HTML."""
    if _html_size(text) <= room:
        return text
    lengths = range(len(text))
    return text[: bisect.bisect_right(lengths, room, key=lambda length: _html_size(text[:length])) - 1]


def _listed_size(file: Mapping[str, Any]) -> int:
    """The maximum bytes of HTML of `file` in the list of files that are left out."""
    return len(html.escape(f"{file['path']} ({file.get('why', _TOO_MUCH)})").encode("utf-8")) + _LINE_OVERHEAD
