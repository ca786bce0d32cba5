"""The page `docs/performance.md` and its curve: what was measured, in words and as a picture."""

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
from benchmarks.ground import Figure

_PAGE = """\
# Performance

`make bench` measures all of this and writes this page. What stands beside a baseline was measured in turns with it, in
one run on one machine, and is a median: the ratio is what to compare, the times are this machine's. Targets without a
baseline want a machine that has nothing else to do.
This run: {machine}, {day}.

The trees hold jobs of fifty scientists that ended, as syft-job 0.1.40 lays them down (layout D). The baseline of
a scan is a bare loop that lists the folders and calls `stat` for the one file of each job that
decides; the baseline of a first scan is a bare loop that reads and parses both files of each job with libyaml. Each
program in `benchmarks/` says what it does and what it is measured against; `python -m benchmarks.scan` runs one alone.

| what | measured | baseline | ratio | target | met |
|---|---|---|---|---|---|
{rows}

{notes}## How a scan grows

![Seconds of a scan in which nothing changed, over the number of jobs, both axes logarithmic](performance.svg)

Each step of the grid is ten times the one before, on both axes: a line that climbs one step for each step to the right
grows with the number of jobs and no faster, and how far one line lies above another says how many times longer it
takes.
{peer}"""
_PEER = (
    f"syft-bg is release {syftbg.VERSION} from PyPI, one check of its JobMonitor on the same trees, up to "
    f"{syftbg.COUNTS[-1]:,} jobs.\n"
)
_NO_PEER = "syft-bg is missing because it could not be installed where this was measured.\n"


def write_page(figures: list[Figure], folder: Path) -> None:
    """Write the page and the picture into `folder`."""
    ours, bare, theirs = _curves(figures)
    notes = [f"- {figure.name}: {figure.note}" for figure in figures if figure.note]
    page = _PAGE.format(
        machine=machine(),
        day=date.today().isoformat(),  # noqa: DTZ011 - the day on this machine's calendar
        rows="\n".join(map(_row, figures)),
        notes="\n".join([*notes, "", ""]) if notes else "",
        peer=_PEER if theirs else _NO_PEER,
    )
    (folder / "performance.md").write_text(page, encoding="utf-8")
    lines = [
        Line("syft-bg", "#d55e00", theirs),
        Line("syftnotify", "#0072b2", ours),
        Line("bare loop", "#767676", bare),
    ]
    (folder / "performance.svg").write_text(drawn(lines), encoding="utf-8")


def machine() -> str:
    """What this was measured on, without a name."""
    cores = os.cpu_count() or 1
    system = _file_system(tempfile.gettempdir())
    return ", ".join(
        [
            f"{cores} core{'s' * (cores > 1)} ({platform.machine()})",
            f"Python {platform.python_version()}",
            platform.system(),
            *([f"trees on {system}"] if system else []),
        ]
    )


def _file_system(folder: str) -> str:
    """The kind of file system that `folder` lies on; empty where nobody says so."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    above = [(place, kind) for place, kind in mounts if os.path.commonpath([place, folder]) == place]
    return max(above, key=lambda each: len(each[0]))[1] if above else ""


def _row(figure: Figure) -> str:
    met = {True: "yes", False: "**no**", None: ""}[figure.is_met]
    ratio = f"{figure.ratio:.3g} x" if figure.ratio is not None else ""
    value = _amount(figure.value, figure.unit) or "not measured"
    cells = (figure.name, value, _amount(figure.baseline, figure.unit), ratio, figure.target or "", met)
    return f"| {' | '.join(cells)} |"


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f} {unit}"


# -- the picture -----------------------------------------------------------------------------------------------------

Points = Mapping[int, float]  # jobs -> seconds


@dataclass(frozen=True, slots=True)
class Line:
    """One curve, with its name at its end."""

    name: str
    colour: str
    points: Points


def _curves(figures: Iterable[Figure]) -> tuple[Points, Points, Points]:
    """Ours, the bare loop's, and syft-bg's."""
    by_name = {figure.name: figure for figure in figures}
    looks = {count: by_name[name] for count in scan.COUNTS if (name := scan.quiet_name(count)) in by_name}
    peers = {count: by_name[name] for count in syftbg.COUNTS if (name := syftbg.look_name(count)) in by_name}
    return (
        {count: figure.value / 1000 for count, figure in looks.items() if figure.value},
        {count: figure.baseline / 1000 for count, figure in looks.items() if figure.baseline},
        {count: figure.baseline / 1000 for count, figure in peers.items() if figure.baseline},
    )


_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 110, 20, 60  # margins
_NAME_HEIGHT = 15


def drawn(lines: list[Line]) -> str:
    """An SVG of `lines`, both axes logarithmic."""
    shown = [line for line in lines if line.points]
    if not shown:
        return '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>\n'
    jobs = _decades(count for line in shown for count in line.points)
    times = _decades(taken for line in shown for taken in line.points.values())

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
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4}" text-anchor="end">{_seconds(power)}</text>')
    parts.append(f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 15}" text-anchor="middle">jobs in the tree</text>')
    for line in shown:
        points = [(x(count), y(taken)) for count, taken in sorted(line.points.items())]
        path = " ".join(f"{across},{down}" for across, down in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across}" cy="{down}" r="3.5" fill="{line.colour}"/>' for across, down in points]
    ends = [(line, (x(max(line.points)), y(line.points[max(line.points)]))) for line in shown]
    for line, (across, down) in _apart(ends):
        parts.append(f'<text x="{across + 8}" y="{down + 4}" fill="{line.colour}">{line.name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _apart(names: list[tuple[Line, tuple[float, float]]]) -> list[tuple[Line, tuple[float, float]]]:
    """The ends of lines, from the top down, so far apart that each name can be read."""
    found: list[tuple[Line, tuple[float, float]]] = []
    for line, (across, down) in sorted(names, key=lambda each: each[1][1]):
        lowest = found[-1][1][1] + _NAME_HEIGHT if found else 0.0
        found.append((line, (across, max(down, lowest))))
    return found


def _decades(values: Iterable[float]) -> range:
    """The powers of ten around `values`."""
    logs = [math.log10(value) for value in values]
    low = math.floor(min(logs))
    return range(low, max(low + 1, math.ceil(max(logs))) + 1)


def _seconds(power: int) -> str:
    return f"{10**power:,} s" if power >= 0 else f"{10 ** (power + 3):g} ms"
