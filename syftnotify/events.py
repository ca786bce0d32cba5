"""Which facts are new, given the ledger? Pure: what is true minus what was told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol

from syftnotify.emitted_jobs import EmittedJob
from syftnotify.model import (
    ABSENT_SNAPSHOTS,
    BY_JOB,
    CONFIGURED,
    ENDED,
    STATUS_AFTER,
    UNREADABLE,
    Event,
    Fact,
    Job,
    Kind,
    Peer,
    PeerRound,
    Status,
)


class Told(Protocol):
    """What these rules ask of the ledger."""

    def knows(self, entity: str, kind: Kind, occurrence: str) -> bool:
        """Whether that occurrence has been told, or is owed."""

    def reruns(self, entity: str, generation: str) -> int:
        """How often that submission was seen un-ended after a told end."""

    def ends_told(self, entity: str) -> int:
        """How many ends of the entity have been told, or are owed."""

    def is_undecided(self, entity: str) -> bool:
        """Whether the first look could not read the entity."""

    def back_since(self, entity: str) -> float | None:
        """When an entity that had vanished was seen again; 0 if it has not been yet, None if it never was gone."""


@dataclass(frozen=True, slots=True)
class Mark:
    """An occurrence that counts as told without telling anybody."""

    entity: str
    kind: Kind
    occurrence: str


@dataclass(slots=True)
class News:
    """What one look means."""

    events: list[Event] = field(default_factory=list)  # to be told
    catch_up: list[Event] = field(default_factory=list)  # to be told to the owner, in one message
    marks: list[Mark] = field(default_factory=list)  # told already, by the rules of the first look
    reruns: dict[tuple[str, str], int] = field(default_factory=dict)  # (entity, generation) -> count
    undecided: set[str] = field(default_factory=set)  # entities that the first look could not read
    decided: set[str] = field(default_factory=set)
    returned: set[str] = field(default_factory=set)  # entities that had vanished and are back
    settled: set[str] = field(default_factory=set)  # of these, the ones that are whole again
    rounds: dict[str, PeerRound] = field(default_factory=dict)  # of peers, where it changed

    def add(self, more: News) -> None:
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
    Kind.JOB_SUBMITTED: 0,
    Kind.JOB_WAITING: 1,
    Kind.JOB_LONG_RUNNING: 2,
    Kind.JOB_APPROVED: 1,
    Kind.JOB_REJECTED: 1,
    Kind.JOB_STARTED: 2,
    Kind.JOB_COMPLETED: 3,
    Kind.JOB_FAILED: 3,
    Kind.JOB_TIMEOUT: 3,
}


def news_of_jobs(
    jobs: Iterable[Job],
    told: Told,
    *,
    now: float,
    first_look: bool = False,
    known: Mapping[str, Kind] = MappingProxyType({}),
) -> News:
    """What is new about `jobs` at `now`, in seconds since 1970.

    At the first scan jobs that have ended count as notified, waiting ones join the catch-up, and approved ones count as
    notified up to there. The same rule holds later for a job that the first scan could not read; one that stays
    unreadable joins the catch-up as such. Of `known` entities
    something was told before a ledger was lost, the named kind last: they count as told up to there.
    """
    news = News()
    jobs = list(jobs)
    ended = {(job.entity, job.generation) for job in jobs if job.ended}
    for job in jobs:
        first = (first_look and job.entity not in known) or told.is_undecided(job.entity)
        if first and not job.judged and "unreadable" not in job.details:
            news.undecided.add(job.entity)
            continue
        if first and not _is_decided(job):
            news.undecided.add(job.entity)
        elif first and not first_look:
            news.decided.add(job.entity)
        count = _reruns(job, told, (job.entity, job.generation) in ended, news, now)
        for fact in sorted(job.facts, key=lambda fact: _ORDER[fact.kind]):
            occurrence = _occurrence(fact, job, count, told)
            if told.knows(job.entity, fact.kind, occurrence):
                continue
            overtaken = first_look and not first and _ORDER[fact.kind] < _ORDER.get(known[job.entity], 0)
            if overtaken or (first and not (job.status is Status.WAITING and fact.kind is Kind.JOB_SUBMITTED)):
                news.marks.append(Mark(job.entity, fact.kind, occurrence))
                continue
            event = Event(fact.kind, job.entity, occurrence, fact.at, _payload(job), _routing(job))
            (news.catch_up if first else news.events).append(event)
    return news


def _is_decided(job: Job) -> bool:
    """Whether the rules of the first scan no longer apply to the job.

    They are not while its state cannot be read, for it may have ended long ago.
    """
    return job.judged or any(fact.occurrence == UNREADABLE for fact in job.facts)


def news_of_peers(
    peers: Iterable[Peer],
    told: Told,
    *,
    first_look: bool = False,
    known: Mapping[str, Kind] = MappingProxyType({}),
    rounds: Mapping[str, PeerRound] = MappingProxyType({}),
    trusts_folders: bool = False,
) -> News:
    """Changes of `peers`. At the first scan grants count as notified and requests join the catch-up.

    Job folders are the grant of a request that was recorded before they appeared, or of any peer with
    `trusts_folders`. `rounds` are those of peers that differ from the default, by entity.
    """
    news = News()
    for peer in peers:
        first = first_look and peer.entity not in known
        before = rounds.get(peer.entity, PeerRound())
        now = _round_of(peer, before)
        for kind in _kinds_of_peer(peer, told, now, first=first, trusts_folders=trusts_folders):
            if told.knows(peer.entity, kind, now.occurrence):
                continue
            if kind is Kind.PEER_REQUESTED:
                if told.knows(peer.entity, Kind.PEER_GRANTED, now.occurrence):
                    continue  # an empty list of grants proves nothing
                now = replace(now, had_folders=peer.has_folders)
            if first and kind is Kind.PEER_GRANTED:
                news.marks.append(Mark(peer.entity, kind, now.occurrence))
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


def _kinds_of_peer(peer: Peer, told: Told, now: PeerRound, *, first: bool, trusts_folders: bool) -> list[Kind]:
    """What is true of `peer`, in the order in which it comes to be."""
    kinds = [fact.kind for fact in peer.facts]
    if not peer.has_folders or Kind.PEER_GRANTED in kinds:
        return kinds
    # The owner's own `add_peer` makes the same folders, so they answer only a request, and only when newer.
    answers = told.knows(peer.entity, Kind.PEER_REQUESTED, now.occurrence) and not now.had_folders
    is_old = first and not kinds
    return [Kind.PEER_GRANTED] if answers or is_old or (trusts_folders and now.number == 1) else kinds


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


@dataclass(frozen=True, slots=True)
class Limits:
    """After how many seconds somebody is reminded: of a job that waits for its owner, and of one that runs on."""

    waiting: tuple[float, ...] = ()
    running: tuple[float, ...] = ()


def reminders(
    jobs: Iterable[tuple[Job, float]],
    told: Told,
    limits: Limits,
    *,
    now: float,
    asking: Callable[[Event], Iterable[tuple[str, float]]] | None = None,
) -> list[Event]:
    """What has been so for too long. `jobs` have not ended, each with when it was first seen as it is now.

    Once for each limit that is passed; of several of one's own, the longest alone is told. Who set the limit stands
    in `asked_by`. `asking` says who else wants to know that a job runs on, and after how long. Times are in seconds.
    """
    due = []
    for job, seen in jobs:
        is_waiting = job.status is Status.WAITING
        if not (limits.waiting if is_waiting else limits.running or asking is not None or "alerts" in job.details):
            continue
        kind = Kind.JOB_WAITING if is_waiting else Kind.JOB_LONG_RUNNING
        about = Event(kind, job.entity, payload=_payload(job), routing=_routing(job))
        steps = [(CONFIGURED, step) for step in limits.waiting] if is_waiting else _run_limits(about, limits, asking)
        since = _since(job, Kind.JOB_SUBMITTED if is_waiting else Kind.JOB_APPROVED, seen, now)
        for step, asked_by in _passed(steps, now - since):
            occurrence = f"{job.generation}+{step:g}"
            if not told.knows(job.entity, kind, occurrence):
                due.append(_reminder(about, occurrence, step, asked_by))
    return due


def reminders_of_emitted(
    jobs: Iterable[EmittedJob],
    limits: Limits,
    *,
    now: float,
    asking: Callable[[Event], Iterable[tuple[str, float]]] | None = None,
) -> tuple[list[Event], dict[str, EmittedJob]]:
    """Warnings about long runs of emitted jobs, once for each limit, and these jobs with what has been reported.

    `jobs` have started and not ended; limits and `asking` are those of `reminders`.
    """
    due: list[Event] = []
    changed: dict[str, EmittedJob] = {}
    for job in jobs:
        about = Event(Kind.JOB_LONG_RUNNING, job.entity, payload=job.payload, routing=job.routing, emitted=True)
        seconds = now - (now if job.started_at is None else job.started_at)
        passed = [each for each in _passed(_run_limits(about, limits, asking), seconds) if each[0] not in job.reminded]
        if passed:
            due += [_reminder(about, f"{job.occurrence}+{step:g}", step, asked_by) for step, asked_by in passed]
            changed[job.entity] = replace(job, reminded=(*job.reminded, *(step for step, _ in passed)))
    return due, changed


def _run_limits(
    about: Event, limits: Limits, asking: Callable[[Event], Iterable[tuple[str, float]]] | None
) -> list[tuple[str, float]]:
    """Who wants to hear of a long run, each with the limit in seconds: the configuration, the job, alert rules."""
    steps = [(CONFIGURED, step) for step in limits.running]
    alerts = about.routing.get("alerts")
    minutes = alerts.get("on_long_run_minutes") if isinstance(alerts, dict) else None
    steps += [(BY_JOB, minutes * 60.0)] if minutes else []
    return [*steps, *(asking(about) if asking is not None else ())]


def _passed(steps: Iterable[tuple[str, float]], seconds: float) -> Iterator[tuple[float, list[str]]]:
    """The limits that are passed after so many seconds, each with who set it; of several by one, only the longest."""
    longest: dict[str, float] = {}
    for who, step in steps:
        if seconds >= step:
            longest[who] = max(step, longest.get(who, 0.0))
    for step in sorted(set(longest.values())):
        yield step, [who for who, own in longest.items() if own == step]


def _reminder(about: Event, occurrence: str, step: float, asked_by: list[str]) -> Event:
    return replace(
        about,
        occurrence=occurrence,
        payload={**about.payload, "minutes": int(step // 60)},
        routing={**about.routing, "asked_by": asked_by},
    )


def _since(job: Job, kind: Kind, seen: float, now: float) -> float:
    """Since when the job is as it is: what the tree says, where that can be true."""
    for fact in job.facts:
        if fact.kind is kind:
            try:
                moment = datetime.fromisoformat(fact.at)
                claimed = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError):
                continue
            if 0 < claimed <= now:
                return claimed
    return seen


def standing(kinds: Iterable[Kind]) -> Status:
    """Where a job stands, given the kinds of its events in the order in which they were noticed."""
    status = Status.WAITING
    for kind in kinds:
        status = STATUS_AFTER.get(kind, status)
    return status


def _reruns(job: Job, told: Told, is_ended: bool, news: News, now: float) -> int:
    """The number of this run, for layouts that give an end no time: counted by un-endings after a told end."""
    count = told.reruns(job.entity, job.generation)
    if not job.judged or _is_settling(job, told, is_ended, news, now) or is_ended:
        return count
    last = _counted(job.generation, count)
    if any(told.knows(job.entity, kind, last) for kind in ENDED) and _has_no_times(job):
        count += 1
        news.reruns[job.entity, job.generation] = count
    return count


def _is_settling(job: Job, told: Told, is_ended: bool, news: News, now: float) -> bool:
    """Whether the job had vanished and is only coming back: what it lacks may still be on its way."""
    back = told.back_since(job.entity)
    if back is None:
        return False
    if is_ended or (back and not 0 <= now - back < SETTLING_SECONDS):
        news.settled.add(job.entity)
        return False
    if not back:
        news.returned.add(job.entity)
    return True


def _has_no_times(job: Job) -> bool:
    return job.layout not in {"C", "D"}


def _occurrence(fact: Fact, job: Job, count: int, told: Told) -> str:
    if not fact.counted:
        return fact.occurrence
    if fact.kind is Kind.JOB_STARTED:
        return _counted(fact.occurrence, told.ends_told(job.entity))
    return _counted(fact.occurrence, count)


def _counted(occurrence: str, count: int) -> str:
    return f"{occurrence}#{count}" if count else occurrence


def _payload(job: Job) -> dict[str, Any]:
    return {
        "name": job.name,
        "owner": job.owner,
        "submitter": job.submitter,
        "claimed": job.claimed,
        "layout": job.layout,
        "submitted_at": job.generation,
        "status": job.status.value,
        "incomplete": bool(job.details.get("incomplete")),
        "return_code": job.details.get("return_code"),
        "reason": job.details.get("reason", ""),
        **({"unreadable": job.details["unreadable"]} if "unreadable" in job.details else {}),
    }


def _routing(job: Job) -> dict[str, Any]:
    """What the job's own file asks of notifications."""
    return {name: job.details[name] for name in ("tags", "notify", "alerts") if name in job.details}
