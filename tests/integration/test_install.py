"""`notify install` and `uninstall` with a recorded systemctl, in this process."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess

import pytest

from syftnotify.system import worker_lock
from tests.integration.systemd_units import Session
from tests.support import OWNER
from tests.workers import start_worker, worker_pid


def test_install_writes_enables_and_starts_a_unit(session: Session) -> None:
    """B07."""
    done = session.notify("install", check=0)

    name = session.unit.name
    assert session.calls == ["--user daemon-reload", f"--user enable {name}", f"--user restart {name}"]
    assert str(session.unit) in done.stdout
    assert "enable-linger" in done.stdout
    assert done.stderr == ""
    assert stat.S_IMODE(session.unit.stat().st_mode) == 0o644


def test_install_again_rewrites_the_unit(session: Session) -> None:
    """B07: after an upgrade, or with another interpreter."""
    session.notify("install", check=0)
    before = session.unit.read_bytes()
    session.unit.write_bytes(before.replace(b"syftnotify.worker", b"syftnotify.old"))

    session.notify("install", check=0)

    assert session.unit.read_bytes() == before
    assert session.calls[3:] == session.calls[:3]


def test_install_stops_a_worker_started_by_hand(session: Session) -> None:
    """B07: also where the unit exists already."""
    session.notify("install", check=0)
    session.notify("start", check=0)

    pid = worker_pid(session.box)
    done = session.notify("install", check=0)

    assert f"worker stopped (pid {pid})" in done.stdout
    assert not worker_lock.is_held(session.box.home)


def test_install_leaves_the_worker_of_the_unit_to_systemd(session: Session) -> None:
    """B07: `systemctl restart` replaces it."""
    session.notify("install", check=0)
    session.box.env["MAIN_PID"] = str(os.getpid())

    with worker_lock.acquire(session.box.home):
        session.notify("install", check=0)

    assert session.calls[-1] == f"--user restart {session.unit.name}"


def test_restart_of_the_worker_of_the_unit_is_left_to_systemd(session: Session) -> None:
    """Otherwise a worker would run that systemd does not supervise."""
    session.notify("install", check=0)
    session.notify("start", check=0)
    pid = worker_pid(session.box)
    session.box.env["MAIN_PID"] = str(pid)

    done = session.notify("restart", check=0)

    assert "restarted by systemd" in done.stdout
    assert session.calls[-1] == f"--user restart {session.unit.name}"
    assert worker_pid(session.box) == pid
    session.box.env["MAIN_PID"] = "0"  # a worker started by hand
    session.notify("restart", check=0)
    assert worker_pid(session.box) != pid


@pytest.mark.parametrize("word", ["daemon-reload", "enable", pytest.param("restart", marks=pytest.mark.thorough)])
def test_install_failing_systemctl_leaves_no_unit(session: Session, word: str) -> None:
    """B07: exit code 1, with the error of systemctl and the alternative; the worker runs on."""
    session.fails_at(word)
    is_real = word == "restart"  # by then the other worker was stopped, and must be started again
    if is_real:
        start_worker(session.box)

    with contextlib.nullcontext() if is_real else worker_lock.acquire(session.box.home):
        done = session.notify("install", check=1)
        assert worker_lock.is_held(session.box.home)

    assert "Failed to connect to bus" in done.stderr
    assert f"systemctl --user {word}" in done.stderr
    assert "notify ensure" in done.stderr
    assert "Traceback" not in done.stderr
    assert session.units == []


@pytest.mark.parametrize("word", ["daemon-reload", "enable", "restart"])
def test_install_failing_systemctl_restores_the_earlier_unit(session: Session, word: str) -> None:
    """B07."""
    session.notify("install", check=0)
    session.unit.write_text("[Unit]\nDescription=mine\n")
    session.fails_at(word)

    session.notify("install", check=1)

    assert session.unit.read_text() == "[Unit]\nDescription=mine\n"
    assert session.calls[-1] == "--user daemon-reload"  # systemd has read the new unit


def test_install_unusable_unit_folder_is_exit_one(session: Session) -> None:
    """B07: the running worker is left alone."""
    (session.box.folder / ".config").write_text("mine\n")

    with worker_lock.acquire(session.box.home):
        done = session.notify("install", check=1)

    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert session.calls == []


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_install_without_systemctl_recommends_cron(session: Session, command: str) -> None:
    """B07."""
    if command == "uninstall":
        session.notify("install", check=0)
    empty = session.box.folder / "empty"
    empty.mkdir()
    session.box.env["PATH"] = str(empty)

    done = session.notify(command, check=1)

    assert "systemctl was not found" in done.stderr
    assert "notify ensure" in done.stderr
    assert len(session.units) == (command == "uninstall")


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        ("do_email: nobody\n", "do_email: expected a mail address"),
        ("do_email: [\n", "line 2"),
        (f"do_email: {OWNER}\n", "sign in with `notify init`"),
    ],
    ids=["mistake", "no YAML", "no sign-in"],
)
def test_install_unusable_config_is_exit_two(session: Session, config: str, arguments: str) -> None:
    """B07, S15: nothing is written, and systemctl is not called."""
    session.box.home.config.write_text(config)

    done = session.notify("install", check=2)

    assert arguments in done.stderr
    assert session.units == []
    assert session.calls == []


def test_uninstall_stops_the_worker_and_removes_the_unit(session: Session) -> None:
    """B07."""
    session.notify("install", check=0)
    unit = session.unit
    made = len(session.calls)

    done = session.notify("uninstall", check=0)

    assert session.calls[made:] == [f"--user disable --now {unit.name}", "--user daemon-reload"]
    assert session.units == []
    assert str(unit) in done.stdout


def test_uninstall_without_a_unit_calls_nothing(session: Session) -> None:
    """B07."""
    done = session.notify("uninstall", check=0)

    assert "nothing was installed" in done.stdout
    assert session.calls == []


def test_uninstall_keeps_the_unit_of_another_home(session: Session) -> None:
    """B07."""
    session.notify("install", check=0)

    session.notify("uninstall", "--home", str(session.box.folder / "elsewhere"), check=0)

    assert session.unit.exists()


def test_uninstall_failing_systemctl_keeps_the_unit(session: Session) -> None:
    """B07."""
    session.notify("install", check=0)
    session.fails_at("disable")

    done = session.notify("uninstall", check=1)

    assert "Failed to connect to bus" in done.stderr
    assert session.unit.exists()


def test_install_template_is_a_unit_for_the_workers_of_any_homes(session: Session) -> None:
    """X12: nothing is started; the name of an instance is the path of its home."""
    done = session.notify("install", "--template", check=0)

    unit = session.unit.with_name("syftnotify@.service")
    text = unit.read_text(encoding="utf-8")
    assert session.calls == ["--user daemon-reload"]
    assert '-m syftnotify.worker --home "%f"\n' in text
    assert "EnvironmentFile=-%f/environment\n" in text
    assert 'systemctl --user enable --now "syftnotify@$(systemd-escape --path DIR).service"' in done.stdout


@pytest.mark.skipif(shutil.which("systemd-escape") is None, reason="systemd is not installed")
def test_restart_of_an_instance_of_the_template_is_left_to_systemd(session: Session) -> None:
    """X12"""
    session.notify("install", "--template", check=0)
    session.notify("start", check=0)
    session.box.env["MAIN_PID"] = str(worker_pid(session.box))

    done = session.notify("restart", check=0)

    home = str(session.box.home.root)
    escaped = subprocess.run(["systemd-escape", "--path", home], capture_output=True, text=True, check=True).stdout
    instance = f"syftnotify@{escaped.strip()}.service"
    assert "restarted by systemd" in done.stdout
    assert session.calls[-1] == f"--user restart {instance}"
    session.box.env["MAIN_UNIT"] = instance
    session.notify("install", check=0)  # a unit of its own: otherwise both would start with the next session
    assert f"--user disable --now {instance}" in session.calls
    session.notify("stop", check=0)


def test_uninstall_template_stops_its_workers_and_removes_it(session: Session) -> None:
    """X12"""
    session.notify("install", "--template", check=0)
    session.box.env["UNITS"] = "syftnotify@home-ana.service loaded active running syftnotify (/home/ana)"

    done = session.notify("uninstall", "--template", check=0)

    assert session.units == []
    assert "stopped and removed: " in done.stdout
    assert "--user disable --now syftnotify@home-ana.service" in session.calls
    assert session.notify("uninstall", "--template", check=0).stdout == "nothing was installed\n"
