"""Results: a table for the terminal, the page `docs/reliability.md`, and failures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from rich.table import Table

from tests.chaos import sinks
from tests.chaos.harness import Outcome
from tests.chaos.subjects import points_of

NAMES = {"gmail": "syftnotify, Gmail", "smtp": "syftnotify, SMTP", "naive": "naive notifier, SMTP"}
_COLUMNS = [
    "kills",
    "owed",
    "delivered",
    "lost",
    "unexpected",
    "duplicated",
    "uncounted",
    "unknown",
    "p50",
    "p95",
    "max",
]


@dataclass(frozen=True, slots=True)
class Row:
    """The results of all campaigns of one kind."""

    kind: str
    outcomes: tuple[Outcome, ...]

    @property
    def name(self) -> str:
        return NAMES[self.kind]

    @property
    def kills_by_point(self) -> Counter[str]:
        """Kills by fail-point; external ones under the empty name."""
        return sum((outcome.kills_by_point for outcome in self.outcomes), Counter())

    @property
    def missed_points(self) -> list[str]:
        """The points at which no worker was killed."""
        return [point for point in points_of(self.kind) if not self.kills_by_point[point]]

    @property
    def figures(self) -> dict[str, str]:
        verdicts = [outcome.verdict for outcome in self.outcomes]
        recoveries = sorted(seconds for outcome in self.outcomes for seconds in outcome.recoveries)
        return {
            "kills": f"{self.kills_by_point.total():,}",
            "owed": f"{sum(verdict.owed for verdict in verdicts):,}",
            "delivered": f"{sum(verdict.delivered for verdict in verdicts):,}",
            "lost": f"{sum(len(verdict.lost) for verdict in verdicts):,}",
            "unexpected": f"{sum(len(verdict.unexpected) for verdict in verdicts):,}",
            "duplicated": f"{sum(len(verdict.duplicated) for verdict in verdicts):,}",
            "uncounted": f"{sum(len(verdict.uncounted) for verdict in verdicts):,}",
            "unknown": f"{sum(verdict.unknown for verdict in verdicts):,}",
            **{name: f"{_percentile(recoveries, part):.2f} s" for name, part in _PERCENTILES.items()},
        }


_PERCENTILES = {"p50": 0.5, "p95": 0.95, "max": 1.0}


def _percentile(ordered: Sequence[float], part: float) -> float:
    """The percentile `part`, 0 to 1, by the nearest-rank method."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else math.nan


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    found = {kind: tuple(each for each in outcomes if each.campaign.kind == kind) for kind in NAMES}
    return [Row(kind, of_kind) for kind, of_kind in found.items() if of_kind]


def failures(rows: Sequence[Row]) -> Iterator[str]:
    """Violations, and reasons why a run proves nothing; empty if it succeeded."""
    for row in rows:
        if row.missed_points:
            yield f"{row.name}: no worker was killed at {', '.join(row.missed_points)}"
        if row.kind == "naive":
            if not any(outcome.verdict.lost or outcome.verdict.uncounted for outcome in row.outcomes):
                yield "the naive notifier passed: the harness detects nothing"
            continue
        for outcome in row.outcomes:
            yield from (f"{row.name}, seed {outcome.campaign.seed}: {what}" for what in _violations(outcome))


def _violations(outcome: Outcome) -> Iterator[str]:
    verdict = outcome.verdict
    yield from (f"lost {owed}" for owed in verdict.lost)
    yield from (f"unexpected {message}" for message in verdict.unexpected)
    yield from (f"duplicated and not counted: {identity}" for identity in verdict.uncounted)
    yield from verdict.problems
    if not verdict.is_good:
        yield f"folder of the campaign: {outcome.kept_folder}"


def render_table(rows: Sequence[Row]) -> Table:
    table = Table("", *_COLUMNS)
    for row in rows:
        table.add_row(row.name, *(row.figures[column] for column in _COLUMNS))
    return table


def render_page(rows: Sequence[Row], *, seed: int, kills: int, seconds: float, cpu: float) -> str:
    """The page in Markdown; `cpu` is the CPU time of all processes in seconds."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the page is Markdown
    )
    workers = [row for row in rows if row.kind != "naive"]
    return environment.get_template("reliability.md.j2").render(
        rows=rows,
        columns=_COLUMNS,
        workers=workers,
        points=sorted({point for row in workers for point in points_of(row.kind)}),
        applies={row.kind: points_of(row.kind) for row in workers},
        control=next(row for row in rows if row.kind == "naive"),
        failures=list(failures(rows)),
        total=f"{sum(row.kills_by_point.total() for row in workers):,}",
        campaigns=sum(len(row.outcomes) for row in workers),
        gmail_faults=_probabilities(sinks.GMAIL_FAULTS),
        smtp_faults=[_probabilities(sinks.SMTP_FAULTS_BEFORE_DATA), _probabilities(sinks.SMTP_FAULTS_AFTER_DOT)],
        seed=seed,
        kills=kills,
        minutes=f"{seconds / 60:.0f}",
        cpu_minutes=f"{cpu / 60:.0f}",
    )


def _probabilities(faults: dict[str, float]) -> str:
    return ", ".join(f"{name} {chance:.0%}" for name, chance in faults.items())
