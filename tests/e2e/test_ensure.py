"""`notify ensure`, which cron runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from syftnotify.system import worker_lock
from tests.support import Box, workers_of
from tests.workers import has_scanned, kill_worker, worker_pid


def test_ensure_starts_or_replaces_a_worker_and_prints_nothing(box: Box) -> None:
    """B07, X01: cron mails whatever a command prints."""
    box.home.config.chmod(0o644)  # other commands warn about this
    config = box.home.config.read_text()
    first = box.notify("ensure", check=0)
    pid = worker_pid(box)
    assert has_scanned(box)
    box.home.config.write_text("do_email: nobody\n")  # the running worker has read it before
    second = box.notify("ensure", check=0)
    assert worker_pid(box) == pid
    box.home.config.write_text(config)
    kill_worker(box, pid)

    third = box.notify("ensure", check=0)

    assert [done.stdout + done.stderr for done in (first, second, third)] == [""] * 3
    assert worker_pid(box) != pid


@pytest.mark.thorough
def test_ensure_five_at_once_leave_one_worker(box: Box) -> None:
    """B07."""
    with ThreadPoolExecutor(5) as pool:
        done = list(pool.map(lambda _: box.run_process("ensure"), range(5)))

    assert [(one.returncode, one.stdout, one.stderr) for one in done] == [(0, "", "")] * 5
    assert len(workers_of(box)) == 1


@pytest.mark.thorough
def test_ensure_broken_config_is_exit_two(box: Box) -> None:
    """B07, S15: cron mails stderr."""
    box.home.config.write_text("do_email: nobody\nnotify:\n  intervall: 5\n")

    done = box.notify("ensure", check=2)

    assert done.stdout == ""
    assert "2 errors" in done.stderr
    assert "did you mean `interval`?" in done.stderr
    assert not worker_lock.is_held(box.home)
