"""X12: real processes on one database: some scan, some deliver, one takes over."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from syftnotify.services.demo import Tree
from tests.support import ANA, Box, Mail, mails_in, wait_until
from tests.workers import worker_pid

INTERVAL = 1


def boxes(folder: Path, database_url: str, count: int) -> list[Box]:
    """Homes of one data owner on as many machines, with one tree and one Maildir."""
    (folder / "SyftBox").mkdir()
    found = [Box(folder / str(number)) for number in range(count)]
    for box in found:
        box.folder.mkdir()
        box.configure(
            {
                "database": database_url,
                "syftbox_root": str(folder / "SyftBox"),
                "transports": {"box": {"type": "maildir", "path": str(folder / "mail")}},
            },
            notify={"interval": INTERVAL, "sync_state_path": str(folder / "syft-bg.json")},
        )
    return found


@pytest.fixture
def shared_tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "SyftBox", tmp_path / "syft-bg.json")


def arrived(folder: Path, name: str) -> list[Mail]:
    return [mail for mail in mails_in(folder / "mail") if mail.entities[0].endswith(f"/{name}")]


def role(box: Box) -> str:
    return str(json.loads(box.home.worker_status.read_text(encoding="utf-8")).get("role"))


def test_standby_takes_over_a_tree_and_notifies_once(tmp_path: Path, shared_tree: Tree, database_url: str) -> None:
    """Of two workers with one tree, each fact is sent once; the second continues where the killed one was."""
    leader, standby = boxes(tmp_path, database_url, 2)
    shared_tree.peers([], [])
    shared_tree.grant(ANA)
    leader.notify("start", check=0)
    standby.notify("start", check=0)
    assert (role(leader), role(standby)) == ("leader", "standby")
    shared_tree.submit(ANA, "first", "print(1)\n")
    wait_until(lambda: len(arrived(tmp_path, "first")) == 2)
    pid = worker_pid(leader)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    wait_until(lambda: role(standby) == "leader")
    shared_tree.submit(ANA, "second", "print(2)\n")
    wait_until(lambda: len(arrived(tmp_path, "second")) == 2)
    leader.notify("start", check=0)
    assert role(leader) == "standby"
    for box in (leader, standby):
        box.notify("stop", check=0)
    assert [len(arrived(tmp_path, name)) for name in ("first", "second")] == [2, 2]
    assert len(mails_in(tmp_path / "mail")) == 4


@pytest.mark.thorough
def test_scanning_and_delivering_in_different_processes(tmp_path: Path, shared_tree: Tree, database_url: str) -> None:
    """Two processes that deliver run with one home."""
    scanner, deliverer = boxes(tmp_path, database_url, 2)
    shared_tree.peers([], [])
    shared_tree.grant(ANA)
    processes = [scanner.start_process("run", "--scan-only")]
    wait_until(lambda: scanner.home.worker_status.exists() and role(scanner) == "leader")
    shared_tree.submit(ANA, "first", "print(1)\n")
    wait_until(lambda: scanner.notify("history").stdout.count("pending") == 2)
    assert arrived(tmp_path, "first") == []
    processes += [deliverer.start_process("run", "--deliver-only") for _ in range(2)]

    wait_until(lambda: len(arrived(tmp_path, "first")) == 2)
    shown = wait_until(lambda: (text := scanner.notify("db", "status").stdout).count("deliver only") == 2 and text)
    assert "scan only" in shown
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    for process in processes:
        process.communicate()
    assert scanner.notify("db", "status", check=0).stdout.count("deliver only") == 0


@pytest.mark.parametrize("option", ["--deliver-only", "--scan-only"])
def test_worker_that_does_a_part_needs_a_database(box: Box, option: str) -> None:
    done = box.notify("run", option, check=2)
    assert f"{option} needs a database that several workers share" in done.stderr
    assert "set `database` in" in done.stderr


def test_restart_with_a_wrong_database_keeps_the_worker(tmp_path: Path, shared_tree: Tree, database_url: str) -> None:
    """A mistake in the address must not end the notifications."""
    (box,) = boxes(tmp_path, database_url, 1)
    shared_tree.peers([], [])
    box.notify("start", check=0)
    pid = worker_pid(box)
    box.configure({"database": f"{database_url}_missing", "syftbox_root": str(tmp_path / "SyftBox")})

    done = box.notify("restart", check=1)
    assert "the worker continues with the previous configuration" in " ".join(done.stderr.split())
    assert worker_pid(box) == pid
    box.notify("stop", check=0)
