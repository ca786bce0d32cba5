"""Folders that are named by the address of a submitter."""

from __future__ import annotations

from collections.abc import Iterator

from syftnotify.sources.syftbox.layouts.contract import ScanContext
from syftnotify.sources.syftbox.names import looks_like_email


def submitter_folders(path: str, scan: ScanContext, *, only: str | None = None) -> Iterator[str]:
    """The names of the submitters' folders in `path`; with `only`, those of one submitter, letter case ignored."""
    for name in scan.folders(path):
        if looks_like_email(name) and (only is None or name.casefold() == only.casefold()):
            yield name
