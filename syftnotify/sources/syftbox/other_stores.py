"""Jobs of programs before syft-job, which this program does not read.

syft-rds up to 0.5.0 keeps a YAML file per job in `app_data/<app>/store/job`, syft-queue 0.4 a folder in
`app_data/syft-queues/<name>_queue/jobs/<status>`, syft-code-queue 0.1 one in `app_data/<queue>/jobs/<status>`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_STORES = {
    "syft-rds 0.5.0 or older": "*/store/job",
    "syft-queue": "syft-queues/*_queue/jobs",
    "syft-code-queue": "*/jobs/pending",
}


def other_stores(root: Path, owner: str) -> Iterator[tuple[str, Path]]:
    """The programs that keep jobs of `owner` elsewhere below `root`, each with a folder in which they do."""
    for site in (root / owner, root / "datasites" / owner):
        for program, pattern in _STORES.items():
            if folder := next(_folders(site / "app_data", pattern), None):
                yield program, folder


def _folders(base: Path, pattern: str) -> Iterator[Path]:
    """The folders that match; none where a folder cannot be read."""
    try:
        yield from (path for path in base.glob(pattern) if path.is_dir() and not path.is_symlink())
    except OSError:
        return
