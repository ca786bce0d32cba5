"""`notify doctor`: print the result of each check."""

from typing import TYPE_CHECKING

import typer

from syftnotify.cli.console import print_json, print_labeled, print_line
from syftnotify.cli.options import HomeOption, JsonListOption, resolve_home

if TYPE_CHECKING:
    from syftnotify.services.doctor.findings import Finding


def doctor(context: typer.Context, as_json: JsonListOption = False, home: HomeOption = None) -> None:
    """Check configuration, transports and state. Exit code 1: a check failed."""
    from collections import Counter
    from dataclasses import asdict

    from syftnotify.core.text import plural
    from syftnotify.runtime.opening import state_access
    from syftnotify.services.doctor.checks import run_checks
    from syftnotify.services.doctor.findings import Level

    resolved = resolve_home(context, home)
    found = []
    for finding in run_checks(resolved, state_access(resolved)):
        found.append(finding)
        if not as_json:
            _print(finding)
    counts = Counter(finding.level for finding in found)
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        warnings = plural(counts[Level.WARN], "warning")
        print_line(f"{counts[Level.PASS]} passed, {warnings}, {counts[Level.FAIL]} failed")
    raise typer.Exit(1 if counts[Level.FAIL] else 0)


def _print(finding: "Finding") -> None:
    from syftnotify.core.text import escape_block
    from syftnotify.services.doctor.findings import Level

    styles = {Level.PASS: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
    print_labeled(finding.level.value, f"{finding.check}: {escape_block(finding.text)}", styles[finding.level])
    if finding.advice:
        print_line(f"      {escape_block(finding.advice)}")
