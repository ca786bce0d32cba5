"""Pings after successful scans, with an HTTP server and an injected clock."""

from __future__ import annotations

import pytest

from syftnotify.services.demo import Tree as DemoTree
from tests.fakes.google import SECRET, Google
from tests.support import ANA, Box, worker_in_process
from tests.workers import CODE, PingServer, configure

DAY, HOUR, MINUTE = 86400.0, 3600.0, 60.0


def test_ping_follows_a_successful_scan(box: Box, tree_with_peer: DemoTree, ping_server: PingServer) -> None:
    """B06: one GET, at most once a minute."""
    configure(box, heartbeat={"ping_url": ping_server.url})
    with worker_in_process(box) as scan:
        scan()
        assert ping_server.pings == [f"GET /ping/{SECRET}check"]
        scan()
        assert len(ping_server.pings) == 1
        box.clock.advance(MINUTE)
        scan()

    assert len(ping_server.pings) == 2


def test_ping_waits_for_a_successful_scan(box: Box, tree_with_peer: DemoTree, ping_server: PingServer) -> None:
    """B06."""
    configure(box, heartbeat={"ping_url": ping_server.url})
    with worker_in_process(box) as scan:
        scan(is_healthy=False)
        box.clock.advance(MINUTE)
        scan(is_healthy=False)
        assert ping_server.pings == []
        scan()

    assert len(ping_server.pings) == 1


def test_ping_waits_while_a_transport_is_paused(
    google: Google, box: Box, tree_with_peer: DemoTree, ping_server: PingServer
) -> None:
    """B06, X07: although another transport works."""
    configure(box, google, heartbeat={"ping_url": ping_server.url})
    google.write_token(box.home.token)
    with worker_in_process(box) as scan:
        scan()
        assert len(ping_server.pings) == 1
        google.revoke()
        tree_with_peer.submit(ANA, "survey", CODE)
        scan()
        for _ in range(3):
            box.clock.advance(MINUTE)
            assert scan().dispatcher.queues["mail"].health.pause_reason
        assert len(ping_server.pings) == 1

        google.write_token(box.home.token)
        box.clock.advance(10 * MINUTE)
        scan()
        scan()

    assert len(ping_server.pings) == 2


def test_run_once_pings(box: Box, tree_with_peer: DemoTree, ping_server: PingServer) -> None:
    """B06, B07: for `run --once` from cron."""
    configure(box, heartbeat={"ping_url": ping_server.url})

    box.notify("run", "--once", check=0)

    assert len(ping_server.pings) == 1


@pytest.mark.parametrize("fault", ["switched off", "no root"])
def test_run_once_not_healthy_does_not_ping(box: Box, ping_server: PingServer, fault: str) -> None:
    """B06, B08, G01: a notifier that sends nothing or sees nothing is not well."""
    configure(
        box,
        notify={"enabled": fault != "switched off"},
        heartbeat={"ping_url": ping_server.url, "daily": "00:00"},
    )
    if fault == "no root":
        box.root.rmdir()

    box.notify("run", "--once", check=0)

    assert ping_server.pings == []
    assert box.mails() == []


@pytest.mark.parametrize("fault", ["down", "redirect"])
def test_ping_failing_server_disturbs_nothing(
    box: Box, tree_with_peer: DemoTree, ping_server: PingServer, fault: str
) -> None:
    """B06: mails are sent, and the log does not contain the secret of the address."""
    configure(box, heartbeat={"ping_url": ping_server.url})
    box.notify("run", "--once", check=0)
    if fault == "redirect":
        ping_server.status, ping_server.headers = 302, {"Location": "/elsewhere"}
    else:
        ping_server.stop()
    tree_with_peer.submit(ANA, "survey", CODE)

    box.notify("run", "--once", check=0)

    assert len(box.mails()) == 2
    assert "heartbeat ping failed" in box.home.log.read_text()
    assert "GET /elsewhere" not in ping_server.pings
    assert SECRET not in box.home.log.read_text()
