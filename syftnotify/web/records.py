"""The JSON objects of answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from syftnotify.core import history
from syftnotify.core.inbox import InboxEntry, kind_name
from syftnotify.core.kinds import find_kind
from syftnotify.core.models import AlertRule
from syftnotify.core.text import iso
from syftnotify.services.history import Explanation
from syftnotify.services.jobs import job_id

_EXAMPLE_TIME = "2026-03-03T10:30:45.123Z"
_EXAMPLE_ID = "550e8400-e29b-41d4-a716-446655440000"
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
    cursor: str | None = Field(description="of the next page; null: this is the last one")


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
    job_id: str = Field(description="name, pattern or id of the job", examples=["nightly-sync"])
    alert_type: Literal["webhook", "email"]
    target: str = Field(description="of a URL only the host: the rest may be a secret")
    on_failure: bool
    on_timeout: bool
    created_at: Time

    @classmethod
    def of(cls, rule: AlertRule, target: str) -> AlertRecord:
        return cls(
            id=rule.id,
            job_id=rule.job,
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
    owner: str
    submitter: str
    last_event: str = Field(examples=["JOB_COMPLETED"])
    updated_at: Time

    @classmethod
    def of(cls, job: history.JobRecord) -> JobSummary:
        payload = job.payload
        return cls(
            id=job_id(job.entity),
            entity=job.entity,
            name=str(payload.get("name") or payload.get("workflow_name") or ""),
            owner=str(payload.get("owner") or ""),
            submitter=str(payload.get("submitter") or payload.get("claimed") or payload.get("user") or ""),
            last_event=_kind(job.kind),
            updated_at=time_text(job.noticed_at),
        )


class JobList(BaseModel):
    """A page of jobs, the one with the latest event first."""

    jobs: list[JobSummary]
    cursor: str | None = Field(description="of the next page; null: this is the last one")


class Delivery(BaseModel):
    """A notification of one person or program through one transport."""

    id: str = Field(examples=["3f2a9c01b7de4a55"])
    state: str = Field(description="pending, withheld, sending, sent, unknown, dead or skipped", examples=["sent"])
    kind: str = Field(examples=["JOB_FAILED"])
    entity: str
    recipient: str
    audience: str
    transport: str
    route: str = Field(description="the route that selected the recipient", examples=["built-in: owner"])
    reason: str = Field(description="why it is dead, skipped or withheld, or the last error")
    created_at: Time
    not_before: Time | None
    attempts: int = Field(ge=0)
    tried_at: Time | None
    acknowledged_at: Time | None

    @classmethod
    def of(cls, record: history.NotificationRecord) -> Delivery:
        return cls(
            id=record.id,
            state=record.state,
            kind=_kind(record.kind),
            entity=record.entity,
            recipient=record.recipient,
            audience=record.audience,
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
    outcome: str = Field(description="started, sent, or why it failed", examples=["sent"])
    error: str

    @classmethod
    def of(cls, attempt: history.AttemptRecord) -> Attempt:
        return cls(
            started_at=time_text(attempt.started_at),
            ended_at=_time_or_none(attempt.ended_at),
            outcome=attempt.outcome,
            error=attempt.error,
        )


class DeliveryList(BaseModel):
    """A page of deliveries, the newest first."""

    deliveries: list[Delivery]
    cursor: str | None = Field(description="of the next page; null: this is the last one")


class DeliveryDetail(BaseModel):
    """A delivery with its attempts, oldest first."""

    delivery: Delivery
    attempts: list[Attempt]


class ResendAnswer(BaseModel):
    """How many deliveries are queued again."""

    queued: int = Field(ge=0)


class TimelineEvent(BaseModel):
    """An event of a job, and who was notified of it; without deliveries, nobody was."""

    kind: str = Field(examples=["JOB_FAILED"])
    entity: str
    at: str = Field(description="time in the tree, as it is there", examples=["2026-03-03T10:30:45Z"])
    detected_at: Time
    deliveries: list[Delivery]


class BaselineEvent(BaseModel):
    """An event that was older than the first scan, so nobody was notified of it."""

    kind: str
    entity: str
    scanned_at: str


class Timeline(BaseModel):
    """What happened to a job, oldest first."""

    id: str = Field(description="of the job, for URLs")
    baseline: list[BaselineEvent]
    events: list[TimelineEvent]

    @classmethod
    def of(cls, job: str, explanation: Explanation) -> Timeline:
        return cls(
            id=job_id(explanation.entities[0] if explanation.entities else job),
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


class TransportRecord(BaseModel):
    """A transport of the configuration. config.yaml is the only place to change it."""

    name: str = Field(examples=["office"])
    type: str
    settings: dict[str, Any] = Field(description="secrets are left out")
    state: dict[str, Any] = Field(description="what the worker reports: paused, failing since, ...")
    last_sent_at: Time | None


class TransportTestResult(BaseModel):
    """The result of a test message."""

    sent: bool
    detail: str


class RouteRecord(BaseModel):
    """A route, in the order of evaluation. config.yaml is the only place to change it."""

    name: str = Field(examples=["routes[0]", "built-in: owner"])
    events: list[str]
    to: list[str]
    transport: str = Field(description="empty: by the type of each recipient's address")
    continues: bool = Field(description="whether later routes are evaluated, too")


def _kind(value: str) -> str:
    """A stored kind as records spell it; it may be one of a newer version."""
    kind = find_kind(value)
    return value.upper() if kind is None else kind_name(kind)


def _time_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else time_text(seconds)
