"""Findings of `notify doctor`."""

from __future__ import annotations

import json
import time
from typing import Any

from syftnotify.runtime.opening import state_access
from syftnotify.services.doctor.checks import run_checks
from syftnotify.services.doctor.findings import Finding, Level
from tests.support import Box


def findings(box: Box, *, now: float | None = None) -> list[Finding]:
    """The findings of all checks, run in this process; `now` is the time of the clock."""
    return list(run_checks(box.home, state_access(box.home), clock=time.time if now is None else lambda: now))


def findings_of(check: str, all_found: list[Finding]) -> list[Finding]:
    return [finding for finding in all_found if finding.check == check]


def only_finding(check: str, all_found: list[Finding]) -> Finding:
    (one,) = findings_of(check, all_found)
    return one


def levels(all_found: list[Finding]) -> dict[str, Level]:
    """The worst level of each check."""
    order = [Level.PASS, Level.WARN, Level.FAIL]
    worst: dict[str, Level] = {}
    for finding in all_found:
        worst[finding.check] = max(worst.get(finding.check, Level.PASS), finding.level, key=order.index)
    return worst


def doctor_json(box: Box, *, check: int) -> list[dict[str, Any]]:
    """The output of the command with `--json`."""
    parsed = json.loads(box.notify("doctor", "--json", check=check).stdout)
    assert isinstance(parsed, list)
    return parsed
