from __future__ import annotations

import zoneinfo
from collections.abc import Iterator

import pytest


@pytest.fixture
def no_system_zones() -> Iterator[None]:
    """Time zones are looked up in the package `tzdata` only."""
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()
