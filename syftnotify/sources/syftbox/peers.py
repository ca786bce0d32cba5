"""Local traces of peers: syft-bg's state files, old peer files, and job folders made by the owner's client.

The authoritative list is on Google Drive and cannot be read here; docs/layouts.md lists the programs that leave each
trace. A trace proves that a peer exists; an empty, unreadable or missing list proves nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Fact, Peer, PeerAbsences, SnapshotStatus
from syftnotify.sources.syftbox.files.cached_file import CachedFile
from syftnotify.sources.syftbox.files.folder_cache import FolderCache
from syftnotify.sources.syftbox.files.signatures import regular_file_signature
from syftnotify.sources.syftbox.files.yaml_reader import parse_yaml
from syftnotify.sources.syftbox.layouts.marker_files import JOB_FILES
from syftnotify.sources.syftbox.names import looks_like_email
from syftnotify.sources.syftbox.syft_bg_state import PeerLists, StateReader, json_object, merged, valid_addresses
from syftnotify.sources.syftbox.watch.spec import WatchSpec

_PEER_CAP = 64 * 1024  # bytes
_PERMISSIONS_CAP = 1 << 20  # bytes
_MAX_PEER_FILES = 10_000
_PERMISSIONS = "syft.pub.yaml"
# Folders of a datasite whose permission file may govern a peer's folder.
_PERMISSION_FOLDERS = ("", "app_data", "app_data/job", "app_data/job/review")


class PeerScanner:
    """Scans the peers of one owner. `status` and `absences` are those of the last scan."""

    def __init__(
        self,
        root: Path,
        owner: str,
        sync_states: tuple[Path, ...],
        notify_states: tuple[Path, ...],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`sync_states` and `notify_states` are the possible paths of syft-bg's state files."""
        self.root = root
        self.owner = owner
        self._clock = clock
        self._states = StateReader(owner, sync_states, notify_states)
        self._peer_files: dict[str, CachedFile[PeerLists]] = {}  # by name
        self._permissions: dict[str, CachedFile[frozenset[str]]] = {}  # by path
        self._folder_cache = FolderCache(JOB_FILES)

    @property
    def status(self) -> SnapshotStatus | None:
        """The status of the sync snapshot in use."""
        return self._states.status

    @property
    def absences(self) -> PeerAbsences | None:
        """The peers in the sync snapshots in use; None unless these are complete."""
        return self._states.absences

    def watch_specs(self) -> list[WatchSpec]:
        """The existing folders of syft-bg's state files."""
        files = self._states.paths
        return [
            WatchSpec(folder, recursive=False, names=frozenset(path.name for path in files if path.parent == folder))
            for folder in sorted({path.parent for path in files})
            if os.path.isdir(folder)
        ]

    def scan(self) -> list[Peer]:
        """Every peer with a trace, sorted by address."""
        now = self._clock()
        lists, in_snapshot = self._states.read(now)
        self._folder_cache.begin_scan()
        requested = self._addresses_in_peer_files(now)
        with_folders, added = self._peers_with_folders(now)
        self._folder_cache.end_scan()
        peers = []
        for address in sorted(lists.addresses | requested | added):
            kind = EventKind.PEER_GRANTED if address in lists.granted else EventKind.PEER_REQUESTED
            has_fact = address in lists.addresses or address in requested
            peers.append(
                Peer(
                    entity_id("peer", self.owner.lower(), address),
                    self.owner,
                    address,
                    (Fact(kind),) if has_fact else (),
                    added=address in lists.granted or address in requested or address in added,
                    is_listed=address in in_snapshot,
                    has_folders=address in with_folders,
                )
            )
        return peers

    def _addresses_in_peer_files(self, now: float) -> frozenset[str]:
        """The addresses in peer files, which only the user's own client writes."""
        folder = self.root / ".syft" / "peers"
        try:
            with os.scandir(folder) as entries:
                names = {entry.name for entry in islice(entries, _MAX_PEER_FILES) if entry.name.endswith(".json")}
        except OSError:
            names = set()
        self._peer_files = {
            name: self._peer_files.get(name) or CachedFile(folder / name, _parse_peer_file, _PEER_CAP, is_in_tree=True)
            for name in names
        }
        contents = (file.read(now) for file in self._peer_files.values())
        return merged(lists for lists in contents if lists is not None).requested

    def _peers_with_folders(self, now: float) -> tuple[set[str], set[str]]:
        """Peers with all the job folders of an accepted peer, and peers for whom the owner's client made any.

        C and D: `inbox/<peer>/` and `review/<peer>/`; B4: `<peer>/`. A submission makes `inbox/<peer>/`, and receiving
        it `review/<peer>/<job>/`; the permission is written only when the owner adds the peer. So where any peer has a
        permission, only peers with one count. Without any, as in trees made by other programs, `review/<peer>/` counts.
        """
        with_folders: set[str] = set()
        added: set[str] = set()
        for name in self._folder_cache.folders(str(self.root), now):
            if name.casefold() != self.owner.casefold():
                continue
            site = str(self.root / name)
            base = os.path.join(site, "app_data", "job")
            permitted_by_rule = self._folders_with_rules(site, now)
            inbox = set(self._folder_cache.folders(os.path.join(base, "inbox"), now))
            review = self._folder_cache.folders(os.path.join(base, "review"), now)
            reviewed = set(filter(looks_like_email, review))
            permitted = {
                peer for peer in reviewed if _is_permitted(site, f"app_data/job/review/{peer}", permitted_by_rule)
            }
            permitted_b4 = {
                peer
                for peer in self._submitter_folders(base, now)
                if _is_permitted(site, f"app_data/job/{peer}", permitted_by_rule)
            }
            reviewed = permitted if permitted or permitted_b4 or permitted_by_rule else reviewed
            added |= valid_addresses([*reviewed, *permitted_b4])
            with_folders |= valid_addresses([*(permitted & inbox), *permitted_b4])
        return with_folders, added

    def _submitter_folders(self, base: str, now: float) -> list[str]:
        """Folders of B4 that may be a peer's. One that contains a job's file is a job of B3 with such a name."""
        names = filter(looks_like_email, self._folder_cache.folders(base, now))
        return [name for name in names if self._folder_cache.files(os.path.join(base, name), now) == frozenset()]

    def _folders_with_rules(self, site: str, now: float) -> frozenset[str]:
        """The peers' folders named by a permission file above them: casefolded paths relative to the datasite.

        Where such a file exists, the client adds a rule to it instead of making a file in the peer's folder.
        """
        found: set[str] = set()
        for parent in _PERMISSION_FOLDERS:
            path = os.path.join(site, parent, _PERMISSIONS)
            file = self._permissions.setdefault(
                path, CachedFile(Path(path), _parse_permissions, _PERMISSIONS_CAP, is_in_tree=True)
            )
            found.update(f"{parent}/{folder}".lstrip("/") for folder in file.read(now) or ())
        return frozenset(found)


class SentRequestScanner(PeerScanner):
    """Scans the owners whom a submitter (`owner`) asked for access. Only the files of older clients show a request."""

    def scan(self) -> list[Peer]:
        """Every owner to whom a request was sent, sorted by address."""
        submitter = self.owner.lower()
        requested = self._addresses_in_peer_files(self._clock()) - {submitter}
        return [
            Peer(entity_id("peer", address, submitter), address, submitter, (Fact(EventKind.PEER_REQUESTED),))
            for address in sorted(requested)
        ]


def _is_permitted(site: str, folder: str, permitted_by_rule: frozenset[str]) -> bool:
    """Whether the owner's client gave a peer access to its folder: by a permission file in it, or by a rule above."""
    if folder.casefold() in permitted_by_rule:
        return True
    return regular_file_signature(os.path.join(site, folder, _PERMISSIONS)) is not None


def _parse_peer_file(content: bytes) -> PeerLists:
    return PeerLists(requested=frozenset(valid_addresses([json_object(content).get("email")])))


def _parse_permissions(content: bytes) -> frozenset[str]:
    """The casefolded folders `<path>/<address>` to the whole of which a rule gives that address access."""
    return frozenset(_permitted_folders(parse_yaml(content)))


def _permitted_folders(document: dict[str, Any]) -> Iterator[str]:
    rules = document.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        pattern, access = (rule.get("pattern"), rule.get("access")) if isinstance(rule, dict) else (None, None)
        if isinstance(pattern, str) and pattern.endswith("/**") and isinstance(access, dict):
            folder = pattern.removesuffix("/**").casefold()
            peer = folder.rpartition("/")[2]
            lists = (value for value in access.values() if isinstance(value, list))
            if any(isinstance(name, str) and name.casefold() == peer for names in lists for name in names):
                yield folder
