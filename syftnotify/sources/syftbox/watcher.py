"""When and where is it worth looking early? watchdog only says so; what is true, the look itself finds out."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from syftnotify.core.text import escape

log = logging.getLogger(__name__)

# Folders of a running job that change thousands of times and never decide anything.
_NOISE = ("/.venv/", "/__pycache__/")
# Each folder takes a watch of the kernel's and 0.65 KB of memory here.
_MOST_FOLDERS = 100_000
# Folders in one another below a watched one. watchdog walks them by recursion where Python's own `os.walk` does (3.11),
# and a thread of its dies at a thousand.
_MOST_DEPTH = 400
_LONGEST_PATH = 120  # characters of such a path that are shown
_MOST_PLACES = 1000  # when more than these changed, everywhere is looked at
# Seconds from new folders to the question whether there are watches left: asked while they still come, it would take
# the last one away from one of them, of which watchdog says nothing, and find it free afterwards.
_HUSH = 1.0
_TRY_AGAIN = 1800.0  # seconds until what could not be watched is tried again
_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
_MOUNTS = Path("/proc/self/mounts")
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")  # how a blank is written there
# File systems to which others write without this kernel knowing, and those that begin with `fuse.`.
_REMOTE = frozenset(
    "9p afs ceph cifs davfs fuse glusterfs lustre nfs nfs4 prl_fs smb3 smbfs vboxsf virtiofs".split()  # noqa: SIM905 - a list of words
)


@dataclass(frozen=True, slots=True)
class WatchSpec:
    """A folder that is worth watching: with all below it (`deep`), or for its own names alone.

    `names` are the files in it that matter; empty: all.
    """

    folder: Path
    deep: bool = True
    names: frozenset[str] = frozenset()


class ChangeWatcher:
    """Calls `wake` when something changed below the watched folders, as long as the system lets it.

    Where it does not (limits, missing folders, file systems without events), one line says so and the caller's own
    interval goes on being the truth; half an hour later it is tried again.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        *,
        is_careful: bool = True,
        most: Callable[[], int] = lambda: min(_MOST_FOLDERS, _half_of_all_watches()),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """A careful one watches `most` folders at most, and none on a file system that others write to."""
        self._wake = wake
        self._is_careful = is_careful
        self._most = most
        self._monotonic = monotonic
        self._observer: Any = None
        self._threads: list[threading.Thread] = []  # of the observer
        self._died_at = -math.inf  # when it was last found dead, on the monotonic clock
        self._watched: dict[WatchSpec, int] = {}
        self._refused: dict[WatchSpec, int] = {}  # what could not be watched
        self._try_again_at = 0.0
        self._complained = ""
        self._folders = 0  # that are watched, as far as a careful one knows
        self._grown = 0  # folders that came since it was last seen that they could be watched
        self._grown_at = 0.0  # when the first of them came, on the monotonic clock
        self._places: set[str] = set()
        self._is_anywhere = False
        self._noting = threading.Lock()
        self._overflows = _Overflows(self._note_overflow)

    def watch(self, wanted: list[WatchSpec]) -> bool:
        """Watch exactly what is wanted, and return whether that is news. Cheap when nothing changed."""
        found = {watched: inode for watched in wanted if (inode := _inode(watched.folder))}
        if found == self._watched and (not found or self.is_watching):
            self._follow_growth()
            return False
        if found == self._refused and self._monotonic() < self._try_again_at:
            return False
        is_dead = found == self._watched
        self.stop()
        if not found:
            return False
        if is_dead and self._dies_again():
            self._refuse(found, "a thread that watches has ended twice")
            return False
        try:
            self._folders = self._counted(found)
            self._start(found)
        except (OSError, RuntimeError) as error:
            self._refuse(found, str(error))
            return False
        self._watched, self._complained = found, ""
        return True

    @property
    def is_watching(self) -> bool:
        """Whether changes wake us now; not once a thread of the observer has ended."""
        return self._observer is not None and all(thread.is_alive() for thread in self._threads)

    def take(self) -> set[str] | None:
        """The paths at which something changed since this was last asked; None: it may be anywhere."""
        with self._noting:
            places, is_anywhere = self._places, self._is_anywhere
            self._places, self._is_anywhere = set(), False
        return None if is_anywhere else places

    def stop(self) -> None:
        """Watch nothing."""
        if self._observer is not None:
            self._overflows.stop()
            self._observer.stop()
            self._observer.join(timeout=5)
        self._observer, self._threads, self._watched, self._refused = None, [], {}, {}

    def _dies_again(self) -> bool:
        """Whether the observer died before, not long ago: then starting it again is no remedy."""
        before, self._died_at = self._died_at, self._monotonic()
        return self._died_at - before < _TRY_AGAIN

    def _start(self, found: Iterable[WatchSpec]) -> None:
        # Imported here: 60 ms, and a command that does not watch never needs it.
        from watchdog.observers import Observer
        from watchdog.utils import BaseThread

        before = set(threading.enumerate())
        observer = Observer()
        begun = set(threading.enumerate())
        try:
            for watched in found:
                self._schedule(observer, watched)
            observer.start()
            # Deep below, watchdog says nothing when there are no more watches; whoever asks for one more is told.
            self._observer = observer
            # One of them reads the kernel's events and belongs to no emitter; when it dies, nothing else ends.
            begun |= set(threading.enumerate())
            self._threads = [each for each in begun - before if isinstance(each, BaseThread)]
            self._ask_for_one_more()
        except (OSError, RuntimeError):
            self._observer, self._threads = None, []
            observer.unschedule_all()  # else what did start would live on
            raise
        self._overflows.start()

    def _schedule(self, observer: Any, watched: WatchSpec) -> Any:
        from watchdog import events

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
        handler = events.FileSystemEventHandler()
        handler.on_any_event = partial(self._on_event, watched)  # type: ignore[method-assign] # its documented way
        return observer.schedule(handler, str(watched.folder), recursive=watched.deep, event_filter=told)

    def _counted(self, found: Iterable[WatchSpec]) -> int:
        """How many folders there are to watch. Raises: RuntimeError, they cannot or should not be watched."""
        for watched in found:
            if self._is_careful and (kind := remote_kind(watched.folder)):
                raise RuntimeError(f"{watched.folder} lies on {kind}, to which others may write unseen")
        most = self._most() if self._is_careful else sys.maxsize
        count = 0
        for watched in found:
            count += count_folders(watched.folder, most - count) if watched.deep else 1
            if count > most:
                raise RuntimeError(f"there are more than {most} folders; `notify.watch: on` does it all the same")
        return count

    def _follow_growth(self) -> None:
        """Stop where there are too many folders by now, or no watches left for the new ones."""
        with self._noting:
            if self._monotonic() - self._grown_at < _HUSH:
                return
            grown, self._grown = self._grown, 0
        if not grown or self._observer is None:
            return
        self._folders += grown
        try:
            if self._is_careful and self._folders > self._most():
                self._folders = self._counted(self._watched)  # some may have gone meanwhile
            self._ask_for_one_more()
        except (OSError, RuntimeError) as error:
            refused = self._watched
            self.stop()
            self._refuse(refused, str(error))

    def _ask_for_one_more(self) -> None:
        self._observer.unschedule(self._schedule(self._observer, WatchSpec(Path(os.sep), deep=False)))

    def _refuse(self, found: dict[WatchSpec, int], why: str) -> None:
        self._refused, self._try_again_at = found, self._monotonic() + _TRY_AGAIN
        message = f"watching is not possible ({why}); looking every interval instead"
        if message != self._complained:
            log.warning("%s", message)
            self._complained = message

    def _on_event(self, watched: WatchSpec, event: Any) -> None:
        paths = [str(path) for path in (event.src_path, getattr(event, "dest_path", "")) if path]
        if watched.names and not any(os.path.basename(path) in watched.names for path in paths):
            return
        if any(part in path for path in paths for part in _NOISE):
            return
        with self._noting:
            if event.is_directory and event.event_type in {"created", "moved"}:
                self._grown_at = self._grown_at if self._grown else self._monotonic()
                self._grown += 1
            self._places.update(paths)
            self._is_anywhere = self._is_anywhere or len(self._places) > _MOST_PLACES
            if self._is_anywhere:
                self._places.clear()
        self._wake()

    def _note_overflow(self) -> None:
        with self._noting:
            self._is_anywhere = True
        self._wake()


class _Overflows(logging.Handler):
    """Calls `note` when watchdog says, as it only does in the log, that the kernel has dropped events."""

    def __init__(self, note: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note
        self._source = logging.getLogger("watchdog.observers.inotify_c")

    def start(self) -> None:
        self._source.addHandler(self)

    def stop(self) -> None:
        self._source.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._note()


def _inode(folder: Path) -> int:
    try:
        return folder.stat().st_ino
    except OSError:
        return 0


def count_folders(folder: Path, most: int) -> int:
    """How many folders lie in `folder`, itself included, as far as `most` and one more.

    Raises:
        RuntimeError: they are nested deeper than can be watched.
    """
    count, left = 1, [(str(folder), 0)]
    while left and count <= most:
        path, depth = left.pop()
        if depth > _MOST_DEPTH:
            nested = escape(os.path.relpath(path, folder)[:_LONGEST_PATH])
            raise RuntimeError(f"folders are nested more than {_MOST_DEPTH} deep: {folder}/{nested}…")
        try:
            with os.scandir(path) as entries:
                below = [(entry.path, depth + 1) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:  # gone, or not ours to look into
            continue
        count += len(below)
        left += below
    return count


def _half_of_all_watches() -> int:
    """The other half is for everything else that its user runs."""
    try:
        return int(_LIMIT.read_text(encoding="ascii")) // 2
    except (OSError, ValueError):  # no Linux, and no such limit
        return sys.maxsize


def remote_kind(folder: Path, *, mounts: Path = _MOUNTS) -> str:
    """The kind of the file system on which `folder` lies, where it is one that others may write to; else nothing."""
    try:
        lines = mounts.read_bytes().split(b"\n")
    except OSError:
        return ""
    inside = os.path.realpath(folder)
    kind, deepest = "", ""
    for mounted, name in (line.split(b" ")[1:3] for line in lines if line.count(b" ") > 1):
        place = os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), mounted))
        if len(place) >= len(deepest) and (f"{inside}/".startswith(f"{place.rstrip('/')}/")):
            kind, deepest = name.decode("ascii", "replace"), place
    return kind if kind in _REMOTE or kind.startswith("fuse.") else ""
