"""`notify doctor` as another user, on a small disk and beside a worker."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from syftnotify.services.demo import Tree
from syftnotify.services.doctor.findings import Level
from syftnotify.system import worker_lock, worker_status
from tests.doctor_findings import doctor_json, findings, only_finding, sign_in, unused_google
from tests.fakes.google import Google
from tests.other_user import box_open_to_all, run_as_other_user
from tests.queries import file_hashes
from tests.support import Box, needs_root, wait_until


@needs_root
@pytest.mark.thorough
def test_doctor_as_other_user_unreadable_syftbox_fails() -> None:
    """B07."""
    with box_open_to_all() as box:
        for path in (box.home.root, box.home.config):
            os.chown(path, 65534, 65534)
        done = run_as_other_user(box, "doctor", "--json")

    (one,) = [one for one in json.loads(done.stdout) if one["check"] == "SyftBox"]
    assert done.returncode == 1
    assert (one["level"], one["text"]) == ("fail", f"{box.root} cannot be read")
    assert one["advice"]


@needs_root
@pytest.mark.thorough
def test_doctor_as_other_user_names_the_owner_of_the_home() -> None:
    """B07: and what to do."""
    with box_open_to_all() as box:
        box.home.root.chmod(0o755)
        done = run_as_other_user(box, "doctor", "--json")

    one = json.loads(done.stdout)[0]
    assert done.returncode == 1
    assert (one["check"], one["level"]) == ("home", "fail")
    assert "belongs to root" in one["text"]
    assert "--home" in one["advice"]


PASS, WARN, FAIL = Level.PASS, Level.WARN, Level.FAIL


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[None]:
    """Mount a file system of that size; skips the test if that is not possible."""
    place.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.thorough
@needs_root
@pytest.mark.parametrize(("megabytes", "level"), [(8, FAIL), (100, WARN), (400, PASS)])
def test_doctor_nearly_full_disk_is_reported(tmp_path: Path, megabytes: int, level: Level) -> None:
    """B07: recording events needs room on the disk."""
    box = Box(tmp_path)
    with small_disk(box.home.root, megabytes):
        one = only_finding("disk", findings(box))

    assert one.level is level
    assert "MB free" in one.text
    assert bool(one.advice) == (level is not PASS)


@pytest.fixture
def google() -> Iterator[Google]:
    with unused_google() as google:
        yield google


@pytest.fixture
def gmail(box: Box, tree_with_peer: Tree, google: Google) -> Box:
    return sign_in(box, google)


def test_doctor_beside_a_worker_changes_nothing(gmail: Box, google: Google) -> None:
    """B07: neither its files, nor its lock, nor what it sends."""
    config = yaml.safe_load(gmail.home.config.read_text())
    config["notify"] |= {"interval": 3600, "watch": "off"}
    gmail.home.config.write_text(yaml.safe_dump(config))
    gmail.notify("start", check=0)
    pid = worker_lock.holder_pid(gmail.home)
    wait_until(lambda: worker_status.read(gmail.home).last_scan_s, what="a scan")
    before = file_hashes(gmail.home.root)

    found = doctor_json(gmail, check=0)

    after = file_hashes(gmail.home.root)
    assert [one["text"] for one in found if one["check"] == "worker"] == [f"running (pid {pid})"]
    for name in ("state.json", "config.yaml", "gmail_token.json", "notify.log", "worker.lock", "outbox.db"):
        assert after[name] == before[name], name
    assert after.keys() == before.keys()
    assert worker_lock.holder_pid(gmail.home) == pid
    gmail.notify("stop", check=0)
    assert google.posts == []
