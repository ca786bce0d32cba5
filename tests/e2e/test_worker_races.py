"""Starts, stops and kills that happen at the same time, with real processes."""

from __future__ import annotations

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

from syftnotify.runtime import process
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.locks import file_lock
from tests.fakes.google import Google, hang, respond_html, respond_when, serve_google
from tests.gmail_boxes import count_by_id
from tests.support import ANA, OWNER, TIMEOUT, Box, mails_in, tally, wait_until, workers_of
from tests.trees import Disk, VersionedReviewTree
from tests.workers import kill_worker, open_outbox_counts, outbox_counts, start_worker


@pytest.fixture
def tree(box: Box) -> VersionedReviewTree:
    """A tree with ANA as an approved peer."""
    tree = VersionedReviewTree(Disk(box.root))
    tree.grant(ANA)
    return tree


def submit(tree: VersionedReviewTree, *names: str) -> None:
    for name in names:
        tree.submit(name)
        tree.receive(name)


def configure_gmail(box: Box, google: Google, *, at_once: int = 16) -> None:
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


def run_at_once(box: Box, commands: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
    """Run these commands at the same time; returns the exit code and the output of each."""
    processes = [box.start_process(*arguments, stderr=subprocess.STDOUT) for arguments in commands]
    try:
        return [
            (each.returncode, output) for each in processes for output, _ in [each.communicate(timeout=4 * TIMEOUT)]
        ]
    finally:
        for each in processes:
            each.kill()
            each.wait()


@pytest.fixture
def other_program() -> Iterator[subprocess.Popen[bytes]]:
    """A program that has nothing to do with the worker."""
    with subprocess.Popen(["sleep", "600"]) as program:
        yield program
        program.kill()


# -- many at once ------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_start_twenty_at_once_leave_one_worker(box: Box) -> None:
    """S16: the others name its pid."""
    done = run_at_once(box, [["start"]] * 20)

    assert sorted(code for code, _ in done) == [0] + [3] * 19, done
    pid = worker_lock.holder_pid(box.home)
    assert workers_of(box) == [pid]
    assert all(f"pid {pid}" in output for _, output in done), done
    assert not [output for _, output in done if "Traceback" in output]
    box.notify("stop", check=0)
    wait_until(lambda: not workers_of(box), what="no worker is left")


@pytest.mark.thorough
def test_run_once_six_at_once_send_each_mail_once(box: Box, tree: VersionedReviewTree) -> None:
    """S16, N20: as from a crontab whose runs overlap."""
    box.notify("run", "--once", check=0)
    submit(tree, "survey")
    done = run_at_once(box, [["run", "--once"]] * 6)

    assert {code for code, _ in done} <= {0, 3}, done
    assert 0 in {code for code, _ in done}
    assert sorted(mail.to for mail in box.mails()) == [ANA, OWNER]


@pytest.mark.thorough
def test_stop_six_at_once_end_without_traceback(box: Box) -> None:
    """S16."""
    pid = start_worker(box)
    done = run_at_once(box, [["stop"]] * 6)

    assert {code for code, _ in done} <= {0, 3}, done
    assert 0 in {code for code, _ in done}
    assert not [output for _, output in done if "Traceback" in output]
    assert not worker_lock.is_held(box.home)
    wait_until(lambda: pid not in workers_of(box), what="the worker has ended")


@pytest.mark.thorough
def test_restart_five_at_once_leave_one_worker(box: Box) -> None:
    """B07."""
    start_worker(box)
    done = run_at_once(box, [["restart"]] * 5)

    assert {code for code, _ in done} <= {0, 3}, done
    assert 0 in {code for code, _ in done}
    assert not [output for _, output in done if "Traceback" in output]
    wait_until(
        lambda: workers_of(box) == [worker_lock.holder_pid(box.home)], what="one worker is left, and holds the lock"
    )


# -- stops in the middle -----------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_stop_finishes_attempts_and_leaves_the_rest_queued(box: Box, tree: VersionedReviewTree, google: Google) -> None:
    """S16, X01, F2: twelve mails, two at a time, none answered before the stop: each is sent once."""
    configure_gmail(box, google, at_once=2)
    released = threading.Event()
    google.default = respond_when(released)
    start_worker(box)
    submit(tree, *(f"job {number}" for number in range(6)))
    wait_until(lambda: len(google.posts) == 2, what="two mails are in flight")
    wait_until(lambda: worker_status.read(box.home).waiting == 12, what="all are in the outbox")
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(box.notify, "stop", check=0)
        wait_until(lambda: "stopping" in box.home.log.read_text(), what="the worker has the signal")
        released.set()
        stopping.result(TIMEOUT)

    assert len(google.posts) == 2
    assert outbox_counts(box) == tally(waiting=10, sent=2)
    google.default = None
    start_worker(box)
    wait_until(lambda: worker_status.read(box.home).sent == 12, what="the rest")
    box.notify("stop", check=0)
    assert set(count_by_id(google.posts).values()) == {1}
    assert len(google.posts) == 12


@pytest.mark.thorough
def test_stop_timeout_counts_cut_off_attempts_as_unknown(box: Box, tree: VersionedReviewTree, google: Google) -> None:
    """S16, X03: they may have arrived, so they are sent again with the same id."""
    configure_gmail(box, google)
    google.default = hang(60)
    start_worker(box)
    submit(tree, "survey")
    wait_until(lambda: len(google.posts) == 2, what="both mails are in flight")
    done = box.notify("stop", "--timeout", "0.5", check=1)
    assert "killed" in done.stderr

    google.default = None
    start_worker(box)
    wait_until(lambda: worker_status.read(box.home).sent == 2, what="both again")
    box.notify("stop", check=0)
    assert set(count_by_id(google.posts).values()) == {2}
    assert outbox_counts(box) == tally(sent=2, unknown=2)


@pytest.mark.thorough
def test_stop_during_a_backoff_does_not_wait_for_it(box: Box, tree: VersionedReviewTree, google: Google) -> None:
    """S16, X01: the next worker delivers."""
    configure_gmail(box, google)
    google.default = respond_html(503)
    start_worker(box)
    submit(tree, "survey")
    wait_until(lambda: worker_status.read(box.home).failed == 2, what="both attempts failed")
    box.notify("stop", check=0)  # exit code 1 would mean that it was killed
    refused = len(google.posts)
    assert outbox_counts(box) == tally(waiting=2, failed=2)

    google.default = None
    start_worker(box)
    # The first backoff is at most 30 s.
    wait_until(lambda: worker_status.read(box.home).sent == 2, what="both")
    box.notify("stop", check=0)
    assert set(count_by_id(google.posts[refused:]).values()) == {1}
    assert len(google.posts) == refused + 2


@pytest.mark.thorough
def test_stop_during_a_pause_does_not_wait_for_it(box: Box, tree: VersionedReviewTree, google: Google) -> None:
    """S16, X01: the next worker tries at once."""
    with serve_google() as gone:
        configure_gmail(box, gone)
    start_worker(box)
    submit(tree, "survey")
    wait_until(lambda: worker_status.read(box.home).failed > 0, what="the connection fails")
    box.notify("stop", check=0)  # exit code 1 would mean that it was killed

    box.home.token.unlink()
    configure_gmail(box, google)
    start_worker(box)
    wait_until(lambda: worker_status.read(box.home).sent == 2, what="both")
    box.notify("stop", check=0)
    assert set(count_by_id(google.posts).values()) == {1}


@pytest.mark.thorough
def test_sigterm_during_the_first_scan_ends_the_worker_after_it(box: Box, tree: VersionedReviewTree) -> None:
    """S16: `start` succeeds before."""
    submit(tree, "survey")
    with file_lock(box.home.root / "state.json.lock", seconds=5) as held:
        assert held
        starting = subprocess.Popen(
            [sys.executable, "-P", "-m", "syftnotify", "start"], env=box.environment(), stderr=subprocess.DEVNULL
        )
        wait_until(
            lambda: box.home.outbox.exists() and open_outbox_counts(box) == tally(waiting=1),
            what="the first scan enqueues",
        )
        pid = worker_lock.holder_pid(box.home)
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
    assert starting.wait(timeout=TIMEOUT) == 0
    wait_until(lambda: not worker_lock.is_held(box.home), what="the lock is free")
    wait_until(lambda: not workers_of(box), what="no worker is left")
    box.notify("run", "--once", check=0)

    assert [mail.sent for mail in box.mails()] == [("digest", "owner", OWNER)]


# -- kills -------------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_start_worker_killed_before_it_is_ready_is_exit_one(box: Box, tree: VersionedReviewTree) -> None:
    """S16."""
    submit(tree, "survey")
    with file_lock(box.home.root / "state.json.lock", seconds=5) as held:
        assert held
        starting = subprocess.Popen(
            [sys.executable, "-P", "-m", "syftnotify", "start"],
            env=box.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: open_outbox_counts(box) == tally(waiting=1), what="the first scan is under way")
        pid = worker_lock.holder_pid(box.home)
        assert pid is not None
        kill_worker(box, pid)
        _, output = starting.communicate(timeout=TIMEOUT)
    assert starting.returncode == 1
    assert "ended before it was ready" in output
    assert "Traceback" not in output
    box.notify("status", check=3)
    start_worker(box)
    wait_until(lambda: worker_status.read(box.home).sent == 1, what="the catch-up")
    box.notify("stop", check=0)

    assert [mail.sent for mail in box.mails()] == [("digest", "owner", OWNER)]


@pytest.mark.thorough
def test_worker_killed_at_random_moments_loses_nothing(box: Box, tree: VersionedReviewTree) -> None:
    """X01, X03: what is sent more than once is counted as unknown."""
    chance = random.Random(7)
    box.notify("run", "--once", check=0)
    for number in range(5):
        pid = start_worker(box)
        submit(tree, *(f"job {number}-{each}" for each in range(3)))
        time.sleep(chance.uniform(0, 1.5))  # the random moment
        kill_worker(box, pid)
        box.notify("status", check=3)
    start_worker(box)
    wait_until(lambda: worker_status.read(box.home).jobs == 15, what="all jobs are found")
    wait_until(lambda: worker_status.read(box.home).waiting == 0, what="an empty queue")
    box.notify("stop", check=0)
    box.notify("run", "--once", check=0)

    found = mails_in(box.home.mail)
    sent = Counter((entity, mail.to) for mail in found for entity in mail.entities)
    jobs = [tree.entity(f"job {number}-{each}") for number in range(5) for each in range(3)]
    assert set(sent) == {(job, recipient) for job in jobs for recipient in (OWNER, ANA)}
    assert sent.total() - len(sent) <= outbox_counts(box).unknown
    assert outbox_counts(box).dead == 0


# -- pids of other programs --------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_pid_reused_by_another_program_is_no_worker(
    box: Box, tree: VersionedReviewTree, other_program: subprocess.Popen[bytes]
) -> None:
    """S16."""
    kill_worker(box, start_worker(box))
    box.home.lock.write_text(f"{other_program.pid}\n")
    report = worker_status.read(box.home)
    report.pid = other_program.pid
    worker_status.write(box.home, report)

    assert "not running" in box.notify("status", check=3).stdout
    box.notify("stop", check=3)
    assert other_program.poll() is None
    pid = start_worker(box)
    assert pid != other_program.pid
    assert box.home.lock.read_text().strip() == str(pid)
    submit(tree, "survey")
    wait_until(lambda: worker_status.read(box.home).sent == 2, what="it works")
    box.notify("stop", check=0)
    assert other_program.poll() is None


@pytest.mark.thorough
@pytest.mark.parametrize("held", [True, False], ids=["lock held", "lock free"])
def test_stop_never_stops_the_worker_of_another_home(box: Box, tmp_path: Path, held: bool) -> None:
    """S16."""
    other = Box(tmp_path / "another one")
    other.root.mkdir(parents=True)
    other.configure()
    pid = start_worker(other)
    try:
        if held:
            with worker_lock.acquire(box.home):
                box.home.lock.write_text(f"{pid}\n")
                done = box.notify("stop", "--timeout", "0.3", check=1)
            assert "some other program" in done.stderr
        else:
            box.home.lock.write_text(f"{pid}\n")
            box.notify("stop", check=3)
        assert worker_lock.holder_pid(other.home) == pid
        assert "not running" in box.notify("status", check=3).stdout
    finally:
        process.stop(other.home, seconds=20)


@pytest.mark.thorough
def test_text_of_the_lock_file_is_information_only(box: Box) -> None:
    """S16: it prevents no start, and no process is signalled because of it."""
    contents = [b"", b"0\n", b"-1\n", b"1\n", b"x", b"9" * 30, b"\x00\xff"]
    for content in contents:
        box.home.lock.write_bytes(content)
        box.notify("stop", check=3)
    box.notify("status", check=3)
    for content in contents:
        start_worker(box)
        box.home.lock.write_bytes(content)
        # Without a process of that number the worker's report names it.
        box.notify("stop", check=1 if content == b"1\n" else 0)
        box.home.lock.write_bytes(b"")
        box.notify("stop", check=0 if content == b"1\n" else 3)
