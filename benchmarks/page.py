"""The page `docs/performance.md` and its diagram."""

from __future__ import annotations

import math
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks import scan, syftbg
from benchmarks.common import Figure

_PAGE = """\
# Performance

`make bench` measures these figures and writes this page. A figure and its baseline are measured in one
run on one machine; where single measurements vary, both are medians of measurements in alternation. Compare the ratios,
because the times depend on the machine. Targets without a baseline require an idle machine.
This run: {machine}, {day}.

The trees contain ended jobs of fifty scientists, as syft-job 0.1.40 writes them (layout D). The baseline of a scan is a
bare loop that lists the folders and stats the `state.yaml` of each job; the baseline of a first scan is a bare loop
that reads and parses the `config.yaml` and the `state.yaml` of each job with libyaml. The docstring of each program in
`benchmarks/` describes its method and its baseline; `python -m benchmarks.scan` runs a single one.

| what | measured | baseline | ratio | target | met |
|---|---|---|---|---|---|
{rows}

{notes}## Growth of a scan

![Seconds of a scan without changes by the number of jobs, both axes logarithmic](performance.svg)

Each step of the grid is a factor of ten, on both axes: a line that rises by one step for each step to the right grows
in proportion to the number of jobs, and the distance between two lines is the ratio of their times.
{syftbg}"""
_SYFTBG = (
    f"syft-bg is release {syftbg.VERSION} from PyPI, one check of its JobMonitor on the same trees, up to "
    f"{syftbg.COUNTS[-1]:,} jobs.\n"
)
_SYFTBG_MISSING = "syft-bg is missing because it could not be installed on this machine.\n"


_SHARED_PAGE = """\
# Performance of a shared database

`python -m benchmarks.postgres --write` measures these figures and writes this page; [Performance](performance.md) is
about one worker and its file. A figure and its baseline are measured in one run on one machine. Server, workers and the
simulated homes share the cores of this machine: {machine}, PostgreSQL {version}, {day}.

The server has 1 GB of shared buffers and waits for the disk at each commit; its other options are the defaults. The
docstrings of `benchmarks/postgres.py` and `benchmarks/postgres_day.py` describe the methods.

| what | measured | baseline | ratio | target | met |
|---|---|---|---|---|---|
{rows}

{notes}
"""


def write_page(figures: list[Figure], folder: Path) -> None:
    """Write the page and the diagram into `folder`."""
    ours, bare, theirs = _curves(figures)
    notes = [f"- {figure.name}: {figure.note}" for figure in figures if figure.note]
    page = _PAGE.format(
        machine=describe_machine(),
        day=date.today().isoformat(),  # noqa: DTZ011 - the date in the local timezone
        rows="\n".join(map(_format_row, figures)),
        notes="\n".join([*notes, "", ""]) if notes else "",
        syftbg=_SYFTBG if theirs else _SYFTBG_MISSING,
    )
    (folder / "performance.md").write_text(page, encoding="utf-8")
    curves = [
        Curve("syft-bg", "#d55e00", theirs),
        Curve("syftnotify", "#0072b2", ours),
        Curve("bare loop", "#767676", bare),
    ]
    (folder / "performance.svg").write_text(render_svg(curves), encoding="utf-8")


def write_shared_page(figures: list[Figure], version: str, folder: Path) -> None:
    """Write the page of the figures of `benchmarks.postgres` into `folder`; notes of several figures appear once."""
    notes = {figure.note: figure.name for figure in reversed(figures) if figure.note}
    page = _SHARED_PAGE.format(
        machine=describe_machine(),
        version=version,
        day=date.today().isoformat(),  # noqa: DTZ011 - the date in the local timezone
        rows="\n".join(map(_format_row, figures)),
        notes="\n".join(f"- {name}: {note}" for note, name in reversed(notes.items())),
    )
    (folder / "performance-shared.md").write_text(page, encoding="utf-8")


def describe_machine() -> str:
    """A description of this machine, without its name."""
    cores = os.cpu_count() or 1
    system = _file_system_type(tempfile.gettempdir())
    return ", ".join(
        [
            f"{cores} core{'s' * (cores > 1)} ({platform.machine()})",
            f"Python {platform.python_version()}",
            platform.system(),
            *([f"trees on {system}"] if system else []),
        ]
    )


def _file_system_type(folder: str) -> str:
    """The type of the file system of `folder`; empty if unknown."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    parents = [(path, kind) for path, kind in mounts if os.path.commonpath([path, folder]) == path]
    return max(parents, key=lambda each: len(each[0]))[1] if parents else ""


def _format_row(figure: Figure) -> str:
    met = {True: "yes", False: "**no**", None: ""}[figure.is_met]
    ratio = f"{figure.ratio:.3g} x" if figure.ratio is not None else ""
    value = _format_value(figure.value, figure.unit) or "not measured"
    cells = (figure.name, value, _format_value(figure.baseline, figure.unit), ratio, figure.target or "", met)
    return f"| {' | '.join(cells)} |"


def _format_value(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f} {unit}"


# -- the diagram -----------------------------------------------------------------------------------------------------

Points = Mapping[int, float]  # jobs -> seconds


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve, labelled at its end."""

    name: str
    colour: str
    points: Points


def _curves(figures: Iterable[Figure]) -> tuple[Points, Points, Points]:
    """The curves of syftnotify, of the bare loop and of syft-bg."""
    by_name = {figure.name: figure for figure in figures}
    scans = {count: by_name[name] for count in scan.COUNTS if (name := scan.unchanged_name(count)) in by_name}
    checks = {count: by_name[name] for count in syftbg.COUNTS if (name := syftbg.scan_name(count)) in by_name}
    return (
        {count: figure.value / 1000 for count, figure in scans.items() if figure.value},
        {count: figure.baseline / 1000 for count, figure in scans.items() if figure.baseline},
        {count: figure.baseline / 1000 for count, figure in checks.items() if figure.baseline},
    )


_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 110, 20, 60  # margins
_LABEL_HEIGHT = 15


def render_svg(curves: list[Curve]) -> str:
    """An SVG diagram of `curves`, both axes logarithmic."""
    shown = [curve for curve in curves if curve.points]
    if not shown:
        return '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>\n'
    jobs = _decades(count for curve in shown for count in curve.points)
    times = _decades(taken for curve in shown for taken in curve.points.values())

    def x(count: float) -> float:
        share = (math.log10(count) - jobs[0]) / (jobs[-1] - jobs[0])
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(taken: float) -> float:
        share = (math.log10(taken) - times[0]) / (times[-1] - times[0])
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    right, low = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="13" fill="#333333">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for power in jobs:
        at = x(10**power)
        parts.append(f'<path d="M{at} {_TOP}V{low}" stroke="#dddddd"/>')
        parts.append(f'<text x="{at}" y="{low + 20}" text-anchor="middle">{10**power:,}</text>')
    for power in times:
        at = y(10.0**power)
        parts.append(f'<path d="M{_LEFT} {at}H{right}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4}" text-anchor="end">{_format_time(power)}</text>')
    parts.append(f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 15}" text-anchor="middle">jobs in the tree</text>')
    for curve in shown:
        points = [(x(count), y(taken)) for count, taken in sorted(curve.points.items())]
        path = " ".join(f"{left},{top}" for left, top in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{curve.colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{left}" cy="{top}" r="3.5" fill="{curve.colour}"/>' for left, top in points]
    ends = [(curve, (x(max(curve.points)), y(curve.points[max(curve.points)]))) for curve in shown]
    for curve, (left, top) in _spread_labels(ends):
        parts.append(f'<text x="{left + 8}" y="{top + 4}" fill="{curve.colour}">{curve.name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _spread_labels(ends: list[tuple[Curve, tuple[float, float]]]) -> list[tuple[Curve, tuple[float, float]]]:
    """The ends of the curves from top to bottom, moved apart so that the labels do not overlap."""
    found: list[tuple[Curve, tuple[float, float]]] = []
    for curve, (left, top) in sorted(ends, key=lambda each: each[1][1]):
        lowest = found[-1][1][1] + _LABEL_HEIGHT if found else 0.0
        found.append((curve, (left, max(top, lowest))))
    return found


def _decades(values: Iterable[float]) -> range:
    """The powers of ten that enclose `values`."""
    logs = [math.log10(value) for value in values]
    low = math.floor(min(logs))
    return range(low, max(low + 1, math.ceil(max(logs))) + 1)


def _format_time(power: int) -> str:
    return f"{10**power:,} s" if power >= 0 else f"{10 ** (power + 3):g} ms"
