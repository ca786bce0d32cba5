"""Duration of a save of the ledger, compared with a bare dump of the same content.

    python -m benchmarks.ledger [jobs]        (default: 100000)

The baseline dumps with orjson into a file, syncs it and renames it. The ledger marks one more event, which saves it.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson

from benchmarks.common import Figure, job_name, median_times, ratio_figure, report
from syftnotify.core.identifiers import entity_id
from syftnotify.store.ledger.manager import JsonStateManager
from tests.support import ANA, OWNER

MAX_RATIO = 1.5
ROUNDS = 15


def figures(count: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path, bare_path = Path(folder) / "state.json", Path(folder) / "bare.json"
        notified = {
            entity_id("job", "D", OWNER, ANA, job_name(n)): ["new", "approved", "executed"] for n in range(count)
        }
        content = {"version": 1, "notified": notified, "owed": {}, "data": {}}
        path.write_bytes(orjson.dumps(content))
        ledger = JsonStateManager(path)
        numbers = itertools.count()

        def bare() -> None:
            with open(f"{bare_path}.new", "wb") as file:
                file.write(orjson.dumps(content))
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{bare_path}.new", bare_path)

        def ours() -> None:
            ledger.mark_notified(f"extra {next(numbers)}", "new")

        bare()  # from now on both replace an existing file
        ours()
        base, taken = median_times(ROUNDS, bare, ours)
        assert JsonStateManager(path).was_notified("extra 0", "new")
    yield ratio_figure(MAX_RATIO, f"save of the ledger, {count:,} jobs x 3 events", taken * 1000, "ms", base * 1000)


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 100_000)))
