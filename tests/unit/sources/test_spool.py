"""The spool: files that are events, files that are none, and files that cannot be used."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syftnotify.sources.spool import Spool
from tests.emitting import GOOD_EVENT, emit, entities_of, scan_all, spooled, warnings_of
from tests.support import Box

WRONG: dict[str, list[Any]] = {
    "kind": ["job_faild", 5, None, ["job_failed"]],
    "entity": [5, None, {"a": 1}],
    "occurrence": [5, None],
    "at": [5, None],
    "payload": ["text", [], None, 5],
}
GARBAGE: dict[str, bytes] = {
    "empty": b"",
    "partial": json.dumps(GOOD_EVENT).encode()[:30],
    "binary": bytes(range(256)),
    "text": b"hello",
    "list": b"[]",
    "null": b"null",
    "number": b"5",
    "no parts": b"{}",
    "nan": b'{"kind": NaN}',
    "huge": json.dumps({**GOOD_EVENT, "payload": {"a": "x" * 300_000}}).encode(),
    "deep": b'{"a":' * 100_000,
    "surrogate": json.dumps({**GOOD_EVENT, "entity": "\ud800"}).encode(),
    **{
        f"{name} {number}": json.dumps({**GOOD_EVENT, name: value}).encode()
        for name, values in WRONG.items()
        for number, value in enumerate(values)
    },
    **{
        f"without {name}": json.dumps({k: v for k, v in GOOD_EVENT.items() if k != name}).encode()
        for name in GOOD_EVENT
    },
}


def test_spool_files_that_are_no_events_are_quarantined(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    """X11: each is named in the log, once; nothing is deleted."""
    emit(box, entity="first")
    for number, content in enumerate(GARBAGE.values()):
        (box.home.spool / f"{number:03d}.json").write_bytes(content)
    emit(box, entity="last")
    spool = Spool(box.home.spool)
    with caplog.at_level(logging.WARNING):
        taken = spool.scan()
        spool.remove(taken)
        assert spool.scan().events == []

    assert sorted(event.entity for event in taken.events) == ["first", "last"]
    assert spooled(box) == []
    counts = {
        name: sum(f"{number:03d}.json" in warning for warning in warnings_of(caplog))
        for number, name in enumerate(GARBAGE)
    }
    assert counts == dict.fromkeys(GARBAGE, 1)
    assert len(list(box.home.spool.glob("*.damaged-*"))) == len(GARBAGE)


def odd_files(folder: Path, outside: Path) -> None:
    """Names that end as events do, and are none."""
    (folder / "00-folder.json").mkdir()
    (folder / "01-full.json").mkdir()
    (folder / "01-full.json" / "x.json").write_text(json.dumps(GOOD_EVENT))
    (folder / "02-loop.json").symlink_to("02-loop.json")
    (folder / "03-folder-elsewhere.json").symlink_to(outside)
    (folder / "04-zero.json").symlink_to("/dev/zero")


def test_spool_folders_and_links_are_quarantined_unread(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    """X11: also a FIFO, whose opening would wait for a writer."""
    outside = box.folder / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    emit(box, entity="good")
    odd_files(box.home.spool, outside)
    os.mkfifo(box.home.spool / "05-pipe.json")
    (box.home.spool / "06-nowhere.json").symlink_to("nowhere")
    (box.home.spool / ".07-hidden.json").write_text("x")
    (box.home.spool / "08-other.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        taken = Spool(box.home.spool).scan()

    assert [event.entity for event in taken.events] == ["good"]
    assert (outside / "kept").read_text() == "kept"
    for name in ("00-folder", "01-full", "02-loop", "03-folder-elsewhere", "04-zero"):
        assert sum(f"{name}.json" in warning for warning in warnings_of(caplog)) == 1, name
        assert not os.path.lexists(box.home.spool / f"{name}.json")


@pytest.mark.parametrize("name", ["a" * 250, "é" * 125, "☃" * 83], ids=["ascii", "two bytes", "three bytes"])
def test_spool_file_with_longest_name_is_quarantined(box: Box, name: str) -> None:
    """A7: the new name has an addition, and fits all the same; two of them have different names."""
    box.home.spool.mkdir(mode=0o700)
    for end in "12":
        (box.home.spool / f"{name[:-1] + end if name[0] == 'a' else name[:-1]}.json").write_text("no event")
        emit(box, entity=f"good/{end}")
        box.scan()

    assert sorted(mail.entities[0] for mail in box.mails()) == ["good/1", "good/2"]
    assert len(list(box.home.spool.glob("*.damaged-*"))) == 2
    assert list(box.home.spool.glob("*.json")) == []


def lock(*paths: Path) -> None:
    """Make files unusable: nobody may read them, or root, who may, cannot rename or remove them."""
    if os.geteuid():
        for path in paths:
            path.chmod(0)
    elif subprocess.run(["chattr", "+i", *paths], check=False, capture_output=True).returncode:
        pytest.skip("root needs a file system with immutable files")


@pytest.fixture
def unlocked(box: Box) -> Iterator[None]:
    """Makes what is left in the spool removable again."""
    yield
    if not os.geteuid():
        subprocess.run(["chattr", "-i", *box.home.spool.iterdir()], check=False, capture_output=True)


@pytest.mark.usefixtures("unlocked")
def test_spool_file_that_cannot_be_read_or_renamed_is_skipped(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    """A7: each is named once, everything else goes on, and the scan does not fail."""
    box.home.spool.mkdir(mode=0o700)
    names = ["0.json", "zzz.json"]
    for name in names:
        (box.home.spool / name).write_text("no event")
    lock(*(box.home.spool / name for name in names))
    app = box.open_app()
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            emit(box, entity=f"good/{number}")
            app.run_once(box.clock.now)
    app.close()

    assert sorted(mail.entities[0] for mail in box.mails()) == ["good/0", "good/1", "good/2"]
    for name in names:
        assert sum(name in warning for warning in warnings_of(caplog)) == 1, warnings_of(caplog)


@pytest.mark.usefixtures("unlocked")
def test_spool_full_of_unusable_files_delays_no_event(box: Box) -> None:
    """A7: they do not count towards what one scan takes in."""
    emit(box, entity="good")
    paths = [box.home.spool / f"{number:04d}.json" for number in range(1001)]
    for path in paths:
        path.write_text("no event")
    lock(*paths)
    taken = Spool(box.home.spool).scan()

    assert [event.entity for event in taken.events] == ["good"]
    assert taken.is_complete


@pytest.mark.usefixtures("unlocked")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can lock a file that others may remove")
def test_spool_file_that_cannot_be_removed_is_read_once(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    """A7: an immutable file with a good event; of each later scan it costs nothing."""
    emit(box, entity="good")
    lock(*box.home.spool.iterdir())
    app = box.open_app()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            app.run_once(box.clock.now)
    app.close()
    assert sum("cannot be removed" in warning for warning in warnings_of(caplog)) == 1
    box.scan()

    assert [mail.entities for mail in box.mails()] == [["good"]]


def test_spool_folder_that_cannot_be_listed_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A7: a file in place of the folder fails no scan."""
    (tmp_path / "spool").write_text("")
    reader = Spool(tmp_path / "spool")
    with caplog.at_level(logging.WARNING):
        assert [reader.scan().events for _ in range(3)] == [[], [], []]

    assert len(warnings_of(caplog)) == 1


@pytest.mark.thorough
def test_spool_file_removed_while_it_is_read_stops_no_event(box: Box) -> None:
    """Two scans at once: one of them may be of `run --dry-run`."""
    done = threading.Event()

    def scan_again() -> None:
        while not done.is_set():
            Spool(box.home.spool).scan()

    thread = threading.Thread(target=scan_again)
    thread.start()
    try:
        for number in range(12):
            emit(box, entity=f"run/{number}")
            if number % 4 == 3:
                scan_all(box)
    finally:
        done.set()
        thread.join()

    assert sorted(entities_of(box)) == sorted(f"run/{number}" for number in range(12))
    assert list(box.home.spool.glob("*.damaged-*")) == []
