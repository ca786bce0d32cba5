"""Whatever stands in a file that others write: only the documented errors, no hang; the honest neighbour is told."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from syftnotify.core.errors import ConfigError, NotSignedInError
from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import Item
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.services.settings import load
from syftnotify.sources.syftbox.files.safe_read import UnreadableError
from syftnotify.sources.syftbox.files.yaml_reader import parse_yaml
from syftnotify.sources.syftbox.peers import PeerScanner
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.paths import Home
from syftnotify.transports.gmail.token_file import SavedToken, sign_in_ends, signed_in_at
from syftnotify.transports.mime import build_mime
from tests.in_process import run_command
from tests.support import ANA, BO, OWNER, THOROUGH, Box
from tests.trees import TREES, Disk, ReviewTree, Tree

pytestmark = pytest.mark.fire

WORDING = EmailRenderer(TemplateRenderer(), sender=OWNER, links=Links())
# One of each way to lay a job down, and both of the ways that lie in one folder with others.
FAMILIES = ["A", "B1", "B2", "B3", "B4", "C1", "C2", "D"]

quickly = settings(
    max_examples=60 * THOROUGH, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
with_a_tree = settings(quickly, max_examples=8 * THOROUGH)


# -- what can stand anywhere -----------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**31, -(2**63), 10**30, 10**400, -1, 0]),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(
        ["", " ", "..", "/", "a/b", "../../etc/passwd", "\x00", "\ud800", "\x1b[2J", "x" * 5000, "=?utf-8?q?a?="]
    ),
    st.dates(date(1, 1, 1), date(9999, 12, 31)),
    st.datetimes(),
)
keys = st.text(max_size=8) | st.integers(-3, 3) | st.none() | st.booleans()
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
json_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**63), 10**30, 10**400]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([ANA, "", "\x00", "\ud800", "x" * 3000]),
)
json_values = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)

# Shapes that readers of YAML stumble over, each in some size.
_SHAPES = [
    lambda n: b"[" * n,
    lambda n: b"{a: " * n,
    lambda n: b"- " * n + b"x",
    lambda n: b"? " * n + b"x",
    lambda n: b"a: " + b"[" * n + b"]" * n,
    lambda n: b"\n".join(b" " * i + b"a:" for i in range(n)),
    lambda n: b"a: &a [x]\n" + b"".join(b"b%d: [*a, *a]\n" % i for i in range(n)),
    lambda n: b"".join(b"k%d: &k%d [%s]\n" % (i, i, b"*k%d, *k%d" % (i - 1, i - 1) if i else b"x") for i in range(n)),
    lambda n: b"name: x\x00y\n" * n,
    lambda n: b"status: " + b"9" * n,
    lambda n: b"completed_at: 2026-13-%02dT99:99:99Z\n" % (n % 100),
    lambda n: b"<<: {a: 1}\n" * n,
    lambda n: b"!!python/object/apply:os.system ['true']\n" * n,
    lambda n: b"status: !!binary '%s'\n" % (b"=" * n),
    lambda n: b"status: !!set {a, b}\nfiles: !!omap [a: 1]\nx: !!timestamp '%d'\n" % n,
    lambda n: b"%YAML 9.9\n---\na: 1\n" * n,
    lambda n: b"a: |\n" + b"  x\n" * n,
    lambda n: b"\xef\xbb\xbfname: x\n" * n,
    lambda n: ("name: x\n" * n).encode("utf-16"),
    lambda n: b"'" * n,
    lambda n: b'"\\x' * n,
    lambda n: b"\t" * n,
]
shapes = st.builds(lambda shape, size: shape(size), st.sampled_from(_SHAPES), st.sampled_from([1, 3, 40, 3000]))
yamlish = st.text(st.sampled_from("abk:-?[]{}&*!|>'\"%@`#,\\ \n\t0123456789.~\x00é"), max_size=120).map(
    lambda text: text.encode()
)
content = st.one_of(st.binary(max_size=300), yamlish, shapes)


def as_yaml(value: Any) -> bytes:
    """`value` as a YAML file; what YAML cannot spell is left out of the test."""
    try:
        return yaml.dump(value, Dumper=yaml.SafeDumper, allow_unicode=True).encode("utf-8")
    except (UnicodeEncodeError, ValueError, yaml.YAMLError):
        assume(False)
        raise


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8")


@contextlib.contextmanager
def a_box() -> Iterator[Box]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        box = Box(Path(folder))
        box.root.mkdir()
        box.configure({"recipients": {"allow": ["*@uni.example"]}})
        yield box


# -- the tree --------------------------------------------------------------------------------------------------------

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


def tell(box: Box, tree: Tree, honest: str) -> None:
    """One look of the worker tells of the honest job, and whatever it found can be worded as a mail."""
    parts = box.parts()
    try:
        tick = parts.pipeline.tick(box.clock.now, last_scan=box.clock.now)
    finally:
        parts.close()
    assert (EventKind.JOB_SUBMITTED, tree.entity(honest, BO)) in {(event.kind, event.entity) for event in tick.events}
    events = {event.key: event for event in tick.events}
    for item in tick.notifications:
        if not item.skipped:
            words = Item(item.id, events[item.event_key], item.audience, Status.WAITING)
            build_mime(WORDING.message([words], item.recipient), date=box.clock.now)


@contextlib.contextmanager
def beside_an_honest_job(layout: str) -> Iterator[tuple[Box, Tree]]:
    """A tree in which ana's job may be anything and bo's is honest; both are new after a first look."""
    with a_box() as box:
        tree = TREES[layout](Disk(box.root, box.clock.time))
        box.root.joinpath("keep").mkdir()
        box.look()
        tree.submit("odd", ANA)
        yield box, tree
        tree.submit("honest", BO)
        box.clock.advance(120)
        tell(box, tree, "honest")


@pytest.mark.parametrize("layout", FAMILIES)
@given(content=content | odd_config.map(as_yaml))
@with_a_tree
def test_no_config_of_a_job_hides_its_neighbour(layout: str, content: bytes) -> None:
    """X10, X11."""
    with beside_an_honest_job(layout) as (_, tree):
        tree.disk.write(tree.place("odd", ANA) / "config.yaml", content)


@pytest.mark.parametrize("layout", ["C1", "C2", "D"])
@given(content=content | odd_state.map(as_yaml))
@with_a_tree
def test_no_state_of_a_job_hides_its_neighbour(layout: str, content: bytes) -> None:
    """X10, X11."""
    with beside_an_honest_job(layout) as (_, tree):
        assert isinstance(tree, ReviewTree)
        tree.approve("odd", ANA)
        tree.run("odd", ANA, code=1, stderr="oh")
        tree.disk.write(tree.results("odd", ANA) / "state.yaml", content)


@pytest.mark.parametrize("layout", FAMILIES)
@given(
    code=st.binary(max_size=40) | st.sampled_from([b"9" * 5000, b"-1", b"1_0", b" 1\n"]), log=st.binary(max_size=200)
)
@with_a_tree
def test_nothing_that_a_run_leaves_behind_hides_a_neighbour(layout: str, code: bytes, log: bytes) -> None:
    """X10, X11."""
    with beside_an_honest_job(layout) as (_, tree):
        tree.approve("odd", ANA)
        tree.run("odd", ANA, code=-1)
        for name, text in (("returncode.txt", code), ("stdout.txt", log), ("stderr.txt", log), ("code/main.py", log)):
            tree.disk.write(tree.results("odd", ANA) / name, text)


@given(content=content | odd_config.map(as_yaml) | anything.map(as_yaml))
@settings(quickly, max_examples=150 * THOROUGH)
def test_what_is_no_mapping_is_unreadable_and_nothing_else(content: bytes) -> None:
    with contextlib.suppress(UnreadableError):
        assert isinstance(parse_yaml(content), dict)


# -- peers -----------------------------------------------------------------------------------------------------------

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
nested = st.builds(
    lambda opening, n: opening * n, st.sampled_from([b"[", b'{"a":', b'{"snapshot":{"a":']), st.sampled_from([9, 3000])
)


@given(content=st.binary(max_size=200) | (snapshots | json_values).map(as_json) | nested)
@quickly
def test_no_note_about_peers_hides_the_others(content: bytes) -> None:
    """X11: syft-bg's snapshot, its notify state and an old peer file are read each for itself."""
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


# -- our own files ---------------------------------------------------------------------------------------------------

FULL: dict[str, Any] = {
    "do_email": OWNER,
    "syftbox_root": "SyftBox",
    "notify": {
        "enabled": True,
        "interval": 30,
        "watch": "auto",
        "monitor_jobs": True,
        "monitor_peers": True,
        "max_concurrent_deliveries": 16,
        "on_unknown": "resend",
        "sync_state_path": "sync.json",
        "notify_state_path": "notify.json",
    },
    "transports": {
        "mail": {
            "type": "gmail",
            "token": "t",
            "api_endpoint": "http://127.0.0.1:1",
            "timeout_secs": 9,
            "rate": 1,
            "burst": 2,
        },
        "post": {
            "type": "smtp",
            "smtp_url": "smtp://127.0.0.1:25",
            "from": "A <a@b.example>",
            "ca_file": "ca",
            "max_retries": 3,
        },
        "box": {"type": "maildir", "path": "mail", "rate": 2, "on_unknown": "hold"},
    },
    "recipients": {"allow": ["*@uni.example"]},
    "links": {
        "job": "https://x.example/{job}",
        "results": "https://x.example/{owner}",
        "peer": "https://x.example/{peer}",
    },
    "operator": ["op@x.example"],
    "heartbeat": {"ping_url": "https://ping.example/x"},
}


def paths_in(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested mappings and lists."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*above, key)
        yield from paths_in(inner, (*above, key))


def replaced(whole: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(whole)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


strange_words = st.sampled_from(
    [
        "https://[", "https://x/{job.__class__}", "https://x/{0}", "https://x/{job!r:>{owner}}", "https://x/{",
        "{job}", "smtp://u:p@h:99999", "smtp://h:port", "smtps://h?tls=", "smtp://h?tls=off&x=1", "http://[::1",
        "~nobody-here/x", "~", "a@b", "<a@b>", "A <a@b.c>, <d@e.f>", "18:30", "24:00", "*", "[", "2026-01-01", "on",
        "off", "maildir", "gmail",
    ]
)  # fmt: skip
configs = st.builds(replaced, st.just(FULL), st.sampled_from(list(paths_in(FULL))), anything | strange_words)
more_keys = st.builds(
    lambda path, key, value: replaced(FULL, (*path, key), value),
    st.sampled_from([(), *(path for path in paths_in(FULL) if path[-1] in {"notify", "mail", "post", "box", "links"})]),
    keys,
    anything,
)


@example(content=b"x: !!timestamp 'soon'\n")
@given(content=content | (configs | more_keys).map(as_yaml))
@settings(quickly, max_examples=60 * THOROUGH)
def test_a_configuration_holds_or_its_mistakes_are_told(content: bytes) -> None:
    """S15, X11."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        home = Home(Path(folder))
        home.config.write_bytes(content)
        with contextlib.suppress(ConfigError):
            loaded = load(home)
            assert loaded.default_mail_transport in loaded.config.transports


OUR_PARTS = ["occurrences", "reruns", "undecided", "vanished", "first_look"]
JOB = f"job/B4/{OWNER}/{ANA}/a"
by_entity = st.dictionaries(st.just(JOB) | st.text(max_size=4), json_values, max_size=3)
states = st.fixed_dictionaries(
    {"version": st.just(1)},
    optional={
        "notified": by_entity | json_values,
        "owed": by_entity | json_values,
        "data": st.fixed_dictionaries(
            {},
            optional={"syftnotify": st.dictionaries(st.sampled_from(OUR_PARTS), by_entity | json_values) | json_values},
        )
        | json_values,
    },
)
words = st.lists(st.sampled_from(["new", "executed", "job_failed@x"]) | json_scalars, max_size=3)
nearly_right = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "notified": st.dictionaries(st.just(JOB), words, max_size=1),
        "owed": st.dictionaries(st.just(JOB), words, max_size=1),
        "data": st.fixed_dictionaries(
            {
                "syftnotify": st.fixed_dictionaries(
                    {},
                    optional=dict.fromkeys(
                        OUR_PARTS, st.dictionaries(st.just(JOB), json_values, max_size=1) | json_values
                    ),
                )
            }
        ),
    }
)


def spelled(value: Any) -> bytes:
    """JSON as strict readers take it; what it cannot spell is left out of the test."""
    try:
        text = json.dumps(value, allow_nan=False)
        text.encode("utf-8")
    except ValueError:
        assume(False)
        raise
    return text.encode("utf-8")


@example(content=spelled({"version": 1, "notified": {JOB: [None]}}))
@example(content=spelled({"version": 1, "data": {"syftnotify": {"occurrences": {JOB: []}}}}))
@example(content=spelled({"version": 1, "data": {"syftnotify": {"reruns": {JOB: 1.5}}}}))
@example(content=spelled({"version": 1, "data": {"syftnotify": {"vanished": {JOB: []}}}}))
@example(content=spelled({"version": 1, "data": {"syftnotify": {"undecided": []}}}))
@example(content=spelled({"version": 1, "data": {"syftnotify": {"first_look": 1}}}))
@given(content=(states | nearly_right | json_values).map(spelled) | st.binary(max_size=100) | nested)
@settings(quickly, max_examples=120 * THOROUGH)
def test_a_state_file_of_any_form_is_used_or_kept_aside(content: bytes) -> None:
    """X02: whatever somebody wrote into it, the worker's questions have an answer and its marks are kept."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "state.json"
        path.write_bytes(content)
        ledger = Ledger(path)
        for kind in (EventKind.JOB_SUBMITTED, EventKind.JOB_COMPLETED):
            ledger.is_recorded(JOB, kind, "T1")
            ledger.label(JOB, kind, "T1")
        ledger.rerun_count(JOB, "T0")
        ledger.end_count(JOB)
        ledger.is_unreadable(JOB)
        back = ledger.reappeared_at(JOB)
        assert back is None or isinstance(back, (int, float))
        ledger.is_unstable(JOB)
        ledger.baseline(f"jobs {OWNER}")
        for entity, owed in ledger.owed().items():
            for word in owed:
                ledger.clear_owed(entity, word)
        ledger.record_vanished(lambda _entity: False)
        ledger.record_reappeared([JOB], [JOB], 1e9)
        ledger.set_rerun_count(JOB, "T0", 1)
        ledger.update_unreadable({JOB}, set())
        ledger.update_unreadable(set(), {JOB})
        ledger.mark_owed(JOB, EventKind.JOB_FAILED, "T9")
        ledger.mark_settled(JOB, EventKind.JOB_FAILED, "T9")
        ledger.record_baseline("jobs x", "now")
        ledger.save()
        state = JsonStateManager(path)
        state.set_data("mine", 1)
        state.mark_notified(JOB, "mine")
        again = JsonStateManager(path)

        assert again.was_notified(JOB, "mine")
        assert again.get_data("mine") == 1
        assert Ledger(path).is_recorded(JOB, EventKind.JOB_FAILED, "T9")


reports = st.dictionaries(
    st.sampled_from(list(worker_status.WorkerStatus.__dataclass_fields__)) | st.text(max_size=4), json_values
)
odd_reports = st.fixed_dictionaries(
    {},
    optional={
        "last_scan": st.fixed_dictionaries({"at": json_scalars, "seconds": json_scalars}),
        "last_scan_s": json_scalars,
        "interval": json_scalars,
        "failures": st.dictionaries(
            st.text(max_size=4),
            st.fixed_dictionaries({}, optional={"count": json_scalars, "error": json_scalars}),
            max_size=2,
        ),
        "pid": st.just(os.getpid()) | json_scalars,
        "phase": st.sampled_from(worker_status.Phase) | json_scalars,
        "reported_s": json_scalars,
        "scanned": json_scalars,
        "total": json_scalars,
        "ended": json_scalars,
        "transports": st.dictionaries(
            st.text(max_size=4),
            st.fixed_dictionaries(
                {}, optional={"type": json_scalars, "problem": json_scalars, "can_send": json_scalars}
            ),
            max_size=2,
        ),
    },
)


@example(content=b'{"last_scan": {}}')
@example(content=b'{"pid": -1, "reported_s": -9e10}')
@example(content=as_json({"last_scan_s": 10**400}))
@example(content=as_json({"last_scan_s": 1, "last_scan": {"at": None, "seconds": 10**400}}))
@given(content=(reports | odd_reports | json_values).map(as_json) | st.binary(max_size=100) | nested)
@quickly
def test_no_report_of_a_worker_breaks_the_status(content: bytes) -> None:
    """S16."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        home = Home(Path(folder))
        home.worker_status.write_bytes(content)
        report = worker_status.read(home)
        assert report.home == str(home.root)
        worker_status.health_problems(report, 1e9)
        with worker_lock.acquire(home), contextlib.redirect_stdout(io.StringIO()) as out:
            assert run_command(home, "status", "--json") in {0, 4}
            json.loads(out.getvalue())
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert run_command(home, "status") == 3


TOKEN = {
    "token": "a",
    "refresh_token": "b",
    "token_uri": "https://oauth2.googleapis.com/token",
    "client_id": "c",
    "client_secret": "d",
    "scopes": ["https://www.googleapis.com/auth/gmail.send"],
    "universe_domain": "googleapis.com",
    "account": "",
    "expiry": "2099-01-01T00:00:00Z",
    "signed_in_at": 1,
    "refresh_token_expires_in": 2,
}
tokens = st.builds(lambda key, value: {**TOKEN, key: value}, st.sampled_from(list(TOKEN)), json_values)


@example(content=b"[" * 3000)
@example(content=as_json({**TOKEN, "signed_in_at": 10**400}))
@given(content=(tokens | json_values).map(as_json) | st.binary(max_size=100) | nested)
@quickly
def test_a_token_is_good_or_asks_to_sign_in(content: bytes) -> None:
    """S03: before Google is asked anything."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "gmail_token.json"
        path.write_bytes(content)
        with contextlib.suppress(NotSignedInError):
            SavedToken(path)
        for moment in (signed_in_at(path), sign_in_ends(path)):
            assert moment is None or isinstance(moment, float)
