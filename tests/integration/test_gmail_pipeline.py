"""From the tree to Gmail: faults, pauses, refusals, conversations."""

from __future__ import annotations

from collections import Counter

import pytest

from syftnotify.services.demo import Tree
from syftnotify.system import worker_lock
from tests.fakes.google import (
    Google,
    Post,
    Responder,
    close_connection,
    hang,
    reset_connection,
    respond_error,
    respond_html,
    serve_google,
    truncate_body,
)
from tests.gmail_boxes import CODE, HOUR, configure_gmail, count_by_id, events_and_recipients, gmail_tree
from tests.parameters import thorough_except
from tests.queries import outbox_counts
from tests.scanning import opened_app
from tests.support import ANA, BO, OWNER, Box, tally

pytestmark = pytest.mark.check_only


@pytest.fixture
def tree(google: Google, box: Box) -> Tree:
    return gmail_tree(google, box)


def test_gmail_job_is_sent_once_to_owner_and_submitter(google: Google, box: Box, tree: Tree) -> None:
    """S01, S05, X13."""
    tree.submit(ANA, "survey", CODE)
    box.scan()
    box.clock.advance(HOUR)
    box.scan()

    assert Counter(events_and_recipients(google.posts)) == Counter(
        {("job_submitted", OWNER): 1, ("job_submitted", ANA): 1}
    )
    to_owner = next(post for post in google.posts if post.to == OWNER)
    assert CODE.strip() in to_owner.text
    assert outbox_counts(box) == tally(sent=2)


@pytest.mark.parametrize(
    "fault",
    thorough_except(
        {"503", "daily-limit"},
        [
            pytest.param(respond_html(503), id="503"),
            pytest.param(respond_error(429, "rateLimitExceeded"), id="429"),
            pytest.param(respond_error(403, "userRateLimitExceeded"), id="403-rate"),
            pytest.param(respond_error(403, "dailyLimitExceeded"), id="daily-limit"),
            pytest.param(respond_error(401, "authError"), id="401"),
        ],
    ),
)
def test_gmail_rejected_mail_is_delivered_once_after_the_fault(
    google: Google, box: Box, tree: Tree, fault: Responder
) -> None:
    """X01, G10."""
    google.default = fault
    tree.submit(ANA, "survey", CODE)
    box.scan()
    assert outbox_counts(box).waiting == 2
    assert outbox_counts(box).sent == 0

    google.default = None
    faulty = len(google.posts)
    box.clock.advance(2 * HOUR)
    box.scan()
    box.clock.advance(2 * HOUR)
    box.scan()

    assert Counter(events_and_recipients(google.posts[faulty:])) == Counter(
        {("job_submitted", OWNER): 1, ("job_submitted", ANA): 1}
    )
    assert outbox_counts(box) == tally(sent=2)


def test_gmail_server_that_was_down_receives_each_mail_once(google: Google, box: Box, tree: Tree) -> None:
    """X01."""
    with serve_google() as gone:
        configure_gmail(box, gone)
    tree.submit(ANA, "survey", CODE)
    box.scan()
    assert outbox_counts(box) == tally(waiting=2, failed=outbox_counts(box).failed)
    configure_gmail(box, google)
    box.clock.advance(HOUR)
    box.scan()

    assert len(google.posts) == 2
    assert outbox_counts(box) == tally(sent=2)


@pytest.mark.parametrize(
    "fault",
    thorough_except(
        {"closes"},
        {"closes": close_connection, "resets": reset_connection, "hangs": hang(0.2), "cuts-the-body": truncate_body},
    ),
)
def test_gmail_unknown_outcome_is_resent_with_the_same_id(
    google: Google, box: Box, tree: Tree, fault: Responder
) -> None:
    """X03: a reader's program can tell that it is the same mail."""
    google.default = fault
    tree.submit(ANA, "survey", CODE)
    box.scan()
    assert outbox_counts(box) == tally(waiting=2, failed=2, unknown=2)

    google.default = None
    box.clock.advance(HOUR)
    box.scan()

    assert len(google.posts) == 4
    assert set(count_by_id(google.posts).values()) == {2}
    assert outbox_counts(box) == tally(sent=2, unknown=2)


@pytest.mark.parametrize(
    "refusal",
    thorough_except(
        {"400"},
        {
            "400": respond_error(400, "invalidArgument"),
            "404": respond_html(404),
            "302": respond_html(302, {"Location": "/elsewhere"}),
        },
    ),
)
def test_gmail_refused_mail_is_dead_and_blocks_nothing(
    google: Google, box: Box, tree: Tree, refusal: Responder
) -> None:
    """X04: a refusal is final, and what comes after it goes out."""
    google.default = refusal
    tree.submit(ANA, "survey", CODE)
    box.scan()
    assert len(google.posts) == 2
    assert outbox_counts(box) == tally(dead=2)

    google.default = None
    box.clock.advance(100 * HOUR)
    box.scan()
    assert len(google.posts) == 2
    tree.approve(ANA, "survey")
    box.scan()

    assert events_and_recipients(google.posts[2:]) == [("job_approved", ANA)]


def test_gmail_daily_limit_pauses_and_resumes_in_order(google: Google, box: Box, tree: Tree) -> None:
    """X01: looks permanent, is not."""
    google.default = respond_error(403, "dailyLimitExceeded")
    tree.submit(ANA, "survey", CODE)
    with opened_app(box) as app:
        app.run_once(None)
        asked = len(google.posts)
        assert 1 <= asked <= 2
        assert app.dispatcher.queues["mail"].health.pause_reason
        tree.approve(ANA, "survey")
        tree.end(ANA, "survey", 0)
        for _ in range(5):
            box.clock.advance(600)
            app.run_once(box.clock.now)
        assert len(google.posts) == asked  # it rests for an hour

        google.default = None
        box.clock.advance(HOUR)
        app.run_once(box.clock.now)
        assert not app.dispatcher.queues["mail"].health.pause_reason

    to_ana = [post for post in google.posts[asked:] if post.to == ANA]
    assert [post.event for post in to_ana] == ["job_submitted", "job_approved", "job_completed"]
    to_owner = [post.event for post in google.posts[asked:] if post.to == OWNER]
    assert to_owner == ["job_submitted", "job_completed"]
    assert outbox_counts(box) == tally(sent=5)


def test_gmail_revoked_sign_in_pauses_until_the_next_sign_in(google: Google, box: Box, tree: Tree) -> None:
    """X07: nothing is dropped, nothing comes twice, and no restart is needed."""
    with opened_app(box) as app:
        google.revoke()
        tree.submit(ANA, "survey", CODE)
        app.run_once(None)
        assert "notify init" in app.dispatcher.queues["mail"].health.pause_reason
        tree.approve(ANA, "survey")
        box.clock.advance(60)
        app.run_once(box.clock.now)
        asked = len(google.posts)
        assert asked <= 2
        assert outbox_counts(box).waiting == 3

        google.write_token(box.home.token)
        box.clock.advance(301)
        app.run_once(box.clock.now)
        assert not app.dispatcher.queues["mail"].health.pause_reason

    assert [post.event for post in google.posts[asked:] if post.to == ANA] == ["job_submitted", "job_approved"]
    assert outbox_counts(box) == tally(sent=3)


def test_gmail_mails_of_a_job_are_one_conversation(google: Google, box: Box, tree: Tree) -> None:
    """B04: one conversation for each job and recipient."""
    tree.submit(ANA, "survey", CODE)
    tree.submit(BO, "other", CODE)
    box.scan()
    tree.approve(ANA, "survey")
    box.scan()
    tree.end(ANA, "survey", 0)
    box.scan()

    conversations: dict[tuple[str, str], list[Post]] = {}
    for post in google.posts:
        conversations.setdefault((post.to, post.subject), []).append(post)
    assert sorted(len(posts) for posts in conversations.values()) == [1, 1, 2, 3]
    threads = []
    for first, *later in conversations.values():
        assert first.thread is None
        assert len({post.thread for post in later}) <= 1
        threads += [post.thread for post in later[:1]]
        assert len({str(post.mail["References"]) for post in [first, *later]}) == 1
    assert None not in threads
    assert len(set(threads)) == len(threads)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("=?utf-8?q?=0D=0ABcc=3A_eve=40elsewhere.example?=", id="encoded-line-end"),
        pytest.param("x\nBcc: eve@elsewhere.example", id="line-end"),
    ],
)
def test_gmail_hostile_job_name_adds_no_recipient(google: Google, box: Box, tree: Tree, name: str) -> None:
    """X11: code of the owner's never leaves to an address that a job's name brought along."""
    tree.submit(ANA, name, CODE)
    box.scan()

    assert len(google.posts) == 2
    for post in google.posts:
        assert "Bcc" not in post.mail
        assert b"\r\nBcc:" not in post.source


@pytest.mark.thorough
def test_start_without_a_token_names_notify_init(google: Google, box: Box, tree: Tree) -> None:
    """S03."""
    box.home.token.unlink()

    done = box.notify("start", check=2)

    assert "notify init" in done.stdout + done.stderr
    assert not worker_lock.is_held(box.home)
