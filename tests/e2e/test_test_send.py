"""`notify test` beside a running worker."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from syftnotify.system import worker_lock, worker_status
from tests.all_transports import NAMES, AllTransports, serving_all
from tests.support import Box, wait_until


@pytest.fixture
def servers(box: Box) -> Iterator[AllTransports]:
    with serving_all(box) as servers:
        yield servers


@pytest.mark.thorough
def test_send_beside_a_worker_leaves_outbox_and_ledger_alone(servers: AllTransports) -> None:
    servers.box.configure(
        {
            "transports": servers.transports(),
            "routes": [{"events": ["job_failed"]}],
            "notify": {"interval": 3600, "watch": "off"},
        }
    )
    servers.box.notify("start", check=0)
    try:
        wait_until(lambda: worker_status.read(servers.box.home).last_scan_s, what="a scan")
        before = {name: (servers.box.home.root / name).read_bytes() for name in ("outbox.db", "state.json")}
        pid = worker_lock.holder_pid(servers.box.home)
        servers.box.notify("test", check=0)

        assert servers.counts == dict.fromkeys(NAMES, 1)
        assert worker_lock.holder_pid(servers.box.home) == pid
        assert json.loads(servers.box.notify("history", "--json", check=0).stdout) == []
        assert {name: (servers.box.home.root / name).read_bytes() for name in before} == before
    finally:
        servers.box.notify("stop", check=0)
