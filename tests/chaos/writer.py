"""The clients: a process of its own that writes the tree, `python -m tests.chaos.writer --root DIR --seed N`.

Each line on stdin is a number of steps to write, at a pace of its own. At the line `end` the round is completed, and
the number of rounds that were written is printed to stdout.
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

_PACE = 0.2  # seconds between two steps, on average


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--seed", required=True)
    given = parser.parse_args()
    dice = random.Random(given.seed)
    steps = _steps(Disk(given.root))
    written, is_whole = 0, True
    for line in iter(sys.stdin.readline, ""):
        if line.strip() == "end":
            break
        for _ in range(int(line)):
            written, is_whole = next(steps)
            time.sleep(dice.uniform(0, 2 * _PACE))  # people are not machines: work comes while workers live and die
    while not is_whole:
        written, is_whole = next(steps)
    sys.stdout.write(f"{written}\n")
    return 0


def _steps(disk: Disk) -> Iterator[tuple[int, bool]]:
    """Write a step; yields how many rounds were begun, and whether the last one is complete."""
    for number in count():
        player = Player(disk)
        steps = round_of(number).steps
        for index, step in enumerate(steps, start=1):
            player.play(step)
            yield number + 1, index == len(steps)


if __name__ == "__main__":
    sys.exit(main())
