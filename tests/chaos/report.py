"""Results: a table for the terminal, the page `docs/reliability.md`, and whether the promise holds."""

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
_HEADS = ["kills", "owed", "delivered", "lost", "foreign", "doubled", "uncounted", "unknown", "p50", "p95", "max"]


@dataclass(frozen=True, slots=True)
class Row:
    """All campaigns of one kind together."""

    kind: str
    outcomes: tuple[Outcome, ...]

    @property
    def name(self) -> str:
        return NAMES[self.kind]

    @property
    def deaths(self) -> Counter[str]:
        """Kills by fail-point; those from outside under the empty name."""
        return sum((outcome.deaths for outcome in self.outcomes), Counter())

    @property
    def never(self) -> list[str]:
        """The points at which no worker was killed."""
        return [point for point in points_of(self.kind) if not self.deaths[point]]

    @property
    def figures(self) -> dict[str, str]:
        verdicts = [outcome.verdict for outcome in self.outcomes]
        recoveries = sorted(seconds for outcome in self.outcomes for seconds in outcome.recoveries)
        return {
            "kills": f"{self.deaths.total():,}",
            "owed": f"{sum(verdict.owed for verdict in verdicts):,}",
            "delivered": f"{sum(verdict.delivered for verdict in verdicts):,}",
            "lost": f"{sum(len(verdict.lost) for verdict in verdicts):,}",
            "foreign": f"{sum(len(verdict.foreign) for verdict in verdicts):,}",
            "doubled": f"{sum(len(verdict.doubled) for verdict in verdicts):,}",
            "uncounted": f"{sum(len(verdict.uncounted) for verdict in verdicts):,}",
            "unknown": f"{sum(verdict.unknown for verdict in verdicts):,}",
            **{name: f"{_percentile(recoveries, part):.2f} s" for name, part in _PARTS.items()},
        }


_PARTS = {"p50": 0.5, "p95": 0.95, "max": 1.0}


def _percentile(ordered: Sequence[float], part: float) -> float:
    """The smallest value that is not below the share `part` of all."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else math.nan


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    found = {kind: tuple(each for each in outcomes if each.campaign.kind == kind) for kind in NAMES}
    return [Row(kind, of_kind) for kind, of_kind in found.items() if of_kind]


def failings(rows: Sequence[Row]) -> Iterator[str]:
    """Why the promise does not hold, or was not tested; empty if all is well."""
    for row in rows:
        if row.never:
            yield f"{row.name}: no worker was killed at {', '.join(row.never)}"
        if row.kind == "naive":
            if not any(outcome.verdict.lost or outcome.verdict.uncounted for outcome in row.outcomes):
                yield "the naive notifier passed: the harness detects nothing"
            continue
        for outcome in row.outcomes:
            yield from (f"{row.name}, seed {outcome.campaign.seed}: {what}" for what in _wrong(outcome))


def _wrong(outcome: Outcome) -> Iterator[str]:
    verdict = outcome.verdict
    yield from (f"lost {owed}" for owed in verdict.lost)
    yield from (f"foreign {message}" for message in verdict.foreign)
    yield from (f"doubled and not counted: {identity}" for identity in verdict.uncounted)
    yield from verdict.troubles
    if not verdict.is_good:
        yield f"its folder was kept: {outcome.kept}"


def table_of(rows: Sequence[Row]) -> Table:
    table = Table("", *_HEADS)
    for row in rows:
        table.add_row(row.name, *(row.figures[head] for head in _HEADS))
    return table


def page_of(rows: Sequence[Row], *, seed: int, kills: int, seconds: float, cpu: float) -> str:
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
    ours = [row for row in rows if row.kind != "naive"]
    return environment.get_template("reliability.md.j2").render(
        rows=rows,
        heads=_HEADS,
        ours=ours,
        points=sorted({point for row in ours for point in points_of(row.kind)}),
        applies={row.kind: points_of(row.kind) for row in ours},
        control=next(row for row in rows if row.kind == "naive"),
        failings=list(failings(rows)),
        total=f"{sum(row.deaths.total() for row in ours):,}",
        campaigns=sum(len(row.outcomes) for row in ours),
        gmail_faults=_chances(sinks.GMAIL_FAULTS),
        smtp_faults=[_chances(sinks.SMTP_FAULTS_BEFORE_DATA), _chances(sinks.SMTP_FAULTS_AFTER_THE_DOT)],
        seed=seed,
        kills=kills,
        minutes=f"{seconds / 60:.0f}",
        cpu_minutes=f"{cpu / 60:.0f}",
    )


def _chances(faults: dict[str, float]) -> str:
    return ", ".join(f"{name} {chance:.0%}" for name, chance in faults.items())
