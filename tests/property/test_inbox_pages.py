"""Pages of an inbox while notifications are stored: no gap, no repetition."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.core.inbox import InboxEntry, InboxFilter
from syftnotify.core.outbox import OutboxStore
from syftnotify.runtime.opening import create_outbox
from syftnotify.services.cursors import prepare_cursors
from syftnotify.services.inbox import NewNotification, create_notification, inbox_page, mark_read
from syftnotify.system.paths import Home
from tests.support import ANA, BO

KINDS = ("JOB_FAILED", "JOB_COMPLETED", "WORKFLOW_CREATED")


@contextmanager
def inbox() -> Iterator[OutboxStore]:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.create()
        with create_outbox(home) as outbox:
            prepare_cursors(outbox)
            yield outbox


def store(outbox: OutboxStore, user: str, kind: str) -> str:
    return create_notification(outbox, NewNotification(user, kind, {"job_id": "j"})).id


new = st.lists(st.tuples(st.sampled_from([ANA, BO]), st.sampled_from(KINDS)), max_size=8)


@pytest.mark.thorough
@given(
    before=new,
    between=st.lists(new, max_size=12),
    limit=st.integers(1, 7),
    kind=st.sampled_from(["", *KINDS]),
    unread=st.booleans(),
    marks=st.sets(st.integers(0, 12)),
)
def test_pages_have_each_notification_once(
    before: list[tuple[str, str]],
    between: list[list[tuple[str, str]]],
    limit: int,
    kind: str,
    unread: bool,
    marks: set[int],
) -> None:
    """C08, C15: what is stored meanwhile is newer than the first page, and what is read meanwhile was on a page."""
    with inbox() as outbox:
        stored = [(user, each, store(outbox, user, each)) for user, each in before]
        expected = [name for user, each, name in stored if user == ANA and kind in {"", each}]
        conditions, found, cursor, number = InboxFilter(unread=unread, kind=kind), list[InboxEntry](), "", 0
        while True:
            page = inbox_page(outbox, ANA, conditions, cursor=cursor, limit=limit)
            found += page.entries
            if page.entries and number in marks:
                mark_read(outbox, ANA, [page.entries[-1].id])  # the one from which the next page continues
            for user, each in between[number] if number < len(between) else ():
                store(outbox, user, each)
            number += 1
            if page.cursor is None:
                break
            assert len(page.entries) == limit
            cursor = page.cursor

    assert [entry.id for entry in found] == expected[::-1]


def test_pages_are_complete_while_others_write() -> None:
    """C15: with real threads: each reader finds all that was stored before its first page, each once."""
    with inbox() as outbox:
        known = [store(outbox, ANA, "JOB_FAILED") for _ in range(40)]
        is_done = threading.Event()

        def write() -> None:
            while not is_done.is_set():
                store(outbox, ANA, "JOB_COMPLETED")
                store(outbox, BO, "JOB_COMPLETED")

        writers = [threading.Thread(target=write) for _ in range(2)]
        for writer in writers:
            writer.start()
        try:
            for _ in range(5):
                found, cursor = list[str](), ""
                while True:
                    page = inbox_page(outbox, ANA, InboxFilter(), cursor=cursor, limit=7)
                    found += [entry.id for entry in page.entries]
                    if page.cursor is None:
                        break
                    cursor = page.cursor
                assert len(found) == len(set(found))
                assert found[-len(known) :] == known[::-1]
        finally:
            is_done.set()
            for writer in writers:
                writer.join()
