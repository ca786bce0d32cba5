"""Runs the command as another user; needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import TIMEOUT, Box

NOBODY = 65534  # user id and group id


@contextlib.contextmanager
def box_open_to_all() -> Iterator[Box]:
    """A configured box in a folder that every user can enter, unlike the private folders of pytest."""
    with tempfile.TemporaryDirectory(prefix="syftnotify-") as folder:
        Path(folder).chmod(0o755)
        box = Box(Path(folder))
        box.root.mkdir(mode=0o700)
        box.configure()
        yield box


def run_as_other_user(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as the user `nobody`; skips the test if that is not possible."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is not installed")
    program = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable, "-P"]
    # That user cannot write coverage data into the folder where the tests were started.
    environment = {name: value for name, value in box.environment().items() if not name.startswith("COVERAGE")}
    options: dict[str, Any] = {
        "env": environment,
        "capture_output": True,
        "text": True,
        "stdin": subprocess.DEVNULL,
        "timeout": TIMEOUT,
        "cwd": "/",
    }
    if subprocess.run([*program, "-c", "import syftnotify.core.errors, typer"], check=False, **options).returncode:
        pytest.skip("that user cannot read the interpreter or the program")
    return subprocess.run([*program, "-m", "syftnotify", *arguments], check=False, **options)


def give_to_nobody(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
