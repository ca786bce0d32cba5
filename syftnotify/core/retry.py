"""Retry policy: the class of a failure, the decision that follows from it, and the backoff.

All transports use this one table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from syftnotify.core.errors import Failure

# Durations in seconds.
BACKOFF_BASE = 30.0
BACKOFF_MAX = 3600.0
GIVE_UP_AFTER = 72 * 3600.0  # since the first failure
# A notification is given up after this many attempts at the earliest: a machine that was suspended for a week has not
# tried for a week.
GIVE_UP_ATTEMPTS = 12
# Pause of a transport before the next probe.
AUTH_PROBE_INTERVAL = 300.0
QUOTA_PROBE_INTERVAL = 3600.0
# In effect until the worker is restarted, after somebody has corrected the address.
GONE_PAUSE = 365 * 86400.0
_MAX_RETRY_AFTER = 7 * 86400.0

# Reasons in error responses of Google, lower case, without underscores. Rate limits have status 403 as well as 429.
# Source: https://developers.google.com/workspace/gmail/api/guides/handle-errors
_RATE_REASONS = frozenset({"ratelimitexceeded", "userratelimitexceeded", "quotaexceeded"})
_DAILY_REASONS = frozenset({"dailylimitexceeded"})
# The Google project is not set up. That concerns every recipient, so messages are kept until it is corrected.
_SETUP_REASONS = frozenset(
    {"accessnotconfigured", "servicedisabled", "insufficientpermissions", "accesstokenscopeinsufficient"}
)
# Enhanced status codes of mail servers. 5.4.5 is the daily limit of the sender, although it looks permanent. Replies
# 530 to 538 concern authentication (RFC 4954), in whatever stage they arrive.
_ENHANCED = re.compile(r"\s*(\d\.\d{1,3}\.\d{1,3})\b")
_RECIPIENT_CODES = re.compile(r"5\.(?:1\.(?:[0-6]|10)|2\.\d+)$")
_DAILY_CODES = frozenset({"5.4.5", "4.4.5"})
_AUTH_CODES = frozenset({530, 534, 535, 538})
_TEMPORARY_STATUSES = frozenset({408, 425, 429})
# The gateway or server failed after it had received the request, so the message may have been accepted.
_UNKNOWN_STATUSES = frozenset({500, 502, 504})
_RETRY_AFTER_TEXT = re.compile(
    r"retry after (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)", re.IGNORECASE
)


def failure_of_status(status: int, *, reason: str = "") -> Failure:
    """The failure class of an unsuccessful HTTP response, for any transport.

    `reason` is the reason that Google gives, in either spelling (`rateLimitExceeded`, `RATE_LIMIT_EXCEEDED`).
    401 is PERMANENT here; a transport that can refresh its credentials handles it before.
    """
    reason = reason.replace("_", "").lower()
    if reason in _DAILY_REASONS:
        return Failure.QUOTA
    if status == 403 and reason in _SETUP_REASONS:
        return Failure.AUTH
    if status in _UNKNOWN_STATUSES:
        return Failure.UNKNOWN
    is_rate_limit = status == 403 and reason in _RATE_REASONS
    if status in _TEMPORARY_STATUSES or 500 <= status < 600 or is_rate_limit:
        return Failure.TEMPORARY
    return Failure.PERMANENT


def failure_of_reply(code: int, text: str, *, about_us: bool = False) -> Failure:
    """The failure class of a mail server's negative reply, `code` 400 to 599.

    `about_us`: the server rejected the connection, the encryption or the authentication, not a message. Then the server
    is unreachable for now, or a person has to act; the recipient does not matter.
    """
    enhanced = _ENHANCED.match(text)
    if enhanced and enhanced.group(1) in _DAILY_CODES:
        return Failure.QUOTA
    if 400 <= code < 500:
        return Failure.UNREACHABLE if about_us else Failure.TEMPORARY
    return Failure.AUTH if about_us or code in _AUTH_CODES else Failure.PERMANENT


def is_about_recipient(text: str) -> bool:
    """Whether a mail server's negative reply concerns the recipient's address or mailbox, by its enhanced status code.

    Source: RFC 3463, 3.2 (X.1.7 and X.1.8 concern the sender) and 3.3.
    """
    enhanced = _ENHANCED.match(text)
    return enhanced is not None and _RECIPIENT_CODES.match(enhanced.group(1)) is not None


def backoff(failures: int, *, rand: Callable[[], float]) -> float:
    """Seconds to wait after `failures` failed attempts (1 or more).

    Exponential backoff with full jitter, so that messages which failed together are not retried together. `rand`
    returns a number from 0 to 1.

    Raises:
        ValueError: `failures` is below 1.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter
    """
    if failures < 1:
        raise ValueError("backoff needs at least one failure")
    return rand() * min(BACKOFF_MAX, BACKOFF_BASE * 2.0 ** min(failures - 1, 30))


def parse_retry_after(header: str | None, now: datetime, *, text: str = "") -> datetime | None:
    """The earliest time for a retry that the server gave, if any.

    Taken from a `Retry-After` header (seconds or date), otherwise from `text`, an error message of Google.
    """
    moment = _retry_after_header(header, now) if header else None
    if moment is None and (match := _RETRY_AFTER_TEXT.search(text)):
        try:
            moment = datetime.fromisoformat(match.group(1))
        except ValueError:
            return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _retry_after_header(header: str, now: datetime) -> datetime | None:
    value = header.strip()
    if value.isascii() and value.isdigit():
        return now + timedelta(seconds=min(int(value[:9]), _MAX_RETRY_AFTER))
    try:
        return parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class AttemptHistory:
    """The failed attempts of a notification before the current one."""

    failures: int
    temporary_failures: int  # of these, the ones that count against `max_retries`
    first_failed_at: float | None  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Decision:
    """The consequences of a failed attempt. Times in seconds."""

    gives_up: bool = False  # the notification becomes a dead letter
    wait: float = 0.0  # until the next attempt for this notification
    transport_wait: float = 0.0  # until the next attempt of the whole transport; 0: no pause
    pauses: bool = False  # the pause lasts until a probe succeeds, and a person may have to act first
    counts: bool = True  # counts as a failure of the notification
    is_temporary: bool = False  # counts against `max_retries`


# The outcome of a failed attempt in log lines: the transport failed, or this message was rejected. A daily limit and an
# endpoint that no longer exists concern every message.
_TRANSPORT, _DELIVERY = "FAILED_TRANSPORT", "FAILED_DELIVERY"
OUTCOME_LABELS = {
    Failure.UNREACHABLE: _TRANSPORT,
    Failure.AUTH: _TRANSPORT,
    Failure.CORRECTED: _TRANSPORT,
    Failure.UNKNOWN: _TRANSPORT,
    Failure.QUOTA: _TRANSPORT,
    Failure.GONE: _TRANSPORT,
    Failure.TEMPORARY: _DELIVERY,
    Failure.PERMANENT: _DELIVERY,
}

# Failures whose decision does not depend on the history.
_FIXED_DECISIONS = {
    Failure.PERMANENT: Decision(gives_up=True),
    Failure.GONE: Decision(gives_up=True, transport_wait=GONE_PAUSE, pauses=True),
    Failure.CORRECTED: Decision(counts=False),
    Failure.AUTH: Decision(transport_wait=AUTH_PROBE_INTERVAL, pauses=True, counts=False),
}


def decide(
    failure: Failure,
    history: AttemptHistory,
    *,
    now: float,
    rand: Callable[[], float],
    retry_after: float | None = None,
    max_retries: int | None = None,
    consecutive_timeouts: int = 1,
) -> Decision:
    """The consequences of an attempt that ended in `failure` at `now`.

    `retry_after` is the number of seconds until the earliest retry that the server allows; more than 7 days count as 7.
    `max_retries` is how many temporary rejections and unknown outcomes are retried; None: as many as fit into 72 h.
    `consecutive_timeouts` counts the attempts of the transport in a row that were unreachable or unknown, including
    this one. `rand` is for the jitter, see `backoff`.
    """
    server_wait = max(0.0, min(retry_after or 0.0, _MAX_RETRY_AFTER))
    if failure in _FIXED_DECISIONS:
        return _FIXED_DECISIONS[failure]
    if failure is Failure.QUOTA:
        return Decision(transport_wait=max(server_wait, QUOTA_PROBE_INTERVAL), pauses=True, counts=False)
    is_unreachable = failure is Failure.UNREACHABLE
    if max_retries == 0:  # the transport backs off all the same
        pause = backoff(consecutive_timeouts, rand=rand) if is_unreachable else 0.0
        return Decision(gives_up=True, transport_wait=pause, is_temporary=not is_unreachable)
    if _is_expired(history, now):
        return Decision(gives_up=True)
    if is_unreachable:
        return Decision(transport_wait=backoff(consecutive_timeouts, rand=rand))
    if max_retries is not None and history.temporary_failures >= max_retries:
        return Decision(gives_up=True, is_temporary=True)
    wait = max(server_wait, backoff(history.temporary_failures + 1, rand=rand))
    if failure is Failure.TEMPORARY or consecutive_timeouts <= 1:
        return Decision(wait=wait, is_temporary=True)
    # After several unknown outcomes in a row the whole transport backs off; otherwise every queued message could be
    # sent twice.
    return Decision(wait=wait, transport_wait=backoff(consecutive_timeouts - 1, rand=rand), is_temporary=True)


def _is_expired(history: AttemptHistory, now: float) -> bool:
    """Whether the notification has been tried long and often enough, this attempt included."""
    is_old = history.first_failed_at is not None and now - history.first_failed_at >= GIVE_UP_AFTER
    return is_old and history.failures + 1 >= GIVE_UP_ATTEMPTS
