from __future__ import annotations

from pathlib import Path

import pytest

from tests.property.hostile import peaceful
from tests.support import Box
from tests.trees import TREES, Disk, Tree


@pytest.fixture
def tree(request: pytest.FixtureRequest, box: Box) -> Tree:
    """A tree in which both scientists are peers, after the baseline scan."""
    return peaceful(TREES[request.param](Disk(box.root, box.clock.time)), box)


@pytest.fixture
def outside(box: Box) -> Path:
    """A folder beside the tree."""
    folder = box.folder / "outside"
    folder.mkdir()
    return folder
