"""Sliding windows and the throttle of a recipient."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.core.throttle import (
    DEFAULT_INTERVAL,
    DEFAULT_THRESHOLD,
    DEFAULT_WINDOW,
    RecipientThrottle,
    SlidingWindow,
)

READER = "o@x.org"
OTHER = "b@x.org"
TEN_MINUTES = 600.0


def filled_window(count: int, *, at: float = 1000.0, threshold: int = 3, seconds: float = 10.0) -> SlidingWindow:
    window = SlidingWindow(threshold, seconds)
    for _ in range(count):
        window.record("key", at)
    return window


def test_throttle_defaults() -> None:
    """X06: 200 messages to one recipient in ten minutes, one digest in ten minutes."""
    assert (DEFAULT_THRESHOLD, DEFAULT_WINDOW, DEFAULT_INTERVAL) == (200, 600, 600)


@pytest.mark.parametrize(("count", "is_full"), [(0, False), (2, False), (3, True), (4, True), (99, True)])
def test_window_is_full_at_its_threshold(count: int, is_full: bool) -> None:
    assert filled_window(count).is_full("key", 1000.0) is is_full


@pytest.mark.parametrize(("later", "is_full"), [(0, True), (9.999, True), (10, False), (1e9, False)])
def test_window_drops_entries_as_old_as_its_length(later: float, is_full: bool) -> None:
    assert filled_window(3).is_full("key", 1000.0 + later) is is_full


def test_window_slides() -> None:
    window = SlidingWindow(3, 10.0)
    for moment in (0.0, 4.0, 8.0):
        window.record("key", moment)

    assert window.is_full("key", 9.0)
    assert not window.is_full("key", 10.0), "the first is forgotten"
    window.record("key", 10.0)
    assert window.is_full("key", 13.0)
    assert not window.is_full("key", 14.0)


def test_window_counts_each_key_alone() -> None:
    window = filled_window(3)

    assert not window.is_full("another", 1000.0)


def test_window_undo_removes_an_entry() -> None:
    window = filled_window(2)
    window.record("key", 1001.0)
    window.undo("key", 1001.0)

    assert not window.is_full("key", 1001.0)
    window.record("key", 1002.0)
    assert window.is_full("key", 1002.0)


def test_window_undo_of_an_excess_entry_leaves_it_full() -> None:
    window = filled_window(3)
    window.record("key", 1001.0)
    window.undo("key", 1001.0)

    assert window.is_full("key", 1001.0)


def test_window_undo_of_an_unknown_entry_changes_nothing() -> None:
    window = filled_window(3)
    window.undo("key", 999.0)
    window.undo("another", 1000.0)

    assert window.is_full("key", 1000.0)


@pytest.mark.parametrize("jump", [-0.5, -3600.0, -1e9, 1e9])
def test_window_starts_over_when_the_clock_jumps(jump: float) -> None:
    """Promise 4: neither are messages withheld for a year, nor is the limit lost."""
    window = filled_window(3)

    assert not window.is_full("key", 1000.0 + jump)
    for _ in range(3):
        window.record("key", 1000.0 + jump)
    assert window.is_full("key", 1000.0 + jump)
    assert not window.is_full("key", 1000.0 + jump + 10.0)


@given(st.lists(st.floats(0, 50), max_size=30), st.floats(0, 60))
def test_window_agrees_with_a_count(moments: list[float], now: float) -> None:
    window = SlidingWindow(3, 10.0)
    for moment in sorted(moments):
        window.record("key", moment)
    now = max([now, *moments])

    assert window.is_full("key", now) is (sum(now - moment < 10.0 for moment in moments) >= 3)


def full_throttle(at: float = 0.0) -> RecipientThrottle:
    throttle = RecipientThrottle()
    for _ in range(DEFAULT_THRESHOLD):
        throttle.record(READER, "", at)
    return throttle


def test_throttle_above_the_threshold_makes_digests() -> None:
    """X06"""
    throttle = RecipientThrottle()
    for number in range(DEFAULT_THRESHOLD):
        assert throttle.digest_window(READER, "box", float(number) / 10) is None
        throttle.record(READER, "", float(number) / 10)

    assert throttle.digest_window(READER, "box", 20.0) is not None
    assert throttle.digest_window(OTHER, "box", 20.0) is None


def test_window_drops_keys_that_never_return() -> None:
    """A13: a worker runs for a year, and senders can invent keys."""
    window = SlidingWindow(3, 10.0)
    for number in range(1000):
        window.record(f"key {number}", float(number))

    assert len(window._times) <= 20


def test_throttle_first_digest_is_due_at_once_the_next_after_the_interval() -> None:
    """X06"""
    throttle = full_throttle()
    first = throttle.digest_window(READER, "box", 5.0)
    assert first is not None
    assert first.not_before == 5.0
    throttle.record(READER, first.bundle, 5.0)

    later = [throttle.digest_window(READER, "box", moment) for moment in (5.0, 100.0, 599.0)]
    assert {window.not_before for window in later if window} == {5.0 + TEN_MINUTES}
    assert len({window.bundle for window in later if window}) == 1, "one digest holds all until then"
    assert later[0] is not None
    assert later[0].bundle != first.bundle


def test_throttle_undone_digest_delays_nothing() -> None:
    throttle = full_throttle()
    first = throttle.digest_window(READER, "box", 5.0)
    assert first is not None
    throttle.record(READER, first.bundle, 5.0)
    throttle.undo(READER, first.bundle, 5.0)

    again = throttle.digest_window(READER, "box", 50.0)
    assert again is not None
    assert again.not_before == 50.0


@pytest.mark.parametrize("jump", [-1e8, -60.0])
def test_throttle_digest_in_the_future_delays_nothing(jump: float) -> None:
    """Promise 4: the clock was set back."""
    throttle = full_throttle()
    throttle.record(READER, "storm-1", 0.0)
    for _ in range(DEFAULT_THRESHOLD):
        throttle.record(READER, "", jump)

    window = throttle.digest_window(READER, "box", jump)
    assert window is not None
    assert window.not_before == jump


def test_throttle_bundle_of_another_kind_counts_as_a_message() -> None:
    throttle = full_throttle()
    throttle.record(READER, "bundle-1", 0.0)

    window = throttle.digest_window(READER, "box", 1.0)
    assert window is not None
    assert window.not_before == 1.0


@pytest.mark.thorough
@given(st.lists(st.tuples(st.floats(0, 40), st.integers(1, 60)), max_size=60))
def test_throttle_limit_holds_for_any_rate_of_messages(bursts: list[tuple[float, int]]) -> None:
    """X06: at most 200 messages and one digest in any ten minutes."""
    throttle, now, left = RecipientThrottle(), 0.0, []
    waiting: dict[str, float] = {}
    for pause, count in bursts:
        now += pause
        for bundle in [bundle for bundle, moment in waiting.items() if moment <= now]:
            del waiting[bundle]
            throttle.record(READER, bundle, now)
            left.append(now)
        for _ in range(count):
            window = throttle.digest_window(READER, "box", now)
            if window is None:
                throttle.record(READER, "", now)
                left.append(now)
            elif window.not_before <= now:
                throttle.record(READER, window.bundle, now)
                left.append(now)
            else:
                waiting[window.bundle] = window.not_before

    assert all(sum(0 <= moment - first < DEFAULT_WINDOW for moment in left) <= DEFAULT_THRESHOLD + 1 for first in left)
