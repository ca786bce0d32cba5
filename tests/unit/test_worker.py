"""The program of the worker: errors that end it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify import worker


@pytest.fixture
def restored_umask() -> Iterator[None]:
    """The worker changes the umask of its process."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_worker_with_an_unusable_home_reports_the_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, restored_umask: None
) -> None:
    """The starting process and the log receive the error, and the pipe is closed."""
    (tmp_path / "home").touch()
    reader, writer = os.pipe()

    assert worker.main(["--home", str(tmp_path / "home"), "--report-fd", str(writer)]) == 1

    with os.fdopen(reader, "rb") as pipe:
        report = json.loads(pipe.read())
    assert report["error"] == f"{tmp_path / 'home'} cannot be used: File exists"
    assert report["exit_code"] == 1
    assert f"not started: {report['error']}" in caplog.text
