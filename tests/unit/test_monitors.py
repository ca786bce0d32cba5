"""`JobMonitor` in a thread of its caller."""

from __future__ import annotations

import logging

import pytest

from syftnotify.monitors import JobMonitor
from tests.support import Box, wait_until


def test_monitor_thread_survives_a_file_that_cannot_be_written(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    box.home.worker_status.mkdir()
    monitor = JobMonitor(box.home.root)

    with caplog.at_level(logging.ERROR, logger="syftnotify.monitors"):
        thread = monitor.start(interval=0.001)
        try:
            wait_until(lambda: caplog.text.count("check failed") >= 2, what="two failed checks")
            assert thread.is_alive()
        finally:
            monitor.stop()
            thread.join()
    assert "worker.json" in caplog.text
