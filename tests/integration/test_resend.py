"""`notify resend`: which notifications are queued again."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.commands import run
from tests.stored import StoredNotification, open_outbox, states_by_id, store
from tests.support import ANA, BO, Box, claim


@pytest.mark.parametrize("digits", [32, 8, 4])
@pytest.mark.parametrize("upper", [True, False])
def test_resend_accepts_an_id_or_its_prefix(box: Box, digits: int, upper: bool) -> None:
    """X04."""
    name, other = store(box, StoredNotification("survey"), StoredNotification("merge"))
    argument = name[:digits]

    output = run(box, "resend", argument.upper() if upper else argument, check=0)

    assert "1 notification queued again: run `notify start` to send" in output
    assert states_by_id(box) == {name: "pending", other: "dead"}


def test_resend_of_several_ids_ignores_repetition(box: Box) -> None:
    """X04."""
    first, second, third = store(
        box, StoredNotification("survey"), StoredNotification("merge"), StoredNotification("rows")
    )

    done = box.notify("resend", first, third[:8], first[:8], check=0)

    assert "2 notifications queued again" in done.stdout
    assert states_by_id(box) == {first: "pending", second: "dead", third: "pending"}


def with_equal_prefix() -> tuple[StoredNotification, StoredNotification]:
    """Two notifications whose ids begin with the same four digits."""
    seen: dict[str, StoredNotification] = {}
    for number in range(100_000):
        notification = StoredNotification(f"survey {number}")
        if (other := seen.setdefault(notification.id[:4], notification)) is not notification:
            return other, notification
    raise AssertionError("there are only 65,536 prefixes")


def test_resend_ambiguous_prefix_changes_nothing(box: Box) -> None:
    """X04."""
    first, second = store(box, *with_equal_prefix())

    output = run(box, "resend", first[:4], check=1)

    assert f"the ids of 2 notifications begin with '{first[:4]}'" in output
    assert "pass more digits of the id" in output
    assert set(states_by_id(box).values()) == {"dead"}
    run(box, "resend", second[:12], check=0)
    assert states_by_id(box) == {first: "dead", second: "pending"}


@pytest.mark.parametrize(
    "argument",
    [
        "ffffffff",
        "fff",
        "",
        "%",
        "____",
        "' or 1=1 --",
        "survey",
        "f" * 33,
        "\x1b[2J",
        "\uff41\uff42\uff43\uff44",
        "\u0661\u0662\u0663\u0664",
    ],
)
def test_resend_wrong_id_changes_nothing(box: Box, argument: str) -> None:
    """X04."""
    (name,) = store(box, StoredNotification("survey"))
    assert not name.startswith("fff")

    output = run(box, "resend", name, "--", argument, check=1)

    assert "there is no notification" in output
    assert "notify dead" in output
    assert "\x1b" not in output
    assert states_by_id(box) == {name: "dead"}


@pytest.mark.parametrize(
    ("state", "arguments"),
    [
        ("sent", "was sent and is not sent again"),
        ("pending", "is already queued"),
        ("skipped", "was never meant to be sent"),
    ],
)
def test_resend_of_other_states_is_refused(box: Box, state: str, arguments: str) -> None:
    """X04: nobody gets a second copy, not even by id."""
    gone, name = store(box, StoredNotification("merge"), StoredNotification("survey", state))

    output = run(box, "resend", gone, name, check=1)

    assert f"{name[:8]} {arguments}" in output
    assert states_by_id(box) == {gone: "dead", name: state}


@pytest.mark.parametrize(
    "arguments", [(), ("abcd", "--all-dead"), ("abcd", "--recipient", ANA), ("abcd", "--since", "2h")]
)
def test_resend_takes_ids_or_conditions_not_both(box: Box, arguments: tuple[str, ...]) -> None:
    """X04."""
    (name,) = store(box, StoredNotification("survey"))

    output = run(box, "resend", *arguments, check=2)

    assert "pass ids" in output
    assert states_by_id(box) == {name: "dead"}


def test_resend_all_dead_requeues_dead_only(holding_box: Box) -> None:
    """X04: held notifications are sent again only by id."""
    first, second, held, sent, left_out, waiting = store(
        holding_box,
        StoredNotification("survey"),
        StoredNotification("merge", recipient=BO),
        StoredNotification("rows", "unknown"),
        StoredNotification("columns", "sent"),
        StoredNotification("cells", "skipped"),
        StoredNotification("tables", "pending"),
    )

    done = holding_box.notify("resend", "--all-dead", check=0)

    assert "2 notifications queued again" in done.stdout
    assert states_by_id(holding_box) == {
        first: "pending",
        second: "pending",
        held: "unknown",
        sent: "sent",
        left_out: "skipped",
        waiting: "pending",
    }
    assert "nothing to send again" in holding_box.notify("resend", "--all-dead", check=0).stdout


@pytest.mark.parametrize("recipient", [BO, BO.upper()])
def test_resend_by_recipient_requeues_dead_and_held(holding_box: Box, recipient: str) -> None:
    """X04."""
    first, held, other = store(
        holding_box,
        StoredNotification("survey", recipient=BO),
        StoredNotification("rows", "unknown", recipient=BO),
        StoredNotification("merge"),
    )

    holding_box.notify("resend", "--recipient", recipient, check=0)

    assert states_by_id(holding_box) == {first: "pending", held: "pending", other: "dead"}


HOUR = 3600.0


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("90m", ["hour"]),
        ("2h", ["hour"]),
        ("1.5H", ["hour"]),
        (" 2 h ", ["hour"]),
        ("3d", ["hour", "day"]),
        ("2w", ["hour", "day", "week"]),
        ("30s", []),
        ("{3 days ago}", ["hour", "day"]),
        ("{3 days ago}T15:30", ["hour", "day"]),
        ("{3 days ago}T15:30:00Z", ["hour", "day"]),
        ("{tomorrow}", []),
    ],
)
def test_resend_since_requeues_later_ones(box: Box, since: str, expected: list[str]) -> None:
    """X04."""
    today = datetime.now().astimezone()
    since = since.replace("{3 days ago}", f"{today - timedelta(days=3):%Y-%m-%d}")
    since = since.replace("{tomorrow}", f"{today + timedelta(days=1):%Y-%m-%d}")
    ages = {"hour": HOUR, "day": 26 * HOUR, "week": 8 * 24 * HOUR}
    names = dict(zip(ages, store(box, *(StoredNotification(name, age=age) for name, age in ages.items())), strict=True))

    run(box, "resend", "--since", since, check=0)

    assert states_by_id(box) == {name: "pending" if word in expected else "dead" for word, name in names.items()}


def test_resend_since_date_is_local_midnight(box: Box) -> None:
    """X04: midnight here, wherever that is."""
    ahead = 12 - datetime.now(UTC).hour  # about noon there, so that no midnight comes while the test runs
    box.env["TZ"] = f"XXX{-ahead:+d}"
    today = datetime.now(UTC) + timedelta(hours=ahead)
    since_midnight = today - today.replace(hour=0, minute=0, second=0, microsecond=0)
    before, after = store(
        box,
        StoredNotification("survey", age=since_midnight.total_seconds() + 300),
        StoredNotification("merge", age=max(0.0, since_midnight.total_seconds() - 300)),
    )

    box.notify("resend", "--since", f"{today:%Y-%m-%d}", check=0)

    assert states_by_id(box) == {before: "dead", after: "pending"}


@pytest.mark.parametrize(
    "since", ["yesterday", "", "2", "-2h", "2y", "9" * 30 + "d", "999999999d", "2026-13-01", "\x1b[2J", "h"]
)
def test_resend_wrong_time_exits_with_two(box: Box, since: str) -> None:
    """X04."""
    (name,) = store(box, StoredNotification("survey"))

    output = run(box, "resend", f"--since={since}", check=2)

    assert "is not a time" in output
    assert "2026-01-15" in output
    assert "\x1b" not in output
    assert states_by_id(box) == {name: "dead"}


def test_resend_conditions_are_combined(holding_box: Box) -> None:
    """X04: dead, and to that recipient, and since then."""
    right, elsewhere, old, held = store(
        holding_box,
        StoredNotification("survey", recipient=BO, age=HOUR),
        StoredNotification("merge", age=HOUR),
        StoredNotification("rows", recipient=BO, age=5 * HOUR),
        StoredNotification("columns", "unknown", recipient=BO, age=HOUR),
    )

    done = holding_box.notify("resend", "--all-dead", "--recipient", BO, "--since", "2h", check=0)

    assert "1 notification queued again" in done.stdout
    assert states_by_id(holding_box) == {right: "pending", elsewhere: "dead", old: "dead", held: "unknown"}


def test_resend_without_match_is_no_error(box: Box) -> None:
    """X04: so that a script can run it every day."""
    (name,) = store(box, StoredNotification("survey"))

    output = run(box, "resend", "--recipient", "nobody@elsewhere.example", check=0)

    assert "nothing to send again" in output
    assert states_by_id(box) == {name: "dead"}


def test_resend_resets_wait_and_counters(box: Box) -> None:
    """X04: neither an old wait nor an old count of temporary failures delays it."""
    (name,) = store(box, StoredNotification("survey", age=100 * HOUR))

    run(box, "resend", name, check=0)

    with open_outbox(box) as outbox:
        (due,) = claim(outbox, "box", time.time(), worker_id="tests")
    assert (due.id, due.failures, due.temporary_failures, due.first_failed_at) == (name, 0, 0, None)
