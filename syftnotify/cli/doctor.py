"""`notify doctor`: every check on a line, with what to do."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

from syftnotify.cli.console import emit_line, out, say
from syftnotify.core.text import escape_block, plural
from syftnotify.services.doctor import findings
from syftnotify.services.findings import Level
from syftnotify.system.paths import Home

_STYLES = {Level.PASS: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def examine(home: Home, *, as_json: bool) -> int:
    """Print what was found; returns the exit code."""
    counts: Counter[Level] = Counter()
    found = []
    for finding in findings(home):
        counts[finding.level] += 1
        if as_json:
            found.append(asdict(finding))
            continue
        out.print(f"{finding.level.value}  ", style=_STYLES[finding.level], end="", markup=False)
        say(f"{finding.check}: {escape_block(finding.text)}")
        if finding.advice:
            say(f"      {escape_block(finding.advice)}")
    if as_json:
        emit_line(json.dumps(found))
    else:
        say(f"{counts[Level.PASS]} passed, {plural(counts[Level.WARN], 'warning')}, {counts[Level.FAIL]} failed")
    return 1 if counts[Level.FAIL] else 0
