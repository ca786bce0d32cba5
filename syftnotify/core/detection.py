"""Detection of new events: the facts of a scan minus what the ledger has recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol

from syftnotify.core.kinds import END_KINDS, EventKind, Status
from syftnotify.core.models import ABSENT_SNAPSHOTS, UNREADABLE, EndMark, Event, Fact, Job, Peer, PeerRound


class NotifiedIndex(Protocol):
    """The recorded events, as these rules need them. The ledger implements it."""

    def is_recorded(self, entity: str, kind: EventKind, occurrence: str) -> bool:
        """Whether the occurrence is notified or owed."""

    def rerun_count(self, entity: str, submission: str) -> int:
        """How often that submission was seen running again after a recorded end."""

    def end_count(self, entity: str) -> int:
        """The number of recorded ends of the entity."""

    def end_mark(self, entity: str) -> EndMark | None:
        """The mark of the last end of the entity, if it has one."""

    def is_unreadable(self, entity: str) -> bool:
        """Whether the baseline scan could not read the entity, and no later scan could."""

    def reappeared_at(self, entity: str) -> float | None:
        """When an unstable entity reappeared, in seconds since 1970; 0 if it is missing, None if it is stable."""


@dataclass(frozen=True, slots=True)
class SilentMark:
    """An occurrence that is recorded as notified without a notification."""

    entity: str
    kind: EventKind
    occurrence: str


@dataclass(slots=True)
class Changes:
    """The result of one scan: events to notify, and updates of the ledger."""

    events: list[Event] = field(default_factory=list)
    catch_up: list[Event] = field(default_factory=list)  # for the owner, in one digest after the baseline scan
    marks: list[SilentMark] = field(default_factory=list)  # facts that are older than the baseline scan
    reruns: dict[tuple[str, str], int] = field(default_factory=dict)  # (entity, submission) -> number of reruns
    end_marks: dict[str, EndMark] = field(default_factory=dict)  # changed ones, by entity
    unreadable: set[str] = field(default_factory=set)  # entities that the baseline scan could not read
    readable: set[str] = field(default_factory=set)  # of those, the ones that could be read now
    reappeared: set[str] = field(default_factory=set)  # entities that had vanished
    stable: set[str] = field(default_factory=set)  # of those, the ones that are complete again
    rounds: dict[str, PeerRound] = field(default_factory=dict)  # changed rounds of peers, by entity

    def add(self, more: Changes) -> None:
        """Add all of `more`."""
        self.events += more.events
        self.catch_up += more.catch_up
        self.marks += more.marks
        self.reruns.update(more.reruns)
        self.end_marks.update(more.end_marks)
        self.unreadable |= more.unreadable
        self.readable |= more.readable
        self.reappeared |= more.reappeared
        self.stable |= more.stable
        self.rounds.update(more.rounds)


# A job that vanished and reappeared without its end counts as rerun after this time only, because a restored tree
# arrives file by file.
STABLE_AFTER_SECONDS = 60.0


def detect_jobs(
    jobs: Iterable[Job],
    notified: NotifiedIndex,
    *,
    now: float,
    baseline: bool = False,
    last_notified: Mapping[str, EventKind] = MappingProxyType({}),
) -> Changes:
    """Changes of `jobs` at `now`, in seconds since 1970.

    In the baseline scan (`baseline`), jobs that have ended are recorded as notified, waiting ones join the catch-up,
    and approved ones are recorded as notified up to their approval. The same applies later to a job that the baseline
    scan could not read; one that stays unreadable joins the catch-up as such. `last_notified` holds entities that were
    notified before the ledger was lost, with the kind of their last event; they are recorded as notified up to it.
    """
    changes = Changes()
    jobs = list(jobs)
    ended = {(job.entity, job.submission_id) for job in jobs if job.ended}
    for job in jobs:
        is_baseline = (baseline and job.entity not in last_notified) or notified.is_unreadable(job.entity)
        if is_baseline and not job.is_readable and "unreadable" not in job.details:  # a later scan may read it
            changes.unreadable.add(job.entity)
            continue
        if is_baseline and not _has_known_state(job):
            changes.unreadable.add(job.entity)
        elif is_baseline and not baseline:
            changes.readable.add(job.entity)
        reruns = _count_reruns(job, notified, (job.entity, job.submission_id) in ended, changes, now)
        last_kind = last_notified.get(job.entity) if baseline else None
        for fact in sorted(job.facts, key=lambda fact: fact.kind.spec.stage):
            occurrence = _occurrence(fact, job, reruns, notified)
            if notified.is_recorded(job.entity, fact.kind, occurrence):
                continue
            if _is_silent(job, fact, last_kind, is_baseline=is_baseline):
                changes.marks.append(SilentMark(job.entity, fact.kind, occurrence))
                continue
            payload = job_payload(job)
            if fact.kind in END_KINDS and notified.end_count(job.entity):
                # The approval is older than the run before, so it does not give the duration of this one.
                payload["times"].pop("approved", None)
            event = Event(fact.kind, job.entity, occurrence, fact.at, payload, job_routing(job))
            (changes.catch_up if is_baseline else changes.events).append(event)
    return changes


def _has_known_state(job: Job) -> bool:
    """Whether the rules of the baseline scan can be applied: an unreadable job may have ended long ago.

    They do apply to a job of which only the configuration is unreadable.
    """
    return job.is_readable or any(fact.occurrence == UNREADABLE for fact in job.facts)


def _is_silent(job: Job, fact: Fact, last_kind: EventKind | None, *, is_baseline: bool) -> bool:
    """Whether the fact is recorded as notified without a notification; `last_kind` was notified last, if known."""
    if is_baseline:
        return not (job.status is Status.WAITING and fact.kind is EventKind.JOB_SUBMITTED)
    return last_kind is not None and fact.kind.spec.stage < last_kind.spec.stage


def detect_peers(
    peers: Iterable[Peer],
    notified: NotifiedIndex,
    *,
    baseline: bool = False,
    last_notified: Mapping[str, EventKind] = MappingProxyType({}),
    rounds: Mapping[str, PeerRound] = MappingProxyType({}),
    trusts_folders: bool = False,
) -> Changes:
    """Changes of `peers`. In the baseline scan, grants are recorded as notified and requests join the catch-up.

    Job folders count as the grant of a request that was recorded before they appeared, or of any peer with
    `trusts_folders`. `rounds` holds the rounds that differ from the default, by entity. For `last_notified` see
    `detect_jobs`.
    """
    changes = Changes()
    for peer in peers:
        is_baseline = baseline and peer.entity not in last_notified
        previous = rounds.get(peer.entity, PeerRound())
        current = _current_round(peer, previous)
        for kind in _kinds_of_peer(peer, notified, current, is_baseline=is_baseline, trusts_folders=trusts_folders):
            if notified.is_recorded(peer.entity, kind, current.occurrence):
                continue
            if kind is EventKind.PEER_REQUESTED:
                if notified.is_recorded(peer.entity, EventKind.PEER_GRANTED, current.occurrence):
                    continue  # an empty list of grants does not show that a grant was withdrawn
                current = replace(current, had_folders=peer.has_folders)
            if is_baseline and kind is EventKind.PEER_GRANTED:
                changes.marks.append(SilentMark(peer.entity, kind, current.occurrence))
                continue
            event = Event(kind, peer.entity, current.occurrence, payload=peer_payload(peer))
            (changes.catch_up if is_baseline else changes.events).append(event)
        if current != previous:
            changes.rounds[peer.entity] = current
    return changes


def _current_round(peer: Peer, previous: PeerRound) -> PeerRound:
    """The peer's round now: the next one if the peer is listed again after an absence."""
    if not peer.is_listed or not previous.absent:
        return previous
    if previous.absent >= ABSENT_SNAPSHOTS:
        return PeerRound(previous.number + 1)
    return replace(previous, absent=0, synced_at=0.0)


def _kinds_of_peer(
    peer: Peer, notified: NotifiedIndex, current: PeerRound, *, is_baseline: bool, trusts_folders: bool
) -> list[EventKind]:
    """The kinds of the facts about `peer`, in chronological order."""
    kinds = [fact.kind for fact in peer.facts]
    if not peer.has_folders or EventKind.PEER_GRANTED in kinds:
        return kinds
    # The owner's own `add_peer` makes the same folders. So they are a grant only if a request precedes them.
    has_requested = notified.is_recorded(peer.entity, EventKind.PEER_REQUESTED, current.occurrence)
    is_answer = has_requested and not current.had_folders
    is_old = is_baseline and not kinds
    is_grant = is_answer or is_old or (trusts_folders and current.number == 1)
    return [EventKind.PEER_GRANTED] if is_grant else kinds


def absences(
    recorded: Iterable[str], present: Iterable[str], rounds: Mapping[str, PeerRound], synced_at: float
) -> dict[str, PeerRound]:
    """The new rounds of `recorded` peers (entities) that are missing from the complete snapshot of `synced_at`.

    A snapshot is counted once, however often it is read.
    """
    changed = {}
    for entity in set(recorded).difference(present):
        previous = rounds.get(entity, PeerRound())
        if previous.absent < ABSENT_SNAPSHOTS and previous.synced_at != synced_at:
            changed[entity] = replace(previous, absent=previous.absent + 1, synced_at=synced_at)
    return changed


def _count_reruns(job: Job, notified: NotifiedIndex, is_ended: bool, changes: Changes, now: float) -> int:
    """The number of reruns, for layouts without end times: how often the job ran again after a recorded end.

    A new rerun, and the mark of a new end, are added to `changes`.
    """
    count = notified.rerun_count(job.entity, job.submission_id)
    if not job.is_readable or _is_unstable(job, notified, is_ended, changes, now) or job.has_end_times:
        return count
    if is_ended and not _has_ended_again(job, notified, changes):
        return count
    last = _with_count(job.submission_id, count)
    if any(notified.is_recorded(job.entity, kind, last) for kind in END_KINDS):
        count += 1
        changes.reruns[job.entity, job.submission_id] = count
    return count


def _has_ended_again(job: Job, notified: NotifiedIndex, changes: Changes) -> bool:
    """Whether the files of an ended job show a later end than the last one. A new mark is added to `changes`."""
    before, mark = notified.end_mark(job.entity), job.end_mark
    if mark is None:
        return False
    has_ended_again = before is not None and before.is_of_other_run(mark)
    if before is None or has_ended_again or before.submission != mark.submission:
        changes.end_marks[job.entity] = mark
    return has_ended_again


def _is_unstable(job: Job, notified: NotifiedIndex, is_ended: bool, changes: Changes, now: float) -> bool:
    """Whether the job had vanished and is only reappearing, so that some of its files may still be missing.

    Its reappearance, and later that it is stable, are added to `changes`.
    """
    since = notified.reappeared_at(job.entity)
    if since is None:
        return False
    if is_ended or (since and not 0 <= now - since < STABLE_AFTER_SECONDS):
        changes.stable.add(job.entity)
        return False
    if not since:
        changes.reappeared.add(job.entity)
    return True


def _occurrence(fact: Fact, job: Job, reruns: int, notified: NotifiedIndex) -> str:
    if not fact.counted:
        return fact.occurrence
    is_start = fact.kind is EventKind.JOB_STARTED
    return _with_count(fact.occurrence, notified.end_count(job.entity) if is_start else reruns)


def _with_count(occurrence: str, count: int) -> str:
    return f"{occurrence}#{count}" if count else occurrence


_STEPS = {
    EventKind.JOB_SUBMITTED: "submitted",
    EventKind.JOB_APPROVED: "approved",
    EventKind.JOB_REJECTED: "rejected",
}


def job_payload(job: Job) -> dict[str, Any]:
    """The payload of a job's events."""
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
        "times": {name: fact.at for name, fact in _steps(job)},
        **({"unreadable": job.details["unreadable"]} if "unreadable" in job.details else {}),
        **_approval_counts(job),
    }


def _steps(job: Job) -> Iterator[tuple[str, Fact]]:
    """The facts that have a time in the tree, by what they are: `submitted`, `approved`, `rejected`, `ended`."""
    for fact in job.facts:
        name = "ended" if fact.kind in END_KINDS else _STEPS.get(fact.kind)
        if name and fact.at:
            yield name, fact


def _approval_counts(job: Job) -> dict[str, int]:
    """How many of several owners have approved, and how many decide; empty if one decides."""
    given = sum(each.status is Status.APPROVED for each in job.approvals)
    return {"approvals_given": given, "approvals_needed": len(job.approvals)} if len(job.approvals) > 1 else {}


def job_routing(job: Job) -> dict[str, Any]:
    """The notification settings in the job's own file; if several owners decide, also who they are."""
    routing: dict[str, Any] = {name: job.details[name] for name in ("tags", "notify", "alerts") if name in job.details}
    if job.approvals:
        concerned = [each for each in job.approvals if job.party in {"", each.party}]
        routing["owners"] = [each.party for each in concerned]
        routing["undecided"] = [each.party for each in concerned if each.status is Status.WAITING]
        routing["owners_only"] = bool(job.party)
    return routing


def peer_payload(peer: Peer) -> dict[str, Any]:
    """The payload of a peer's events."""
    return {"owner": peer.owner, "submitter": peer.address, "name": peer.address}
