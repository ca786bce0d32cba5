"""Which jobs lie in the tree, and which of them may hold news? What did not change is not read again."""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from urllib.parse import unquote

from syftnotify.core.kinds import TERMINAL_STATUSES
from syftnotify.core.models import Job, ScanCache
from syftnotify.core.text import escape
from syftnotify.sources.syftbox.job_index import TURNS, DirectorySpec, JobDirectory, JobLocation
from syftnotify.sources.syftbox.layouts import (
    Layout,
    ReadResult,
    layouts_below_datasites,
    layouts_below_root,
    layouts_of_submitter,
    looks_like_email,
)
from syftnotify.sources.syftbox.safe_files import DirFdCache, Folders, is_racy, signature
from syftnotify.sources.syftbox.watcher import WatchSpec

# A file that cannot be read for so long gets one warning.
TORN_SECONDS = 600.0
_HEAP = 1000  # jobs that are handed over at once

_Changed = tuple[str, JobDirectory]  # a name in it


@dataclass(slots=True)
class JobsLook:
    """What one look at the jobs found."""

    jobs: list[Job] = field(default_factory=list)  # all that may hold news, unless they were handed over
    count: int = 0  # jobs in the tree
    problems: list[str] = field(default_factory=list)  # for the log, each told once
    restless: bool = False  # something is not settled: look again soon
    vanished: set[str] = field(default_factory=set)  # entities of the last look that are gone


class _Patience:
    """For how long has something been so? Measured by this process's own clock, beside the files' times."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: dict[str, tuple[float, bool]] = {}
        self._asked: set[str] = set()

    def begin(self) -> None:
        self._asked = set()

    def end(self) -> None:
        self._since = {key: since for key, since in self._since.items() if key in self._asked}

    def seconds(self, key: str, *, only_ours: bool = False) -> tuple[float, bool]:
        """How long `key` has been asked for without a break, and whether only our own clock counts for it."""
        self._asked.add(key)
        since, ours = self._since.setdefault(key, (self._monotonic(), only_ours))
        return self._monotonic() - since, ours


@dataclass(slots=True)
class _Torn:
    """A job with a file that cannot be believed."""

    why: str
    since: float  # on the monotonic clock
    told: bool = False


class _Moment:
    """The moment of one look; a layout's `Sight`."""

    def __init__(
        self, now: float, folders: Folders, patience: _Patience, was_open: set[str], shelves: _Shelves
    ) -> None:
        self.now = now
        self.opened = DirFdCache()
        self._folders = folders
        self._patience = patience
        self._was_open = was_open
        self.shelf = shelves.at

    def folders(self, path: str) -> tuple[str, ...]:
        return self._folders.folders(path, self.now)

    def waited(self, place: JobLocation, what: str, seconds: float, stamp: float) -> bool:
        # Seen un-ended a moment ago and ended now: then only our own clock counts, for a folder of layout A keeps its
        # old time when it is moved to done/.
        just_ended = what == "end" and place.entity in self._was_open
        ours, only_ours = self._patience.seconds(f"{place.path} {what}", only_ours=just_ended)
        return ours >= seconds or (not only_ours and not -seconds <= self.now - stamp < seconds)


class _Shelves:
    """Every folder with jobs, kept from look to look."""

    def __init__(self) -> None:
        self._known: dict[str, JobDirectory] = {}  # by layout and folder
        self._by_entities: dict[str, list[JobDirectory]] = {}
        self._by_folder: dict[str, list[JobDirectory]] = {}
        self._seen: dict[str, JobDirectory] = {}
        self._gone: list[_Changed] = []
        self._clock: Callable[[], float] = time.time
        self._memory: ScanCache = {}
        self._doubted: Collection[str] = ()

    def begin(self, clock: Callable[[], float]) -> None:
        self._clock, self._seen, self._gone = clock, {}, []

    def at(self, site: DirectorySpec) -> JobDirectory:
        key = f"{site.layout} {site.folder}"
        shelf = self._known.get(key)
        if shelf is None:
            shelf = JobDirectory(site)
            if known := self._memory.pop(key, None):
                shelf.recall(known, self._doubted)
        self._seen[key] = shelf
        self._gone += [(name, shelf) for name in shelf.refresh(self._clock())]
        return shelf

    def end(self) -> list[_Changed]:
        """The jobs that went with their names since the last look."""
        for key, shelf in self._known.items():
            if key not in self._seen:
                self._gone += [(name, shelf) for name in shelf]
        if self._known.keys() != self._seen.keys():
            self._by_entities, self._by_folder = defaultdict(list), defaultdict(list)
            for shelf in self._seen.values():
                self._by_entities[shelf.entities].append(shelf)
                for folder in {shelf.folder, shelf.states}:
                    self._by_folder[folder].append(shelf)
        self._known = self._seen
        self._memory = {}
        return self._gone

    def __iter__(self) -> Iterator[JobDirectory]:
        return iter(self._known.values())

    def holds(self, entity: str) -> bool:
        """Whether a job of that id lies in any of them."""
        return any(name in shelf for name, shelf in self._places_of(entity))

    def doubt(self, entities: Iterable[str]) -> None:
        for shelf, names in _by_shelf(place for entity in entities for place in self._places_of(entity)).items():
            shelf.unsettle(names)

    def _places_of(self, entity: str) -> Iterator[_Changed]:
        above, _, name = entity.rpartition("/")
        name = unquote(name, errors="surrogateescape")
        return ((name, shelf) for shelf in self._by_entities.get(f"{above}/", ()))

    def spots(self, paths: Iterable[str]) -> dict[JobDirectory, set[str]]:
        """The jobs to which these paths belong, and which may or may not be there."""
        spots: dict[JobDirectory, set[str]] = defaultdict(set)
        for path in paths:
            above, name = os.path.split(path)
            while name:
                for shelf in self._by_folder.get(above, ()):
                    spots[shelf].add(name)
                above, name = os.path.split(above)
        return spots

    def remember(self, memory: ScanCache, doubted: Collection[str]) -> None:
        self._memory, self._doubted = memory, doubted

    def memory(self) -> ScanCache:
        return {key: known for key, shelf in self._known.items() if (known := shelf.remembered()).names}


class JobReader:
    """Reads the jobs of one owner below one SyftBox root, or those that one submitter sent to others."""

    def __init__(
        self,
        root: Path,
        owner: str = "",
        *,
        submitter: str = "",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        is_settling: Callable[[str], bool] = lambda _entity: False,
    ) -> None:
        """Either `owner` or `submitter` is an address.

        `is_settling` says of which entities the reader must go on telling although nothing changes.
        """
        self._root = root
        self._owner = owner
        self._submitter = submitter
        self._clock = clock
        self._monotonic = monotonic
        self._is_settling = is_settling
        self._folders = Folders()
        self._layouts: tuple[tuple[Path, tuple[Layout, ...]], ...] = (
            ((root, layouts_of_submitter(submitter)),)
            if submitter
            else ((root / "datasites", layouts_below_datasites()), (root, layouts_below_root()))
        )
        self._shelves = _Shelves()
        self._pieces: dict[JobDirectory, Layout] = {}  # what reads each
        self._patience = _Patience(monotonic)
        self._turn = 0  # whole looks so far
        self._has_seen_all = False  # the second files, too, of all that rests
        # By a look that was not accepted yet: what it offered, and the entities that it missed.
        self._offered: list[_Changed] = []
        self._missed: set[str] = set()
        self._open: set[str] = set()  # entities that had not ended when they were read last
        self._torn: dict[_Changed, _Torn] = {}
        self._left_out: dict[str, int] = {}  # entity -> how many looks in a row had no time to read it

    def look(
        self,
        *,
        where: Collection[str] | None = None,
        hurried: bool = False,
        seconds: float = math.inf,
        take: Callable[[list[Job]], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> JobsLook:
        """Every job that changed since the last accepted look, or is not settled yet.

        Args:
            where: paths at which something changed: what has settled elsewhere is not looked at. None: everywhere.
            hurried: a first look that leaves the second files of jobs that rest to the next one.
            seconds: when reading takes longer, the rest is left for the next look; whoever floods delays only what is
                his own.
            take: is handed the jobs, some at a time, so that they need not all be kept; those of one entity together.
            progress: called with the number of jobs read so far and of those to read.
        """
        look = JobsLook()
        self._offer_again()
        now = self._clock()
        sight = _Moment(now, self._folders, self._patience, self._open, self._shelves)
        self._folders.begin()
        self._patience.begin()
        self._shelves.begin(self._clock)
        self._pieces = dict(self._find(sight))
        gone = self._shelves.end()
        is_whole = where is None or not self._turn
        second = self._second_files(is_whole=is_whole, hurried=hurried)
        self._turn += is_whole
        spots = self._shelves.spots(where) if where and not is_whole else {}
        changed: list[_Changed] = []
        for shelf in self._pieces:
            names, lost = shelf.changed(is_whole=is_whole, second=second, only=spots.get(shelf, ()))
            changed += ((name, shelf) for name in names)
            gone += ((name, shelf) for name in lost)
        self._offered = changed
        self._missed |= _entities(gone)
        try:
            self._read_in_time(changed, sight, look, seconds, take or look.jobs.extend, progress)
        finally:
            sight.opened.close()
        if sight.opened.has_moved:
            look.restless = True
            for shelf, some in _by_shelf(changed).items():
                shelf.unsettle(some)
        self._folders.end()
        self._patience.end()
        look.restless = look.restless or not self._has_seen_all
        self._missed = {entity for entity in self._missed if not self.holds(entity)}
        look.vanished = set(self._missed)
        self._open -= look.vanished
        self._note_torn(look)
        look.count = sum(map(len, self._shelves))
        return look

    def accept(self, _look: JobsLook) -> None:
        """What the look found is written down; only what changes from now on is offered again."""
        self._offered = []
        self._missed = set()

    def forget(self) -> None:
        """Offer everything again at the next look."""
        for shelf in self._shelves:
            shelf.unsettle([*shelf])

    def doubt(self, entities: Iterable[str]) -> None:
        """Offer these jobs again at the next look."""
        self._shelves.doubt(entities)

    def holds(self, entity: str) -> bool:
        """Whether that job was in the tree at the last look."""
        return self._shelves.holds(entity)

    def remember(self, memory: ScanCache, doubted: Collection[str]) -> None:
        """Before the first look: what an earlier process knew by `memory`, the entities that are `doubted` aside."""
        self._shelves.remember(memory, doubted)

    @property
    def is_altered(self) -> bool:
        """Whether other jobs rest than when the memory was last asked for, or as other files."""
        return any(shelf.is_altered for shelf in self._shelves)

    def memory(self) -> ScanCache:
        """What is remembered of the jobs that rest, for the next process; nothing of a look that was not accepted."""
        self._offer_again()
        return self._shelves.memory()

    def folders(self) -> list[Path]:
        """The job folders that exist: what is worth watching."""
        return [Path(base) for base, _, _ in self._bases() if os.path.isdir(base)]

    def watchable(self) -> list[WatchSpec]:
        """The job folders; while there is none, the places where the first would appear."""
        existing = [WatchSpec(folder) for folder in self.folders()]
        if existing or not os.path.isdir(self._root):
            return existing
        if self._submitter:
            return [WatchSpec(self._root, deep=False)]
        above = {self._deepest(self._root / owner / "app_data") for owner in (self._owner, f"datasites/{self._owner}")}
        return [WatchSpec(folder, deep=False) for folder in sorted(above)]

    def _deepest(self, folder: Path) -> Path:
        while not os.path.isdir(folder) and folder != self._root:
            folder = folder.parent
        return folder

    def _bases(self) -> Iterator[tuple[str, str, tuple[Layout, ...]]]:
        for above, layouts in self._layouts:
            for name in self._folders.folders(str(above), self._clock()):
                if self._is_owner(name):
                    yield str(above / name / "app_data" / "job"), name, layouts

    def _is_owner(self, name: str) -> bool:
        if self._submitter:
            return looks_like_email(name) and name.casefold() != self._submitter.casefold()
        return name.casefold() == self._owner.casefold()

    def _find(self, sight: _Moment) -> Iterator[tuple[JobDirectory, Layout]]:
        for base, owner, layouts in self._bases():
            for layout in layouts:
                for shelf in layout.shelves(base, owner, sight):
                    yield shelf, layout

    def _second_files(self, *, is_whole: bool, hurried: bool) -> Collection[int]:
        """Whose turn it is to be asked for the second file: all of them once, then one at each whole look."""
        if not self._has_seen_all and not hurried:
            self._has_seen_all = True
            return range(TURNS)
        return (self._turn % TURNS,) if is_whole and not hurried else ()

    def _offer_again(self) -> None:
        for shelf, names in _by_shelf(self._offered).items():
            shelf.unsettle(names)
        self._offered = []

    def _read_in_time(
        self,
        changed: list[_Changed],
        sight: _Moment,
        look: JobsLook,
        seconds: float,
        take: Callable[[list[Job]], None],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        count = 0
        until = self._monotonic() + seconds
        left_out: list[_Changed] = []
        heap: list[Job] = []
        for places in self._in_turns(changed):
            if self._monotonic() > until:
                left_out += places
                continue
            heap += self._read(places, sight, look)
            count += len(places)
            if progress:
                progress(count, len(changed))
            if len(heap) >= _HEAP:
                take(heap)
                heap = []
        take(heap)
        for shelf, names in _by_shelf(left_out).items():
            shelf.unsettle(names)
        look.restless = look.restless or bool(left_out)
        self._left_out = {entity: self._left_out.get(entity, 0) + 1 for entity in _entities(left_out)}

    def _in_turns(self, changed: list[_Changed]) -> Iterator[list[_Changed]]:
        """One entity of each submitter in turns; of one submitter's, what was left out most often comes first."""
        by_submitter: dict[str, list[_Changed]] = defaultdict(list)
        for each in changed:
            by_submitter[each[1].entities].append(each)
        queues = deque(map(self._in_order, by_submitter.values()))
        while queues:
            queue = queues.popleft()
            places = next(queue, None)
            if places:
                yield places
                queues.append(queue)

    def _in_order(self, changed: list[_Changed]) -> Iterator[list[_Changed]]:
        changed.sort(key=itemgetter(0))
        if self._left_out:
            changed.sort(key=lambda each: -self._left_out.get(each[1].place(each[0]).entity, 0))
        for _, places in groupby(changed, itemgetter(0)):
            yield list(places)

    def _read(self, places: list[_Changed], sight: _Moment, look: JobsLook) -> list[Job]:
        """The jobs of one entity: in layout A one name may lie in several stages."""
        jobs: list[Job] = []
        for name, shelf in places:
            place = shelf.place(name)
            now = self._clock()  # a look may last longer than a file is racy
            first, second = map(signature, shelf.decided_by(name))  # before reading: what changes meanwhile is seen
            reading = self._pieces[shelf].read(place, sight)
            if reading.job is not None:
                jobs.append(reading.job)
            self._note_reading((name, shelf), reading)
            fresh = is_racy(first, now) or is_racy(second, now)
            if reading.waiting or fresh or not second[2] or self._is_settling(place.entity):
                shelf.unsettle([name])
                look.restless = True
            else:
                job = reading.job
                shelf.settle(
                    name, first, second, rests=job is not None and job.judged and job.status in TERMINAL_STATUSES
                )
        if any(not job.ended for job in jobs):
            self._open.add(jobs[0].entity)
        elif jobs:
            self._open.discard(jobs[0].entity)
        return jobs

    def _note_reading(self, which: _Changed, reading: ReadResult) -> None:
        if not reading.torn:
            self._torn.pop(which, None)
        elif which not in self._torn:
            self._torn[which] = _Torn(reading.torn, self._monotonic())

    def _note_torn(self, look: JobsLook) -> None:
        """A file that stays unreadable is named once; it is read again when it changes."""
        for (name, shelf), torn in list(self._torn.items()):
            if shelf not in self._pieces or name not in shelf:
                del self._torn[name, shelf]
            elif not torn.told and self._monotonic() - torn.since >= TORN_SECONDS:
                torn.told = True
                look.problems.append(
                    f"unreadable for ten minutes: {escape(shelf.place(name).path)}: {escape(torn.why)}"
                )


def _entities(places: Iterable[_Changed]) -> set[str]:
    return {shelf.place(name).entity for name, shelf in places}


def _by_shelf(places: Iterable[_Changed]) -> dict[JobDirectory, list[str]]:
    found: dict[JobDirectory, list[str]] = defaultdict(list)
    for name, shelf in places:
        found[shelf].append(name)
    return found
