"""Commands that run in this process."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from tests.in_process import run_command
from tests.support import Box


def run(box: Box, *arguments: str, check: int) -> str:
    """Run a command in this process; returns both output streams as one text."""
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        code = run_command(box.home, *arguments)
    assert code == check, output.getvalue()
    return output.getvalue()


def dead_letters(box: Box) -> list[dict[str, Any]]:
    found = json.loads(run(box, "dead", "--json", check=0))
    assert isinstance(found, list)
    return found
