"""Names in the tree: which folder names are addresses, and which file names stay inside a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_MAX_PARTS = 16  # of a relative file name


def looks_like_email(name: str) -> bool:
    """Whether a folder is named by an address: published clients use `@` in no other folder name."""
    user, _, domain = name.partition("@")
    return bool(user and domain) and "@" not in domain and not name.startswith(".") and name.isprintable()


def submitter_folders(names: Iterable[str], *, only: str | None = None) -> Iterator[str]:
    """Those of `names` that are addresses; with `only`, the spellings of that address in upper and lower case."""
    for name in names:
        if looks_like_email(name) and (only is None or name.casefold() == only.casefold()):
            yield name


def relative_parts(name: str) -> tuple[str, ...] | None:
    """The parts of a relative file name; None if it could lead outside the folder or is nested too deeply."""
    parts = tuple(name.split("/"))
    if len(parts) > _MAX_PARTS or any(part in {"", ".", ".."} or "\0" in part for part in parts):
        return None
    return parts
