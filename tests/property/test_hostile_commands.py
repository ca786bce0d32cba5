"""The output of commands over a hostile tree (X11, S16)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.harmless import SECRET, is_printable
from tests.property.hostile import (
    ABE,
    CLAIMS,
    HONEST,
    NAMES,
    YAMLS,
    a_link_outside,
    a_link_to_endless_bytes,
    a_link_to_itself,
    a_pipe,
    a_socket,
    append_to,
    assert_peace,
    replace,
    victims,
)
from tests.support import BO, Box, Clock
from tests.trees import TREES, Disk, Tree

pytestmark = pytest.mark.thorough


@pytest.fixture
def now(tmp_path: Path) -> Box:
    """A box whose files are an hour old by this machine's clock, for commands that are real."""
    box = Box(tmp_path, clock=Clock(now=time.time() - 3600.0))
    box.root.mkdir()
    box.configure()
    box.home.config.chmod(0o600)
    box.env["COLUMNS"] = "4000"
    return box


def zoo(box: Box, tree: Tree, outside: Path) -> None:
    """All hostile input that is cheap, at once, and the honest job."""
    for name in NAMES.values():
        tree.submit(name, ABE)
    for number, claim in enumerate(CLAIMS.values()):
        tree.submit(f"claim-{number}", ABE, config={"submitted_by": claim})
    for number, text in enumerate(YAMLS.values()):
        tree.submit(f"yaml-{number}", ABE)
        append_to(tree.job_folder(f"yaml-{number}", ABE) / "config.yaml", text, tree)
    kinds = iter([a_pipe, a_socket, a_link_outside, a_link_to_itself, a_link_to_endless_bytes] * 3)
    for path in victims(tree).values():
        replace(tree, path, next(kinds), outside)
    tree.submit(HONEST, BO)


@pytest.mark.parametrize("layout", ["A", "D"])
def test_commands_print_no_control_characters(now: Box, tmp_path: Path, layout: str) -> None:
    """X11, S16: `notify run`, `status` and `logs` over a tree of everything hostile."""
    box, tree = now, TREES[layout](Disk(now.root, now.clock.time))
    outside = tmp_path / "outside"
    outside.mkdir()
    tree.disk.write(box.snapshot, json.dumps({"snapshot": {"approved_peer_emails": [BO, ABE]}}))
    box.notify("run", "--once", check=0)
    zoo(box, tree, outside)
    outputs = [
        box.notify("run", "--dry-run", check=0),
        *(box.notify("run", "--once", check=0) for _ in range(4)),  # at most 100 events of one submitter in each
        box.notify("run", "--once", check=0),
        box.notify("status"),
        box.notify("status", "--json"),
        box.notify("logs", "-n", "5000", check=0),
        box.notify("logs", "--json", check=0),
    ]
    for done in outputs:
        assert is_printable(done.stdout + done.stderr), done.args
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    rehearsal, *_, first, second, status, as_json, lines, _ = outputs
    assert f"  {HONEST}\n" in rehearsal.stdout
    assert "0 waiting, 0 dead" in first.stdout
    assert "0 new events" in second.stdout
    assert "0 waiting, 0 dead" in status.stdout
    assert not json.loads(as_json.stdout)["last_error"]
    assert f"detected job_submitted {tree.entity(HONEST, BO)}" in lines.stdout
    log = box.home.log.read_bytes()
    assert is_printable(log.decode("utf-8"))
    assert all(line[:4].isdigit() for line in log.decode("utf-8").splitlines())
    assert_peace(box, tree)
