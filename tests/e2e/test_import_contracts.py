"""The import contracts find a planted import."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "syftnotify"


PLANTED = {
    "directly": ("core/retry.py", "import os\n"),
    "through a helper": ("core/retry.py", "from syftnotify.system.files import atomic_write\n"),
    "through a helper in core": ("core/identifiers.py", "from pathlib import Path\n"),
}


@pytest.mark.parametrize(
    "case",
    [
        "through a helper",
        *(pytest.param(each, marks=pytest.mark.thorough) for each in (None, "directly", "through a helper in core")),
    ],
)
def test_contracts_keep_core_pure(tmp_path: Path, case: str | None) -> None:
    """Architecture, rule 1: an import of anything that touches the machine fails, indirect ones included."""
    shutil.copytree(PACKAGE, tmp_path / "syftnotify", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT_ROOT / "pyproject.toml", tmp_path)
    if case is not None:
        place, line = PLANTED[case]
        planted = tmp_path / "syftnotify" / place
        before, mark, after = planted.read_text(encoding="utf-8").partition("from __future__ import annotations\n")
        planted.write_text(before + mark + line + after, encoding="utf-8")

    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == (0 if case is None else 1), done.stdout
    assert case is None or "core is pure" in done.stdout.partition("Broken contracts")[2]
