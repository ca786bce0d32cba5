"""Live streams: `/v1/notifications/stream`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from syftnotify.core.inbox import InboxFilter
from syftnotify.core.tokens import Role
from syftnotify.runtime.opening import create_outbox
from syftnotify.services.inbox import NewNotification, create_notification
from syftnotify.services.tokens import create_token, find_token
from syftnotify.web import stream
from tests.streams import Reader
from tests.support import ANA, BO, TIMEOUT, Box, delete_outbox, wait_until
from tests.web import KIND, PAYLOAD, Served, serve

pytestmark = pytest.mark.check_only


def test_stream_sends_each_new_notification_once(served: Served) -> None:
    """C12, C13: to all clients of its recipient, and to nobody else."""
    served.store()  # before the connection
    first, second = Reader(served.client("viewer")), Reader(served.client("viewer"))
    other = Reader(served.client("viewer", BO))
    ids = served.store(3)
    wait_until(lambda: len(first.messages) == len(second.messages) == 3, what="the messages")
    own = served.store(user=BO)
    wait_until(lambda: len(other.messages) == 1, what="the message to the other person")

    assert first.ids == second.ids == [message["id"] for message in first.messages] == ids
    assert other.ids == own
    assert list(first.messages[0]) == ["id", "kind", "payload", "created_at"]
    assert (first.messages[0]["kind"], first.messages[0]["payload"]) == (KIND, PAYLOAD)


def test_stream_continues_after_the_last_notification(served: Served) -> None:
    """C12: with Last-Event-ID; more than one chunk of them."""
    ids = served.store(stream._CHUNK + 5)
    reader = Reader(served.client("viewer"), last_id=ids[1])
    wait_until(lambda: len(reader.ids) == len(ids) - 2, what="the missed notifications")
    (new,) = served.store()
    wait_until(lambda: reader.ids[-1] == new, what="the new notification")

    assert reader.ids == [*ids[2:], new]


@pytest.mark.parametrize("last_id", ["unknown", "0"])
def test_stream_after_an_unknown_notification_sends_new_ones(served: Served, last_id: str) -> None:
    served.store()
    reader = Reader(served.client("viewer"), last_id=last_id)
    new = served.store()
    wait_until(lambda: reader.ids == new, what="the new notification")


def test_stream_survives_a_restart_of_the_server(box: Box) -> None:
    """C12: the client continues where it was."""
    with serve(box) as served:
        first = Reader(served.client("viewer"))
        ids = served.store(2)
        wait_until(lambda: first.ids == ids, what="the notifications")
    assert first.has_ended.wait(60)
    with serve(box) as served:
        missed = served.store(2)
        second = Reader(served.client("viewer"), last_id=first.ids[-1])
        wait_until(lambda: second.ids == missed, what="the missed notifications")


def test_stream_ends_with_its_token(box: Box) -> None:
    """A revoked token opens nothing, and what it opened is closed."""
    with serve(box, ping_seconds=0.1) as served:
        client = served.client("viewer")
        reader = Reader(client)
        token = find_token(served.outbox, client.headers["authorization"].removeprefix("Bearer "))
        assert token is not None
        served.outbox.tokens.revoke(token.id, time.time())

        assert reader.has_ended.wait(60)
        assert client.get("/v1/notifications").status_code == 401


@contextmanager
def storing(served: Served, count: int) -> Iterator[list[str]]:
    """Stores notifications in another thread during the block."""
    ids: list[str] = []

    def store() -> None:
        for _ in range(count):
            ids.extend(served.store())

    thread = threading.Thread(target=store)
    thread.start()
    yield ids
    thread.join()


def test_streams_that_begin_while_notifications_are_stored_miss_none(served: Served) -> None:
    """C12: between the connection and the first live message."""
    (start,) = served.store()
    readers = []
    with storing(served, 60):
        readers += [Reader(served.client("viewer"), last_id=start) for _ in range(8)]
    ids = [entry.id for entry in served.outbox.inbox.page(ANA, InboxFilter(), 100).entries][::-1][1:]
    wait_until(lambda: all(len(reader.ids) >= 60 for reader in readers), what="all notifications")

    assert [reader.ids for reader in readers] == [ids] * 8


def test_server_follows_a_database_that_was_replaced(served: Served) -> None:
    """A restored copy, or one that the worker rebuilt: requests and streams use the new one."""
    client = served.client("viewer")
    delete_outbox(served.box)
    with create_outbox(served.box.home) as new:
        secret = create_token(new, ANA, Role.VIEWER).secret
        client.headers["Authorization"] = f"Bearer {secret}"
        wait_until(lambda: client.get("/v1/notifications").status_code == 200, what="the new token")
        reader = Reader(client)
        stored = create_notification(new, NewNotification(ANA, KIND, PAYLOAD)).id
        wait_until(lambda: reader.ids == [stored], what="the notification")


def test_open_stream_ends_when_the_database_is_replaced(served: Served) -> None:
    """Its positions mean nothing in the new one; clients connect again."""
    reader = Reader(served.client("viewer"))
    delete_outbox(served.box)

    assert reader.has_ended.wait(TIMEOUT)


def test_damaged_rows_end_no_stream_and_no_page(served: Served) -> None:
    """A token of another version, and notifications whose payload is damaged."""
    reader, client = Reader(served.client("viewer")), served.client("viewer")
    with served.outbox._database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO tokens (id, hash, person, role, created_at) VALUES ('z', 'z', 'z', 'x', 1)"
        )
    ids = served.store(60)
    with served.outbox._database.writing() as connection:
        connection.exec_driver_sql("UPDATE inbox SET payload = '[' WHERE seq IN (SELECT max(seq) - 3 FROM inbox)")
    first = client.get("/v1/notifications").json()
    second = client.get("/v1/notifications", params={"cursor": first["cursor"]}).json()
    wait_until(lambda: len(reader.ids) >= 59, what="the notifications")

    assert len(first["notifications"]) == 49
    assert len(second["notifications"]) == 10
    assert second["cursor"] is None
    assert set(ids) >= set(reader.ids)
