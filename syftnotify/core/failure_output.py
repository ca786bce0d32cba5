"""What the error output of a failed run contains: the exception, its place in the code, and the noise of tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_FRAME = re.compile(r'\s*(?:\|\s*)?File "(?P<path>[^"]+)", line (?P<line>\d{1,7})(?:, in (?P<function>.+))?')
# Parts of the paths of code that is not the job's own: the standard library, installed packages, generated code.
_FOREIGN = ("site-packages/", "dist-packages/", "/lib/python", "/lib64/python", ".venv/", "/venv/", "<")
_MARGIN = re.compile(r"\s*(?:\|\s?|\+-[-+]*(?:\s\d+\s-+)?\s*$)")  # of an exception group
_MAX_AFTER = 20  # lines after the traceback that ended a run
_NO_REASONS = frozenset({"Execution halted", "--- PROCESS TIMED OUT ---"})  # of R, and of syft-job
_TRACEBACK = "Traceback (most recent call last):"
# Lines of the tools that prepare a run, and of the module `logging` below WARNING.
_NOISE = re.compile(
    r"""
    \s*(?:
        Using\ (?:CPython|Python|cached)\b | Creating\ virtual\ ?env | Activate\ with | Resolved\ \d | Prepared\ \d
        | Installed\ \d | Uninstalled\ \d | Audited\ \d | Updated\ | Updating\ | Downloading\ | Downloaded\ | Built\ \S
        | Building\ \S | Bytecode\ compiled | Collecting\ | Requirement\ already\ satisfied | Installing\ collected
        | Installing\ build | Getting\ requirements | Preparing\ metadata | Successfully\ (?:installed|built)
        | Attempting\ uninstall | Found\ existing\ installation | Defaulting\ to\ user | Looking\ in\ indexes
        | \[notice\] | [+~-]\ [A-Za-z0-9._-]+==\S+$ | ━ | warning:\ .?VIRTUAL_ENV | warning:\ Failed\ to\ hardlink
        | If\ the\ cache\ and\ target | WARNING:\ Running\ pip
        | (?:INFO|DEBUG)[:\s]
        | [\[(]?\d{4}-\d\d-\d\d[T\ ]\d\d:\d\d:\d\d\S*\ .{0,60}?\b(?:INFO|DEBUG)\b
    )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Frame:
    """A line of code in a traceback; `path` is as the interpreter shows it."""

    path: str
    line: int
    function: str = ""


@dataclass(frozen=True, slots=True)
class FailureOutput:
    """The parts of an error output."""

    exception: str = ""  # the last exception or error on one line; empty: there is no output
    frame: Frame | None = None  # the last one in the job's own code
    relevant: str = ""  # the output without the noise of tools
    noise: str = ""  # these lines


def analyze_failure(output: str) -> FailureOutput:
    """The parts of `output`, the end of the stderr of a run. Lines of a traceback are never noise."""
    lines = output.rstrip().splitlines()
    in_traceback = _traceback_lines(lines)
    is_noise = [not inside and _NOISE.match(line) is not None for line, inside in zip(lines, in_traceback, strict=True)]
    relevant = [line for line, noisy in zip(lines, is_noise, strict=True) if not noisy]
    noise = [line for line, noisy in zip(lines, is_noise, strict=True) if noisy]
    start = _last_traceback(lines)
    frames = [frame for line in lines[start:] if (frame := _frame(line)) is not None]
    if len(lines) - _end_of_traceback(in_traceback) > _MAX_AFTER:  # it was handled, and the run went on
        frames = []
    own = [frame for frame in frames if not any(part in frame.path for part in _FOREIGN)]
    return FailureOutput(
        exception=_exception(lines, start) if frames else _last_line(relevant),
        frame=own[-1] if own else None,
        relevant="\n".join(relevant).strip("\n"),
        noise="\n".join(noise),
    )


def _frame(line: str) -> Frame | None:
    match = _FRAME.match(line)
    return match and Frame(match["path"], int(match["line"]), (match["function"] or "").strip())


def _last_traceback(lines: Sequence[str]) -> int:
    """The index of the line at which the last traceback begins; 0 if its beginning is cut off."""
    return max((index for index, line in enumerate(lines) if _TRACEBACK in line), default=0)


def _traceback_lines(lines: Sequence[str]) -> list[bool]:
    """Whether each line belongs to a traceback: from its first line or frame up to the line with the exception."""
    inside, found = False, []
    for line in lines:
        begins = _TRACEBACK in line or _frame(line) is not None
        inside = inside or begins
        found.append(inside)
        if inside and not begins and line.strip() and not line[:1].isspace():
            inside = False  # this is the exception
    return found


def _end_of_traceback(in_traceback: Sequence[bool]) -> int:
    """The number of lines up to the end of the last traceback; 0 if there is none."""
    return max((index + 1 for index, inside in enumerate(in_traceback) if inside), default=0)


def _exception(lines: Sequence[str], start: int) -> str:
    """The first line after the last frame of the traceback at `start` that is not indented."""
    last = max(index for index, line in enumerate(lines) if index >= start and _frame(line) is not None)
    after = (_MARGIN.sub("", line) for line in lines[last + 1 :] if not line[:1].isspace() or _MARGIN.match(line))
    return next((line.strip() for line in after if line.strip() and not line[:1].isspace()), _last_line(lines))


def _last_line(lines: Sequence[str]) -> str:
    """The last line with a reason. R and syft-job write another line after it."""
    reasons = [line.strip() for line in lines if line.strip() and line.strip() not in _NO_REASONS]
    return reasons[-1] if reasons else next((line.strip() for line in reversed(lines) if line.strip()), "")
