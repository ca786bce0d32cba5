"""The file with the fingerprints of archived jobs. It may be lost: then every job is read again."""

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

_COLUMNS = [field.name for field in fields(DirectorySnapshot)]
Revision = tuple[str, int]  # of the state file: its id, and the number of its saves


class ScanCacheFile:
    """Keeps the scan cache from one process to the next.

    The cache is valid only if everything read from the cached files is recorded in the state file. So it belongs to one
    state file, and it is discarded when an older copy of that file was restored. It also belongs to one version of
    syftnotify, because another one may read jobs differently.

    The JSON object in the file: `mark` (the versions and the scope for which it is valid), `edition` (the revision of
    the state file), and `shelves` (by directory, the fields of its `DirectorySnapshot`).
    """

    def __init__(self, path: Path, scope: str) -> None:
        """`scope` is any text that identifies whose jobs are scanned."""
        self._path = path
        # Fingerprints are values of `hash`, which is the same in all processes of one Python version.
        self._mark = [__version__, sys.version, scope]

    def load(self, revision: Revision | None) -> ScanCache:
        """The cache, if it was saved at this revision of the state file or an earlier one; otherwise an empty one."""
        try:
            content = json.loads(read_regular_file(self._path))
            file_id, count = content["edition"]
            if content["mark"] == self._mark and revision and revision[0] == file_id and revision[1] >= count:
                return {key: _parse_snapshot(value) for key, value in content["shelves"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            log.warning("%s cannot be used (%s); every job is read again", self._path.name, type(error).__name__)
        return {}

    def save(self, cache: ScanCache, revision: Revision | None) -> None:
        """Write the cache, made at this revision of the state file. A failure is only logged."""
        content = {
            "mark": self._mark,
            "edition": revision,
            "shelves": {key: [getattr(saved, name) for name in _COLUMNS] for key, saved in cache.items()},
        }
        encoded = json.dumps(content, separators=(",", ":")).encode("ascii")
        try:
            atomic_write(self._path, encoded, durable=False)
        except OSError as error:
            log.warning("%s cannot be written (%s); a restart reads every job again", self._path.name, error.strerror)


def _parse_snapshot(value: Any) -> DirectorySnapshot:
    """The snapshot in the columns of the file. Raises: TypeError, ValueError, OverflowError."""
    snapshot = DirectorySnapshot(*value)
    array("q", [*snapshot.primary, *snapshot.secondary, *snapshot.listed])  # raises if these are not fingerprints
    for names in (snapshot.archived, snapshot.active, snapshot.version_folders):
        "".join(names)  # raises if these are not names
    lengths = {len(snapshot.archived), len(snapshot.primary), len(snapshot.secondary)}
    if len(lengths) != 1 or len(snapshot.listed) not in {0, 3} or sorted(snapshot.archived) != snapshot.archived:
        raise ValueError("the columns do not match")
    return snapshot
