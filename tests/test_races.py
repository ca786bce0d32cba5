"""Many hands at one home: starts, stops and kills that meet, real processes all; `test_process` has the single ones."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from syftnotify import process, running
from syftnotify.files import exclusive
from syftnotify.outbox import Counts, Outbox
from tests.google import Google, Post, answers_when, hangs, page, serving
from tests.support import ANA, OWNER, PATIENCE, Box, mails_in, tally, wait_until, workers_of
from tests.trees import Disk, VersionedReviewTree

pytestmark = pytest.mark.fire


@pytest.fixture
def tree(box: Box) -> VersionedReviewTree:
    """The box's tree, with ana as a peer of old; no syft-bg is near."""
    tree = VersionedReviewTree(Disk(box.root))
    tree.grant(ANA)
    return tree


def submit(tree: VersionedReviewTree, *names: str) -> None:
    for name in names:
        tree.submit(name)
        tree.receive(name)


@pytest.fixture
def google() -> Iterator[Google]:
    with serving() as google:
        yield google


def through(box: Box, google: Google, *, at_once: int = 16) -> None:
    box.configure(
        {
            "notify": {
                "interval": 1,
                "sync_state_path": str(box.snapshot),
                "notify_state_path": str(box.snapshot),
                "max_concurrent_deliveries": at_once,
            },
            "transports": {"mail": {"type": "gmail", "api_endpoint": google.url, "rate": 1000, "burst": 1000}},
        }
    )
    if not box.home.token.exists():
        google.write_token(box.home.token)


def ids(posts: Sequence[Post]) -> Counter[str]:
    return Counter(str(post.mail["Message-ID"]) for post in posts)


def counts(box: Box) -> Counts:
    with contextlib.closing(Outbox(box.home.outbox, repair=False)) as outbox:
        return outbox.counts()


def started(box: Box) -> int:
    box.notify("start", check=0)
    pid = running.holder(box.home)
    assert pid is not None
    return pid


def kill(box: Box, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not running.is_held(box.home), what="the lock is free")


def at_once(box: Box, commands: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
    """Run these commands at the same time; the exit code of each and what it said."""
    begun = [box.begin(*words, stderr=subprocess.STDOUT) for words in commands]
    try:
        return [(each.returncode, said) for each in begun for said, _ in [each.communicate(timeout=4 * PATIENCE)]]
    finally:
        for each in begun:
            each.kill()
            each.wait()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A program that has nothing to do with us."""
    with subprocess.Popen(["sleep", "600"]) as sleeper:
        yield sleeper
        sleeper.kill()


# -- many at once ------------------------------------------------------------------------------------------------------


def test_of_twenty_starts_at_once_one_wins_and_the_others_name_it(box: Box) -> None:
    """S16."""
    done = at_once(box, [["start"]] * 20)

    assert sorted(code for code, _ in done) == [0] + [3] * 19, done
    pid = running.holder(box.home)
    assert workers_of(box) == [pid]
    assert all(f"pid {pid}" in said for _, said in done), done
    assert not [said for _, said in done if "Traceback" in said]
    box.notify("stop", check=0)
    wait_until(lambda: not workers_of(box), what="no worker is left")


def test_of_many_who_look_once_at_once_nobody_tells_twice(box: Box, tree: VersionedReviewTree) -> None:
    """S16, N20: as from a crontab that overtakes itself."""
    box.notify("run", "--once", check=0)
    submit(tree, "survey")
    done = at_once(box, [["run", "--once"]] * 6)

    assert {code for code, _ in done} <= {0, 3}, done
    assert 0 in {code for code, _ in done}
    assert sorted(mail.to for mail in box.mails()) == [ANA, OWNER]


def test_of_many_stops_at_once_none_hangs_and_none_is_a_traceback(box: Box) -> None:
    """S16."""
    pid = started(box)
    done = at_once(box, [["stop"]] * 6)

    assert {code for code, _ in done} <= {0, 3}, done
    assert 0 in {code for code, _ in done}
    assert not [said for _, said in done if "Traceback" in said]
    assert not running.is_held(box.home)
    wait_until(lambda: pid not in workers_of(box), what="it is gone")


def test_many_restarts_at_once_leave_one_worker(box: Box) -> None:
    """B07."""
    started(box)
    done = at_once(box, [["restart"]] * 5)

    assert {code for code, _ in done} <= {0, 3}, done
    assert 0 in {code for code, _ in done}
    assert not [said for _, said in done if "Traceback" in said]
    wait_until(lambda: workers_of(box) == [running.holder(box.home)], what="one worker is left, and holds the lock")


# -- a stop in the middle ----------------------------------------------------------------------------------------------


def test_a_stop_finishes_what_is_on_its_way_and_leaves_the_rest_to_the_next_worker(
    box: Box, tree: VersionedReviewTree, google: Google
) -> None:
    """S16, X01, F2: twelve mails, two at a time, and Google answers none before the stop: each goes out once."""
    through(box, google, at_once=2)
    released = threading.Event()
    google.usual = answers_when(released)
    started(box)
    submit(tree, *(f"job {number}" for number in range(6)))
    wait_until(lambda: len(google.posts) == 2, what="two mails are on their way")
    wait_until(lambda: running.read(box.home).waiting == 12, what="all are in the outbox")
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(box.notify, "stop", check=0)
        wait_until(lambda: "stopping" in box.home.log.read_text(), what="the worker has the signal")
        released.set()
        stopping.result(PATIENCE)

    assert len(google.posts) == 2
    assert counts(box) == tally(waiting=10, sent=2)
    google.usual = None
    started(box)
    wait_until(lambda: running.read(box.home).sent == 12, what="the rest")
    box.notify("stop", check=0)
    assert set(ids(google.posts).values()) == {1}
    assert len(google.posts) == 12


def test_a_stop_that_cannot_wait_counts_what_it_cut_off(box: Box, tree: VersionedReviewTree, google: Google) -> None:
    """S16, X03: it may have arrived, so it goes out again under the same name."""
    through(box, google)
    google.usual = hangs(60)
    started(box)
    submit(tree, "survey")
    wait_until(lambda: len(google.posts) == 2, what="both mails are on their way")
    done = box.notify("stop", "--timeout", "0.5", check=1)
    assert "killed" in done.stderr

    google.usual = None
    started(box)
    wait_until(lambda: running.read(box.home).sent == 2, what="both again")
    box.notify("stop", check=0)
    assert set(ids(google.posts).values()) == {2}
    assert counts(box) == tally(sent=2, unknown=2)


def test_a_stop_during_a_backoff_returns_soon_and_the_next_worker_delivers(
    box: Box, tree: VersionedReviewTree, google: Google
) -> None:
    """S16, X01."""
    through(box, google)
    google.usual = page(503)
    started(box)
    submit(tree, "survey")
    wait_until(lambda: running.read(box.home).failed == 2, what="both wait for their next try")
    box.notify("stop", check=0)  # it would have been killed, and exit 1, had it waited for the next try
    refused = len(google.posts)
    assert counts(box) == tally(waiting=2, failed=2)

    google.usual = None
    started(box)
    # The first wait is 30 s at the most.
    wait_until(lambda: running.read(box.home).sent == 2, what="both")
    box.notify("stop", check=0)
    assert set(ids(google.posts[refused:]).values()) == {1}
    assert len(google.posts) == refused + 2


def test_a_stop_while_a_transport_rests_returns_soon_and_the_next_worker_tries_at_once(
    box: Box, tree: VersionedReviewTree, google: Google
) -> None:
    """S16, X01: nobody answered; a new worker does not wait for what the old one waited for."""
    with serving() as gone:
        through(box, gone)
    started(box)
    submit(tree, "survey")
    wait_until(lambda: running.read(box.home).failed > 0, what="nobody answers")
    box.notify("stop", check=0)  # it would have been killed, and exit 1, had it waited for the next try

    box.home.token.unlink()
    through(box, google)
    started(box)
    wait_until(lambda: running.read(box.home).sent == 2, what="both")
    box.notify("stop", check=0)
    assert set(ids(google.posts).values()) == {1}


def test_a_stop_during_the_first_look_is_heard_after_it(box: Box, tree: VersionedReviewTree) -> None:
    """S16: whoever started it is told that it started, and then it ends."""
    submit(tree, "survey")
    with exclusive(box.home.root / "state.json.lock", seconds=5) as held:
        assert held
        starting = subprocess.Popen(
            [sys.executable, "-P", "-m", "syftnotify", "start"], env=box.environment(), stderr=subprocess.DEVNULL
        )
        wait_until(lambda: box.home.outbox.exists() and counts_or_none(box) == tally(waiting=1), what="it looks")
        pid = running.holder(box.home)
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
    assert starting.wait(timeout=PATIENCE) == 0
    wait_until(lambda: not running.is_held(box.home), what="it ends")
    wait_until(lambda: not workers_of(box), what="and is gone")
    box.notify("run", "--once", check=0)

    assert [mail.told for mail in box.mails()] == [("digest", "owner", OWNER)]


def counts_or_none(box: Box) -> Counts | None:
    """How the outbox stands, once it has its tables."""
    with contextlib.suppress(Exception):
        return counts(box)
    return None


# -- kills -------------------------------------------------------------------------------------------------------------


def test_a_start_whose_worker_is_killed_before_it_is_ready_says_so(box: Box, tree: VersionedReviewTree) -> None:
    """S16: it neither hangs nor claims that one runs."""
    submit(tree, "survey")
    with exclusive(box.home.root / "state.json.lock", seconds=5) as held:
        assert held
        starting = subprocess.Popen(
            [sys.executable, "-P", "-m", "syftnotify", "start"],
            env=box.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: counts_or_none(box) == tally(waiting=1), what="the first look is under way")
        pid = running.holder(box.home)
        assert pid is not None
        kill(box, pid)
        _, said = starting.communicate(timeout=PATIENCE)
    assert starting.returncode == 1
    assert "ended before it was ready" in said
    assert "Traceback" not in said
    box.notify("status", check=3)
    started(box)
    wait_until(lambda: running.read(box.home).sent == 1, what="the catch-up")
    box.notify("stop", check=0)

    assert [mail.told for mail in box.mails()] == [("digest", "owner", OWNER)]


def test_killed_again_and_again_while_it_works_it_always_starts_and_loses_nothing(
    box: Box, tree: VersionedReviewTree
) -> None:
    """X01, X03: what came more than once is counted as unknown."""
    chance = random.Random(7)
    box.notify("run", "--once", check=0)
    for number in range(5):
        pid = started(box)
        submit(tree, *(f"job {number}-{each}" for each in range(3)))
        time.sleep(chance.uniform(0, 1.5))  # until the drawn moment: it may strike anywhere
        kill(box, pid)
        box.notify("status", check=3)
    started(box)
    wait_until(lambda: running.read(box.home).jobs == 15, what="all jobs are seen")
    wait_until(lambda: running.read(box.home).waiting == 0, what="nothing waits")
    box.notify("stop", check=0)
    box.notify("run", "--once", check=0)

    found = mails_in(box.home.mail)
    told = Counter((entity, mail.to) for mail in found for entity in mail.entities)
    jobs = [tree.entity(f"job {number}-{each}") for number in range(5) for each in range(3)]
    assert set(told) == {(job, recipient) for job in jobs for recipient in (OWNER, ANA)}
    assert told.total() - len(told) <= counts(box).unknown
    assert counts(box).dead == 0


# -- whose number is it ------------------------------------------------------------------------------------------------


def test_a_number_that_went_to_another_program_is_no_worker(
    box: Box, tree: VersionedReviewTree, sleeper: subprocess.Popen[bytes]
) -> None:
    """S16: after kill -9 the system gave the pid away."""
    kill(box, started(box))
    box.home.lock.write_text(f"{sleeper.pid}\n")
    report = running.read(box.home)
    report.pid = sleeper.pid
    running.write(box.home, report)

    assert "not running" in box.notify("status", check=3).stdout
    box.notify("stop", check=3)
    assert sleeper.poll() is None
    pid = started(box)
    assert pid != sleeper.pid
    assert box.home.lock.read_text().strip() == str(pid)
    submit(tree, "survey")
    wait_until(lambda: running.read(box.home).sent == 2, what="it works")
    box.notify("stop", check=0)
    assert sleeper.poll() is None


@pytest.mark.parametrize("held", [True, False], ids=["lock held", "lock free"])
def test_the_worker_of_another_home_is_never_stopped(box: Box, tmp_path: Path, held: bool) -> None:
    """S16: a worker too, and not ours."""
    other = Box(tmp_path / "another one")
    other.root.mkdir(parents=True)
    other.configure()
    pid = started(other)
    try:
        if held:
            with running.hold(box.home):
                box.home.lock.write_text(f"{pid}\n")
                done = box.notify("stop", "--timeout", "0.3", check=1)
            assert "some other program" in done.stderr
        else:
            box.home.lock.write_text(f"{pid}\n")
            box.notify("stop", check=3)
        assert running.holder(other.home) == pid
        assert "not running" in box.notify("status", check=3).stdout
    finally:
        process.stop(other.home, seconds=20)


def test_whatever_stands_in_the_lock_is_only_information(box: Box) -> None:
    """S16: the lock is the system's; the text in it stops no start and signals nobody."""
    contents = [b"", b"0\n", b"-1\n", b"1\n", b"x", b"9" * 30, b"\x00\xff"]
    for content in contents:
        box.home.lock.write_bytes(content)
        box.notify("stop", check=3)
    box.notify("status", check=3)
    for content in contents:
        started(box)
        box.home.lock.write_bytes(content)
        # Without a process of that number the worker's report names it.
        box.notify("stop", check=1 if content == b"1\n" else 0)
        box.home.lock.write_bytes(b"")
        box.notify("stop", check=0 if content == b"1\n" else 3)
