"""Checks a tree with syft-bg's own JobMonitor, once for each line on standard input, and prints the seconds.

    python benchmarks/syftbg_check.py ROOT OWNER STATE

Run by the Python that syft-bg is installed for. `STATE` is its state file, in which every job has been told already; a
check that wants to send fails, for there is no sender.
"""

import contextlib
import io
import sys
import time

from syft_bg.common.state import JsonStateManager  # type: ignore[import-not-found] # in its own environment alone
from syft_bg.notify.handlers.job import JobHandler  # type: ignore[import-not-found] # in its own environment alone
from syft_bg.notify.monitors.job import JobMonitor  # type: ignore[import-not-found] # in its own environment alone


def main(root: str, owner: str, state_file: str) -> None:
    """As `NotificationOrchestrator.from_config` puts them together."""
    state = JsonStateManager(state_file=state_file)
    handler = JobHandler(None, state, do_email=owner, syftbox_root=root)
    monitor = JobMonitor(syftbox_root=root, do_email=owner, handler=handler, state=state)
    for _ in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            begun = time.perf_counter()
            monitor.run_once()
            taken = time.perf_counter() - begun
        lines = said.getvalue().splitlines()  # one for each mail that it would else have sent
        assert lines, "it looked at no job"
        assert all("already notified" in line for line in lines), said.getvalue()
        print(taken, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
