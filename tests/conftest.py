from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify import process, running
from tests.support import Box
from tests.web import Web, web

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Begun in the background of a shell: programs would inherit that, and Ctrl-C could not be tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A configured home beside an empty SyftBox; a worker that a test leaves behind is ended."""
    box = Box(tmp_path)
    box.root.mkdir()
    box.configure()
    yield box
    if running.is_held(box.home):
        process.stop(box.home, seconds=5)


@pytest.fixture
def hook() -> Iterator[Web]:
    """A server of the web that answers 200, and takes down what it is sent."""
    with web() as server:
        yield server
