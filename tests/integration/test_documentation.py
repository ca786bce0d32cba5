"""The examples of the documentation, run as they are; `tests/e2e/test_emitting_docs.py` has those of emitted events."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from syftnotify.config.load import load
from syftnotify.config.schema import Serve
from syftnotify.transports.registry import TRANSPORT_TYPES
from tests.fakes.web import WebServer
from tests.queries import json_list
from tests.support import PROJECT_ROOT, Box
from tests.trees import TREES, Disk

pytestmark = pytest.mark.check_only


DOCS = PROJECT_ROOT / "docs"
OWNER, ANA, BO = "owner@example.org", "ana@uni.example", "bo@lab.example"
SECRETS = {
    "SLACK_URL": "https://hooks.slack.example/services/1",
    "DISCORD_URL": "https://discord.example/api/webhooks/1",
    "HOOK_SECRET": "whsec_c2VjcmV0IG9mIHRoZSBob29r",
    "MAIL_PASSWORD": "of mail",
    "LAB_PASSWORD": "of the lab",
}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that examples name, in the environment of this process, which runs the commands."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def sections(page: Path) -> dict[str, str]:
    """The text below each heading of the second level, by the heading."""
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def configure(box: Box, settings: dict[str, Any]) -> None:
    """Write config.yaml with these settings, added to those that `notify init` writes."""
    transports = {"mail": {"type": "maildir"}, **settings.get("transports", {})}
    box.configure({"do_email": OWNER, **settings, "transports": transports})


ROUTING = sections(DOCS / "routing.md")
RECIPES = {title: text for title, text in ROUTING.items() if "| event | recipients |" in text}


@pytest.mark.thorough
@pytest.mark.parametrize("title", RECIPES)
def test_recipe_notifies_the_recipients_of_its_table(box: Box, title: str) -> None:
    (recipe,) = blocks(RECIPES[title], "yaml")
    configure(box, yaml.safe_load(recipe))
    box.notify("run", "--once", check=0)  # the baseline
    rows = re.findall(r"^\| `notify (emit [^`]+)` \| (.*?)\|$", RECIPES[title], re.MULTILINE)
    assert rows
    for command, cell in rows:
        box.notify(*shlex.split(command), check=0)
        planned = {(to, transport) for _, to, transport in _dry_run(box)}
        named = re.findall(r"`([^`]+)`(?: through `(\w+)`)?", cell)

        assert len(planned) == len(named), (command, planned)
        for recipient, transport in named:
            assert any(to == recipient and transport in {"", through} for to, through in planned), (command, planned)
        for event in box.home.spool.iterdir():
            event.unlink()


def _dry_run(box: Box) -> list[list[str]]:
    """Event, recipient and transport of each notification that would be sent."""
    lines = box.notify("run", "--dry-run", check=0).stdout.splitlines()
    return [line.split()[:3] for line in lines if "not sent: " not in line][:-1]


MARKDOWN = [*sorted(DOCS.rglob("*.md")), *sorted(PROJECT_ROOT.glob("*.md"))]
OTHER_YAML = {("configuration.md", 1), ("api.md", 2)}  # headers of a job; the configuration of Prometheus
SETTINGS = [
    (page.name, number, block)
    for page in MARKDOWN
    if page.name != "layouts.md"
    for number, block in enumerate(blocks(page.read_text(encoding="utf-8"), "yaml"))
    if (page.name, number) not in OTHER_YAML
]


@pytest.mark.parametrize(("page", "number", "block"), SETTINGS, ids=lambda value: str(value)[:20])
def test_settings_of_a_page_are_valid(box: Box, page: str, number: int, block: str) -> None:
    settings = yaml.safe_load(block)
    # `notify secret set` has stored what the example names.
    configure(box, {**settings, **({"secrets": {}} if "secret:" in block else {})})
    for name in re.findall(r"secret:(\w+)", block):
        value = "postgresql+psycopg://db.example/notify" if name == "database" else "smtp://mail.example:587"
        box.notify("secret", "set", name, stdin=f"{value}\n", check=0)

    load(box.home, types=TRANSPORT_TYPES)


def test_every_recipe_has_an_example() -> None:
    assert len(RECIPES) >= 9
    for title, text in ROUTING.items():
        assert blocks(text, "yaml") or re.search(r"^ {4}notify ", text, re.MULTILINE), title


def test_every_transport_type_has_an_example() -> None:
    types = {
        transport["type"]
        for block in blocks((DOCS / "transports.md").read_text(encoding="utf-8"), "yaml")
        for transport in yaml.safe_load(block)["transports"].values()
    }

    assert types == {"gmail", "smtp", "maildir", "slack", "discord", "webhook", "redis"}


def test_every_code_block_is_run_or_checked() -> None:
    """The number of blocks by page and language, and the module that runs them; a new block needs a test."""
    here = "integration/test_documentation.py"
    checked = {
        ("README.md", "text"): (1, "e2e/test_demo.py"),
        ("README.md", "python"): (1, "e2e/test_readme.py"),
        ("api.md", "sh"): (1, "e2e/test_centre.py"),
        ("api.md", "yaml"): (3, here),
        ("configuration.md", "yaml"): (2, here),
        ("emitting.md", "sh"): (1, "e2e/test_emitting_docs.py"),
        ("emitting.md", "text"): (1, "e2e/test_emitting_docs.py"),
        ("emitting.md", "python"): (2, "e2e/test_emitting_docs.py"),
        ("layouts.md", "yaml"): (5, here),
        ("layouts.md", "sh"): (3, here),
        ("layouts.md", "python"): (1, here),
        ("layouts.md", "text"): (4, here),
        ("mails.md", "jinja"): (1, here),
        ("page.md", "nginx"): (1, here),
        ("page.md", "sh"): (1, "integration/test_silences.py"),
        ("python.md", "python"): (1, here),
        ("routing.md", "yaml"): (13, here),
        ("scaling.md", "bash"): (5, "integration/postgres/test_scaling_page.py"),
        ("scaling.md", "ini"): (1, "integration/postgres/test_scaling_page.py"),
        ("scaling.md", "sql"): (1, "integration/postgres/test_scaling_page.py"),
        ("scaling.md", "yaml"): (2, here),
        ("transports.md", "yaml"): (7, here),
        ("webhooks.md", "python"): (1, here),
    }
    found = Counter(
        (page.name, language)
        for page in MARKDOWN
        for language in re.findall(
            r"^ *```(\w*)\n.*?^ *```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        if language
    )

    assert found == {block: count for block, (count, _) in checked.items()}
    assert all((PROJECT_ROOT / "tests" / module).exists() for _, module in checked.values())


def test_prometheus_example_reads_the_metrics() -> None:
    block = blocks((DOCS / "api.md").read_text(encoding="utf-8"), "yaml")[2]
    (job,) = yaml.safe_load(block)["scrape_configs"]

    assert job.get("metrics_path", "/metrics") == "/metrics"
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{Serve().port}"]}]


def test_commands_of_recipes_work(box: Box) -> None:
    commands = [shlex.split(line) for line in re.findall(r"^ {4}notify (.+)$", "".join(ROUTING.values()), re.MULTILINE)]

    assert len(commands) == 4
    for arguments in commands:
        box.notify(*arguments, check=0)


@pytest.mark.thorough
def test_headers_of_a_job_name_its_recipients(box: Box) -> None:
    """The example of configuration.md, in the `config.yaml` of a job that fails."""
    (block,) = [each for each in blocks(sections(DOCS / "configuration.md")["Routing"], "yaml") if "headers" in each]
    configure(
        box,
        {
            "recipients": {"allow": [ANA, "#jobs"]},
            "transports": {"box": {"type": "maildir"}, "team": {"type": "slack", "url": "env:SLACK_URL"}},
        },
    )
    tree = TREES["D"](Disk(box.root), owner=OWNER)
    box.notify("run", "--once", check=0)
    tree.submit("survey", BO, config=yaml.safe_load(block))
    tree.approve("survey", BO)
    tree.run("survey", BO, code=1)

    failed = {to for event, to, _ in _dry_run(box) if event == "job_failed"}
    assert failed == {OWNER, BO, ANA, "#jobs"}
    box.configure({"do_email": OWNER, "transports": {"box": {"type": "maildir"}}})
    failed = {to for event, to, _ in _dry_run(box) if event == "job_failed"}
    assert failed == {OWNER, BO}


def test_own_template_changes_the_mail(box: Box) -> None:
    (block,) = blocks((DOCS / "mails.md").read_text(encoding="utf-8"), "jinja")
    template = box.home.templates / "emails" / "job_approved.txt"
    template.parent.mkdir(parents=True)
    template.write_text(block)

    box.notify("preview", "--check", str(box.home.templates), check=0)
    assert "will run tonight." in box.notify("preview", "job_approved", check=0).stdout


def test_webhook_receiver_verifies_a_request(box: Box, hook: WebServer) -> None:
    (block,) = blocks((DOCS / "webhooks.md").read_text(encoding="utf-8"), "python")
    secret = SECRETS["HOOK_SECRET"]
    configure(
        box,
        {
            "transports": {"oncall": {"type": "webhook", "url": hook.url, "secret": secret}},
            "routes": [{"to": ["oncall"]}],
        },
    )
    box.notify("test", "oncall", check=0)
    names: dict[str, Any] = {"request": hook.requests[0]}
    exec(block.replace("whsec_...", secret), names)

    assert names["event"]["event"] == "test"


def test_python_page_imports_work() -> None:
    (block,) = blocks((DOCS / "python.md").read_text(encoding="utf-8"), "python")

    exec(block, {})


def test_proxy_example_passes_what_the_server_reads() -> None:
    """The headers behind a proxy, and the port: test_page_access.py shows what they do."""
    (block,) = blocks((DOCS / "page.md").read_text(encoding="utf-8"), "nginx")

    assert f":{Serve().port};" in block
    assert set(re.findall(r"proxy_set_header (\S+)", block)) == {
        "Host",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "Remote-User",
    }


def write_files(box: Box, files: list[tuple[str, str]]) -> None:
    for path, content in files:
        file = box.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")


def test_example_files_of_layouts_are_notified(box: Box) -> None:
    text = sections(DOCS / "layouts.md")["Example files"]
    configure(box, {})
    box.scan()
    files = re.findall(r"^`R/(\S+)`\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    write_files(box, [(path, content) for path, content in files if "/inbox/" in path])
    box.clock.advance(10)
    box.scan()
    waiting = [(record["entity"], record["event"]) for record in json_list(box, "history")]
    assert set(waiting) == {(f"job/D/{OWNER}/{ANA}/survey", "job_submitted")}
    write_files(box, files)
    for path in re.findall(r"`R/(\S+/(?:approved|done))`", text):
        (box.root / path).touch()
    for _ in range(2):
        box.clock.advance(70)
        box.scan()

    found = {(record["entity"], record["event"]) for record in json_list(box, "history")}
    assert found == {
        (entity, event)
        for entity, last in (
            (f"job/D/{OWNER}/{ANA}/survey", "job_failed"),
            (f"job/B2/{OWNER}/-/ages", "job_completed"),
            (f"job/A/{OWNER}/-/weights", "job_completed"),
        )
        for event in ("job_submitted", "job_approved", last)
    }
