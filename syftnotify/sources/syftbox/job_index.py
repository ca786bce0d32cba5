"""All job directories of one reader, kept from scan to scan, and where a job or a path belongs."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from urllib.parse import unquote

from syftnotify.core.models import ScanCache
from syftnotify.sources.syftbox.job_directory import DirectorySpec, JobDirectory

JobRef = tuple[str, JobDirectory]  # a job's name, and the directory that contains it


class JobIndex:
    """The job directories found by the last scan.

    A scan calls `begin_scan`, then `directory` for each directory that it finds, then `end_scan`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds since 1970."""
        self._clock = clock
        self._directories: dict[str, JobDirectory] = {}  # by layout and folder, as in `ScanCache`
        self._by_entity_prefix: dict[str, list[JobDirectory]] = {}
        self._by_folder: dict[str, list[JobDirectory]] = {}
        self._found: dict[str, JobDirectory] = {}  # by the current scan
        self._removed: list[JobRef] = []  # since the last scan
        self._cache: ScanCache = {}  # of an earlier process, until the first scan
        self._invalid: Collection[str] = ()  # entities for which it is not valid

    def __iter__(self) -> Iterator[JobDirectory]:
        return iter(self._directories.values())

    def begin_scan(self) -> None:
        self._found, self._removed = {}, []

    def directory(self, spec: DirectorySpec) -> JobDirectory:
        """The directory at that place, with its names up to date."""
        key = f"{spec.layout.key} {spec.folder}"
        directory = self._directories.get(key)
        if directory is None:
            directory = JobDirectory(spec)
            if saved := self._cache.pop(key, None):
                directory.restore(saved, self._invalid)
        self._found[key] = directory
        self._removed += [(name, directory) for name in directory.refresh(self._clock())]
        return directory

    def end_scan(self) -> list[JobRef]:
        """Drop directories that were not found; returns the jobs whose folders are gone since the last scan."""
        for key, directory in self._directories.items():
            if key not in self._found:
                self._removed += [(name, directory) for name in directory]
        if self._directories.keys() != self._found.keys():
            self._rebuild_lookups()
        self._directories = self._found
        self._cache = {}
        return self._removed

    def _rebuild_lookups(self) -> None:
        self._by_entity_prefix, self._by_folder = defaultdict(list), defaultdict(list)
        for directory in self._found.values():
            self._by_entity_prefix[directory.entity_prefix].append(directory)
            for folder in {directory.folder, directory.state_folder}:
                self._by_folder[folder].append(directory)

    def has_job(self, entity: str) -> bool:
        """Whether a job with that entity id exists in any directory."""
        return any(name in directory for name, directory in self._candidates(entity))

    def invalidate(self, entities: Iterable[str]) -> None:
        """Offer these jobs again at the next scan."""
        invalidate(ref for entity in entities for ref in self._candidates(entity))

    def _candidates(self, entity: str) -> Iterator[JobRef]:
        prefix, _, name = entity.rpartition("/")
        name = unquote(name, errors="surrogateescape")
        return ((name, directory) for directory in self._by_entity_prefix.get(f"{prefix}/", ()))

    def jobs_at(self, paths: Iterable[str]) -> dict[JobDirectory, set[str]]:
        """The names of jobs to which these paths would belong, by directory; the jobs need not exist."""
        found: dict[JobDirectory, set[str]] = defaultdict(set)
        for path in paths:
            folder, name = os.path.split(path)
            while name:
                for directory in self._by_folder.get(folder, ()):
                    found[directory].add(name)
                folder, name = os.path.split(folder)
        return found

    def restore(self, cache: ScanCache, invalid: Collection[str]) -> None:
        """At the next scan, use what an earlier process saved, except for the entities in `invalid`."""
        self._cache, self._invalid = dict(cache), invalid

    def snapshot(self) -> ScanCache:
        """What the next process can restore: the directories with archived jobs."""
        return {key: saved for key, directory in self._directories.items() if (saved := directory.snapshot()).archived}


def entities(refs: Iterable[JobRef]) -> set[str]:
    """The entity ids of these jobs."""
    return {directory.location(name).entity for name, directory in refs}


def invalidate(refs: Iterable[JobRef]) -> None:
    """Offer these jobs again at the next scan."""
    by_directory: dict[JobDirectory, list[str]] = defaultdict(list)
    for name, directory in refs:
        by_directory[directory].append(name)
    for directory, names in by_directory.items():
        directory.invalidate(names)
