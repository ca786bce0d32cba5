"""A real worker that kills itself at a fail-point: `python -m tests.chaos.worker --home DIR [--kill-at POINT:N]`."""

from __future__ import annotations

import argparse
import sys

from syftnotify import worker
from syftnotify.core import retry
from syftnotify.system import failpoints
from tests.chaos.death import exit_with_parent, kill_at


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True)
    parser.add_argument("--report-fd", required=True)
    parser.add_argument("--kill-at", default="")
    given = parser.parse_args(arguments)
    exit_with_parent()
    # Seconds. The shorter backoff is the only difference from the real worker: with 30 s and more, dozens of kills
    # would happen between two attempts, and a run would take a day.
    retry.BACKOFF_BASE, retry.BACKOFF_MAX, retry.AUTH_PROBE_INTERVAL = 0.3, 2.0, 1.0
    if given.kill_at:
        failpoints.on_reach = kill_at(given.kill_at)
    return worker.main(["--home", given.home, "--report-fd", given.report_fd])


if __name__ == "__main__":
    sys.exit(main())
