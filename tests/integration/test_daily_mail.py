"""The daily mail: one per local day, only while all is well; the clock is injected."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.services.demo import Tree as DemoTree
from syftnotify.services.settings import load
from tests.fakes.google import Google
from tests.health_boxes import configure_daily, configure_heartbeat, heartbeats
from tests.scanning import scan_once
from tests.support import ANA, OWNER, Box, worker_in_process
from tests.workers import CODE, configure

DAY, HOUR, MINUTE = 86400.0, 3600.0, 60.0


# Central Europe, as a POSIX rule: independent of the time zone database.
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.fixture
def berlin() -> Iterator[None]:
    """Set the time zone of this process to that of Central Europe."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", BERLIN)
        time.tzset()
        yield
    time.tzset()


def timestamp(text: str) -> float:
    """Seconds since 1970 of an ISO time, by default in the local zone."""
    return datetime.fromisoformat(text).astimezone().timestamp()


def heartbeat_times(box: Box, *moments: str) -> list[str]:
    """Scan with one worker at each of `moments`; returns those at which a daily mail was sent."""
    sent_at = []
    with worker_in_process(box) as scan:
        for text in moments:
            known = len(heartbeats(box))
            box.clock.advance(MINUTE)
            box.clock.now = timestamp(text)  # only the wall clock is set
            scan()
            sent_at += [text] * (len(heartbeats(box)) - known)
    return sent_at


@pytest.mark.parametrize(
    ("text", "before", "at"),
    [
        ("true", "07:59", "08:00"),
        ("07:30", "07:29", "07:30"),
        ("18:30", "18:29", "18:30"),  # in YAML, a number of base 60
        ("'18:30'", "18:29", "18:30"),
        ("'23:59'", "23:58", "23:59"),
    ],
)
def test_daily_mail_is_sent_at_its_time(
    box: Box, tree_with_peer: DemoTree, berlin: None, text: str, before: str, at: str
) -> None:
    """B06: once a day, to the owner."""
    configure_daily(box, text)
    days = ["2027-01-11", "2027-01-12"]

    sent_at = heartbeat_times(box, *(f"{day}T{hour}" for day in days for hour in ("00:00", before, at, "23:59:59")))

    assert sent_at == [f"{day}T{at}" for day in days]
    assert heartbeats(box) == [OWNER, OWNER]


@pytest.mark.parametrize(
    ("text", "moments", "expected"),
    [
        pytest.param(
            "true",
            ["2027-01-11T13:40", "2027-01-11T14:00", "2027-01-12T07:00", "2027-01-12T23:00"],
            ["2027-01-11T13:40", "2027-01-12T23:00"],
            id="the machine was asleep",
        ),
        pytest.param(
            "true",
            ["2027-01-11T09:00", "2027-01-15T07:00", "2027-01-15T20:00"],
            ["2027-01-11T09:00", "2027-01-15T20:00"],
            id="days of downtime",
        ),
        pytest.param(
            "'02:30'",
            [
                *("2027-03-28T00:59+00:00", "2027-03-28T01:00+00:00", "2027-03-28T01:30+00:00"),
                *("2027-03-28T21:00+00:00", "2027-03-29T02:29", "2027-03-29T02:30", "2027-03-29T23:00"),
            ],
            ["2027-03-28T01:00+00:00", "2027-03-29T02:30"],
            id="an hour that does not exist on that day",
        ),
        pytest.param(
            "'02:30'",
            [
                *("2027-10-31T00:29+00:00", "2027-10-31T00:30+00:00", "2027-10-31T01:00+00:00"),
                *("2027-10-31T01:30+00:00", "2027-10-31T23:00", "2027-11-01T02:29", "2027-11-01T02:30"),
            ],
            ["2027-10-31T00:30+00:00", "2027-11-01T02:30"],
            id="an hour that exists twice on that day",
        ),
        pytest.param(
            "true",
            ["2027-01-11T08:10", "2027-01-11T07:10", "2027-01-11T08:00", "2027-01-11T08:10"],
            ["2027-01-11T08:10"],
            id="clock set back by an hour",
        ),
        pytest.param(
            "'00:10'",
            [
                *("2027-01-11T12:00", "2027-01-12T00:20", "2027-01-11T23:20"),
                *("2027-01-12T00:10", "2027-01-12T01:00"),
            ],
            ["2027-01-11T12:00", "2027-01-12T00:20"],
            id="clock set back by a day",
        ),
    ],
)
def test_daily_mail_is_sent_at_the_first_scan_after_its_time(
    box: Box, tree_with_peer: DemoTree, berlin: None, text: str, moments: list[str], expected: list[str]
) -> None:
    """B06: once a day, whatever the clock does."""
    configure_daily(box, text)

    assert heartbeat_times(box, *moments) == expected


@pytest.mark.parametrize("text", ["false", "null", "", "off"])
def test_daily_mail_switched_off_is_not_sent(box: Box, tree_with_peer: DemoTree, berlin: None, text: str) -> None:
    """B06."""
    configure_daily(box, text)

    assert heartbeat_times(box, "2027-01-11T00:00", "2027-01-11T12:00", "2027-01-12T00:00") == []


@pytest.mark.parametrize(
    "text",
    ["noon", "'25:00'", "'07:60'", "24:00", "-5", "7.5", "[]", "'07:30:00'", "''", "'7'", ".nan", "{at: '07:30'}"],
)
def test_daily_mail_invalid_time_is_a_config_error(box: Box, text: str) -> None:
    """B06, S15."""
    configure_daily(box, text)

    with pytest.raises(ConfigError) as caught:
        load(box.home)

    assert "heartbeat.daily: expected true, false or a time of day such as '07:30'" in str(caught.value)


def test_daily_mail_shows_counts(box: Box, tree_with_peer: DemoTree, berlin: None) -> None:
    """B06."""
    configure_daily(box, "'07:30'")
    box.clock.now = timestamp("2027-01-11T07:00")
    scan_once(box)
    tree_with_peer.submit(ANA, "survey", CODE)
    scan_once(box)
    box.clock.advance(HOUR)
    scan_once(box)

    (mail,) = [mail for mail in box.mails() if mail.event == "heartbeat"]
    assert mail.sent == ("heartbeat", "owner", OWNER)
    assert "is running and can send notifications" in mail.text
    assert "Tracking:     1 job, 1 peer" in mail.text
    assert "Sent:         2 messages since yesterday" in mail.text
    assert "Dead letters: 0" in mail.text
    assert "notify status" in mail.text


def test_daily_mail_is_not_repeated_after_a_restart(box: Box, tree_with_peer: DemoTree, berlin: None) -> None:
    """B06."""
    configure_daily(box, "true")
    box.clock.now = timestamp("2027-01-11T09:00")
    for _ in range(4):
        scan_once(box)
        box.clock.advance(HOUR)

    assert len(heartbeats(box)) == 1


def test_daily_mail_waits_for_a_successful_scan(box: Box, tree_with_peer: DemoTree, berlin: None) -> None:
    """B06."""
    configure_daily(box, "true")
    box.clock.now = timestamp("2027-01-11T08:00")
    with worker_in_process(box) as scan:
        for _ in range(3):
            scan(is_healthy=False)
            box.clock.advance(HOUR)
        assert heartbeats(box) == []
        scan()

    assert len(heartbeats(box)) == 1


def test_daily_mail_waits_while_a_transport_is_paused(
    google: Google, box: Box, tree_with_peer: DemoTree, berlin: None
) -> None:
    """B06, X07: not even through another transport, since it reports that all is well."""
    configure(box, google, heartbeat={"daily": "08:00"})
    google.write_token(box.home.token)
    box.clock.now = timestamp("2027-01-11T07:00")
    with worker_in_process(box) as scan:
        scan()
        google.revoke()
        tree_with_peer.submit(ANA, "survey", CODE)
        scan()
        box.clock.advance(2 * HOUR)
        assert scan().dispatcher.queues["mail"].health.pause_reason
        assert not [post for post in google.posts if post.event == "heartbeat"]

        google.write_token(box.home.token)
        box.clock.advance(HOUR)
        scan()
        scan()

    assert len([post for post in google.posts if post.event == "heartbeat"]) == 1
    assert heartbeats(box) == []


def test_heartbeat_interval_sends_one_mail_in_each_interval(box: Box, tree_with_peer: DemoTree, berlin: None) -> None:
    """B06."""
    configure_heartbeat(box, "every: 6h")

    assert heartbeat_times(
        box, "2027-01-11T01:30", "2027-01-11T06:59", "2027-01-11T07:00", "2027-01-11T12:00", "2027-01-12T18:30"
    ) == ["2027-01-11T01:30", "2027-01-11T07:00", "2027-01-12T18:30"]


def test_heartbeat_at_the_start_is_the_mail_of_its_interval(box: Box, tree_with_peer: DemoTree, berlin: None) -> None:
    """B06."""
    configure_heartbeat(box, "every: 6h\non_start: true")

    assert heartbeat_times(box, "2027-01-11T08:00", "2027-01-11T12:00", "2027-01-11T13:00") == [
        "2027-01-11T08:00",
        "2027-01-11T13:00",
    ]
    assert heartbeat_times(box, "2027-01-11T14:00") == ["2027-01-11T14:00"]  # another worker


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("every: 30s", "heartbeat.every"),
        ("every: 8d", "heartbeat.every"),
        ("every: 6h\ndaily: true", "`daily` and `every` exclude each other"),
    ],
)
def test_heartbeat_settings_without_effect_are_refused(box: Box, text: str, error: str) -> None:
    """B06, S15."""
    configure_heartbeat(box, text)

    with pytest.raises(ConfigError, match=error):
        load(box.home)
