"""Files of ours are whole or not there, and have one writer at a time."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syftnotify.config.secrets import encrypt
from syftnotify.core.models import Message
from syftnotify.sources.spool import emit
from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.system.files import atomic_write, create_private_folder, quarantine
from syftnotify.system.locks import file_lock
from syftnotify.system.paths import Home
from syftnotify.transports.maildir.sending import MaildirTransport


def test_a_file_is_replaced_whole_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    atomic_write(path, b"one")
    atomic_write(path, b"two", durable=False)

    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["state.json"]


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def maildir(path: Path) -> None:
    MaildirTransport(path, clock=time.time).send(Message("id", "o@x.example", "subject", "text"))


@pytest.mark.parametrize(
    "use",
    [
        create_private_folder,
        lambda path: JsonStateManager(path / "state.json").mark_notified("job", "new"),
        lambda path: emit("job_failed", "run/1", home=path),
        lambda path: encrypt("hush", Home(path)),
        maildir,
    ],
    ids=["create_private_folder", "JsonStateManager", "emit", "encrypt", "maildir"],
)
def test_missing_parents_are_created_private_whatever_the_umask(
    tmp_path: Path, no_umask: None, use: Callable[[Path], object]
) -> None:
    """C12: also through the Python API, where no command sets the umask."""
    use(tmp_path / "a" / "b" / "c")

    made = list((tmp_path / "a").rglob("*"))
    assert tmp_path / "a" / "b" / "c" in made
    assert [path for path in (tmp_path / "a", *made) if path.stat().st_mode & 0o077] == []


def test_private_folder_leaves_existing_folders_as_they_are(tmp_path: Path) -> None:
    """C12."""
    (tmp_path / "a").mkdir(mode=0o755)
    create_private_folder(tmp_path / "a")
    create_private_folder(tmp_path / "a" / "b")

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        create_private_folder(tmp_path / "file")


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.mkdir()  # a folder cannot be replaced by a file

    with pytest.raises(OSError, match=r"state\.json"):
        atomic_write(path, b"two")

    assert os.listdir(tmp_path) == ["state.json"]


def _count(path: Path, times: int) -> None:
    for _ in range(times):
        with file_lock(path.with_suffix(".lock"), seconds=30) as held:
            assert held
            path.write_text(str(int(path.read_text()) + 1))


def test_only_one_process_is_inside_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(path, 25)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert path.read_text() == "75"


def test_who_cannot_have_the_lock_is_told(tmp_path: Path) -> None:
    with file_lock(tmp_path / "lock", seconds=0) as first, file_lock(tmp_path / "lock", seconds=0.05) as second:
        assert first
        assert not second


@pytest.mark.parametrize("name", ["x", "a" * 255, "é" * 127, "☃" * 85])
def test_put_aside_keeps_content_under_names_that_fit(tmp_path: Path, name: str) -> None:
    """A7: several damaged files of one long name are kept apart; no character is cut in two."""
    kept = []
    for number in range(12):
        (tmp_path / name).write_text(str(number))
        kept.append(quarantine(tmp_path / name))

    assert [path.read_text() for path in kept] == [str(number) for number in range(12)]
    for path in kept:
        start, sign, _ = path.name.partition(".damaged-")
        assert sign
        assert name.startswith(start)
        assert len(path.name.encode()) <= 255


def test_put_aside_takes_the_name_of_no_broken_link(tmp_path: Path) -> None:
    """A7"""
    links = []
    for _ in range(3):
        (tmp_path / "x").symlink_to("nowhere")
        links.append(quarantine(tmp_path / "x"))

    assert len(set(links)) == 3
    assert all(path.is_symlink() for path in links)
