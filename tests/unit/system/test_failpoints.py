"""The list of fail-points matches the program."""

from __future__ import annotations

import re
from pathlib import Path

from syftnotify.system import failpoints


def test_failpoints_list_matches_the_sources() -> None:
    """X01: the chaos campaigns kill workers at every name in the list."""
    sources = Path(failpoints.__file__).parents[1].rglob("*.py")
    reached = [name for each in sources for name in re.findall(r'\breached\("([a-z._]+)"\)', each.read_text("utf-8"))]

    assert set(reached) == failpoints.POINTS
