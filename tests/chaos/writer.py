"""Writes the tree as clients do: `python -m tests.chaos.writer --root DIR --seed N`.

Each line on stdin is a number of steps to write, at random intervals. At the line `end` the round is completed, and the
number of rounds written is printed to stdout.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.chaos.material import round_of
from tests.recorded import Player
from tests.trees import Disk

_STEP_SECONDS = 0.2  # seconds between two steps, on average


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--seed", required=True)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    steps = _steps(Disk(arguments.root))
    rounds, is_complete = 0, True
    for line in iter(sys.stdin.readline, ""):
        if line.strip() == "end":
            break
        for _ in range(int(line)):
            rounds, is_complete = next(steps)
            time.sleep(rng.uniform(0, 2 * _STEP_SECONDS))  # steps come at any time, also while no worker runs
    while not is_complete:
        rounds, is_complete = next(steps)
    sys.stdout.write(f"{rounds}\n")
    return 0


def _steps(disk: Disk) -> Iterator[tuple[int, bool]]:
    """Write a step each time; yields the number of rounds begun, and whether the last one is complete."""
    for number in count():
        player = Player(disk)
        steps = round_of(number).steps
        for index, step in enumerate(steps, start=1):
            player.play(step)
            yield number + 1, index == len(steps)


if __name__ == "__main__":
    sys.exit(main())
