"""The JSON objects and parameters of requests."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StrictBool,
    Tag,
    WithJsonSchema,
)

from syftnotify.core.emit_options import MAX_RECIPIENTS
from syftnotify.core.identifiers import ADDRESS_PATTERN
from syftnotify.core.inbox import MAX_MARKED, kind_name
from syftnotify.core.kinds import RESERVED_KINDS, EventKind
from syftnotify.core.payloads import checked_payload
from syftnotify.services.inbox import CREATABLE_KINDS

_EXAMPLE_ID = "550e8400-e29b-41d4-a716-446655440000"
# Kinds are accepted in any spelling; the description lists one of each.
_KIND_NAMES: list[JsonValue] = [kind_name(kind) for kind in EventKind]
_EMITTABLE: list[JsonValue] = [kind.value for kind in EventKind if kind not in RESERVED_KINDS]
_KIND_LENGTH = 60
_KIND_PATTERN = "|".join(str(kind).replace("_", "[._]") for kind in _EMITTABLE)
_RECIPIENT = f"({ADDRESS_PATTERN})|(^[#@]?[A-Za-z0-9_-]+$)"
_ALERTS_SCHEMA: dict[str, Any] = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {
        "on_failure": {"type": "boolean", "default": True},
        "on_success": {"type": "boolean", "default": False},
        "on_long_run_minutes": {"type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1_000_000},
        "recipients": {
            "type": ["array", "null"],
            "items": {"type": "string", "pattern": _RECIPIENT, "maxLength": 254},
            "description": "addresses, `#channel`, `@user`, and names of webhook transports",
            "maxItems": MAX_RECIPIENTS,
        },
    },
}
_Address = Annotated[str, Field(json_schema_extra={"pattern": ADDRESS_PATTERN, "maxLength": 254})]
_Object = Annotated[dict[str, Any], AfterValidator(checked_payload)]
KindFilter = Annotated[
    str, Field(max_length=_KIND_LENGTH, json_schema_extra={"enum": ["", *_KIND_NAMES]}, examples=["JOB_FAILED"])
]


def _no_number(value: Any) -> Any:
    """Refuses seconds since 1970, which are no times of the API."""
    is_number = isinstance(value, int | float)
    if is_number or (isinstance(value, str) and value.strip().lstrip("+-").replace(".", "", 1).isdigit()):
        raise ValueError("expected a time such as 2026-03-03T10:30:45Z")
    return value


PAGE_LIMIT = 50  # records on the pages for operators
CursorQuery = Annotated[str, Query(max_length=500, description="the `cursor` of the page before")]
LimitQuery = Annotated[int, Query(ge=1, le=PAGE_LIMIT, description="records on the page")]
Since = Annotated[AwareDatetime, BeforeValidator(_no_number)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", str_max_length=10_000)


class MarkRequest(_Request):
    """Notifications to mark as read."""

    ids: list[UUID] = Field(min_length=1, max_length=MAX_MARKED, examples=[[_EXAMPLE_ID]])


class CreateRequest(_Request):
    """A notification for one person."""

    user_id: str = Field(pattern=r"^[!-~]+$", max_length=254, description="address or id", examples=["ana@uni.example"])
    kind: str = Field(
        min_length=1,
        max_length=_KIND_LENGTH,
        json_schema_extra={"enum": list(CREATABLE_KINDS)},
        examples=["JOB_FAILED"],
    )
    payload: _Object = Field(examples=[{"job_id": "run-1", "workflow_name": "Health Check"}])


class EventRequest(_Request):
    """An event in the native format; the keys are the arguments of `syftnotify.emit`."""

    kind: str = Field(
        min_length=1, max_length=_KIND_LENGTH, json_schema_extra={"enum": _EMITTABLE}, examples=["job_failed"]
    )
    entity: str = Field(min_length=1, max_length=1000, description="what it is about", examples=["run/42"])
    payload: _Object = Field(default_factory=dict, examples=[{"name": "nightly-sync", "error": "Timeout"}])
    user: str = Field("", max_length=254, description="owner of the entity", examples=["ana@uni.example"])
    tags: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list, max_length=100, examples=[["team-data"]]
    )
    key: str = Field("", max_length=500, description="identifies the event; repeats are ignored")
    notify_emails: list[_Address] = Field(
        default_factory=list, max_length=MAX_RECIPIENTS, examples=[["ops@lab.example"]]
    )
    notify_on: list[Annotated[str, Field(json_schema_extra={"enum": _EMITTABLE})]] = Field(
        default_factory=list, max_length=100, examples=[["job_failed"]]
    )
    alerts: Annotated[_Object | None, WithJsonSchema(_ALERTS_SCHEMA)] = None


class CloudEvent(BaseModel):
    """An event of CloudEvents 1.0 in the structured JSON format; other attributes are ignored."""

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=500, examples=["a-1"])
    source: str = Field(min_length=1, max_length=1000, examples=["/schedulers/lab"])
    type: str = Field(
        min_length=1,
        max_length=500,
        description="an event kind, or ends with one",
        json_schema_extra={"pattern": rf"^([a-z0-9-]{{1,60}}\.){{0,5}}({_KIND_PATTERN})$"},
        examples=["example.lab.job_failed"],
    )
    subject: str | None = Field(
        None, max_length=1000, description="what it is about; without it, the source", examples=["run/42"]
    )
    data: _Object | None = Field(None, examples=[{"name": "nightly-sync"}])


def _format_of(value: Any) -> str:
    """Which of the two formats a request has, so that only the errors of this one are reported."""
    is_cloud_event = isinstance(value, CloudEvent) or (isinstance(value, dict) and "specversion" in value)
    return "cloud_event" if is_cloud_event else "native"


AnyEvent = Annotated[
    Annotated[EventRequest, Tag("native")] | Annotated[CloudEvent, Tag("cloud_event")], Discriminator(_format_of)
]


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


_Patterns = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=500)]], Field(max_length=100, description="names or patterns")
]


class SilenceRequest(_Request):
    """A silence, with the conditions of a route. Without `ends_at` it ends for each job when its state changes."""

    job: _Patterns = Field(default_factory=list, examples=[["nightly-*"]])
    submitter: _Patterns = Field(default_factory=list, examples=[["*@uni.example"]])
    owner: _Patterns = Field(default_factory=list, examples=[[]])
    tags: _Patterns = Field(default_factory=list, examples=[["team-data"]])
    severity: list[Literal["high", "medium", "low"]] = Field(default_factory=list, max_length=3, examples=[["low"]])
    events: list[Annotated[str, Field(min_length=1, json_schema_extra={"enum": _KIND_NAMES})]] = Field(
        default_factory=list, max_length=100, description="empty: every kind", examples=[["JOB_FAILED"]]
    )
    starts_at: Since | None = Field(None, description="null: now", examples=["2026-03-03T10:30:45Z"])
    ends_at: Since | None = Field(
        None, description="null: when the state of the job changes", examples=["2126-03-03T18:00:00Z"]
    )
    reason: str = Field("", max_length=500, description="one line", examples=["maintenance of the cluster"])


class ResendRequest(_Request):
    """Deliveries to send again: dead ones, and ones of unknown outcome, which may have arrived."""

    ids: list[str] = Field(min_length=1, max_length=MAX_MARKED, examples=[["3f2a9c01b7de4a55"]])


class TransportTestRequest(_Request):
    """A test message."""

    to: str = Field("", max_length=254, description="recipient; empty: the transport's default")
