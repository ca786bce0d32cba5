"""Findings of `notify doctor`."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

from syftnotify.runtime.opening import state_access
from syftnotify.services.doctor.checks import run_checks
from syftnotify.services.doctor.findings import Finding, Level
from tests.fakes.google import SEND_PATH, Google, serve_google
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
    """What the command prints with `--json`."""
    parsed = json.loads(box.notify("doctor", "--json", check=check).stdout)
    assert isinstance(parsed, list)
    return parsed


def use_gmail(box: Box, google: Google, **changes: Any) -> None:
    mail = {"type": "gmail", "api_endpoint": google.url, **changes}
    box.configure({"transports": {"mail": mail}})
    box.home.config.chmod(0o600)


@contextlib.contextmanager
def unused_google() -> Iterator[Google]:
    """A server of Google's; fails if anything is sent through it."""
    with serve_google() as google:
        yield google
        assert google.posts == []
        assert f"POST {SEND_PATH}" not in google.requests


def sign_in(box: Box, google: Google) -> Box:
    """Configure `box` to send through Gmail, signed in."""
    use_gmail(box, google)
    google.write_token(box.home.token)
    return box
