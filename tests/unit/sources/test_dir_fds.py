"""Directory descriptors that stay open during a scan."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from syftnotify.sources.syftbox.files.dir_fds import HAS_DIR_FD, DirFdCache, open_beneath, path_without_links

pytestmark = pytest.mark.skipif(not HAS_DIR_FD, reason="no directory descriptors")


@pytest.fixture
def base(tmp_path: Path) -> str:
    """A folder with `a/b/file` and `c`."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("content")
    (tmp_path / "c").mkdir()
    return str(tmp_path)


def test_folders_at_their_place_have_not_moved(base: str) -> None:
    cache = DirFdCache()
    os.close(open_beneath(base, ("a", "b", "file"), cache))
    cache.close()

    assert not cache.has_moved


@pytest.mark.parametrize("is_replaced", [True, False])
def test_folder_that_was_renamed_has_moved(base: str, is_replaced: bool) -> None:
    cache = DirFdCache()
    cache.get(base, ("a",))
    Path(base, "a").rename(Path(base, "elsewhere"))
    if is_replaced:
        Path(base, "a").mkdir()
    cache.close()

    assert cache.has_moved


def test_folder_that_cannot_be_examined_counts_as_moved_and_others_are_closed(base: str) -> None:
    """As on a network file system whose descriptors have become stale."""
    cache = DirFdCache()
    other = cache.get(base, ("c",))
    os.close(cache.get(base, ("a",)))
    cache.close()

    assert cache.has_moved
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other)


def test_cache_holds_a_quarter_of_the_limit_of_open_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    try:
        cache = DirFdCache()
        descriptors = []
        for number in range(150):
            (tmp_path / str(number)).mkdir()
            descriptors.append(cache.get(str(tmp_path), (str(number),)))
        assert len(set(descriptors)) == 100, "closed at 100, so that the numbers are used again"
        cache.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not cache.has_moved


def test_path_with_a_link_is_refused(base: str) -> None:
    Path(base, "link").symlink_to("a")

    assert path_without_links(base, ("a", "b")) == os.path.join(base, "a", "b")
    with pytest.raises(OSError, match="behind a link"):
        path_without_links(base, ("link", "b"))
