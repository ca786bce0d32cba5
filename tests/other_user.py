"""Runs the command as another user, which needs root."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Box


def run_as_other_user(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user who owns nothing here; skips the test if that is not possible."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is not installed")
    command = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-P", "-m", "syftnotify"]
    # That user cannot write the coverage data into the folder where the tests were started.
    environment = {name: value for name, value in box.environment().items() if not name.startswith("COVERAGE")}
    options: dict[str, Any] = {
        "env": environment,
        "capture_output": True,
        "text": True,
        "stdin": subprocess.DEVNULL,
        "timeout": 60,
        "cwd": "/",
    }
    if subprocess.run([*command, "--version"], check=False, **options).returncode:
        pytest.skip("that user cannot read the interpreter or the program")
    return subprocess.run([*command, *arguments], check=False, **options)


@contextlib.contextmanager
def box_for_every_user() -> Iterator[Box]:
    """A configured box that every user can reach; pytest's own folders are for their owner only."""
    with tempfile.TemporaryDirectory(prefix="syftnotify-") as folder:
        Path(folder).chmod(0o755)
        box = Box(Path(folder))
        box.root.mkdir(mode=0o700)
        box.configure()
        yield box
