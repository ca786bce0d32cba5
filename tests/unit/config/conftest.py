from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify.system.paths import Home


@pytest.fixture
def no_system_zones() -> Iterator[None]:
    """Time zones are looked up in the package `tzdata` only."""
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home below a home directory of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return Home(tmp_path / "home")
