"""Alerts before a sign-in ends, with a Gmail API and an injected clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.fakes.google import SECRET, Google
from tests.health_boxes import alerts, write_sign_in
from tests.scanning import scan_once
from tests.support import OWNER, Box, worker_in_process
from tests.workers import configure

DAY, HOUR, MINUTE = 86400.0, 3600.0, 60.0


CY = "cy@clinic.example"


def test_sign_in_alert_goes_to_owner_and_operators(google: Google, box: Box) -> None:
    """X07: by mail, while mail still works, with the time and what to do."""
    configure(box, google, operator=[CY])
    write_sign_in(box, google, days_left=1.5)

    scan_once(box)

    assert sorted(post.to for post in alerts(google)) == [CY, OWNER]
    ends = datetime.fromtimestamp(box.clock.now + 1.5 * DAY, UTC)
    for post in alerts(google):
        assert f"{ends:%d %B, %H:%M} UTC" in " ".join(post.text.split())
        assert "mail" in post.subject
        assert "notify init --credentials" in post.text
        assert SECRET not in post.text


def test_sign_in_alert_is_sent_once_per_sign_in(google: Google, box: Box) -> None:
    """X07: also across restarts."""
    configure(box, google)
    write_sign_in(box, google, days_left=1.9)
    for _ in range(3):
        with worker_in_process(box) as scan:
            for _ in range(3):
                scan()
                box.clock.advance(HOUR)
    assert len(alerts(google)) == 1

    write_sign_in(box, google, days_left=7)
    with worker_in_process(box) as scan:
        for _ in range(5):
            scan()
            box.clock.advance(27 * HOUR)
    with worker_in_process(box) as scan:
        scan()

    assert len(alerts(google)) == 2
    assert alerts(google)[0].subject != alerts(google)[1].subject


@pytest.mark.parametrize(
    ("days_left", "changes"),
    [
        (2.5, {}),
        (7, {}),
        (-0.1, {}),
        (1.0, {"refresh_token_expires_in": None}),
        (1.0, {"signed_in_at": None}),
        (1.0, {"refresh_token_expires_in": "604800"}),
        (1.0, {"signed_in_at": "yesterday"}),
        (1.0, {"signed_in_at": True}),
        (1.0, {"refresh_token_expires_in": 0}),
    ],
    ids=str,
)
def test_sign_in_alert_end_is_far_past_or_unknown_is_not_sent(
    google: Google, box: Box, days_left: float, changes: dict[str, Any]
) -> None:
    """X07."""
    configure(box, google)
    write_sign_in(box, google, days_left=days_left, **changes)

    scan_once(box)

    assert alerts(google) == []
    assert box.mails() == []


def test_sign_in_alert_is_sent_two_days_before_the_end(google: Google, box: Box) -> None:
    """X07."""
    configure(box, google)
    write_sign_in(box, google, days_left=2.5)

    with worker_in_process(box) as scan:
        scan()
        assert alerts(google) == []
        box.clock.advance(0.4 * DAY)
        scan()
        assert alerts(google) == []
        box.clock.advance(0.2 * DAY)
        scan()

    assert len(alerts(google)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"refresh_token_expires_in": 1e300},
        {"refresh_token_expires_in": float("inf")},
        {"refresh_token_expires_in": 10**400},
        {"signed_in_at": 1e18},
        {"signed_in_at": float("nan")},
    ],
    ids=["far", "infinite", "huge", "late", "not a number"],
)
def test_sign_in_with_absurd_times_is_used(google: Google, box: Box, changes: dict[str, Any]) -> None:
    """X07: the sign-in itself is valid, so mail is sent."""
    configure(box, google)
    write_sign_in(box, google, days_left=1.5, **changes)

    scan_once(box)

    assert alerts(google) == []
