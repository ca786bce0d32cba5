"""Atomic writes, private folders, locks, and quarantine of damaged files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from syftnotify.system.files import atomic_write, create_private_folder, quarantine, read_regular_file
from syftnotify.system.locks import file_lock


def test_atomic_write_replaces_the_file_and_makes_it_private(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    atomic_write(path, b"one")
    atomic_write(path, b"two", durable=False)

    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["state.json"]


def test_atomic_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.mkdir()  # a folder cannot be replaced by a file

    with pytest.raises(OSError, match=r"state\.json"):
        atomic_write(path, b"two")

    assert os.listdir(tmp_path) == ["state.json"]


def _next_descriptor() -> int:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.write_bytes(b"12345")])
def test_read_regular_file_that_is_refused_is_closed(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """A folder, a pipe, and a file above the limit."""
    make(tmp_path / "file")
    before = _next_descriptor()

    with pytest.raises(OSError, match=r"directory|regular|larger"):
        read_regular_file(tmp_path / "file", 4)

    assert _next_descriptor() == before


def test_private_folder_is_created_with_private_parents(tmp_path: Path, no_umask: None) -> None:
    """C12"""
    create_private_folder(tmp_path / "a" / "b")

    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a" / "b")] == [0o700, 0o700]


def test_private_folder_leaves_existing_folders_unchanged(tmp_path: Path) -> None:
    """C12"""
    (tmp_path / "a").mkdir(mode=0o755)
    create_private_folder(tmp_path / "a")
    create_private_folder(tmp_path / "a" / "b")

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        create_private_folder(tmp_path / "file")


def test_file_lock_that_is_held_is_not_acquired(tmp_path: Path) -> None:
    with file_lock(tmp_path / "lock", seconds=0) as first, file_lock(tmp_path / "lock", seconds=0.05) as second:
        assert first
        assert not second
    with file_lock(tmp_path / "lock", seconds=0) as third:
        assert third


@pytest.mark.parametrize("name", ["x", "a" * 255, "é" * 127, "☃" * 85])
def test_quarantine_keeps_each_file_under_a_name_that_fits(tmp_path: Path, name: str) -> None:
    """A7: several damaged files of one long name are kept apart; no character is cut in two."""
    quarantined = []
    for number in range(12):
        (tmp_path / name).write_text(str(number))
        quarantined.append(quarantine(tmp_path / name))

    assert [path.read_text() for path in quarantined] == [str(number) for number in range(12)]
    for path in quarantined:
        start, separator, _ = path.name.partition(".damaged-")
        assert separator
        assert name.startswith(start)
        assert len(path.name.encode()) <= 255


def test_quarantine_does_not_reuse_the_name_of_a_broken_link(tmp_path: Path) -> None:
    """A7"""
    links = []
    for _ in range(3):
        (tmp_path / "x").symlink_to("nowhere")
        links.append(quarantine(tmp_path / "x"))

    assert len(set(links)) == 3
    assert all(path.is_symlink() for path in links)
