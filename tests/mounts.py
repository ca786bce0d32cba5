"""File systems that a test mounts."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[None]:
    """Mount a file system at `place`; skips the test where that is not possible."""
    done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        # Lazily, because a process may still have a file open there.
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=True)
