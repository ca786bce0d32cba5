"""What did the last worker know of the jobs that rest? A file that may be lost: then all of them are read again."""

from __future__ import annotations

import json
import logging
import sys
from array import array
from dataclasses import fields
from pathlib import Path
from typing import Any

from syftnotify import __version__
from syftnotify.core.models import DirectorySnapshot, ScanCache
from syftnotify.system.files import atomic_write, read_regular_file

log = logging.getLogger(__name__)

_FIELDS = [field.name for field in fields(DirectorySnapshot)]


class MemoryFile:
    """The fingerprints of the jobs that rest, from one process to the next.

    They count as long as everything that was found out of these files is in the state file: so they belong to one
    state file, and are too new for an older copy of it that was put back. They also belong to one version of the
    rules by which jobs are read.
    """

    def __init__(self, path: Path, owner_suffix: str) -> None:
        self._path = path
        # `hash` is the same in each process of one Python; which Python that is stands here.
        self._mark = [__version__, sys.version, owner_suffix]

    def load(self, edition: tuple[str, int] | None) -> ScanCache:
        """What was remembered when the state file was of that edition, or of an earlier one; nothing if in doubt."""
        try:
            found = json.loads(read_regular_file(self._path))
            name, count = found["edition"]
            if found["mark"] == self._mark and edition and edition[0] == name and edition[1] >= count:
                return {key: _remembered(value) for key, value in found["shelves"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            log.warning("%s cannot be used (%s): every job is read again", self._path.name, type(error).__name__)
        return {}

    def save(self, memory: ScanCache, edition: tuple[str, int] | None) -> None:
        """Remember. Nothing is lost when it fails."""
        shelves = {key: [getattr(known, name) for name in _FIELDS] for key, known in memory.items()}
        content = json.dumps({"mark": self._mark, "edition": edition, "shelves": shelves}, separators=(",", ":"))
        try:
            atomic_write(self._path, content.encode("ascii"), durable=False)
        except OSError as error:
            log.warning("%s cannot be written: %s; a restart reads every job again", self._path.name, error.strerror)


def _remembered(value: Any) -> DirectorySnapshot:
    known = DirectorySnapshot(*value)
    array("q", [*known.matching_routes, *known.second, *known.listed])  # else they are no fingerprints
    for names in (known.names, known.awake, known.segments):
        "".join(names)  # else they are no names
    is_whole = len(known.names) == len(known.matching_routes) == len(known.second) and len(known.listed) in {0, 3}
    if not is_whole or sorted(known.names) != known.names:
        raise ValueError("columns that do not belong together")
    return known
