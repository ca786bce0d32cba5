"""The state files of syft-bg: its sync snapshots, and the copies that its notifier keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from syftnotify.core.identifiers import is_address
from syftnotify.core.models import PeerAbsences, SnapshotStatus
from syftnotify.core.text import age_text, escape
from syftnotify.sources.syftbox.details import text_prefix
from syftnotify.sources.syftbox.files.cached_file import CachedFile
from syftnotify.sources.syftbox.files.safe_read import UnreadableError
from syftnotify.sources.syftbox.files.yaml_reader import parse_yaml
from syftnotify.sources.syftbox.names import looks_like_email

# syft-bg writes a snapshot after each sync, every 10 s unless configured; retries of a failing sync take minutes.
SNAPSHOT_MAX_AGE = 900.0  # seconds
_STATE_CAP = 16 << 20  # bytes
_CONFIG_CAP = 1 << 20  # bytes
_MAX_ERROR = 1000  # characters
# Prefix of the entity under which syft-bg's notify state records a grant.
GRANTED_PREFIX = "peer_granted_"

_Content = TypeVar("_Content")


@dataclass(frozen=True, slots=True)
class PeerLists:
    """Addresses of peers, in lower case."""

    requested: frozenset[str] = frozenset()
    granted: frozenset[str] = frozenset()

    @property
    def addresses(self) -> frozenset[str]:
        return self.requested | self.granted


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """One sync snapshot. The absence of a peer means something only in a complete one."""

    path: Path
    lists: PeerLists
    synced_at: float | None  # seconds since 1970
    error: str
    is_complete: bool

    def problem(self, now: float) -> str:
        """Why the snapshot is not usable at `now` (seconds since 1970); empty if it is."""
        if self.synced_at is None:
            return f"{self.path} has no valid sync_time"
        if self.synced_at - now > SNAPSHOT_MAX_AGE:
            return f"the sync time in {self.path} lies in the future"
        if now - self.synced_at > SNAPSHOT_MAX_AGE:
            return f"the last sync in {self.path} was {age_text(now - self.synced_at)} ago"
        return f"the last sync in {self.path} failed: {escape(self.error, limit=200)}" if self.error else ""

    def rank(self, now: float) -> tuple[bool, float]:
        """Sort key: usable snapshots rank higher, then newer ones."""
        is_dated = self.synced_at is not None and self.synced_at - now <= SNAPSHOT_MAX_AGE
        return not self.problem(now), self.synced_at if is_dated and self.synced_at is not None else -math.inf


@dataclass(slots=True)
class _OwnedState(Generic[_Content]):
    """A state file in a syft-bg home, with the configuration that names its owner."""

    state: CachedFile[_Content]
    config: CachedFile[str] | None

    def read(self, owner: str, now: float) -> _Content | None:
        """The state, unless it is missing, unreadable or another owner's."""
        return None if self.ownership_problem(owner, now) else self.state.read(now)

    def ownership_problem(self, owner: str, now: float) -> str:
        """Why the state is not accepted as this owner's; empty if it is, also without a configuration."""
        if self.config is None:
            return ""
        found = self.config.read(now)
        if found is None:  # missing; or unreadable, so it may be another owner's
            return self.config.problem
        if found and found.casefold() != owner.casefold():
            return f"{self.state.path} belongs to {escape(found)}"
        return ""


class StateReader:
    """Reads the state files of syft-bg homes for one owner. `status` and `absences` are updated by `read`."""

    def __init__(self, owner: str, sync_states: Iterable[Path], notify_states: Iterable[Path]) -> None:
        """The paths are those of possible `sync/state.json` and `notify/state.json`; they need not exist."""
        self.status: SnapshotStatus | None = None  # of the selected sync snapshot
        self.absences: PeerAbsences | None = None  # None unless the usable snapshots are complete
        self._owner = owner
        self._syncs = [
            _OwnedState(CachedFile(path, _snapshot_parser(path), _STATE_CAP), _config_beside(path, "sync"))
            for path in sync_states
        ]
        self._notifies = [
            _OwnedState(CachedFile(path, _parse_notify_state, _STATE_CAP), _config_beside(path, "notify"))
            for path in notify_states
        ]

    @property
    def paths(self) -> list[Path]:
        """The paths of the state files, which need not exist."""
        return [*(owned.state.path for owned in self._syncs), *(owned.state.path for owned in self._notifies)]

    def read(self, now: float) -> tuple[PeerLists, frozenset[str]]:
        """The lists to use at `now` (seconds since 1970), and the addresses in a usable snapshot, if there is one."""
        lists = self._select_snapshot(now)
        if self.status is not None and self.status.usable:
            return lists, lists.addresses
        # syft-bg's notifier copies the snapshot, so its state adds something only without a usable one.
        copies = [copy for owned in self._notifies if (copy := owned.read(self._owner, now)) is not None]
        return merged([lists, *copies]), frozenset()

    def _select_snapshot(self, now: float) -> PeerLists:
        """The lists of the newest usable snapshot, otherwise of the newest one."""
        snapshots, problems = self._snapshots(now)
        self.absences = None
        if not snapshots:
            self.status = self._missing_status(problems)
            return PeerLists()
        best = max(snapshots, key=lambda snapshot: snapshot.rank(now))
        problem = best.problem(now)
        self.status = SnapshotStatus(str(best.path), best.synced_at, usable=not problem, problem=problem)
        usable = [snapshot for snapshot in snapshots if not snapshot.problem(now)]
        if usable and best.synced_at is not None and all(snapshot.is_complete for snapshot in usable):
            self.absences = PeerAbsences(best.synced_at, merged(snapshot.lists for snapshot in usable).addresses)
        return best.lists

    def _snapshots(self, now: float) -> tuple[list[_Snapshot], list[str]]:
        """The snapshots of this owner, and why others are not used."""
        found: list[_Snapshot] = []
        problems: list[str] = []
        for owned in self._syncs:
            if problem := owned.ownership_problem(self._owner, now):
                problems.append(problem)
            elif (snapshot := owned.state.read(now)) is not None:
                found.append(snapshot)
            elif owned.state.problem:
                problems.append(owned.state.problem)
        return found, problems

    def _missing_status(self, problems: list[str]) -> SnapshotStatus:
        expected = self._syncs[0].state.path if self._syncs else Path()
        broken = next((str(owned.state.path) for owned in self._syncs if owned.state.problem), None)
        problem = "; ".join(problems) or f"there is no sync snapshot of syft-bg at {expected}"
        return SnapshotStatus(broken, None, usable=False, problem=problem)


def valid_addresses(names: Iterable[Any]) -> set[str]:
    """Those of `names` that are addresses, in lower case."""
    return {name.lower() for name in names if isinstance(name, str) and looks_like_email(name) and is_address(name)}


def merged(lists: Iterable[PeerLists]) -> PeerLists:
    """The union of the lists; a granted peer is not a requesting one."""
    every = list(lists)
    granted = frozenset().union(*(each.granted for each in every))
    return PeerLists(frozenset().union(*(each.requested for each in every)) - granted, granted)


def json_object(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`. Raises: UnreadableError."""
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError):
        loaded = None
    if not isinstance(loaded, dict):
        raise UnreadableError("not a JSON object")
    return loaded


def _address_list(mapping: dict[str, Any], key: str) -> set[str]:
    value = mapping.get(key)
    return valid_addresses(value) if isinstance(value, list) else set()


def _snapshot_parser(path: Path) -> Callable[[bytes], _Snapshot]:
    def parse(content: bytes) -> _Snapshot:
        snapshot = json_object(content).get("snapshot")
        if not isinstance(snapshot, dict):
            raise UnreadableError("it contains no snapshot yet")
        granted = _address_list(snapshot, "approved_peer_emails")
        requested = _address_list(snapshot, "peer_emails") - granted
        error = snapshot.get("sync_error")
        return _Snapshot(
            path,
            PeerLists(frozenset(requested), frozenset(granted)),
            _timestamp(snapshot.get("sync_time")),
            "" if error is None else text_prefix(error, _MAX_ERROR) or "unknown",
            # syft-bg writes the version after the lists; it is missing if they could not be read.
            is_complete=bool(requested or granted) or isinstance(snapshot.get("own_version"), dict),
        )

    return parse


def _timestamp(value: Any) -> float | None:
    """Seconds since 1970; None for other types, and for numbers like milliseconds, which are too large."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < 1e11 else None


def _parse_notify_state(content: bytes) -> PeerLists:
    state = json_object(content)
    notified = state.get("notified_jobs")
    entities = notified if isinstance(notified, (dict, list)) else ()
    names = (entity for entity in entities if isinstance(entity, str))
    granted = valid_addresses(name.removeprefix(GRANTED_PREFIX) for name in names if name.startswith(GRANTED_PREFIX))
    return PeerLists(frozenset(_address_list(state, "peer_snapshot") - granted), frozenset(granted))


def _config_beside(state: Path, service: str) -> CachedFile[str] | None:
    """The owner in the `config.yaml` of a syft-bg home; None if `state` is not `<home>/<service>/state.json`."""
    if state.parent.name != service:
        return None

    def parse_owner(content: bytes) -> str:
        """The owner configured for this service, or empty."""
        config = parse_yaml(content)
        section = config.get(service)
        for value in (section.get("do_email") if isinstance(section, dict) else None, config.get("do_email")):
            if isinstance(value, str) and value:
                return value
        return ""

    return CachedFile(state.parent.parent / "config.yaml", parse_owner, _CONFIG_CAP)
