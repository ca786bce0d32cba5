"""A damaged, lost or newer outbox: reported, repaired, nothing lost or repeated."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from syftnotify.core.errors import StateError
from tests.integration.damage.homes import HOUR, PAGE, assert_sent_once, maildir_blocked, warnings_of
from tests.support import Box, Clock
from tests.workers import SUBMITTED, layout_d, sent, submit_pending

pytestmark = pytest.mark.check_only


CUTS = [0, 1, 50, 100, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 7 * PAGE, -PAGE, -1]


@pytest.mark.parametrize(
    "length",
    [length if length in {0, PAGE} else pytest.param(length, marks=pytest.mark.thorough) for length in CUTS],
)
def test_outbox_cut_at_any_length_loses_and_repeats_nothing(copy: Box, length: int) -> None:
    """X01, X02."""
    copy.home.outbox.write_bytes(copy.home.outbox.read_bytes()[:length])

    assert_sent_once(copy)


@pytest.mark.parametrize("length", [PAGE, *(pytest.param(each, marks=pytest.mark.thorough) for each in (0, 1, -PAGE))])
@pytest.mark.parametrize("has_mail", [True, False], ids=["with mails owed", "with nothing owed"])
def test_outbox_cut_is_logged(copy: Box, length: int, has_mail: bool, caplog: pytest.LogCaptureFixture) -> None:
    """X02: the history is lost; the log explains why."""
    if not has_mail:
        copy.scan()
        caplog.clear()
    copy.home.outbox.write_bytes(copy.home.outbox.read_bytes()[:length])
    copy.scan()

    assert len([line for line in warnings_of(caplog) if "outbox.db" in line]) == 1


@pytest.mark.parametrize("page", [0, 5, *(pytest.param(page, marks=pytest.mark.thorough) for page in (1, 2, 9, 13))])
def test_outbox_with_a_page_of_garbage_loses_nothing(copy: Box, page: int) -> None:
    """X01, X02: it is quarantined, or what it holds is used."""
    content = bytearray(copy.home.outbox.read_bytes())
    assert len(content) > page * PAGE
    content[page * PAGE : (page + 1) * PAGE] = random.Random(page).randbytes(PAGE)
    copy.home.outbox.write_bytes(content)

    assert_sent_once(copy)


def test_outbox_that_is_no_database_is_quarantined(copy: Box, caplog: pytest.LogCaptureFixture) -> None:
    """X02."""
    copy.home.outbox.write_bytes(b"not a database at all" * 999)
    assert_sent_once(copy)

    assert [line for line in warnings_of(caplog) if "outbox.db was damaged" in line]
    (aside,) = copy.home.root.glob("outbox.db.damaged-*")
    assert aside.read_bytes() == b"not a database at all" * 999


def test_outbox_of_a_newer_version_is_not_changed(copy: Box) -> None:
    """X02."""
    with contextlib.closing(sqlite3.connect(copy.home.outbox)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA user_version = 99")
    before = copy.home.outbox.read_bytes()
    with pytest.raises(StateError, match="written by a newer version"):
        copy.scan()

    assert copy.home.outbox.read_bytes() == before
    with contextlib.closing(sqlite3.connect(copy.home.outbox)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    assert_sent_once(copy)


def test_outbox_replaced_by_a_folder_loses_nothing(copy: Box) -> None:
    """X02."""
    kept = copy.home.outbox.rename(copy.folder / "kept")
    copy.home.outbox.mkdir()
    with pytest.raises(StateError, match=r"outbox\.db cannot be opened"):
        copy.scan()
    copy.home.outbox.rmdir()
    kept.rename(copy.home.outbox)

    assert_sent_once(copy)


@pytest.mark.parametrize(
    "damage",
    [
        "no wal",
        *(
            pytest.param(damage, marks=pytest.mark.thorough)
            for damage in ("half a wal", "garbage for a wal", "garbage for shm", "no shm")
        ),
    ],
)
def test_outbox_write_ahead_log_lost_or_damaged_loses_nothing(copy: Box, tmp_path: Path, damage: str) -> None:
    """X01, X02: as after a power cut, or when a user deletes them after a kill."""
    tree = layout_d(copy)
    app = copy.open_app()
    try:
        # Nothing of this is in the database itself yet: it is still in its write-ahead log.
        submit_pending(tree, "late")
        with maildir_blocked(copy, tmp_path / "kept"):
            app.run_once(copy.clock.now)
        shutil.copytree(copy.folder, tmp_path / "killed")
    finally:
        app.close()
    box = Box(tmp_path / "killed", clock=Clock(copy.clock.now + 9 * HOUR, copy.clock.monotonic_now + 9 * HOUR))
    box.configure()
    box.new_mails()
    wal, shm = box.home.root / "outbox.db-wal", box.home.root / "outbox.db-shm"
    whole = wal.read_bytes()
    assert len(whole) > PAGE
    if damage == "no wal":
        wal.unlink()
    elif damage == "half a wal":
        wal.write_bytes(whole[: len(whole) // 2])
    elif damage == "garbage for a wal":
        wal.write_bytes(random.Random(1).randbytes(len(whole)))
    elif damage == "garbage for shm":
        shm.write_bytes(random.Random(1).randbytes(32768))
    else:
        shm.unlink()
    box.scan()
    box.clock.advance(HOUR)
    box.scan()

    assert sent(box.new_mails()) == sorted([*SUBMITTED, *SUBMITTED])


def test_outbox_damaged_under_a_worker_is_repaired_by_the_next(copy: Box) -> None:
    """X01, X02: until then every scan reports it."""
    app = copy.open_app()
    try:
        with copy.home.outbox.open("r+b") as file:
            file.truncate(0)
            file.write(b"garbage" * 2000)
        with contextlib.suppress(StateError):
            app.run_once(copy.clock.now)
    finally:
        app.close()
    copy.clock.advance(HOUR)
    copy.scan()
    copy.clock.advance(HOUR)
    copy.scan()

    assert sent(copy.new_mails()) == SUBMITTED
