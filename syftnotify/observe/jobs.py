"""Which jobs lie in the tree, and which of them may hold news? What did not change is not read again."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from syftnotify.model import Job
from syftnotify.observe.files import Folders, Signature
from syftnotify.observe.layouts import (
    Layout,
    Place,
    Reading,
    is_settled,
    layouts_below_datasites,
    layouts_below_root,
    layouts_of_submitter,
    looks_like_email,
)
from syftnotify.observe.wake import Watched
from syftnotify.text import shown

# A file that cannot be read for so long gets one warning.
TORN_SECONDS = 600.0


@dataclass(slots=True)
class JobsLook:
    """What one look at the jobs found."""

    jobs: list[Job] = field(default_factory=list)  # all that may hold news
    count: int = 0  # jobs in the tree
    problems: list[str] = field(default_factory=list)  # for the log, each told once
    restless: bool = False  # something is not settled: look again soon
    present: dict[str, str] = field(default_factory=dict)  # path -> entity of every job in the tree
    vanished: set[str] = field(default_factory=set)  # entities of the last look that are gone
    settled: dict[str, tuple[Signature, ...]] = field(default_factory=dict)  # what need not be read again
    read: dict[str, bool] = field(default_factory=dict)  # entity -> has not ended, of what was read


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


@dataclass(frozen=True, slots=True)
class _Moment:
    """The moment of one look; a layout's `Sight`."""

    now: float
    folders: Folders
    patience: _Patience
    was_open: set[str]

    def waited(self, place: Place, what: str, seconds: float, stamp: float) -> bool:
        # Seen un-ended a moment ago and ended now: then only our own clock counts, for a folder of layout A keeps its
        # old time when it is moved to done/.
        just_ended = what == "end" and place.entity in self.was_open
        ours, only_ours = self.patience.seconds(f"{place.path} {what}", only_ours=just_ended)
        return ours >= seconds or (not only_ours and not -seconds <= self.now - stamp < seconds)


_Changed = tuple[Layout, Place, tuple[Signature, ...]]


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
        self._patience = _Patience(monotonic)
        self._known: dict[str, tuple[Signature, ...]] = {}
        self._open: set[str] = set()  # entities of A and B that had not ended at the last look
        self._present: set[str] = set()  # entities of the last look
        self._torn: dict[str, _Torn] = {}  # by path
        self._left_out: dict[str, int] = {}  # path -> how many looks in a row had no time to read it

    def look(self, *, seconds: float = math.inf) -> JobsLook:
        """Every job that changed since the last accepted look, or is not settled yet.

        When reading them takes longer than `seconds`, the rest is left for the next look; whoever floods delays only
        what is his own.
        """
        look = JobsLook()
        changed: list[_Changed] = []
        sight = _Moment(self._clock(), self._folders, self._patience, self._open)
        self._folders.begin()
        self._patience.begin()
        known = self._known
        for layout, heap in self._heaps(sight):
            for place in heap:
                found = layout.signature(place, sight)
                if found is None:
                    continue
                look.present[place.path] = place.entity
                if known.get(place.path) != found:
                    changed.append((layout, place, found))
        self._read_in_time(changed, sight, look, seconds)
        self._folders.end()
        self._patience.end()
        self._note_absence(look)
        self._note_torn(look)
        look.count = len(self._present)
        return look

    def accept(self, look: JobsLook) -> None:
        """What `look` found is written down; only what changes from now on is offered again."""
        for path in self._known.keys() - look.present.keys():
            del self._known[path]
        self._known.update(look.settled)

    def forget(self) -> None:
        """Offer everything again at the next look."""
        self._known.clear()

    def folders(self) -> list[Path]:
        """The job folders that exist: what is worth watching."""
        return [Path(base) for base, _, _ in self._bases() if os.path.isdir(base)]

    def watchable(self) -> list[Watched]:
        """The job folders; while there is none, the places where the first would appear."""
        existing = [Watched(folder) for folder in self.folders()]
        if existing or not os.path.isdir(self._root):
            return existing
        if self._submitter:
            return [Watched(self._root, deep=False)]
        above = {self._deepest(self._root / owner / "app_data") for owner in (self._owner, f"datasites/{self._owner}")}
        return [Watched(folder, deep=False) for folder in sorted(above)]

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

    def _heaps(self, sight: _Moment) -> Iterator[tuple[Layout, list[Place]]]:
        for base, owner, layouts in self._bases():
            for layout in layouts:
                for heap in layout.places(base, owner, sight):
                    yield layout, heap

    def _read_in_time(self, changed: list[_Changed], sight: _Moment, look: JobsLook, seconds: float) -> None:
        """Read in turns, one job of each submitter; of one submitter's, what was left out most often comes first."""
        until = self._monotonic() + seconds
        places: Counter[str] = Counter()
        queue: list[tuple[int, _Changed]] = []
        for each in sorted(changed, key=lambda each: -self._left_out.get(each[1].path, 0)):
            submitter = each[1].entity.rpartition("/")[0]
            queue.append((places[submitter], each))
            places[submitter] += 1
        left_out: dict[str, int] = {}
        for _, (layout, place, found) in sorted(queue, key=itemgetter(0)):
            if self._monotonic() > until:
                self._known.pop(place.path, None)
                left_out[place.path] = self._left_out.get(place.path, 0) + 1
                look.restless = True
            else:
                self._read(layout, place, found, sight, look)
        self._left_out = left_out

    def _read(self, layout: Layout, place: Place, found: tuple[Signature, ...], sight: _Moment, look: JobsLook) -> None:
        reading = layout.read(place, sight)
        if reading.job is not None:
            look.jobs.append(reading.job)
            look.read[place.entity] = look.read.get(place.entity, False) or not reading.job.ended
        if self._is_quiet(place, reading, found, sight.now):
            look.settled[place.path] = found
        else:
            self._known.pop(place.path, None)
            look.restless = True

    def _note_absence(self, look: JobsLook) -> None:
        """Remember who is there, who vanished, and who has not ended."""
        present = set(look.present.values())
        look.vanished = self._present - present
        self._open = {entity for entity in self._open if entity in present and entity not in look.read}
        self._open |= {entity for entity, is_open in look.read.items() if is_open}
        self._present = present

    def _is_quiet(self, place: Place, reading: Reading, found: tuple[Signature, ...], now: float) -> bool:
        """Whether the job need not be read again before it changes."""
        if not reading.torn:
            self._torn.pop(place.path, None)
        elif place.path not in self._torn:
            self._torn[place.path] = _Torn(reading.torn, self._monotonic())
        return not reading.waiting and is_settled(found, now) and not self._is_settling(place.entity)

    def _note_torn(self, look: JobsLook) -> None:
        """A file that stays unreadable is named once; it is read again when it changes."""
        for path, torn in list(self._torn.items()):
            if path not in look.present:
                del self._torn[path]
            elif not torn.told and self._monotonic() - torn.since >= TORN_SECONDS:
                torn.told = True
                look.problems.append(f"unreadable for ten minutes: {shown(path)}: {shown(torn.why)}")
