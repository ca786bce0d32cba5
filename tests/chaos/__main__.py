"""The long form: campaigns of the real worker with both servers, and the control, two at a time."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import chain

from rich.console import Console

from tests.chaos.harness import PROJECT_ROOT, Campaign, Outcome, campaigns, run
from tests.chaos.report import failings, page_of, rows_of, table_of

_KILLS = 1000
_KILLS_A_CAMPAIGN = 40
_KILLS_OF_THE_CONTROL = 60
_AT_A_TIME = 2
_PAGE = PROJECT_ROOT / "docs" / "reliability.md"

out = Console(highlight=False, width=140)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=1, help="of all dice; the moments of a run are never quite the same"
    )
    parser.add_argument("--kills", type=int, default=_KILLS, help=f"of the real worker, 100 at the least; {_KILLS}")
    parser.add_argument("--write", action="store_true", help=f"write {_PAGE.relative_to(PROJECT_ROOT)}")
    given = parser.parse_args()
    if given.kills < 100:
        parser.error("with fewer than 100 kills not every fail-point has its turn")
    begun = time.monotonic()
    out.print(f"seed {given.seed}")
    outcomes = _played(_planned(given.seed, given.kills))
    rows = rows_of(outcomes)
    out.print(table_of(rows))
    for row in rows:
        out.print(f"{row.name}: {dict(sorted(row.deaths.items()))}")
    if given.write:
        seconds, cpu = time.monotonic() - begun, sum(os.times()[:4])
        page = page_of(rows, seed=given.seed, kills=given.kills, seconds=seconds, cpu=cpu)
        _PAGE.write_text(page, encoding="utf-8")
    wrong = list(failings(rows))
    for line in wrong:
        out.print(line, markup=False)
    return 1 if wrong else 0


def _planned(seed: int, kills: int) -> list[Campaign]:
    count = math.ceil(kills / 2 / _KILLS_A_CAMPAIGN)
    half = math.ceil(kills / 2)
    in_turns = chain(*zip(campaigns("gmail", seed, half, count), campaigns("smtp", seed, half, count), strict=True))
    return [*campaigns("naive", seed, _KILLS_OF_THE_CONTROL, 1), *in_turns]


def _played(planned: list[Campaign]) -> list[Outcome]:
    outcomes = []
    # Fresh processes, not forks of this one: each campaign has threads of its own.
    with ProcessPoolExecutor(_AT_A_TIME, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(run, campaign) for campaign in planned]):
                outcome = future.result()
                outcomes.append(outcome)
                _say(outcome, len(outcomes), len(planned))
        except BaseException:  # Ctrl-C too: what has not begun need not; goes on its way
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


def _say(outcome: Outcome, number: int, total: int) -> None:
    verdict = outcome.verdict
    out.print(
        f"{number}/{total} {outcome.campaign.seed}: {outcome.deaths.total()} kills in {outcome.seconds:.0f} s, "
        f"owed {verdict.owed}, lost {len(verdict.lost)}, doubled {len(verdict.doubled)}, "
        f"uncounted {len(verdict.uncounted)}"
    )


if __name__ == "__main__":
    sys.exit(main())
