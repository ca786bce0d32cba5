"""Local traces of peers: syft-bg's state files, old peer files, and the job folders that the owner's client made.

The authoritative list is on Google Drive and out of reach; docs/layouts.md says which program writes which trace. Each
trace is positive evidence only: a list that is empty, torn or missing proves nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Fact, Peer, PeerAbsences, SnapshotStatus
from syftnotify.sources.syftbox.layouts import looks_like_email
from syftnotify.sources.syftbox.safe_files import Folders, regular_file
from syftnotify.sources.syftbox.snapshots import CachedFile, PeerLists, StateReader, addresses_in, json_object, merged
from syftnotify.sources.syftbox.watcher import WatchSpec
from syftnotify.sources.syftbox.yaml_files import parse_yaml

_PEER_CAP = 64 * 1024
_PERMISSIONS_CAP = 1 << 20
_MAX_PEER_FILES = 10_000
_PERMISSIONS = "syft.pub.yaml"
# Folders of a datasite whose permission file may govern the folder of a peer.
_ABOVE_PEERS = ("", "app_data", "app_data/job", "app_data/job/review")


class PeerReader:
    """Reads the peers of one owner. `status` and `absences` are those of the last look."""

    def __init__(
        self,
        root: Path,
        owner: str,
        sync_states: tuple[Path, ...],
        notify_states: tuple[Path, ...],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`sync_states` and `notify_states` are the places where syft-bg may keep its state files."""
        self.root = root
        self.owner = owner
        self._clock = clock
        self._states = StateReader(owner, sync_states, notify_states)
        self._peer_files: dict[str, CachedFile[PeerLists]] = {}
        self._permissions: dict[str, CachedFile[frozenset[str]]] = {}  # by path
        self._folders = Folders()

    @property
    def status(self) -> SnapshotStatus | None:
        """The sync snapshot in use at the last look."""
        return self._states.status

    @property
    def absences(self) -> PeerAbsences | None:
        """Peers in that snapshot, while it is complete."""
        return self._states.absences

    def watchable(self) -> list[WatchSpec]:
        """The folders of syft-bg's state files."""
        files = self._states.paths
        return [
            WatchSpec(folder, deep=False, names=frozenset(path.name for path in files if path.parent == folder))
            for folder in sorted({path.parent for path in files})
            if os.path.isdir(folder)
        ]

    def look(self) -> list[Peer]:
        """Every peer of which there is a trace, with what is true of it."""
        now = self._clock()
        lists, listed = self._states.read(now)
        self._folders.begin()
        asked = self._asked(now)
        with_folders, added = self._by_folders(now)
        self._folders.end()
        peers = []
        for address in sorted(lists.requested | lists.granted | asked | added):
            kind = EventKind.PEER_GRANTED if address in lists.granted else EventKind.PEER_REQUESTED
            has_fact = address in lists.granted or address in lists.requested or address in asked
            peers.append(
                Peer(
                    entity_id("peer", self.owner.lower(), address),
                    self.owner,
                    address,
                    (Fact(kind),) if has_fact else (),
                    added=address in lists.granted or address in asked or address in added,
                    is_listed=address in listed,
                    has_folders=address in with_folders,
                )
            )
        return peers

    def _asked(self, now: float) -> frozenset[str]:
        """Addresses in the peer files, which only the user's own client makes."""
        above = self.root / ".syft" / "peers"
        try:
            with os.scandir(above) as entries:
                some = zip(entries, range(_MAX_PEER_FILES), strict=False)
                names = {entry.name for entry, _ in some if entry.name.endswith(".json")}
        except OSError:
            names = set()
        self._peer_files = {
            name: self._peer_files.get(name) or CachedFile(above / name, _peer_file_lists, _PEER_CAP, is_in_tree=True)
            for name in names
        }
        read = (file.read(now) for file in self._peer_files.values())
        return merged(lists for lists in read if lists is not None).requested

    def _by_folders(self, now: float) -> tuple[set[str], set[str]]:
        """Peers with all the job folders of an accepted one, and those for whom the owner's client made any.

        C and D: `inbox/<peer>/` and `review/<peer>/`; B4: `<peer>/`. A submission makes `inbox/<peer>/`, and receiving
        it `review/<peer>/<job>/`; the permission is written only when the owner adds the peer. So where the permission
        of any peer is found, only peers with one count. Where there is none at all, as in trees that other programs
        made, `review/<peer>/` does.
        """
        with_folders: set[str] = set()
        added: set[str] = set()
        for name in self._folders.folders(str(self.root), now):
            if name.casefold() != self.owner.casefold():
                continue
            site = str(self.root / name)
            base = os.path.join(site, "app_data", "job")
            named = self._named_by_rules(site, now)
            inbox = set(self._folders.folders(os.path.join(base, "inbox"), now))
            reviewed = set(filter(looks_like_email, self._folders.folders(os.path.join(base, "review"), now)))
            permitted = {peer for peer in reviewed if _is_permitted(site, f"app_data/job/review/{peer}", named)}
            others = self._beside(base, now)
            beside = {peer for peer in others if _is_permitted(site, f"app_data/job/{peer}", named)}
            reviewed = permitted if permitted or beside or named else reviewed
            added |= addresses_in([*reviewed, *beside])
            with_folders |= addresses_in([*(permitted & inbox), *beside])
        return with_folders, added

    def _beside(self, base: str, now: float) -> list[str]:
        """The folders in B4 that may be a peer's. One that holds a job's own file is a job of B3, whatever its name."""
        names = filter(looks_like_email, self._folders.folders(base, now))
        return [name for name in names if self._folders.files(os.path.join(base, name), now) == frozenset()]

    def _named_by_rules(self, site: str, now: float) -> frozenset[str]:
        """The peers' folders that a permission file above them names, relative to the datasite, letter case aside.

        The client adds a rule there where such a file exists, instead of making one in the peer's folder.
        """
        named: set[str] = set()
        for above in _ABOVE_PEERS:
            path = os.path.join(site, above, _PERMISSIONS)
            file = self._permissions.setdefault(
                path, CachedFile(Path(path), _named_folders, _PERMISSIONS_CAP, is_in_tree=True)
            )
            named.update(f"{above}/{folder}".lstrip("/") for folder in file.read(now) or ())
        return frozenset(named)


class OwnRequests(PeerReader):
    """On a scientist's machine: the owners one asked, by the files that older clients leave. A grant leaves none."""

    def look(self) -> list[Peer]:
        """Every owner whom the scientist asked."""
        me = self.owner.lower()
        asked = self._asked(self._clock()) - {me}
        return [
            Peer(entity_id("peer", address, me), address, me, (Fact(EventKind.PEER_REQUESTED),))
            for address in sorted(asked)
        ]


def _is_permitted(site: str, folder: str, named: frozenset[str]) -> bool:
    """Whether the owner's client gave a peer access to its folder: there is a permission file, or a rule above it."""
    return folder.casefold() in named or regular_file(os.path.join(site, folder, _PERMISSIONS)) is not None


def _peer_file_lists(content: bytes) -> PeerLists:
    return PeerLists(requested=frozenset(addresses_in([json_object(content).get("email")])))


def _named_folders(content: bytes) -> frozenset[str]:
    """The folders `<path>/<address>` on the whole of which a rule gives that very address access, in small letters."""
    return frozenset(_folders_in(parse_yaml(content)))


def _folders_in(document: dict[str, Any]) -> Iterator[str]:
    rules = document.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        pattern, access = (rule.get("pattern"), rule.get("access")) if isinstance(rule, dict) else (None, None)
        if isinstance(pattern, str) and pattern.endswith("/**") and isinstance(access, dict):
            folder = pattern.removesuffix("/**").casefold()
            peer = folder.rpartition("/")[2]
            lists = (value for value in access.values() if isinstance(value, list))
            if any(isinstance(name, str) and name.casefold() == peer for names in lists for name in names):
                yield folder
