"""Check a tree with syft-bg's JobMonitor, once for each line on standard input, and print the seconds.

    python benchmarks/syftbg_check.py ROOT OWNER STATE

Run by the Python that syft-bg is installed for. `STATE` is its state file, in which every job was notified already; a
check that tries to send fails, because there is no sender.
"""

import contextlib
import io
import sys
import time

from syft_bg.common.state import JsonStateManager  # type: ignore[import-not-found] # only in its own environment
from syft_bg.notify.handlers.job import JobHandler  # type: ignore[import-not-found] # only in its own environment
from syft_bg.notify.monitors.job import JobMonitor  # type: ignore[import-not-found] # only in its own environment


def main(root: str, owner: str, state_file: str) -> None:
    """Build the monitor as `NotificationOrchestrator.from_config` does, and run its checks."""
    state = JsonStateManager(state_file=state_file)
    handler = JobHandler(None, state, do_email=owner, syftbox_root=root)
    monitor = JobMonitor(syftbox_root=root, do_email=owner, handler=handler, state=state)
    for _ in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            started = time.perf_counter()
            monitor.run_once()
            taken = time.perf_counter() - started
        lines = output.getvalue().splitlines()  # one for each mail that it would have sent otherwise
        assert lines, "it checked no job"
        assert all("already notified" in line for line in lines), output.getvalue()
        print(taken, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
