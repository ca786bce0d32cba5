"""Emitting beside a real worker, from real processes, and through kills."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from syftnotify.sources.spool import Spool
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_status
from tests.emitting import emit, entities_of, scan_all, spooled
from tests.support import PROJECT_ROOT, TIMEOUT, Box, wait_until


def test_start_notifies_events_emitted_before_it(box: Box) -> None:
    box.notify("emit", "job_failed", "--entity", "run/1", check=0)
    assert len(spooled(box)) == 1
    box.notify("start", check=0)
    try:
        wait_until(box.mails, what="the mail")
    finally:
        box.notify("stop", check=0)

    assert entities_of(box) == ["run/1"]
    assert spooled(box) == []


@contextlib.contextmanager
def idle_worker(box: Box, **changes: Any) -> Iterator[None]:
    """A worker that scans every hour unless it is woken."""
    box.configure({"notify": {"interval": 3600}, **changes})
    box.notify("start", check=0)
    try:
        wait_until(lambda: worker_status.read(box.home).watching, what="it watches")
        yield
    finally:
        box.notify("stop", check=0)


@pytest.mark.parametrize("is_first", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_worker_notifies_emitted_events_at_once(box: Box, is_first: bool) -> None:
    """N28: also of the first event, which creates the folder."""
    if not is_first:
        emit(box, entity="before")
    with idle_worker(box):
        emit(box, entity="now")
        wait_until(lambda: "now" in entities_of(box), what="the mail, long before the next scan is due")
        emit(box, entity="later")
        wait_until(lambda: "later" in entities_of(box), what="the next mail")


def test_emit_without_configuration_warns_and_prints_the_key(tmp_path: Path) -> None:
    """A9: the event is kept; standard output holds the key alone."""
    box = Box(tmp_path)
    done = box.run_process("emit", "job_failed", "--entity", "run/1", "--key", "7", check=0)

    assert done.stdout == "emitted run/1 job_failed 7\n"
    warning = " ".join(done.stderr.split())
    assert warning.startswith(f"warning: no configuration at {box.home.config}; the event is delivered once")
    assert f"`notify init --home {shlex.quote(str(box.home.root))}`" in warning
    assert len(spooled(box)) == 1


def test_emit_reads_payload_of_megabytes_from_standard_input(box: Box) -> None:
    """A6: a command line holds 128 KiB an argument; bytes that are not UTF-8 are replaced."""
    content = json.dumps({"name": "nightly", "error": "y" * 3_000_000 + "HERE"}).encode().replace(b"HERE", b"caf\xe9")
    command = ["-P", "-m", "syftnotify", "emit", "job_failed", "--entity", "x", "--payload", "-"]
    done = subprocess.run(
        [sys.executable, *command],
        env=box.environment(),
        input=content,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert spooled(box)[0]["payload"]["name"] == "nightly"
    assert spooled(box)[0]["payload"]["error"].endswith("ycaf\ufffd")


# -- killed ------------------------------------------------------------------------------------------------------------

# Emits events and prints each entity after `emit` has returned; dies at a fail-point if one is named.
EMITTER = """
import sys
from syftnotify import emit
from syftnotify.system import failpoints
from tests.chaos.death import kill_at

home, name, death = sys.argv[1:4]
if death:
    failpoints.on_reach = kill_at(death)
for number in range(int(sys.argv[4])):
    emit("job_failed", f"{name}/{number}", home=home)
    print(f"{name}/{number}", flush=True)
"""


def emitter(box: Box, name: str, *, death: str = "", count: int = 100_000) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", EMITTER, str(box.home.root), name, death, str(count)],
        env={**box.environment(), "PYTHONPATH": str(PROJECT_ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("death", "whole"), [("file.written:1", 0), ("file.written:3", 2), ("file.renamed:1", 1), ("file.renamed:3", 3)]
)
def test_emitter_killed_leaves_nothing_or_a_complete_event(box: Box, death: str, whole: int) -> None:
    """X01"""
    process = emitter(box, "a", death=death)
    process.communicate(timeout=TIMEOUT)

    assert process.returncode == -signal.SIGKILL
    assert [event["entity"] for event in spooled(box)] == [f"a/{number}" for number in range(whole)]
    emit(box, entity="after")
    scan_all(box)
    assert sorted(entities_of(box)) == sorted([*(f"a/{number}" for number in range(whole)), "after"])
    assert list(box.home.spool.glob("*.damaged-*")) == []


@pytest.mark.thorough
def test_emitters_killed_at_any_time_lose_no_confirmed_event(box: Box) -> None:
    """X01: and while a scan reads what there is."""
    randomness = random.Random(7)
    box.home.spool.mkdir(mode=0o700)
    processes = [emitter(box, f"e{number}", count=12) for number in range(8)]
    confirmed: list[str] = []
    seen: list[str] = []

    def killed(process: subprocess.Popen[str]) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(randomness.uniform(0.2, 2.0))
        process.kill()
        confirmed.extend(process.communicate(timeout=TIMEOUT)[0].split())

    spool = Spool(box.home.spool)
    with ThreadPoolExecutor(len(processes)) as pool:
        deaths = [pool.submit(killed, process) for process in processes]
        while not all(death.done() for death in deaths):
            taken = spool.scan()
            seen += [event.entity for event in taken.events]
            spool.remove(taken)
        for death in deaths:
            death.result()
    seen += [event.entity for event in spool.scan().events]

    assert Counter(seen).keys() >= set(confirmed)
    assert max(Counter(seen).values(), default=1) == 1
    assert len(set(seen) - set(confirmed)) <= len(processes), "at most the one that each was at"
    assert list(box.home.spool.glob("*.damaged-*")) == []


@pytest.mark.thorough
def test_eight_emitters_at_once_lose_no_event(box: Box) -> None:
    processes = [emitter(box, f"e{number}", count=5) for number in range(8)]
    for process in processes:
        process.communicate(timeout=TIMEOUT)
    assert [process.returncode for process in processes] == [0] * 8
    scan_all(box)

    numbers: dict[str, list[int]] = defaultdict(list)
    for event in json.loads(box.notify("history", "-n", "0", "--json", check=0).stdout):
        name, _, number = event["entity"].partition("/")
        numbers[name].append(int(number))
    assert numbers == {f"e{number}": list(range(5)) for number in range(8)}
    assert len(box.mails()) == 40


@contextlib.contextmanager
def worker_that_dies(box: Box, death: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker that dies at the fail-point `death`."""
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.chaos.worker", "--home", str(box.home.root)),
            *("--report-fd", str(write_end), "--kill-at", death),
        ],
        cwd=PROJECT_ROOT,
        env=box.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=(write_end,),
    )
    os.close(write_end)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        os.close(read_end)


@pytest.mark.thorough
def test_worker_killed_before_removing_the_file_notifies_once(box: Box) -> None:
    """X01: the event lies in the outbox, and still in the spool."""
    emit(box)
    with worker_that_dies(box, "outbox.enqueued:1") as worker:
        assert worker.wait(TIMEOUT) == -signal.SIGKILL
    assert len(spooled(box)) == 1
    with contextlib.closing(SqliteOutbox(box.home.outbox)) as outbox:
        assert outbox.history.counts().waiting == 1

    scan_all(box)
    scan_all(box)
    assert entities_of(box) == ["run/1"]
    assert spooled(box) == []
