"""What are the words? Kinds of events, facts of the tree, notifications, and what became of them."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from syftnotify.errors import UnknownKindError


class Kind(StrEnum):
    """What can happen. One spelling; `parse_kind` accepts the others."""

    JOB_SUBMITTED = "job_submitted"
    JOB_APPROVED = "job_approved"
    JOB_REJECTED = "job_rejected"
    JOB_STARTED = "job_started"
    JOB_COMPLETED = "job_completed"
    JOB_FAILED = "job_failed"
    JOB_TIMEOUT = "job_timeout"
    JOB_LONG_RUNNING = "job_long_running"
    JOB_WAITING = "job_waiting"
    JOB_UPDATED = "job_updated"
    JOB_HELD = "job_held"
    JOB_RELEASED = "job_released"
    JOB_CANCELLED = "job_cancelled"
    JOB_ENABLED = "job_enabled"
    JOB_DISABLED = "job_disabled"
    PEER_REQUESTED = "peer_requested"
    PEER_GRANTED = "peer_granted"
    WORKFLOW_CREATED = "workflow_created"
    WORKFLOW_UPDATED = "workflow_updated"
    WORKFLOW_BUILD_COMPLETED = "workflow_build_completed"
    WORKFLOW_BUILD_FAILED = "workflow_build_failed"
    WORKFLOW_TERMINATED = "workflow_terminated"
    GPU_AVAILABLE = "gpu_available"
    RESERVATION_CREATED = "reservation_created"
    RESERVATION_CANCELLED = "reservation_cancelled"
    SCHEDULER_ONLINE = "scheduler_online"
    HEARTBEAT = "heartbeat"
    SYSTEM_ALERT = "system_alert"
    TEST = "test"
    DIGEST = "digest"


# What happens to a job of any scheduler.
OF_JOBS = frozenset(
    {
        Kind.JOB_SUBMITTED,
        Kind.JOB_UPDATED,
        Kind.JOB_STARTED,
        Kind.JOB_COMPLETED,
        Kind.JOB_FAILED,
        Kind.JOB_CANCELLED,
        Kind.JOB_TIMEOUT,
        Kind.JOB_HELD,
        Kind.JOB_RELEASED,
    }
)
ENDED = frozenset({Kind.JOB_COMPLETED, Kind.JOB_FAILED, Kind.JOB_TIMEOUT})
# After these a job does not run any more, whatever its scheduler.
FINAL_KINDS = ENDED | {Kind.JOB_CANCELLED}
# Reserved for the worker; `emit` refuses them.
RESERVED_KINDS = frozenset({Kind.HEARTBEAT, Kind.SYSTEM_ALERT, Kind.TEST, Kind.DIGEST})

_KINDS = {kind.value: kind for kind in Kind}
_ALIASES = {
    "new": Kind.JOB_SUBMITTED,
    "running": Kind.JOB_STARTED,
    "executed": Kind.JOB_COMPLETED,
    "succeeded": Kind.JOB_COMPLETED,
    "done": Kind.JOB_COMPLETED,
    "timed_out": Kind.JOB_TIMEOUT,
    "job_timed_out": Kind.JOB_TIMEOUT,
    "new_peer_request": Kind.PEER_REQUESTED,
    "peer_request_granted": Kind.PEER_GRANTED,
}


_LONGEST_WORD = 40  # characters of a word that is guessed at: guessing is slow, and jobs may name anything


def find_kind(text: str) -> Kind | None:
    """The kind that `text` names in any accepted spelling, None for anything else. Makes no guess, so it is cheap."""
    word = _normalized(text)
    return _KINDS.get(word) or _KINDS.get(f"job_{word}") or _ALIASES.get(word)


def _normalized(text: str) -> str:
    return text.strip().lower().replace(".", "_").replace("canceled", "cancelled")


def parse_kind(text: str, *, emitted: bool = False) -> Kind:
    """The kind that `text` names in any accepted spelling: `job_failed`, `job.failed`, `JOB_FAILED`, `failed`.

    `emitted` leaves the reserved kinds out of the message.

    Raises:
        UnknownKindError: no kind is spelled so; the message names a similar one, if there is one.
    """
    kind = find_kind(text)
    if kind is not None:
        return kind
    word = _normalized(text)
    known = [each.value for each in Kind if not (emitted and each in RESERVED_KINDS)]
    near = difflib.get_close_matches(word[:_LONGEST_WORD], [*known, *_ALIASES], n=1)
    guess = f", did you mean `{near[0]}`?" if near else ""
    raise UnknownKindError(f"{text!r} is no kind of event{guess}", hint=f"the event kinds are {', '.join(known)}")


class Severity(StrEnum):
    """How much it matters."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


_SEVERITIES = {
    Kind.JOB_FAILED: Severity.HIGH,
    Kind.JOB_TIMEOUT: Severity.HIGH,
    Kind.WORKFLOW_BUILD_FAILED: Severity.HIGH,
    Kind.WORKFLOW_TERMINATED: Severity.HIGH,
    Kind.SYSTEM_ALERT: Severity.HIGH,
    Kind.JOB_LONG_RUNNING: Severity.MEDIUM,
    Kind.JOB_WAITING: Severity.MEDIUM,
}


HIGH = frozenset(kind for kind, severity in _SEVERITIES.items() if severity is Severity.HIGH)


class Audience(StrEnum):
    """The role in which somebody hears."""

    OWNER = "owner"
    SUBMITTER = "submitter"  # the scientist of the job, or the requesting peer
    OPERATOR = "operator"
    RECIPIENT = "recipient"  # named by the owner's own configuration, in no role
    GUEST = "guest"  # named by a job


class Status(StrEnum):
    """Where a job stands, in words that fit every layout."""

    WAITING = "waiting"  # for its owner
    APPROVED = "approved"
    RUNNING = "running"
    REJECTED = "rejected"
    DONE = "done"
    FAILED = "failed"


# The status of a job after an event of each of these kinds; other kinds leave it as it was.
STATUS_AFTER = {
    Kind.JOB_SUBMITTED: Status.WAITING,
    Kind.JOB_APPROVED: Status.APPROVED,
    Kind.JOB_STARTED: Status.RUNNING,
    Kind.JOB_REJECTED: Status.REJECTED,
    Kind.JOB_COMPLETED: Status.DONE,
    Kind.JOB_FAILED: Status.FAILED,
    Kind.JOB_TIMEOUT: Status.FAILED,
}

# Only a rerun changes such a job again.
AT_REST = frozenset({Status.REJECTED, Status.DONE, Status.FAILED})


@dataclass(slots=True)
class Remembered:
    """What is known of a folder whose folders are jobs: of those that rest, and which others there are."""

    names: list[str]  # of the jobs that rest, sorted
    deciding: list[int]  # by what their files would be known again: the one that decides,
    second: list[int]  # and the other
    listed: list[int]  # by what the folder would be, whose names these are; empty: it must be listed
    awake: list[str]  # the names of all others that may be jobs
    segments: list[str]  # those that may be such folders themselves


Memory = dict[str, Remembered]  # by layout and folder


_PLAIN = re.compile(r"[A-Za-z0-9_.~@-]+")


def _encoded(part: str) -> str:
    # Mostly there is nothing to encode, which is seen five times as quickly.
    return part if _PLAIN.fullmatch(part) else quote(part.encode("utf-8", "surrogateescape"), safe="@")


def entity_id(*parts: str) -> str:
    """`job/<layout>/<owner>/<submitter>/<name>`: every part percent-encoded except `@`, so `/` only separates.

    File names that are not UTF-8 keep their bytes (they arrive as surrogates).
    """
    return "/".join(map(_encoded, parts))


_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


def is_address(text: str) -> bool:
    """Whether `text` is one bare mail address that can stand in a header as it is.

    Narrower than RFC 5322 on purpose (no quoting, no comments, no encoded words, ASCII only): it comes from hostile
    places.
    """
    return len(text) <= 254 and "=?" not in text and _ADDRESS.fullmatch(text) is not None


class Form(StrEnum):
    """What a recipient looks like, and so what carries to it."""

    MAIL = "mail"  # an address
    SLACK = "slack"  # #channel or @user
    WEBHOOK = "webhook"  # the name of an endpoint


ROLES = {audience.value: audience for audience in (Audience.OWNER, Audience.SUBMITTER, Audience.OPERATOR)}


def form_of(recipient: str) -> Form:
    """Which kind of transport carries to `recipient`, which is no role (N15)."""
    if recipient[:1] in {"#", "@"}:
        return Form.SLACK
    return Form.MAIL if is_address(recipient) else Form.WEBHOOK


# The occurrence of a submission whose configuration cannot be read.
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is true of an entity now.

    `occurrence` tells one happening from the next of the same kind: the time that the tree gives it. `counted` facts
    have no time of their own in their layout; how often the job was seen un-ended after a told end joins it.
    """

    kind: Kind
    occurrence: str = ""
    at: str = ""  # ISO time as the tree claims it, or empty
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it lies in the tree at one look."""

    entity: str
    layout: str
    owner: str
    submitter: str  # from the path; empty where the layout has none
    claimed: str  # what config.yaml says about itself; never trusted
    name: str
    status: Status
    facts: tuple[Fact, ...]
    generation: str = ""  # which submission of this name: its submitted_at
    ended: bool = False
    judged: bool = True  # False while its state cannot be read
    details: Mapping[str, Any] = field(default_factory=dict)  # JSON: reason, return_code, files, unreadable, ...
    # Where it lies: `base` is trusted; `parts` (the submission) and `results` (the logs) are relative to it.
    base: str = ""
    parts: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer as the owner's machine knows it."""

    entity: str
    owner: str
    address: str
    facts: tuple[Fact, ...]
    added: bool = True  # by the owner; somebody who only asks is not
    is_listed: bool = False  # in the sync snapshot in use
    has_folders: bool = False  # the owner's client made the job folders of an accepted peer


# A peer who was absent from so many complete snapshots in a row and is listed again has asked again.
ABSENT_SNAPSHOTS = 3


@dataclass(frozen=True, slots=True)
class PeerRound:
    """Which request of a peer is current. Requests after an absence are occurrences of their own."""

    number: int = 1
    absent: int = 0  # complete snapshots in a row without the peer, up to `ABSENT_SNAPSHOTS`
    synced_at: float = 0.0  # the last of them, seconds since 1970
    had_folders: bool = False  # the job folders are older than the request, so they do not show that it was accepted

    @property
    def occurrence(self) -> str:
        """The occurrence of its events: empty for the first request."""
        return "" if self.number == 1 else str(self.number)


@dataclass(frozen=True, slots=True)
class PeerAbsences:
    """A complete sync snapshot: who is not in `listed` is absent."""

    synced_at: float  # seconds since 1970
    listed: frozenset[str]  # addresses


@dataclass(frozen=True, slots=True)
class SnapshotStatus:
    """The sync snapshot that decides about peers, and whether it is usable."""

    path: str | None  # None: there is none
    synced_at: float | None  # seconds since 1970
    usable: bool
    problem: str = ""  # why it is not usable


EMITTED_PREFIX = "emitted "  # of the keys of emitted events


@dataclass(frozen=True, slots=True)
class Event:
    """One fact, named by what it is and not by when we saw it.

    So a second look, a restart or a lost wake-up gives the same key, and the outbox knows it.
    """

    kind: Kind
    entity: str
    occurrence: str = ""
    at: str = ""  # ISO time
    payload: Mapping[str, Any] = field(default_factory=dict)  # a JSON object
    # What may choose recipients besides the configuration: `user`, `tags`, `notify` {emails, on} and `alerts`, as the
    # options of `notify emit` or the headers of a job give them; and `asked_by`, who set the limit of a reminder. The
    # payload is data and routes nothing.
    routing: Mapping[str, Any] = field(default_factory=dict)
    emitted: bool = False  # handed in through the spool, not observed in the tree

    @property
    def key(self) -> str:
        """Identifies the fact; one line of printable text unless `occurrence` is not.

        Keys of emitted events have a first segment that no entity of the tree has, so that neither suppresses the
        other. Entities with blanks or control characters, which only emitted ones have, are replaced by a hash.
        """
        is_plain = self.entity.isprintable() and " " not in self.entity
        entity = self.entity if is_plain else f"~{digest_of(self.entity)}"
        return f"{EMITTED_PREFIX if self.emitted else ''}{entity} {self.kind} {self.occurrence}"

    @property
    def severity(self) -> Severity:
        """How much its kind matters."""
        return _SEVERITIES.get(self.kind, Severity.LOW)


# Prefixes of the bundles that wait to be sent as one digest: quiet hours, `digest:`, the throttle of a recipient, the
# daily share of a submitter.
HELD, DIGESTED, STORM, SHARE = "quiet-", "digest-", "storm-", "share-"

MAIL = "mail"  # the one medium of gmail, smtp and maildir: one address, one mail


@dataclass(frozen=True, slots=True)
class Notification:
    """One event owed to one recipient through one transport: the unit of de-duplication, retry and count."""

    event_key: str
    entity: str
    recipient: str  # bare address, lower case
    audience: Audience
    transport: str
    medium: str = MAIL
    bundle: str = ""  # notifications of one bundle leave as one message
    route: str = ""  # the rule that decided
    not_before: float = 0.0  # seconds since 1970
    skipped: str = ""  # why it is written down and never sent
    withheld: str = ""  # why it is not sent yet: an unverified recipient, too many new recipients
    source: str = ""  # submitter or user who caused the event; empty: no share is limited

    @property
    def id(self) -> str:
        """The same for the same (event key, medium, recipient), so that a rebuilt outbox gives the same one."""
        return digest_of(self.event_key, self.medium, self.recipient)


# Who set the limit of a reminder, as its routing's `asked_by` names it: the configuration, the job itself, or else an
# alert rule.
CONFIGURED, BY_JOB = "reminders", "job"


@dataclass(frozen=True, slots=True)
class AlertRule:
    """Somebody who hears how the runs of some jobs end (A01): those of one job, of a pattern of names, or of a tag."""

    id: str
    target: str  # an address, the name of a webhook transport, or a URL; empty if its key is lost
    job: str = ""  # an entity, or a pattern of names
    tag: str = ""
    on_failure: bool = True
    on_timeout: bool = True
    on_success: bool = False
    on_long_run_minutes: float | None = None
    created_at: float = 0.0  # seconds since 1970

    @property
    def is_of_one_job(self) -> bool:
        """Whether it goes when the job goes."""
        return self.job.startswith("job/") and not any(sign in self.job for sign in "*?[")

    @property
    def has_own_address(self) -> bool:
        """Whether the target is an address of the web, and no transport of the configuration."""
        return "://" in self.target

    @property
    def endpoint(self) -> str:
        """The recipient: an address as it is, or the name of a transport; an address of the web is a secret."""
        return f"alert-{digest_of(self.target)[:8]}" if self.has_own_address else self.target


@dataclass(frozen=True, slots=True)
class Gathering:
    """Due notifications of one recipient become one digest, `bundle`, sent at `not_before` (seconds since 1970)."""

    bundle: str
    not_before: float
    sparing: frozenset[Kind] = frozenset()  # kinds that are not gathered
    source: str | None = None  # only what this source caused; None: all


def digest_of(*parts: str) -> str:
    """A short stable name for `parts`: 32 hexadecimal digits."""
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Message:
    """One message for one recipient, worded, ready for any transport."""

    id: str  # stands before the @ of Message-ID
    recipient: str
    subject: str
    text: str
    html: str = ""
    sender: str = ""  # address; empty: the transport's own
    sender_name: str = ""  # what people see beside it
    conversation: str = ""  # stands before the @ of References
    headers: tuple[tuple[str, str], ...] = ()
    thread: str = ""  # the provider's id of the conversation, where it gave one
    colour: str = ""  # `#rrggbb`, where lines have one
    body: bytes = b""  # what a program reads instead of text


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the other side said when it took a message."""

    provider_id: str = ""
    thread: str = ""
