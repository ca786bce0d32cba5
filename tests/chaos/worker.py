"""A real worker that kills itself at a fail-point: `python -m tests.chaos.worker --home DIR [--die-at POINT:N]`."""

from __future__ import annotations

import argparse
import sys

from syftnotify import worker
from syftnotify.core import retry
from syftnotify.system import failpoints
from tests.chaos.death import die_at, end_with_the_harness


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True)
    parser.add_argument("--tell", required=True)
    parser.add_argument("--die-at", default="")
    given = parser.parse_args(arguments)
    end_with_the_harness()
    # The waits between two tries, in seconds, are all in which this worker differs from the real one: at 30 s and more
    # a message that failed would see dozens of kills pass by, and a run would take a day.
    retry.BACKOFF_BASE, retry.BACKOFF_MAX, retry.AUTH_PROBE_INTERVAL = 0.3, 2.0, 1.0
    if given.die_at:
        failpoints.on_reach = die_at(given.die_at)
    return worker.main(["--home", given.home, "--tell", given.tell])


if __name__ == "__main__":
    sys.exit(main())
