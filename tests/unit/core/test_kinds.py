"""Event kinds: accepted spellings and severities."""

from __future__ import annotations

import pytest

from syftnotify.core.errors import UnknownKindError
from syftnotify.core.kinds import EventKind, Severity, parse_kind
from syftnotify.core.models import Event


@pytest.mark.parametrize(
    ("spelling", "kind"),
    [
        ("job_failed", EventKind.JOB_FAILED),
        ("job.failed", EventKind.JOB_FAILED),
        ("JOB_FAILED", EventKind.JOB_FAILED),
        ("failed", EventKind.JOB_FAILED),
        ("new", EventKind.JOB_SUBMITTED),
        ("approved", EventKind.JOB_APPROVED),
        ("executed", EventKind.JOB_COMPLETED),
        ("succeeded", EventKind.JOB_COMPLETED),
        ("done", EventKind.JOB_COMPLETED),
        ("running", EventKind.JOB_STARTED),
        ("timed_out", EventKind.JOB_TIMEOUT),
        ("job_timed_out", EventKind.JOB_TIMEOUT),
        ("canceled", EventKind.JOB_CANCELLED),
        ("JOB_CANCELED", EventKind.JOB_CANCELLED),
        ("new_peer_request", EventKind.PEER_REQUESTED),
        ("peer_request_granted", EventKind.PEER_GRANTED),
        ("workflow.build_failed", EventKind.WORKFLOW_BUILD_FAILED),
    ],
)
def test_parse_kind_accepts_every_spelling(spelling: str, kind: EventKind) -> None:
    assert parse_kind(spelling) is kind


def test_parse_kind_unknown_suggests_the_nearest() -> None:
    with pytest.raises(UnknownKindError, match="did you mean `job_failed`"):
        parse_kind("job_faild")


def test_lookup_of_unknown_value_is_refused_in_plain_words() -> None:
    """The text is the reason of a dead letter whose row has a damaged kind."""
    with pytest.raises(ValueError, match="'job_faild' is not an event kind"):
        EventKind("job_faild")


def test_severity_of_failures_is_high() -> None:
    """N21"""
    assert Event(EventKind.JOB_FAILED, "job/x").severity is Severity.HIGH
    assert Event(EventKind.JOB_LONG_RUNNING, "job/x").severity is Severity.MEDIUM
    assert Event(EventKind.JOB_COMPLETED, "job/x").severity is Severity.LOW
