"""The command `notify emit`."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from typer.testing import CliRunner

from syftnotify.cli.app import app
from syftnotify.core.errors import NotifyError
from tests.emitting import spooled
from tests.support import ANA, BO, Box


def test_emit_command_writes_its_options_to_the_spool(box: Box) -> None:
    """G22, N28"""
    options = [
        "--user",
        ANA,
        "--tag",
        "a b",
        "--tag",
        "c",
        "--key",
        "run-7",
        "--payload",
        '{"error": "disk full", "n": 1}',
    ]
    requests = ["--notify-email", "x@lab.example", "--notify-email", BO, "--notify-on", "failed,job.timeout"]
    requests += ["--alerts", '{"on_success": true, "on_long_run_minutes": 90, "recipients": ["#jobs"]}']
    done = box.notify("emit", "JOB.FAILED", "--entity", "nightly-sync", *options, *requests, check=0)

    (event,) = spooled(box)
    assert done.stdout == "emitted nightly-sync job_failed run-7\n"
    assert done.stderr == ""
    assert (event["kind"], event["entity"], event["occurrence"]) == ("job_failed", "nightly-sync", "run-7")
    assert event["payload"] == {
        "error": "disk full",
        "n": 1,
    }
    assert event["routing"] == {
        "user": ANA,
        "tags": ["a b", "c"],
        "notify": {"emails": ["x@lab.example", BO], "on": ["job_failed", "job_timeout"]},
        "alerts": {"on_failure": True, "on_success": True, "on_long_run_minutes": 90, "recipients": ["#jobs"]},
    }
    assert box.home.spool.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in box.home.spool.iterdir()} == {0o600}


def test_emit_command_creates_a_missing_home(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.notify("emit", "job_failed", "--entity", "run/1", check=0)

    assert [event["entity"] for event in spooled(box)] == ["run/1"]
    assert box.home.root.stat().st_mode & 0o777 == 0o700


REFUSED: list[tuple[list[str], str]] = [
    (["job_failed", "--entity", "x", "--payload", '"text"'], "must be a JSON object"),
    (["job_failed", "--entity", "x", "--payload", "null"], "must be a JSON object"),
    (["job_failed", "--entity", "x", "--payload", "[1, 2]"], "must be a JSON object"),
    (["job_failed", "--entity", "x", "--payload", "42"], "must be a JSON object"),
    (["job_failed", "--entity", "x", "--payload", "true"], "must be a JSON object"),
    (["job_failed", "--entity", "x", "--payload", '{"a": '], "not valid JSON"),
    (["job_failed", "--entity", "x", "--payload", "{a: 1}"], "not valid JSON"),
    (["job_failed", "--entity", "x", "--payload", " "], "not valid JSON"),
    (["job_failed", "--entity", "x", "--payload", '{"a": NaN}'], "not valid JSON"),
    (["job_failed", "--entity", "x", "--payload", '{"a":' * 5000 + "1" + "}" * 5000], "not valid JSON"),
    (["job_failed", "--entity", "x" * 100_000, "--user", "x" * 100_000, "--key", "x" * 100_000], "256 KiB"),
    (["job_faild", "--entity", "x"], "job_failed"),
    (["", "--entity", "x"], "not an event kind"),
    (["job_failed", "--entity", ""], "entity"),
    (["job_failed", "--entity", " \n "], "entity"),
    (["job_failed"], "--entity"),
    (["job_failed", "--entity", "x", "--notify-email", "nobody"], "'nobody' is not an email address"),
    (["job_failed", "--entity", "x", "--notify-email", "#jobs"], "is not an email address"),
    (["job_failed", "--entity", "x", "--notify-email", "a@x.example\nbcc: b@x.example"], "is not an email address"),
    (["job_failed", "--entity", "x", "--notify-email", "a@x.example", "--notify-on", "faild"], "failed"),
    (["job_failed", "--entity", "x", "--notify-on", "faild"], "failed"),
    (["gpu_available", "--entity", "x", "--notify-on", "gpu_available"], "notify_on has no effect without"),
    (["job_failed", "--entity", "caf\udce9"], ""),
]


def emit_command(box: Box, *arguments: str) -> tuple[int, str]:
    """Exit code and output of `notify emit` in this process; any other exception makes this fail."""
    result = CliRunner().invoke(app, ["emit", "--home", str(box.home.root), *arguments])
    if isinstance(result.exception, NotifyError):  # which `main` prints
        return result.exception.exit_code, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(("arguments", "reason"), REFUSED, ids=itertools.count())
def test_emit_command_with_a_mistake_is_refused(box: Box, arguments: list[str], reason: str) -> None:
    """C06, C07: exit code 2."""
    code, output = emit_command(box, *arguments)

    assert (code, reason in output) == (2, True), output
    assert not box.home.spool.exists()


def test_emit_command_prints_the_error_and_exits_with_2(box: Box) -> None:
    """C07"""
    done = box.notify("emit", "job_failed", "--entity", "x", "--payload", "[]", check=2)

    assert "must be a JSON object" in done.stderr
    assert "Traceback" not in done.stderr


def test_emit_command_without_a_writable_spool_is_an_error(box: Box) -> None:
    box.home.spool.write_text("a file")
    done = box.notify("emit", "job_failed", "--entity", "x", check=2)

    assert f"{box.home.spool} cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the payload is not valid JSON"),
        ("[1]", "must be a JSON object"),
        ("no json", "the payload is not valid JSON"),
        ('{"a": "' + "x" * 300_000 + '"}', "at most 256 KiB"),
        (" " * (17 << 20), "more than 16 MiB"),
    ],
    ids=["empty", "list", "text", "large", "endless"],
)
def test_emit_bad_standard_input_is_refused(box: Box, content: str, reason: str) -> None:
    """A6"""
    done = box.notify("emit", "job_failed", "--entity", "x", "--payload", "-", stdin=content, check=2)

    assert reason in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_emit_replaces_what_json_and_utf8_cannot_hold(box: Box) -> None:
    """A6: such an event is worth more than none."""
    payload = '{"error": "\\ud800", "number": 123456789012345678901234567890}'
    box.notify("emit", "job_failed", "--entity", "run/1", "--payload", payload, check=0)
    (event,) = spooled(box)

    assert event["payload"] == {"error": "?", "number": "123456789012345678901234567890"}


@pytest.mark.parametrize("entity", ["two\nlines", "a b", "\x1b[2J", "caf\u00e9"])
def test_emit_prints_the_key_on_one_line(box: Box, entity: str) -> None:
    """A9: scripts can read it."""
    done = box.notify("emit", "job_failed", "--entity", entity, "--key", "a\nb", check=0)

    (line,) = done.stdout.splitlines()
    assert line.startswith("emitted ")
    assert line.isprintable()


def test_run_with_file_in_place_of_the_spool_is_a_clear_error(box: Box) -> None:
    """A7"""
    box.home.spool.write_text("")
    done = box.notify("run", "--once", check=1)

    assert f"{box.home.spool} cannot be created" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
