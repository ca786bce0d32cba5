"""What the documentation names exists."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import syftnotify
from syftnotify.cli.app import app
from syftnotify.cli.init import SetupExitCode
from syftnotify.config.schema import Config
from syftnotify.core.errors import NotifyError
from syftnotify.services.status import RunState
from syftnotify.system import failpoints
from syftnotify.system.paths import Home
from tests import settings_page
from tests.support import PROJECT_ROOT

COMMANDS: Any = typer.main.get_command(app)  # a group, which its annotation does not say


def _commands_in(text: str) -> list[str]:
    """Every `notify ...` that a page shows, in code spans and code blocks."""
    spans = re.findall(r"`(notify [^`]+)`", text)
    blocks = re.findall(r"^ {4,}(notify .+)$", text, re.MULTILINE)
    shell = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    blocks += re.findall(r"^(notify .+)$", shell, re.MULTILINE)
    return [re.split(r"\s+#", line)[0].strip() for line in spans + blocks]


README = PROJECT_ROOT / "README.md"
PAGES = [
    README,
    PROJECT_ROOT / "CONTRIBUTING.md",
    PROJECT_ROOT / "CHANGELOG.md",
    PROJECT_ROOT / "SECURITY.md",
    *sorted((PROJECT_ROOT / "docs").rglob("*.md")),
]


ISSUE_FORMS = sorted((PROJECT_ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def test_issue_forms_are_complete() -> None:
    """https://docs.github.com/en/communities/using-templates-to-encourage-useful-issues-and-pull-requests"""
    assert len(ISSUE_FORMS) == 3
    for form in ISSUE_FORMS:
        content = yaml.safe_load(form.read_text(encoding="utf-8"))
        inputs = [part for part in content["body"] if part["type"] != "markdown"]
        assert content["name"]
        assert content["description"]
        assert all(part["attributes"]["label"] for part in inputs)
        assert len({part["id"] for part in inputs}) == len(inputs)


def test_page_commands_and_options_exist() -> None:
    for page in [*PAGES, *ISSUE_FORMS]:
        known = COMMANDS.commands
        for line in _commands_in(page.read_text(encoding="utf-8")):
            _, command, *rest = line.split() if " " in line else ["notify", "--version"]
            assert command in known or command.startswith("-"), (page.name, line)
            found = known.get(command, COMMANDS)
            rest = rest if command in known else [command, *rest]
            if hasattr(found, "commands") and rest and not rest[0].startswith("-"):
                assert rest[0] in found.commands, (page.name, line)
                found = found.commands[rest.pop(0)]
            options = {option for param in found.params for option in (*param.opts, *param.secondary_opts)}
            options |= {"-h", "--help"}
            for argument in rest:
                if argument.startswith("-"):
                    assert argument.split("=")[0] in options, (page.name, line)


def _anchors(page: Path) -> set[str]:
    """The fragments of links to the headings of a page, as GitHub and the documentation site form them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_page_links_exist() -> None:
    """Links to other sites are only required to be encrypted: tests need no network."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)]+)\)", text) + re.findall(r"<(https?:[^>]+)>", text):
            if "://" in target:
                assert target.startswith("https://"), (page.name, target)
                continue
            path, _, fragment = target.partition("#")
            linked = page.parent / path if path else page
            assert linked.exists(), (page.name, target)
            assert not fragment or fragment in _anchors(linked), (page.name, target)


@pytest.mark.parametrize("index", ["index.md", "decisions/index.md"])
def test_lists_of_pages_are_those_of_the_site(index: str) -> None:
    """A table of contents of the site is no list of links elsewhere, so these pages have both."""
    page = PROJECT_ROOT / "docs" / index
    text = page.read_text(encoding="utf-8")
    entries = "\n".join(re.findall(r"^```{toctree}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    names = [line for line in entries.splitlines() if line and not line.startswith(":")]
    shown = {path.resolve() for name in names for path in page.parent.glob(f"{name}.md")}
    linked = {(page.parent / target).resolve() for target in re.findall(r"\]\(([^)]+)\)", text)}

    assert linked == shown


def test_readme_names_every_command() -> None:
    named = {[*line.split(), ""][1] for line in _commands_in(README.read_text(encoding="utf-8"))}

    assert {name for name, command in COMMANDS.commands.items() if not command.hidden} <= named


def test_page_make_targets_exist() -> None:
    """F1"""
    for page in PAGES:
        targets = set(re.findall(r"^(\w+):", (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

        assert set(re.findall(r"(?:^ {4}|`)make (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE)) <= targets


def _spans(page: Path) -> list[str]:
    """Every code span of a page; fenced blocks left out."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL))


def test_page_options_without_a_command_exist() -> None:
    """F1"""
    for page in PAGES:
        commands = [*COMMANDS.commands.values()]
        commands += [inner for each in commands for inner in getattr(each, "commands", {}).values()]
        params = [*COMMANDS.params, *(param for each in commands for param in each.params)]
        options = {option for param in params for option in (*param.opts, *param.secondary_opts)}

        assert {span.split()[0] for span in _spans(page) if span.startswith("--")} <= options


# What the files that pages name end in: `worker.json` is no name in the module `worker`.
_ENDINGS = frozenset({"db", "json", "key", "lock", "log", "md", "old", "py", "sh", "yaml"})


def test_page_config_keys_exist() -> None:
    """F1: settings.md, which another test compares with the models, has them all."""
    keys = set(re.findall(r"^\| `(\S+)` \|", settings_page.PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    sections = {key.split(".")[0] for key in keys if "." in key}
    for page in set(PAGES) - {settings_page.PAGE}:
        spans = [span.partition(":")[0] for span in _spans(page) if span.rpartition(".")[2] not in _ENDINGS]
        named = {re.sub(r"\[\d*\]", "[]", span) for span in spans if "." in span and "/" not in span}

        assert {name for name in named if name.split(".")[0] in sections} <= keys, page.name


PACKAGE = PROJECT_ROOT / "syftnotify"


def test_page_paths_exist() -> None:
    """F1: `<name>` stands for any name; a module may be named without the folder of the package."""
    for page in PAGES:
        tops = {path.name for path in PROJECT_ROOT.iterdir() if path.is_dir()}
        packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
        for span in _spans(page):
            first, slash, _ = span.partition("/")
            pattern = re.sub(r"<\w+>", "*", span.rstrip("/"))
            if slash and first in tops:
                assert list(PROJECT_ROOT.glob(pattern)), (page.name, span)
            elif slash and first in packages and span.endswith(".py"):
                assert list(PACKAGE.glob(pattern)), (page.name, span)


def test_page_dotted_names_exist() -> None:
    """F1: `module.name` and `Class.name`; in `sender.notify_new_job(...)` the first is a variable.

    A key of the configuration may begin like a module; another test looks at these.
    """
    for page in PAGES:
        modules = {path.stem: path for path in PACKAGE.rglob("*.py")}
        modules |= {path.parent.name: path for path in PACKAGE.glob("*/__init__.py")}
        for span in set(_spans(page)) - failpoints.POINTS - {"gmail.send"}:  # that is a scope of Google's
            found = re.fullmatch(r"(?:syftnotify\.)?([A-Za-z_]\w*)\.([a-zA-Z_][\w.]*)(?:\(.*\))?", span)
            first, rest = found.groups() if found else ("", "")
            if (
                rest.rpartition(".")[2] in _ENDINGS
                or (first == "sender" and "(" in span)
                or first in Config.model_fields
            ):
                continue
            if first in modules:
                path = modules[first].relative_to(PROJECT_ROOT).with_suffix("")
                part: Any = importlib.import_module(".".join(path.parts).removesuffix(".__init__"))
            elif first in dir(syftnotify):
                part = getattr(syftnotify, first)
            else:
                continue
            functools.reduce(getattr, rest.split("."), part)


def _names_in(file: Path) -> Iterator[str]:
    """Every name that a Python file defines, assigns or imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.ImportFrom):
            yield from (each.asname or each.name for each in node.names)


def test_contributing_names_are_in_the_files_named_beside_them() -> None:
    """F1: the items of a list name files, and what is defined there."""
    text = (PROJECT_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    checked = 0
    for item in re.findall(r"^\d\. .*?(?=^\d\. |^#|\Z)", text, re.MULTILINE | re.DOTALL):
        spans = re.findall(r"`([^`]+)`", item)
        patterns = [re.sub(r"<\w+>", "*", span) for span in spans if span.endswith(".py")]
        files = {file for pattern in patterns for folder in (PROJECT_ROOT, PACKAGE) for file in folder.glob(pattern)}
        known = {name for file in files for name in _names_in(file)}
        for span in spans:
            if re.fullmatch(r"\w+", span):
                assert span in known, f"{span} is not in {', '.join(patterns)}"
                checked += 1
    assert checked > 10


def test_programs_named_in_docstrings_and_pages_exist() -> None:
    """F1: `python -m x.y`."""
    files = [*PAGES, PROJECT_ROOT / "Makefile", PROJECT_ROOT / ".ci" / "run"]
    files += [
        path for folder in ("syftnotify", "tests", "benchmarks") for path in (PROJECT_ROOT / folder).rglob("*.py")
    ]
    for file in set(files) - {Path(__file__)}:
        for name in re.findall(r"python3? -m ([a-z_.]*[a-z_])", file.read_text(encoding="utf-8")):
            found = importlib.util.find_spec(name)
            assert found is not None, f"{file}: {name}"
            is_package = found.submodule_search_locations is not None
            assert not is_package or importlib.util.find_spec(f"{name}.__main__"), f"{file}: {name}"


def test_python_page_calls_have_the_documented_parameters() -> None:
    """F1: such as `sender.notify_new_job(do_email, job_name, ...)`."""
    documented = [getattr(syftnotify, name) for name in ("GmailAuth", "GmailSender", "JsonStateManager")]
    documented += [getattr(syftnotify, name) for name in ("TemplateRenderer", "JobMonitor", "PeerMonitor")]
    checked = 0
    for span in _spans(PROJECT_ROOT / "docs" / "python.md"):
        call = re.fullmatch(r"(?:.*\.)?(\w+)\((.*)\)", span)
        if not call:
            continue
        name, arguments = call.groups()
        is_example = re.search(r"(?:^|, )\"", arguments)  # with values in place of names
        named = re.findall(r"(?:^|, )([a-z_]+)\b(?==)" if is_example else r"(?:^|, )([a-z_]+)\b(?=,|=|$)", arguments)
        found = [getattr(each, name) for each in (syftnotify, *documented) if callable(getattr(each, name, None))]
        assert found, span
        assert any(set(named) <= set(inspect.signature(each).parameters) for each in found), span
        checked += 1
    assert checked > 10


def _table(page: Path, heading: str) -> list[list[str]]:
    """The rows of the table with this first cell in its head; each as its cells."""
    after = page.read_text(encoding="utf-8").partition(f"\n| {heading} |")[2].splitlines()[2:]
    rows = itertools.takewhile(lambda line: line.startswith("|"), after)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def _texts(path: Path) -> Iterator[str]:
    """Every text of a module except docstrings; in place of the values in an f-string there is a NUL."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if node in docstrings:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.check_only
def test_readme_troubleshooting_has_messages_of_the_program() -> None:
    texts = "\n".join(text for path in PACKAGE.rglob("*.py") for text in _texts(path))
    messages = [message for row in _table(README, "message") for message in re.findall(r"^`(.+)`$", row[0])]

    assert len(messages) > 8
    assert [message for message in messages if message not in texts] == []


def test_readme_lists_every_file_of_a_home() -> None:
    cells = [row[0] for row in _table(README, "file in `~/.syft-creds`")]
    named = {name.rstrip("/") for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    home = Home(Path("/home"))
    files = {getattr(home, name).name for name, value in vars(Home).items() if isinstance(value, property)}

    assert named == files | {"secret.key"}


def test_readme_lists_the_exit_codes_of_errors() -> None:
    codes = {int(row[0]) for row in _table(README, "exit code")}
    classes: list[type[NotifyError]] = [NotifyError, *_subclasses(NotifyError)]

    assert {each.exit_code for each in classes} | set(RunState) | set(SetupExitCode) == codes


def test_readme_figures_are_those_of_the_measurements() -> None:
    readme = README.read_text(encoding="utf-8")
    measured = {name: value for name, value, *_ in _table(PROJECT_ROOT / "docs" / "performance.md", "what")}
    delay = float(measured["change on disk to first byte, 10,000 jobs, p50"].removesuffix(" ms"))
    cpu = float(measured["CPU while idle, 10,000 jobs, scan every 30 s"].removesuffix(" % of a core"))
    kills = [row[1:] for row in _table(PROJECT_ROOT / "docs" / "reliability.md", "| kills")]

    assert f" {delay:.0f} ms (median)" in readme
    assert f" {cpu:.2f} % of a" in readme
    assert f"take {measured['memory, first start, 100,000 jobs']} of memory" in readme
    assert [row[1:] for row in _table(README, "workers killed at every step, beside servers that fail at random")] == [
        [killed, owed, lost, str(int(twice) - int(uncounted)), uncounted]
        for killed, owed, _, lost, _, twice, uncounted, *_ in kills
    ]


def _subclasses(base: type[NotifyError]) -> Iterator[type[NotifyError]]:
    for each in base.__subclasses__():
        yield each
        yield from _subclasses(each)


def test_readme_first_screen_shows_both_commands() -> None:
    first = README.read_text(encoding="utf-8").splitlines()[:24]

    assert any("make demo" in line for line in first)
    assert any("make test" in line for line in first)


def test_requirements_page_names_existing_tests() -> None:
    page = (PROJECT_ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    columns = [row.split(" | ")[-1] for row in page.splitlines()]
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)(?:::(test_\w+))?`", "\n".join(columns))

    assert len(named) > 30
    for path, test in named:
        text = (PROJECT_ROOT / "tests" / path).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in text, f"{path}::{test}"


def test_settings_page_is_that_of_the_models() -> None:
    """Otherwise run `python -m tests.settings_page`. D10: so its defaults are true."""
    page = settings_page.page()

    assert settings_page.PAGE.read_text(encoding="utf-8") == page
    assert "| `digest.threshold` | `5` |" in page
    assert "| - |" not in page  # every setting has a description
