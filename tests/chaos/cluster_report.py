"""The long form for several workers on PostgreSQL: campaigns, the control, and the page of their results."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import jinja2
from rich.console import Console

from tests.chaos.cluster import FAULTS, NETWORK_DOWN, ClusterCampaign, ClusterOutcome, run_cluster_campaign
from tests.support import PROJECT_ROOT

FAULTS_IN_ALL = 1000
_FAULTS_PER_CAMPAIGN = 40
_CONTROL_FAULTS = 40
_PARALLEL = 2
PAGE = PROJECT_ROOT / "docs" / "reliability-shared.md"


def run(out: Console, *, seed: int, faults: int, writes: bool) -> int:
    """Run all campaigns; returns the exit code."""
    started = time.monotonic()
    count = -(-faults // _FAULTS_PER_CAMPAIGN)
    planned = [ClusterCampaign(f"{seed} control", _CONTROL_FAULTS, is_fenced=False)]
    planned += [
        ClusterCampaign(f"{seed} shared {number}", faults // count + (number < faults % count))
        for number in range(count)
    ]
    outcomes = _run_all(out, planned)
    shared = [outcome for outcome in outcomes if outcome.campaign.is_fenced]
    (control,) = (outcome for outcome in outcomes if not outcome.campaign.is_fenced)
    found = list(failures(shared, control))
    rows = [("syftnotify, 3 workers", figures_of(shared)), ("control without fencing", figures_of([control]))]
    for name, figures in rows:
        out.print(f"{name}: {', '.join(f'{key} {value}' for key, value in figures.items())}")
    if writes:
        minutes = (time.monotonic() - started) / 60
        PAGE.write_text(render(rows, shared, found, seed=seed, minutes=minutes), encoding="utf-8")
    for line in found:
        out.print(line, markup=False)
    return 1 if found else 0


def _run_all(out: Console, planned: Sequence[ClusterCampaign]) -> list[ClusterOutcome]:
    outcomes = []
    with ProcessPoolExecutor(_PARALLEL, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(run_cluster_campaign, campaign) for campaign in planned]):
                outcome = future.result()
                outcomes.append(outcome)
                verdict = outcome.verdict
                out.print(
                    f"{len(outcomes)}/{len(planned)} {outcome.campaign.seed}: {outcome.faults.total()} faults in "
                    f"{outcome.seconds:.0f} s, owed {verdict.owed}, lost {len(verdict.lost)}, duplicated "
                    f"{len(verdict.duplicated)}, uncounted {len(verdict.uncounted)}"
                )
        except BaseException:  # Ctrl-C too: cancel the campaigns that have not started; raised again
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


def figures_of(outcomes: Sequence[ClusterOutcome]) -> dict[str, str]:
    """The sums over some campaigns."""
    verdicts = [outcome.verdict for outcome in outcomes]
    numbers = {
        "faults": sum(outcome.faults.total() for outcome in outcomes),
        "owed": sum(verdict.owed for verdict in verdicts),
        "delivered": sum(verdict.delivered for verdict in verdicts),
        "lost": sum(len(verdict.lost) for verdict in verdicts),
        "unexpected": sum(len(verdict.unexpected) for verdict in verdicts),
        "duplicated": sum(len(verdict.duplicated) for verdict in verdicts),
        "uncounted": sum(len(verdict.uncounted) for verdict in verdicts),
        "unknown": sum(verdict.unknown for verdict in verdicts),
    }
    return {name: f"{number:,}" for name, number in numbers.items()}


def failures(shared: Sequence[ClusterOutcome], control: ClusterOutcome) -> Iterator[str]:
    """Violations, and reasons why a run proves nothing; empty if it succeeded."""
    if not control.verdict.uncounted:
        yield "the control without fencing passed: the harness detects nothing"
    impossible = set() if _has_networks(shared) else {NETWORK_DOWN}
    for kind in FAULTS.keys() - _faults_of(shared).keys() - impossible:
        yield f"no fault of the kind: {kind}"
    for outcome in shared:
        verdict = outcome.verdict
        found = [f"lost {owed}" for owed in verdict.lost] + [f"unexpected {each}" for each in verdict.unexpected]
        found += [f"duplicated and not counted: {identity}" for identity in verdict.uncounted]
        yield from (f"seed {outcome.campaign.seed}: {each}" for each in (*found, *verdict.problems))
        if outcome.kept_folder:
            yield f"folder of the campaign: {outcome.kept_folder}"


def _has_networks(outcomes: Sequence[ClusterOutcome]) -> bool:
    return all(outcome.has_networks for outcome in outcomes)


def _faults_of(outcomes: Sequence[ClusterOutcome]) -> Counter[str]:
    return sum((outcome.faults for outcome in outcomes), Counter())


def render(
    rows: Sequence[tuple[str, dict[str, str]]],
    shared: Sequence[ClusterOutcome],
    found: Sequence[str],
    *,
    seed: int,
    minutes: float,
) -> str:
    """The page in Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the page is Markdown
    )
    return environment.get_template("shared.md.j2").render(
        rows=rows,
        columns=list(rows[0][1]),
        faults=sorted(_faults_of(shared).items()),
        campaigns=len(shared),
        has_networks=_has_networks(shared),
        failures=found,
        seed=seed,
        minutes=f"{minutes:.0f}",
    )
