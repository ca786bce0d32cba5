"""The scan cache's file: it is used only if it belongs to this owner, version and state file, and is intact."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.models import DirectorySnapshot
from syftnotify.store.scan_cache import ScanCacheFile

OWNER = "o@x.org"
SNAPSHOT = DirectorySnapshot(["a", "b"], [1, 2], [3, -4], [5, 6, 7], ["c"], ["v1"])
REVISION = ("state", 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one snapshot."""
    path = tmp_path / "scan-cache.json"
    ScanCacheFile(path, OWNER).save({"D /x": SNAPSHOT}, REVISION)
    return path


@pytest.mark.parametrize(
    ("revision", "is_used"),
    [
        (REVISION, True),
        (("state", 5), True),
        (("state", 3), False),
        (("other", 4), False),
        (None, False),
    ],
)
def test_cache_is_used_from_its_revision_of_the_state_file_on(
    path: Path, revision: tuple[str, int] | None, is_used: bool
) -> None:
    """An older or another state file may lack what was read from the cached files."""
    assert ScanCacheFile(path, OWNER).load(revision) == ({"D /x": SNAPSHOT} if is_used else {})


def test_cache_that_does_not_exist_is_empty(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert ScanCacheFile(tmp_path / "none", OWNER).load(REVISION) == {}
    assert caplog.text == ""


def test_cache_of_another_owner_is_not_used(path: Path) -> None:
    assert ScanCacheFile(path, "b@x.org").load(REVISION) == {}


@pytest.mark.parametrize("mark", [["0.0.1", "3.8", OWNER], 3, None])
def test_cache_of_another_version_is_not_used(path: Path, mark: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "mark": mark}))

    assert ScanCacheFile(path, OWNER).load(REVISION) == {}


@pytest.mark.parametrize(
    "changes",
    [
        *({"primary": [wrong] * 2} for wrong in ("text", None, 1.5, 2**70)),
        *({"listed": wrong} for wrong in ([1, 2], ["a", "b", "c"], "text", None, 7, 1.5, 2**70)),
        {"archived": ["a", 1]},
        {"archived": ["b", "a"]},
        {"archived": ["a"]},
        {"active": [1]},
        {"version_folders": None},
    ],
    ids=str,
)
def test_cache_with_wrong_columns_is_not_used(
    path: Path, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    columns = list({**asdict(SNAPSHOT), **changes}.values())
    path.write_text(json.dumps({**json.loads(path.read_text()), "shelves": {"D /x": columns}}))
    with caplog.at_level(logging.WARNING):
        assert ScanCacheFile(path, OWNER).load(REVISION) == {}

    assert "every job is read again" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\0" * 100, b'{"mark": ' * 2000], ids=range(5))
def test_cache_that_is_damaged_is_not_used(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert ScanCacheFile(path, OWNER).load(REVISION) == {}

    assert "every job is read again" in caplog.text
    ScanCacheFile(path, OWNER).save({"D /x": SNAPSHOT}, REVISION)
    assert ScanCacheFile(path, OWNER).load(REVISION) == {"D /x": SNAPSHOT}
