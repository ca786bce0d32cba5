"""syft-bg beside the worker: which of its services run; tests/e2e/test_peer_status.py has its sync snapshot."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.doctor_findings import findings, only_finding
from tests.support import OWNER, Box


@pytest.fixture
def syft_bg(box: Box, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of syft-bg with all services; its sync service runs."""
    monkeypatch.setenv("HOME", str(box.folder))
    home = box.folder / ".syft-bg"
    for service in ("sync", "notify", "approve", "email_approve"):
        (home / service).mkdir(parents=True)
    (home / "config.yaml").write_text(f"do_email: {OWNER}\n")
    run_service(home, "sync")
    return home


def run_service(home: Path, name: str) -> None:
    """Write the pid file of a service; syft-bg takes any process with that pid for it."""
    (home / name / "daemon.pid").write_text(str(os.getpid()))


def syft_bg_finding(box: Box) -> tuple[str, str]:
    """Level and text of the finding about syft-bg."""
    one = only_finding("syft-bg", findings(box))
    return one.level.value, one.text


def test_status_shows_the_services_of_syft_bg(box: Box, syft_bg: Path) -> None:
    """S16."""
    run_service(syft_bg, "approve")
    pid = os.getpid()

    shown = box.notify("status", check=3)
    report = json.loads(box.notify("status", "--json", check=3).stdout)

    line = next(line for line in shown.stdout.splitlines() if line.startswith("syft-bg"))
    assert f"sync runs (pid {pid}), notify is stopped, approve runs (pid {pid})" in line
    assert report["syft_bg"] == {"sync": pid, "notify": None, "approve": pid, "email_approve": None}


def test_status_without_syft_bg_does_not_mention_it(box: Box) -> None:
    """S16."""
    assert "syft-bg" not in box.notify("status", check=3).stdout
    assert json.loads(box.notify("status", "--json", check=3).stdout)["syft_bg"] is None


def test_doctor_names_the_services_that_must_change(box: Box, syft_bg: Path) -> None:
    """S16."""
    assert syft_bg_finding(box) == (
        "pass",
        f"sync runs (pid {os.getpid()}), notify is stopped, approve is stopped, email_approve is stopped",
    )

    (syft_bg / "sync" / "daemon.pid").unlink()
    assert syft_bg_finding(box) == (
        "warn",
        "its sync service is stopped: it brings jobs and peers to this machine",
    )

    run_service(syft_bg, "notify")
    assert syft_bg_finding(box)[1].startswith("its notify service runs here too")
