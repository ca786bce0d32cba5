"""Start scans early when the file system reports a change. The scan, not the event, decides what is true."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from syftnotify.sources.syftbox.watch.limits import count_folders, default_max_folders, remote_file_system
from syftnotify.sources.syftbox.watch.observer import FolderObserver
from syftnotify.sources.syftbox.watch.spec import WatchSpec

log = logging.getLogger(__name__)

# Folders of a running job that change thousands of times and never affect its status.
_IGNORED = ("/.venv/", "/__pycache__/")
_MAX_PATHS = 1000  # above this number of changed paths, everything is scanned
# The check for free watches waits this long after a new folder appeared. It takes a watch for a moment: while more
# folders are created, one of them could get none because of it, which watchdog does not report.
DEBOUNCE_SECONDS = 1.0
_RETRY_SECONDS = 1800.0  # until watching is tried again after it was not possible


class ChangeWatcher:
    """Calls `on_change` when something changes below the watched folders.

    Where watching is not possible (limits, missing folders, file systems without events) a warning is logged, and only
    the caller's interval applies; watching is tried again half an hour later.
    """

    def __init__(
        self,
        on_change: Callable[[], None],
        *,
        has_limits: bool = True,
        max_folders: Callable[[], int] = default_max_folders,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `has_limits`, at most `max_folders` folders are watched, and none on a remote file system."""
        self._on_change = on_change
        self._has_limits = has_limits
        self._max_folders = max_folders
        self._monotonic = monotonic
        self._observer = FolderObserver(self._on_event, self._on_overflow)
        self._changes = _Changes(monotonic)
        self._died_at = -math.inf  # when a dead observer was last found, on the monotonic clock
        self._watched: dict[WatchSpec, int] = {}  # with the inode of each folder
        self._refused: dict[WatchSpec, int] = {}  # what could not be watched, with inodes
        self._retry_at = 0.0  # on the monotonic clock
        self._last_warning = ""
        self._folder_count = 0  # watched folders; known only with limits

    def watch(self, specs: list[WatchSpec]) -> bool:
        """Watch exactly these folders; returns whether watching them began now. Cheap if nothing changed."""
        found = {spec: inode for spec in specs if (inode := _inode(spec.folder))}
        if found == self._watched and (not found or self.is_watching):
            self._check_growth()
            return False
        if found == self._refused and self._monotonic() < self._retry_at:
            return False
        is_dead = found == self._watched
        self.stop()
        if not found:
            return False
        if is_dead and self._has_died_again():
            self._refuse(found, "a watching thread has ended twice within half an hour")
            return False
        try:
            self._folder_count = self._count(found)
            self._observer.start(found)
        except (OSError, RuntimeError) as error:
            self._refuse(found, str(error))
            return False
        self._watched, self._last_warning = found, ""
        return True

    @property
    def is_watching(self) -> bool:
        """Whether changes are reported now."""
        return self._observer.is_alive

    def pop_changed_paths(self) -> set[str] | None:
        """The paths that changed since the last call; None if any path may have changed."""
        return self._changes.pop_paths()

    def stop(self) -> None:
        """Stop watching."""
        self._observer.stop()
        self._watched, self._refused = {}, {}

    def _has_died_again(self) -> bool:
        """Note that the observer died; returns whether it also did in the last half hour: restarts do not help."""
        before, self._died_at = self._died_at, self._monotonic()
        return self._died_at - before < _RETRY_SECONDS

    def _count(self, specs: Iterable[WatchSpec]) -> int:
        """The number of folders to watch. Raises: RuntimeError if they cannot or should not be watched."""
        for spec in specs:
            if self._has_limits and (kind := remote_file_system(spec.folder)):
                raise RuntimeError(f"{spec.folder} is on {kind}, where other machines may write without an event")
        limit = self._max_folders() if self._has_limits else sys.maxsize
        count = 0
        for spec in specs:
            count += count_folders(spec.folder, limit - count) if spec.recursive else 1
            if count > limit:
                raise RuntimeError(f"there are more than {limit} folders; set `notify.watch: on` to watch them anyway")
        return count

    def _check_growth(self) -> None:
        """Stop watching if there are too many folders by now, or no watches left for new ones."""
        new_folders = self._changes.pop_new_folders()
        if not new_folders or not self._watched:
            return
        self._folder_count += new_folders
        try:
            if self._has_limits and self._folder_count > self._max_folders():
                self._folder_count = self._count(self._watched)  # some folders may have been removed
            self._observer.check_watches()
        except (OSError, RuntimeError) as error:
            refused = self._watched
            self.stop()
            self._refuse(refused, str(error))

    def _refuse(self, specs: dict[WatchSpec, int], reason: str) -> None:
        self._refused, self._retry_at = specs, self._monotonic() + _RETRY_SECONDS
        warning = f"cannot watch for changes ({reason}); scanning every interval instead"
        if warning != self._last_warning:
            log.warning("%s", warning)
            self._last_warning = warning

    def _on_event(self, spec: WatchSpec, event: Any) -> None:
        paths = [str(path) for path in (event.src_path, getattr(event, "dest_path", "")) if path]
        if spec.names and not any(os.path.basename(path) in spec.names for path in paths):
            return
        if any(part in path for path in paths for part in _IGNORED):
            return
        self._changes.add(paths, is_new_folder=event.is_directory and event.event_type in {"created", "moved"})
        self._on_change()

    def _on_overflow(self) -> None:
        self._changes.add_unknown()
        self._on_change()


class _Changes:
    """What changed since the last `pop_paths` and `pop_new_folders`. Thread-safe."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._paths: set[str] = set()
        self._is_anywhere = False  # any path may have changed
        self._new_folders = 0
        self._new_since = 0.0  # when the first of them appeared, on the monotonic clock

    def add(self, paths: Iterable[str], *, is_new_folder: bool) -> None:
        with self._lock:
            if is_new_folder:
                self._new_since = self._new_since if self._new_folders else self._monotonic()
                self._new_folders += 1
            self._paths.update(paths)
            self._is_anywhere = self._is_anywhere or len(self._paths) > _MAX_PATHS
            if self._is_anywhere:
                self._paths.clear()

    def add_unknown(self) -> None:
        with self._lock:
            self._is_anywhere = True

    def pop_paths(self) -> set[str] | None:
        """The changed paths; None if any path may have changed."""
        with self._lock:
            paths, is_anywhere = self._paths, self._is_anywhere
            self._paths, self._is_anywhere = set(), False
        return None if is_anywhere else paths

    def pop_new_folders(self) -> int:
        """The number of new folders; 0 until `DEBOUNCE_SECONDS` after the first of them."""
        with self._lock:
            if self._monotonic() - self._new_since < DEBOUNCE_SECONDS:
                return 0
            count, self._new_folders = self._new_folders, 0
        return count


def _inode(folder: Path) -> int:
    """The inode of a folder; 0 if it is missing or cannot be examined."""
    try:
        return folder.stat().st_ino
    except OSError:
        return 0
