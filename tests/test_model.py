"""The words, and how they are spelled."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.core.errors import UnknownKindError
from syftnotify.core.identifiers import entity_id, is_address
from syftnotify.core.kinds import Audience, EventKind, Severity, parse_kind
from syftnotify.core.models import Event, Notification


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
def test_every_accepted_spelling_is_one_kind(spelling: str, kind: EventKind) -> None:
    assert parse_kind(spelling) is kind


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(UnknownKindError, match="did you mean `job_failed`"):
        parse_kind("job_faild")


def test_failures_matter_most() -> None:
    """N21"""
    assert Event(EventKind.JOB_FAILED, "job/x").severity is Severity.HIGH
    assert Event(EventKind.JOB_LONG_RUNNING, "job/x").severity is Severity.MEDIUM
    assert Event(EventKind.JOB_COMPLETED, "job/x").severity is Severity.LOW


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(names, names, names)
def test_an_entity_id_can_be_taken_apart_again(owner: str, submitter: str, name: str) -> None:
    entity = entity_id("job", "D", owner, submitter, name)

    assert [unquote(part) for part in entity.split("/")] == ["job", "D", owner, submitter, name]
    assert entity.isascii()
    assert " " not in entity
    assert "\n" not in entity


def test_an_entity_id_keeps_the_at_sign_and_names_that_are_not_utf8() -> None:
    assert entity_id("job", "C", "o@x.org", "a@y.net", "a b") == "job/C/o@x.org/a@y.net/a%20b"
    assert entity_id(b"\xff".decode("utf-8", "surrogateescape")) == "%FF"


@given(
    names,
    st.sampled_from(list(EventKind)),
    st.text(max_size=30),
    names,
    st.sampled_from(list(EventKind)),
    st.text(max_size=30),
)
def test_two_facts_never_share_a_key(a: str, kind: EventKind, when: str, b: str, other: EventKind, then: str) -> None:
    one, two = Event(kind, entity_id("job", a), when), Event(other, entity_id("job", b), then)

    assert (one.key == two.key) == ((one.entity, kind, when) == (two.entity, other, then))


def test_a_notification_is_named_by_what_is_owed_to_whom() -> None:
    """So that a rebuilt outbox gives the same Message-ID."""
    one = Notification("key", "job/x", "a@x.org", Audience.OWNER, "mail")

    assert one.id == Notification("key", "job/x", "a@x.org", Audience.SUBMITTER, "box", bundle="b").id
    assert one.id != Notification("key", "job/x", "b@x.org", Audience.OWNER, "mail").id


@pytest.mark.parametrize("text", ["a@b.org", "first.last+tag@sub.uni.example", "x@localhost", "o'neil@x.org"])
def test_a_bare_address_is_one(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a@", "@b", "a@b@c", "a b@c.org", "a@b.org\n", "a@b.org\nBcc: x@y.org", "<a@b.org>", "a@b.org,c@d.org",
     "Name <a@b.org>", "\x1b[1ma@b.org", "a@-b.org", "ä@b.org", "a" * 250 + "@b.org", "a@b.org "],
)  # fmt: skip
def test_what_could_break_a_header_is_no_address(text: str) -> None:
    """X11"""
    assert not is_address(text)
