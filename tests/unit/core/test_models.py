"""Keys of events and ids of notifications."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(
    names,
    st.sampled_from(list(EventKind)),
    st.text(max_size=30),
    names,
    st.sampled_from(list(EventKind)),
    st.text(max_size=30),
)
def test_event_key_equals_only_for_the_same_fact(
    a: str, kind: EventKind, when: str, b: str, other: EventKind, then: str
) -> None:
    one, two = Event(kind, entity_id("job", a), when), Event(other, entity_id("job", b), then)

    assert (one.key == two.key) == ((one.entity, kind, when) == (two.entity, other, then))


def test_notification_id_depends_on_event_and_recipient_only() -> None:
    """A rebuilt outbox gives the same Message-ID."""
    one = Notification("key", "job/x", "a@x.org", Audience.OWNER, "mail")

    assert one.id == Notification("key", "job/x", "a@x.org", Audience.SUBMITTER, "box", bundle="b").id
    assert one.id != Notification("key", "job/x", "b@x.org", Audience.OWNER, "mail").id
