"""Runs every test of this folder against each store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify.core.outbox import OutboxStore
from tests.integration.store_contract.stores import STORES, OpenOutbox, marks_of


@pytest.fixture(params=[pytest.param(name, marks=marks_of(name)) for name in STORES])
def open_outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenOutbox]:
    """A function that opens the same store again, as a restart or another process does."""
    with STORES[request.param](tmp_path) as open_store:
        yield open_store


@pytest.fixture
def outbox(open_outbox: OpenOutbox) -> OutboxStore:
    return open_outbox()
