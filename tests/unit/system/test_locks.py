"""File locks, and the support of the file system for them."""

from __future__ import annotations

from pathlib import Path

from syftnotify.system.locks import supports_locks


def test_supports_locks_leaves_nothing_in_the_folder(tmp_path: Path) -> None:
    """B7."""
    assert supports_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []
