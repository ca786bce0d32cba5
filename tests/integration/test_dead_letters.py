"""`notify dead-letters`: messages that were not delivered are listed."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from syftnotify.core.text import local_time
from tests.integration.commands import dead_letters, run
from tests.stored import StoredNotification, store
from tests.support import ANA, BO, OWNER, Box


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("dead-letters",), 0, "run `notify start`"),
        (("dead-letters", "--json"), 0, "[]"),
        (("resend", "--all-dead"), 0, "nothing to send again"),
        (("resend", "abcd"), 1, "there is no notification 'abcd'"),
    ],
)
def test_commands_without_outbox_create_none(box: Box, arguments: tuple[str, ...], code: int, expected: str) -> None:
    """X04: listing dead letters creates no outbox."""
    output = run(box, *arguments, check=code)

    assert expected in output
    assert [path.name for path in box.home.root.iterdir()] == ["config.yaml"]


def test_dead_letters_of_a_missing_home_creates_none(box: Box) -> None:
    """X04."""
    elsewhere = box.folder / "elsewhere"

    assert "run `notify init`" in box.notify("dead-letters", "--home", str(elsewhere), check=0).stdout

    assert not elsewhere.exists()


def test_dead_letters_of_outbox_without_any_is_empty(box: Box) -> None:
    """X04."""
    store(box, StoredNotification("survey", "sent"), StoredNotification("merge", "pending"))

    assert "no dead letters" in box.notify("dead", check=0).stdout
    assert dead_letters(box) == []


HOUR = 3600.0


def test_dead_letters_shows_everything_needed_to_act(box: Box) -> None:
    """X04: id, event, recipient, transport, reason, time and number of attempts."""
    (name,) = store(box, StoredNotification("survey", age=3 * HOUR))

    output = box.notify("dead", check=0).stdout

    (noticed_at,) = [datetime.fromisoformat(one["created_at"]).timestamp() for one in dead_letters(box)]
    assert name[:8] in output
    assert f"job_approved to {ANA} through box" in output
    assert "dead after 1 attempt," in output
    assert f"detected {local_time(noticed_at)}" in output
    assert "survey" in output
    assert "Gmail answered 400" in output
    assert "notify resend" in output


def test_dead_letters_json_has_complete_ids(box: Box) -> None:
    """X04."""
    names = store(box, StoredNotification("survey", recipient=BO, age=3 * HOUR), StoredNotification("merge"))

    found = dead_letters(box)

    assert [one["id"] for one in found] == names
    assert datetime.fromisoformat(found[0].pop("created_at")).timestamp() == pytest.approx(
        time.time() - 3 * HOUR, abs=60
    )
    assert found[0] == {
        "id": names[0],
        "state": "dead",
        "event": "job_approved",
        "entity": f"job/D/{OWNER}/{ANA}/survey",
        "recipient": BO,
        "audience": "submitter",
        "transport": "box",
        "route": "",
        "reason": "Gmail answered 400",
        "tried_at": found[0]["tried_at"],
        "not_before": None,
        "attempts": 1,
        "acknowledged_at": None,
        "may_have_arrived": False,
    }


def test_dead_letters_lists_no_other_state(box: Box) -> None:
    """X04."""
    (name, *_) = store(
        box,
        StoredNotification("dead"),
        StoredNotification("sent", "sent"),
        StoredNotification("left out", "skipped"),
        StoredNotification(
            "cut off", "unknown"
        ),  # is sent again automatically, because `on_unknown` is `resend` by default
        StoredNotification("waiting", "pending"),
    )

    assert [one["id"] for one in dead_letters(box)] == [name]


def test_dead_letters_lists_held_notifications(holding_box: Box) -> None:
    """X04: `on_unknown: hold` waits for a decision, so the message must be listed."""
    (name,) = store(holding_box, StoredNotification("survey", "unknown", reason="cut off before Gmail answered"))

    output = holding_box.notify("dead", check=0).stdout

    assert name[:8] in output
    assert "held, may have arrived" in output
    assert "cut off before Gmail answered" in output
    assert [(one["id"], one["state"]) for one in dead_letters(holding_box)] == [(name, "unknown")]


HOSTILE = "\x1b]0;pwned\x07\x1b[2J\u202e[bold]x[/bold]\r\nno dead letters"


def test_dead_letters_escapes_names_and_reasons(box: Box) -> None:
    """X04, X11: neither the terminal nor the printing library interprets them."""
    box.configure({"transports": {"box": {"type": "maildir"}, "[red]\x1b[31m": {"type": "maildir"}}})
    store(box, StoredNotification(HOSTILE, reason=HOSTILE, transport="[red]\x1b[31m", recipient="[link=x]@uni.example"))

    done = box.notify("dead", check=0)

    for character in ("\x1b", "\x07", "\u202e", "\r"):
        assert character not in done.stdout
    assert "[bold]x[/bold]" in done.stdout
    assert "[red]\\x1b[31m" in done.stdout
    assert "[link=x]@uni.example" in done.stdout
    assert "no dead letters" not in done.stdout.splitlines()
    (found,) = dead_letters(box)
    assert found["reason"] == HOSTILE


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("dead",), "start"),
        (("resend", "--all-dead"), "middle"),
        *(
            pytest.param(arguments, where, marks=pytest.mark.thorough)
            for arguments in (("dead",), ("dead", "--json"), ("resend", "--all-dead"), ("resend", "abcd"))
            for where in ("start", "middle")
        ),
    ],
)
def test_commands_leave_a_damaged_outbox_in_place(box: Box, arguments: tuple[str, ...], where: str) -> None:
    """X04, X02: only the worker repairs it."""
    store(box, *(StoredNotification(f"survey {number}", reason="x" * 2000) for number in range(20)))
    content = bytearray(box.home.outbox.read_bytes())
    first = 0 if where == "start" else 4096  # bytes; the schema's page is whole then, and all others are not
    content[first:] = b"\xa5" * (len(content) - first)
    box.home.outbox.write_bytes(content)

    output = run(box, *arguments, check=1)

    assert "error:" in output
    assert str(box.home.outbox) in output
    assert "Traceback" not in output
    assert box.home.outbox.read_bytes() == bytes(content)
    assert not [path.name for path in box.home.root.iterdir() if ".damaged-" in path.name]


def test_dead_letters_without_a_secret_still_lists_held(box: Box) -> None:
    """X04: the variable is set only where the worker was started."""
    hook = {"type": "webhook", "url": "env:NOT_HERE", "on_unknown": "hold"}
    box.configure({"transports": {"box": {"type": "maildir"}, "hook": hook}})
    (held,) = store(box, StoredNotification("survey", state="unknown", transport="hook"))
    done = box.notify("dead", check=0)

    assert held[:8] in done.stdout
    assert "the environment variable NOT_HERE is not set" in done.stderr
