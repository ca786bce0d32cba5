"""The options and runs of emitted jobs that are stored until they end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from syftnotify.core.emitted_jobs import merge_options, with_job_options
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from tests.support import BO, FUZZ_FACTOR

CY = "cy@lab.example"

jobs_events = st.builds(
    Event,
    st.sampled_from([kind for kind in EventKind if kind.value.startswith("job_")]),
    st.sampled_from(["a", "b"]),
    st.text(max_size=2),
    payload=st.dictionaries(st.sampled_from(["name"]), st.text(max_size=2)),
    routing=st.fixed_dictionaries(
        {},
        optional={
            "user": st.text(min_size=1, max_size=2),
            "notify": st.fixed_dictionaries({}, optional={"emails": st.just([BO]), "on": st.just(["job_failed"])}),
        },
    ),
    emitted=st.just(True),
)


@settings(max_examples=30 * FUZZ_FACTOR)
@given(st.lists(jobs_events, max_size=8), st.integers(0, 8))
def test_with_job_options_is_the_same_in_one_batch_or_two(events: list[Event], cut: int) -> None:
    """A14: where a scan ends makes no difference."""
    whole, at_once = with_job_options(events, {}, 1.0)
    first, kept = with_job_options(events[:cut], {}, 1.0)
    second, changed = with_job_options(events[cut:], {name: job for name, job in kept.items() if job}, 1.0)

    assert [*first, *second] == whole
    assert {**kept, **changed} == at_once


def test_merge_options_keeps_options_not_given_again() -> None:
    """A14"""
    earlier = {"user": "a", "tags": ["x"], "notify": {"emails": [BO], "on": ["job_failed"]}}

    assert merge_options(earlier, {}) == earlier
    assert merge_options({}, earlier) == earlier
    assert merge_options(earlier, {"tags": ["y"], "notify": {"emails": [CY]}}) == {
        "user": "a",
        "tags": ["y"],
        "notify": {"emails": [CY], "on": ["job_failed"]},
    }
