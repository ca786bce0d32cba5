"""`notify doctor`: output, exit codes, and checks of configuration, tree and worker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from syftnotify.services.doctor.findings import Level
from syftnotify.system import worker_lock, worker_status
from tests.doctor_findings import doctor_json, findings, findings_of, levels, only_finding
from tests.queries import file_hashes
from tests.support import OWNER, Box, nested_folders


def test_doctor_of_a_good_home_passes_every_check(healthy_box: Box) -> None:
    """B07."""
    with worker_lock.acquire(healthy_box.home):
        worker_status.write(healthy_box.home, worker_status.WorkerStatus(last_scan_s=time.time(), interval=3600))
        done = healthy_box.notify("doctor", check=0)

    *lines, last = done.stdout.splitlines()
    assert all(line.startswith("pass  ") for line in lines), done.stdout
    for check in ("home", "config", "SyftBox", "transport box", "clock", "disk", "lock", "worker"):
        assert any(line.startswith(f"pass  {check}: ") for line in lines), done.stdout
    assert last == f"{len(lines)} passed, 0 warnings, 0 failed"
    assert done.stderr == ""


def test_doctor_with_warnings_only_exits_with_zero(healthy_box: Box) -> None:
    """B07: the worker does not run; the advice is on the next line."""
    done = healthy_box.notify("doctor", check=0)

    lines = done.stdout.splitlines()
    place = lines.index("warn  worker: not running")
    assert lines[place + 1].startswith("      ")
    assert "notify start" in lines[place + 1]
    assert "notify ensure" in lines[place + 1]
    assert lines[-1].endswith(" 1 warning, 0 failed")


def test_doctor_with_one_failure_exits_with_one(healthy_box: Box) -> None:
    """B07."""
    healthy_box.home.state.write_bytes(b"{")

    done = healthy_box.notify("doctor", check=1)

    assert "fail  state: " in done.stdout
    assert done.stdout.splitlines()[-1].endswith("1 failed")


@pytest.mark.parametrize("is_healthy", [True, False])
def test_doctor_json_is_one_list_with_the_same_exit_code(healthy_box: Box, is_healthy: bool) -> None:
    """B07."""
    if not is_healthy:
        healthy_box.home.state.write_bytes(b"{")

    found = doctor_json(healthy_box, check=0 if is_healthy else 1)

    assert all(set(one) == {"check", "level", "text", "advice"} for one in found)
    assert {one["level"] for one in found} == ({"pass", "warn"} if is_healthy else {"pass", "warn", "fail"})
    assert all(one["advice"] for one in found if one["level"] == "fail")


PASS, WARN, FAIL = Level.PASS, Level.WARN, Level.FAIL


def test_doctor_without_config_runs_the_other_checks(healthy_box: Box) -> None:
    """B07."""
    healthy_box.home.config.unlink()

    all_found = findings(healthy_box)

    one = only_finding("config", all_found)
    assert one.level is FAIL
    assert str(healthy_box.home.config) in one.text
    assert "notify init" in one.advice
    assert levels(all_found).keys() >= {"home", "clock", "disk", "lock", "worker"}


def test_doctor_lists_all_config_errors(healthy_box: Box) -> None:
    """B07, S15."""
    healthy_box.home.config.write_text("do_email: nobody\nnotify:\n  intervall: 5\n")

    one = only_finding("config", findings(healthy_box))

    assert one.level is FAIL
    assert "2 errors" in one.text
    assert "do_email: expected a mail address" in one.text
    assert "did you mean `interval`?" in one.text
    assert str(healthy_box.home.config) in one.advice


def test_doctor_while_switched_off_warns(healthy_box: Box) -> None:
    """B07, G01."""
    healthy_box.configure({"notify": {"enabled": False}})
    healthy_box.home.config.chmod(0o600)

    one = next(one for one in findings_of("config", findings(healthy_box)) if one.level is WARN)

    assert "nothing is sent" in one.text
    assert "notify.enabled" in one.advice


def test_doctor_escapes_names_from_the_config(healthy_box: Box) -> None:
    """B07, X11."""
    healthy_box.configure({"transports": {"[red]\x1b[2J": {"type": "maildir", "path": "mail"}}})

    done = healthy_box.notify("doctor", check=0)

    assert "\x1b" not in done.stdout
    assert "transport [red]\\x1b[2J: " in done.stdout


def test_doctor_counts_the_job_folders(healthy_box: Box) -> None:
    """B07."""
    one = only_finding("SyftBox", findings(healthy_box))

    assert one.level is PASS
    assert f"job folder of {OWNER}" in one.text or f"job folders of {OWNER}" in one.text


def test_doctor_without_syftbox_folder_warns(healthy_box: Box) -> None:
    """B07, B08."""
    shutil.rmtree(healthy_box.root)

    one = only_finding("SyftBox", findings(healthy_box))

    assert one.level is WARN
    assert f"{healthy_box.root} does not exist yet" in one.text
    assert "syftbox_root" in one.advice


def test_doctor_syftbox_without_job_folder_names_do_email(box: Box) -> None:
    """B07."""
    one = only_finding("SyftBox", findings(box))

    assert one.level is WARN
    assert f"no job folder of {OWNER}" in one.text
    assert "do_email" in one.advice


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every folder")
def test_doctor_unreadable_syftbox_fails(healthy_box: Box) -> None:
    """B07, F5: the same without root as tests/e2e/test_doctor.py shows with root."""
    healthy_box.root.chmod(0o000)
    try:
        one = only_finding("SyftBox", findings(healthy_box))
    finally:
        healthy_box.root.chmod(0o700)

    assert (one.level, one.text) == (FAIL, f"{healthy_box.root} cannot be read")
    assert one.advice


def test_doctor_template_error_has_file_and_line(healthy_box: Box) -> None:
    """B07."""
    folder = healthy_box.home.templates / "emails"
    folder.mkdir(parents=True)
    (folder / "new_job.txt").write_text("Hello\n{% if job %}\nno end\n")

    one = only_finding("templates", findings(healthy_box))

    assert one.level is FAIL
    assert "emails/new_job.txt" in one.text
    assert "line " in one.text
    assert str(healthy_box.home.templates) in one.advice


def test_doctor_good_templates_pass(healthy_box: Box) -> None:
    """B07."""
    folder = healthy_box.home.templates / "emails"
    folder.mkdir(parents=True)
    (folder / "new_job.txt").write_text("{{ job_name }} {{ timestamp | datetime }}\n")

    assert only_finding("templates", findings(healthy_box)).level is PASS


def test_doctor_names_alert_rules_without_their_webhook(healthy_box: Box) -> None:
    """A01."""
    hook = {"type": "webhook", "url": "http://127.0.0.1:9/x"}
    healthy_box.configure({"transports": {"box": {"type": "maildir"}, "oncall": hook}})
    rule = healthy_box.notify("alerts", "add", "--job", "*", "--webhook", "oncall", check=0).stdout.split()[0]
    healthy_box.configure()

    one = only_finding("alerts", findings(healthy_box))
    assert one.level is WARN
    assert f"{rule} alerts through oncall, which is not configured" in one.text
    healthy_box.notify("alerts", "rm", rule, check=0)
    assert not [each for each in findings(healthy_box) if each.check == "alerts"]


@pytest.mark.skipif(not Path("/proc/sys/fs/inotify").exists(), reason="counts the watches of Linux")
@pytest.mark.parametrize("watch", ["auto", "off"])
def test_doctor_counts_watches_only_while_watching(healthy_box: Box, watch: str) -> None:
    """B07."""
    healthy_box.configure({"notify": {"watch": watch}})

    found = findings_of("watching", findings(healthy_box))

    assert [one.level for one in found] == ([PASS] if watch == "auto" else [])


@pytest.mark.skipif(not Path("/proc/sys/fs/inotify").exists(), reason="counts the watches of Linux")
def test_doctor_folders_too_deep_to_watch_warn(healthy_box: Box) -> None:
    """B8: counted without recursion."""
    base = healthy_box.root / OWNER / "app_data" / "job"
    base.mkdir(parents=True, exist_ok=True)
    with nested_folders(healthy_box.folder / "deep", 1100) as where:
        where[0] = where[0].rename(base / "deep")
        one = only_finding("watching", findings(healthy_box))

    assert one.level is WARN
    assert "nested more than" in one.text


@pytest.mark.parametrize(
    ("folder", "program"),
    [
        ("app_data/RDS/store/job", "syft-rds 0.5.0 or older"),
        ("app_data/syft-queues/survey_queue/jobs/inbox", "syft-queue"),
        ("app_data/code-queue/jobs/pending", "syft-code-queue"),
    ],
)
@pytest.mark.parametrize("site", ["", "datasites/"])
def test_doctor_warns_about_jobs_that_are_not_read(healthy_box: Box, site: str, folder: str, program: str) -> None:
    """E: nobody is notified about them."""
    path = healthy_box.root / f"{site}{OWNER}" / folder
    path.mkdir(parents=True)

    found = [one for one in findings(healthy_box) if one.check == "SyftBox"]

    (one,) = [each for each in found if each.level is WARN]
    assert f"jobs of {program}, which are not read" in one.text


def test_doctor_running_syft_bg_notifier_warns(healthy_box: Box) -> None:
    """B07: every mail would come twice."""
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        pid_file = healthy_box.folder / ".syft-bg" / "notify" / "daemon.pid"
        pid_file.parent.mkdir(parents=True)
        pid_file.write_text(f"{sleeper.pid}\n")
        found = doctor_json(healthy_box, check=0)
    finally:
        sleeper.kill()
        sleeper.wait()

    (one,) = [one for one in found if one["check"] == "syft-bg"]
    assert one["level"] == "warn"
    assert str(sleeper.pid) in one["text"]
    assert one["advice"]


def test_doctor_worker_without_recent_scan_warns(healthy_box: Box) -> None:
    """B07, S16."""
    with worker_lock.acquire(healthy_box.home):
        worker_status.write(healthy_box.home, worker_status.WorkerStatus(last_scan_s=time.time() - 3600, interval=1))
        one = only_finding("worker", findings(healthy_box))

    assert one.level is WARN
    assert re.search(r"no scan for 3[67]\d\d s", one.text)
    assert "notify logs" in one.advice


def test_doctor_paused_transport_warns(healthy_box: Box) -> None:
    """B07, X07."""
    paused = {"box": {"type": "maildir", "can_send": False, "problem": "sign in with `notify init`"}}
    with worker_lock.acquire(healthy_box.home):
        worker_status.write(healthy_box.home, worker_status.WorkerStatus(last_scan_s=time.time(), transports=paused))
        one = only_finding("worker", findings(healthy_box))

    assert one.level is WARN
    assert "transport box: sign in" in one.text


def test_doctor_changes_no_file_of_a_stopped_home(healthy_box: Box) -> None:
    """B07: a Maildir is created when it is missing, and nothing else."""
    healthy_box.notify("run", "--once", check=0)
    before = file_hashes(healthy_box.home.root)

    findings(healthy_box)

    after = file_hashes(healthy_box.home.root)
    assert {name: mark for name, mark in after.items() if not name.startswith("outbox.db-")} == before
