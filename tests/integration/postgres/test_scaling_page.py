"""X12: the commands and settings of docs/scaling.md, and compose.yaml."""

from __future__ import annotations

import re
import shlex

import yaml

from syftnotify.services.demo import Tree
from tests import postgres
from tests.integration.postgres.conftest import OpenWorker
from tests.outbox_helpers import claim_next, enqueue, submitted
from tests.support import ANA, OWNER, PROJECT_ROOT, Box, tally

PAGE = (PROJECT_ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def commands(language: str = "bash") -> list[list[str]]:
    """The commands of the page, in their order."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in found for line in block.splitlines()]


def test_home_is_moved_by_the_commands_of_the_page(box: Box, tree_with_peer: Tree, database_url: str) -> None:
    box.scan()
    tree_with_peer.submit(ANA, "before", "print(1)\n")
    box.scan()
    notify = [command[1:] for command in commands() if command[0] == "notify"]
    assert notify[0] == ["secret", "set", "database"]
    box.notify(*notify[0], stdin=f"{database_url}\n", check=0)
    settings = yaml.safe_load(box.home.config.read_text(encoding="utf-8"))
    (block,) = (
        each for each in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if "secret:" in each
    )
    box.configure({**settings, **yaml.safe_load(block), "do_email": OWNER})

    done = {tuple(each): box.notify(*each) for each in (["stop"], ["db", "copy"], ["start"])}
    assert [each in notify for each in (["stop"], ["db", "copy"], ["start"])] == [True] * 3
    assert [each.returncode for each in done.values()] == [3, 0, 0]  # no worker ran before
    assert "this worker scans the tree" in box.notify("status", check=0).stdout
    shown = box.notify("db", "status", check=0).stdout
    assert re.search(rf"scan and deliver +\S+ +\d+ +{OWNER} +\d+ s ago +yes", shown)
    assert box.notify("history", check=0).stdout.count("before") == 2


def test_statement_of_the_page_lets_what_is_due_count_as_unknown(
    server: postgres.Server, database_url: str, open_worker: OpenWorker
) -> None:
    (statement,) = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    outbox = open_worker()
    enqueue(outbox, submitted())
    server.execute(statement, database_url.rpartition("/")[2])

    assert claim_next(outbox) == []
    assert outbox.history.counts() == tally(waiting=1, unknown=1)
    assert len(claim_next(outbox)) == 1


def test_unit_of_the_page_runs_a_command_that_exists(box: Box) -> None:
    (unit,) = re.findall(r"^```ini\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (command,) = re.findall(r"^ExecStart=\S+/notify (.*)$", unit, re.MULTILINE)

    home = box.folder / "missing"
    arguments = [str(home) if each == "/srv/notify" else each for each in shlex.split(command)]
    done = box.notify(*arguments, check=2)
    assert f"there is no configuration at {home}" in done.stderr


def test_compose_file_runs_commands_that_exist(box: Box) -> None:
    services = yaml.safe_load((PROJECT_ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    started = {
        name: re.findall(r"exec notify (.+?)\"", service.get("command", "")) for name, service in services.items()
    }

    assert started == {
        "database": [],
        "worker1": ["run"],
        "worker2": ["run"],
        "serve": ["serve --host 0.0.0.0 --behind-proxy"],
    }
    for command in ("run", "serve"):
        assert box.notify(command, "--help", check=0).stdout
    assert {"--host", "--behind-proxy"} <= set(re.findall(r"--[a-z-]+", box.notify("serve", "--help").stdout))
