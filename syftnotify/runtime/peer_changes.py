"""Changes of peers against the ledger, and the log records about their source."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from syftnotify.core.decisions import PendingDecision
from syftnotify.core.detection import Changes, absences, detect_peers, peer_payload
from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import PEER_KINDS, EventKind
from syftnotify.core.models import Peer, PeerRound, SnapshotStatus
from syftnotify.sources.syftbox.peers import PeerScanner
from syftnotify.sources.syftbox.watch.spec import WatchSpec
from syftnotify.store.ledger.index import Ledger

log = logging.getLogger(__name__)


class PeerChanges:
    """Detects what has changed about the peers of one owner, and records which request of each is current."""

    def __init__(
        self,
        scanner: PeerScanner,
        ledger: Ledger,
        owner: str,
        *,
        scope: str,
        is_monitored: bool,
        trusts_folders: bool,
    ) -> None:
        """`scope` is the name of the baseline in the ledger.

        `trusts_folders`: without a sync snapshot, the job folders of a peer count as a grant. Peers that are not
        monitored cause no events, but still verify the addresses of submitters.
        """
        self._scanner = scanner
        self._ledger = ledger
        self._owner = owner
        self._scope = scope
        self._is_monitored = is_monitored
        self._trusts_folders = trusts_folders
        self._counted_at: float | None = None  # sync time of the last snapshot in which absences were counted
        self._problem: str | None = None  # as last logged; None: not yet

    @property
    def baseline_scope(self) -> str:
        """The ledger's name of the baseline of peers; empty if peers are not monitored."""
        return self._scope if self._is_monitored else ""

    @property
    def status(self) -> SnapshotStatus | None:
        """The sync snapshot in use; None if peers are not monitored, and for a scientist, who has none."""
        return self._scanner.status if self._is_monitored else None

    def watch_specs(self) -> list[WatchSpec]:
        """The files and folders of peers to watch."""
        return self._scanner.watch_specs() if self._is_monitored else []

    def scan(self) -> list[Peer]:
        """All peers."""
        return self._scanner.scan()

    def count(self) -> int:
        """The number of peers."""
        return len(self._scanner.scan())

    def detect(self, peers: list[Peer], *, last_notified: Mapping[str, EventKind]) -> Changes:
        """What has changed about `peers`. `last_notified` has the last kind of each after the ledger was lost."""
        if not self._is_monitored:
            return Changes()
        status, snapshot = self._scanner.status, self._scanner.absences
        self._log_source(status)
        rounds = self._ledger.peer_rounds()
        changes = detect_peers(
            peers,
            self._ledger,
            baseline=not self._ledger.baseline(self._scope),
            last_notified=last_notified,
            rounds=rounds,
            trusts_folders=self._trusts_folders and status is not None and status.path is None,
        )
        if snapshot is not None and snapshot.synced_at != self._counted_at:
            recorded = self._ledger.entities(f"{entity_id('peer', self._owner)}/")
            present = (entity_id("peer", self._owner, address) for address in snapshot.listed)
            changes.rounds.update(absences(recorded, present, rounds, snapshot.synced_at))
        return changes

    def pending(self, peers: list[Peer], now: float) -> list[PendingDecision]:
        """The requests of `peers` that the owner has not answered."""
        if not self._is_monitored:
            return []
        rounds = self._ledger.peer_rounds()
        return [
            PendingDecision(peer.entity, EventKind.PEER_REQUESTED, now, peer_payload(peer))
            for peer in peers
            if self._is_pending(peer, rounds.get(peer.entity, PeerRound()).occurrence)
        ]

    def _is_pending(self, peer: Peer, occurrence: str) -> bool:
        is_recorded = self._ledger.is_recorded
        return is_recorded(peer.entity, EventKind.PEER_REQUESTED, occurrence) and not is_recorded(
            peer.entity, EventKind.PEER_GRANTED, occurrence
        )

    def record(self, changes: Changes) -> None:
        """Record the rounds of `changes` in the ledger."""
        for entity, current in changes.rounds.items():
            self._ledger.set_peer_round(entity, current)
        if self._scanner.absences is not None:
            self._counted_at = self._scanner.absences.synced_at

    def restore(self, entity: str, kind: str, occurrence: str) -> None:
        """Restore a round from an event of the outbox, after the ledger was lost."""
        if kind in PEER_KINDS and occurrence.isdigit():
            self._ledger.set_peer_round(entity, PeerRound(int(occurrence)))

    def is_recorded(self, address: str, present: Collection[str]) -> bool:
        """Whether `address` is among the `present` addresses of peers, or the ledger has an event of it as a peer."""
        name = address.lower()
        return name in present or self._ledger.has_events(entity_id("peer", self._owner, name))

    def _log_source(self, status: SnapshotStatus | None) -> None:
        problem = status.problem if status is not None else ""
        if problem and not self._problem:
            # Many homes never had a snapshot: only its loss is a warning.
            level = logging.INFO if self._problem is None else logging.WARNING
            log.log(level, "peer notifications cannot be sent: %s", problem)
        elif self._problem and not problem:
            log.info("peer notifications can be sent again")
        self._problem = problem
