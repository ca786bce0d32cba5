"""The job folders below a SyftBox root: those of one owner, or those of all owners for one submitter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from syftnotify.sources.syftbox.files.folder_cache import FolderCache
from syftnotify.sources.syftbox.layouts.contract import Layout
from syftnotify.sources.syftbox.layouts.registry import (
    layouts_below_datasites,
    layouts_below_root,
    layouts_of_submitter,
)
from syftnotify.sources.syftbox.names import looks_like_email
from syftnotify.sources.syftbox.watch.spec import WatchSpec


class JobFolders:
    """Finds the folders `<owner>/app_data/job` and the layouts that they may contain."""

    def __init__(
        self, root: Path, owner: str, submitter: str, folder_cache: FolderCache, clock: Callable[[], float]
    ) -> None:
        """Either `owner` or `submitter` is an address; the other one is empty."""
        self._root = root
        self._owner = owner
        self._submitter = submitter
        self._folder_cache = folder_cache
        self._clock = clock
        self._layouts: tuple[tuple[Path, tuple[Layout, ...]], ...] = (
            ((root, layouts_of_submitter(submitter)),)
            if submitter
            else ((root / "datasites", layouts_below_datasites()), (root, layouts_below_root()))
        )

    def find(self) -> Iterator[tuple[str, str, tuple[Layout, ...]]]:
        """The path of each possible job folder, its owner, and its layouts; the path need not exist."""
        for parent, layouts in self._layouts:
            for name in self._folder_cache.folders(str(parent), self._clock()):
                if self._is_owner(name):
                    yield str(parent / name / "app_data" / "job"), name, layouts

    def _is_owner(self, name: str) -> bool:
        if self._submitter:
            return looks_like_email(name) and name.casefold() != self._submitter.casefold()
        return name.casefold() == self._owner.casefold()

    def existing(self) -> list[Path]:
        """The job folders that exist."""
        return [Path(base) for base, _, _ in self.find() if os.path.isdir(base)]

    def watch_specs(self) -> list[WatchSpec]:
        """The existing job folders; while there is none, the folders in which the first would appear."""
        existing = [WatchSpec(folder) for folder in self.existing()]
        if existing or not os.path.isdir(self._root):
            return existing
        if self._submitter:
            return [WatchSpec(self._root, recursive=False)]
        sites = (self._owner, f"datasites/{self._owner}")
        parents = {self._deepest_existing(self._root / site / "app_data") for site in sites}
        return [WatchSpec(folder, recursive=False) for folder in sorted(parents)]

    def _deepest_existing(self, folder: Path) -> Path:
        while not os.path.isdir(folder) and folder != self._root:
            folder = folder.parent
        return folder
