from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify import process, running
from tests.support import Box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A configured home beside an empty SyftBox; a worker that a test leaves behind is ended."""
    box = Box(tmp_path)
    box.root.mkdir()
    box.configure()
    yield box
    if running.is_held(box.home):
        process.stop(box.home, seconds=5)
