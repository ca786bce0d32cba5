"""The JSON objects of the API."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StrictBool, WithJsonSchema

from syftnotify.core import history
from syftnotify.core.emit_options import MAX_RECIPIENTS
from syftnotify.core.identifiers import ADDRESS_PATTERN
from syftnotify.core.inbox import MAX_MARKED, InboxEntry, kind_name
from syftnotify.core.kinds import RESERVED_KINDS, EventKind, find_kind
from syftnotify.core.models import AlertRule
from syftnotify.core.text import iso
from syftnotify.services.history import Explanation
from syftnotify.services.inbox import CREATABLE_KINDS
from syftnotify.services.jobs import job_id

_EXAMPLE_TIME = "2026-03-03T10:30:45.123Z"
_EXAMPLE_ID = "550e8400-e29b-41d4-a716-446655440000"
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=[_EXAMPLE_TIME])]


# Kinds are accepted in any spelling; the description lists one of each.
_KIND_NAMES: list[JsonValue] = [kind_name(kind) for kind in EventKind]
_EMITTABLE: list[JsonValue] = [kind.value for kind in EventKind if kind not in RESERVED_KINDS]
_KIND_LENGTH = 60
_ALERTS_SCHEMA: dict[str, Any] = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {
        "on_failure": {"type": "boolean", "default": True},
        "on_success": {"type": "boolean", "default": False},
        "on_long_run_minutes": {"type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1_000_000},
        "recipients": {
            "type": ["array", "null"],
            "items": {"type": "string", "pattern": ADDRESS_PATTERN, "maxLength": 254},
            "description": "addresses; also `#channel`, `@user` and names of webhook transports",
            "maxItems": MAX_RECIPIENTS,
        },
    },
}
KindFilter = Annotated[
    str, Field(max_length=_KIND_LENGTH, json_schema_extra={"enum": ["", *_KIND_NAMES]}, examples=["JOB_FAILED"])
]


def _no_number(value: Any) -> Any:
    """Refuses seconds since 1970, which are no times of the API."""
    if isinstance(value, str) and value.strip().lstrip("+-").replace(".", "", 1).isdigit():
        raise ValueError("expected a time such as 2026-03-03T10:30:45Z")
    return value


Since = Annotated[AwareDatetime, BeforeValidator(_no_number)]


def time_text(seconds: float) -> str:
    """A time as the API spells it."""
    return iso(seconds, exact=True)


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", str_max_length=10_000)


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


class MarkRequest(_Request):
    """Notifications to mark as read."""

    ids: list[UUID] = Field(min_length=1, max_length=MAX_MARKED, examples=[[_EXAMPLE_ID]])


class MarkResult(BaseModel):
    """How many notifications are read now."""

    marked: int = Field(ge=1, examples=[2])


class CreateRequest(_Request):
    """A notification for one person."""

    user_id: str = Field(pattern=r"^[!-~]+$", max_length=254, description="address or id", examples=["ana@uni.example"])
    kind: str = Field(
        min_length=1,
        max_length=_KIND_LENGTH,
        json_schema_extra={"enum": list(CREATABLE_KINDS)},
        examples=["JOB_FAILED"],
    )
    payload: dict[str, Any] = Field(examples=[{"job_id": "run-1", "workflow_name": "Health Check"}])


class EventRequest(_Request):
    """An event in the native format; the keys are the arguments of `syftnotify.emit`."""

    kind: str = Field(
        min_length=1, max_length=_KIND_LENGTH, json_schema_extra={"enum": _EMITTABLE}, examples=["job_failed"]
    )
    entity: str = Field(min_length=1, max_length=1000, description="what it is about", examples=["run/42"])
    payload: dict[str, Any] = Field(default_factory=dict, examples=[{"name": "nightly-sync", "error": "Timeout"}])
    user: str = Field("", max_length=254, description="owner of the entity", examples=["ana@uni.example"])
    tags: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list, max_length=100)
    key: str = Field("", max_length=500, description="identifies the event; repeats are ignored")
    notify_emails: list[Annotated[str, Field(json_schema_extra={"pattern": ADDRESS_PATTERN, "maxLength": 254})]] = (
        Field(default_factory=list, max_length=MAX_RECIPIENTS)
    )
    notify_on: list[Annotated[str, Field(json_schema_extra={"enum": _EMITTABLE})]] = Field(
        default_factory=list, max_length=100
    )
    alerts: Annotated[dict[str, Any] | None, WithJsonSchema(_ALERTS_SCHEMA)] = None


class CloudEvent(BaseModel):
    """An event of CloudEvents 1.0 in the structured JSON format."""

    model_config = ConfigDict(extra="allow")

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=500, examples=["a-1"])
    source: str = Field(min_length=1, max_length=1000, examples=["/schedulers/lab"])
    type: str = Field(
        min_length=1,
        max_length=500,
        description="an event kind, or ends with one",
        json_schema_extra={"pattern": rf"^([a-z0-9-]{{1,60}}\.){{0,5}}({'|'.join(map(str, _EMITTABLE))})$"},
        examples=["example.lab.job_failed"],
    )
    subject: str = Field("", max_length=1000, description="what it is about; without it, the source")
    data: dict[str, Any] = Field(default_factory=dict, examples=[{"name": "nightly-sync"}])


class EventResult(BaseModel):
    """The event is stored; the worker notifies."""

    key: str = Field(examples=["emitted run/42 job_failed 3f2a"])


class _AlertRequest(_Request):
    on_failure: StrictBool = True
    on_timeout: StrictBool = True


class EmailAlertRequest(_AlertRequest):
    """An alert rule of one job that sends mail."""

    alert_type: Literal["email"]
    target: str = Field(
        max_length=254, pattern=ADDRESS_PATTERN, description="mail address", examples=["ops@lab.example"]
    )


class WebhookAlertRequest(_AlertRequest):
    """An alert rule of one job that calls a webhook."""

    alert_type: Literal["webhook"]
    target: str = Field(
        min_length=1, max_length=2000, description="URL, or name of a transport", examples=["https://hooks.example/x"]
    )


AlertRequest = Annotated[EmailAlertRequest | WebhookAlertRequest, Field(discriminator="alert_type")]


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


class ResendRequest(_Request):
    """Deliveries to send again: dead ones, and ones of unknown outcome, which may have arrived."""

    ids: list[str] = Field(min_length=1, max_length=MAX_MARKED, examples=[["3f2a9c01b7de4a55"]])


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


class TransportTestRequest(_Request):
    """A test message."""

    to: str = Field("", max_length=254, description="recipient; empty: the transport's default")


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
