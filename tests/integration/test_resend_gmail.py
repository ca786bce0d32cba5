"""`notify resend` with a Gmail server behind it."""

from __future__ import annotations

import json

import pytest

from syftnotify.services.demo import Tree
from tests.fakes.google import Google, Responder, close_connection, respond_error, respond_html
from tests.gmail_boxes import configure_gmail_alone, gmail_tree_now, message_id, only_for_ana
from tests.integration.commands import dead_letters, run
from tests.queries import outbox_counts
from tests.support import ANA, OWNER, Box, tally

pytestmark = pytest.mark.check_only


CODE = "print('mean income')\n"


HOUR = 3600.0


@pytest.fixture
def tree(google: Google, box: Box) -> Tree:
    return gmail_tree_now(google, box)


@pytest.mark.parametrize(
    ("selection", "refusal"),
    [
        ("id", respond_error(400, "invalidArgument")),
        pytest.param("--all-dead", respond_html(404), marks=pytest.mark.thorough),
        pytest.param("--recipient", respond_error(410), marks=pytest.mark.thorough),
        pytest.param("--since", respond_html(302, {"Location": "/elsewhere"}), marks=pytest.mark.thorough),
    ],
    ids=["id", "all", "recipient", "since"],
)
def test_resend_posts_only_to_the_missed_recipient(
    google: Google, box: Box, tree: Tree, selection: str, refusal: Responder
) -> None:
    """X04: of two recipients one was refused: one more POST, to that one, with the same Message-ID."""
    google.default = only_for_ana(refusal)
    tree.submit(ANA, "survey", CODE)
    box.scan()
    assert sorted(post.to for post in google.posts) == [ANA, OWNER]
    (first,) = [post for post in google.posts if post.to == ANA]
    (notification,) = dead_letters(box)
    assert (notification["recipient"], notification["event"]) == (ANA, "job_submitted")

    google.default = None
    arguments = {
        "id": (notification["id"],),
        "--all-dead": ("--all-dead",),
        "--recipient": ("--recipient", ANA),
        "--since": ("--since", "1h"),
    }
    box.notify("resend", *arguments[selection], check=0)
    for _ in range(3):
        box.scan()
        box.clock.advance(HOUR)

    assert len(google.posts) == 3
    again = google.posts[-1]
    assert (again.to, again.event, message_id(again)) == (ANA, "job_submitted", message_id(first))
    assert outbox_counts(box) == tally(sent=2)
    assert dead_letters(box) == []
    assert "was sent" in run(box, "resend", notification["id"], check=1)


def test_resend_refused_again_is_dead_after_one_post(google: Google, box: Box, tree: Tree) -> None:
    """X04: after one more POST, and no more."""
    google.default = only_for_ana(respond_error(400))
    tree.submit(ANA, "survey", CODE)
    box.scan()
    run(box, "resend", "--all-dead", check=0)
    box.scan()
    box.clock.advance(100 * HOUR)
    box.scan()

    assert [post.to for post in google.posts].count(ANA) == 2
    (notification,) = dead_letters(box)
    assert notification["attempts"] == 2


def submit_six_jobs_later(box: Box, tree: Tree) -> None:
    """Submit six jobs after two hours: a digest for the owner, and one for Ana."""
    box.clock.advance(2 * HOUR)
    for number in range(6):
        tree.submit(ANA, f"survey {number}", CODE)
    box.scan()


def test_resend_of_digest_is_one_message(google: Google, box: Box, tree: Tree) -> None:
    """X04: with the same Message-ID."""
    google.default = only_for_ana(respond_error(400))
    submit_six_jobs_later(box, tree)
    assert len(dead_letters(box)) == 6

    google.default = None
    run(box, "resend", "--all-dead", check=0)
    box.scan()

    first, again = [post for post in google.posts if post.to == ANA]
    assert (again.event, message_id(again)) == ("digest", message_id(first))
    assert outbox_counts(box) == tally(sent=2, notifications=12)


def test_status_names_dead_letters_and_the_commands(google: Google, box: Box, tree: Tree) -> None:
    """X04, S16."""
    google.default = only_for_ana(respond_error(400))
    tree.submit(ANA, "survey", CODE)
    box.notify("run", "--once", check=0)

    output = box.notify("status", check=3).stdout

    assert "2 sent, 0 waiting, 1 dead" in output, "the owner's mail, and the alert about the dead letter"
    assert "notify dead" in output
    assert "notify resend" in output
    assert json.loads(box.notify("status", "--json").stdout)["dead"] == 1


@pytest.mark.parametrize("by_name", [True, False])
def test_resend_of_held_keeps_the_message_id(google: Google, box: Box, tree: Tree, by_name: bool) -> None:
    """X04, X03: so that a mail reader can tell that it is the same mail."""
    configure_gmail_alone(box, google, on_unknown="hold")
    google.default = only_for_ana(close_connection)
    tree.submit(ANA, "survey", CODE)
    box.scan()
    google.default = None
    box.clock.advance(100 * HOUR)
    box.scan()
    to_ana = [post for post in google.posts if post.to == ANA]
    assert len(to_ana) == 1, "it waits for a person"
    (notification,) = dead_letters(box)
    assert notification["state"] == "unknown"

    assert "nothing to send again" in run(box, "resend", "--all-dead", check=0)
    run(box, "resend", *([notification["id"][:8]] if by_name else ["--recipient", ANA]), check=0)
    box.scan()
    box.scan()

    to_ana = [post for post in google.posts if post.to == ANA]
    assert len(to_ana) == 2
    assert len({message_id(post) for post in to_ana}) == 1
    assert dead_letters(box) == []


def test_resend_of_part_of_held_digest_sends_the_digest(google: Google, box: Box, tree: Tree) -> None:
    """X03, X04: it may have arrived, so it must keep its Message-ID."""
    configure_gmail_alone(box, google, on_unknown="hold")
    google.default = only_for_ana(close_connection)
    submit_six_jobs_later(box, tree)
    google.default = None

    run(box, "resend", dead_letters(box)[0]["id"], check=0)
    box.scan()

    to_ana = [post for post in google.posts if post.to == ANA]
    assert [post.event for post in to_ana] == ["digest", "digest"]
    assert len({message_id(post) for post in to_ana}) == 1
