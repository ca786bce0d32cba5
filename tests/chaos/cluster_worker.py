"""One of several real workers on a shared database, with short leases: see `cluster`.

`python -m tests.chaos.cluster_worker --home DIR --report-fd FD [--deliver-only] [--at POINT:N] [--stop]
[--clock SECONDS] [--unfenced]`
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--home", required=True)
parser.add_argument("--report-fd", required=True, type=int)
parser.add_argument("--deliver-only", action="store_true")
parser.add_argument("--at", default="", help="the point at which it kills itself, or with --stop stops itself")
parser.add_argument("--stop", action="store_true")
parser.add_argument("--clock", type=float, default=0.0, help="seconds by which its clock is wrong")
parser.add_argument("--unfenced", action="store_true", help="the control: outcomes are recorded by any claim")
given = parser.parse_args()
if given.clock:  # before any module of the program takes the function
    time.time = functools.partial(lambda real: real() + given.clock, time.time)

from syftnotify import worker
from syftnotify.core import retry, throttle
from syftnotify.core.errors import NotifyError
from syftnotify.runtime import cluster_member, delivery_worker, planner
from syftnotify.runtime.startup import run_deliveries
from syftnotify.store.outbox.postgres import claim_statements, database, lease
from syftnotify.system import failpoints, logs
from syftnotify.system.paths import Home
from tests.chaos.death import exit_with_parent, kill_at

LEASE_SECONDS = 1.5
_FENCE = " AND n.attempt = g.attempt AND n.state || '' = 'sending'"


def stop_at(target: str) -> None:
    """Stop this process with SIGSTOP at a fail-point; `target` as for `kill_at`."""
    point, _, count = target.rpartition(":")
    left = int(count)
    lock = threading.Lock()

    def on_reach(name: str) -> None:
        nonlocal left
        with lock:
            if name == point:
                left -= 1
                if left == 0:
                    os.write(sys.stdout.fileno(), f"{point}\n".encode())
                    os.kill(os.getpid(), signal.SIGSTOP)

    failpoints.on_reach = on_reach


def _report(line: bytes) -> None:
    os.write(given.report_fd, line)


def main() -> int:
    exit_with_parent()
    # These are the only differences from the real worker: times in seconds, because otherwise a run would take a day,
    # and no digests, because the verdict compares single messages.
    defaults = throttle.ThrottleRule.__init__.__defaults__
    assert defaults is not None
    throttle.ThrottleRule.__init__.__defaults__ = (1_000_000, *defaults[1:])
    setattr(planner, "BUNDLE_ABOVE", 1_000_000)  # noqa: B010 - it is imported there
    retry.BACKOFF_BASE, retry.BACKOFF_MAX, retry.AUTH_PROBE_INTERVAL = 0.3, 2.0, 1.0
    lease.Lease.__init__.__defaults__ = (LEASE_SECONDS, 0.2, 0.5, 300.0)
    cluster_member.RECOVERY_SECONDS = 0.5
    setattr(delivery_worker, "RECOVERY_SECONDS", 0.5)  # noqa: B010 - it is imported there
    database._CONNECT_SECONDS, database._DEADLINE_SECONDS = 2, 2.0
    if given.unfenced:
        assert _FENCE in claim_statements.RECORD
        claim_statements.RECORD = claim_statements.RECORD.replace(_FENCE, "")
    if given.at and given.stop:
        stop_at(given.at)
    elif given.at:
        failpoints.on_reach = kill_at(given.at)
    if not given.deliver_only:
        return worker.main(["--home", given.home, "--report-fd", str(given.report_fd)])
    home = Home(Path(given.home))
    logs.configure(home.log)
    report = json.dumps({"pid": os.getpid()}).encode() + b"\n"
    try:
        run_deliveries(home, on_started=lambda _warnings: _report(report))
    except NotifyError as error:
        logging.getLogger("syftnotify").error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
