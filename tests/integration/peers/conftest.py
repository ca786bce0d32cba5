from __future__ import annotations

import pytest

from tests.trees import TREES, Disk, Tree


@pytest.fixture
def tree(request: pytest.FixtureRequest, disk: Disk) -> Tree:
    return TREES[request.param](disk)
