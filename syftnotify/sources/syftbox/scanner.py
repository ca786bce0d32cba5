"""Find the jobs in the tree and read those that may have changed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from syftnotify.core.kinds import TERMINAL_STATUSES
from syftnotify.core.models import Job, ScanCache
from syftnotify.sources.syftbox.archived_jobs import SECONDARY_CYCLE
from syftnotify.sources.syftbox.files.folder_cache import FolderCache
from syftnotify.sources.syftbox.files.signatures import MISSING, is_racy, signature
from syftnotify.sources.syftbox.job_directory import JobDirectory
from syftnotify.sources.syftbox.job_folders import JobFolders
from syftnotify.sources.syftbox.job_index import JobIndex, JobRef, entities, invalidate
from syftnotify.sources.syftbox.layouts.contract import Layout
from syftnotify.sources.syftbox.read_order import ReadOrder
from syftnotify.sources.syftbox.scan_context import CurrentScan, StabilityTimer
from syftnotify.sources.syftbox.unreadable_jobs import UnreadableJobs
from syftnotify.sources.syftbox.watch.spec import WatchSpec

_CHUNK = 1000  # jobs passed to `on_jobs` at once


@dataclass(slots=True)
class JobScan:
    """The result of one scan."""

    jobs: list[Job] = field(default_factory=list)  # all that were read, unless they were passed to `on_jobs`
    count: int = 0  # jobs in the tree
    problems: list[str] = field(default_factory=list)  # log lines, each reported once
    rescan_soon: bool = False  # something is not certain yet, or was not read
    vanished: set[str] = field(default_factory=set)  # entities that existed at the last accepted scan


@dataclass(frozen=True, slots=True)
class _ReadOptions:
    """Arguments of `JobScanner.scan`."""

    seconds: float
    on_jobs: Callable[[list[Job]], None]
    progress: Callable[[int, int], None] | None


class JobScanner:
    """Scans the jobs of one owner below one SyftBox root, or those that one submitter sent to all owners.

    A job is read again when one of its two tracked files has changed (see `JobDirectory`), and until all that it shows
    is certain. What a scan found is offered again by the next one unless it was accepted.
    """

    def __init__(
        self,
        root: Path,
        owner: str = "",
        *,
        submitter: str = "",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        is_unstable: Callable[[str], bool] = lambda _entity: False,
    ) -> None:
        """Either `owner` or `submitter` is given.

        Args:
            root: the SyftBox root.
            owner: the address whose job folders are scanned.
            submitter: the address whose submissions are scanned.
            clock: seconds since 1970.
            monotonic: seconds that no change of the clock affects.
            is_unstable: whether an entity must be read at every scan although nothing changes.
        """
        self._clock = clock
        self._monotonic = monotonic
        self._is_unstable = is_unstable
        self._folder_cache = FolderCache()
        self._folders = JobFolders(root, owner, submitter, self._folder_cache, clock)
        self._index = JobIndex(clock)
        self._layouts: dict[JobDirectory, Layout] = {}  # that read the jobs of each directory
        self._timer = StabilityTimer(monotonic)
        self._order = ReadOrder()
        self._unreadable = UnreadableJobs(monotonic)
        self._full_scans = 0
        self._has_checked_secondary = False  # the secondary file of every archived job
        # Of scans that have not been accepted: the jobs that they read, and the entities that they missed.
        self._offered: list[JobRef] = []
        self._missing: set[str] = set()
        self._open_jobs: set[str] = set()  # entities that had not ended when they were last read

    def scan(
        self,
        *,
        changed_paths: Collection[str] | None = None,
        skip_archived: bool = False,
        seconds: float = math.inf,
        on_jobs: Callable[[list[Job]], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> JobScan:
        """Read every job that changed since the last accepted scan or is not certain yet.

        Args:
            changed_paths: paths below which something changed; other jobs that are certain are not checked. None:
                check all.
            skip_archived: at the first scan, leave the secondary files of archived jobs to the next one.
            seconds: after this time the remaining jobs are left to the next scan, so that a flood by one submitter
                delays only that submitter's jobs.
            on_jobs: receives the jobs in chunks, so that they need not all be kept in memory; the jobs of one entity
                are in the same chunk.
            progress: receives the number of jobs read so far, and of all jobs to read.
        """
        result = JobScan()
        self._offer_again()
        context = CurrentScan(self._clock(), self._index, self._folder_cache, self._timer, self._open_jobs)
        self._folder_cache.begin_scan()
        self._timer.begin_scan()
        changed = self._find_changed(context, changed_paths, skip_archived=skip_archived)
        try:
            self._read_changed(changed, context, result, _ReadOptions(seconds, on_jobs or result.jobs.extend, progress))
        finally:
            context.dir_fds.close()
        if context.dir_fds.has_moved:
            result.rescan_soon = True
            invalidate(changed)
        self._folder_cache.end_scan()
        self._timer.end_scan()
        self._complete(result)
        return result

    def _complete(self, result: JobScan) -> None:
        result.rescan_soon = result.rescan_soon or not self._has_checked_secondary
        self._missing = {entity for entity in self._missing if not self.has_job(entity)}
        result.vanished = set(self._missing)
        self._open_jobs -= result.vanished
        result.problems += self._unreadable.new_problems(self._layouts)
        result.count = sum(map(len, self._index))

    # -- what the caller has done with the results -------------------------------------------------------------------

    def accept(self) -> None:
        """The results of the last scan are recorded; from now on only new changes are offered."""
        self._offered = []
        self._missing = set()

    def invalidate(self, entities: Iterable[str]) -> None:
        """Offer these jobs again at the next scan."""
        self._index.invalidate(entities)

    def invalidate_all(self) -> None:
        """Offer every job again at the next scan."""
        for directory in self._index:
            directory.invalidate([*directory])

    def has_job(self, entity: str) -> bool:
        """Whether that job existed at the last scan."""
        return self._index.has_job(entity)

    def restore(self, cache: ScanCache, invalid: Collection[str]) -> None:
        """Before the first scan: use the cache of an earlier process, except for the entities in `invalid`."""
        self._index.restore(cache, invalid)

    @property
    def has_unsaved_changes(self) -> bool:
        """Whether archived jobs changed since the last snapshot."""
        return any(directory.has_unsaved_changes for directory in self._index)

    def snapshot(self) -> ScanCache:
        """The cache for the next process; results that were not accepted are left out."""
        self._offer_again()
        return self._index.snapshot()

    # -- folders -----------------------------------------------------------------------------------------------------

    def job_folders(self) -> list[Path]:
        """The job folders that exist."""
        return self._folders.existing()

    def watch_specs(self) -> list[WatchSpec]:
        """What to watch for changes of jobs."""
        return self._folders.watch_specs()

    # -- finding -----------------------------------------------------------------------------------------------------

    def _find_changed(
        self, context: CurrentScan, changed_paths: Collection[str] | None, *, skip_archived: bool
    ) -> list[JobRef]:
        """The jobs to read; the entities of jobs that are gone are added to `_missing`."""
        self._index.begin_scan()
        self._layouts = dict(self._find_directories(context))
        gone = self._index.end_scan()
        is_full = changed_paths is None or not self._full_scans
        slots = self._next_slots(is_full=is_full, skip_archived=skip_archived)
        self._full_scans += is_full
        always = self._index.jobs_at(changed_paths) if changed_paths and not is_full else {}
        changed: list[JobRef] = []
        for directory in self._layouts:
            names, lost = directory.find_changed(is_full=is_full, slots=slots, always=always.get(directory, ()))
            changed += ((name, directory) for name in names)
            gone += ((name, directory) for name in lost)
        self._offered = changed
        self._missing |= entities(gone)
        return changed

    def _find_directories(self, context: CurrentScan) -> Iterator[tuple[JobDirectory, Layout]]:
        for base, owner, layouts in self._folders.find():
            for layout in layouts:
                for directory in layout.directories(base, owner, context):
                    yield directory, layout

    def _next_slots(self, *, is_full: bool, skip_archived: bool) -> Collection[int]:
        """Slots of archived jobs whose secondary file is checked: all of them once, then one at each full scan."""
        if not self._has_checked_secondary and not skip_archived:
            self._has_checked_secondary = True
            return range(SECONDARY_CYCLE)
        return (self._full_scans % SECONDARY_CYCLE,) if is_full and not skip_archived else ()

    def _offer_again(self) -> None:
        invalidate(self._offered)
        self._offered = []

    # -- reading -----------------------------------------------------------------------------------------------------

    def _read_changed(
        self, changed: list[JobRef], context: CurrentScan, result: JobScan, options: _ReadOptions
    ) -> None:
        count = 0
        deadline = self._monotonic() + options.seconds
        skipped: list[JobRef] = []
        chunk: list[Job] = []
        for refs in self._order.arrange(changed):
            if self._monotonic() > deadline:
                skipped += refs
                continue
            chunk += self._read_entity(refs, context, result)
            count += len(refs)
            if options.progress:
                options.progress(count, len(changed))
            if len(chunk) >= _CHUNK:
                options.on_jobs(chunk)
                chunk = []
        options.on_jobs(chunk)
        invalidate(skipped)
        result.rescan_soon = result.rescan_soon or bool(skipped)
        self._order.note_skipped(skipped)

    def _read_entity(self, refs: list[JobRef], context: CurrentScan, result: JobScan) -> list[Job]:
        jobs = [job for ref in refs if (job := self._read_job(ref, context, result)) is not None]
        if any(not job.ended for job in jobs):
            self._open_jobs.add(jobs[0].entity)
        elif jobs:
            self._open_jobs.discard(jobs[0].entity)
        return jobs

    def _read_job(self, ref: JobRef, context: CurrentScan, result: JobScan) -> Job | None:
        name, directory = ref
        location = directory.location(name)
        now = self._clock()  # not the scan's: a scan may take longer than a signature is racy
        primary, secondary = map(signature, directory.tracked_paths(name))  # before reading, so no change is missed
        read = self._layouts[directory].read(location, context)
        job = read.job
        self._unreadable.note(ref, read.unreadable)
        is_recent = is_racy(primary, now) or is_racy(secondary, now)
        if read.rescan_soon or is_recent or secondary == MISSING or self._is_unstable(location.entity):
            directory.invalidate([name])
            result.rescan_soon = True
        elif not read.is_tracked:
            directory.invalidate([name])
        else:
            is_archived = job is not None and job.is_readable and job.status in TERMINAL_STATUSES
            directory.record(name, primary, secondary, archive=is_archived)
        return job
