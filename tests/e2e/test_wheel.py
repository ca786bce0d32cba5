"""The built wheel contains what the program needs, and the program runs from it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import PROJECT_ROOT

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(PROJECT_ROOT)],
        check=True,
        capture_output=True,
    )
    (path,) = out.glob("*.whl")
    return path


def test_wheel_contains_templates_and_type_marker(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    templates = {f"syftnotify/{path.relative_to(PROJECT_ROOT)}" for path in (PROJECT_ROOT / "templates").rglob("*.*")}

    assert len(templates) > 20
    assert templates <= names
    assert "syftnotify/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "templates/"))]


def test_demo_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(unpacked)
    env = {**os.environ, "PYTHONPATH": str(unpacked), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    code = "from syftnotify.rendering.templates import built_in_folder; print(built_in_folder())"
    where = subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=True)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "syftnotify", "demo"], env=env, capture_output=True, text=True, check=False
    )

    assert where.stdout.strip() == str(unpacked / "syftnotify" / "templates")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "16 mails, each of them once" in done.stdout
