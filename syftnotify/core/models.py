"""What are the words? Kinds of events, facts of the tree, notifications, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import Audience, EventKind, Severity, Status


@dataclass(slots=True)
class DirectorySnapshot:
    """What is known of a folder whose folders are jobs: of those that rest, and which others there are."""

    names: list[str]  # of the jobs that rest, sorted
    matching_routes: list[int]  # by what their files would be known again: the one that decides,
    second: list[int]  # and the other
    listed: list[int]  # by what the folder would be, whose names these are; empty: it must be listed
    awake: list[str]  # the names of all others that may be jobs
    segments: list[str]  # those that may be such folders themselves


ScanCache = dict[str, DirectorySnapshot]  # by layout and folder


# The occurrence of a submission whose configuration cannot be read.
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is true of an entity now.

    `occurrence` tells one happening from the next of the same kind: the time that the tree gives it. `counted` facts
    have no time of their own in their layout; how often the job was seen un-ended after a told end joins it.
    """

    kind: EventKind
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

    kind: EventKind
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
        entity = self.entity if is_plain else f"~{stable_hash(self.entity)}"
        return f"{EMITTED_PREFIX if self.emitted else ''}{entity} {self.kind} {self.occurrence}"

    @property
    def severity(self) -> Severity:
        """How much its kind matters."""
        return self.kind.spec.severity


# Prefixes of the bundles that wait to be sent as one digest: quiet hours, `digest:`, the throttle of a recipient, the
# daily share of a submitter.
HELD, DIGESTED, STORM, SHARE = "quiet-", "digest-", "storm-", "share-"

MAIL = "mail"  # the one medium of gmail, smtp and maildir: one address, one mail


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
    for_programs: bool = False  # a program reads it: never part of a digest, not subject to quiet hours

    @property
    def id(self) -> str:
        """The same for the same (event key, medium, recipient), so that a rebuilt outbox gives the same one."""
        return stable_hash(self.event_key, self.medium, self.recipient)


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
        return f"alert-{stable_hash(self.target)[:8]}" if self.has_own_address else self.target


@dataclass(frozen=True, slots=True)
class DigestWindow:
    """Due notifications of one recipient become one digest, `bundle`, sent at `not_before` (seconds since 1970)."""

    bundle: str
    not_before: float
    sparing: frozenset[EventKind] = frozenset()  # kinds that are not gathered
    source: str | None = None  # only what this source caused; None: all


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


@dataclass(frozen=True, slots=True)
class Item:
    """One notification to be worded."""

    id: str
    event: Event
    audience: Audience
    standing: Status  # of the job, now
    noticed_at: float = 0.0  # seconds since 1970
