"""The whole way with Gmail at its end: a tree, the outbox, faults, a real worker, a real sign-in."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.outbox import OutboxCounts
from syftnotify.runtime.container import App
from syftnotify.services.demo import Tree
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_lock, worker_status
from tests.fakes.google import (
    Answer,
    Asked,
    Google,
    Post,
    closes,
    cuts_the_body,
    hangs,
    page,
    resets,
    says,
    serving,
    visited,
)
from tests.support import ANA, BO, OWNER, PATIENCE, Box, tally, wait_until

CODE = "print('mean income')\n"
HOUR = 3600.0


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
    box.look()
    assert counts(box) == OutboxCounts()
    return tree


def through_gmail(box: Box, google: Google, *, second: bool = False, **changes: Any) -> None:
    mail = {
        "type": "gmail",
        "token": "gmail_token.json",
        "api_endpoint": google.url,
        "rate": 1000,
        "burst": 1000,
        **changes,
    }
    box.configure({"transports": {"mail": mail, **({"box": {"type": "maildir"}} if second else {})}})


def counts(box: Box) -> OutboxCounts:
    outbox = SqliteOutbox(box.home.outbox)
    try:
        return outbox.history.counts()
    finally:
        outbox.close()


def told(posts: list[Post]) -> list[tuple[str, str]]:
    return [(post.event, post.to) for post in posts]


def ids(posts: list[Post]) -> Counter[str]:
    return Counter(str(post.mail["Message-ID"]) for post in posts)


@contextlib.contextmanager
def at_work(box: Box) -> Iterator[App]:
    """The parts of one process that goes on from look to look, so that a pause is remembered."""
    parts = box.parts()
    try:
        yield parts
    finally:
        parts.close()


# -- faults and recovery -----------------------------------------------------------------------------------------


def test_a_job_reaches_gmail_once_for_each_who_is_told(google: Google, box: Box, tree: Tree) -> None:
    """S01, S05, X13."""
    tree.submit(ANA, "survey", CODE)
    box.look()
    box.clock.advance(HOUR)
    box.look()

    assert Counter(told(google.posts)) == Counter({("job_submitted", OWNER): 1, ("job_submitted", ANA): 1})
    to_owner = next(post for post in google.posts if post.to == OWNER)
    assert CODE.strip() in to_owner.text
    assert counts(box) == tally(sent=2)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(page(503), id="503"),
        pytest.param(says(429, "rateLimitExceeded"), id="429"),
        pytest.param(says(403, "userRateLimitExceeded"), id="403-rate"),
        pytest.param(says(403, "dailyLimitExceeded"), id="daily-limit"),
        pytest.param(says(401, "authError"), id="401"),
    ],
)
def test_what_gmail_did_not_take_is_delivered_exactly_once_when_it_works_again(
    google: Google, box: Box, tree: Tree, fault: Answer
) -> None:
    """X01, G10."""
    google.usual = fault
    tree.submit(ANA, "survey", CODE)
    box.look()
    assert counts(box).waiting == 2
    assert counts(box).sent == 0

    google.usual = None
    faulty = len(google.posts)
    box.clock.advance(2 * HOUR)
    box.look()
    box.clock.advance(2 * HOUR)
    box.look()

    assert Counter(told(google.posts[faulty:])) == Counter({("job_submitted", OWNER): 1, ("job_submitted", ANA): 1})
    assert counts(box) == tally(sent=2)


def test_a_server_that_was_down_gets_everything_once_when_it_is_back(google: Google, box: Box, tree: Tree) -> None:
    """X01."""
    with serving() as gone:
        through_gmail(box, gone)
    tree.submit(ANA, "survey", CODE)
    box.look()
    assert counts(box) == tally(waiting=2, failed=counts(box).failed)
    through_gmail(box, google)
    box.clock.advance(HOUR)
    box.look()

    assert len(google.posts) == 2
    assert counts(box) == tally(sent=2)


@pytest.mark.parametrize("fault", [closes, resets, hangs(0.2), cuts_the_body])
def test_an_unknown_outcome_is_counted_and_sent_again_under_the_same_name(
    google: Google, box: Box, tree: Tree, fault: Answer
) -> None:
    """X03: a reader's program can tell that it is the same mail."""
    google.usual = fault
    tree.submit(ANA, "survey", CODE)
    box.look()
    assert counts(box) == tally(waiting=2, failed=2, unknown=2)

    google.usual = None
    box.clock.advance(HOUR)
    box.look()

    assert len(google.posts) == 4
    assert set(ids(google.posts).values()) == {2}
    assert counts(box) == tally(sent=2, unknown=2)


@pytest.mark.parametrize("refusal", [says(400, "invalidArgument"), page(404), page(302, {"Location": "/elsewhere"})])
def test_a_refused_mail_is_dead_after_one_post_and_holds_up_nobody(
    google: Google, box: Box, tree: Tree, refusal: Answer
) -> None:
    """X04: a refusal is final, and what comes after it goes out."""
    google.usual = refusal
    tree.submit(ANA, "survey", CODE)
    box.look()
    assert len(google.posts) == 2
    assert counts(box) == tally(dead=2)

    google.usual = None
    box.clock.advance(100 * HOUR)
    box.look()
    assert len(google.posts) == 2
    tree.approve(ANA, "survey")
    box.look()

    assert told(google.posts[2:]) == [("job_approved", ANA)]


def test_one_refused_recipient_does_not_stop_the_other(google: Google, box: Box, tree: Tree) -> None:
    """X04."""

    def refuses_ana(asked: Asked) -> None:
        (says(400) if asked.post.to == ANA else says(503))(asked)

    google.usual = refuses_ana
    tree.submit(ANA, "survey", CODE)
    box.look()
    google.usual = None
    box.clock.advance(HOUR)
    box.look()

    assert [post.to for post in google.posts].count(ANA) == 1
    assert counts(box) == tally(sent=1, dead=1)


def test_a_daily_limit_holds_everything_in_order_and_then_lets_it_go(google: Google, box: Box, tree: Tree) -> None:
    """X01: looks permanent, is not."""
    google.usual = says(403, "dailyLimitExceeded")
    tree.submit(ANA, "survey", CODE)
    with at_work(box) as parts:
        parts.run_once(None)
        asked = len(google.posts)
        assert 1 <= asked <= 2
        assert parts.dispatcher.queues["mail"].health.pause_reason
        tree.approve(ANA, "survey")
        tree.end(ANA, "survey", 0)
        for _ in range(5):
            box.clock.advance(600)
            parts.run_once(box.clock.now)
        assert len(google.posts) == asked  # it rests for an hour

        google.usual = None
        box.clock.advance(HOUR)
        parts.run_once(box.clock.now)
        assert not parts.dispatcher.queues["mail"].health.pause_reason

    to_ana = [post for post in google.posts[asked:] if post.to == ANA]
    assert [post.event for post in to_ana] == ["job_submitted", "job_approved", "job_completed"]
    to_owner = [post.event for post in google.posts[asked:] if post.to == OWNER]
    assert to_owner == ["job_submitted", "job_completed"]
    assert counts(box) == tally(sent=5)


def test_a_dead_sign_in_holds_everything_until_somebody_signs_in_again(google: Google, box: Box, tree: Tree) -> None:
    """X07: nothing is dropped, nothing comes twice, and no restart is needed."""
    with at_work(box) as parts:
        google.revoke()
        tree.submit(ANA, "survey", CODE)
        parts.run_once(None)
        assert "notify init" in parts.dispatcher.queues["mail"].health.pause_reason
        tree.approve(ANA, "survey")
        box.clock.advance(60)
        parts.run_once(box.clock.now)
        asked = len(google.posts)
        assert asked <= 2
        assert counts(box).waiting == 3

        google.write_token(box.home.token)
        box.clock.advance(301)
        parts.run_once(box.clock.now)
        assert not parts.dispatcher.queues["mail"].health.pause_reason

    assert [post.event for post in google.posts[asked:] if post.to == ANA] == ["job_submitted", "job_approved"]
    assert counts(box) == tally(sent=3)


def test_gmails_own_limit_of_retries_is_kept_when_one_is_set(google: Google, box: Box, tree: Tree) -> None:
    """G10: `max_retries` counts answers that said: not now."""
    through_gmail(box, google, max_retries=2)
    google.usual = page(503)
    tree.submit(ANA, "survey", CODE)
    for _ in range(6):
        box.look()
        box.clock.advance(2 * HOUR)

    assert set(ids(google.posts).values()) == {3}
    assert counts(box) == tally(dead=2)


def test_the_moment_that_google_names_is_waited_for(google: Google, box: Box, tree: Tree) -> None:
    """G10: even when it is later than our own backoff."""
    google.usual = says(429, "rateLimitExceeded", headers={"Retry-After": "86400"})
    # The hint is counted from the real moment of the answer, so this box lives in real time.
    box.clock.now = time.time()
    tree.submit(ANA, "survey", CODE)
    box.look()
    google.usual = None
    box.clock.advance(86_000)
    box.look()
    assert len(google.posts) == 2
    box.clock.advance(1_000)
    box.look()

    assert len(google.posts) == 4
    assert counts(box) == tally(sent=2)


def test_later_mails_of_a_job_join_their_conversation(google: Google, box: Box, tree: Tree) -> None:
    """B04: one conversation for each job and recipient."""
    tree.submit(ANA, "survey", CODE)
    tree.submit(BO, "other", CODE)
    box.look()
    tree.approve(ANA, "survey")
    box.look()
    tree.end(ANA, "survey", 0)
    box.look()

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
def test_the_name_of_a_job_adds_no_recipient(google: Google, box: Box, tree: Tree, name: str) -> None:
    """X11: code of the owner's never leaves to an address that a job's name brought along."""
    tree.submit(ANA, name, CODE)
    box.look()

    assert len(google.posts) == 2
    for post in google.posts:
        assert "Bcc" not in post.mail
        assert b"\r\nBcc:" not in post.source


# -- a real worker -----------------------------------------------------------------------------------------------


def status(box: Box) -> tuple[int, dict[str, Any]]:
    done = box.notify("status", "--json")
    return done.returncode, json.loads(done.stdout)


def test_a_real_worker_sends_through_gmail_and_says_that_it_can(google: Google, box: Box, tree: Tree) -> None:
    """S01, S16."""
    box.notify("start", check=0)
    tree.submit(ANA, "survey", CODE)
    wait_until(lambda: len(google.posts) == 2, what="two mails at Gmail")

    wait_until(lambda: worker_status.read(box.home).sent == 2)
    code, said = status(box)
    assert code == 0
    assert said["transports"]["mail"] == {"type": "gmail", "can_send": True, "problem": None}
    box.notify("stop", check=0)
    assert len(google.posts) == 2
    assert "secret-of-" not in box.home.log.read_text()


@pytest.mark.parametrize("expired", [True, False])
def test_a_real_worker_whose_sign_in_died_says_so_by_another_way(
    google: Google, box: Box, tree: Tree, expired: bool
) -> None:
    """X07: the channel pauses, nothing is dropped, another channel tells the owner, status is 4."""
    through_gmail(box, google, second=True)
    google.write_token(box.home.token, expired=expired)
    google.revoke()
    box.notify("start", check=0)
    tree.submit(ANA, "survey", CODE)

    (alert,) = wait_until(box.mails, what="the alert in the Maildir")
    assert alert.told == ("system_alert", "owner", OWNER)
    assert "mail" in alert.subject
    assert "notify init" in alert.text
    wait_until(
        lambda: worker_status.read(box.home).transports["mail"]["problem"] and worker_status.read(box.home).sent == 1
    )
    wait_until(lambda: worker_status.read(box.home).waiting == 2)
    code, said = status(box)
    assert code == 4
    assert said["waiting"] == 2
    assert said["transports"]["mail"]["can_send"] is False
    assert "notify init" in said["transports"]["mail"]["problem"]
    assert said["transports"]["box"]["can_send"] is True
    assert any("mail" in ailment for ailment in said["unwell"])
    refused = len(google.posts)
    box.notify("stop", check=0)

    google.write_token(box.home.token)
    box.notify("start", check=0)
    wait_until(lambda: worker_status.read(box.home).sent == 3, what="the two mails")
    assert status(box)[0] == 0
    box.notify("stop", check=0)
    assert Counter(told(google.posts[refused:])) == Counter({("job_submitted", OWNER): 1, ("job_submitted", ANA): 1})
    assert len(box.mails()) == 1
    assert "secret-of-" not in box.home.log.read_text()


def test_a_worker_that_is_killed_while_gmail_is_silent_sends_again_and_counts_it(
    google: Google, box: Box, tree: Tree
) -> None:
    """X01, X03: SIGKILL in the middle of a send."""
    google.usual = hangs(60)
    box.notify("start", check=0)
    tree.submit(ANA, "survey", CODE)
    wait_until(lambda: len(google.posts) == 2, what="two sends under way")
    pid = worker_lock.holder_pid(box.home)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not worker_lock.is_held(box.home))

    google.usual = None
    box.notify("start", check=0)
    wait_until(lambda: counts(box).sent == 2, what="both mails sent")
    box.notify("stop", check=0)

    assert set(ids(google.posts).values()) == {2}
    assert counts(box) == tally(sent=2, unknown=2)


def test_a_worker_does_not_start_before_somebody_has_signed_in(google: Google, box: Box, tree: Tree) -> None:
    """S03."""
    box.home.token.unlink()

    done = box.notify("start", check=2)

    assert "notify init" in done.stdout + done.stderr
    assert not worker_lock.is_held(box.home)


# -- a real sign-in ----------------------------------------------------------------------------------------------


def conversation(box: Box, google: Google, words: list[str], *, terminal: bool) -> tuple[int, str]:
    """Run `notify init` and answer its one question as a person does; returns the exit code and what it said."""
    command = [sys.executable, "-P", "-m", "syftnotify", *words]
    if terminal:
        ours, theirs = pty.openpty()
        reads = writes = ours
        started = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=box.environment())
        os.close(theirs)
    else:
        stdin, writes = os.pipe()
        reads, stdout = os.pipe()
        started = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stdout, env=box.environment())
        os.close(stdin)
        os.close(stdout)
    heard, answered = "", False
    try:
        with started:
            while select.select([reads], [], [], 30)[0]:
                try:
                    piece = os.read(reads, 65536)
                except OSError:  # the way in which a terminal says that nobody is there any more
                    break
                if not piece:
                    break
                heard += piece.decode()
                question = re.search(
                    r"(http://127\.0\.0\.1:\d+/auth\?\S+)\s.*paste that whole address", heard, re.DOTALL
                )
                if question and not answered:
                    answered = True
                    os.write(writes, f"{visited(question[1])}\n".encode())
            code = started.wait(timeout=PATIENCE)
    finally:
        if started.poll() is None:
            started.kill()
        for descriptor in {reads, writes}:
            os.close(descriptor)
    return code, heard


@pytest.mark.parametrize("terminal", [True, False])
def test_signing_in_without_a_browser_ends_with_a_test_mail(
    google: Google, box: Box, tmp_path: Path, terminal: bool
) -> None:
    """S02, S16, N04, X14."""
    through_gmail(box, google)
    credentials = google.write_credentials(tmp_path / "downloads" / "client_secret_123.json")

    code, heard = conversation(
        box, google, ["init", "--no-browser", "--credentials", str(credentials)], terminal=terminal
    )

    assert code == 0, heard
    assert "signed in" in heard
    token = json.loads(box.home.token.read_text())
    assert token["refresh_token"] in google.refresh_tokens
    for path in (box.home.token, box.home.credentials):
        assert path.stat().st_mode & 0o777 == 0o600
    (post,) = google.posts
    assert (post.event, post.to) == ("test", OWNER)
    assert post.access_token == token["token"]
    assert token["token"] not in heard
    assert token["refresh_token"] not in heard


@pytest.mark.parametrize("content", ['{"web": {}}', "no JSON", None])
def test_init_with_a_wrong_credentials_file_changes_nothing(
    google: Google, box: Box, tmp_path: Path, content: str | None
) -> None:
    """D3: neither the credentials that are there nor the configuration; the file that was given is named."""
    through_gmail(box, google)
    good = google.write_credentials(box.home.credentials).read_bytes()
    config = box.home.config.read_bytes()
    bad = tmp_path / "bad.json"
    if content is not None:
        bad.write_text(content, encoding="utf-8")

    done = box.notify("init", "--no-browser", "--interval", "77", "--credentials", str(bad), check=2)

    assert str(bad) in " ".join(done.stderr.split())
    assert box.home.credentials.read_bytes() == good
    assert box.home.config.read_bytes() == config


def test_init_with_an_endless_credentials_file_is_refused(google: Google, box: Box) -> None:
    """D4"""
    through_gmail(box, google)

    done = box.notify("init", "--no-browser", "--credentials", "/dev/zero", check=2)

    assert "/dev/zero cannot be read: not a regular file" in " ".join(done.stderr.split())


def test_a_token_that_is_kept_elsewhere_is_saved_there(google: Google, box: Box, tmp_path: Path) -> None:
    """S02: `transports.<name>.token` says where."""
    through_gmail(box, google, token="tokens/mail.json")
    (box.home.root / "tokens").mkdir()
    credentials = google.write_credentials(tmp_path / "credentials.json")

    code, heard = conversation(box, google, ["init", "--no-browser", "--credentials", str(credentials)], terminal=False)

    assert code == 0, heard
    assert (box.home.root / "tokens" / "mail.json").stat().st_mode & 0o777 == 0o600
    assert not box.home.token.exists()


def test_a_sign_in_that_is_given_up_keeps_the_old_token(google: Google, box: Box) -> None:
    """S02: the end of the input is a no."""
    through_gmail(box, google)
    google.write_credentials(box.home.credentials)
    before = google.write_token(box.home.token).read_bytes()

    done = box.notify("init", "--no-browser", check=2)

    assert "no address was given" in done.stderr
    assert box.home.token.read_bytes() == before
    assert google.posts == []


def test_a_test_mail_that_gmail_refuses_is_an_error_that_keeps_the_sign_in(google: Google, box: Box) -> None:
    """N04."""
    through_gmail(box, google)
    google.write_token(box.home.token)
    google.usual = says(403, "forbidden")

    done = box.notify("init", check=1)

    assert "403" in done.stderr
    assert box.home.token.exists()
    assert len(google.posts) == 1
