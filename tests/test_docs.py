"""What the documentation names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from syftnotify.cli.app import app

TOP = Path(__file__).parent.parent
PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").rglob("*.md"))]
COMMANDS: Any = typer.main.get_command(app)  # a group, which its annotation does not say


def _words(text: str) -> list[str]:
    """Every `notify ...` that a page shows, in code spans and code blocks."""
    spans = re.findall(r"`(notify [^`]+)`", text)
    blocks = re.findall(r"^ {4}(notify .+)$", text, re.MULTILINE)
    return [re.split(r"\s+#", line)[0].strip() for line in spans + blocks]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_that_a_page_names_exists(page: Path) -> None:
    known = COMMANDS.commands
    for line in _words(page.read_text(encoding="utf-8")):
        _, command, *rest = line.split()
        assert command in known or command.startswith("-"), line
        found = known[command]
        if hasattr(found, "commands") and rest:
            assert rest[0] in found.commands, line
            found = found.commands[rest.pop(0)]
        options = {option for param in found.params for option in (*param.opts, *param.secondary_opts)}
        for word in rest:
            if word.startswith("-"):
                assert word.split("=")[0] in options, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target.split("#")[0]).exists(), target


def test_every_command_is_in_the_readme() -> None:
    named = {line.split()[1] for line in _words((TOP / "README.md").read_text(encoding="utf-8"))}

    assert {name for name, command in COMMANDS.commands.items() if not command.hidden} <= named


def test_every_target_in_the_readme_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^(\w+):", (TOP / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake (\w+)", "".join(page.read_text(encoding="utf-8") for page in PAGES)))

    assert named - {"demo", "test"} != named, "the two commands of the README are there"
    assert {name for name in named if name in {"demo", "test", "check", "format", "lock", "wheel"}} <= targets


def test_the_first_screen_of_the_readme_shows_both_commands() -> None:
    first = (TOP / "README.md").read_text(encoding="utf-8").splitlines()[:24]

    assert any("make demo" in line for line in first)
    assert any("make test" in line for line in first)


def test_the_page_of_the_house_names_every_room() -> None:
    page = (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = TOP / "syftnotify"
    rooms = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    rooms |= {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    named = set(re.findall(r"`([a-z_]+(?:\.py|/))`", page))

    assert rooms <= named
    assert {name for name in named if name.endswith(".py")} <= rooms


def test_the_page_of_requirements_names_tests_that_exist() -> None:
    page = (TOP / "docs" / "requirements.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)\.py(?:::(test_\w+))?`", page)

    assert len(named) > 30
    for module, test in named:
        text = (TOP / "tests" / f"{module}.py").read_text(encoding="utf-8")
        assert f"def {test}(" in text if test else text, f"{module}::{test}"


@pytest.mark.parametrize(
    "name", ["emit", "GmailAuth", "GmailSender", "TemplateRenderer", "JsonStateManager", "JobMonitor", "PeerMonitor"]
)
def test_the_package_gives_what_the_page_for_python_names(name: str) -> None:
    """S18"""
    assert f"`{name}" in (TOP / "docs" / "python.md").read_text(encoding="utf-8")
    code = (
        "import sys, syftnotify\n"
        "assert not {'google', 'sqlalchemy', 'jinja2', 'pydantic'} & sys.modules.keys()\n"
        f"syftnotify.{name}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
