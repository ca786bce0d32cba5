from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest


@pytest.fixture
def other_programs() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs that have nothing to do with the worker; ended by the fixture."""
    found: list[subprocess.Popen[bytes]] = []
    yield found
    for program in found:
        program.kill()
        program.wait()
