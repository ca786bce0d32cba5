"""Which facts are new, given the ledger? Pure: what is true minus what was told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol

from syftnotify.core.kinds import END_KINDS, EventKind, Status
from syftnotify.core.models import ABSENT_SNAPSHOTS, UNREADABLE, Event, Fact, Job, Peer, PeerRound


class NotifiedIndex(Protocol):
    """The recorded events, as these rules need them. The ledger implements it."""

    def is_recorded(self, entity: str, kind: EventKind, occurrence: str) -> bool:
        """Whether the occurrence is notified or owed."""

    def rerun_count(self, entity: str, submission: str) -> int:
        """How often that submission was seen running again after a recorded end."""

    def end_count(self, entity: str) -> int:
        """The number of recorded ends of the entity."""

    def is_unreadable(self, entity: str) -> bool:
        """Whether the baseline scan could not read the entity, and no later scan could."""

    def reappeared_at(self, entity: str) -> float | None:
        """When an unstable entity reappeared, in seconds since 1970; 0 if it is missing, None if it is stable."""


@dataclass(frozen=True, slots=True)
class SilentMark:
    """An occurrence that counts as told without telling anybody."""

    entity: str
    kind: EventKind
    occurrence: str


@dataclass(slots=True)
class Changes:
    """What one look means."""

    events: list[Event] = field(default_factory=list)  # to be told
    catch_up: list[Event] = field(default_factory=list)  # to be told to the owner, in one message
    marks: list[SilentMark] = field(default_factory=list)  # told already, by the rules of the first look
    reruns: dict[tuple[str, str], int] = field(default_factory=dict)  # (entity, generation) -> count
    undecided: set[str] = field(default_factory=set)  # entities that the first look could not read
    decided: set[str] = field(default_factory=set)
    returned: set[str] = field(default_factory=set)  # entities that had vanished and are back
    settled: set[str] = field(default_factory=set)  # of these, the ones that are whole again
    rounds: dict[str, PeerRound] = field(default_factory=dict)  # of peers, where it changed

    def add(self, more: Changes) -> None:
        """The same, with `more`."""
        self.events += more.events
        self.catch_up += more.catch_up
        self.marks += more.marks
        self.reruns.update(more.reruns)
        self.undecided |= more.undecided
        self.decided |= more.decided
        self.returned |= more.returned
        self.settled |= more.settled
        self.rounds.update(more.rounds)


# Un-endedness of a job that vanished and came back is a rerun only after so long: restored trees come file by file.
SETTLING_SECONDS = 60.0

# In which order the facts of one job come to be; what is at the same place excludes each other. A reminder is no fact,
# and shows that one has been before it.
_ORDER = {
    EventKind.JOB_SUBMITTED: 0,
    EventKind.JOB_WAITING: 1,
    EventKind.JOB_LONG_RUNNING: 2,
    EventKind.JOB_APPROVED: 1,
    EventKind.JOB_REJECTED: 1,
    EventKind.JOB_STARTED: 2,
    EventKind.JOB_COMPLETED: 3,
    EventKind.JOB_FAILED: 3,
    EventKind.JOB_TIMEOUT: 3,
}


def detect_jobs(
    jobs: Iterable[Job],
    told: NotifiedIndex,
    *,
    now: float,
    first_look: bool = False,
    known: Mapping[str, EventKind] = MappingProxyType({}),
) -> Changes:
    """What is new about `jobs` at `now`, in seconds since 1970.

    At the first scan jobs that have ended count as notified, waiting ones join the catch-up, and approved ones count as
    notified up to there. The same rule holds later for a job that the first scan could not read; one that stays
    unreadable joins the catch-up as such. Of `known` entities
    something was told before a ledger was lost, the named kind last: they count as told up to there.
    """
    news = Changes()
    jobs = list(jobs)
    ended = {(job.entity, job.submission_id) for job in jobs if job.ended}
    for job in jobs:
        first = (first_look and job.entity not in known) or told.is_unreadable(job.entity)
        if first and not job.is_readable and "unreadable" not in job.details:
            news.undecided.add(job.entity)
            continue
        if first and not _is_decided(job):
            news.undecided.add(job.entity)
        elif first and not first_look:
            news.decided.add(job.entity)
        count = _reruns(job, told, (job.entity, job.submission_id) in ended, news, now)
        for fact in sorted(job.facts, key=lambda fact: _ORDER[fact.kind]):
            occurrence = _occurrence(fact, job, count, told)
            if told.is_recorded(job.entity, fact.kind, occurrence):
                continue
            overtaken = first_look and not first and _ORDER[fact.kind] < _ORDER.get(known[job.entity], 0)
            if overtaken or (first and not (job.status is Status.WAITING and fact.kind is EventKind.JOB_SUBMITTED)):
                news.marks.append(SilentMark(job.entity, fact.kind, occurrence))
                continue
            event = Event(fact.kind, job.entity, occurrence, fact.at, job_payload(job), job_routing(job))
            (news.catch_up if first else news.events).append(event)
    return news


def _is_decided(job: Job) -> bool:
    """Whether the rules of the first scan no longer apply to the job.

    They are not while its state cannot be read, for it may have ended long ago.
    """
    return job.is_readable or any(fact.occurrence == UNREADABLE for fact in job.facts)


def detect_peers(
    peers: Iterable[Peer],
    told: NotifiedIndex,
    *,
    first_look: bool = False,
    known: Mapping[str, EventKind] = MappingProxyType({}),
    rounds: Mapping[str, PeerRound] = MappingProxyType({}),
    trusts_folders: bool = False,
) -> Changes:
    """Changes of `peers`. At the first scan grants count as notified and requests join the catch-up.

    Job folders are the grant of a request that was recorded before they appeared, or of any peer with
    `trusts_folders`. `rounds` are those of peers that differ from the default, by entity.
    """
    news = Changes()
    for peer in peers:
        first = first_look and peer.entity not in known
        before = rounds.get(peer.entity, PeerRound())
        now = _round_of(peer, before)
        for kind in _kinds_of_peer(peer, told, now, first=first, trusts_folders=trusts_folders):
            if told.is_recorded(peer.entity, kind, now.occurrence):
                continue
            if kind is EventKind.PEER_REQUESTED:
                if told.is_recorded(peer.entity, EventKind.PEER_GRANTED, now.occurrence):
                    continue  # an empty list of grants proves nothing
                now = replace(now, had_folders=peer.has_folders)
            if first and kind is EventKind.PEER_GRANTED:
                news.marks.append(SilentMark(peer.entity, kind, now.occurrence))
                continue
            payload = {"owner": peer.owner, "submitter": peer.address, "name": peer.address}
            event = Event(kind, peer.entity, now.occurrence, payload=payload)
            (news.catch_up if first else news.events).append(event)
        if now != before:
            news.rounds[peer.entity] = now
    return news


def _round_of(peer: Peer, before: PeerRound) -> PeerRound:
    """The peer's round now: another one when the peer is listed again after an absence."""
    if not peer.is_listed or not before.absent:
        return before
    if before.absent >= ABSENT_SNAPSHOTS:
        return PeerRound(before.number + 1)
    return replace(before, absent=0, synced_at=0.0)


def _kinds_of_peer(
    peer: Peer, told: NotifiedIndex, now: PeerRound, *, first: bool, trusts_folders: bool
) -> list[EventKind]:
    """What is true of `peer`, in the order in which it comes to be."""
    kinds = [fact.kind for fact in peer.facts]
    if not peer.has_folders or EventKind.PEER_GRANTED in kinds:
        return kinds
    # The owner's own `add_peer` makes the same folders, so they answer only a request, and only when newer.
    answers = told.is_recorded(peer.entity, EventKind.PEER_REQUESTED, now.occurrence) and not now.had_folders
    is_old = first and not kinds
    return [EventKind.PEER_GRANTED] if answers or is_old or (trusts_folders and now.number == 1) else kinds


def absences(
    recorded: Iterable[str], present: Iterable[str], rounds: Mapping[str, PeerRound], synced_at: float
) -> dict[str, PeerRound]:
    """The rounds of the `recorded` peers (entities) that a complete snapshot of that time lacks; each counted once."""
    found = {}
    for entity in set(recorded).difference(present):
        before = rounds.get(entity, PeerRound())
        if before.absent < ABSENT_SNAPSHOTS and before.synced_at != synced_at:
            found[entity] = replace(before, absent=before.absent + 1, synced_at=synced_at)
    return found


def _reruns(job: Job, told: NotifiedIndex, is_ended: bool, news: Changes, now: float) -> int:
    """The number of this run, for layouts that give an end no time: counted by un-endings after a told end."""
    count = told.rerun_count(job.entity, job.submission_id)
    if not job.is_readable or _is_settling(job, told, is_ended, news, now) or is_ended:
        return count
    last = _counted(job.submission_id, count)
    if any(told.is_recorded(job.entity, kind, last) for kind in END_KINDS) and not job.has_end_times:
        count += 1
        news.reruns[job.entity, job.submission_id] = count
    return count


def _is_settling(job: Job, told: NotifiedIndex, is_ended: bool, news: Changes, now: float) -> bool:
    """Whether the job had vanished and is only coming back: what it lacks may still be on its way."""
    back = told.reappeared_at(job.entity)
    if back is None:
        return False
    if is_ended or (back and not 0 <= now - back < SETTLING_SECONDS):
        news.settled.add(job.entity)
        return False
    if not back:
        news.returned.add(job.entity)
    return True


def _occurrence(fact: Fact, job: Job, count: int, told: NotifiedIndex) -> str:
    if not fact.counted:
        return fact.occurrence
    if fact.kind is EventKind.JOB_STARTED:
        return _counted(fact.occurrence, told.end_count(job.entity))
    return _counted(fact.occurrence, count)


def _counted(occurrence: str, count: int) -> str:
    return f"{occurrence}#{count}" if count else occurrence


def job_payload(job: Job) -> dict[str, Any]:
    return {
        "name": job.name,
        "owner": job.owner,
        "submitter": job.submitter,
        "claimed": job.claimed_submitter,
        "layout": job.layout,
        "submitted_at": job.submission_id,
        "status": job.status.value,
        "incomplete": bool(job.details.get("incomplete")),
        "return_code": job.details.get("return_code"),
        "reason": job.details.get("reason", ""),
        **({"unreadable": job.details["unreadable"]} if "unreadable" in job.details else {}),
    }


def job_routing(job: Job) -> dict[str, Any]:
    """What the job's own file asks of notifications."""
    return {name: job.details[name] for name in ("tags", "notify", "alerts") if name in job.details}
