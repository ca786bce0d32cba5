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

from benchmarks.ground import Figure, at_most, medians, name_of, report
from syftnotify.core.identifiers import entity_id
from syftnotify.store.ledger.manager import JsonStateManager
from tests.support import ANA, OWNER

FACTOR = 1.5
ROUNDS = 15


def figures(count: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path, bare_path = Path(folder) / "state.json", Path(folder) / "bare.json"
        notified = {
            entity_id("job", "D", OWNER, ANA, name_of(n)): ["new", "approved", "executed"] for n in range(count)
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
            ledger.mark_notified(f"one more {next(numbers)}", "new")

        bare()  # from now on both replace an existing file
        ours()
        base, taken = medians(ROUNDS, bare, ours)
        assert JsonStateManager(path).was_notified("one more 0", "new")
    yield at_most(FACTOR, f"save of the ledger, {count:,} jobs x 3 events", taken * 1000, "ms", base * 1000)


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 100_000)))
