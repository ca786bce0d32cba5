"""`syftnotify.emit`: what it accepts, and what it writes into the spool."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import EmitError, UnknownKindError
from syftnotify.core.kinds import RESERVED_KINDS, EventKind
from tests.emitting import emit, spooled
from tests.support import BO, Box

ALIASES = {
    "new": EventKind.JOB_SUBMITTED,
    "executed": EventKind.JOB_COMPLETED,
    "succeeded": EventKind.JOB_COMPLETED,
    "done": EventKind.JOB_COMPLETED,
    "running": EventKind.JOB_STARTED,
    "Failed": EventKind.JOB_FAILED,
    "timed_out": EventKind.JOB_TIMEOUT,
    "canceled": EventKind.JOB_CANCELLED,
    "job.canceled": EventKind.JOB_CANCELLED,
    "JOB_CANCELED": EventKind.JOB_CANCELLED,
    "new_peer_request": EventKind.PEER_REQUESTED,
    "WORKFLOW_BUILD_FAILED": EventKind.WORKFLOW_BUILD_FAILED,
}
EMITTABLE = [kind for kind in EventKind if kind not in RESERVED_KINDS]
SPELLINGS = [
    *(
        (spelled, kind)
        for kind in EMITTABLE
        for spelled in (kind.value, kind.value.upper(), kind.value.replace("_", ".", 1))
    ),
    *ALIASES.items(),
]


def test_emit_accepts_every_kind_in_every_spelling(box: Box) -> None:
    """C02, G16, G17"""
    for number, (spelled, _) in enumerate(SPELLINGS):
        emit(box, f" {spelled} " if number % 5 == 0 else spelled)

    assert [event["kind"] for event in spooled(box)] == [kind.value for _, kind in SPELLINGS]


@pytest.mark.parametrize("spelled", [*sorted(RESERVED_KINDS), "SYSTEM.ALERT", "system_alert", " Test "])
def test_emit_reserved_kind_is_refused(box: Box, spelled: str) -> None:
    """C11: only the worker itself sends these; `scheduler_online` may be emitted."""
    with pytest.raises(EmitError, match="is reserved for the worker"):
        emit(box, spelled)

    assert not box.home.spool.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"payload": "text"}, "must be a JSON object"),
        ({"payload": ["a"]}, "must be a JSON object"),
        ({"payload": 42}, "must be a JSON object"),
        ({"payload": {"a": object()}}, "not valid JSON"),
        ({"payload": {1: "a"}}, "not valid JSON"),
        ({"payload": {"a": "\ud800"}}, "not valid JSON"),
        ({"payload": {"a": "x" * 300_000}}, "256 KiB"),
        ({"entity": ""}, "entity"),
        ({"entity": None}, "entity"),
        ({"entity": "\ud800"}, r"\w"),
        ({"user": "\ud800"}, r"\w"),
        ({"tags": ["\ud800"]}, r"\w"),
        ({"key": "\ud800"}, r"\w"),
        ({"notify_emails": ["nobody"]}, "not an email address"),
        ({"notify_emails": BO}, rf"notify_emails must be a list of texts, not one text; write \['{BO}'\]"),
        ({"notify_on": "job_failed"}, "notify_on must be a list"),
        ({"tags": "team-data"}, "tags must be a list"),
        ({"tags": ""}, "tags must be a list"),
    ],
)
def test_emit_invalid_argument_raises_emit_error(box: Box, arguments: dict[str, Any], reason: str) -> None:
    """C07"""
    with pytest.raises(EmitError, match=reason):
        emit(box, **arguments)

    assert not box.home.spool.exists()


def test_emit_unknown_kind_suggests_the_nearest(box: Box) -> None:
    with pytest.raises(UnknownKindError, match="did you mean `gpu_available`"):
        emit(box, "gpu_avail")
    with pytest.raises(UnknownKindError):
        emit(box, notify_emails=[BO], notify_on=["job_faild"])

    assert not box.home.spool.exists()


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"alerts": {"on_failur": True}}, "'on_failur' is not a known key; did you mean `on_failure`"),
    ({"alerts": {"recipient": [BO]}}, "did you mean `recipients`"),
    ({"alerts": {"x" * 100_000: 1}}, "is not a known key"),
    ({"alerts": {7: 1}}, "is not a known key"),
    ({"alerts": [BO]}, "alerts must be a JSON object"),
    ({"alerts": {"on_failure": "yes"}}, "`on_failure` must be true or false"),
    ({"alerts": {"on_success": 1}}, "`on_success` must be true or false"),
    ({"alerts": {"on_long_run_minutes": 0}}, "`on_long_run_minutes` must be a number"),
    ({"alerts": {"on_long_run_minutes": True}}, "`on_long_run_minutes` must be a number"),
    ({"alerts": {"on_long_run_minutes": "90"}}, "`on_long_run_minutes` must be a number"),
    ({"alerts": {"recipients": BO}}, "recipients must be a list"),
    ({"alerts": {"recipients": [7]}}, "recipients must be a list"),
    ({"alerts": {"recipients": ["a@x.example\nbcc: b@x.example"]}}, "is not a recipient"),
    ({"alerts": {"recipients": ["x" * 300]}}, "is not a recipient"),
    ({"tags": [7]}, "tags must be a list"),
    ({"tags": 7}, "tags must be a list"),
    ({"user": 7}, "user must be text"),
    ({"notify_emails": [f"a{n}@x.example" for n in range(51)]}, "at most 50 recipients, got 51"),
    ({"alerts": {"recipients": [f"#a{n}" for n in range(51)]}}, "at most 50 recipients, got 51"),
    (
        {
            "notify_emails": [f"a{n}@x.example" for n in range(25)],
            "alerts": {"recipients": [f"#a{n}" for n in range(26)]},
        },
        "at most 50 recipients, got 51",
    ),
]


@pytest.mark.parametrize(("options", "why"), BAD_OPTIONS, ids=itertools.count())
def test_emit_bad_option_is_refused_and_leaves_nothing(box: Box, options: dict[str, Any], why: str) -> None:
    """C4: each with what is wrong."""
    with pytest.raises(EmitError, match=why):
        emit(box, **options)

    assert not box.home.spool.exists()


@pytest.mark.parametrize("letter", ["x", "é", "😀", "\n", '"', "\x1b"])
def test_emit_long_error_is_cut_to_its_end(box: Box, letter: str) -> None:
    """A6: whatever its characters cost as JSON."""
    emit(box, payload={"error": letter * 500_000 + "KeyError: 'age'", "n": 1})
    (event,) = spooled(box)
    error = event["payload"]["error"]

    assert error.startswith("[484,015 characters omitted]\n")
    assert error.endswith(letter * 100 + "KeyError: 'age'")
    assert event["payload"]["n"] == 1


@pytest.mark.parametrize("error", ["x" * 16_000, ["a", "b"], None, 7])
def test_emit_other_error_is_kept_as_it_is(box: Box, error: Any) -> None:
    """A6"""
    emit(box, payload={"error": error})

    assert spooled(box)[0]["payload"]["error"] == error


def test_emit_from_python_without_configuration_logs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A9"""
    with caplog.at_level(logging.WARNING):
        key = emit(Box(tmp_path), key="7")

    assert key == "emitted run/1 job_failed 7"
    assert "no configuration at" in caplog.text


def test_emit_conditions_without_recipients_log_a_warning(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    """D8: an earlier event of the job may have named them."""
    with caplog.at_level(logging.WARNING):
        emit(box, entity="x", notify_on=["job_failed"])

    assert "notify_on has no effect unless" in caplog.text
