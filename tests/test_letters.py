"""`notify dead` and `notify resend`: what did not go out is shown, and sent again to nobody but who was not served."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syftnotify.core.errors import Failure
from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification, NotificationState
from syftnotify.core.outbox import AttemptOutcome, OutboxCounts
from syftnotify.core.text import local_time
from syftnotify.services.demo import Tree
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_status
from tests.commands import run_command
from tests.fakes.google import Answer, Asked, Google, Post, closes, page, says, serving
from tests.support import ANA, BO, OWNER, Box, claim, tally, wait_until

CODE = "print('mean income')\n"
HOUR = 3600.0


# -- an outbox, written by its own hands -------------------------------------------------------------------------


@contextlib.contextmanager
def opened(box: Box) -> Iterator[SqliteOutbox]:
    outbox = SqliteOutbox(box.home.outbox)
    try:
        yield outbox
    finally:
        outbox.close()


@dataclass(frozen=True, slots=True)
class ListedLetter:
    """One notification to be written down, and what had become of it."""

    name: str
    state: str = "dead"
    recipient: str = ANA
    reason: str = "Gmail answered 400"
    transport: str = "box"
    age: float = 0.0  # seconds since it was noticed

    @property
    def event(self) -> Event:
        payload = {"name": self.name, "owner": OWNER, "submitter": ANA}
        return Event(EventKind.JOB_APPROVED, entity_id("job", "D", OWNER, ANA, self.name), payload=payload)

    @property
    def notification(self) -> Notification:
        return Notification(
            self.event.key,
            self.event.entity,
            self.recipient,
            Audience.SUBMITTER,
            self.transport,
            skipped=self.reason if self.state == "skipped" else "",
        )

    @property
    def id(self) -> str:
        return self.notification.id


def write(box: Box, *letters: ListedLetter) -> list[str]:
    """Put `letters` into the outbox, each in its state; their ids."""
    with opened(box) as outbox:
        for letter in letters:
            now = time.time() - letter.age
            outbox.enqueue([letter.event], [letter.notification], now)
            if letter.state in {"pending", "skipped"}:
                continue
            due = claim(outbox, letter.transport, now, worker_id="tests", resend=False)
            assert [item.id for item in due] == [letter.id], "what waits comes last"
            if letter.state == "sent":
                outbox.queue.mark_sent(due, now)
            else:
                failure = {"dead": Failure.PERMANENT, "unknown": Failure.UNKNOWN}[letter.state]
                outbox.queue.mark_failed(
                    due, now, failure, letter.reason, AttemptOutcome(NotificationState(letter.state))
                )
    return [letter.id for letter in letters]


def states(box: Box) -> dict[str, str]:
    with opened(box) as outbox:
        return outbox.dead_letters.states("")


def typed(box: Box, *words: str, check: int) -> str:
    """What the command says, run in this process: a table of many rows needs no interpreter for each."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = run_command(box.home, *words)
    assert code == check, said.getvalue()
    return said.getvalue()


def dead(box: Box) -> list[dict[str, Any]]:
    found = json.loads(typed(box, "dead", "--json", check=0))
    assert isinstance(found, list)
    return found


@pytest.fixture
def holding(box: Box) -> Box:
    """A box whose messages of unknown outcome wait for a person's word."""
    box.configure({"notify": {"interval": 1, "sync_state_path": str(box.snapshot), "on_unknown": "hold"}})
    return box


# -- dead --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("dead-letters",), 0, "run `notify start`"),
        (("dead-letters", "--json"), 0, "[]"),
        (("resend", "--all-dead"), 0, "nothing to send again"),
        (("resend", "abcd"), 1, "there is no notification 'abcd'"),
    ],
)
def test_where_nothing_was_ever_sent_nothing_is_made(
    box: Box, words: tuple[str, ...], code: int, expected: str
) -> None:
    """X04: listing dead letters creates no outbox."""
    said = typed(box, *words, check=code)

    assert expected in said
    assert [path.name for path in box.home.root.iterdir()] == ["config.yaml"]


def test_a_home_that_is_not_there_is_not_made(box: Box) -> None:
    """X04."""
    elsewhere = box.folder / "elsewhere"

    assert "run `notify init`" in box.notify("dead-letters", "--home", str(elsewhere), check=0).stdout

    assert not elsewhere.exists()


def test_an_outbox_without_dead_letters_says_so(box: Box) -> None:
    """X04."""
    write(box, ListedLetter("survey", "sent"), ListedLetter("merge", "pending"))

    assert "no dead letters" in box.notify("dead", check=0).stdout
    assert dead(box) == []


def test_a_dead_letter_is_shown_with_all_that_a_person_needs(box: Box) -> None:
    """X04: which, what, to whom, through what, why, since when, after how many attempts."""
    (name,) = write(box, ListedLetter("survey", age=3 * HOUR))

    shown = box.notify("dead", check=0).stdout

    (noticed_at,) = [datetime.fromisoformat(one["created_at"]).timestamp() for one in dead(box)]
    assert name[:8] in shown
    assert f"job_approved to {ANA} through box" in shown
    assert "dead after 1 attempt," in shown
    assert f"detected {local_time(noticed_at)}" in shown
    assert "survey" in shown
    assert "Gmail answered 400" in shown
    assert "notify resend" in shown


def test_for_machines_each_letter_is_an_object_with_its_whole_id(box: Box) -> None:
    """X04."""
    names = write(box, ListedLetter("survey", recipient=BO, age=3 * HOUR), ListedLetter("merge"))

    found = dead(box)

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
    }


def test_what_was_sent_or_waits_or_was_left_out_is_no_dead_letter(box: Box) -> None:
    """X04."""
    (name, *_) = write(
        box,
        ListedLetter("dead"),
        ListedLetter("sent", "sent"),
        ListedLetter("left out", "skipped"),
        ListedLetter("cut off", "unknown"),  # is sent again by itself, as on_unknown says by default
        ListedLetter("waiting", "pending"),
    )

    assert [one["id"] for one in dead(box)] == [name]


def test_what_may_have_arrived_is_listed_where_it_is_held(holding: Box) -> None:
    """X04: `on_unknown: hold` waits for a person, so a person must see it."""
    (name,) = write(holding, ListedLetter("survey", "unknown", reason="cut off before Gmail answered"))

    shown = holding.notify("dead", check=0).stdout

    assert name[:8] in shown
    assert "held, may have arrived" in shown
    assert "cut off before Gmail answered" in shown
    assert [(one["id"], one["state"]) for one in dead(holding)] == [(name, "unknown")]


HOSTILE = "\x1b]0;pwned\x07\x1b[2J\u202e[bold]x[/bold]\r\nno dead letters"


def test_names_and_reasons_are_shown_and_not_obeyed(box: Box) -> None:
    """X04, X11: neither by the terminal nor by the library that prints."""
    box.configure({"transports": {"box": {"type": "maildir"}, "[red]\x1b[31m": {"type": "maildir"}}})
    write(box, ListedLetter(HOSTILE, reason=HOSTILE, transport="[red]\x1b[31m", recipient="[link=x]@uni.example"))

    done = box.notify("dead", check=0)

    for character in ("\x1b", "\x07", "\u202e", "\r"):
        assert character not in done.stdout
    assert "[bold]x[/bold]" in done.stdout
    assert "[red]\\x1b[31m" in done.stdout
    assert "[link=x]@uni.example" in done.stdout
    assert "no dead letters" not in done.stdout.splitlines()
    (found,) = dead(box)
    assert found["reason"] == HOSTILE


@pytest.mark.parametrize("where", ["start", "middle"])
@pytest.mark.parametrize("words", [("dead",), ("dead", "--json"), ("resend", "--all-dead"), ("resend", "abcd")])
def test_a_damaged_outbox_is_reported_and_left_where_it_is(box: Box, words: tuple[str, ...], where: str) -> None:
    """X04, X02: only the worker mends it."""
    write(box, *(ListedLetter(f"survey {number}", reason="x" * 2000) for number in range(20)))
    content = bytearray(box.home.outbox.read_bytes())
    first = 0 if where == "start" else 4096  # bytes; the schema's page is whole then, and all others are not
    content[first:] = b"\xa5" * (len(content) - first)
    box.home.outbox.write_bytes(content)

    said = typed(box, *words, check=1)

    assert "error:" in said
    assert str(box.home.outbox) in said
    assert "Traceback" not in said
    assert box.home.outbox.read_bytes() == bytes(content)
    assert not [path.name for path in box.home.root.iterdir() if ".damaged-" in path.name]


# -- resend ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [32, 8, 4])
@pytest.mark.parametrize("upper", [True, False])
def test_a_letter_is_named_by_its_id_or_by_how_that_begins(box: Box, digits: int, upper: bool) -> None:
    """X04."""
    name, other = write(box, ListedLetter("survey"), ListedLetter("merge"))
    text = name[:digits]

    said = typed(box, "resend", text.upper() if upper else text, check=0)

    assert "1 notification queued again: run `notify start` to send" in said
    assert states(box) == {name: "pending", other: "dead"}


def test_several_are_named_at_once_and_one_of_them_twice(box: Box) -> None:
    """X04."""
    first, second, third = write(box, ListedLetter("survey"), ListedLetter("merge"), ListedLetter("rows"))

    done = box.notify("resend", first, third[:8], first[:8], check=0)

    assert "2 notifications queued again" in done.stdout
    assert states(box) == {first: "pending", second: "dead", third: "pending"}


def alike() -> tuple[ListedLetter, ListedLetter]:
    """Two letters whose ids begin with the same four digits."""
    seen: dict[str, ListedLetter] = {}
    for number in range(100_000):
        letter = ListedLetter(f"survey {number}")
        if (other := seen.setdefault(letter.id[:4], letter)) is not letter:
            return other, letter
    raise AssertionError("there are 65,536 ways to begin")


def test_a_beginning_of_two_ids_changes_nothing(box: Box) -> None:
    """X04."""
    first, second = write(box, *alike())

    said = typed(box, "resend", first[:4], check=1)

    assert f"the ids of 2 notifications begin with '{first[:4]}'" in said
    assert "pass more digits of the id" in said
    assert set(states(box).values()) == {"dead"}
    typed(box, "resend", second[:12], check=0)
    assert states(box) == {first: "dead", second: "pending"}


@pytest.mark.parametrize(
    "text",
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
def test_what_is_no_id_changes_nothing_not_even_for_the_ids_beside_it(box: Box, text: str) -> None:
    """X04."""
    (name,) = write(box, ListedLetter("survey"))
    assert not name.startswith("fff")

    said = typed(box, "resend", name, "--", text, check=1)

    assert "there is no notification" in said
    assert "notify dead" in said
    assert "\x1b" not in said
    assert states(box) == {name: "dead"}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("sent", "was sent and is not sent again"),
        ("pending", "is already queued"),
        ("skipped", "was never meant to be sent"),
    ],
)
def test_only_what_did_not_go_out_is_sent_again(box: Box, state: str, words: str) -> None:
    """X04: who was served is left alone, even when asked for by name."""
    gone, name = write(box, ListedLetter("merge"), ListedLetter("survey", state))

    said = typed(box, "resend", gone, name, check=1)

    assert f"{name[:8]} {words}" in said
    assert states(box) == {gone: "dead", name: state}


@pytest.mark.parametrize("words", [(), ("abcd", "--all-dead"), ("abcd", "--recipient", ANA), ("abcd", "--since", "2h")])
def test_one_says_which_either_by_ids_or_by_what_they_have_in_common(box: Box, words: tuple[str, ...]) -> None:
    """X04."""
    (name,) = write(box, ListedLetter("survey"))

    said = typed(box, "resend", *words, check=2)

    assert "pass ids" in said
    assert states(box) == {name: "dead"}


def test_all_dead_is_all_that_are_dead_and_nothing_else(holding: Box) -> None:
    """X04: what may have arrived is sent again only when it is named."""
    first, second, held, sent, left_out, waiting = write(
        holding,
        ListedLetter("survey"),
        ListedLetter("merge", recipient=BO),
        ListedLetter("rows", "unknown"),
        ListedLetter("columns", "sent"),
        ListedLetter("cells", "skipped"),
        ListedLetter("tables", "pending"),
    )

    done = holding.notify("resend", "--all-dead", check=0)

    assert "2 notifications queued again" in done.stdout
    assert states(holding) == {
        first: "pending",
        second: "pending",
        held: "unknown",
        sent: "sent",
        left_out: "skipped",
        waiting: "pending",
    }
    assert "nothing to send again" in holding.notify("resend", "--all-dead", check=0).stdout


@pytest.mark.parametrize("spelled", [BO, BO.upper()])
def test_a_recipient_gets_theirs_dead_or_held(holding: Box, spelled: str) -> None:
    """X04."""
    first, held, other = write(
        holding,
        ListedLetter("survey", recipient=BO),
        ListedLetter("rows", "unknown", recipient=BO),
        ListedLetter("merge"),
    )

    holding.notify("resend", "--recipient", spelled, check=0)

    assert states(holding) == {first: "pending", held: "pending", other: "dead"}


@pytest.mark.parametrize(
    ("since", "which"),
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
def test_a_time_takes_what_was_noticed_since(box: Box, since: str, which: list[str]) -> None:
    """X04."""
    today = datetime.now().astimezone()
    since = since.replace("{3 days ago}", f"{today - timedelta(days=3):%Y-%m-%d}")
    since = since.replace("{tomorrow}", f"{today + timedelta(days=1):%Y-%m-%d}")
    ages = {"hour": HOUR, "day": 26 * HOUR, "week": 8 * 24 * HOUR}
    names = dict(zip(ages, write(box, *(ListedLetter(name, age=age) for name, age in ages.items())), strict=True))

    typed(box, "resend", "--since", since, check=0)

    assert states(box) == {name: "pending" if word in which else "dead" for word, name in names.items()}


def test_a_date_is_one_of_this_machines_zone(box: Box) -> None:
    """X04: midnight here, wherever that is."""
    ahead = 12 - datetime.now(UTC).hour  # about noon there, so that no midnight comes while the test runs
    box.env["TZ"] = f"XXX{-ahead:+d}"
    today = datetime.now(UTC) + timedelta(hours=ahead)
    since_midnight = today - today.replace(hour=0, minute=0, second=0, microsecond=0)
    before, after = write(
        box,
        ListedLetter("survey", age=since_midnight.total_seconds() + 300),
        ListedLetter("merge", age=max(0.0, since_midnight.total_seconds() - 300)),
    )

    box.notify("resend", "--since", f"{today:%Y-%m-%d}", check=0)

    assert states(box) == {before: "dead", after: "pending"}


@pytest.mark.parametrize(
    "since", ["yesterday", "", "2", "-2h", "2y", "9" * 30 + "d", "999999999d", "2026-13-01", "\x1b[2J", "h"]
)
def test_what_is_no_time_is_exit_two_and_changes_nothing(box: Box, since: str) -> None:
    """X04."""
    (name,) = write(box, ListedLetter("survey"))

    said = typed(box, "resend", f"--since={since}", check=2)

    assert "is not a time" in said
    assert "2026-01-15" in said
    assert "\x1b" not in said
    assert states(box) == {name: "dead"}


def test_what_is_said_together_must_hold_together(holding: Box) -> None:
    """X04: dead, to that recipient, and since then."""
    right, elsewhere, old, held = write(
        holding,
        ListedLetter("survey", recipient=BO, age=HOUR),
        ListedLetter("merge", age=HOUR),
        ListedLetter("rows", recipient=BO, age=5 * HOUR),
        ListedLetter("columns", "unknown", recipient=BO, age=HOUR),
    )

    done = holding.notify("resend", "--all-dead", "--recipient", BO, "--since", "2h", check=0)

    assert "1 notification queued again" in done.stdout
    assert states(holding) == {right: "pending", elsewhere: "dead", old: "dead", held: "unknown"}


def test_nothing_that_matches_is_no_error(box: Box) -> None:
    """X04: so that a script may say it every day."""
    (name,) = write(box, ListedLetter("survey"))

    said = typed(box, "resend", "--recipient", "nobody@elsewhere.example", check=0)

    assert "nothing to send again" in said
    assert states(box) == {name: "dead"}


def test_what_is_sent_again_begins_with_its_first_try(box: Box) -> None:
    """X04: neither an old wait nor an old count of refusals holds it up."""
    (name,) = write(box, ListedLetter("survey", age=100 * HOUR))

    typed(box, "resend", name, check=0)

    with opened(box) as outbox:
        (due,) = claim(outbox, "box", time.time(), worker_id="tests")
    assert (due.id, due.failures, due.refusals, due.first_failed_at) == (name, 0, 0, None)


# -- the whole way, with Gmail at its end ------------------------------------------------------------------------


@pytest.fixture
def google() -> Iterator[Google]:
    with serving() as google:
        yield google


@pytest.fixture
def tree(google: Google, box: Box) -> Tree:
    """A box that sends through Gmail, and its tree after a first look at two peers of old."""
    through_gmail(box, google)
    google.write_token(box.home.token)
    box.snapshot.parent.mkdir(parents=True)
    tree = Tree(box.root, box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    tree.grant(BO)
    box.clock.now = time.time()
    box.look()
    assert google.posts == []
    return tree


def through_gmail(box: Box, google: Google, **changes: Any) -> None:
    box.configure(
        {
            "notify": {"interval": 1, "sync_state_path": str(box.snapshot)},
            "transports": {"mail": {"type": "gmail", "api_endpoint": google.url, "rate": 100, "burst": 100, **changes}},
        }
    )


def to_ana_alone(answer: Answer) -> Answer:
    """Answers so to what is for Ana; takes everything else."""

    def act(asked: Asked) -> None:
        if asked.post.to == ANA:
            answer(asked)
        else:
            asked.answer_json(200, {"id": "taken", "threadId": "taken"})

    return act


def counts(box: Box) -> OutboxCounts:
    with opened(box) as outbox:
        return outbox.history.counts()


def name_of(post: Post) -> str:
    return str(post.mail["Message-ID"])


@pytest.mark.parametrize(
    ("way", "refusal"),
    [
        ("id", says(400, "invalidArgument")),
        ("--all-dead", page(404)),
        ("--recipient", says(410)),
        ("--since", page(302, {"Location": "/elsewhere"})),
    ],
    ids=["id", "all", "recipient", "since"],
)
def test_only_who_was_not_served_gets_it_again(google: Google, box: Box, tree: Tree, way: str, refusal: Answer) -> None:
    """X04: one job told to two, one refused: one more POST, to that one, under the same name."""
    google.usual = to_ana_alone(refusal)
    tree.submit(ANA, "survey", CODE)
    box.look()
    assert sorted(post.to for post in google.posts) == [ANA, OWNER]
    (first,) = [post for post in google.posts if post.to == ANA]
    (letter,) = dead(box)
    assert (letter["recipient"], letter["event"]) == (ANA, "job_submitted")

    google.usual = None
    words = {
        "id": (letter["id"],),
        "--all-dead": ("--all-dead",),
        "--recipient": ("--recipient", ANA),
        "--since": ("--since", "1h"),
    }
    box.notify("resend", *words[way], check=0)
    for _ in range(3):
        box.look()
        box.clock.advance(HOUR)

    assert len(google.posts) == 3
    again = google.posts[-1]
    assert (again.to, again.event, name_of(again)) == (ANA, "job_submitted", name_of(first))
    assert counts(box) == tally(sent=2)
    assert dead(box) == []
    assert "was sent" in typed(box, "resend", letter["id"], check=1)


def test_what_is_refused_again_is_a_dead_letter_again(google: Google, box: Box, tree: Tree) -> None:
    """X04: after one more POST, and no more."""
    google.usual = to_ana_alone(says(400))
    tree.submit(ANA, "survey", CODE)
    box.look()
    typed(box, "resend", "--all-dead", check=0)
    box.look()
    box.clock.advance(100 * HOUR)
    box.look()

    assert [post.to for post in google.posts].count(ANA) == 2
    (letter,) = dead(box)
    assert letter["attempts"] == 2


def after_time_off(box: Box, tree: Tree) -> None:
    """Two hours and six jobs later: a digest for the owner, and one for Ana."""
    box.clock.advance(2 * HOUR)
    for number in range(6):
        tree.submit(ANA, f"survey {number}", CODE)
    box.look()


def test_a_digest_that_was_refused_is_one_message_again(google: Google, box: Box, tree: Tree) -> None:
    """X04: what would have left together leaves together, under the same name."""
    google.usual = to_ana_alone(says(400))
    after_time_off(box, tree)
    assert len(dead(box)) == 6

    google.usual = None
    typed(box, "resend", "--all-dead", check=0)
    box.look()

    first, again = [post for post in google.posts if post.to == ANA]
    assert (again.event, name_of(again)) == ("digest", name_of(first))
    assert counts(box) == tally(sent=2, notifications=12)


def test_a_running_worker_takes_it_up_at_its_next_look(google: Google, box: Box, tree: Tree) -> None:
    """X04: no restart is needed, and the counts follow."""
    google.usual = to_ana_alone(says(400))
    box.notify("start", check=0)
    tree.submit(ANA, "survey", CODE)
    wait_until(lambda: worker_status.read(box.home).dead == 1, what="one dead letter")
    wait_until(
        lambda: worker_status.read(box.home).sent == 2, what="the owner's mail, and the alert about the dead letter"
    )

    google.usual = None
    done = box.notify("resend", "--all-dead", check=0)

    assert "the worker sends at its next scan" in done.stdout
    wait_until(lambda: worker_status.read(box.home).sent == 3, what="the other mail")
    box.notify("stop", check=0)
    to_ana = [post for post in google.posts if post.to == ANA]
    assert [post.event for post in google.posts].count("system_alert") == 1
    assert len(google.posts) == 4
    assert len(to_ana) == 2
    assert len({name_of(post) for post in to_ana}) == 1
    assert worker_status.read(box.home).dead == 0


def test_status_names_the_dead_letters_and_what_to_do(google: Google, box: Box, tree: Tree) -> None:
    """X04, S16."""
    google.usual = to_ana_alone(says(400))
    tree.submit(ANA, "survey", CODE)
    box.notify("run", "--once", check=0)

    shown = box.notify("status", check=3).stdout

    assert "2 sent, 0 waiting, 1 dead" in shown, "the owner's mail, and the alert about the dead letter"
    assert "notify dead" in shown
    assert "notify resend" in shown
    assert json.loads(box.notify("status", "--json").stdout)["dead"] == 1


@pytest.mark.parametrize("by_name", [True, False])
def test_what_is_held_goes_out_when_somebody_says_so(google: Google, box: Box, tree: Tree, by_name: bool) -> None:
    """X04, X03: under the same name, so that a reader's program can tell that it is the same mail."""
    through_gmail(box, google, on_unknown="hold")
    google.usual = to_ana_alone(closes)
    tree.submit(ANA, "survey", CODE)
    box.look()
    google.usual = None
    box.clock.advance(100 * HOUR)
    box.look()
    to_ana = [post for post in google.posts if post.to == ANA]
    assert len(to_ana) == 1, "it waits for a person"
    (letter,) = dead(box)
    assert letter["state"] == "unknown"

    assert "nothing to send again" in typed(box, "resend", "--all-dead", check=0)
    typed(box, "resend", *([letter["id"][:8]] if by_name else ["--recipient", ANA]), check=0)
    box.look()
    box.look()

    to_ana = [post for post in google.posts if post.to == ANA]
    assert len(to_ana) == 2
    assert len({name_of(post) for post in to_ana}) == 1
    assert dead(box) == []


def test_a_part_of_a_held_digest_is_not_sent_under_another_name(google: Google, box: Box, tree: Tree) -> None:
    """X03, X04: it may have arrived, so whatever goes out again must be known by its old name."""
    through_gmail(box, google, on_unknown="hold")
    google.usual = to_ana_alone(closes)
    after_time_off(box, tree)
    google.usual = None

    typed(box, "resend", dead(box)[0]["id"], check=0)
    box.look()

    to_ana = [post for post in google.posts if post.to == ANA]
    assert [post.event for post in to_ana] == ["digest", "digest"]
    assert len({name_of(post) for post in to_ana}) == 1


def test_what_is_held_is_shown_although_a_secret_is_missing_where_one_asks(box: Box) -> None:
    """X04: it was set where the worker was started."""
    hook = {"type": "webhook", "url": "env:NOT_HERE", "on_unknown": "hold"}
    box.configure({"transports": {"box": {"type": "maildir"}, "hook": hook}})
    (held,) = write(box, ListedLetter("survey", state="unknown", transport="hook"))
    done = box.notify("dead", check=0)

    assert held[:8] in done.stdout
    assert "the environment variable NOT_HERE is not set" in done.stderr
