"""The SyftBox folder: where the published clients create it."""

from __future__ import annotations

from pathlib import Path

from syftnotify.system.paths import try_expand_path


def default_root(email: str) -> Path | None:
    """The SyftBox folder if none is configured: the existing one, otherwise where a published client will create it.

    None without a home directory.
    """
    return find_root(email) or try_expand_path(f"~/SyftBox_{email}")


def find_root(email: str) -> Path | None:
    """The existing SyftBox folder of `email` where a published client creates it; None if there is none."""
    paths = map(try_expand_path, (f"~/SyftBox_{email}", "~/SyftBox", f"/content/SyftBox_{email}"))
    return next((path for path in paths if path is not None and _is_folder(path)), None)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # for example a parent folder that cannot be read
        return False
