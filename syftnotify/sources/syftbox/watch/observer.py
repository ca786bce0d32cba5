"""A watchdog observer whose failures become visible: dead threads, exhausted watches and dropped events."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from syftnotify.sources.syftbox.watch.spec import WatchSpec


class FolderObserver:
    """Observes some folders until `stop`. The callbacks are called in threads of watchdog."""

    def __init__(self, on_event: Callable[[WatchSpec, Any], None], on_overflow: Callable[[], None]) -> None:
        """`on_event` receives watchdog's events; `on_overflow` is called when the kernel has dropped some."""
        self._on_event = on_event
        self._overflow_handler = _OverflowHandler(on_overflow)
        self._observer: Any = None
        self.threads: list[threading.Thread] = []

    def start(self, specs: Iterable[WatchSpec]) -> None:
        """Observe these folders. Raises: OSError, RuntimeError."""
        # Imported here because it takes 60 ms, and commands that do not watch never need it.
        from watchdog.observers import Observer
        from watchdog.utils import BaseThread

        before = set(threading.enumerate())
        observer = Observer()
        started = set(threading.enumerate())
        try:
            for spec in specs:
                self._schedule(observer, spec)
            observer.start()
            self._observer = observer
            # Among them is the thread that reads the kernel's events: `Observer` does not notice its end.
            started |= set(threading.enumerate())
            self.threads = [thread for thread in started - before if isinstance(thread, BaseThread)]
            self.check_watches()
        except (OSError, RuntimeError):
            self._observer, self.threads = None, []
            observer.unschedule_all()  # emitters that were started would otherwise go on
            raise
        self._overflow_handler.install()

    @property
    def is_alive(self) -> bool:
        """Whether changes are reported; False once one of the threads has ended."""
        return self._observer is not None and all(thread.is_alive() for thread in self.threads)

    def check_watches(self) -> None:
        """Add and remove one watch, because watchdog reports a lack of watches only for the folders in `start`.

        Raises:
            OSError: no watch is left.
        """
        self._observer.unschedule(self._schedule(self._observer, WatchSpec(Path(os.sep), recursive=False)))

    def stop(self) -> None:
        if self._observer is not None:
            self._overflow_handler.remove()
            self._observer.stop()
            self._observer.join(timeout=5)
        self._observer, self.threads = None, []

    def _schedule(self, observer: Any, spec: WatchSpec) -> Any:
        from watchdog import events

        # The default set includes opens and closes without writing, which a scan causes: on a large tree that would
        # never end. One event for a written file is enough: its close, when the content is complete.
        accepted: list[type[events.FileSystemEvent]] = [
            events.FileClosedEvent,
            events.FileCreatedEvent,
            events.FileMovedEvent,
            events.FileDeletedEvent,
            events.DirCreatedEvent,
            events.DirMovedEvent,
            events.DirDeletedEvent,
        ]
        if sys.platform == "darwin":  # reports no closes
            accepted.append(events.FileModifiedEvent)
        handler = events.FileSystemEventHandler()
        handler.on_any_event = partial(self._on_event, spec)  # type: ignore[method-assign] # its documented use
        return observer.schedule(handler, str(spec.folder), recursive=spec.recursive, event_filter=accepted)


class _OverflowHandler(logging.Handler):
    """Calls back when watchdog logs that the kernel has dropped events, which it reports nowhere else."""

    def __init__(self, on_overflow: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._on_overflow = on_overflow
        self._logger = logging.getLogger("watchdog.observers.inotify_c")

    def install(self) -> None:
        self._logger.addHandler(self)

    def remove(self) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._on_overflow()
