"""A worker whose process may not use more memory."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from syftnotify.services.demo import Tree
from tests.support import ANA, Box

LIMITED_DELIVERY = """
    import resource, sys, threading
    from pathlib import Path

    from tests.support import Box

    box = Box(Path(sys.argv[1]))
    app = box.open_app()
    app.pipeline.tick(box.clock.now, last_scan=box.clock.now)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    threading.stack_size(256 * 2**20)
    # Room for the stack of one thread, and for the messages: an attempt without memory would be repeated later.
    resource.setrlimit(resource.RLIMIT_AS, (used + 320 * 2**20, resource.RLIM_INFINITY))
    app.dispatcher.drain()
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    app.dispatcher.drain()
    app.close()
"""


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of a process is read from /proc")
def test_delivery_without_memory_for_threads_sends_each_mail_once(box: Box) -> None:
    """A10: with a real limit on the memory of the process."""
    tree = Tree(box.root, box.snapshot)
    box.snapshot.parent.mkdir(parents=True)
    tree.peers([], [])
    tree.grant(ANA)
    box.scan()
    for number in range(20):
        tree.submit(ANA, f"job{number}", "print(1)\n")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED_DELIVERY), str(box.folder)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    ids = [mail.id for mail in box.mails()]
    assert len(ids) == len(set(ids)) == 40
