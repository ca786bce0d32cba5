"""The bounds that keep the packages readable."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import PROJECT_ROOT

MAX_MODULE_LINES, MAX_CLASS_LINES, MAX_TOP_MODULES = 450, 260, 3


PACKAGE = PROJECT_ROOT / "syftnotify"


MODULES = sorted(PACKAGE.rglob("*.py"))


REQUIREMENT_ID = re.compile(r"\b[ABCDGNX]\d{2}\b")


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT_ROOT))


@pytest.mark.check_only
def test_modules_and_classes_are_within_bounds() -> None:
    assert [problem for path in MODULES for problem in problems_of(path)] == []


def problems_of(path: Path) -> Iterator[str]:
    """What a module is too long for, and texts that do not belong into it."""
    name, source = name_of(path), path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    if len(source.splitlines()) > MAX_MODULE_LINES:
        yield f"{name}: more than {MAX_MODULE_LINES} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno >= MAX_CLASS_LINES:
            yield f"{name}: {node.name} has more than {MAX_CLASS_LINES} lines"
    if "?" in (ast.get_docstring(tree) or "").partition("\n")[0]:
        yield f"{name}: the docstring is a question"
    if REQUIREMENT_ID.findall(source):
        yield f"{name}: contains a requirement id"


def test_package_has_few_top_level_modules() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert len(modules) <= MAX_TOP_MODULES, modules


def foreign_private_names(path: Path) -> Iterator[str]:
    """Private names that a module imports from another one of the package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("syftnotify"):
            yield from (alias.name for alias in node.names if re.match(r"_[^_]", alias.name))


@pytest.mark.check_only
def test_private_names_are_used_in_their_own_module_only() -> None:
    found = [f"{name_of(path)}: {name}" for path in MODULES for name in foreign_private_names(path)]
    assert found == []


def test_architecture_page_names_every_package_and_module() -> None:
    page = (PROJECT_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)(?:\.py|/)?`", page))
    missing = {path.stem for path in MODULES if not path.stem.startswith("__")} - named
    missing |= {path.parent.name for path in MODULES} - {"syftnotify"} - named
    assert missing == set()


def test_architecture_page_names_existing_modules_only() -> None:
    """The first column of the tables of modules, and modules beside the packages."""
    page = (PROJECT_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sections = page.partition("\n## Packages and modules\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", sections, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert len(named) > 100
    assert named - {path.stem for path in MODULES} == set()

    beside = set(re.findall(r"`(\w+)\.py`", page))
    assert beside <= {path.stem for path in PACKAGE.glob("*.py")}
