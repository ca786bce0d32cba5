"""Folders that contain jobs, with fingerprints of the jobs' files, so that an unchanged job costs one `stat`."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from syftnotify.core.identifiers import entity_id
from syftnotify.core.models import DirectorySnapshot
from syftnotify.sources.syftbox.archived_jobs import ArchivedJobs
from syftnotify.sources.syftbox.files.fingerprints import (
    ABSENT,
    UNREAD,
    differing,
    fingerprint,
    stat_all,
)
from syftnotify.sources.syftbox.files.folder_cache import MAX_NAMES
from syftnotify.sources.syftbox.files.signatures import Signature, is_racy, signature_of
from syftnotify.sources.syftbox.layouts.spec import LayoutSpec

_VERSION_FOLDER = re.compile(r"v\d+")


@dataclass(frozen=True, slots=True)
class JobLocation:
    """The place of one job."""

    base: str  # path of the owner's job folder, which is trusted
    layout: LayoutSpec
    owner: str
    submitter: str  # empty where the path names none
    name: str
    parts: tuple[str, ...]  # of the submission's folder, relative to `base`
    results: tuple[str, ...]  # of the folder with status and logs, relative to `base`
    entity: str
    path: str  # of the submission's folder


@dataclass(frozen=True, slots=True)
class DirectorySpec:
    """The place of the jobs of one layout, and of one submitter where the layout has a folder for each."""

    layout: LayoutSpec
    base: str  # path of the owner's job folder
    owner: str
    submitter: str  # empty where the path names none
    parts: tuple[str, ...]  # of the folder of the submissions, relative to `base`
    state_parts: tuple[str, ...] = ()  # of the folder with status and logs, if it is another one
    accepts: Callable[[str], bool] = lambda _name: True  # whether a folder of that name may be a job

    @property
    def folder(self) -> str:
        return os.path.join(self.base, *self.parts)


class JobDirectory:
    """A folder whose subfolders are jobs of one layout, with fingerprints of two files of each job.

    The primary file holds the status: `state.yaml`, or the job's own folder in layouts with marker files. The secondary
    file is `config.yaml`; without it there is no job. Of an active job both files are checked. An archived job has
    ended: a full scan checks its primary file, and one of `SECONDARY_CYCLE` full scans the secondary file.
    """

    def __init__(self, spec: DirectorySpec) -> None:
        self._spec = spec
        self.entity_prefix = entity_id("job", spec.layout.key, spec.owner, spec.submitter or "-") + "/"
        self.folder = spec.folder
        self.state_folder = os.path.join(spec.base, *spec.state_parts) if spec.state_parts else self.folder
        self.version_folders: tuple[str, ...] = ()  # names like `v1`, which may be job directories themselves
        self.has_unsaved_changes = False  # archived jobs changed since the last snapshot
        self._primary_suffix = "/state.yaml" if spec.state_parts else ""  # appended to a job's name
        self._listed: Signature | None = None  # of the folder, when its names were last read
        self._is_racy = False  # the folder may have changed without another signature
        self._archived = ArchivedJobs()
        # All other folders, by name, with two fingerprints like archived jobs. Those without config.yaml are no jobs.
        self._active: dict[str, tuple[int, int]] = {}

    def location(self, name: str) -> JobLocation:
        """The place of the job of that name, which need not exist."""
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
        if self._archived.names:  # otherwise the scan cache does not contain this directory
            self.has_unsaved_changes = self.has_unsaved_changes or before != (self._listed, self._is_racy)
        self.version_folders = tuple(sorted(filter(_VERSION_FOLDER.fullmatch, names)))
        removed = [name for name in self if name not in names]
        self._activate(removed)
        for name in self._active.keys() - names:
            del self._active[name]
        new = names.difference(self._archived.names, self._active)
        self._active.update((name, (UNREAD, ABSENT)) for name in sorted(filter(self._spec.accepts, new)))
        return removed

    def _list(self) -> tuple[Signature | None, set[str] | None]:
        """The folder's signature and the names in it; None for the names if they have not changed."""
        try:
            found = signature_of(os.stat(self.folder))  # followed: the owner's own root or job folder may be a link
            if found == self._listed and not self._is_racy:
                return found, None
            with os.scandir(self.folder) as entries:
                folders = (entry.name for entry in islice(entries, MAX_NAMES) if entry.is_dir(follow_symlinks=False))
                return found, set(folders)
        except OSError:
            return None, set()

    def __iter__(self) -> Iterator[str]:
        """The names of the jobs."""
        yield from self._archived.names
        yield from (name for name, (_, secondary) in self._active.items() if secondary != ABSENT)

    def __len__(self) -> int:
        return len(self._archived.names) + sum(1 for _, secondary in self._active.values() if secondary != ABSENT)

    def __contains__(self, name: str) -> bool:
        return self._fingerprints_of(name)[1] != ABSENT

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
        candidates = [
            name for name, (primary, _) in self._active.items() if is_full or primary == UNREAD or name in always
        ]
        candidates += self._changed_archived(slots, is_full=is_full).union(
            name for name in always if self._archived.get(name) is not None
        )
        changed: list[str] = []
        gone: list[str] = []
        found = zip(self._stat_primary(candidates), self._stat_secondary(candidates), strict=True)
        for name, fingerprints in zip(candidates, found, strict=True):
            before = self._fingerprints_of(name)
            if fingerprints[1] == ABSENT:
                if before[1] != ABSENT:
                    gone.append(name)
                    self._activate([name])  # it may be archived
                self._active[name] = (ABSENT, ABSENT)
            elif before != fingerprints:
                changed.append(name)
                if name in self._active:
                    self._active[name] = (UNREAD, fingerprints[1])
        return changed, gone

    def _changed_archived(self, slots: Collection[int], *, is_full: bool) -> set[str]:
        changed: set[str] = set()
        if slots:
            names, before = self._archived.in_slots(slots)
            changed.update(differing(names, before, self._stat_secondary(names)))
        if is_full:
            names = self._archived.names
            changed.update(differing(names, self._archived.primary, self._stat_primary(names)))
        return changed

    def _stat_primary(self, names: Sequence[str]) -> array[int]:
        return stat_all(self.state_folder, names, self._primary_suffix)

    def _stat_secondary(self, names: Sequence[str]) -> array[int]:
        return stat_all(self.folder, names, "/config.yaml")

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
        self._archived.set(name, fingerprints)

    def invalidate(self, names: Iterable[str]) -> None:
        """Offer these jobs again at the next scan."""
        present = [name for name in names if name in self]
        self._activate(present)
        self._active.update((name, (UNREAD, self._active[name][1])) for name in present)

    def snapshot(self) -> DirectorySnapshot:
        """The state to save for the next process; resets `has_unsaved_changes`."""
        self.has_unsaved_changes = False
        listed = [] if self._listed is None or self._is_racy else [*self._listed]
        return DirectorySnapshot(
            archived=self._archived.names,
            primary=self._archived.primary.tolist(),
            secondary=self._archived.secondary.tolist(),
            listed=listed,
            active=[*self._active],
            version_folders=[*self.version_folders],
        )

    def restore(self, saved: DirectorySnapshot, invalid: Collection[str]) -> None:
        """Take over the state of an earlier process, except for the entities in `invalid`."""
        self._archived = ArchivedJobs(saved.archived, saved.primary, saved.secondary)
        self._active = dict.fromkeys(saved.active, (UNREAD, ABSENT))
        if saved.listed:
            self._listed, self.version_folders = Signature(*saved.listed), tuple(saved.version_folders)
        if invalid:
            self._activate([name for name in saved.archived if self.entity_prefix + entity_id(name) in invalid])

    def _fingerprints_of(self, name: str) -> tuple[int, int]:
        return self._archived.get(name) or self._active.get(name, (UNREAD, ABSENT))

    def _activate(self, names: Iterable[str]) -> None:
        """Move archived jobs to the active ones; their files are read again."""
        moved = [name for name in names if self._archived.get(name) is not None]
        self.has_unsaved_changes = self.has_unsaved_changes or bool(moved)
        self._active.update((name, (UNREAD, UNREAD)) for name in moved)
        self._archived.remove(moved)
