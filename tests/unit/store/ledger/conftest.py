from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state file that does not exist yet, nor does its folder."""
    return tmp_path / "deep" / "state.json"
