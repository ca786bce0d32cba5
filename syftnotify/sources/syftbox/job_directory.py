"""Folders that contain jobs, with fingerprints of the jobs' files, so that an unchanged job costs one `stat`."""

from __future__ import annotations

import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from syftnotify.core.identifiers import entity_id
from syftnotify.core.models import DirectorySnapshot
from syftnotify.sources.syftbox.dir_fds import HAS_DIR_FD
from syftnotify.sources.syftbox.folder_cache import MAX_NAMES
from syftnotify.sources.syftbox.layouts.spec import LayoutSpec
from syftnotify.sources.syftbox.signatures import Signature, is_racy, signature

# Number of full scans in which the secondary file of every archived job is checked once.
SECONDARY_CYCLE = 8
_FEW = 100  # archived jobs that are removed from the columns one by one
_VERSION_FOLDER = re.compile(r"v\d+")
# Fingerprints: of a file that must be read in any case, and of a missing file.
_UNKNOWN, _MISSING = -1, 0


@dataclass(frozen=True, slots=True)
class JobLocation:
    """The place of one job. `parts` (the submission) and `results` (status and logs) are relative to `base`."""

    base: str
    layout: LayoutSpec
    owner: str
    submitter: str
    name: str
    parts: tuple[str, ...]
    results: tuple[str, ...]
    entity: str
    path: str


@dataclass(frozen=True, slots=True)
class DirectorySpec:
    """The place of the jobs of one layout.

    `base` is the owner's job folder. `parts` (the folder of the submissions) and `state_parts` (the folder of status
    and logs, if it is another one) are relative to it. `accepts` tells which folder names may be jobs.
    """

    layout: LayoutSpec
    base: str
    owner: str
    submitter: str
    parts: tuple[str, ...]
    state_parts: tuple[str, ...] = ()
    accepts: Callable[[str], bool] = lambda _name: True

    @property
    def folder(self) -> str:
        return os.path.join(self.base, *self.parts)


class JobDirectory:
    """A folder whose subfolders are jobs of one layout, with fingerprints of two files of each job.

    The primary file holds the status: `state.yaml`, or the job's own folder in layouts with marker files. The secondary
    file is `config.yaml`; without it there is no job. An archived job has ended: a full scan checks its primary file,
    and the secondary file in one of `SECONDARY_CYCLE` scans. Archived jobs are numerous, so they are stored in columns
    (24 bytes and the name). Of an active job both files are checked.
    """

    def __init__(self, spec: DirectorySpec) -> None:
        self._spec = spec
        self.entity_prefix = entity_id("job", spec.layout.key, spec.owner, spec.submitter or "-") + "/"
        self.folder = spec.folder
        self.state_folder = os.path.join(spec.base, *spec.state_parts) if spec.state_parts else self.folder
        self.version_folders: tuple[str, ...] = ()  # names like `v1`, which may be job directories themselves
        self.has_unsaved_changes = False  # archived jobs changed since the last snapshot
        self._primary_suffix = "/state.yaml" if spec.state_parts else ""  # appended to a job's name
        self._listed: Signature | None = None
        self._is_racy = False
        # Columns of the archived jobs, sorted by name.
        self._archived: list[str] = []
        self._primary = array("q")
        self._secondary = array("q")
        self._active: dict[str, tuple[int, int]] = {}  # name -> fingerprints

    def location(self, name: str) -> JobLocation:
        spec = self._spec
        return JobLocation(
            base=spec.base,
            layout=spec.layout,
            owner=spec.owner,
            submitter=spec.submitter,
            name=name,
            parts=(*spec.parts, name),
            results=(*(spec.state_parts or spec.parts), name),
            entity=self.entity_prefix + entity_id(name),
            path=os.path.join(self.folder, name),
        )

    def tracked_paths(self, name: str) -> tuple[str, str]:
        """The paths of the primary and the secondary file of a job."""
        return (
            os.path.join(self.state_folder, name) + self._primary_suffix,
            os.path.join(self.folder, name, "config.yaml"),
        )

    # -- names -------------------------------------------------------------------------------------------------------

    def refresh(self, now: float) -> list[str]:
        """List the folder again if its timestamp changed; returns the names of removed jobs."""
        found, names = self._list()
        if names is None:
            return []
        before = self._listed, self._is_racy
        self._listed, self._is_racy = found, found is not None and is_racy(found, now)
        if self._archived:  # otherwise the snapshot does not contain this folder
            self.has_unsaved_changes = self.has_unsaved_changes or before != (self._listed, self._is_racy)
        self.version_folders = tuple(sorted(filter(_VERSION_FOLDER.fullmatch, names)))
        removed = [name for name in self if name not in names]
        self._activate(removed)
        for name in self._active.keys() - names:
            del self._active[name]
        new = names.difference(self._archived, self._active)
        self._active.update((name, (_UNKNOWN, _MISSING)) for name in sorted(filter(self._spec.accepts, new)))
        return removed

    def _list(self) -> tuple[Signature | None, set[str] | None]:
        """The folder's signature and the names in it; None for the names if they have not changed."""
        try:
            status = os.stat(self.folder)  # followed: the owner's own root or job folder may be a link
            found = (status.st_mtime_ns, status.st_size, status.st_ino)
            if found == self._listed and not self._is_racy:
                return found, None
            with os.scandir(self.folder) as entries:
                some = zip(entries, range(MAX_NAMES), strict=False)
                return found, {entry.name for entry, _ in some if entry.is_dir(follow_symlinks=False)}
        except OSError:
            return None, set()

    def __iter__(self) -> Iterator[str]:
        """The names of the jobs."""
        yield from self._archived
        yield from (name for name, (_, secondary) in self._active.items() if secondary != _MISSING)

    def __len__(self) -> int:
        return len(self._archived) + sum(1 for _, secondary in self._active.values() if secondary != _MISSING)

    def __contains__(self, name: str) -> bool:
        return self._fingerprints_of(name)[1] != _MISSING

    # -- changes -----------------------------------------------------------------------------------------------------

    def find_changed(
        self, *, is_full: bool, slots: Collection[int], always: Collection[str] = ()
    ) -> tuple[list[str], list[str]]:
        """The names of the jobs to read, and of the jobs that are gone.

        Args:
            is_full: check all active jobs and the primary file of all archived ones; otherwise only invalidated jobs.
            slots: archived jobs in these slots of the cycle (numbers below `SECONDARY_CYCLE`) have their secondary
                file checked.
            always: names to check in any case.
        """
        checked = [name for name, (first, _) in self._active.items() if is_full or first == _UNKNOWN or name in always]
        checked += self._changed_archived(slots, is_full=is_full).union(
            name for name in always if self._position(name) is not None
        )
        changed: list[str] = []
        gone: list[str] = []
        found = zip(self._stat_primary(checked), self._stat_secondary(checked), strict=True)
        for name, fingerprints in zip(checked, found, strict=True):
            before = self._fingerprints_of(name)
            if fingerprints[1] == _MISSING:
                if before[1] != _MISSING:
                    gone.append(name)
                    self._activate([name])
                self._active[name] = (_MISSING, _MISSING)
            elif before != fingerprints:
                changed.append(name)
                if name in self._active:
                    self._active[name] = (_UNKNOWN, fingerprints[1])
        return changed, gone

    def _changed_archived(self, slots: Collection[int], *, is_full: bool) -> set[str]:
        # The slot depends on the name: one by position would shift whenever other jobs come and go.
        positions = (
            [position for position, name in enumerate(self._archived) if hash(name) % SECONDARY_CYCLE in slots]
            if slots
            else []
        )
        names = [self._archived[position] for position in positions]
        before = array("q", (self._secondary[position] for position in positions))
        changed = set(_differing(names, before, self._stat_secondary(names)) if positions else ())
        if is_full:
            changed.update(_differing(self._archived, self._primary, self._stat_primary(self._archived)))
        return changed

    def _stat_primary(self, names: Sequence[str]) -> array[int]:
        return _stat_all(self.state_folder, names, self._primary_suffix)

    def _stat_secondary(self, names: Sequence[str]) -> array[int]:
        return _stat_all(self.folder, names, "/config.yaml")

    # -- fingerprints ------------------------------------------------------------------------------------------------

    def record(self, name: str, primary: Signature, secondary: Signature, *, archive: bool) -> None:
        """Store the signatures with which a job was read; it is offered again when they change."""
        fingerprints = fingerprint(primary), fingerprint(secondary)
        if not archive:
            self._activate([name])
            self._active[name] = fingerprints
            return
        self._active.pop(name, None)
        self.has_unsaved_changes = self.has_unsaved_changes or self._fingerprints_of(name) != fingerprints
        position = bisect_left(self._archived, name)
        if position < len(self._archived) and self._archived[position] == name:
            self._primary[position], self._secondary[position] = fingerprints
        else:
            self._archived.insert(position, name)
            self._primary.insert(position, fingerprints[0])
            self._secondary.insert(position, fingerprints[1])

    def invalidate(self, names: Iterable[str]) -> None:
        """Offer these jobs again at the next scan."""
        present = [name for name in names if name in self]
        self._activate(present)
        self._active.update((name, (_UNKNOWN, self._active[name][1])) for name in present)

    def snapshot(self) -> DirectorySnapshot:
        """The state to save for the next process; resets `has_unsaved_changes`."""
        self.has_unsaved_changes = False
        listed = [] if self._listed is None or self._is_racy else [*self._listed]
        return DirectorySnapshot(
            archived=self._archived,
            primary=self._primary.tolist(),
            secondary=self._secondary.tolist(),
            listed=listed,
            active=[*self._active],
            version_folders=[*self.version_folders],
        )

    def restore(self, saved: DirectorySnapshot, invalid: Collection[str]) -> None:
        """Take over the state of an earlier process, except for the entities in `invalid`."""
        self._archived = saved.archived
        self._primary, self._secondary = array("q", saved.primary), array("q", saved.secondary)
        self._active = dict.fromkeys(saved.active, (_UNKNOWN, _MISSING))
        if saved.listed:
            mtime, size, inode = saved.listed
            self._listed, self.version_folders = (mtime, size, inode), tuple(saved.version_folders)
        if invalid:
            self._activate([name for name in saved.archived if self.entity_prefix + entity_id(name) in invalid])

    def _fingerprints_of(self, name: str) -> tuple[int, int]:
        position = self._position(name)
        if position is None:
            return self._active.get(name, (_UNKNOWN, _MISSING))
        return self._primary[position], self._secondary[position]

    def _position(self, name: str) -> int | None:
        position = bisect_left(self._archived, name)
        return position if position < len(self._archived) and self._archived[position] == name else None

    def _activate(self, names: Collection[str]) -> None:
        """Move archived jobs to the active ones; their files are read again."""
        moved = [name for name in names if self._position(name) is not None]
        self.has_unsaved_changes = self.has_unsaved_changes or bool(moved)
        self._active.update((name, (_UNKNOWN, _UNKNOWN)) for name in moved)
        if len(moved) > _FEW:
            removed = set(moved)
            kept = [position for position, name in enumerate(self._archived) if name not in removed]
            self._archived = [self._archived[position] for position in kept]
            self._primary = array("q", (self._primary[position] for position in kept))
            self._secondary = array("q", (self._secondary[position] for position in kept))
            return
        for name in moved:
            position = bisect_left(self._archived, name)
            del self._archived[position], self._primary[position], self._secondary[position]


def fingerprint(found: Signature) -> int:
    """A signature as one number; `_MISSING` if the file is missing."""
    return hash(found) if found[2] else _MISSING


def _differing(names: Sequence[str], before: array[int], found: array[int]) -> list[str]:
    if before == found:  # the usual case, and about a thousand times faster than the loop
        return []
    return [name for name, old, new in zip(names, before, found, strict=True) if old != new]


def _stat_all(folder: str, names: Sequence[str], suffix: str) -> array[int]:
    """The fingerprints of the files `name + suffix` in `folder`."""
    if not names:  # without active jobs, opening the folder would cost as much as checking dozens of files
        return array("q")
    if not HAS_DIR_FD:
        return array("q", (fingerprint(signature(os.path.join(folder, name) + suffix)) for name in names))
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return array("q", [_MISSING]) * len(names)
    stat, fingerprints = os.stat, []
    try:
        # Short relative paths save a quarter of the scan's time: the kernel resolves fewer components.
        for name in names:
            try:
                found = stat(name + suffix, dir_fd=descriptor, follow_symlinks=False)
                fingerprints.append(hash((found.st_mtime_ns, found.st_size, found.st_ino)))
            except OSError:
                fingerprints.append(_MISSING)
    finally:
        os.close(descriptor)
    return array("q", fingerprints)
