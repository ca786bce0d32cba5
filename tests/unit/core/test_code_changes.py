"""X09: the comparison of a submission with an earlier one: the most similar one, changed files, and their diffs."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syftnotify.core.code_changes import ChangeType, DiffLine, FileChange, LineMark, compare, most_similar
from syftnotify.core.submissions import Submission

CONTEXT, ADDED, REMOVED, GAP = LineMark.CONTEXT, LineMark.ADDED, LineMark.REMOVED, LineMark.GAP


def submission(name: str, **files: str) -> Submission:
    """A submission with the files `name.py`, and `run.sh` and `config.yaml` by `run` and `config`."""
    names = {"run": "run.sh", "config": "config.yaml"}
    texts = {names.get(stem, f"{stem}.py"): text for stem, text in files.items()}
    return Submission(f"job/{name}", "T1", "owner", "ana", name, "0", texts)


def lines(*names: object) -> str:
    return "".join(f"line {name}\n" for name in names)


# -- the most similar submission ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("other", "is_found"), [(lines(3, 4, 5), True), (lines(3, 4, 5, 6), False)])
def test_most_similar_has_at_least_a_fifth_of_the_lines(other: str, is_found: bool) -> None:
    """One of five different lines, or one of six, is in both."""
    earlier = submission("earlier", main=other)

    assert (most_similar({"main.py": lines(1, 2, 3)}, [earlier]) is earlier) == is_found


def test_most_similar_is_the_one_with_the_most_common_lines() -> None:
    some, most, few = (
        submission("some", main=lines(1, 2)),
        submission("most", main=lines(1, 2, 3, 4)),
        submission("few", main=lines(1)),
    )

    assert most_similar({"main.py": lines(1, 2, 3)}, [some, most, few]) is most


def test_most_similar_of_equal_ones_is_the_first() -> None:
    """The latest submission is first."""
    equal = [submission(name, main=lines(1, 2, name)) for name in "ab"]

    assert most_similar({"main.py": lines(1, 2, 3)}, equal) is equal[0]
    assert most_similar({"main.py": lines(1, 2, 3)}, equal[::-1]) is equal[1]


def test_most_similar_ignores_blanks_order_and_file_names() -> None:
    earlier = submission("earlier", other="\n  b\n\ta\n\n")

    assert most_similar({"main.py": "a\nb\n"}, [earlier]) is earlier


def test_most_similar_does_not_count_generic_files() -> None:
    """run.sh is written by the client, and config.yaml is nearly the same for all jobs."""
    generic = {"run": lines(*range(20)), "config": lines(*range(20, 40))}
    earlier = submission("earlier", main="x\n", **generic)

    assert most_similar({**earlier.files, "main.py": "y\n"}, [earlier]) is None


def test_most_similar_counts_the_script_if_there_is_no_code() -> None:
    earlier = submission("earlier", run=lines(1, 2, 3), config=lines(*range(20)))

    assert most_similar({"run.sh": lines(1, 2, 4)}, [earlier]) is earlier
    assert most_similar({"run.sh": lines(4, 5), "config.yaml": lines(*range(20))}, [earlier]) is None


def test_most_similar_of_nothing_is_none() -> None:
    assert most_similar({"main.py": lines(1)}, []) is None


# -- the comparison ----------------------------------------------------------------------------------------------------


def test_compare_equal_files_has_no_changes() -> None:
    assert compare({"a.py": lines(1), "b.py": ""}, {"b.py": "", "a.py": lines(1)}) == []


def test_compare_reports_changed_added_and_removed_files() -> None:
    """First those of the new submission in their order."""
    before = {"gone.py": lines(1, 2), "same.py": "", "changed.py": "a\nb\n"}
    after = {"new.py": lines(1, 2, 3), "same.py": "", "changed.py": "a\nc\nd\n"}

    assert compare(before, after) == [
        FileChange("new.py", ChangeType.ADDED, added=3),
        FileChange(
            "changed.py",
            ChangeType.CHANGED,
            added=2,
            removed=1,
            lines=(
                DiffLine(CONTEXT, 1, "a"),
                DiffLine(REMOVED, 2, "b"),
                DiffLine(ADDED, 2, "c"),
                DiffLine(ADDED, 3, "d"),
            ),
        ),
        FileChange("gone.py", ChangeType.REMOVED, removed=2),
    ]


def test_compare_distant_changes_are_separated_by_gaps() -> None:
    """Each change has three lines around it; numbers are those of the new file, of the old one for removed lines."""
    before = lines(*range(1, 31))
    after = lines(*range(1, 10), "ten", *range(11, 25), *range(26, 31))
    (change,) = compare({"a.py": before}, {"a.py": after})

    assert [(line.mark, line.number, line.text) for line in change.lines] == [
        (GAP, 0, ""),
        (CONTEXT, 7, "line 7"),
        (CONTEXT, 8, "line 8"),
        (CONTEXT, 9, "line 9"),
        (REMOVED, 10, "line 10"),
        (ADDED, 10, "line ten"),
        (CONTEXT, 11, "line 11"),
        (CONTEXT, 12, "line 12"),
        (CONTEXT, 13, "line 13"),
        (GAP, 0, ""),
        (CONTEXT, 22, "line 22"),
        (CONTEXT, 23, "line 23"),
        (CONTEXT, 24, "line 24"),
        (REMOVED, 25, "line 25"),
        (CONTEXT, 25, "line 26"),
        (CONTEXT, 26, "line 27"),
        (CONTEXT, 27, "line 28"),
    ]


def test_compare_diffs_share_the_maximum_number_of_lines() -> None:
    """What is left out is counted."""
    before = {name: lines(name) for name in ("a.py", "b.py", "c.py")}
    after = {name: lines("x", "y", "z") for name in before}
    changes = compare(before, after, max_lines=6)

    assert [(len(change.lines), change.omitted) for change in changes] == [(4, 0), (2, 2), (0, 4)]
    assert [(change.added, change.removed) for change in changes] == [(3, 1)] * 3


def test_compare_without_room_names_the_changed_files() -> None:
    assert compare({"a.py": "x\n"}, {"a.py": "y\n"}, max_lines=0) == [
        FileChange("a.py", ChangeType.CHANGED, added=1, removed=1, omitted=2)
    ]


def test_compare_of_texts_that_take_too_long_has_no_lines() -> None:
    """Lines that occur often, but not so often that they are ignored: difflib takes minutes for some of them."""
    before = {"a.py": lines(*(number % 100 if number % 2 else f"x{number}" for number in range(6000)))}
    after = {"a.py": lines(*(number % 97 if number % 2 else f"y{number}" for number in range(6000)))}

    assert compare(before, after) == [FileChange("a.py", ChangeType.CHANGED)]


def test_compare_of_a_large_file_finds_a_small_change() -> None:
    before = {"a.py": lines(*range(20_000))}
    after = {"a.py": lines(*range(10_000), "evil", *range(10_000, 20_000))}
    (change,) = compare(before, after)

    assert [(line.number, line.text) for line in change.lines if line.mark is ADDED] == [(10_001, "line evil")]


def test_compare_of_a_changed_line_end_shows_the_line() -> None:
    """No lines stand for a file that is too large to compare."""
    for change in compare({"a.py": "x\ny\n"}, {"a.py": "x\ny"}):
        assert change.lines


# Position, number of removed lines, and added ones.
edits = st.tuples(st.integers(0, 40), st.integers(0, 4), st.lists(st.sampled_from(["", "a", "1"]), max_size=4))


@st.composite
def versions(draw: st.DrawFn) -> tuple[str, str]:
    """A text, and another one with some changes."""
    old = draw(st.lists(st.sampled_from(["", "a", "  b", "c\u2028d", *"123456"]), max_size=40))
    new = list(old)
    for position, removed, added in draw(st.lists(edits, max_size=4)):
        new[position : position + removed] = added
    return "\n".join(old), "\n".join(new)


def lines_of(text: str) -> list[str]:
    """Only line feeds end a line: the texts of files are escaped."""
    return text.removesuffix("\n").split("\n") if text else []


@given(versions())
@example(("", "a"))
@example(("a", ""))
@example(("a\n" * 20, "a\n" * 10))
def test_compare_diff_and_old_text_are_the_new_text(texts: tuple[str, str]) -> None:
    """Line by line, by the numbers in the diff; a gap precedes what follows unchanged lines that are left out."""
    before, after = texts
    old, found = lines_of(before), list[str]()
    position, is_gap = 0, False  # in `old`
    for line in next((change.lines for change in compare({"a": before}, {"a": after}, max_lines=1000)), ()):
        if line.mark is GAP:
            is_gap = True
            continue
        skipped = line.number - 1 - (position if line.mark is REMOVED else len(found))
        assert bool(skipped) == is_gap
        found += old[position : position + skipped]
        position, is_gap = position + skipped, False
        if line.mark is not ADDED:
            assert old[position] == line.text
            position += 1
        if line.mark is not REMOVED:
            found.append(line.text)

    assert found + old[position:] == lines_of(after)
