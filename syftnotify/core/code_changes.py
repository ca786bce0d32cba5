"""Comparison of a submission with the most similar earlier one: which files differ, and how."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from syftnotify.core.submissions import Submission

# Files in which submissions of unrelated code are alike too.
_GENERIC_FILES = frozenset({"run.sh", "config.yaml"})
_MIN_SIMILARITY = 0.2  # share of common lines below which submissions count as unrelated
_CONTEXT = 3  # unchanged lines around a change
_MAX_COMPARED = 3000  # lines of one file; difflib needs 0.3 s for 8,000 lines in another order
MAX_DIFF_LINES = 160  # of all files


class ChangeType(StrEnum):
    """What happened to a file."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


class LineMark(StrEnum):
    """What a line of a diff is."""

    CONTEXT = " "
    ADDED = "+"
    REMOVED = "-"
    GAP = "@"  # unchanged lines are left out here


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line of a unified diff. `number` is that in the new file, in the old one for a removed line, 0 for a gap."""

    mark: LineMark
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that differs. `lines` is empty for added and removed files, and for those too large to compare."""

    path: str
    type: ChangeType
    added: int = 0  # lines
    removed: int = 0
    lines: tuple[DiffLine, ...] = ()
    omitted: int = 0  # lines of the diff that are left out


def most_similar(files: Mapping[str, str], earlier: Iterable[Submission]) -> Submission | None:
    """The submission in `earlier` that has the most lines in common with `files`, texts by path.

    The generic files do not count, unless there are no others. Of equally similar ones the first is returned, None if
    none has a fifth of the lines in common.
    """
    lines = _significant_lines(files)
    best, best_similarity = None, _MIN_SIMILARITY
    for submission in earlier:
        other = _significant_lines(submission.files)
        similarity = len(lines & other) / len(lines | other) if lines | other else 1.0
        if similarity > best_similarity or (best is None and similarity == best_similarity):
            best, best_similarity = submission, similarity
    return best


def _significant_lines(files: Mapping[str, str]) -> set[str]:
    texts = [text for path, text in files.items() if path not in _GENERIC_FILES]
    if not texts:
        texts = [text for path, text in files.items() if path != "config.yaml"]
    return {line.strip() for text in texts for line in text.splitlines() if line.strip()}


def compare(
    before: Mapping[str, str], after: Mapping[str, str], *, max_lines: int = MAX_DIFF_LINES
) -> list[FileChange]:
    """The files that differ between `before` and `after`, texts by path: first those of `after` in their order.

    The diffs have at most `max_lines` lines in all.
    """
    changes = []
    for path, text in after.items():
        old = before.get(path)
        if old is None:
            changes.append(FileChange(path, ChangeType.ADDED, added=len(text.splitlines())))
        elif old != text:
            change = _changed(path, old, text, max_lines)
            max_lines -= len(change.lines)
            changes.append(change)
    gone = [path for path in before if path not in after]
    return changes + [FileChange(path, ChangeType.REMOVED, removed=len(before[path].splitlines())) for path in gone]


def _changed(path: str, before: str, after: str, max_lines: int) -> FileChange:
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > _MAX_COMPARED:
        return FileChange(path, ChangeType.CHANGED)
    lines = _diff(old, new)
    return FileChange(
        path,
        ChangeType.CHANGED,
        added=sum(line.mark is LineMark.ADDED for line in lines),
        removed=sum(line.mark is LineMark.REMOVED for line in lines),
        lines=tuple(lines[:max_lines]),
        omitted=max(0, len(lines) - max_lines),
    )


def _diff(old: Sequence[str], new: Sequence[str]) -> list[DiffLine]:
    lines: list[DiffLine] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for number, group in enumerate(matcher.get_grouped_opcodes(_CONTEXT)):
        if number or group[0][3]:  # the diff does not begin at the first line
            lines.append(DiffLine(LineMark.GAP, 0, ""))
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                lines += _numbered(LineMark.CONTEXT, new, new_start, new_end)
                continue
            lines += _numbered(LineMark.REMOVED, old, old_start, old_end)
            lines += _numbered(LineMark.ADDED, new, new_start, new_end)
    return lines


def _numbered(mark: LineMark, lines: Sequence[str], start: int, end: int) -> list[DiffLine]:
    return [DiffLine(mark, index + 1, lines[index]) for index in range(start, end)]
