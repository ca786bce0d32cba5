"""`notify status`, and commands before the first start."""

from __future__ import annotations

import os

import pytest

from syftnotify.system import worker_lock, worker_status
from tests.queries import json_object
from tests.support import Box


def test_status_with_a_config_error_shows_the_error(box: Box) -> None:
    """D9"""
    box.configure({"bogus": 1})

    done = box.notify("status", check=3)

    assert "bogus: unknown" in done.stderr
    assert f"correct {box.home.config}, then run `notify start`" in done.stdout


DAMAGED = [
    b"",
    b"[]",
    b"\xff\xfe\x00",
    b'{"last_scan": 5}',
    b'{"last_scan_s": "yesterday"}',
    b'{"transports": []}',
    b'{"sent": NaN}',
    b'{"interval": null, "failures": {"scan": "many"}, "home": 7, "last_error": {}}',
]


@pytest.mark.parametrize("held", [True, False], ids=["running", "not running"])
@pytest.mark.parametrize("content", DAMAGED)
def test_status_json_with_damaged_status_file_is_one_object(box: Box, content: bytes, held: bool) -> None:
    """S16: the exit code follows the lock, not the file."""
    box.home.worker_status.write_bytes(content)

    if held:
        with worker_lock.acquire(box.home):
            done = box.notify("status", "--json")
    else:
        done = box.notify("status", "--json")

    assert done.returncode in ({0, 4} if held else {3}), done.stderr
    status = json_object(done.stdout)
    assert status["running"] is held
    assert status["pid"] == (os.getpid() if held else None)
    assert status["home"] == str(box.home.root)


@pytest.mark.parametrize("content", [b'{"last_scan": 5}', b'{"transports": []}', b'{"transports": {"box": "fine"}}'])
def test_status_with_damaged_status_file_has_no_traceback(box: Box, content: bytes) -> None:
    """S16."""
    box.home.worker_status.write_bytes(content)

    done = box.notify("status", check=3)

    assert "not running" in done.stdout
    assert "Traceback" not in done.stderr


def test_status_without_config_names_init(new_user: Box) -> None:
    """D9"""
    assert "run `notify init`" in " ".join(new_user.notify("status", check=3).stdout.split())


@pytest.mark.parametrize("config", [None, "do_email: [\n", "do_email: nobody\n"])
def test_status_json_needs_no_usable_config(box: Box, config: str | None) -> None:
    """S16."""
    if config is None:
        box.home.config.unlink()
    else:
        box.home.config.write_text(config)

    status = json_object(box.notify("status", "--json", check=3).stdout)

    assert (status["running"], status["pid"], status["last_scan"]) == (False, None, {"at": None, "seconds": None})


def test_status_of_stopped_worker_shows_no_wait_reason(box: Box) -> None:
    """S16: no missing folder and no paused transport is reported while no worker runs."""
    worker_status.write(box.home, worker_status.WorkerStatus(waiting_for="the SyftBox folder /x does not exist yet"))

    done = box.notify("status", check=3)

    assert "does not exist yet" not in done.stdout


@pytest.mark.parametrize("command", ["history", "why x", "dead-letters", "dead"])
def test_history_commands_before_first_start_are_empty(box: Box, command: str) -> None:
    """D9"""
    assert box.notify(*command.split(), check=0).stdout.startswith("no notifications yet")
    assert box.notify(*command.split(), "--json", check=0).stdout == "[]\n"


def test_other_commands_before_first_start_find_nothing(box: Box) -> None:
    """D9"""
    assert "no alert rules" in box.notify("alerts", "list", check=0).stdout
    assert "nothing to send again" in box.notify("resend", "--all-dead", check=0).stdout
    assert "0 events" in box.notify("prune", "--older-than", "3d", check=0).stdout
    assert "no alert rule" in box.notify("alerts", "rm", "x", check=1).stderr


def test_history_distinguishes_empty_from_no_match(box: Box) -> None:
    """D9"""
    box.configure()
    box.scan()

    assert "no notifications yet in" in box.notify("history", check=0).stdout
    assert "no notification matches" in box.notify("history", "--event", "job_failed", check=0).stdout
