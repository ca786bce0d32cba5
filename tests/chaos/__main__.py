"""The long form: campaigns of the real worker with both servers, and the control, two in parallel."""

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

from tests.chaos.cluster_report import FAULTS_IN_ALL
from tests.chaos.cluster_report import run as run_shared
from tests.chaos.harness import Campaign, Outcome, plan_campaigns, run_campaign
from tests.chaos.report import failures, render_page, render_table, rows_of
from tests.support import PROJECT_ROOT

_KILLS = 1000
_KILLS_PER_CAMPAIGN = 40
_CONTROL_KILLS = 60
_PARALLEL = 2
_PAGE = PROJECT_ROOT / "docs" / "reliability.md"

out = Console(highlight=False, width=140)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the random numbers; the instants of the kills still vary"
    )
    parser.add_argument("--kills", type=int, default=_KILLS, help=f"kills of the real worker, at least 100 ({_KILLS})")
    parser.add_argument("--postgres", action="store_true", help="faults of several workers on PostgreSQL instead")
    parser.add_argument("--faults", type=int, default=FAULTS_IN_ALL, help=f"with --postgres ({FAULTS_IN_ALL})")
    parser.add_argument("--write", action="store_true", help="write the page of the results into docs/")
    arguments = parser.parse_args()
    if arguments.kills < 100:
        parser.error("--kills must be at least 100, so that every fail-point is hit")
    started = time.monotonic()
    out.print(f"seed {arguments.seed}")
    if arguments.postgres:
        return run_shared(out, seed=arguments.seed, faults=arguments.faults, writes=arguments.write)
    outcomes = _run_all(_plan(arguments.seed, arguments.kills))
    rows = rows_of(outcomes)
    out.print(render_table(rows))
    for row in rows:
        out.print(f"{row.name}: {dict(sorted(row.kills_by_point.items()))}")
    if arguments.write:
        seconds, cpu = time.monotonic() - started, sum(os.times()[:4])
        page = render_page(rows, seed=arguments.seed, kills=arguments.kills, seconds=seconds, cpu=cpu)
        _PAGE.write_text(page, encoding="utf-8")
    found = list(failures(rows))
    for line in found:
        out.print(line, markup=False)
    return 1 if found else 0


def _plan(seed: int, kills: int) -> list[Campaign]:
    count = math.ceil(kills / 2 / _KILLS_PER_CAMPAIGN)
    half = math.ceil(kills / 2)
    in_turns = chain(
        *zip(plan_campaigns("gmail", seed, half, count), plan_campaigns("smtp", seed, half, count), strict=True)
    )
    return [*plan_campaigns("naive", seed, _CONTROL_KILLS, 1), *in_turns]


def _run_all(planned: list[Campaign]) -> list[Outcome]:
    outcomes = []
    # Spawned, not forked: each campaign has its own threads.
    with ProcessPoolExecutor(_PARALLEL, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(run_campaign, campaign) for campaign in planned]):
                outcome = future.result()
                outcomes.append(outcome)
                _print_progress(outcome, len(outcomes), len(planned))
        except BaseException:  # Ctrl-C too: cancel the campaigns that have not started; raised again
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


def _print_progress(outcome: Outcome, number: int, total: int) -> None:
    verdict = outcome.verdict
    out.print(
        f"{number}/{total} {outcome.campaign.seed}: {outcome.kills_by_point.total()} kills in {outcome.seconds:.0f} s, "
        f"owed {verdict.owed}, lost {len(verdict.lost)}, duplicated {len(verdict.duplicated)}, "
        f"uncounted {len(verdict.uncounted)}"
    )


if __name__ == "__main__":
    sys.exit(main())
