from __future__ import annotations

import os

import pytest

from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.delivery.transport_queue import QueueOptions, TransportQueue
from tests.integration.submitter_trees import (
    tree_with_a_peer,
)
from tests.integration.systemd_units import SYSTEMCTL, Session
from tests.integration.throttling import (
    RENDERER,
    DigestRecorder,
    Make,
)
from tests.support import Box, MakeDispatcher
from tests.trees import Disk, Tree


@pytest.fixture
def holding_box(box: Box) -> Box:
    """A box that holds messages of unknown outcome."""
    box.configure({"notify": {"interval": 1, "sync_state_path": str(box.snapshot), "on_unknown": "hold"}})
    return box


@pytest.fixture
def unknown_tree(box: Box, disk: Disk) -> Tree:
    return tree_with_a_peer("D", box, disk)


@pytest.fixture
def make_throttling(make: MakeDispatcher) -> Make:
    def make_dispatcher(*, max_concurrent: int = 8, **boxes: DigestRecorder) -> Dispatcher:
        options = QueueOptions(max_retries=1)
        queues = [TransportQueue(name, box, RENDERER, options) for name, box in boxes.items()]
        return make(*queues, max_concurrent=max_concurrent)

    return make_dispatcher


@pytest.fixture
def session(box: Box) -> Session:
    program = box.folder / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    box.env |= {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(box.folder / "calls"),
        "FAILS_AT": "",
        "MAIN_PID": "0",
        "XDG_CONFIG_HOME": "",
    }
    return Session(box)
