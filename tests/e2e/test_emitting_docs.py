"""Every example of docs/emitting.md, run as it is; test_slurm.py runs those of Slurm."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.emitting import spooled
from tests.fakes.web import WebServer
from tests.support import PROJECT_ROOT, Box, path_without_spaces

pytestmark = pytest.mark.check_only


PAGE = (PROJECT_ROOT / "docs" / "emitting.md").read_text(encoding="utf-8")


def blocks(section: str) -> list[str]:
    """The code blocks below a heading of the page."""
    text = re.split(rf"^## {section}$", PAGE, flags=re.MULTILINE)[1].partition("\n## ")[0]
    return re.findall(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_page_has_no_code_that_is_not_run() -> None:
    """A5"""
    run = [*blocks("cron"), *blocks("Slurm"), *blocks("gflow")]

    assert re.findall(r"^```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) == run
    assert [len(blocks(section)) for section in ("cron", "Slurm", "gflow")] == [1, 2, 1]


def test_commands_of_the_page_are_accepted(box: Box) -> None:
    """A5"""
    commands = re.findall(r"^ {4}(notify emit .*)$", PAGE, re.MULTILINE)
    for line in commands:
        box.notify(*shlex.split(line)[1:], check=0)

    assert len(commands) == 4
    assert [event["kind"] for event in spooled(box)] == [
        "job_failed",
        "job_submitted",
        "job_started",
        "job_failed",
    ]
    assert spooled(box)[1]["routing"]["alerts"]["recipients"] == ["#jobs"]


HERE = str(path_without_spaces(Path(sys.executable).parent.parent) / "bin")


INSTALLED = "/opt/syftnotify/bin"  # where the page has the commands


@pytest.fixture
def wrapper(tmp_path: Path) -> Path:
    """The script, with the commands of this environment."""
    (text,) = blocks("cron")
    assert INSTALLED in text
    path = tmp_path / "report.sh"
    path.write_text(text.replace(INSTALLED, HERE))
    path.chmod(0o755)
    return path


def as_cron(box: Box, wrapper: Path, *command: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run it as cron does: almost without an environment."""
    temporary = box.folder / "tmp"
    temporary.mkdir()
    paths = {"HOME": str(box.folder), "SYFTNOTIFY_HOME": str(box.home.root), "TMPDIR": str(temporary)}
    env = {"PATH": "/usr/bin:/bin", **paths}
    done = subprocess.run([wrapper, *command], env=env, capture_output=True, timeout=60, check=False)
    assert list(temporary.iterdir()) == [], "no temporary file is left"
    return done


def test_cron_wrapper_reports_success_without_output(box: Box, wrapper: Path) -> None:
    """A6: the output is passed through unchanged."""
    done = as_cron(box, wrapper, "/bin/echo", "two  words")

    assert (done.returncode, done.stdout, done.stderr) == (0, b"two  words\n", b"")
    (event,) = spooled(box)
    assert (event["kind"], event["entity"]) == ("job_completed", "cron/echo")
    assert event["payload"].keys() == {"name", "started_at", "return_code"}
    assert event["routing"] == {"notify": {"emails": ["ops@lab.example"]}}


OUTPUTS: dict[str, tuple[str, str]] = {  # what the program prints, as a Python expression, and the end of the report
    "little": ("b'disk full'", "disk full"),
    "nothing": ("b''", ""),
    "lines": ("b'a\\nb\\r\\n\"quoted\" \\\\ $HOME `id` %s\\n'", 'a\nb\r\n"quoted" \\ $HOME `id` %s\n'),
    "88 KB": ("b'x' * 88_000 + b'THE END'", "xTHE END"),
    "megabytes": ("b'line\\n' * 1_000_000 + b'THE END'", "line\nTHE END"),
    "not UTF-8": ("b'caf\\xe9 \\xff\\x00 end'", "caf\ufffd \ufffd\x00 end"),
    "cut within a character": ("'\u2603'.encode() * 100_000 + b'!'", "\u2603!"),
}


@pytest.mark.parametrize(
    "output",
    [
        "little",
        "cut within a character",
        *(pytest.param(output, marks=pytest.mark.thorough) for output in OUTPUTS),
    ],
)
def test_cron_wrapper_reports_failure_with_end_of_output(box: Box, wrapper: Path, output: str) -> None:
    """A6: whatever the command prints, its exit code is kept and the event arrives."""
    printed, end = OUTPUTS[output]
    program = box.folder / "nightly.py"
    program.write_text(f"import sys\nsys.stdout.buffer.write({printed})\nsys.exit(7)\n")
    done = as_cron(box, wrapper, sys.executable, program)

    assert (done.returncode, done.stderr) == (7, b"")
    (event,) = spooled(box)
    assert (event["kind"], event["payload"]["return_code"]) == ("job_failed", 7)
    assert event["payload"]["error"].endswith(end)
    box.scan()
    assert {mail.event for mail in box.mails()} == {"job_failed"}
    assert "ops@lab.example" in {mail.to for mail in box.mails()}


@pytest.mark.parametrize("code", [0, 3])
def test_cron_wrapper_keeps_exit_code_without_notify(box: Box, tmp_path: Path, code: int) -> None:
    """A6: a failing report does not change the result of the job."""
    path = tmp_path / "elsewhere.sh"
    path.write_text(blocks("cron")[0])  # unchanged: nothing is installed there
    path.chmod(0o755)
    done = as_cron(box, path, "/bin/sh", "-c", f"echo said; exit {code}")

    assert (done.returncode, done.stdout) == (code, b"said\n")
    assert b"notify" in done.stderr


def test_cron_wrapper_keeps_exit_code_of_missing_command(box: Box, wrapper: Path) -> None:
    """A6"""
    done = as_cron(box, wrapper, "/nonexistent/nightly")

    assert done.returncode == 127
    assert spooled(box)[0]["kind"] == "job_failed"


GFLOW_EVENTS = [
    *("job_submitted", "job_updated", "job_started", "job_completed", "job_failed", "job_cancelled", "job_timeout"),
    *("job_held", "job_released", "gpu_available", "reservation_created", "reservation_cancelled", "scheduler_online"),
]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(["job_failed", "gpu_available", "reservation_created"], id="one of each kind"),
        pytest.param(GFLOW_EVENTS, id="all thirteen", marks=pytest.mark.thorough),
    ],
)
def test_gflow_program_emits_events_of_each_kind(box: Box, hook: WebServer, tmp_path: Path, events: list[str]) -> None:
    """A5, G21"""
    box.configure(
        {
            "transports": {"oncall": {"type": "webhook", "url": hook.url, "events": ["*"], "format": "gflow"}},
            "routes": [],
        }
    )
    (text,) = blocks("gflow")
    program = tmp_path / "report.py"
    program.write_text(text)
    for event in events:
        subprocess.run([sys.executable, program, event, "42", "alice"], env=box.environment(), check=True, timeout=60)
    box.scan()
    sent: list[dict[str, Any]] = [request.json for request in hook.requests]

    assert sorted(each["event"] for each in sent) == sorted(events)
    for each in sent:
        if each["event"].startswith("job_"):
            assert (each["job"]["id"], each["job"]["user"]) == (42, "alice")
        elif each["event"].startswith("gpu"):
            assert each["gpu"] == 42
        elif each["event"].startswith("reservation"):
            assert (each["reservation_id"], each["user"]) == (42, "alice")
