"""Random content of files in the tree: only the documented errors, and the honest neighbour is notified."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import Item
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.sources.syftbox.files.safe_read import UnreadableError
from syftnotify.sources.syftbox.files.yaml_reader import parse_yaml
from syftnotify.sources.syftbox.peers import PeerScanner
from syftnotify.transports.mime import build_mime
from tests.property.strategies import (
    anything,
    as_json,
    as_yaml,
    content,
    json_scalars,
    json_values,
    nested,
    quickly,
    with_a_tree,
)
from tests.support import ANA, BO, FUZZ_FACTOR, OWNER, Box
from tests.trees import TREES, Disk, ReviewTree, Tree

pytestmark = pytest.mark.thorough

MAIL_RENDERER = EmailRenderer(TemplateRenderer(), sender=OWNER, links=Links())
# Every layout.
FAMILIES = ["A", "B1", "B2", "B3", "B4", "C1", "C2", "D"]


@contextlib.contextmanager
def a_box() -> Iterator[Box]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        box = Box(Path(folder))
        box.root.mkdir()
        box.configure({"recipients": {"allow": ["*@uni.example"]}})
        yield box


CONFIG_KEYS = ["name", "submitted_at", "submitted_by", "files", "entrypoint", "entry_point", "code_path", "type"]
STATE_KEYS = [
    "status",
    "received_at",
    "approved_at",
    "approved_by",
    "rejected_at",
    "completed_at",
    "return_code",
    "rejection_reason",
    "review_reason",
]
statuses = st.sampled_from(["pending", "approved", "running", "rejected", "done", "failed", "received"])
odd_config = st.dictionaries(st.sampled_from(CONFIG_KEYS), anything, max_size=8)
odd_state = st.fixed_dictionaries({"status": statuses | anything}, optional=dict.fromkeys(STATE_KEYS[1:], anything))


def scan_and_render(box: Box, tree: Tree, honest: str) -> None:
    """A scan detects the honest job, and each of its notifications can be rendered as a mail."""
    app = box.open_app()
    try:
        tick = app.pipeline.tick(box.clock.now, last_scan=box.clock.now)
    finally:
        app.close()
    assert (EventKind.JOB_SUBMITTED, tree.entity(honest, BO)) in {(event.kind, event.entity) for event in tick.events}
    events = {event.key: event for event in tick.events}
    for item in tick.notifications:
        if not item.skipped:
            detail = Item(item.id, events[item.event_key], item.audience, Status.WAITING)
            build_mime(MAIL_RENDERER.message([detail], item.recipient), date=box.clock.now)


@contextlib.contextmanager
def beside_an_honest_job(layout: str) -> Iterator[tuple[Box, Tree]]:
    """A tree in which ana's job may be anything and bo's is honest; both are new after a baseline scan."""
    with a_box() as box:
        tree = TREES[layout](Disk(box.root, box.clock.time))
        box.root.joinpath("keep").mkdir()
        box.scan()
        tree.submit("odd", ANA)
        yield box, tree
        tree.submit("honest", BO)
        box.clock.advance(120)
        scan_and_render(box, tree, "honest")


@pytest.mark.parametrize("layout", FAMILIES)
@given(content=content | odd_config.map(as_yaml))
@with_a_tree
def test_random_config_hides_no_other_job(layout: str, content: bytes) -> None:
    """X10, X11."""
    with beside_an_honest_job(layout) as (_, tree):
        tree.disk.write(tree.job_folder("odd", ANA) / "config.yaml", content)


@pytest.mark.parametrize("layout", ["C1", "C2", "D"])
@given(content=content | odd_state.map(as_yaml))
@with_a_tree
def test_random_state_hides_no_other_job(layout: str, content: bytes) -> None:
    """X10, X11."""
    with beside_an_honest_job(layout) as (_, tree):
        assert isinstance(tree, ReviewTree)
        tree.approve("odd", ANA)
        tree.run("odd", ANA, code=1, stderr="oh")
        tree.disk.write(tree.results_folder("odd", ANA) / "state.yaml", content)


@pytest.mark.parametrize("layout", FAMILIES)
@given(
    code=st.binary(max_size=40) | st.sampled_from([b"9" * 5000, b"-1", b"1_0", b" 1\n"]), log=st.binary(max_size=200)
)
@with_a_tree
def test_random_results_hide_no_other_job(layout: str, code: bytes, log: bytes) -> None:
    """X10, X11."""
    with beside_an_honest_job(layout) as (_, tree):
        tree.approve("odd", ANA)
        tree.run("odd", ANA, code=-1)
        for name, text in (("returncode.txt", code), ("stdout.txt", log), ("stderr.txt", log), ("code/main.py", log)):
            tree.disk.write(tree.results_folder("odd", ANA) / name, text)


@given(content=content | odd_config.map(as_yaml) | anything.map(as_yaml))
@settings(quickly, max_examples=150 * FUZZ_FACTOR)
def test_random_yaml_is_a_mapping_or_unreadable(content: bytes) -> None:
    with contextlib.suppress(UnreadableError):
        assert isinstance(parse_yaml(content), dict)


listed = st.lists(st.just(ANA) | json_scalars, max_size=4) | json_values
snapshots = st.fixed_dictionaries(
    {},
    optional={
        "snapshot": st.fixed_dictionaries({}, optional={"peer_emails": listed, "approved_peer_emails": listed})
        | json_values,
        "notified_jobs": st.dictionaries(st.text(max_size=5).map("peer_granted_".__add__), json_scalars, max_size=3)
        | json_values,
        "peer_snapshot": listed,
        "email": json_values,
    },
)


@given(content=st.binary(max_size=200) | (snapshots | json_values).map(as_json) | nested)
@quickly
def test_random_peer_file_hides_no_other_peer(content: bytes) -> None:
    """X11: syft-bg's snapshot, its notify state and an old peer file are read independently."""
    honest = {
        "sync": {"snapshot": {"peer_emails": ["one@lab.example"]}},
        "notify": {"peer_snapshot": ["two@lab.example"]},
        "peer": {"email": "three@lab.example"},
    }
    for odd in honest:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            folder = Path(name)
            peers = folder / ".syft" / "peers"
            peers.mkdir(parents=True)
            places = {"sync": folder / "sync.json", "notify": folder / "notify.json", "peer": peers / "b.json"}
            for each, path in places.items():
                path.write_bytes(content if each == odd else as_json(honest[each]))
            (peers / "a.json").write_bytes(as_json({"email": "four@lab.example"}))
            found = PeerScanner(folder, OWNER, (places["sync"],), (places["notify"],)).scan()

        expected = {"one", "two", "three", "four"} - {{"sync": "one", "notify": "two", "peer": "three"}[odd]}
        assert {f"{who}@lab.example" for who in expected} <= {peer.address for peer in found}
