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

from benchmarks.common import Figure, make_box, median_times, ratio_figure, report, worker

IMPORT_ONLY = ("-c", "import typer, rich.console")
NOTIFY = ("-P", "-m", "syftnotify")
MAX_RATIOS = {"--help": 1.5, "status": 2.5}
ROUNDS = 21


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as root, make_box(Path(root)) as box, worker(box.home):

        def runner(*arguments: str) -> Callable[[], object]:
            command = [sys.executable, *arguments]
            # Captured, because `status` warns that the home has no peer snapshot.
            return lambda: subprocess.run(command, env=box.environment(), capture_output=True, check=True)

        commands = [runner(*IMPORT_ONLY), *(runner(*NOTIFY, name) for name in MAX_RATIOS)]
        median_times(1, *commands)  # otherwise the first round would write bytecode
        bare, *taken = median_times(ROUNDS, *commands)
    for (name, factor), each in zip(MAX_RATIOS.items(), taken, strict=True):
        yield ratio_figure(factor, f"notify {name}", each * 1000, "ms", bare * 1000)


if __name__ == "__main__":
    sys.exit(report(figures()))
