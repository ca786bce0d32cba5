"""Rendering for programs: one JSON object per notification, in one of five formats.

`native` is syftnotify's own format; `gflow`, `nomaflow` and `run_alert` are those of receivers for these systems;
`template` is a Jinja2 template in the configuration.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2

from syftnotify import __version__
from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import FINAL_KINDS, Audience, EventKind, Status
from syftnotify.core.models import Event, Item, Message
from syftnotify.core.payloads import MAIL_KEYS, PRIVATE_KEYS
from syftnotify.core.text import escape, iso
from syftnotify.rendering.fields import error_line, event_details, event_user, parse_time
from syftnotify.rendering.links import Links
from syftnotify.rendering.sandbox import TemplateSandbox
from syftnotify.rendering.summary import summary_line

_STATES = {
    EventKind.JOB_SUBMITTED: "SUBMITTED",
    EventKind.JOB_APPROVED: "APPROVED",
    EventKind.JOB_REJECTED: "REJECTED",
    EventKind.JOB_STARTED: "RUNNING",
    EventKind.JOB_LONG_RUNNING: "RUNNING",
    EventKind.JOB_COMPLETED: "SUCCEEDED",
    EventKind.JOB_FAILED: "FAILED",
    EventKind.JOB_TIMEOUT: "TIMED_OUT",
    EventKind.JOB_CANCELLED: "CANCELLED",
    EventKind.JOB_HELD: "HELD",
    EventKind.JOB_RELEASED: "QUEUED",
}
_GFLOW_STATES = {
    EventKind.JOB_SUBMITTED: "Queued",
    EventKind.JOB_STARTED: "Running",
    EventKind.JOB_COMPLETED: "Finished",
    EventKind.JOB_FAILED: "Failed",
    EventKind.JOB_CANCELLED: "Cancelled",
    EventKind.JOB_TIMEOUT: "Timeout",
    EventKind.JOB_HELD: "Hold",
    EventKind.JOB_RELEASED: "Queued",
}
_DOLLAR_VARIABLE = re.compile(r"\$\{(\w+)\}")
# Variables that every template has, empty where unknown: the keys of Nomaflow, of the native format and of its `job`.
_NOMAFLOW_KEYS = ("job_id", "run_id", "state", "error", "started_at", "finished_at", "triggered_by", "url")
_NATIVE_KEYS = ("id", "event", "severity", "timestamp", "entity")
_JOB_KEYS = ("id", "name", "user", "owner", "state", "exit_code", "error", "tags")
_RENDERING_ERRORS = (jinja2.TemplateError, ArithmeticError, TypeError, ValueError, LookupError, RecursionError)
# A line break, a quotation mark and a backslash: invalid in a JSON string unless they are escaped.
_TO_ESCAPE = 'a\nb"c\\d'
_WARNING = (
    "the output is not valid JSON when a value is missing or contains quotes, backslashes or line breaks, and such "
    "messages become dead letters; write each value as `{{ value | tojson }}`, without quotes around it"
)


def _sample(kind: EventKind, entity: str, payload: Mapping[str, Any], *tags: str) -> Item:
    """A sample notification for checking a template."""
    at = "2026-01-15T15:30:00Z"
    event = Event(kind, entity, "", at, payload=dict(payload), routing={"tags": list(tags)} if tags else {})
    return Item("sample", event, Audience.OWNER, kind.spec.status_after or Status.WAITING)


def _sample_with_text(kind: EventKind, text: str) -> Item:
    """A sample notification with `text` in every field that contains text."""
    names = ("name", "submitter", "owner", "run_id", "job_id", "triggered_by", "stderr")
    return _sample(kind, text, {**dict.fromkeys(names, text), "return_code": 1}, text)


class WebhookRenderer:
    """Renders notifications for one endpoint.

    Attributes:
        warning: a warning that the template does not result in valid JSON for some values; empty if there is none.
    """

    def __init__(self, format_: str, *, links: Links, template: str = "", is_json: bool = True) -> None:
        """Set up a renderer, and check `template` with sample events.

        Args:
            format_: `native`, `gflow`, `nomaflow`, `run_alert` or `template`.
            links: the URL templates of the links in the objects.
            template: the text of the template, for the format `template`.
            is_json: whether the endpoint expects JSON.

        Raises:
            ValueError: `template` is invalid, uses an unknown variable, or never results in JSON.
        """
        self.warning = ""
        self._convert = _CONVERTERS[format_]
        self._links = links
        self._is_json = is_json
        self._template = _compiled(template) if format_ == "template" else None
        if self._template is not None:
            self._check(self._template)

    def _check(self, template: jinja2.Template) -> None:
        """Render samples of all event kinds, and set `warning`. Raises: ValueError."""
        bare = self._object(_sample(EventKind.JOB_FAILED, "job/sample", {}))
        try:
            template.render(bare)
        except _RENDERING_ERRORS as error:
            if "'NoneType'" in str(error):
                raise ValueError(f"{error}: a value may be missing; write `(value or [])` or the like") from None
            raise ValueError(f"{error}; known variables are {', '.join(sorted(bare))}") from None
        if not self._is_json:
            return
        # A template may be empty for event kinds that the routes do not send to this transport.
        outputs = {kind: self._samples(template, kind) for kind in EventKind}
        errors = [_json_error(text) for texts in outputs.values() for text in texts if any(map(str.strip, texts))]
        if all(errors):
            why = errors[0] if errors else _json_error("")
            raise ValueError(
                f"the output is not valid JSON ({why}); correct it, or set the header `content-type` to its type"
            )
        if any(errors):
            self.warning = _WARNING

    def _samples(self, template: jinja2.Template, kind: EventKind) -> list[str]:
        """The output for events of `kind`: without optional values, with plain text, with text that needs escaping."""
        variables = [self._object(_sample(kind, "job/sample", {}))]
        for text, unknown in (("a", 1), (_TO_ESCAPE, _TO_ESCAPE)):
            known = self._object(_sample_with_text(kind, text))
            known["payload"] = _SamplePayload(known["payload"], unknown)
            variables.append(known)
        outputs = []
        for each in variables:
            with contextlib.suppress(*_RENDERING_ERRORS):  # the template may expect another type
                outputs.append(template.render(each))
        return outputs

    def message(self, items: Sequence[Item], recipient: str, *, thread: str = "", digest: str = "") -> Message:
        """The request for all `items`: one object, or a list of objects if it is a digest; `digest` is its id.

        Raises:
            DeliveryError: PERMANENT, the body is not valid JSON although the endpoint expects it.
            jinja2.TemplateError: the template fails for one of the items.
        """
        objects = [self._object(item) for item in items]
        if self._template is None:
            texts = [json.dumps(objects if digest else objects[0], ensure_ascii=False, separators=(",", ":"))]
        else:
            texts = [self._template.render(each) for each in objects]
        if self._is_json and (error := next(filter(None, map(_json_error, texts)), "")):
            why = f"the body is not valid JSON ({error}); write values in `body` as {{{{ value | tojson }}}}"
            raise DeliveryError(Failure.PERMANENT, why)
        body = f"[{','.join(texts)}]" if self._is_json and len(texts) > 1 else "\n".join(texts)
        return Message(
            id=digest or items[0].id,
            recipient=recipient,
            subject=items[0].event.kind.value,
            text=summary_line(items[0]),
            thread=thread,
            body=body.encode("utf-8", "backslashreplace"),
        )

    def _object(self, item: Item) -> dict[str, Any]:
        """The object for `item` in the format of the endpoint, or the variables of the template."""
        return self._convert(item.event, native_object(item, self._links))


def native_object(item: Item, links: Links) -> dict[str, Any]:
    """The object in the native format; unknown values are left out."""
    event, payload = item.event, item.event.payload
    hidden = PRIVATE_KEYS if event.emitted else PRIVATE_KEYS | MAIL_KEYS
    job = _present(
        id=event.entity,
        name=payload.get("name"),
        user=event_user(event),
        owner=payload.get("owner"),
        state=_STATES.get(event.kind),
        exit_code=payload.get("return_code"),
        error=error_line(item),
        tags=event.routing.get("tags"),
    )
    return _present(
        id=item.id,
        event=event.kind.value,
        severity=event.severity.value,
        timestamp=_time_of(item),
        entity=event.entity,
        job=job if event.kind.is_about_job else None,
        url=links.of(event)["job_url"],
        scheduler=_scheduler(),
        payload={name: value for name, value in event_details(event).items() if name not in hidden} or None,
    )


def _time_of(item: Item) -> str:
    """The time of the event in UTC, or that of its detection if it is unknown."""
    return _in_utc(item.event.at) or iso(item.detected_at)


def _in_utc(value: Any) -> str:
    """`2026-01-15T15:30:00Z` for an ISO 8601 time; empty for anything else."""
    moment = parse_time(value) if isinstance(value, str) else ""
    return iso(moment.timestamp(), exact=bool(moment.microsecond)) if isinstance(moment, datetime) else ""


def _gflow(event: Event, native: Mapping[str, Any]) -> dict[str, Any]:
    """The object in the format of gflow, made from that in the native format."""
    payload, job = event_details(event), native.get("job")
    return _present(
        event=event.kind.value,
        timestamp=native.get("timestamp"),
        job=job
        and _present(
            id=_first(payload.get("job_id"), payload.get("id"), payload.get("name")),
            user=job.get("user"),
            state=_GFLOW_STATES.get(event.kind),
        ),
        scheduler=payload.get("scheduler") or _scheduler(),
        **{
            name: payload.get(name)
            for name in ("gpu", "gpu_index", "reservation", "reservation_id", "user")
            if not job and name in payload
        },
    )


def _nomaflow(event: Event, native: Mapping[str, Any]) -> dict[str, Any]:
    """The object in the format of Nomaflow, made from that in the native format."""
    payload, job = event.payload, native.get("job", {})
    return _present(
        job_id=_first(payload.get("job_id"), payload.get("name"), event.entity),
        run_id=_run_id(event),
        state=job.get("state") or event.kind.value.upper(),
        triggered_by=payload.get("triggered_by") or job.get("user"),
        started_at=_in_utc(payload.get("started_at"))
        or (native["timestamp"] if event.kind is EventKind.JOB_STARTED else None),
        finished_at=_in_utc(payload.get("finished_at")) or (native["timestamp"] if event.kind in FINAL_KINDS else None),
        error=job.get("error"),
        url=native.get("url"),
    )


def _run_alert(event: Event, native: Mapping[str, Any]) -> dict[str, Any]:
    """The object in the format of run alerts, made from that in the native format."""
    payload = event.payload
    return _present(
        run_id=_run_id(event),
        job_name=payload.get("name") or event.entity,
        status={
            EventKind.JOB_FAILED: "failed",
            EventKind.JOB_TIMEOUT: "timed_out",
            EventKind.JOB_COMPLETED: "succeeded",
        }.get(event.kind, event.kind.value),
        exit_code=native.get("job", {}).get("exit_code"),
    )


def _first(*values: Any) -> Any:
    """The first value that is neither None nor empty."""
    return next((value for value in values if value is not None and value != ""), None)


def _run_id(event: Event) -> Any:
    """The id of a run: that in the payload, otherwise one for each emitted event or submission of a job."""
    submitted_at = event.payload.get("submitted_at") or ""
    own_id = stable_hash(event.key if event.emitted else f"{event.entity} {submitted_at}")
    return _first(event.payload.get("run_id"), own_id)


class _DefaultMapping(dict[str, Any]):
    """A dict with a value for every key: `unknown` for those that are missing."""

    def __init__(self, known: Mapping[str, Any], unknown: Any = None) -> None:
        super().__init__(known)
        self._unknown = unknown

    def __missing__(self, _key: str) -> Any:
        return self._unknown


class _SamplePayload(_DefaultMapping):
    """The payload of a sample, which has every key, also for `in` and `get`."""

    def __contains__(self, _key: object) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ARG002 - no key is missing
        return self[key]


def _variables(event: Event, native: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a template: the keys of Nomaflow and of the native format; empty where unknown."""
    job = {**dict.fromkeys(_JOB_KEYS), "tags": [], **native.get("job", {})}
    parts = {"job": job, "payload": _DefaultMapping(native.get("payload", {}))}
    return {**dict.fromkeys((*_NOMAFLOW_KEYS, *_NATIVE_KEYS), ""), **_nomaflow(event, native), **native, **parts}


_CONVERTERS: dict[str, Callable[[Event, dict[str, Any]], dict[str, Any]]] = {
    "native": lambda _event, native: native,
    "gflow": _gflow,
    "nomaflow": _nomaflow,
    "run_alert": _run_alert,
    "template": _variables,
}


def _json_error(text: str) -> str:
    """Why `text` is not valid JSON; empty if it is."""
    try:
        json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        return escape(str(error)) or type(error).__name__
    return ""


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _to_json(value: Any) -> str:
    """The filter `tojson`. Jinja's own one escapes HTML, and fails for unknown variables without their name."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises UndefinedError with the name
    return json.dumps(value, ensure_ascii=False)


def _compiled(text: str) -> jinja2.Template:
    """The compiled template `text`. `${name}` is a variable inside a JSON string, escaped for it; the rest is Jinja.

    Raises:
        ValueError: `text` has a syntax error.
    """
    jinja = _DOLLAR_VARIABLE.sub(r"{{ \1 | inside_string }}", text)
    environment = TemplateSandbox(
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        finalize=lambda value: "" if value is None else value,
    )
    environment.filters["inside_string"] = lambda value: json.dumps(
        "" if value is None else str(value), ensure_ascii=False
    )[1:-1]
    environment.filters["tojson"] = _to_json
    try:
        return environment.from_string(jinja)
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.message}") from None


def _scheduler() -> dict[str, str]:
    """The source of the event, for receivers: this machine and the version of syftnotify."""
    return {"host": socket.gethostname(), "version": __version__}


def _present(**values: Any) -> dict[str, Any]:
    """`values` without those that are None or empty."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}
