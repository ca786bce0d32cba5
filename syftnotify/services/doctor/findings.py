"""The result of a check: level, text, advice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The level of a finding."""

    PASS = "pass"  # noqa: S105 - not a password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to do about it. The fields are the keys of `notify doctor --json`."""

    check: str
    level: Level
    text: str
    advice: str = ""


def graded(check: str, level: Level, text: str, advice: str) -> Finding:
    """A finding whose advice is left out if the check passed."""
    return Finding(check, level, text, "" if level is Level.PASS else advice)
