"""X12: live streams of all servers get each notification, in the order of commits."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import httpx
import psycopg

from syftnotify.core.inbox import InboxFilter
from syftnotify.core.tokens import Role
from syftnotify.runtime.opening import connect_outbox
from syftnotify.services.inbox import NewNotification, create_notification
from syftnotify.services.server_settings import load_with_server
from syftnotify.services.tokens import create_token
from syftnotify.store.outbox.inbox import XID_SHIFT
from syftnotify.store.outbox.postgres.schema import SCOPE_SETTING
from tests.integration.postgres.conftest import OpenWorker
from tests.streams import Reader
from tests.support import ANA, OWNER, TIMEOUT, Box, wait_until
from tests.web import KIND, PAYLOAD, in_thread


def test_row_of_an_open_transaction_is_not_passed(open_worker: OpenWorker, database_url: str) -> None:
    """A row with a lower number that is committed later is still sent, and before the other one."""
    outbox = open_worker()
    start = outbox.inbox.position() or 0
    with psycopg.connect(database_url.replace("+psycopg", "")) as slow:
        slow.execute("SELECT set_config(%s, %s, false)", (SCOPE_SETTING, OWNER))
        slow.execute(
            "INSERT INTO syftnotify.inbox (id, recipient, kind, entity, workflow, workflow_name, payload, created_at, "
            "updated_at) VALUES ('first', %s, 'K', 'run/1', '', '', '{}', 1, 1)",
            (ANA,),
        )
        second = create_notification(outbox, NewNotification(ANA, KIND, PAYLOAD)).id
        assert outbox.inbox.find(ANA, second) is not None
        assert outbox.inbox.after(start, 9).entries == []
        assert [entry.id for entry in outbox.inbox.page(ANA, InboxFilter(), 9).entries] == [second]
        assert outbox.inbox.latest(ANA) is None  # a stream must not begin after what the page has

    latest = outbox.inbox.latest(ANA)
    assert latest is not None
    assert latest.id == second
    assert [entry.id for entry in outbox.inbox.after(start, 9).entries] == ["first", second]
    (first,) = outbox.inbox.after(start, 1).entries
    assert [entry.id for entry in outbox.inbox.after(first.position, 9).entries] == [second]
    assert outbox.inbox.position() == outbox.inbox.after(start, 9).position


def test_inbox_of_a_restored_dump_is_complete(open_worker: OpenWorker, database_url: str) -> None:
    """The server of the dump had other numbers of transactions, which clients still have as positions."""
    outbox = open_worker()
    entries = [create_notification(outbox, NewNotification(ANA, KIND, PAYLOAD)).id for _ in range(2)]
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE syftnotify.inbox SET xid = (seq + 1000000000)::text::xid8")
        connection.execute("UPDATE syftnotify.properties SET value = 'another/1' WHERE name = 'timeline'")
    read = (1_000_000_001 << XID_SHIFT) + 1  # the position of the first entry

    outbox.reopen_if_replaced()
    page = outbox.inbox.page(ANA, InboxFilter(), 9).entries
    assert sorted(entry.id for entry in page) == sorted(entries)
    later = create_notification(outbox, NewNotification(ANA, KIND, PAYLOAD)).id
    assert [entry.id for entry in outbox.inbox.after(read, 9).entries] == [entries[1], later]


def test_clients_of_every_server_get_everything_once(box: Box, database_url: str) -> None:
    """Also what is stored by several processes at the same moment."""
    box.configure({"serve": {"port": 0}, "database": database_url})
    settings = load_with_server(box.home, {})
    outboxes = [connect_outbox(settings) for _ in range(4)]
    with in_thread(settings, outboxes[0]) as one, in_thread(settings, outboxes[1]) as two, ExitStack() as end:
        secret = create_token(outboxes[0], ANA, Role.VIEWER).secret
        headers = {"Authorization": f"Bearer {secret}"}
        readers = [
            Reader(
                end.enter_context(httpx.Client(base_url=server.url, headers=headers, timeout=TIMEOUT, trust_env=False))
            )
            for server in (one, two)
        ]

        def store(number: int) -> None:
            for index in range(20):
                payload = {**PAYLOAD, "number": f"{number} {index}"}
                create_notification(outboxes[number], NewNotification(ANA, KIND, payload))

        writers = [threading.Thread(target=store, args=(number,)) for number in (2, 3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        wait_until(lambda: all(len(reader.ids) >= 40 for reader in readers))
    assert readers[0].ids == readers[1].ids
    assert len(set(readers[0].ids)) == len(readers[0].ids) == 40
    for outbox in outboxes:
        outbox.close()
