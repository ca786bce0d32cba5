"""Fixtures: copies of one home with owed mails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.damage.homes import MakeCopy, copy_of, create_original
from tests.support import Box


@pytest.fixture(scope="package")
def original(tmp_path_factory: pytest.TempPathFactory) -> Box:
    return create_original(tmp_path_factory.mktemp("original"))


@pytest.fixture
def make_copy(original: Box, tmp_path: Path) -> MakeCopy:
    return lambda: copy_of(original, tmp_path)


@pytest.fixture
def copy(make_copy: MakeCopy) -> Box:
    return make_copy()
