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
    layouts_of_party,
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
        # Where owners' folders are, the layouts of the own one, and those of others.
        self._layouts: tuple[tuple[Path, tuple[Layout, ...], tuple[Layout, ...]], ...] = (
            ((root, (), layouts_of_submitter(submitter)),)
            if submitter
            else (
                (root / "datasites", layouts_below_datasites(), ()),
                (root, layouts_below_root(), layouts_of_party(owner)),
            )
        )

    def find(self) -> Iterator[tuple[str, str, tuple[Layout, ...]]]:
        """The path of each possible job folder, its owner, and its layouts; the path need not exist."""
        user = (self._owner or self._submitter).casefold()
        for parent, own, others in self._layouts:
            for name in self._folder_cache.folders(str(parent), self._clock()):
                layouts = own if name.casefold() == user else others if looks_like_email(name) else ()
                if layouts:
                    yield str(parent / name / "app_data" / "job"), name, layouts

    def existing(self) -> list[Path]:
        """The job folders that exist: the owner's own, or those of all owners for a submitter."""
        return [Path(base) for base, owner, _ in self.find() if self._is_main(owner) and os.path.isdir(base)]

    def _is_main(self, owner: str) -> bool:
        return bool(self._submitter) or owner.casefold() == self._owner.casefold()

    def watch_specs(self) -> list[WatchSpec]:
        """The existing job folders; while there is none, the folders in which the first would appear."""
        existing = [WatchSpec(folder) for folder in self.existing()]
        others = (Path(base) for base, owner, _ in self.find() if not self._is_main(owner))
        existing_others = [WatchSpec(folder) for folder in others if os.path.isdir(folder)]
        if existing or not os.path.isdir(self._root):
            return existing + existing_others
        if self._submitter:
            return [WatchSpec(self._root, recursive=False)]
        sites = (self._owner, f"datasites/{self._owner}")
        parents = {self._deepest_existing(self._root / site / "app_data") for site in sites}
        return [*(WatchSpec(folder, recursive=False) for folder in sorted(parents)), *existing_others]

    def _deepest_existing(self, folder: Path) -> Path:
        while not os.path.isdir(folder) and folder != self._root:
            folder = folder.parent
        return folder
