from __future__ import annotations

import pytest

from tests.support import Box
from tests.trees import TREES, Disk, Tree


@pytest.fixture
def disk(box: Box) -> Disk:
    return Disk(box.root, box.clock.time)


@pytest.fixture
def tree(request: pytest.FixtureRequest, disk: Disk) -> Tree:
    return TREES[request.param](disk)
