"""The JSON objects of answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, JsonValue

from syftnotify.core import history
from syftnotify.core.errors import Failure
from syftnotify.core.history import DELIVERED, STARTED
from syftnotify.core.identifiers import url_id
from syftnotify.core.inbox import InboxEntry, kind_name
from syftnotify.core.kinds import Audience, find_kind
from syftnotify.core.matching import literal_text
from syftnotify.core.models import AlertRule, NotificationState
from syftnotify.core.silences import SilenceState
from syftnotify.core.text import iso
from syftnotify.services.history import Explanation
from syftnotify.services.jobs import job_name
from syftnotify.services.silences import ListedSilence

_EXAMPLE_TIME = "2026-03-03T10:30:45.123Z"
_EXAMPLE_ID = "550e8400-e29b-41d4-a716-446655440000"
_OUTCOMES: list[JsonValue] = [STARTED, DELIVERED, *(failure.label for failure in Failure)]
Cursor = Annotated[str | None, Field(description="of the next page; null: this is the last one", examples=["gAAAAABn"])]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=[_EXAMPLE_TIME])]


def time_text(seconds: float) -> str:
    """A time as the API spells it."""
    return iso(seconds, exact=True)


class NotificationRecord(BaseModel):
    """One notification of a person."""

    id: UUID = Field(examples=[_EXAMPLE_ID])
    kind: str = Field(description="an event kind in capital letters", examples=["JOB_FAILED"])
    payload: dict[str, Any] = Field(
        examples=[{"job_id": "run-1", "workflow_name": "Health Check", "status": "FAILED", "error": "Timeout"}]
    )
    read_at: Time | None = Field(description="when it was marked as read; null: it is unread")
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, entry: InboxEntry) -> NotificationRecord:
        return cls(
            id=UUID(entry.id),
            kind=entry.kind,
            payload=dict(entry.payload),
            read_at=None if entry.read_at is None else time_text(entry.read_at),
            created_at=time_text(entry.created_at),
            updated_at=time_text(entry.updated_at),
        )


class NotificationPage(BaseModel):
    """A page of notifications, the newest first."""

    notifications: list[NotificationRecord]
    cursor: Cursor


class NotificationCount(BaseModel):
    """The numbers of a person's notifications."""

    total: int = Field(ge=0, examples=[120])
    unread: int = Field(ge=0, examples=[3])


class MarkResult(BaseModel):
    """How many notifications are read now."""

    marked: int = Field(ge=1, examples=[2])


class EventResult(BaseModel):
    """The event is stored; the worker notifies."""

    key: str = Field(examples=["emitted run/42 job_failed 3f2a"])


class AlertRecord(BaseModel):
    """An alert rule of one job."""

    id: str = Field(examples=["3f2a9c01b7de"])
    job_id: str = Field(description="name or entity of the job, or a pattern", examples=["nightly-sync"])
    alert_type: Literal["webhook", "email"] = Field(examples=["webhook"])
    target: str = Field(description="of a URL only the host: the rest may be a secret", examples=["hooks.example"])
    on_failure: bool = Field(examples=[True])
    on_timeout: bool = Field(examples=[True])
    created_at: Time

    @classmethod
    def of(cls, rule: AlertRule, target: str) -> AlertRecord:
        return cls(
            id=rule.id,
            job_id=literal_text(rule.job),
            alert_type="email" if "@" in rule.target and not rule.has_url else "webhook",
            target=target,
            on_failure=rule.on_failure,
            on_timeout=rule.on_timeout,
            created_at=time_text(rule.created_at),
        )


class JobSummary(BaseModel):
    """A job and its latest event."""

    id: str = Field(description="for URLs", examples=["job_cnVuLzQy"])
    entity: str = Field(examples=["run/42"])
    name: str = Field(examples=["nightly-sync"])
    owner: str = Field(examples=["owner@datasite.example"])
    submitter: str = Field(examples=["ana@uni.example"])
    last_event: str = Field(examples=["JOB_COMPLETED"])
    updated_at: Time

    @classmethod
    def of(cls, job: history.JobRecord) -> JobSummary:
        payload = job.payload
        return cls(
            id=url_id(job.entity),
            entity=job.entity,
            name=job_name(job),
            owner=str(payload.get("owner") or ""),
            submitter=str(payload.get("submitter") or payload.get("claimed") or payload.get("user") or ""),
            last_event=_kind(job.kind),
            updated_at=time_text(job.noticed_at),
        )


class JobList(BaseModel):
    """A page of jobs, the one with the latest event first."""

    jobs: list[JobSummary]
    cursor: Cursor


class Delivery(BaseModel):
    """A notification of one person or program through one transport."""

    id: str = Field(examples=["3f2a9c01b7de4a55"])
    state: NotificationState = Field(examples=["sent"])
    kind: str = Field(examples=["JOB_FAILED"])
    entity: str = Field(examples=["run/42"])
    recipient: str = Field(examples=["ana@uni.example"])
    audience: str = Field(
        description="why this recipient: owner, submitter, operator, recipient (of a route), job_requested",
        examples=["submitter"],
    )
    transport: str = Field(examples=["office"])
    route: str = Field(description="the route that selected the recipient", examples=["built-in: owner"])
    reason: str = Field(description="why it is dead, skipped or withheld, or the last error", examples=[""])
    created_at: Time
    not_before: Time | None
    attempts: int = Field(ge=0, examples=[1])
    tried_at: Time | None
    acknowledged_at: Time | None

    @classmethod
    def of(cls, record: history.NotificationRecord) -> Delivery:
        return cls(
            id=record.id,
            state=NotificationState(record.state),
            kind=_kind(record.kind),
            entity=record.entity,
            recipient=record.recipient,
            audience=_audience(record.audience),
            transport=record.transport,
            route=record.route,
            reason=record.reason,
            created_at=time_text(record.created_at),
            not_before=_time_or_none(record.not_before or None),
            attempts=record.attempts,
            tried_at=_time_or_none(record.tried_at),
            acknowledged_at=_time_or_none(record.acknowledged_at),
        )


class Attempt(BaseModel):
    """One attempt to send a notification."""

    started_at: Time
    ended_at: Time | None
    outcome: str = Field(
        json_schema_extra={"enum": [*_OUTCOMES]}, description="started, sent, or why it failed", examples=["sent"]
    )
    error: str = Field(examples=[""])

    @classmethod
    def of(cls, attempt: history.AttemptRecord) -> Attempt:
        return cls(
            started_at=time_text(attempt.started_at),
            ended_at=_time_or_none(attempt.ended_at),
            outcome=_outcome(attempt.outcome),
            error=attempt.error,
        )


class DeliveryList(BaseModel):
    """A page of deliveries, the newest first."""

    deliveries: list[Delivery]
    cursor: Cursor


class Worklist(BaseModel):
    """A page of deliveries that wait for a decision, the oldest first."""

    deliveries: list[Delivery]
    cursor: Cursor
    warning: str = Field(
        description="why all of unknown outcome are listed, also those that are sent again by themselves", examples=[""]
    )


class DeliveryDetail(BaseModel):
    """A delivery with its attempts, oldest first."""

    delivery: Delivery
    attempts: list[Attempt]


class ResendAnswer(BaseModel):
    """How many deliveries are queued again."""

    queued: int = Field(ge=0, examples=[1])


class TimelineEvent(BaseModel):
    """An event of a job, and who was notified of it; without deliveries, nobody was."""

    kind: str = Field(examples=["JOB_FAILED"])
    entity: str = Field(examples=["run/42"])
    at: str = Field(description="time in the tree, as it is there", examples=["2026-03-03T10:30:45Z"])
    detected_at: Time
    deliveries: list[Delivery]


class BaselineEvent(BaseModel):
    """An event that was older than the first scan, so nobody was notified of it."""

    kind: str = Field(examples=["JOB_COMPLETED"])
    entity: str = Field(examples=["run/42"])
    scanned_at: str = Field(examples=["2026-03-03T10:30:45Z"])


class Timeline(BaseModel):
    """What happened to a job, oldest first."""

    id: str = Field(description="of the job, for URLs", examples=["job_cnVuLzQy"])
    baseline: list[BaselineEvent]
    events: list[TimelineEvent]

    @classmethod
    def of(cls, job: str, explanation: Explanation) -> Timeline:
        return cls(
            id=url_id(explanation.entities[0] if explanation.entities else job),
            baseline=[
                BaselineEvent(kind=kind_name(each.kind), entity=each.entity, scanned_at=each.scanned_at)
                for each in explanation.baseline
            ],
            events=[
                TimelineEvent(
                    kind=_kind(each.event.kind),
                    entity=each.event.entity,
                    at=each.event.at,
                    detected_at=time_text(each.event.noticed_at),
                    deliveries=[*map(Delivery.of, each.notifications)],
                )
                for each in explanation.events
            ],
        )


class SilenceRecord(BaseModel):
    """A silence: notifications about matching events are recorded as skipped."""

    id: str = Field(examples=["3f2a9c01b7de"])
    state: SilenceState = Field(examples=["active"])
    job: list[str] = Field(examples=[["nightly-*"]])
    submitter: list[str] = Field(examples=[["*@uni.example"]])
    owner: list[str] = Field(examples=[[]])
    tags: list[str] = Field(examples=[["team-data"]])
    severity: list[str] = Field(examples=[["low"]])
    events: list[str] = Field(description="empty: every kind", examples=[["JOB_FAILED"]])
    starts_at: Time
    ends_at: Time | None = Field(description="null: when the state of the job changes")
    author: str = Field(examples=["owner@datasite.example"])
    reason: str = Field(examples=["maintenance of the cluster"])
    suppressed: int = Field(ge=0, description="notifications that it has suppressed", examples=[2])

    @classmethod
    def of(cls, listed: ListedSilence) -> SilenceRecord:
        silence, match = listed.silence, listed.silence.match
        ends_at = silence.ends_at if silence.expired_at is None else silence.expired_at
        return cls(
            id=silence.id,
            state=listed.state,
            job=list(match.job),
            submitter=list(match.submitter),
            owner=list(match.owner),
            tags=list(match.tags),
            severity=list(match.severity),
            events=sorted(map(kind_name, silence.kinds or ())),
            starts_at=time_text(silence.starts_at),
            ends_at=_time_or_none(ends_at),
            author=silence.author,
            reason=silence.reason,
            suppressed=listed.suppressed,
        )


class SilenceDetail(BaseModel):
    """A silence with the latest deliveries that it has suppressed, newest first."""

    silence: SilenceRecord
    suppressed: list[Delivery]


class TransportRecord(BaseModel):
    """A transport of the configuration. config.yaml is the only place to change it."""

    name: str = Field(examples=["office"])
    type: str = Field(examples=["smtp"])
    settings: dict[str, Any] = Field(
        description="secrets are left out", examples=[{"type": "smtp", "timeout_secs": 60}]
    )
    state: dict[str, Any] = Field(
        description="what the worker reports: whether it can send, and why not", examples=[{"can_send": True}]
    )
    last_sent_at: Time | None


class TransportTestResult(BaseModel):
    """The result of a test message."""

    sent: bool = Field(examples=[True])
    detail: str = Field(examples=["sent through office to ana@uni.example"])


class RouteRecord(BaseModel):
    """A route, in the order of evaluation. config.yaml is the only place to change it."""

    name: str = Field(examples=["routes[0]", "built-in: owner"])
    events: list[str] = Field(examples=[["JOB_FAILED"]])
    to: list[str] = Field(examples=[["owner", "#data-team"]])
    transport: str = Field(description="empty: by the type of each recipient's address", examples=["office"])
    continues: bool = Field(description="whether later routes are evaluated, too", examples=[False])


def _outcome(value: str) -> str:
    """The outcome of an attempt as the API names it; it may be one of a newer version."""
    return Failure(value).label if value in set(Failure) else value


def _kind(value: str) -> str:
    """A stored kind as records spell it; it may be one of a newer version."""
    kind = find_kind(value)
    return value.upper() if kind is None else kind_name(kind)


def _audience(value: str) -> str:
    return Audience(value).name.lower() if value in set(Audience) else value


def _time_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else time_text(seconds)
