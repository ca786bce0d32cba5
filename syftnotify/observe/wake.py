"""When is it worth looking early? watchdog only says "look now"; what is true, the look itself finds out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# Folders of a running job that change thousands of times and never decide anything.
_NOISE = ("/.venv/", "/__pycache__/")


@dataclass(frozen=True, slots=True)
class Watched:
    """A folder that is worth watching: with all below it (`deep`), or for its own names alone.

    `names` are the files in it that matter; empty: all.
    """

    folder: Path
    deep: bool = True
    names: frozenset[str] = frozenset()


class Wake:
    """Calls `wake` when something changed below the watched folders, as long as the system lets it.

    Where it does not (limits, missing folders, file systems without events), one line says so and the caller's own
    interval goes on being the truth; every `watch` tries again.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._observer: Any = None
        self._watched: dict[Watched, int] = {}
        self._complained = ""

    def watch(self, wanted: list[Watched]) -> bool:
        """Watch exactly what is wanted, and return whether that is news. Cheap when nothing changed."""
        found = {watched: inode for watched in wanted if (inode := _inode(watched.folder))}
        if found == self._watched and (not found or self._observer.is_alive()):
            return False
        self.stop()
        if not found:
            return False
        # Imported here: 60 ms, and a command that does not watch never needs it.
        from watchdog import events
        from watchdog.observers import Observer

        # The default set also listens to opens and closes without writing, which our own look makes: on a large tree
        # that never ends. One event per written file is enough: its close, when it is whole.
        told: list[type[events.FileSystemEvent]] = [
            events.FileClosedEvent,
            events.FileCreatedEvent,
            events.FileMovedEvent,
            events.FileDeletedEvent,
            events.DirCreatedEvent,
            events.DirMovedEvent,
            events.DirDeletedEvent,
        ]
        if sys.platform == "darwin":  # which tells of no closes
            told.append(events.FileModifiedEvent)
        observer = Observer()
        try:
            for watched in found:
                handler = events.FileSystemEventHandler()
                handler.on_any_event = partial(self._on_event, watched)  # type: ignore[method-assign] # its documented way
                observer.schedule(handler, str(watched.folder), recursive=watched.deep, event_filter=told)
            observer.start()
        except (OSError, RuntimeError) as error:
            observer.unschedule_all()  # else what did start would live on
            self._complain(f"watching is not possible ({error}); looking every interval instead")
            return False
        self._observer, self._watched, self._complained = observer, found, ""
        return True

    @property
    def is_watching(self) -> bool:
        """Whether changes wake us now."""
        return self._observer is not None

    def stop(self) -> None:
        """Watch nothing."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(timeout=5)
        self._observer, self._watched = None, {}

    def _on_event(self, watched: Watched, event: Any) -> None:
        paths = [str(path) for path in (event.src_path, getattr(event, "dest_path", "")) if path]
        if watched.names and not any(Path(path).name in watched.names for path in paths):
            return
        if not any(part in path for path in paths for part in _NOISE):
            self._wake()

    def _complain(self, message: str) -> None:
        if message != self._complained:
            log.warning("%s", message)
            self._complained = message


def _inode(folder: Path) -> int:
    try:
        return folder.stat().st_ino
    except OSError:
        return 0
