"""The names in folders of the tree, listed again only when a folder's timestamp shows a change."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice

from syftnotify.sources.syftbox.files.signatures import Signature, is_racy, signature_of

MAX_NAMES = 200_000  # names read of one folder; the rest is ignored


@dataclass(frozen=True, slots=True)
class _Listing:
    signature: Signature
    is_racy: bool
    folders: tuple[str, ...]
    files: frozenset[str]


class FolderCache:
    """Cached listings of folders. One that a scan did not ask for is dropped at the end of that scan."""

    def __init__(self, file_names: frozenset[str] = frozenset()) -> None:
        """`file_names` are the names that `files` can return: a folder may contain many thousands of others."""
        self._file_names = file_names
        self._listings: dict[str, _Listing] = {}  # by path
        self._requested: set[str] = set()

    def begin_scan(self) -> None:
        self._requested = set()

    def end_scan(self) -> None:
        for path in self._listings.keys() - self._requested:
            del self._listings[path]

    def folders(self, path: str, now: float) -> tuple[str, ...]:
        """The sorted names of the folders in `path`, without links; empty if there is no such folder."""
        listing = self._listing(path, now)
        return listing.folders if listing else ()

    def files(self, path: str, now: float) -> frozenset[str] | None:
        """Which of the given file names are regular files in `path`; None if there is no such folder."""
        listing = self._listing(path, now)
        return listing.files if listing else None

    def _listing(self, path: str, now: float) -> _Listing | None:
        self._requested.add(path)
        try:
            found = signature_of(os.stat(path))  # followed: the owner's own root or job folder may be a link
            cached = self._listings.get(path)
            if cached and cached.signature == found and not cached.is_racy:
                return cached
            folders, files = self._list(path)
        except OSError:
            self._listings.pop(path, None)
            return None
        listing = _Listing(found, is_racy(found, now), tuple(sorted(folders)), frozenset(files))
        self._listings[path] = listing
        return listing

    def _list(self, path: str) -> tuple[list[str], list[str]]:
        folders: list[str] = []
        files: list[str] = []
        with os.scandir(path) as entries:
            for entry in islice(entries, MAX_NAMES):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.name in self._file_names and entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
        return folders, files
