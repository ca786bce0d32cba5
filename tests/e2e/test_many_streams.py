"""A thousand clients of the live stream, with real processes."""

from __future__ import annotations

import signal

import pytest

from syftnotify.core.tokens import Role
from syftnotify.runtime.opening import create_outbox
from syftnotify.services.inbox import NewNotification, create_notification
from syftnotify.services.tokens import create_token
from tests.streams import may_open_files, stream_clients
from tests.support import TIMEOUT, Box
from tests.web import serve_process, worker_url

PERSONS, CLIENTS_OF_EACH, EVENTS = 50, 20, 5

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not may_open_files(4096), reason="this user may open too few files at once"),
]


def person(number: int) -> str:
    return f"person-{number}@uni.example"


def new_secrets(box: Box) -> list[str]:
    """A token of each person, once for each client."""
    with create_outbox(box.home) as outbox:
        secrets = [create_token(outbox, person(number), Role.VIEWER).secret for number in range(PERSONS)]
    return [secret for secret in secrets for _ in range(CLIENTS_OF_EACH)]


def store(box: Box) -> list[list[str]]:
    """Store `EVENTS` notifications for each person; returns their ids by person."""
    with create_outbox(box.home) as outbox:
        return [
            [create_notification(outbox, NewNotification(person(number), "JOB_FAILED", {})).id for _ in range(EVENTS)]
            for number in range(PERSONS)
        ]


def test_each_client_gets_each_event_once_over_a_restart(box: Box) -> None:
    """C12: what is stored while the server is away arrives after the connection, because of Last-Event-ID."""
    box.configure({"serve": {"port": 0}})
    with stream_clients(new_secrets(box)) as clients:
        with serve_process(box.home, box.environment()) as (process, url):
            clients.connect(url)
            first = store(box)
            clients.wait_for(EVENTS)
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
        clients.wait_for_end()
        second = store(box)
        with serve_process(box.home, box.environment()) as (_, url):
            clients.connect(url)
            third = store(box)
            clients.wait_for(3 * EVENTS)
            received = [client.ids for client in clients.clients]

    for number, ids in enumerate(received):
        of_person = number // CLIENTS_OF_EACH
        assert ids == [*first[of_person], *second[of_person], *third[of_person]]


def test_worker_stops_with_a_thousand_clients(box: Box) -> None:
    """It ends at once and without an error, and the clients see the end."""
    box.configure({"serve": {"enabled": True, "port": 0}})
    box.notify("start", check=0)
    try:
        url = worker_url(box)
        with stream_clients(new_secrets(box)) as clients:
            clients.connect(url)
            ids = store(box)
            clients.wait_for(EVENTS)
            box.notify("stop", check=0)
            clients.wait_for_end()
            assert [client.ids for client in clients.clients] == [each for each in ids for _ in range(CLIENTS_OF_EACH)]
    finally:
        box.notify("stop")
    log = box.home.log.read_text()
    assert "worker stopped" in log
    assert "Traceback" not in log
