"""Which peers does the owner's machine know of? From syft-bg's snapshot, old peer files, and the folders of a grant.

The truth lies on Google Drive, out of reach; these are its local traces (docs/layouts.md says who writes which). Every
source only adds: a list that is empty, torn or gone proves nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syftnotify.model import Fact, Kind, Peer, entity_id, is_address
from syftnotify.observe.files import Folders, Signature, UnreadableError, is_racy, read_inside, signature
from syftnotify.observe.layouts import looks_like_email
from syftnotify.observe.wake import Watched

_STATE_CAP = 16 << 20  # bytes of one of syft-bg's state files
_PEER_CAP = 64 * 1024
_MAX_PEER_FILES = 10_000
# syft-bg marks a grant that it told in its notify state as this word before the address.
_TOLD_GRANT = "peer_granted_"


@dataclass(slots=True)
class _Source:
    """One file, read again only when it changed."""

    found: Signature | None = None
    requested: frozenset[str] = frozenset()
    granted: frozenset[str] = frozenset()


@dataclass(slots=True)
class PeerReader:
    """Reads the peers of one owner.

    Args of note: `sync_states` and `notify_states` are syft-bg's state files, wherever some may be.
    """

    root: Path
    owner: str
    sync_states: tuple[Path, ...]
    notify_states: tuple[Path, ...]
    clock: Callable[[], float] = time.time
    _sources: dict[str, _Source] = field(default_factory=dict)
    _folders: Folders = field(default_factory=Folders)

    def watchable(self) -> list[Watched]:
        """The folders in which syft-bg writes down what it knows."""
        files = (*self.sync_states, *self.notify_states)
        return [
            Watched(folder, deep=False, names=frozenset(path.name for path in files if path.parent == folder))
            for folder in sorted({path.parent for path in files})
            if os.path.isdir(folder)
        ]

    def look(self) -> list[Peer]:
        """Every peer there is a trace of, with what is true of it."""
        requested: set[str] = set()
        granted: set[str] = set()
        asked: set[str] = set()  # by the owner's own client, which alone makes peer files
        for path in self.sync_states:
            self._take(path, _from_snapshot, requested, granted)
        for path in self.notify_states:
            self._take(path, _from_notify_state, requested, granted)
        self._folders.begin()
        for name in self._peer_files():
            self._take(self.root / ".syft" / "peers" / name, _from_peer_file, asked, granted)
        granted |= self._granted_by_folders()
        self._folders.end()
        return [
            self._peer(address, address in granted, added=address in granted or address in asked)
            for address in sorted(requested | granted | asked)
        ]

    def _peer(self, address: str, granted: bool, *, added: bool) -> Peer:
        kind = Kind.PEER_GRANTED if granted else Kind.PEER_REQUESTED
        return Peer(entity_id("peer", self.owner.lower(), address), self.owner, address, (Fact(kind),), added)

    def _take(
        self,
        path: Path,
        read: Callable[[dict[str, Any]], tuple[frozenset[str], frozenset[str]]],
        requested: set[str],
        granted: set[str],
    ) -> None:
        source = self._sources.setdefault(str(path), _Source())
        found = signature(str(path))
        if found != source.found and found[2]:
            try:
                content, size = read_inside(str(path.parent), (path.name,), cap=_STATE_CAP)
                loaded = json.loads(content) if size <= _STATE_CAP else None
            except (FileNotFoundError, UnreadableError, ValueError, RecursionError):
                loaded = None  # torn, as an open("w") leaves it for a moment: no change, look again
            if isinstance(loaded, dict):
                source.requested, source.granted = read(loaded)
                source.found = None if is_racy(found, self.clock()) else found
        requested |= source.requested
        granted |= source.granted

    def _peer_files(self) -> list[str]:
        try:
            with os.scandir(self.root / ".syft" / "peers") as entries:
                names = [entry.name for entry, _ in zip(entries, range(_MAX_PEER_FILES), strict=False)]
        except OSError:
            return []
        return [name for name in names if name.endswith(".json")]

    def _granted_by_folders(self) -> set[str]:
        """C and D: a folder for the peer in `inbox` and in `review`. B4: one beside the jobs."""
        now = self.clock()
        for name in self._folders.folders(str(self.root), now):
            if name.casefold() == self.owner.casefold():
                base = str(self.root / name / "app_data" / "job")
                inbox = self._folders.folders(os.path.join(base, "inbox"), now)
                review = self._folders.folders(os.path.join(base, "review"), now)
                return _addresses([*(set(inbox) & set(review)), *self._beside(base, now)])
        return set()

    def _beside(self, base: str, now: float) -> list[str]:
        """The folders in B4 that may be a peer's. One that holds a job's own file is a job of B3, whatever its name."""
        names = filter(looks_like_email, self._folders.folders(base, now))
        return [name for name in names if self._folders.files(os.path.join(base, name), now) == frozenset()]


class OwnRequests(PeerReader):
    """On a scientist's machine: whom one asked, by the files that older clients leave there. A grant leaves nothing."""

    def look(self) -> list[Peer]:
        """Every owner whom the scientist asked."""
        asked: set[str] = set()
        for name in self._peer_files():
            self._take(self.root / ".syft" / "peers" / name, _from_peer_file, asked, set())
        me = self.owner.lower()
        return [
            Peer(entity_id("peer", address, me), address, me, (Fact(Kind.PEER_REQUESTED),))
            for address in sorted(asked - {me})
        ]


def _addresses(names: Iterable[Any]) -> set[str]:
    return {name.lower() for name in names if isinstance(name, str) and looks_like_email(name) and is_address(name)}


def _listed(mapping: Any, key: str) -> set[str]:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return _addresses(value) if isinstance(value, list) else set()


def _from_snapshot(state: dict[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    snapshot = state.get("snapshot")
    granted = _listed(snapshot, "approved_peer_emails")
    return frozenset(_listed(snapshot, "peer_emails") - granted), frozenset(granted)


def _from_notify_state(state: dict[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    told = state.get("notified_jobs")
    words = told if isinstance(told, (dict, list)) else ()
    granted = _addresses(word.removeprefix(_TOLD_GRANT) for word in words if str(word).startswith(_TOLD_GRANT))
    return frozenset(_listed(state, "peer_snapshot") - granted), frozenset(granted)


def _from_peer_file(state: dict[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(_addresses([state.get("email")])), frozenset()
