"""What of a job may a message carry? Its code and the end of its logs, capped, copied while they are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from syftnotify.model import Job, Kind
from syftnotify.observe.files import UnreadableError, read_inside, signature
from syftnotify.observe.layouts import inner_parts, read_result
from syftnotify.text import shown, shown_block

FILE_CAP = 50 * 1024  # bytes read of one file of code
TOTAL_CAP = 500 * 1024  # bytes read of all the code of one job
SHOWN_CAP = 80 * 1024  # bytes of code, as UTF-8, that are kept for a message
STDERR_CAP = 8 * 1024  # bytes of the end of stderr
_MAX_LISTED = 100

_GENERATED_FOLDERS = frozenset({"__pycache__", "node_modules", "outputs", "logs", "build", "dist", "venv"})
_GENERATED_FILES = frozenset({"syft.pub.yaml", "uv.lock", "poetry.lock", "package-lock.json"})
_GENERATED_ENDS = (".pyc", ".pyo", ".egg-info", ".so", ".class")


def evidence(job: Job, kind: Kind) -> dict[str, Any]:
    """The JSON that joins the payload of an event of `kind`: `code` and `code_left_out`, or `stderr`.

    `code` is a list of {path, text, cut}; `code_left_out` a list of {path, why}.
    """
    if kind is Kind.JOB_SUBMITTED:
        return _code(job)
    if kind in {Kind.JOB_FAILED, Kind.JOB_TIMEOUT}:
        return _stderr(job)
    return {}


def _code(job: Job) -> dict[str, Any]:
    taken: list[dict[str, Any]] = []
    left_out: list[dict[str, str]] = []
    total = kept = 0
    for name, parts in _code_files(job):
        path = shown(name)
        if len(taken) + len(left_out) >= _MAX_LISTED:
            break
        if parts is None:
            left_out.append({"path": path, "why": "not a name inside the job"})
            continue
        if _is_generated(parts):
            left_out.append({"path": path, "why": "hidden or generated"})
            continue
        if total >= TOTAL_CAP or kept >= SHOWN_CAP:
            left_out.append({"path": path, "why": "too much code for one mail"})
            continue
        try:
            content, size = read_inside(job.place, parts, cap=min(FILE_CAP, TOTAL_CAP - total))
        except FileNotFoundError:
            left_out.append({"path": path, "why": "not there"})
            continue
        except UnreadableError as error:
            left_out.append({"path": path, "why": str(error)})
            continue
        total += len(content)
        if b"\0" in content:
            left_out.append({"path": path, "why": f"binary, {size} bytes"})
            continue
        text = shown_block(content.decode("utf-8", "replace")).encode("utf-8")
        room = SHOWN_CAP - kept
        cut = size > len(content) or len(text) > room
        taken.append({"path": path, "text": text[:room].decode("utf-8", "ignore"), "cut": cut})
        kept += min(len(text), room)
    left_out += [{"path": shown(name), "why": "there, but not named by the job"} for name in _unnamed(job)]
    return {"code": taken, "code_left_out": left_out}


def _code_files(job: Job) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """The names to show and where they lie below the job: `run.sh`, which is what runs, and what the job names."""
    yield "run.sh", ("run.sh",)
    if job.layout in {"C", "D"}:
        for name in job.details.get("files") or ():
            parts = inner_parts(name)
            yield name, ("code", *parts) if parts else None
        return
    entry = str(job.details.get("entrypoint") or "")
    folder = str(job.details.get("code_path") or "").rstrip("/").rpartition("/")[2]
    # Beside run.sh; in the folder that was submitted (0.1.23 and later); below code/ (0.1.3 and 0.1.4).
    for name in dict.fromkeys((entry, f"{folder}/{entry}", f"code/{entry}") if entry else ()):
        parts = inner_parts(name)
        if parts is None or signature(os.path.join(job.place, *parts))[2]:
            yield name, parts


def _unnamed(job: Job) -> list[str]:
    """What lies in `code/` although the job's own list does not name it; the list is the scientist's word."""
    if job.layout not in {"C", "D"}:
        return []
    named = {name.partition("/")[0] for name in job.details.get("files") or ()}
    code = os.path.join(job.place, "code")
    try:
        if os.path.islink(code):
            return []
        with os.scandir(code) as entries:
            found = [entry.name for entry, _ in zip(entries, range(_MAX_LISTED), strict=False)]
    except OSError:
        return []
    return sorted(name for name in found if name not in named and name not in _GENERATED_FOLDERS)


def _is_generated(parts: tuple[str, ...]) -> bool:
    hidden = any(part.startswith(".") for part in parts)
    generated = any(part in _GENERATED_FOLDERS for part in parts[:-1]) or parts[-1] in _GENERATED_FILES
    return hidden or generated or parts[-1].endswith(_GENERATED_ENDS)


def _stderr(job: Job) -> dict[str, Any]:
    try:
        content = read_result(job.results, (), "stderr.txt", job.layout, cap=STDERR_CAP + 1)
    except (FileNotFoundError, UnreadableError):
        return {"stderr": "", "stderr_cut": False}
    text = content[-STDERR_CAP:].decode("utf-8", "replace")
    return {"stderr": shown_block(text), "stderr_cut": len(content) > STDERR_CAP}
