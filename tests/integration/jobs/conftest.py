from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scanning import Scan, scan_with
from tests.support import Box
from tests.trees import TREES, Disk, Tree


@pytest.fixture
def tree(request: pytest.FixtureRequest, disk: Disk) -> Tree:
    return TREES[request.param](disk)


@pytest.fixture
def one_process(box: Box) -> Iterator[Scan]:
    """A scan of a process that lives on."""
    app = box.open_app()
    yield scan_with(box, app)
    app.close()


@pytest.fixture(params=["one process", pytest.param("restarts", marks=pytest.mark.thorough)])
def scan(request: pytest.FixtureRequest, box: Box) -> Iterator[Scan]:
    """A scan of a process that lives on, or of a new process each time."""
    if request.param == "restarts":
        yield box.scan
        return
    app = box.open_app()
    yield scan_with(box, app)
    app.close()
