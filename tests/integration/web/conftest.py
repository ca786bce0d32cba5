"""A server of a home, and clients with tokens."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support import Box
from tests.web import Served, serve


@pytest.fixture
def served(box: Box) -> Iterator[Served]:
    """A server of `box`."""
    with serve(box) as found:
        yield found


@pytest.fixture
def viewer(served: Served) -> httpx.Client:
    return served.client("viewer")


@pytest.fixture
def operator(served: Served) -> httpx.Client:
    return served.client("operator")


@pytest.fixture
def service(served: Served) -> httpx.Client:
    return served.client("service")
