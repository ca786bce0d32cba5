"""syft-bg's state files: its sync snapshots, and the copies that its notifier keeps."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from syftnotify.core.identifiers import is_address
from syftnotify.core.models import PeerAbsences, SnapshotStatus
from syftnotify.core.text import escape
from syftnotify.sources.syftbox.layouts import looks_like_email
from syftnotify.sources.syftbox.safe_files import GONE, Signature, UnreadableError, is_racy, read_beneath, signature
from syftnotify.sources.syftbox.yaml_files import parse_yaml

# syft-bg writes a snapshot after each sync, every 10 s unless configured; retries of a failing sync take minutes.
SNAPSHOT_MAX_AGE = 900.0  # seconds
_STATE_CAP = 16 << 20  # bytes of one of syft-bg's state files
_CONFIG_CAP = 1 << 20
# Prefix of the entity under which syft-bg's notify state records a grant.
_NOTIFIED_GRANT = "peer_granted_"

_Content = TypeVar("_Content")


@dataclass(frozen=True, slots=True)
class PeerLists:
    """Addresses of peers, in small letters."""

    requested: frozenset[str] = frozenset()
    granted: frozenset[str] = frozenset()


@dataclass(slots=True)
class CachedFile(Generic[_Content]):
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
                content, size = read_beneath(folder, (name,), cap=self.cap)
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


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """One sync snapshot; `is_whole` tells whether its lists are complete, so that absence means something."""

    path: Path
    lists: PeerLists
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
        return f"the last sync in {self.path} failed: {escape(self.error, limit=200)}" if self.error else ""

    def rank(self, now: float) -> tuple[bool, float]:
        """Usable ones first, then the newest."""
        is_dated = self.synced_at is not None and self.synced_at - now <= SNAPSHOT_MAX_AGE
        return not self.problem(now), self.synced_at if is_dated and self.synced_at is not None else -math.inf


@dataclass(slots=True)
class _Bound(Generic[_Content]):
    """A state file below a home of syft-bg, with the configuration that says whose it is."""

    state: CachedFile[_Content]
    config: CachedFile[str] | None

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
            return f"{self.state.path} belongs to {escape(whose)}"
        return ""


class StateReader:
    """Reads the state files of syft-bg homes for one owner. After `read`, `status` and `absences` describe them."""

    def __init__(self, owner: str, sync_states: Iterable[Path], notify_states: Iterable[Path]) -> None:
        self.status: SnapshotStatus | None = None  # of the sync snapshot that decides
        self.absences: PeerAbsences | None = None  # only while the usable snapshots are complete
        self._owner = owner
        self._syncs = [
            _Bound(CachedFile(path, _snapshot_parser(path), _STATE_CAP), _config_beside(path, "sync"))
            for path in sync_states
        ]
        self._notifies = [
            _Bound(CachedFile(path, _notify_lists, _STATE_CAP), _config_beside(path, "notify"))
            for path in notify_states
        ]

    @property
    def paths(self) -> list[Path]:
        """The state files, whether they exist or not."""
        return [*(bound.state.path for bound in self._syncs), *(bound.state.path for bound in self._notifies)]

    def read(self, now: float) -> tuple[PeerLists, frozenset[str]]:
        """The lists in use, and the addresses that a usable snapshot lists; empty without one."""
        lists = self._deciding(now)
        if self.status is not None and self.status.usable:
            return lists, lists.requested | lists.granted
        # syft-bg's notifier copies the snapshot: it adds something only while there is none to use.
        copies = [copy for bound in self._notifies if (copy := bound.read(self._owner, now)) is not None]
        return merged([lists, *copies]), frozenset()

    def _deciding(self, now: float) -> PeerLists:
        """What the deciding snapshot lists: the newest usable one, otherwise the newest."""
        own: list[_Snapshot] = []
        problems: list[str] = []
        for bound in self._syncs:
            if problem := bound.foreign(self._owner, now):
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
            return PeerLists()
        best = max(own, key=lambda snapshot: snapshot.rank(now))
        problem = best.problem(now)
        self.status = SnapshotStatus(str(best.path), best.synced_at, usable=not problem, problem=problem)
        usable = [snapshot for snapshot in own if not snapshot.problem(now)]
        if usable and best.synced_at is not None and all(snapshot.is_whole for snapshot in usable):
            everyone = merged(snapshot.lists for snapshot in usable)
            self.absences = PeerAbsences(best.synced_at, everyone.requested | everyone.granted)
        return best.lists


def addresses_in(names: Iterable[Any]) -> set[str]:
    return {name.lower() for name in names if isinstance(name, str) and looks_like_email(name) and is_address(name)}


def merged(lists: Iterable[PeerLists]) -> PeerLists:
    every = list(lists)
    granted = frozenset().union(*(each.granted for each in every))
    return PeerLists(frozenset().union(*(each.requested for each in every)) - granted, granted)


def json_object(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`. Raises: ValueError, RecursionError."""
    loaded = json.loads(content)
    if not isinstance(loaded, dict):
        raise ValueError("not an object")
    return loaded


def _listed(mapping: Any, key: str) -> set[str]:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return addresses_in(value) if isinstance(value, list) else set()


def _snapshot_parser(path: Path) -> Callable[[bytes], _Snapshot]:
    def parse(content: bytes) -> _Snapshot:
        snapshot = json_object(content).get("snapshot")
        if not isinstance(snapshot, dict):
            raise UnreadableError("it holds no snapshot yet")
        granted = _listed(snapshot, "approved_peer_emails")
        requested = _listed(snapshot, "peer_emails") - granted
        error = snapshot.get("sync_error")
        return _Snapshot(
            path,
            PeerLists(frozenset(requested), frozenset(granted)),
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


def _notify_lists(content: bytes) -> PeerLists:
    state = json_object(content)
    notified = state.get("notified_jobs")
    words = notified if isinstance(notified, (dict, list)) else ()
    granted = addresses_in(
        word.removeprefix(_NOTIFIED_GRANT) for word in words if str(word).startswith(_NOTIFIED_GRANT)
    )
    return PeerLists(frozenset(_listed(state, "peer_snapshot") - granted), frozenset(granted))


def _config_beside(state: Path, service: str) -> CachedFile[str] | None:
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

    return CachedFile(state.parent.parent / "config.yaml", owner_of, _CONFIG_CAP)


def _span(seconds: float) -> str:
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"
