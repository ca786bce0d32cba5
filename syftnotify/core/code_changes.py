"""Comparison of a submission with the most similar earlier one: which files differ, and how."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from syftnotify.core.submissions import Submission

# Files in which submissions of unrelated code are alike too.
_GENERIC_FILES = frozenset({"run.sh", "config.yaml"})
_MIN_SIMILARITY = 0.2  # share of common lines below which submissions count as unrelated
_CONTEXT = 3  # unchanged lines around a change
# Steps that difflib takes at most: pairs of equal lines, times the shorter number of lines. It takes 0.4 s for these.
_MAX_STEPS = 20_000_000
_POPULAR = 100  # a line that occurs more often than once in so many lines does not connect two texts
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
    budget = _Budget()
    for path, text in after.items():
        old = before.get(path)
        if old is None:
            changes.append(FileChange(path, ChangeType.ADDED, added=len(text.splitlines())))
        elif old != text:
            change = _changed(path, old, text, max_lines, budget)
            max_lines -= len(change.lines)
            changes.append(change)
    gone = [path for path in before if path not in after]
    return changes + [FileChange(path, ChangeType.REMOVED, removed=len(before[path].splitlines())) for path in gone]


class _Budget:
    """The steps that are left for the comparison of all files; a scientist can choose texts that need very many."""

    def __init__(self) -> None:
        self._steps = _MAX_STEPS

    def matcher(self, old: Sequence[str], new: Sequence[str]) -> difflib.SequenceMatcher[str] | None:
        """A matcher that takes no more steps than are left; None: there is none."""
        counts = Counter(old), Counter(new)
        limit = max(len(old), len(new)) // _POPULAR + 1
        for autojunk in (False, True):  # the latter ignores popular lines of long texts
            pairs = sum(
                count * counts[1][line]
                for line, count in counts[0].items()
                if not (autojunk and len(new) >= 2 * _POPULAR and counts[1][line] > limit)
            )
            steps = pairs * min(len(old), len(new))
            if steps <= self._steps:
                self._steps -= steps
                return difflib.SequenceMatcher(None, old, new, autojunk=autojunk)
        return None


def _changed(path: str, before: str, after: str, max_lines: int, budget: _Budget) -> FileChange:
    old, new = _lines_with_ends(before), _lines_with_ends(after)
    start = _common_length(old, new)
    end = _common_length(old[start:][::-1], new[start:][::-1])
    # The matcher sees the differing part with its context, which is all that a diff shows.
    start, end = max(0, start - _CONTEXT), max(0, end - _CONTEXT)
    matcher = budget.matcher(old[start : len(old) - end], new[start : len(new) - end])
    if matcher is None:
        return FileChange(path, ChangeType.CHANGED)
    lines = _diff(matcher, old, new, start)
    return FileChange(
        path,
        ChangeType.CHANGED,
        added=sum(line.mark is LineMark.ADDED for line in lines),
        removed=sum(line.mark is LineMark.REMOVED for line in lines),
        lines=tuple(lines[:max_lines]),
        omitted=max(0, len(lines) - max_lines),
    )


def _lines_with_ends(text: str) -> list[str]:
    """The lines with their ends, so that a missing end of the last line is a difference."""
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _common_length(old: Sequence[str], new: Sequence[str]) -> int:
    """The number of equal lines at the beginning."""
    pairs = zip(old, new, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(old), len(new)))


def _diff(matcher: difflib.SequenceMatcher[str], old: Sequence[str], new: Sequence[str], start: int) -> list[DiffLine]:
    """The diff of `old` and `new`; `matcher` compares them from the line `start` on."""
    lines: list[DiffLine] = []
    for number, group in enumerate(matcher.get_grouped_opcodes(_CONTEXT)):
        if number or start + group[0][3]:  # the diff does not begin at the first line
            lines.append(DiffLine(LineMark.GAP, 0, ""))
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                lines += _numbered(LineMark.CONTEXT, new, start + new_start, start + new_end)
                continue
            lines += _numbered(LineMark.REMOVED, old, start + old_start, start + old_end)
            lines += _numbered(LineMark.ADDED, new, start + new_start, start + new_end)
    return lines


def _numbered(mark: LineMark, lines: Sequence[str], start: int, end: int) -> list[DiffLine]:
    return [DiffLine(mark, index + 1, lines[index].rstrip("\n")) for index in range(start, end)]
