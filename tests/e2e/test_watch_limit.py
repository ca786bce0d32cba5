"""The kernel's limit of inotify watches, set for a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import TIMEOUT


def run_with_watch_limit(watches: int, program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a user namespace with at most so many watches."""
    set_limit = f"echo {watches} > /proc/sys/user/max_inotify_watches"
    namespace = ["unshare", "-Ur", "sh", "-c"]
    try:
        subprocess.run([*namespace, set_limit], capture_output=True, timeout=TIMEOUT, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no user namespaces here: {error}")
    command = [*namespace, f'{set_limit} && exec "$0" -c "$1" "$2"', sys.executable, program, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)


PROGRAM = """
import logging, pathlib, sys, time
from syftnotify.sources.syftbox.watch.spec import WatchSpec
from syftnotify.sources.syftbox.watch.watcher import ChangeWatcher
logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
root = pathlib.Path(sys.argv[1])
changes = []
watcher = ChangeWatcher(lambda: changes.append(1))
specs = [WatchSpec(root)]
watcher.watch(specs)
print("at first", watcher.is_watching)
for number in range(30):
    (root / "deep" / f"new-{number}").mkdir()
until = time.monotonic() + 80
while watcher.is_watching and not changes and time.monotonic() < until:
    time.sleep(0.01)  # for the first event, never instead of it
while watcher.is_watching and time.monotonic() < until:
    watcher.watch(specs)
watcher.watch(specs)
print("then", watcher.is_watching)
"""


@pytest.mark.parametrize(("watches", "at_first"), [(12, True), (2, False)])
def test_watcher_at_the_limit_of_the_kernel_stops_watching(tmp_path: Path, watches: int, at_first: bool) -> None:
    """watchdog reports no error when there is no watch left for a folder deep below."""
    (tmp_path / "deep" / "deeper" / "deepest").mkdir(parents=True)
    output = run_with_watch_limit(watches, PROGRAM, tmp_path).stdout

    assert f"at first {at_first}" in output
    assert "then False" in output
    assert output.count("scanning every interval instead") == 1, output
    assert "watch limit reached" in output
