"""Retry decisions: the failure class of an answer, and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.core.errors import Failure
from syftnotify.core.retry import (
    BACKOFF_MAX,
    GIVE_UP_AFTER,
    GIVE_UP_ATTEMPTS,
    AttemptHistory,
    backoff,
    decide,
    failure_of_reply,
    failure_of_status,
    is_about_recipient,
    parse_retry_after,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FRESH = AttemptHistory(failures=0, temporary_failures=0, first_failed_at=None)


def full_jitter(low: float = 1.0) -> float:
    """A random number that gives the longest wait of full jitter."""
    return low


@pytest.mark.parametrize(
    ("status", "reason", "failure"),
    [
        (408, "", Failure.TEMPORARY),
        (429, "", Failure.TEMPORARY),
        (500, "", Failure.UNKNOWN),
        (502, "", Failure.UNKNOWN),
        (504, "", Failure.UNKNOWN),
        (501, "", Failure.TEMPORARY),
        (503, "", Failure.TEMPORARY),
        (599, "", Failure.TEMPORARY),
        (403, "rateLimitExceeded", Failure.TEMPORARY),
        (403, "userRateLimitExceeded", Failure.TEMPORARY),
        (403, "dailyLimitExceeded", Failure.QUOTA),
        (429, "dailyLimitExceeded", Failure.QUOTA),
        (403, "RATE_LIMIT_EXCEEDED", Failure.TEMPORARY),
        (403, "accessNotConfigured", Failure.AUTH),
        (403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", Failure.AUTH),
        (403, "forbidden", Failure.PERMANENT),
        (403, "", Failure.PERMANENT),
        (400, "", Failure.PERMANENT),
        (401, "", Failure.PERMANENT),
        (404, "", Failure.PERMANENT),
        (410, "", Failure.PERMANENT),
        (302, "", Failure.PERMANENT),
        (307, "", Failure.PERMANENT),
    ],
)
def test_failure_of_status(status: int, reason: str, failure: Failure) -> None:
    assert failure_of_status(status, reason=reason) is failure


@pytest.mark.parametrize(
    ("code", "text", "failure"),
    [
        (421, "4.3.2 too busy", Failure.TEMPORARY),
        (450, "4.2.1 mailbox busy", Failure.TEMPORARY),
        (451, "", Failure.TEMPORARY),
        (452, "4.2.2 mailbox full", Failure.TEMPORARY),
        (454, "4.7.0 no encryption now", Failure.TEMPORARY),
        (499, "", Failure.TEMPORARY),
        (452, "4.4.5 daily quota", Failure.QUOTA),
        (550, "5.4.5 daily quota exceeded", Failure.QUOTA),
        (554, " 5.4.5 daily quota exceeded", Failure.QUOTA),
        (550, "5.1.1 no such user", Failure.PERMANENT),
        (550, "5.4.50 something else", Failure.PERMANENT),
        (550, "15.4.5 something else", Failure.PERMANENT),
        (550, "5.1.1 see 5.4.5", Failure.PERMANENT),
        (550, "", Failure.PERMANENT),
        (552, "5.3.4 too large", Failure.PERMANENT),
        (553, "5.1.3 what an address", Failure.PERMANENT),
        (554, "5.7.1 looks like spam", Failure.PERMANENT),
        (599, "", Failure.PERMANENT),
        (530, "5.7.0 sign in first", Failure.AUTH),
        (534, "5.7.9 too weak", Failure.AUTH),
        (535, "5.7.8 not you", Failure.AUTH),
        (538, "5.7.11 encrypt first", Failure.AUTH),
    ],
)
def test_failure_of_reply_is_decided_by_code_and_enhanced_code(code: int, text: str, failure: Failure) -> None:
    """X03: the code decides, and of the text only the enhanced code in front (RFC 3463)."""
    assert failure_of_reply(code, text) is failure


@pytest.mark.parametrize(
    ("code", "text", "failure"),
    [
        (421, "4.3.2 too busy", Failure.UNREACHABLE),
        (454, "4.7.0 later", Failure.UNREACHABLE),
        (550, "5.4.5 daily quota exceeded", Failure.QUOTA),
        (535, "", Failure.AUTH),
        (550, "5.7.1 your address is blocked", Failure.AUTH),
        (554, "", Failure.AUTH),
        (502, "", Failure.AUTH),
    ],
)
def test_failure_of_reply_about_the_connection_is_no_message_failure(code: int, text: str, failure: Failure) -> None:
    """X07: greeting, EHLO, STARTTLS, AUTH: nothing is lost while a person fixes that."""
    assert failure_of_reply(code, text, about_us=True) is failure


@pytest.mark.parametrize(
    ("text", "is_about"),
    [
        ("5.1.1 no such user", True),
        ("5.1.10 null MX", True),
        ("5.2.2 mailbox full", True),
        ("5.1.7 bad sender", False),
        ("5.1.8 bad sender's domain", False),
        ("5.7.1 relaying denied", False),
        ("no such user", False),
    ],
)
def test_is_about_recipient_reads_the_enhanced_code(text: str, is_about: bool) -> None:
    """A3"""
    assert is_about_recipient(text) is is_about


@given(st.integers(400, 599), st.text(max_size=40), st.booleans())
def test_failure_of_reply_any_text_has_a_failure_class(code: int, text: str, about_us: bool) -> None:
    """X11"""
    meanings = {Failure.UNREACHABLE, Failure.TEMPORARY, Failure.PERMANENT, Failure.QUOTA, Failure.AUTH}

    assert failure_of_reply(code, text, about_us=about_us) in meanings


@pytest.mark.parametrize(("failures", "longest"), [(1, 30), (2, 60), (3, 120), (7, 1920), (8, 3600), (5000, 3600)])
def test_backoff_doubles_up_to_an_hour(failures: int, longest: float) -> None:
    """G10"""
    assert backoff(failures, rand=full_jitter) == longest
    assert backoff(failures, rand=lambda: 0.0) == 0.0


def test_backoff_without_failures_raises() -> None:
    with pytest.raises(ValueError, match="at least one failure"):
        backoff(0, rand=full_jitter)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_never_longer_than_an_hour(failures: int, chance: float) -> None:
    assert 0 <= backoff(failures, rand=lambda: chance) <= BACKOFF_MAX


@pytest.mark.parametrize(
    ("header", "text", "seconds"),
    [
        ("120", "", 120),
        (" 7 ", "", 7),
        ("Sat, 21 Nov 2026 12:01:00 GMT", "", 60),
        (None, "User-rate limit exceeded.  Retry after 2026-11-21T12:05:00.123Z", 300.123),
        (None, "Retry after 2026-11-21T12:05:00+00:00 (Mail sending)", 300),
        ("soon", "", None),
        ("Fri, 31 Dec 99999999999999999999 12:00:00 GMT", "", None),
        ("-5", "", None),
        ("", "", None),
        (None, "no time in it", None),
    ],
)
def test_parse_retry_after_reads_header_and_text(header: str | None, text: str, seconds: float | None) -> None:
    parsed = parse_retry_after(header, NOW, text=text)

    assert parsed == (None if seconds is None else NOW + timedelta(seconds=seconds))


@given(st.text(max_size=60), st.text(max_size=60))
def test_parse_retry_after_any_text_is_a_time_or_none(header: str, text: str) -> None:
    parsed = parse_retry_after(header, NOW, text=text)

    assert parsed is None or parsed.tzinfo is not None


def test_decide_permanent_gives_up() -> None:
    assert decide(Failure.PERMANENT, FRESH, now=0.0, rand=full_jitter).gives_up


def test_decide_temporary_waits_for_the_later_of_hint_and_backoff() -> None:
    assert decide(Failure.TEMPORARY, FRESH, now=0.0, retry_after=500.0, rand=full_jitter).wait == 500.0
    assert decide(Failure.TEMPORARY, FRESH, now=0.0, retry_after=1.0, rand=full_jitter).wait == 30.0
    assert decide(Failure.TEMPORARY, FRESH, now=0.0, retry_after=-99.0, rand=full_jitter).wait == 30.0


@pytest.mark.parametrize(
    ("max_retries", "temporary_failures", "gives_up"), [(0, 0, True), (3, 2, False), (3, 3, True), (None, 99, False)]
)
@pytest.mark.parametrize("failure", [Failure.TEMPORARY, Failure.UNKNOWN])
def test_decide_max_retries_counts_temporary_and_unknown_attempts(
    failure: Failure, max_retries: int | None, temporary_failures: int, gives_up: bool
) -> None:
    """Decisions: retry or not; resends of unknown outcomes are bounded like other retries."""
    history = AttemptHistory(failures=temporary_failures, temporary_failures=temporary_failures, first_failed_at=0.0)
    decision = decide(failure, history, now=10.0, max_retries=max_retries, rand=full_jitter)

    assert decision.gives_up is gives_up
    assert decision.is_temporary


def test_decide_unreachable_pauses_the_transport_and_uses_no_retry() -> None:
    spent = AttemptHistory(failures=9, temporary_failures=3, first_failed_at=0.0)
    decision = decide(Failure.UNREACHABLE, spent, now=0.0, max_retries=3, consecutive_timeouts=3, rand=full_jitter)

    assert not decision.gives_up
    assert not decision.is_temporary
    assert (decision.wait, decision.transport_wait) == (0.0, 120.0)


@pytest.mark.parametrize("failure", [Failure.UNREACHABLE, Failure.TEMPORARY, Failure.UNKNOWN])
def test_decide_zero_retries_gives_up_after_one_attempt(failure: Failure) -> None:
    """Decisions: 0 is fire and forget."""
    decision = decide(failure, FRESH, now=0.0, max_retries=0, rand=full_jitter)

    assert decision.gives_up
    assert decision.transport_wait == (30.0 if failure is Failure.UNREACHABLE else 0.0)


@pytest.mark.parametrize("failure", [Failure.UNREACHABLE, Failure.TEMPORARY, Failure.UNKNOWN])
def test_decide_gives_up_after_72_hours_of_attempts(failure: Failure) -> None:
    tried = AttemptHistory(failures=GIVE_UP_ATTEMPTS, temporary_failures=GIVE_UP_ATTEMPTS, first_failed_at=0.0)

    assert decide(failure, tried, now=GIVE_UP_AFTER, rand=full_jitter).gives_up
    assert not decide(failure, tried, now=GIVE_UP_AFTER - 1, rand=full_jitter).gives_up


def test_decide_long_sleep_is_no_72_hours_of_attempts() -> None:
    asleep = AttemptHistory(failures=1, temporary_failures=0, first_failed_at=0.0)

    assert not decide(Failure.UNREACHABLE, asleep, now=GIVE_UP_AFTER * 3, rand=full_jitter).gives_up


@pytest.mark.parametrize("failure", [Failure.AUTH, Failure.QUOTA])
def test_decide_auth_or_quota_pauses_the_transport_and_counts_nothing(failure: Failure) -> None:
    old = AttemptHistory(failures=500, temporary_failures=500, first_failed_at=0.0)
    decision = decide(failure, old, now=GIVE_UP_AFTER * 9, max_retries=0, rand=full_jitter)

    assert decision.pauses
    assert decision.transport_wait > 0
    assert not decision.gives_up
    assert not decision.counts


def test_decide_refreshed_token_retries_at_once() -> None:
    decision = decide(Failure.CORRECTED, FRESH, now=0.0, max_retries=0, rand=full_jitter)

    assert (decision.wait, decision.transport_wait, decision.counts, decision.gives_up) == (0.0, 0.0, False, False)


@pytest.mark.parametrize(
    ("temporary_failures", "consecutive_timeouts", "wait", "transport_wait"),
    [(0, 1, 30, 0), (3, 1, 240, 0), (0, 2, 30, 30), (0, 3, 30, 60), (1, 4, 60, 120), (9, 40, 3600, 3600)],
)
def test_decide_unknown_waits_and_two_in_a_row_pause_the_transport(
    temporary_failures: int, consecutive_timeouts: int, wait: float, transport_wait: float
) -> None:
    """X03: one lost connection holds nothing up; several do, so that not every message is sent twice."""
    history = AttemptHistory(failures=temporary_failures, temporary_failures=temporary_failures, first_failed_at=0.0)
    decision = decide(Failure.UNKNOWN, history, now=10.0, consecutive_timeouts=consecutive_timeouts, rand=full_jitter)

    assert (decision.wait, decision.transport_wait) == (wait, transport_wait)
    assert not decision.gives_up
    assert not decision.pauses, "no action is needed"
    assert decision.counts
