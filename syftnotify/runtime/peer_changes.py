"""Changes of peers against the ledger, and the log line when their source fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from syftnotify.core.detection import Changes, absences, detect_peers
from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import PEER_KINDS, EventKind
from syftnotify.core.models import Peer, PeerRound, SnapshotStatus
from syftnotify.sources.syftbox.peers import PeerScanner
from syftnotify.store.ledger.index import Ledger

log = logging.getLogger(__name__)


class PeerChanges:
    """Turns the peers of one owner into news, and records which request of each is current."""

    def __init__(self, reader: PeerScanner, ledger: Ledger, owner: str, *, trusts_folders: bool) -> None:
        """`trusts_folders`: where there is no sync snapshot, the job folders of a peer are a grant."""
        self._reader = reader
        self._ledger = ledger
        self._owner = owner
        self._trusts_folders = trusts_folders
        self._counted_at: float | None = None  # sync time of the last snapshot in which absences were counted
        self._problem: str | None = None  # as it was logged last; None: not yet

    @property
    def status(self) -> SnapshotStatus | None:
        """The sync snapshot in use; None on a scientist's machine, which has none."""
        return self._reader.status

    def detect(self, peers: list[Peer], *, baseline: bool, last_notified: Mapping[str, EventKind]) -> Changes:
        """What is new about `peers`."""
        status, complete = self._reader.status, self._reader.absences
        self._log_source(status)
        rounds = self._ledger.peer_rounds()
        news = detect_peers(
            peers,
            self._ledger,
            baseline=baseline,
            last_notified=last_notified,
            rounds=rounds,
            trusts_folders=self._trusts_folders and status is not None and status.path is None,
        )
        if complete is not None and complete.synced_at != self._counted_at:
            recorded = self._ledger.entities(f"{entity_id('peer', self._owner)}/")
            present = (entity_id("peer", self._owner, address) for address in complete.listed)
            news.rounds.update(absences(recorded, present, rounds, complete.synced_at))
        return news

    def record(self, news: Changes) -> None:
        """Write the rounds of `news` into the ledger."""
        for entity, current in news.rounds.items():
            self._ledger.set_peer_round(entity, current)
        if self._reader.absences is not None:
            self._counted_at = self._reader.absences.synced_at

    def restore(self, entity: str, kind: str, occurrence: str) -> None:
        """After the ledger was lost: the outbox has an event of that round."""
        if kind in PEER_KINDS and occurrence.isdigit():
            self._ledger.set_peer_round(entity, PeerRound(int(occurrence)))

    def recorded_test(self, peers: list[Peer]) -> Callable[[str], bool]:
        """A test whether there is, or ever was, a record of the peer with an address."""
        present = {peer.address for peer in peers}

        def is_recorded(address: str) -> bool:
            name = address.lower()
            return name in present or self._ledger.has_events(entity_id("peer", self._owner, name))

        return is_recorded

    def _log_source(self, status: SnapshotStatus | None) -> None:
        problem = status.problem if status is not None else ""
        if problem and not self._problem:
            # Many homes never had a snapshot: only losing it is a warning.
            level = logging.INFO if self._problem is None else logging.WARNING
            log.log(level, "peer notifications cannot be sent: %s", problem)
        elif self._problem and not problem:
            log.info("peer notifications can be sent again")
        self._problem = problem
