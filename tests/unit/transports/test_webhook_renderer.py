"""The JSON object of a webhook: its formats, times, and what it never contains."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.rendering.links import Links
from syftnotify.transports.webhook.renderer import WebhookRenderer
from tests.support import ANA, OWNER
from tests.unit.transports.webhook_items import (
    ALL_VARIABLES,
    DETECTED_AT,
    ENTITY,
    FORMATS,
    PAYLOAD,
    SCHEDULER,
    WHEN,
    documented,
    item,
    message,
    rendered,
    rendered_template,
)


def keys_of(value: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """The keys of `value`, inside those objects that `like` describes, too."""
    return {key: keys_of(inner, like[key]) if like.get(key) else None for key, inner in value.items()}


@pytest.mark.parametrize("shape", FORMATS)
def test_object_has_the_documented_keys(shape: str) -> None:
    """N11, G21, A04"""
    times = {"started_at": WHEN, "finished_at": WHEN}
    whole = rendered(shape=shape, **PAYLOAD, **times)

    assert keys_of(whole, documented(shape)) == documented(shape)


def test_native_object_contains_all_known_values() -> None:
    """Decision *Body*"""
    public = {name: value for name, value in PAYLOAD.items() if name != "stderr"}

    assert rendered(**PAYLOAD) == {
        "id": "n1",
        "event": "job_failed",
        "severity": "high",
        "timestamp": WHEN,
        "entity": ENTITY,
        "job": {
            "id": ENTITY,
            "name": "survey",
            "user": ANA,
            "owner": OWNER,
            "state": "FAILED",
            "exit_code": 3,
            "error": "KeyError: 'age'",
            "tags": ["team-data", "nightly"],
        },
        "url": "https://box.example/jobs/survey",
        "scheduler": SCHEDULER,
        "payload": public,
    }


def test_native_object_omits_unknown_values() -> None:
    plain = WebhookRenderer("native", links=Links()).message(
        [item(EventKind.JOB_UPDATED, entity="run/1", name="")], "oncall"
    )

    assert json.loads(plain.body) == {
        "id": "n1",
        "event": "job_updated",
        "severity": "low",
        "timestamp": WHEN,
        "entity": "run/1",
        "job": {"id": "run/1"},
        "scheduler": SCHEDULER,
        "payload": {"name": ""},
    }


def test_object_of_a_gpu_event_has_no_job() -> None:
    """G17"""
    gpu = rendered(EventKind.GPU_AVAILABLE, entity="gpu/0", gpu=0, user="alice")

    assert "job" not in gpu
    assert gpu["payload"] == {"gpu": 0, "user": "alice"}
    assert rendered(EventKind.GPU_AVAILABLE, shape="gflow", entity="gpu/0", gpu=0) == {
        "event": "gpu_available",
        "timestamp": WHEN,
        "scheduler": SCHEDULER,
        "gpu": 0,
    }


@pytest.mark.parametrize("shape", [*FORMATS, "template"])
def test_object_of_every_event_kind_in_every_format(shape: str) -> None:
    for kind in EventKind:
        assert isinstance(rendered(kind, shape=shape, template=ALL_VARIABLES), dict), kind


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (EventKind.JOB_SUBMITTED, "Queued"),
        (EventKind.JOB_STARTED, "Running"),
        (EventKind.JOB_COMPLETED, "Finished"),
        (EventKind.JOB_FAILED, "Failed"),
        (EventKind.JOB_CANCELLED, "Cancelled"),
        (EventKind.JOB_TIMEOUT, "Timeout"),
        (EventKind.JOB_HELD, "Hold"),
        (EventKind.JOB_RELEASED, "Queued"),
    ],
)
def test_gflow_object_has_the_state_of_gflow(kind: EventKind, state: str) -> None:
    """G21"""
    assert rendered(kind, shape="gflow", user="alice", job_id=42) == {
        "event": kind.value,
        "timestamp": WHEN,
        "job": {"id": 42, "user": "alice", "state": state},
        "scheduler": SCHEDULER,
    }


@pytest.mark.parametrize(
    ("kind", "state"),
    [(EventKind.JOB_STARTED, "RUNNING"), (EventKind.JOB_COMPLETED, "SUCCEEDED"), (EventKind.JOB_FAILED, "FAILED")],
)
def test_nomaflow_object_has_the_state_of_nomaflow(kind: EventKind, state: str) -> None:
    """N11"""
    result = rendered(kind, shape="nomaflow", name="nightly", run_id="r7", user="alice", error="disk full")
    moment = {"started_at": WHEN} if kind is EventKind.JOB_STARTED else {"finished_at": WHEN}

    assert result == {
        "job_id": "nightly",
        "run_id": "r7",
        "state": state,
        "triggered_by": "alice",
        "error": "disk full",
        "url": "https://box.example/jobs/nightly",
        **moment,
    }


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (EventKind.JOB_FAILED, "failed", 3),
        (EventKind.JOB_TIMEOUT, "timed_out", -1),
        (EventKind.JOB_COMPLETED, "succeeded", 0),
    ],
)
def test_run_alert_object_has_run_job_status_and_exit_code(kind: EventKind, status: str, code: int) -> None:
    """A04: 0 is a code like any other."""
    result = rendered(kind, shape="run_alert", run_id="r7", name="survey", return_code=code)

    assert result == {"run_id": "r7", "job_name": "survey", "status": status, "exit_code": code}


@pytest.mark.parametrize("shape", ["nomaflow", "run_alert"])
def test_run_without_an_id_has_a_stable_one(shape: str) -> None:
    """A04: a program groups events by it."""
    long, over = (
        rendered(kind, shape=shape, **PAYLOAD)["run_id"] for kind in (EventKind.JOB_LONG_RUNNING, EventKind.JOB_FAILED)
    )

    assert long == over
    assert rendered(shape=shape, entity="job/else", **PAYLOAD)["run_id"] != over


@pytest.mark.parametrize("shape", ["gflow", "nomaflow"])
def test_job_id_zero_is_kept(shape: str) -> None:
    result = rendered(shape=shape, job_id=0, name="first")

    assert (result["job"]["id"] if shape == "gflow" else result["job_id"]) == 0


@pytest.mark.parametrize("emitted", [False, True])
@pytest.mark.parametrize("shape", [*FORMATS, "template"])
def test_object_contains_no_code_and_one_line_of_stderr(shape: str, emitted: bool) -> None:
    """G25"""
    private = {
        "code": [{"path": "main.py", "text": "PRIVATE = 1", "cut": False}],
        "code_left_out": [{"path": "PRIVATE.bin", "why": "binary"}],
        "stderr": "PRIVATE row\nKeyError: 'age'\n",
        "stderr_cut": True,
    }
    template = '{"all": {{ [job, payload, scheduler] | tojson }}, "error": "${error}"}'
    body = message(item(**{**PAYLOAD, **private}, is_emitted=emitted), shape=shape, template=template).body

    assert b"PRIVATE" not in body
    assert (b"KeyError: 'age'" in body) == (shape in {"native", "nomaflow", "template"})


TIMES = [
    ("2026-01-15T15:30:00Z", WHEN),
    ("2026-01-15T16:30:00+01:00", WHEN),
    ("2026-01-15T10:00:00-05:30", WHEN),
    ("2026-01-15T15:30:00", WHEN),
    ("2026-01-15 15:30", WHEN),
    ("2026-01-15T15:30:00.123456Z", "2026-01-15T15:30:00.123Z"),
    ("", DETECTED_AT),
    ("yesterday", DETECTED_AT),
    ("0001-01-01T00:00:00+14:00", DETECTED_AT),
]


@pytest.mark.parametrize(("at", "stamp"), TIMES)
@pytest.mark.parametrize("shape", ["native", "gflow"])
def test_timestamp_is_utc_or_the_time_of_detection(shape: str, at: str, stamp: str) -> None:
    """G21"""
    assert rendered(shape=shape, at=at)["timestamp"] == stamp


@pytest.mark.parametrize(("at", "stamp"), TIMES[:4])
@pytest.mark.parametrize("name", ["started_at", "finished_at"])
def test_times_of_a_run_are_utc(name: str, at: str, stamp: str) -> None:
    """N11: docs/webhooks.md says that times are."""
    assert rendered(shape="nomaflow", **{name: at})[name] == stamp
    assert rendered_template(ALL_VARIABLES, **{name: at})[name] == stamp


def test_digest_is_a_list_in_order_under_one_id() -> None:
    several = message(*(item(entity=f"run/{n}") for n in range(3)), digest="d1")

    assert [each["entity"] for each in json.loads(several.body)] == ["run/0", "run/1", "run/2"]
    assert several.id == "d1"
    assert isinstance(json.loads(message(item(), digest="d1").body), list)


def test_object_is_compact_utf_8() -> None:
    body = message(item(name="žluť")).body

    assert "žluť" in body.decode("utf-8")
    assert json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":")) == body.decode("utf-8")
