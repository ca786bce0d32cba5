"""The code of a job in a mail, limited to what mail programs show."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

# Bytes of HTML. Gmail clips a mail at 102 KB.
CODE_LIMIT = 80 * 1024
_FILE_OVERHEAD = 600  # bytes of HTML around the text of one file
_LINE_OVERHEAD = 2
_TOO_MUCH = "too much code for one mail"


def limited_code(payload: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The files to show, cut to `CODE_LIMIT`, and the list of files left out, which is never cut.

    A shown file is `{path, text, cut}`, one left out `{path, why}`.
    """
    shown: list[dict[str, Any]] = []
    left_out = list(payload.get("code_left_out") or [])
    files = list(payload.get("code") or [])
    room = CODE_LIMIT - sum(map(_listed_size, left_out)) - sum(map(_listed_size, files))
    for file in files:
        if room <= _FILE_OVERHEAD:
            left_out.append({"path": file["path"], "why": _TOO_MUCH})
            continue
        size = _html_size(file["text"])
        text = _cut(file["text"], size, room)
        shown.append({"path": file["path"], "text": text, "cut": file["cut"] or len(text) < len(file["text"])})
        room -= size
    return shown, left_out


def _html_size(text: str) -> int:
    """Bytes of HTML that one shown file takes; a line end is sent as two bytes."""
    return _FILE_OVERHEAD + len(html.escape(text).encode("utf-8")) + text.count("\n")


def _cut(text: str, size: int, room: int) -> str:
    """`text` cut to `room` bytes of HTML, assuming that every character takes the average of `size`."""
    return text if size <= room else text[: len(text) * (room - _FILE_OVERHEAD) // size]


def _listed_size(file: Mapping[str, Any]) -> int:
    """Bytes of HTML that one line of the list of left-out files takes at most."""
    return len(html.escape(f"{file['path']} ({file.get('why', _TOO_MUCH)})").encode("utf-8")) + _LINE_OVERHEAD
