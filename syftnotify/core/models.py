"""Domain model: facts of the tree, events, notifications, alert rules and messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import Audience, EventKind, Severity, Status


@dataclass(slots=True)
class DirectorySnapshot:
    """The cached state of one job directory: fingerprints of archived jobs, and the names of the others."""

    archived: list[str]  # sorted names of jobs that have ended
    primary: list[int]  # by archived job: fingerprint of the file that holds its status
    secondary: list[int]  # by archived job: fingerprint of its config.yaml
    listed: list[int]  # signature of the directory when its names were read; empty: list it again
    active: list[str]  # names of all other possible jobs
    version_folders: list[str]  # names like `v1`, which may be job directories themselves


ScanCache = dict[str, DirectorySnapshot]  # by "<layout> <path of the job directory>"


# The occurrence of a submission whose configuration cannot be read.
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is true of an entity at the time of a scan.

    `occurrence` distinguishes repetitions of one kind: the time of the fact in the tree. `counted` facts have no time
    in their layout; detection appends the number of reruns.
    """

    kind: EventKind
    occurrence: str = ""
    at: str = ""  # ISO 8601 time from the tree, not verified; or empty
    counted: bool = False


@dataclass(frozen=True, slots=True)
class EndMark:
    """When the files of a run's end were written, in layouts that give an end no time: times in ns since 1970."""

    submission: int  # when config.yaml was written: no rerun does it, and a restored copy has another time
    marker: int
    return_code: int

    def is_of_other_run(self, other: EndMark) -> bool:
        """Whether the marks are of two runs: a rerun writes both files again.

        A client that marks the job again, or has not yet written the return code of a run, has written one of them.
        """
        is_same_copy = self.submission == other.submission
        return is_same_copy and self.marker != other.marker and self.return_code != other.return_code


@dataclass(frozen=True, slots=True)
class Approval:
    """The decision of one of several owners about a job."""

    party: str  # address, in lower case
    status: Status  # WAITING, APPROVED or REJECTED
    at: str = ""  # ISO 8601 time from the tree, not verified; or empty


@dataclass(frozen=True, slots=True)
class Job:
    """One job as one scan found it in the tree."""

    entity: str
    layout: str
    owner: str
    submitter: str  # from the path; empty where the layout has none
    claimed_submitter: str  # `submitted_by` of config.yaml; never trusted
    name: str
    status: Status
    facts: tuple[Fact, ...]
    submission_id: str = ""  # distinguishes submissions of the same name: `submitted_at`
    ended: bool = False
    is_readable: bool = True  # False while its status cannot be read
    has_end_times: bool = True  # False: its layout gives an end no time, so reruns are counted
    approvals: tuple[Approval, ...] = ()  # if several owners decide
    party: str = ""  # the one of them who is notified here; empty: all, and the submitter
    end_mark: EndMark | None = None  # of its last end, where its layout has no end times
    # From its files, as JSON: `reason`, `return_code`, `files`, `entrypoint`, `tags`, `notify`, `alerts`, `incomplete`
    # (files are still missing), `unreadable` (the problem, once the job has been unreadable for long), ...
    details: Mapping[str, Any] = field(default_factory=dict)
    # Its location: `base` is trusted; `parts` (the submission) and `results` (the logs) are relative to it.
    base: str = ""
    parts: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer in the records of the owner's machine."""

    entity: str
    owner: str
    address: str
    facts: tuple[Fact, ...]
    added: bool = True  # by the owner; False for a peer that has only sent a request
    is_listed: bool = False  # in the sync snapshot in use
    has_folders: bool = False  # the owner's client has made the job folders of an accepted peer


# A peer that was absent from this many complete snapshots in a row has made a new request when it is listed again.
ABSENT_SNAPSHOTS = 3


@dataclass(frozen=True, slots=True)
class PeerRound:
    """The current request of a peer. Each request after an absence is a new occurrence."""

    number: int = 1
    absent: int = 0  # complete snapshots in a row without the peer, up to `ABSENT_SNAPSHOTS`
    synced_at: float = 0.0  # time of the last of them, in seconds since 1970
    had_folders: bool = False  # the job folders are older than the request, so they are no sign of a grant

    @property
    def occurrence(self) -> str:
        """The occurrence of its events: empty for the first request."""
        return "" if self.number == 1 else str(self.number)


@dataclass(frozen=True, slots=True)
class PeerAbsences:
    """A complete sync snapshot: peers that are not in `listed` are absent."""

    synced_at: float  # seconds since 1970
    listed: frozenset[str]  # addresses


@dataclass(frozen=True, slots=True)
class SnapshotStatus:
    """The sync snapshot from which peers are read."""

    path: str | None  # None: there is none
    synced_at: float | None  # seconds since 1970
    usable: bool
    problem: str = ""  # why it is not usable


EMITTED_PREFIX = "emitted "  # of the keys of emitted events; no entity of the tree begins with it


@dataclass(frozen=True, slots=True)
class Event:
    """A fact, identified by what it is and not by when it was observed.

    A second scan, a restart or a lost wake-up yields the same key, which the outbox already has.
    """

    kind: EventKind
    entity: str  # entity id, see `core.identifiers.entity_id`; of an emitted event any text
    occurrence: str = ""  # distinguishes repetitions, such as reruns of a job
    at: str = ""  # ISO 8601 time
    payload: Mapping[str, Any] = field(default_factory=dict)  # a JSON object; does not influence routing
    # Input of routing besides the configuration: `user`, `tags`, `notify` {emails, on} and `alerts`, from the options
    # of `notify emit` or the headers of a job; `asked_by`, the sources of the threshold of a reminder; and if several
    # owners decide `owners`, those of them who are `undecided`, and `owners_only`: nobody else is notified here.
    # `as_given`: a program has created the notification itself, whose payload stays unchanged.
    routing: Mapping[str, Any] = field(default_factory=dict)
    emitted: bool = False  # received through the spool, not found in the tree

    @property
    def key(self) -> str:
        """Unique identifier of the fact.

        Keys of emitted events have a prefix, so that they never equal those of the tree. An entity with blanks or
        control characters, which only an emitted event can have, is replaced by its hash.
        """
        is_plain_text = self.entity.isprintable() and " " not in self.entity
        entity = self.entity if is_plain_text else f"~{stable_hash(self.entity)}"
        return f"{EMITTED_PREFIX if self.emitted else ''}{entity} {self.kind} {self.occurrence}"

    @property
    def severity(self) -> Severity:
        """The severity of its kind."""
        return self.kind.spec.severity


# Prefixes of bundle names, by the cause of the digest: quiet hours, the `digest` section of the configuration, the
# throttle of a recipient, the daily share of a submitter. `core.digests` has another one for a burst of events.
QUIET_HOURS_PREFIX, DIGEST_PREFIX, FLOOD_PREFIX, SHARE_PREFIX = "quiet-", "digest-", "storm-", "share-"

MAIL = "mail"  # the medium of gmail, smtp and maildir, so that one address gets one mail whatever the transport
INBOX = "inbox"  # the medium of notifications that are delivered by being stored


class NotificationState(StrEnum):
    """The state of a notification in the outbox. The values are stored."""

    PENDING = "pending"
    WITHHELD = "withheld"  # the recipient is unverified, or above the daily limit of new ones
    SENDING = "sending"  # an attempt is in progress
    SENT = "sent"
    UNKNOWN = "unknown"  # an attempt may have delivered it
    DEAD = "dead"  # not retried any more
    SKIPPED = "skipped"  # recorded, never to be sent


@dataclass(frozen=True, slots=True)
class Notification:
    """One event for one recipient through one transport: the unit of deduplication, retry and counting."""

    event_key: str
    entity: str
    recipient: str  # bare address, lower case
    audience: Audience
    transport: str
    medium: str = MAIL
    bundle: str = ""  # notifications of one bundle are sent as one message
    route: str = ""  # name of the route that selected the recipient
    not_before: float = 0.0  # seconds since 1970
    skipped: str = ""  # why it is recorded and never sent
    withheld: str = ""  # why it is not sent yet: an unverified recipient, too many new recipients
    source: str = ""  # submitter or user who caused the event; empty: no share is limited
    for_programs: bool = False  # a program reads it: never part of a digest, not subject to quiet hours

    @property
    def id(self) -> str:
        """Derived from event key, medium and recipient, so that it is the same after the outbox was rebuilt."""
        return stable_hash(self.event_key, self.medium, self.recipient)


# Sources of the threshold of a reminder, as `asked_by` in its routing names them: the configuration and the job itself.
# Every other source is the name of an alert rule.
ASKED_BY_CONFIG, ASKED_BY_JOB = "reminders", "job"


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A subscription to the ends of runs: of one job, of jobs whose name matches a pattern, or of jobs with a tag."""

    id: str
    target: str  # an address, the name of a webhook transport, or a URL; empty if it cannot be decrypted
    job: str = ""  # an entity, or a pattern of names
    tag: str = ""
    on_failure: bool = True
    on_timeout: bool = True
    on_success: bool = False
    on_long_run_minutes: float | None = None
    created_at: float = 0.0  # seconds since 1970
    public_only: bool = False  # its URL may not have an address of a private network: it was added through the API

    @property
    def is_for_one_job(self) -> bool:
        """Whether it names a single job. Such a rule is deleted with the job."""
        return self.job.startswith("job/") and not any(sign in self.job for sign in "*?[")

    @property
    def has_url(self) -> bool:
        """Whether the target is a URL and not a transport of the configuration."""
        return "://" in self.target

    @property
    def endpoint(self) -> str:
        """The recipient: the target, or a name derived from it if it is a URL, which may contain a secret."""
        if not self.has_url:
            return self.target
        return f"alert-{stable_hash(self.target, *(['public'] if self.public_only else []))[:8]}"


@dataclass(frozen=True, slots=True)
class DigestWindow:
    """Due notifications of one recipient become one digest, `bundle`, sent at `not_before` (seconds since 1970)."""

    bundle: str
    not_before: float
    exempt: frozenset[EventKind] = frozenset()  # kinds that are sent singly
    source: str | None = None  # includes only what this source caused; None: everything


@dataclass(frozen=True, slots=True)
class Message:
    """One rendered message for one recipient, as transports take it."""

    id: str  # local part of the Message-ID
    recipient: str
    subject: str
    text: str
    html: str = ""
    sender: str = ""  # mail address; empty: that of the transport
    sender_name: str = ""  # display name
    conversation: str = ""  # local part of References
    headers: tuple[tuple[str, str], ...] = ()  # name and value
    thread: str = ""  # the provider's id of the conversation, if known
    reply_to: str = ""  # mail address for answers; empty: the sender's
    domain: str = ""  # of the Message-ID; empty: the sender's
    colour: str = ""  # `#rrggbb`, for chat messages
    body: bytes = b""  # request body for programs; they ignore `text`


@dataclass(frozen=True, slots=True)
class Receipt:
    """The provider's answer to an accepted message."""

    provider_id: str = ""
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One notification to render."""

    id: str
    event: Event
    audience: Audience
    status: Status  # current status of the job
    detected_at: float = 0.0  # seconds since 1970
    bundle: str = ""  # that of its notification
    message_domain: str = ""  # of its Message-ID; empty: the sender's
