"""Local traces of peers: syft-bg's state files, old peer files, and the job folders that the owner's client made.

The authoritative list is on Google Drive and out of reach; docs/layouts.md says which program writes which trace. Each
trace is positive evidence only: a list that is empty, torn or missing proves nothing.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from syftnotify.model import Fact, Kind, Peer, PeerAbsences, SnapshotStatus, entity_id, is_address
from syftnotify.observe.files import (
    GONE,
    Folders,
    Signature,
    UnreadableError,
    is_racy,
    read_inside,
    regular_file,
    signature,
)
from syftnotify.observe.layouts import looks_like_email
from syftnotify.observe.wake import Watched
from syftnotify.observe.yaml_files import parse_yaml
from syftnotify.text import shown

# syft-bg writes a snapshot after each sync, every 10 s unless configured; retries of a failing sync take minutes.
SNAPSHOT_MAX_AGE = 900.0  # seconds
_STATE_CAP = 16 << 20  # bytes of one of syft-bg's state files
_PEER_CAP = 64 * 1024
_CONFIG_CAP = _PERMISSIONS_CAP = 1 << 20
_MAX_PEER_FILES = 10_000
# Prefix of the entity under which syft-bg's notify state records a grant.
_NOTIFIED_GRANT = "peer_granted_"
_PERMISSIONS = "syft.pub.yaml"
# Folders of a datasite whose permission file may govern the folder of a peer.
_ABOVE_PEERS = ("", "app_data", "app_data/job", "app_data/job/review")

_Content = TypeVar("_Content")


@dataclass(frozen=True, slots=True)
class _Lists:
    """Addresses that one file names."""

    requested: frozenset[str] = frozenset()
    granted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """One sync snapshot; `is_whole` tells whether its lists are complete, so that absence means something."""

    path: Path
    lists: _Lists
    synced_at: float | None  # seconds since 1970
    error: str
    is_whole: bool

    def problem(self, now: float) -> str:
        """Why it is not usable, or empty."""
        if self.synced_at is None:
            return f"{self.path} has no valid sync_time"
        if self.synced_at - now > SNAPSHOT_MAX_AGE:
            return f"the sync time in {self.path} lies in the future"
        if now - self.synced_at > SNAPSHOT_MAX_AGE:
            return f"the last sync in {self.path} was {_span(now - self.synced_at)} ago"
        return f"the last sync in {self.path} failed: {shown(self.error, limit=200)}" if self.error else ""

    def rank(self, now: float) -> tuple[bool, float]:
        """Usable ones first, then the newest."""
        is_dated = self.synced_at is not None and self.synced_at - now <= SNAPSHOT_MAX_AGE
        return not self.problem(now), self.synced_at if is_dated and self.synced_at is not None else -math.inf


@dataclass(slots=True)
class _File(Generic[_Content]):
    """A file that is parsed again only when it changed."""

    path: Path
    parse: Callable[[bytes], _Content]  # raises ValueError, RecursionError or UnreadableError
    cap: int
    is_in_tree: bool = False  # no link is followed there
    content: _Content | None = None
    problem: str = ""  # why there is a file and no content
    _found: Signature | None = None

    def read(self, now: float) -> _Content | None:
        """Its content; a torn file keeps the previous one, a missing one has none."""
        path = str(self.path) if self.is_in_tree else os.path.realpath(self.path)
        found = signature(path)
        if found == GONE:
            self.content, self._found, self.problem = None, None, ""
        elif found != self._found:
            folder, name = os.path.split(path)
            try:
                content, size = read_inside(folder, (name,), cap=self.cap)
                if size > self.cap:
                    raise UnreadableError("too large")
                self.content = self.parse(content)
            except (FileNotFoundError, UnreadableError, ValueError, RecursionError) as error:
                # Clients write in place: an empty or cut file is no change, and is read again at the next scan.
                why = str(error) if isinstance(error, UnreadableError) else "not a JSON object"
                self.problem = "" if self.content is not None else f"{self.path} cannot be used: {why}"
            else:
                self.problem = ""
                self._found = None if is_racy(found, now) else found
        return self.content


@dataclass(slots=True)
class _Bound(Generic[_Content]):
    """A state file below a home of syft-bg, with the configuration that says whose it is."""

    state: _File[_Content]
    config: _File[str] | None

    def read(self, owner: str, now: float) -> _Content | None:
        """The state, unless it is missing, unreadable or another owner's."""
        return None if self.foreign(owner, now) else self.state.read(now)

    def foreign(self, owner: str, now: float) -> str:
        """Why the state is not this owner's, or empty. Without a configuration nothing speaks against it."""
        if self.config is None:
            return ""
        whose = self.config.read(now)
        if whose is None:  # missing, or unreadable: then it may be another owner's
            return self.config.problem
        if whose and whose.casefold() != owner.casefold():
            return f"{self.state.path} belongs to {shown(whose)}"
        return ""


class PeerReader:
    """Reads the peers of one owner. After `look`, `status` and `absences` describe the sync snapshot in use."""

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
        self.status: SnapshotStatus | None = None
        self.absences: PeerAbsences | None = None  # only while the snapshot in use is complete
        self._clock = clock
        self._syncs = [
            _Bound(_File(path, _snapshot_parser(path), _STATE_CAP), _config_beside(path, "sync"))
            for path in sync_states
        ]
        self._notifies = [
            _Bound(_File(path, _notify_lists, _STATE_CAP), _config_beside(path, "notify")) for path in notify_states
        ]
        self._peer_files: dict[str, _File[_Lists]] = {}
        self._permissions: dict[str, _File[frozenset[str]]] = {}  # by path
        self._folders = Folders()

    def watchable(self) -> list[Watched]:
        """The folders of syft-bg's state files."""
        files = [*(bound.state.path for bound in self._syncs), *(bound.state.path for bound in self._notifies)]
        return [
            Watched(folder, deep=False, names=frozenset(path.name for path in files if path.parent == folder))
            for folder in sorted({path.parent for path in files})
            if os.path.isdir(folder)
        ]

    def look(self) -> list[Peer]:
        """Every peer of which there is a trace, with what is true of it."""
        now = self._clock()
        lists = self._snapshot_lists(now)
        is_usable = self.status is not None and self.status.usable
        listed = lists.requested | lists.granted if is_usable else frozenset()
        if not is_usable:
            # syft-bg's notifier copies the snapshot: it adds something only while there is none to use.
            copies = [copy for bound in self._notifies if (copy := bound.read(self.owner, now)) is not None]
            lists = _merged([lists, *copies])
        self._folders.begin()
        asked = self._asked(now)
        with_folders, added = self._by_folders(now)
        self._folders.end()
        peers = []
        for address in sorted(lists.requested | lists.granted | asked | added):
            kind = Kind.PEER_GRANTED if address in lists.granted else Kind.PEER_REQUESTED
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

    def _snapshot_lists(self, now: float) -> _Lists:
        """What the deciding snapshot lists: the newest usable one, otherwise the newest."""
        own: list[_Snapshot] = []
        problems: list[str] = []
        for bound in self._syncs:
            if problem := bound.foreign(self.owner, now):
                problems.append(problem)
            elif (snapshot := bound.state.read(now)) is not None:
                own.append(snapshot)
            elif bound.state.problem:
                problems.append(bound.state.problem)
        self.absences = None
        if not own:
            where = self._syncs[0].state.path if self._syncs else Path()
            missing = f"there is no sync snapshot of syft-bg at {where}"
            broken = next((str(bound.state.path) for bound in self._syncs if bound.state.problem), None)
            self.status = SnapshotStatus(broken, None, usable=False, problem="; ".join(problems) or missing)
            return _Lists()
        best = max(own, key=lambda snapshot: snapshot.rank(now))
        problem = best.problem(now)
        self.status = SnapshotStatus(str(best.path), best.synced_at, usable=not problem, problem=problem)
        usable = [snapshot for snapshot in own if not snapshot.problem(now)]
        if usable and best.synced_at is not None and all(snapshot.is_whole for snapshot in usable):
            everyone = _merged(snapshot.lists for snapshot in usable)
            self.absences = PeerAbsences(best.synced_at, everyone.requested | everyone.granted)
        return best.lists

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
            name: self._peer_files.get(name) or _File(above / name, _peer_file_lists, _PEER_CAP, is_in_tree=True)
            for name in names
        }
        read = (file.read(now) for file in self._peer_files.values())
        return _merged(lists for lists in read if lists is not None).requested

    def _by_folders(self, now: float) -> tuple[set[str], set[str]]:
        """Peers with all the job folders of an accepted one, and those for whom the owner's client made any.

        C and D: `inbox/<peer>/` and `review/<peer>/`; B4: `<peer>/`. A submission makes `inbox/<peer>/`, and receiving
        it `review/<peer>/<job>/`; the permission is written only when the owner adds the peer.
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
            review = filter(looks_like_email, self._folders.folders(os.path.join(base, "review"), now))
            reviewed = {peer for peer in review if _is_permitted(site, f"app_data/job/review/{peer}", named)}
            others = self._beside(base, now)
            beside = {peer for peer in others if _is_permitted(site, f"app_data/job/{peer}", named)}
            added |= _addresses([*reviewed, *beside])
            with_folders |= _addresses([*(reviewed & inbox), *beside])
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
                path, _File(Path(path), _named_folders, _PERMISSIONS_CAP, is_in_tree=True)
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
            Peer(entity_id("peer", address, me), address, me, (Fact(Kind.PEER_REQUESTED),)) for address in sorted(asked)
        ]


def _is_permitted(site: str, folder: str, named: frozenset[str]) -> bool:
    """Whether the owner's client gave a peer access to its folder: there is a permission file, or a rule above it."""
    return folder.casefold() in named or regular_file(os.path.join(site, folder, _PERMISSIONS)) is not None


def _addresses(names: Iterable[Any]) -> set[str]:
    return {name.lower() for name in names if isinstance(name, str) and looks_like_email(name) and is_address(name)}


def _listed(mapping: Any, key: str) -> set[str]:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return _addresses(value) if isinstance(value, list) else set()


def _merged(lists: Iterable[_Lists]) -> _Lists:
    every = list(lists)
    granted = frozenset().union(*(each.granted for each in every))
    return _Lists(frozenset().union(*(each.requested for each in every)) - granted, granted)


def _loaded(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`. Raises: ValueError, RecursionError."""
    loaded = json.loads(content)
    if not isinstance(loaded, dict):
        raise ValueError("not an object")
    return loaded


def _snapshot_parser(path: Path) -> Callable[[bytes], _Snapshot]:
    def parse(content: bytes) -> _Snapshot:
        snapshot = _loaded(content).get("snapshot")
        if not isinstance(snapshot, dict):
            raise UnreadableError("it holds no snapshot yet")
        granted = _listed(snapshot, "approved_peer_emails")
        requested = _listed(snapshot, "peer_emails") - granted
        error = snapshot.get("sync_error")
        return _Snapshot(
            path,
            _Lists(frozenset(requested), frozenset(granted)),
            _moment(snapshot.get("sync_time")),
            "" if error is None else str(error)[:1000] or "unknown",
            # The lists are filled together, and the version after them: when reading failed, it is missing.
            bool(requested or granted) or isinstance(snapshot.get("own_version"), dict),
        )

    return parse


def _moment(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < 1e11 else None


def _notify_lists(content: bytes) -> _Lists:
    state = _loaded(content)
    notified = state.get("notified_jobs")
    words = notified if isinstance(notified, (dict, list)) else ()
    granted = _addresses(word.removeprefix(_NOTIFIED_GRANT) for word in words if str(word).startswith(_NOTIFIED_GRANT))
    return _Lists(frozenset(_listed(state, "peer_snapshot") - granted), frozenset(granted))


def _peer_file_lists(content: bytes) -> _Lists:
    return _Lists(requested=frozenset(_addresses([_loaded(content).get("email")])))


def _config_beside(state: Path, service: str) -> _File[str] | None:
    """The `config.yaml` of the syft-bg home in which `state` is `<service>/state.json`; None for any other place."""
    if state.parent.name != service:
        return None

    def owner_of(content: bytes) -> str:
        """The owner that the file names for this service, or empty."""
        config = parse_yaml(content)
        section = config.get(service)
        for value in (section.get("do_email") if isinstance(section, dict) else None, config.get("do_email")):
            if isinstance(value, str) and value:
                return value
        return ""

    return _File(state.parent.parent / "config.yaml", owner_of, _CONFIG_CAP)


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


def _span(seconds: float) -> str:
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"
