"""Which folders hold jobs? And what is remembered of each, so that a quiet one costs one `stat`."""

from __future__ import annotations

import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from syftnotify.core.identifiers import entity_id
from syftnotify.core.models import DirectorySnapshot
from syftnotify.sources.syftbox.safe_files import HAS_DIR_FD, MAX_NAMES, Signature, is_racy, signature

# Of a job that rests, the second file is asked for once in so many whole looks.
TURNS = 8
_FEW = 100
_SEGMENT = re.compile(r"v\d+")
# Fingerprints of what is to be read in any case, and of what is not there.
_UNKNOWN, _GONE = -1, 0


@dataclass(frozen=True, slots=True)
class JobLocation:
    """Where one job lies. `parts` (the submission) and `results` (state and logs) are relative to `base`."""

    base: str
    layout: str
    owner: str
    submitter: str
    name: str
    parts: tuple[str, ...]
    results: tuple[str, ...]
    entity: str
    path: str


@dataclass(frozen=True, slots=True)
class DirectorySpec:
    """Where jobs of one layout lie.

    `base` is the owner's job folder; `parts`, the folder of the submissions, and `states`, that of states and logs
    where it is another one, are relative to it. `takes` says which names may be jobs.
    """

    layout: str
    base: str
    owner: str
    submitter: str
    parts: tuple[str, ...]
    states: tuple[str, ...] = ()
    takes: Callable[[str], bool] = lambda _name: True

    @property
    def folder(self) -> str:
        return os.path.join(self.base, *self.parts)


class JobDirectory:
    """One folder whose folders are jobs of one layout, and what is remembered of each.

    One file decides what a job is (`state.yaml`; where the layout has none, the job's own folder, in which marks come
    and go). A second one may change beside it (`config.yaml`), and without it there is no job. Jobs that have ended
    rest: a whole look asks for the file that decides of each, and for the second one of every eighth. They are very
    many, so they lie in columns, 24 bytes and the name. All others are awake, and asked for both.
    """

    def __init__(self, site: DirectorySpec) -> None:
        self._site = site
        self.entities = entity_id("job", site.layout, site.owner, site.submitter or "-") + "/"
        self.folder = site.folder
        self.states = os.path.join(site.base, *site.states) if site.states else self.folder
        self.segments: tuple[str, ...] = ()  # names in it that may be shelves themselves: v1, v2, ...
        self.is_altered = False  # since it was last remembered
        self._tail = "/state.yaml" if site.states else ""  # of what decides, behind a job's name
        self._listed: Signature | None = None
        self._is_racy = False
        # The jobs that rest, sorted by name, with the fingerprints of both files.
        self._names: list[str] = []
        self._deciding = array("q")
        self._second = array("q")
        self._awake: dict[str, tuple[int, int]] = {}

    def place(self, name: str) -> JobLocation:
        """Where the job of that name lies."""
        site = self._site
        return JobLocation(
            base=site.base,
            layout=site.layout,
            owner=site.owner,
            submitter=site.submitter,
            name=name,
            parts=(*site.parts, name),
            results=(*(site.states or site.parts), name),
            entity=self.entities + entity_id(name),
            path=os.path.join(self.folder, name),
        )

    def decided_by(self, name: str) -> tuple[str, str]:
        """The paths of the two files by which a change of the job is known."""
        return os.path.join(self.states, name) + self._tail, os.path.join(self.folder, name, "config.yaml")

    # -- which jobs there are --------------------------------------------------------------------------------------

    def refresh(self, now: float) -> list[str]:
        """List the folder again if names came or went; returns the names of the jobs that went."""
        try:
            status = os.stat(self.folder)  # followed: the owner's own root or job folder may be a link
            found = (status.st_mtime_ns, status.st_size, status.st_ino)
            if found == self._listed and not self._is_racy:
                return []
            with os.scandir(self.folder) as entries:
                some = zip(entries, range(MAX_NAMES), strict=False)
                listed = {entry.name for entry, _ in some if entry.is_dir(follow_symlinks=False)}
        except OSError:
            found, listed = None, set()
        before = self._listed, self._is_racy
        self._listed, self._is_racy = found, found is not None and is_racy(found, now)
        if self._names:  # else nothing is remembered of it
            self.is_altered = self.is_altered or before != (self._listed, self._is_racy)
        self.segments = tuple(sorted(filter(_SEGMENT.fullmatch, listed)))
        gone = [name for name in self if name not in listed]
        self._wake_up(gone)
        for name in self._awake.keys() - listed:
            del self._awake[name]
        new = listed.difference(self._names, self._awake)
        self._awake.update((name, (_UNKNOWN, _GONE)) for name in sorted(filter(self._site.takes, new)))
        return gone

    def __iter__(self) -> Iterator[str]:
        """The names of the jobs."""
        yield from self._names
        yield from (name for name, (_, second) in self._awake.items() if second != _GONE)

    def __len__(self) -> int:
        return len(self._names) + sum(1 for _, second in self._awake.values() if second != _GONE)

    def __contains__(self, name: str) -> bool:
        return self._known(name)[1] != _GONE

    # -- which of them changed -------------------------------------------------------------------------------------

    def changed(
        self, *, is_whole: bool, second: Collection[int], only: Collection[str] = ()
    ) -> tuple[list[str], list[str]]:
        """The names of the jobs that are to be read, and of those that are no more.

        Args:
            is_whole: look at all that is awake, and at what decides of all that rests; else at what is not settled.
            second: whose turn it is, of the jobs that rest, to be asked for the second file: numbers below `TURNS`.
            only: at these in any case.
        """
        asked = [name for name, (first, _) in self._awake.items() if is_whole or first == _UNKNOWN or name in only]
        asked += self._doubted(second, is_whole=is_whole).union(name for name in only if self._index(name) is not None)
        changed: list[str] = []
        gone: list[str] = []
        for name, *found in zip(asked, self._ask_deciding(asked), self._ask_second(asked), strict=True):
            known = self._known(name)
            if found[1] == _GONE:
                if known[1] != _GONE:
                    gone.append(name)
                    self._wake_up([name])
                self._awake[name] = (_GONE, _GONE)
            elif known != tuple(found):
                changed.append(name)
                if name in self._awake:
                    self._awake[name] = (_UNKNOWN, found[1])
        return changed, gone

    def _doubted(self, second: Collection[int], *, is_whole: bool) -> set[str]:
        """What rests and seems to have changed."""
        # A job's turn is its own: by its place it would be put off for ever while others come and go before it.
        some = [index for index, name in enumerate(self._names) if hash(name) % TURNS in second] if second else []
        names = [self._names[index] for index in some]
        known = array("q", (self._second[index] for index in some))
        doubted = set(_differing(names, known, self._ask_second(names)) if some else ())
        if is_whole:
            doubted.update(_differing(self._names, self._deciding, self._ask_deciding(self._names)))
        return doubted

    def _ask_deciding(self, names: Sequence[str]) -> array[int]:
        return _fingerprints(self.states, names, self._tail)

    def _ask_second(self, names: Sequence[str]) -> array[int]:
        return _fingerprints(self.folder, names, "/config.yaml")

    # -- what is remembered ----------------------------------------------------------------------------------------

    def settle(self, name: str, first: Signature, second: Signature, *, rests: bool) -> None:
        """Offer the job again only when these are not its two files any more."""
        known = fingerprint(first), fingerprint(second)
        if not rests:
            self._wake_up([name])
            self._awake[name] = known
            return
        self._awake.pop(name, None)
        self.is_altered = self.is_altered or self._known(name) != known
        index = bisect_left(self._names, name)
        if index < len(self._names) and self._names[index] == name:
            self._deciding[index], self._second[index] = known
        else:
            self._names.insert(index, name)
            self._deciding.insert(index, known[0])
            self._second.insert(index, known[1])

    def unsettle(self, names: Iterable[str]) -> None:
        """Offer these jobs again at the next look."""
        known = [name for name in names if name in self]
        self._wake_up(known)
        self._awake.update((name, (_UNKNOWN, self._awake[name][1])) for name in known)

    def remembered(self) -> DirectorySnapshot:
        """What the next process is to know."""
        self.is_altered = False
        listed = [] if self._listed is None or self._is_racy else [*self._listed]
        return DirectorySnapshot(
            self._names, self._deciding.tolist(), self._second.tolist(), listed, [*self._awake], [*self.segments]
        )

    def recall(self, known: DirectorySnapshot, doubted: Collection[str]) -> None:
        """Take over what an earlier process remembered, the entities that are `doubted` aside."""
        self._names, self._deciding, self._second = (
            known.names,
            array("q", known.matching_routes),
            array("q", known.second),
        )
        self._awake = dict.fromkeys(known.awake, (_UNKNOWN, _GONE))
        if known.listed:
            mtime, size, inode = known.listed
            self._listed, self.segments = (mtime, size, inode), tuple(known.segments)
        if doubted:
            self._wake_up([name for name in known.names if self.entities + entity_id(name) in doubted])

    def _known(self, name: str) -> tuple[int, int]:
        index = self._index(name)
        if index is None:
            return self._awake.get(name, (_UNKNOWN, _GONE))
        return self._deciding[index], self._second[index]

    def _index(self, name: str) -> int | None:
        index = bisect_left(self._names, name)
        return index if index < len(self._names) and self._names[index] == name else None

    def _wake_up(self, names: Collection[str]) -> None:
        resting = [name for name in names if self._index(name) is not None]
        self.is_altered = self.is_altered or bool(resting)
        self._awake.update((name, (_UNKNOWN, _UNKNOWN)) for name in resting)
        if len(resting) > _FEW:
            woken = set(resting)
            kept = [index for index, name in enumerate(self._names) if name not in woken]
            self._names = [self._names[index] for index in kept]
            self._deciding = array("q", (self._deciding[index] for index in kept))
            self._second = array("q", (self._second[index] for index in kept))
            return
        for name in resting:
            index = bisect_left(self._names, name)
            del self._names[index], self._deciding[index], self._second[index]


def fingerprint(found: Signature) -> int:
    """A signature as one number."""
    return hash(found) if found[2] else _GONE


def _differing(names: Sequence[str], known: array[int], found: array[int]) -> list[str]:
    if known == found:  # nearly always, and a thousand times faster
        return []
    return [name for name, before, now in zip(names, known, found, strict=True) if before != now]


def _fingerprints(folder: str, names: Sequence[str], tail: str) -> array[int]:
    """The fingerprint of `name + tail` in `folder`, for each name."""
    if not names:  # in a quiet scan nothing is awake: opening the folder would cost as much as some tens of jobs
        return array("q")
    if not HAS_DIR_FD:
        return array("q", (fingerprint(signature(os.path.join(folder, name) + tail)) for name in names))
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return array("q", [_GONE]) * len(names)
    stat, fingerprints = os.stat, []
    try:
        # A quarter of the whole look's time is saved by short paths, of which the kernel walks less.
        for name in names:
            try:
                found = stat(name + tail, dir_fd=descriptor, follow_symlinks=False)
                fingerprints.append(hash((found.st_mtime_ns, found.st_size, found.st_ino)))
            except OSError:
                fingerprints.append(_GONE)
    finally:
        os.close(descriptor)
    return array("q", fingerprints)
