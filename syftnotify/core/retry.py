"""What does an error mean, and when is the next try? The one table, pure: every transport uses it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from syftnotify.core.errors import Failure

FIRST_WAIT = 30.0  # seconds
LONGEST_WAIT = 3600.0  # seconds
GIVE_UP_AFTER = 72 * 3600.0  # seconds of trying
# A row is only given up after so many tries: a machine that slept for a week has not tried for a week.
GIVE_UP_TRIES = 12
# How long a transport rests when its sign-in died or a daily limit was reached, before it is probed again.
SIGN_IN_PROBE = 300.0
LIMIT_PROBE = 3600.0
# An address that is no more is asked again when somebody has seen to it and the worker is started anew.
GONE_REST = 365 * 86400.0

# Google says "too fast" with 403 as well as with 429.
# Source: https://developers.google.com/workspace/gmail/api/guides/handle-errors
RATE_REASONS = frozenset({"ratelimitexceeded", "userratelimitexceeded", "quotaexceeded"})
DAILY_REASONS = frozenset({"dailylimitexceeded"})
# The installation is not set up, whoever the recipient is: nothing is lost while a person mends that.
SETUP_REASONS = frozenset(
    {"accessnotconfigured", "servicedisabled", "insufficientpermissions", "accesstokenscopeinsufficient"}
)
# Replies of mail servers. 5.4.5 looks permanent and is not: a daily limit of the sender's. 530 to 538 are about signing
# in (RFC 4954), wherever they come.
_ENHANCED = re.compile(r"\s*(\d\.\d{1,3}\.\d{1,3})\b")
_RECIPIENT_CODES = re.compile(r"5\.(?:1\.(?:[0-6]|10)|2\.\d+)$")
_DAILY_CODES = frozenset({"5.4.5", "4.4.5"})
_SIGN_IN_CODES = frozenset({530, 534, 535, 538})
_TEMPORARY_STATUSES = frozenset({408, 425, 429})
# The gateway or server gave up after it had the request: the message may have been accepted.
_UNKNOWN_STATUSES = frozenset({500, 502, 504})
_RETRY_AFTER_TEXT = re.compile(
    r"retry after (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)", re.IGNORECASE
)


def failure_of_status(status: int, *, reason: str = "") -> Failure:
    """The failure class of an HTTP response other than success, for any transport.

    `reason` is Google's word where it gave one, in either spelling (`rateLimitExceeded`, `RATE_LIMIT_EXCEEDED`).
    A 401 counts as a refusal here: only a transport that can sign in again knows better.
    """
    word = reason.replace("_", "").lower()
    if word in DAILY_REASONS:
        return Failure.QUOTA
    if status == 403 and word in SETUP_REASONS:
        return Failure.AUTH
    if status in _UNKNOWN_STATUSES:
        return Failure.UNKNOWN
    if status in _TEMPORARY_STATUSES or 500 <= status < 600 or (status == 403 and word in RATE_REASONS):
        return Failure.TEMPORARY
    return Failure.PERMANENT


def failure_of_reply(code: int, text: str, *, about_us: bool = False) -> Failure:
    """What a mail server's refusal (a code of 400 to 599) means.

    `about_us` says that it refused the connection, the encryption or the sign-in, and no message: for now the server
    cannot be reached, or a person must act, whoever the recipient is.
    """
    enhanced = _ENHANCED.match(text)
    if enhanced and enhanced.group(1) in _DAILY_CODES:
        return Failure.QUOTA
    if 400 <= code < 500:
        return Failure.UNREACHABLE if about_us else Failure.TEMPORARY
    return Failure.AUTH if about_us or code in _SIGN_IN_CODES else Failure.PERMANENT


def is_about_recipient(text: str) -> bool:
    """Whether a mail server's refusal concerns the recipient's address or mailbox, by its enhanced code.

    Source: RFC 3463, 3.2 (X.1.7 and X.1.8 concern the sender) and 3.3.
    """
    enhanced = _ENHANCED.match(text)
    return enhanced is not None and _RECIPIENT_CODES.match(enhanced.group(1)) is not None


def backoff(failures: int, *, rand: Callable[[], float] = random.random) -> float:
    """Seconds to wait after `failures` attempts have failed (1 or more).

    Doubles from 30 s to at most 1 h, "full jitter", so that mails which failed together do not all return together.

    Raises:
        ValueError: `failures` is below 1; a first attempt never waits.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter
    """
    if failures < 1:
        raise ValueError("a first attempt never waits")
    return rand() * min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 30))


def retry_after(header: str | None, now: datetime, *, text: str = "") -> datetime | None:
    """The moment that the other side named: a `Retry-After` header (seconds or date), or the time in Google's text."""
    named: datetime | None = None
    if header:
        word = header.strip()
        if word.isascii() and word.isdigit():
            named = now + timedelta(seconds=min(int(word[:9]), 7 * 86400))
        else:
            try:
                named = parsedate_to_datetime(word)
            except (ValueError, OverflowError):
                named = None
    if named is None and (match := _RETRY_AFTER_TEXT.search(text)):
        try:
            named = datetime.fromisoformat(match.group(1))
        except ValueError:
            named = None
    if named is not None and named.tzinfo is None:
        named = named.replace(tzinfo=UTC)
    return named


@dataclass(frozen=True, slots=True)
class AttemptHistory:
    """What is known of a notification when one more attempt has failed."""

    failures: int  # before this attempt
    refusals: int  # of these, how many count against `max_retries`
    first_failed_at: float | None  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a failed attempt.

    `gives_up`: dead letter. `wait`: seconds until this notification may be tried again. `transport_wait`: seconds
    until the whole transport may, 0 for no rest; `pauses` says that a person may have to act first.
    """

    gives_up: bool = False
    wait: float = 0.0
    transport_wait: float = 0.0
    pauses: bool = False
    counts: bool = True
    refusal: bool = False  # counts against `max_retries`


# The outcome of a failed attempt as the log and `GmailSender` name it: did the transport fail, or was this message
# rejected. A daily limit or an endpoint that no longer exists concerns every message.
_TRANSPORT, _DELIVERY = "FAILED_TRANSPORT", "FAILED_DELIVERY"
OUTCOME_LABELS = {
    Failure.UNREACHABLE: _TRANSPORT,
    Failure.AUTH: _TRANSPORT,
    Failure.TOKEN_REFRESHED: _TRANSPORT,
    Failure.UNKNOWN: _TRANSPORT,
    Failure.QUOTA: _TRANSPORT,
    Failure.GONE: _TRANSPORT,
    Failure.TEMPORARY: _DELIVERY,
    Failure.PERMANENT: _DELIVERY,
}

# What needs no counting.
_ALWAYS = {
    Failure.PERMANENT: Decision(gives_up=True),
    Failure.GONE: Decision(gives_up=True, transport_wait=GONE_REST, pauses=True),
    Failure.TOKEN_REFRESHED: Decision(counts=False),
    Failure.AUTH: Decision(transport_wait=SIGN_IN_PROBE, pauses=True, counts=False),
}


def decide(
    failure: Failure,
    standing: AttemptHistory,
    *,
    now: float,
    hint: float | None = None,
    max_retries: int | None = None,
    silences: int = 1,
    rand: Callable[[], float] = random.random,
) -> Decision:
    """What follows when an attempt ended in `failure`.

    `hint` is in seconds until the moment that the other side named. `max_retries` is how many temporary
    rejections and unknown outcomes are tried again, None for as long as 72 h, 0 for no second attempt at all.
    `silences` is how many attempts of the transport in a row were unreachable or unknown, this one included.
    """
    hinted = max(0.0, min(hint or 0.0, 7 * 86400.0))
    if failure in _ALWAYS:
        return _ALWAYS[failure]
    if failure is Failure.QUOTA:
        return Decision(transport_wait=max(hinted, LIMIT_PROBE), pauses=True, counts=False)
    if max_retries == 0:  # fire and forget; a transport that is down rests all the same
        rest = backoff(silences, rand=rand) if failure is Failure.UNREACHABLE else 0.0
        return Decision(gives_up=True, transport_wait=rest, refusal=failure is not Failure.UNREACHABLE)
    tries = standing.failures + 1
    long_enough = standing.first_failed_at is not None and now - standing.first_failed_at >= GIVE_UP_AFTER
    if long_enough and tries >= GIVE_UP_TRIES:
        return Decision(gives_up=True)
    if failure is Failure.UNREACHABLE:
        return Decision(transport_wait=backoff(silences, rand=rand))
    if max_retries is not None and standing.refusals >= max_retries:
        return Decision(gives_up=True, refusal=True)
    wait = max(hinted, backoff(standing.refusals + 1, rand=rand))
    if failure is Failure.TEMPORARY:
        return Decision(wait=wait, refusal=True)
    # A transport with several unknown outcomes in a row backs off as a whole, so that not every queued message is sent
    # twice.
    rest = backoff(silences - 1, rand=rand) if silences > 1 else 0.0
    return Decision(wait=wait, transport_wait=rest, refusal=True)
