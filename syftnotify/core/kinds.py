"""Event kinds, severities, audiences and job statuses.

Each event kind is one row of `EventKind`; its `EventSpec` holds everything that the kind itself decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from syftnotify.core.errors import UnknownKindError
from syftnotify.core.text import did_you_mean


class Severity(StrEnum):
    """How urgent an event is; the members are ordered from the most to the least urgent."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Audience(StrEnum):
    """The role in which a recipient is notified."""

    OWNER = "owner"
    SUBMITTER = "submitter"  # the scientist of the job, or the requesting peer
    OPERATOR = "operator"
    RECIPIENT = "recipient"  # named by the configuration, without a role
    JOB_REQUESTED = "guest"  # named by a job

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"{value!r} is not an audience")  # shown as the reason of a dead letter


# The audiences that a route may name in `to`, by that name.
ROLES = {audience.value: audience for audience in (Audience.OWNER, Audience.SUBMITTER, Audience.OPERATOR)}


class Status(StrEnum):
    """The status of a job, in terms that fit every layout."""

    WAITING = "waiting"  # for its owner's decision
    APPROVED = "approved"
    RUNNING = "running"
    REJECTED = "rejected"
    DONE = "done"
    FAILED = "failed"


# Only a rerun changes a job in one of these.
TERMINAL_STATUSES = frozenset({Status.REJECTED, Status.DONE, Status.FAILED})


class Family(StrEnum):
    """What an event is about."""

    JOB = "job"  # a job of any scheduler, or of the SyftBox tree
    SYFTBOX_JOB = "syftbox_job"  # a job of the SyftBox tree only
    PEER = "peer"
    RESOURCE = "resource"  # workflows, GPUs, reservations, schedulers
    WORKER = "worker"  # the notifier itself; `notify emit` refuses these kinds


@dataclass(frozen=True, slots=True)
class EventSpec:
    """Everything that depends on the event kind alone.

    Texts may contain the placeholders that `rendering.summary` provides, such as `{name}`.
    """

    family: Family
    summary: str  # one line; the text of digests and chat messages
    severity: Severity = Severity.LOW
    aliases: tuple[str, ...] = ()  # further accepted spellings, in lower case
    audiences: tuple[Audience, ...] = ()  # of the built-in routes; empty: nobody is notified without a route
    owner_template: str = "event"  # mail template for owner and operators
    submitter_template: str = "event"  # mail template for the submitter
    submitter_summary: str = ""  # replaces `summary` for the submitter
    status_after: Status | None = None  # of the job; None: unchanged
    stage: int = 0  # position in the life of a job; the facts of one stage exclude each other
    awaits_owner: bool = False  # the owner has to act
    is_reminder: bool = False  # no fact of the tree: a state has lasted longer than a threshold
    ends_run: bool = False  # the job has finished a run; a rerun may follow
    is_final: bool = False  # the job does not run any more; includes a cancelled one
    label: str = ""  # name in state.json; empty: the value of the kind
    is_success: bool = False  # shown in green
    is_reported_once: bool = False  # repetitions for an entity are dropped until another kind is emitted for it


_OWNER, _SUBMITTER, _OPERATOR = Audience.OWNER, Audience.SUBMITTER, Audience.OPERATOR


class EventKind(StrEnum):
    """The kinds of events. `parse_kind` accepts further spellings."""

    _value_: str
    spec: EventSpec

    def __new__(cls, value: str, spec: EventSpec | None = None) -> Self:
        """Make a member with the value `value`. A lookup by value, `EventKind("test")`, does not call this."""
        assert spec is not None  # optional because type checkers apply this signature to lookups as well
        member = str.__new__(cls, value)
        member._value_ = value
        member.spec = spec
        return member

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"{value!r} is not an event kind")  # shown as the reason of a dead letter

    JOB_SUBMITTED = (
        "job_submitted",
        EventSpec(
            Family.JOB,
            "Job {name}{by} {waits}.{unreadable}",
            aliases=("new",),
            audiences=(_OWNER, _SUBMITTER),
            owner_template="new_job",
            submitter_template="job_submitted",
            submitter_summary="Job {name} was received.",
            status_after=Status.WAITING,
            awaits_owner=True,
            label="new",
        ),
    )
    JOB_APPROVED = (
        "job_approved",
        EventSpec(
            Family.SYFTBOX_JOB,
            "Job {name} was approved.",
            audiences=(_SUBMITTER,),
            submitter_template="job_approved",
            status_after=Status.APPROVED,
            stage=1,
            is_success=True,
            label="approved",
        ),
    )
    JOB_REJECTED = (
        "job_rejected",
        EventSpec(
            Family.SYFTBOX_JOB,
            "Job {name} was rejected: {reason}",
            audiences=(_SUBMITTER,),
            submitter_template="job_rejected",
            status_after=Status.REJECTED,
            stage=1,
        ),
    )
    JOB_STARTED = (
        "job_started",
        EventSpec(Family.JOB, "Job {name} is running.", aliases=("running",), status_after=Status.RUNNING, stage=2),
    )
    JOB_COMPLETED = (
        "job_completed",
        EventSpec(
            Family.JOB,
            "Job {name}{by} is done.",
            aliases=("executed", "succeeded", "done"),
            audiences=(_OWNER, _SUBMITTER),
            owner_template="job_done",
            submitter_template="job_executed",
            status_after=Status.DONE,
            stage=3,
            ends_run=True,
            is_final=True,
            is_success=True,
            label="executed",
        ),
    )
    JOB_FAILED = (
        "job_failed",
        EventSpec(
            Family.JOB,
            "Job {name}{by} failed{ended}.",
            Severity.HIGH,
            audiences=(_OWNER, _SUBMITTER),
            owner_template="job_failed",
            submitter_template="job_failed",
            status_after=Status.FAILED,
            stage=3,
            ends_run=True,
            is_final=True,
        ),
    )
    JOB_TIMEOUT = (
        "job_timeout",
        EventSpec(
            Family.JOB,
            "Job {name}{by} timed out.",
            Severity.HIGH,
            aliases=("timed_out", "job_timed_out"),
            audiences=(_OWNER, _SUBMITTER),
            owner_template="job_failed",
            submitter_template="job_failed",
            status_after=Status.FAILED,
            stage=3,
            ends_run=True,
            is_final=True,
        ),
    )
    JOB_LONG_RUNNING = (
        "job_long_running",
        EventSpec(
            Family.SYFTBOX_JOB,
            "Job {name}{by} {running_for}.",
            Severity.MEDIUM,
            audiences=(_OWNER,),
            owner_template="job_long_running",
            submitter_template="job_long_running",
            stage=2,
            is_reminder=True,
        ),
    )
    JOB_WAITING = (
        "job_waiting",
        EventSpec(
            Family.SYFTBOX_JOB,
            "Job {name}{by} {waiting_for}.",
            Severity.MEDIUM,
            audiences=(_OWNER,),
            owner_template="job_waiting",
            submitter_template="job_waiting",
            stage=1,
            is_reminder=True,
        ),
    )
    JOB_FILES_CHANGED = (
        "job_files_changed",
        EventSpec(
            Family.SYFTBOX_JOB,
            "The files of job {name}{by} have changed.",
            Severity.HIGH,
            audiences=(_OWNER,),
            owner_template="job_files_changed",
            stage=1,
        ),
    )
    JOB_UPDATED = "job_updated", EventSpec(Family.JOB, "Job {name} was changed.")
    JOB_HELD = "job_held", EventSpec(Family.JOB, "Job {name} was put on hold.")
    JOB_RELEASED = "job_released", EventSpec(Family.JOB, "Job {name} was released.")
    JOB_CANCELLED = "job_cancelled", EventSpec(Family.JOB, "Job {name} was cancelled.", is_final=True)
    JOB_ENABLED = "job_enabled", EventSpec(Family.SYFTBOX_JOB, "Job {name} was enabled.")
    JOB_DISABLED = "job_disabled", EventSpec(Family.SYFTBOX_JOB, "Job {name} was disabled.")
    PEER_REQUESTED = (
        "peer_requested",
        EventSpec(
            Family.PEER,
            "{who} wants to work with the data of {owner}.",
            aliases=("new_peer_request",),
            audiences=(_OWNER, _SUBMITTER),
            owner_template="new_peer_request",
            submitter_template="peer_request_sent",
            awaits_owner=True,
        ),
    )
    PEER_GRANTED = (
        "peer_granted",
        EventSpec(
            Family.PEER,
            "{owner} accepted the peer request of {who}.",
            aliases=("peer_request_granted",),
            audiences=(_SUBMITTER,),
            submitter_template="peer_granted",
            is_success=True,
        ),
    )
    WORKFLOW_CREATED = "workflow_created", EventSpec(Family.RESOURCE, "Workflow {name} was created.")
    WORKFLOW_UPDATED = "workflow_updated", EventSpec(Family.RESOURCE, "Workflow {name} was changed.")
    WORKFLOW_BUILD_COMPLETED = (
        "workflow_build_completed",
        EventSpec(Family.RESOURCE, "Workflow {name} was built.", is_success=True),
    )
    WORKFLOW_BUILD_FAILED = (
        "workflow_build_failed",
        EventSpec(Family.RESOURCE, "Workflow {name} could not be built.", Severity.HIGH),
    )
    WORKFLOW_TERMINATED = (
        "workflow_terminated",
        EventSpec(Family.RESOURCE, "Workflow {name} was terminated.", Severity.HIGH),
    )
    GPU_AVAILABLE = (
        "gpu_available",
        EventSpec(Family.RESOURCE, "GPU {name} is available again.", is_reported_once=True),
    )
    RESERVATION_CREATED = "reservation_created", EventSpec(Family.RESOURCE, "Reservation {name} was made.")
    RESERVATION_CANCELLED = "reservation_cancelled", EventSpec(Family.RESOURCE, "Reservation {name} was cancelled.")
    SCHEDULER_ONLINE = "scheduler_online", EventSpec(Family.RESOURCE, "The scheduler {name} is online.")
    HEARTBEAT = (
        "heartbeat",
        EventSpec(
            Family.WORKER,
            "syftnotify is running and can send notifications.",
            audiences=(_OWNER,),
            owner_template="heartbeat",
        ),
    )
    SYSTEM_ALERT = (
        "system_alert",
        EventSpec(
            Family.WORKER,
            "{summary}",
            Severity.HIGH,
            audiences=(_OWNER, _OPERATOR),
            owner_template="system_alert",
            submitter_template="system_alert",
        ),
    )
    TEST = (
        "test",
        EventSpec(Family.WORKER, "test: {name}", owner_template="test"),
    )
    SIGN_IN = (
        "sign_in",
        EventSpec(Family.WORKER, "Link to sign in to syftnotify.", owner_template="sign_in"),
    )
    DIGEST = "digest", EventSpec(Family.WORKER, "digest: {name}")

    @property
    def is_about_job(self) -> bool:
        """Whether its events concern a job, of any scheduler or of the SyftBox tree."""
        return self.spec.family in {Family.JOB, Family.SYFTBOX_JOB}


def _kinds_where(condition: Callable[[EventSpec], object]) -> frozenset[EventKind]:
    return frozenset(kind for kind in EventKind if condition(kind.spec))


# Kinds that a job's own `notify` block may name.
JOB_KINDS = _kinds_where(lambda spec: spec.family is Family.JOB)
END_KINDS = _kinds_where(lambda spec: spec.ends_run)
FINAL_KINDS = _kinds_where(lambda spec: spec.is_final)
# Reserved for the worker; `notify emit` refuses them.
RESERVED_KINDS = _kinds_where(lambda spec: spec.family is Family.WORKER)
# Messages of the notifier itself: if no configured route applies, the built-in ones do, so that trouble is reported.
WORKER_KINDS = RESERVED_KINDS - {EventKind.DIGEST}
# Kinds with a recipient in the built-in routes.
BUILT_IN_KINDS = _kinds_where(lambda spec: spec.audiences)
HIGH_KINDS = _kinds_where(lambda spec: spec.severity is Severity.HIGH)
REMINDER_KINDS = _kinds_where(lambda spec: spec.is_reminder)
PEER_KINDS = _kinds_where(lambda spec: spec.family is Family.PEER)

_KINDS = {kind.value: kind for kind in EventKind}
_ALIASES = {alias: kind for kind in EventKind for alias in kind.spec.aliases}


def find_kind(text: str) -> EventKind | None:
    """The kind that `text` names in any accepted spelling, or None. Fast: it makes no similarity search."""
    name = _normalized(text)
    return _KINDS.get(name) or _KINDS.get(f"job_{name}") or _ALIASES.get(name)


def _normalized(text: str) -> str:
    return text.strip().lower().replace(".", "_").replace("canceled", "cancelled")


def parse_kind(text: str, *, emitted: bool = False) -> EventKind:
    """The kind that `text` names in any accepted spelling: `job_failed`, `job.failed`, `JOB_FAILED`, `failed`.

    `emitted` leaves the reserved kinds out of the error message.

    Raises:
        UnknownKindError: `text` names no kind; the message suggests a similar one, if there is one.
    """
    kind = find_kind(text)
    if kind is not None:
        return kind
    known = [each.value for each in EventKind if not (emitted and each in RESERVED_KINDS)]
    guess = did_you_mean(_normalized(text), [*known, *_ALIASES])
    raise UnknownKindError(f"{text!r} is not an event kind{guess}", hint=f"the event kinds are {', '.join(known)}")


def current_status(kinds: Iterable[EventKind]) -> Status:
    """The status of a job, given the kinds of its events in the order in which they were detected."""
    status = Status.WAITING
    for kind in kinds:
        status = kind.spec.status_after or status
    return status
