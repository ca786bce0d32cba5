"""B03: the error output of a failed run: the exception, its place in the job's code, the noise of tools."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syftnotify.core.failure_output import FailureOutput, Frame, analyze_failure

CODE = "/home/do/SyftBox/owner@datasite.example/app_data/job/inbox/ana@uni.example/v1/analysis/code"
TRACEBACK = f"""Traceback (most recent call last):
  File "{CODE}/main.py", line 12, in <module>
    print(average(ages))
          ~~~~~~~^^^^^^
  File "{CODE}/lib/average.py", line 7, in average
    return statistics.mean(ages)
           ^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.12/statistics.py", line 486, in mean
    raise StatisticsError('mean requires at least one data point')
statistics.StatisticsError: mean requires at least one data point
"""
OWN_FRAME = Frame(f"{CODE}/lib/average.py", 7, "average")
NOISE = [
    "Using CPython 3.12.3 interpreter at: /usr/bin/python3",
    "Creating virtual environment at: .venv",
    "Activate with: source .venv/bin/activate",
    "Resolved 12 packages in 120ms",
    "Prepared 2 packages in 1.20s",
    "Downloading numpy (17.1MiB)",
    " Downloaded numpy",
    "   Building wheel-of-lab==1.0",
    "Installed 12 packages in 30ms",
    " + numpy==2.1.0",
    " - numpy==1.26.4",
    "Uninstalled 1 package in 2ms",
    "Audited 12 packages in 1ms",
    "Collecting pandas",
    "Requirement already satisfied: six in ./lib (1.16.0)",
    "Installing collected packages: six, pandas",
    "Successfully installed pandas-2.2.3 six-1.16.0",
    "[notice] A new release of pip is available: 24.0 -> 25.1",
    "     ━━━━━━━━━━━━━━━━ 17.1/17.1 MB 9.8 MB/s eta 0:00:00",
    "warning: `VIRTUAL_ENV=/opt/venv` does not match the project environment path `.venv` and will be ignored",
    "WARNING: Running pip as the 'root' user can result in broken permissions",
    "INFO:root:read 120 rows",
    "DEBUG:urllib3.connectionpool:Starting new HTTPS connection",
    "2026-11-27 10:15:00,123 - lab.reader - INFO - read 120 rows",
    "[2026-11-27T10:15:00] DEBUG reading",
]


def test_analyze_traceback_finds_the_exception_and_own_line() -> None:
    found = analyze_failure(TRACEBACK)

    assert found == FailureOutput(
        "statistics.StatisticsError: mean requires at least one data point", OWN_FRAME, TRACEBACK.strip(), ""
    )


@pytest.mark.parametrize(
    "path",
    [
        "/usr/lib/python3.11/json/decoder.py",
        "/usr/lib64/python3.9/json/decoder.py",
        "/usr/lib/python3/dist-packages/pandas/core/frame.py",
        "/home/do/.cache/uv/environments/x/lib/python3.12/site-packages/pandas/core/frame.py",
        "/Library/Frameworks/Python.framework/Versions/3.12/lib/python3.12/json/decoder.py",
        f"{CODE}/.venv/bin/tool",
        "<frozen runpy>",
        "<string>",
    ],
)
def test_analyze_frame_of_foreign_code_is_not_the_jobs(path: str) -> None:
    foreign = f'  File "{path}", line 1, in load\n    raise KeyError("age")\n'
    own = f'  File "{CODE}/main.py", line 3, in <module>\n    load()\n'
    begin, end = "Traceback (most recent call last):\n", "KeyError: 'age'\n"

    assert analyze_failure(f"{begin}{own}{foreign}{end}").frame == Frame(f"{CODE}/main.py", 3, "<module>")
    assert analyze_failure(f"{begin}{foreign}{end}") == FailureOutput(
        "KeyError: 'age'", None, f"{begin}{foreign}{end}".strip(), ""
    )


@pytest.mark.parametrize(
    "link",
    [
        "During handling of the above exception, another exception occurred:",
        "The above exception was the direct cause of the following exception:",
    ],
)
def test_analyze_chained_tracebacks_reports_the_last(link: str) -> None:
    first = f'Traceback (most recent call last):\n  File "{CODE}/a.py", line 1, in f\n    x\nKeyError: 1\n'
    found = analyze_failure(f"{first}\n{link}\n\n{TRACEBACK}")

    assert found.exception == "statistics.StatisticsError: mean requires at least one data point"
    assert found.frame == OWN_FRAME
    assert found.relevant == f"{first}\n{link}\n\n{TRACEBACK}".strip()


def test_analyze_traceback_without_its_beginning_is_recognized() -> None:
    """Only the end of stderr is read, so a long traceback has no first line."""
    cut = TRACEBACK[TRACEBACK.index("rint(average") :]
    found = analyze_failure(cut)

    assert found == FailureOutput(
        "statistics.StatisticsError: mean requires at least one data point", OWN_FRAME, cut.strip(), ""
    )


@pytest.mark.parametrize("begin", ["", "Traceback (most recent call last):\n"])
def test_analyze_syntax_error_has_a_frame_without_function(begin: str) -> None:
    found = analyze_failure(
        f"{begin}  File \"{CODE}/main.py\", line 3\n    def f(\n         ^\nSyntaxError: '(' was never closed\n"
    )

    assert (found.exception, found.frame) == ("SyntaxError: '(' was never closed", Frame(f"{CODE}/main.py", 3))


def test_analyze_message_of_several_lines_gives_its_first() -> None:
    output = TRACEBACK.rstrip() + ":\n  column age: 3 rows\ncolumn sex: 1 row\n\nsee the manual"
    found = analyze_failure(output)

    assert found.exception == "statistics.StatisticsError: mean requires at least one data point:"
    assert (found.relevant, found.noise) == (output, "")


def test_analyze_exception_without_message_is_its_name() -> None:
    assert analyze_failure(TRACEBACK.partition("statistics.S")[0] + "KeyboardInterrupt\n").exception == (
        "KeyboardInterrupt"
    )


def test_analyze_exception_group_reports_an_exception() -> None:
    """Its lines have a margin; the last one is a ruler."""
    found = analyze_failure(
        "  + Exception Group Traceback (most recent call last):\n"
        f'  |   File "{CODE}/main.py", line 3, in <module>\n'
        '  |     raise ExceptionGroup("two", [ValueError(1), TypeError(2)])\n'
        "  | ExceptionGroup: two (2 sub-exceptions)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | ValueError: 1\n"
        "    +---------------- 2 ----------------\n"
        "    | TypeError: 2\n"
        "    +------------------------------------\n"
    )

    assert found.frame == Frame(f"{CODE}/main.py", 3, "<module>")
    assert found.exception in {"ExceptionGroup: two (2 sub-exceptions)", "TypeError: 2"}


@pytest.mark.parametrize("line", NOISE)
def test_analyze_separates_a_line_of_a_tool(line: str) -> None:
    found = analyze_failure(f"{line}\n{TRACEBACK}{line}\n")

    assert (found.relevant, found.noise) == (TRACEBACK.strip(), f"{line}\n{line}")
    assert (found.exception, found.frame) == (
        "statistics.StatisticsError: mean requires at least one data point",
        OWN_FRAME,
    )


@pytest.mark.parametrize("line", NOISE)
def test_analyze_keeps_such_a_line_inside_a_traceback(line: str) -> None:
    """It may be a line of code that failed."""
    first, rest = TRACEBACK.split("\n", 1)
    output = f"{first}\n{rest}".replace("    print(average(ages))", f"    {line.strip()}")
    found = analyze_failure(output)

    assert (found.relevant, found.noise) == (output.strip(), "")
    assert found.exception == "statistics.StatisticsError: mean requires at least one data point"


@pytest.mark.parametrize(
    "line",
    [
        "error: Failed to build `numpy==1.0`",
        "  \xd7 No solution found when resolving dependencies:",
        "ERROR: No matching distribution found for nump",
        "ERROR:root:the file has no rows",
        "WARNING:root:3 rows have no age",
        "2026-11-27 10:15:00,123 - lab.reader - ERROR - the file has no rows",
        "Killed",
        "Segmentation fault (core dumped)",
        "run.sh: line 3: pythn: command not found",
        "cat: data.csv: No such file or directory",
        "INFORMATION: the disk is full",
    ],
)
def test_analyze_line_without_traceback_is_the_error(line: str) -> None:
    found = analyze_failure(f"Resolved 12 packages in 120ms\n{line}\nINFO:root:bye\n")

    assert found == FailureOutput(line.strip(), None, line, "Resolved 12 packages in 120ms\nINFO:root:bye")


def test_analyze_error_of_r_is_not_its_last_line() -> None:
    """R ends each failed script with the same line."""
    output = "Error in library(lme4) : there is no package called 'lme4'\nExecution halted\n"
    found = analyze_failure(output)

    assert found.exception == "Error in library(lme4) : there is no package called 'lme4'"


@pytest.mark.parametrize("output", ["", "\n", " \n\t\n"])
def test_analyze_empty_output_finds_nothing(output: str) -> None:
    assert analyze_failure(output) == FailureOutput()


def test_analyze_output_of_tools_alone_has_no_exception() -> None:
    output = "\n".join(NOISE[:3])

    assert analyze_failure(output) == FailureOutput("", None, "", output)


@pytest.mark.parametrize(
    "line",
    [
        "x" * 100_000,
        " " * 100_000 + "x",
        'File "' * 20_000,
        f'  File "{"a" * 100_000}", line 1, in f',
        f'  File "a", line {"9" * 100_000}, in f',
        "+ " + "a" * 100_000 + "==",
        "2026-11-27T10:15:00" + "x " * 50_000,
        "| " * 50_000,
        "Traceback (most recent call last):" * 3000,
    ],
    ids=lambda line: line.strip()[:20],
)
def test_analyze_very_long_line_is_kept(line: str) -> None:
    found = analyze_failure(f"{line}\nValueError: 1\n")

    assert (found.exception, found.relevant) == ("ValueError: 1", f"{line}\nValueError: 1")


output_lines = st.one_of(
    st.text(max_size=30),
    st.sampled_from([*NOISE, *TRACEBACK.splitlines(), "", "  ", 'File "x", line 1', '  | File "y", line 2, in g']),
)


@given(st.lists(output_lines, max_size=12).map("\n".join))
@example("  ValueError: 1")
@example('  File "a", line 1, in f')
@example("Traceback (most recent call last):")
def test_analyze_any_output_keeps_each_line_once(output: str) -> None:
    """A line is relevant or noise, and the order stays."""
    found = analyze_failure(output)
    lines = [line for line in output.rstrip().splitlines() if line.strip()]
    relevant, noise = ([line for line in text.splitlines() if line.strip()] for text in (found.relevant, found.noise))

    assert sorted(relevant + noise) == sorted(lines)
    for part in (relevant, noise):
        rest = iter(lines)
        assert all(line in rest for line in part), "in another order"
    assert "\n" not in found.exception
    assert bool(found.exception) == bool(relevant)
