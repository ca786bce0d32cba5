"""What to watch for changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WatchSpec:
    """A folder to watch, with everything below it or only the names directly in it.

    `names` are the relevant files in it; empty: all.
    """

    folder: Path
    recursive: bool = True
    names: frozenset[str] = frozenset()
