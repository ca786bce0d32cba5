"""Duration of light commands, compared with the bare import of the libraries that they print with.

    python -m benchmarks.commands

`notify status` shows a running worker.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.ground import Figure, at_most, box_of, medians, report, worker

BARE = ("-c", "import typer, rich.console")
OURS = ("-P", "-m", "syftnotify")
FACTORS = {"--help": 1.5, "status": 2.5}
ROUNDS = 21


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as root, box_of(Path(root)) as box, worker(box.home):

        def running(*words: str) -> Callable[[], object]:
            command = [sys.executable, *words]
            return lambda: subprocess.run(command, env=box.environment(), stdout=subprocess.DEVNULL, check=True)

        commands = [running(*BARE), *(running(*OURS, word) for word in FACTORS)]
        medians(1, *commands)  # otherwise the first round would write bytecode
        bare, *taken = medians(ROUNDS, *commands)
    for (word, factor), each in zip(FACTORS.items(), taken, strict=True):
        yield at_most(factor, f"notify {word}", each * 1000, "ms", bare * 1000)


if __name__ == "__main__":
    sys.exit(report(figures()))
