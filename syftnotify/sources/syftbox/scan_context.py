"""The state of one scan that layouts may use, and for how long conditions have held."""

from __future__ import annotations

from collections.abc import Callable, Collection

from syftnotify.sources.syftbox.files.dir_fds import DirFdCache
from syftnotify.sources.syftbox.files.folder_cache import FolderCache
from syftnotify.sources.syftbox.job_directory import JobLocation
from syftnotify.sources.syftbox.job_index import JobIndex
from syftnotify.sources.syftbox.layouts.contract import END_CONDITION


class StabilityTimer:
    """Measures the age of conditions on this process's monotonic clock. A condition is any text.

    A condition that no scan asks for is forgotten at the end of that scan.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: dict[str, tuple[float, bool]] = {}  # by condition: when it was first asked for, and the flag
        self._requested: set[str] = set()

    def begin_scan(self) -> None:
        self._requested = set()

    def end_scan(self) -> None:
        self._since = {key: since for key, since in self._since.items() if key in self._requested}

    def age(self, condition: str, *, ignores_timestamps: bool = False) -> tuple[float, bool]:
        """The seconds since the condition was first asked for, and the `ignores_timestamps` that was given then.

        The caller uses that flag: the timestamps of files are no evidence for the age of this condition.
        """
        self._requested.add(condition)
        now = self._monotonic()
        since, flag = self._since.setdefault(condition, (now, ignores_timestamps))
        return now - since, flag


class CurrentScan:
    """Implements `ScanContext`. `open_jobs` are the entities that had not ended when they were last read."""

    def __init__(
        self,
        now: float,
        index: JobIndex,
        folder_cache: FolderCache,
        timer: StabilityTimer,
        open_jobs: Collection[str],
    ) -> None:
        self.now = now
        self.directory = index.directory
        self.dir_fds = DirFdCache()
        self._folder_cache = folder_cache
        self._timer = timer
        self._open_jobs = open_jobs

    def folders(self, path: str) -> tuple[str, ...]:
        return self._folder_cache.folders(path, self.now)

    def has_lasted(self, location: JobLocation, condition: str, seconds: float, since: float) -> bool:
        # When this process has just seen the job end, only its own clock counts: a folder of layout A keeps its old
        # timestamp when it is moved to `done`.
        has_just_ended = condition == END_CONDITION and location.entity in self._open_jobs
        age, ignores_timestamps = self._timer.age(f"{location.path} {condition}", ignores_timestamps=has_just_ended)
        return age >= seconds or (not ignores_timestamps and not -seconds <= self.now - since < seconds)
