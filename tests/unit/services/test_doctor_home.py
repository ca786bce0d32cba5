"""Doctor checks of the home folder, its files and the disk."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

import pytest

from syftnotify.runtime.opening import state_access
from syftnotify.services.doctor.checks import run_checks
from syftnotify.services.doctor.findings import Level
from syftnotify.services.doctor.machine import disk_level
from syftnotify.system import worker_status
from syftnotify.system.paths import Home
from tests.doctor_findings import findings, only_finding
from tests.support import Box, needs_root


def test_doctor_missing_home_names_init_and_creates_nothing(box: Box, tmp_path: Path) -> None:
    """B07"""
    elsewhere = tmp_path / "elsewhere"

    done = box.notify("doctor", "--home", str(elsewhere), check=1)

    assert f"fail  home: there is no {elsewhere}" in done.stdout
    assert "run `notify init`" in done.stdout
    assert "fail  config: there is no configuration" in done.stdout
    assert not elsewhere.exists()


def test_doctor_home_that_is_a_file_fails(box: Box, tmp_path: Path) -> None:
    """B07."""
    place = tmp_path / "file"
    place.write_text("mine\n")

    done = box.notify("doctor", "--home", str(place), check=1)

    assert "fail  home: " in done.stdout
    assert "Traceback" not in done.stderr
    assert place.read_text() == "mine\n"


PASS, WARN, FAIL = Level.PASS, Level.WARN, Level.FAIL


@needs_root
def test_doctor_as_root_in_the_home_of_another_user_fails(healthy_box: Box) -> None:
    """B07, C7."""
    os.chown(healthy_box.home.root, 65534, 65534)

    one = only_finding("home", findings(healthy_box))

    assert one.level is FAIL
    assert "belongs to" in one.text
    assert "--as-owner" in one.advice


@pytest.mark.parametrize("name", ["state", "outbox", "log", "worker_status"])
def test_doctor_file_readable_by_others_warns_with_chmod(healthy_box: Box, name: str) -> None:
    """B07."""
    path: Path = getattr(healthy_box.home, name)
    path.write_bytes(b"")
    path.chmod(0o644)

    one = only_finding("home", findings(healthy_box))

    assert one.level is WARN
    assert one.text == f"{path} is open to others (mode 0644)"
    assert one.advice == f"`chmod 600 {shlex.quote(str(path))}`"


def test_doctor_home_writable_by_others_fails_with_chmod(healthy_box: Box) -> None:
    """B07."""
    healthy_box.home.root.chmod(0o777)

    one = only_finding("home", findings(healthy_box))

    assert one.level is FAIL
    assert f"`chmod 700 {shlex.quote(str(healthy_box.home.root))}`" in one.advice


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may work in every home")
def test_doctor_home_of_another_user_fails() -> None:
    """B07, F5: `/` belongs to root, or to nobody in a user namespace; needs no root."""
    root = Home(Path("/"))
    one = next(run_checks(root, state_access(root)))

    assert (one.check, one.level) == ("home", FAIL)
    assert "/ belongs to " in one.text
    assert "--home" in one.advice


@pytest.mark.parametrize(("megabytes", "level"), [(19, FAIL), (20, WARN), (199, WARN), (200, PASS)])
def test_disk_level_follows_the_free_space(megabytes: int, level: Level) -> None:
    """B07, F5: the same without root as tests/e2e/test_doctor.py shows with root."""
    assert disk_level(megabytes * 2**20) is level


def test_doctor_disk_of_missing_home_is_that_of_the_parent(tmp_path: Path) -> None:
    """B07."""
    assert "MB free" in only_finding("disk", findings(Box(tmp_path / "not" / "there"))).text


@pytest.mark.parametrize("name", ["worker.lock", "notify.log", "worker.json", "state.json", "outbox.db", "spool"])
def test_doctor_folder_in_place_of_a_file_fails(healthy_box: Box, name: str) -> None:
    """D9: and a file in place of a folder; `run --once` fails."""
    path = healthy_box.home.root / name
    if name == "spool":
        path.touch()
    else:
        path.mkdir()

    (one,) = [each for each in findings(healthy_box) if each.level is FAIL]
    assert one.text.startswith(f"{path} is {'not a folder' if name == 'spool' else 'a folder'}, but ")
    assert one.advice == f"move it away: `mv {path} {path}.old`"
    assert healthy_box.notify("run", "--once").returncode != 0
    path.rename(path.with_name(f"{name}.old"))
    healthy_box.notify("run", "--once", check=0)


@pytest.mark.parametrize(("seconds_later", "level"), [(30.0, PASS), (3600.0, WARN)])
def test_doctor_clock_before_the_last_scan_warns(healthy_box: Box, seconds_later: float, level: Level) -> None:
    """B07."""
    now = time.time()
    worker_status.write(healthy_box.home, worker_status.WorkerStatus(last_scan_s=now + seconds_later))

    one = only_finding("clock", findings(healthy_box, now=now))

    assert one.level is level
    if level is WARN:
        assert "3600 s before the last scan" in one.text
        assert "set back" in one.advice
