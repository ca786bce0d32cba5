"""One odd detail in a job's file costs that detail; a file that stays unreadable is reported to the owner (A1)."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
import yaml

from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.transports.slack.renderer import SlackRenderer
from syftnotify.transports.webhook.renderer import native_of
from tests.support import ANA, OWNER, Box, Mail, lose_ledger, lose_outbox
from tests.trees import TREES, Disk, ReviewTree, Tree

FRIEND = "friend@lab.example"
SECRET = "the-key-of-the-owner"
FAMILIES = ["A", "B4", "C1", "D"]
ORDINARY = {("job_submitted", "owner", OWNER), ("job_submitted", "submitter", ANA)}


@pytest.fixture
def tree(request: pytest.FixtureRequest, box: Box) -> Tree:
    """A tree whose baseline scan is over."""
    tree = TREES[request.param](Disk(box.root, box.clock.time))
    if tree.names_submitter:
        tree.grant(ANA)
    scan(box, 10)
    return tree


def on(*keys: str) -> pytest.MarkDecorator:
    """Run the test on these layouts."""
    return pytest.mark.parametrize("tree", keys, indirect=True)


def scan(box: Box, seconds: float) -> list[Mail]:
    """The mails that a scan sends so many seconds later, those about grants aside."""
    box.clock.advance(seconds)
    box.look()
    return [mail for mail in box.new_mails() if mail.event != "peer_granted"]


def told(mails: list[Mail]) -> set[tuple[str, str, str]]:
    found = Counter(mail.told for mail in mails)
    assert not found or max(found.values()) == 1
    return set(found)


def ordinary(tree: Tree) -> set[tuple[str, str, str]]:
    """What is owed for a submission."""
    return {each for each in ORDINARY if tree.names_submitter or each[1] == "owner"}


def forget(box: Box) -> None:
    """The next scan is the baseline scan."""
    lose_ledger(box)
    lose_outbox(box)


def add(path: Path, text: str, tree: Tree) -> None:
    """Replace the keys that `text` has in a YAML file of the tree."""
    kept = {key: value for key, value in yaml.safe_load(path.read_text()).items() if f"{key}:" not in text}
    tree.disk.write(path, yaml.safe_dump(kept) + text + "\n")


@on(*FAMILIES)
def test_config_with_the_documented_headers_is_applied(box: Box, tree: Tree) -> None:
    """A1: YAML 1.1 reads `on` as true; a key is the text that is written."""
    box.configure({"recipients": {"allow": [FRIEND]}})
    tree.submit()
    headers = f"headers:\n  notify:\n    emails: [{FRIEND}]\n    on: [job_submitted]\n    tags: [blue, 2026]\n  yes: 1"
    add(tree.place() / "config.yaml", headers, tree)

    assert told(scan(box, 10)) == {*ordinary(tree), ("job_submitted", "guest", FRIEND)}


ODD = {
    "a list for a key": "? [1, 2]\n: 3",
    "a mapping for a key": "? {a: b}\n: c",
    "keys that are no texts": "1: a\nyes: b\n2026-01-01: c\n~: d\n.nan: e\n!!binary aGk=: f",
    "a merge": "<<: {type: bash}",
    "an unknown tag": "x: !secret y\ny: !thing [a]\nz: !thing {a: b}",
    "a Python object": "x: !!python/object/apply:os.system ['true']\ny: !!python/name:os.system",
    "a set and an ordered mapping": "x: !!set {a, b}\ny: !!omap [a: 1]",
    "untrue tags": "x: !!int word\ny: !!bool maybe\nz: !!timestamp word\nw: !!binary 'ü'",
    "odd dates": "x: 2026-99-99\ny: 0001-01-01 00:00:00 +23:59",
    "huge numbers": "x: " + "9" * 5000 + "\ny: 0x" + "f" * 5000 + "\nz: .nan\nw: -.inf",
    "half a character": 'x: "\\ud800"\ny: "\\ud83d\\ude00"',
    "deep nesting": "x: " + "[" * 300 + "]" * 300,
    "the same key twice": "x: a\nx: b",
    "headers that are a text": "headers: hello",
    "headers that are a list": "headers: [notify, alerts]",
    "headers with odd parts": "headers: {notify: [x], alerts: yes, on: off}",
    "requests of odd types": "headers: {notify: {emails: {a: b}, on: 7, tags: .nan}, alerts: {recipients: 3}}",
    "files of odd types": "files: [1, ~, [a], {b: c}, true]",
    "files that are a mapping": "files: {main.py: yes}",
}


@on("A", "D")
@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_config_with_one_odd_detail_is_reported(box: Box, tree: Tree, text: str) -> None:
    """A1: the detail is dropped, and the job is reported as ever."""
    tree.submit()
    add(tree.place() / "config.yaml", text, tree)
    mails = scan(box, 70)

    assert told(mails) == ordinary(tree)
    assert not any("cannot be read" in mail.text for mail in mails)


@on("A", "D")
def test_config_with_a_byte_order_mark_is_reported(box: Box, tree: Tree) -> None:
    """A1: some editors write one."""
    tree.submit()
    config = tree.place() / "config.yaml"
    tree.disk.write(config, b"\xef\xbb\xbf" + config.read_bytes())

    assert told(scan(box, 10)) == ordinary(tree)


ODD_STATES = {
    "an odd key": "? [1]\n: 2\non: off",
    "an unknown tag": "approved_by: !somebody x",
    "an odd date": "received_at: 2026-99-99",
    "a reason of an odd type": "review_reason: {a: [b]}",
    "a code of an odd type": "return_code: !!int word",
    "half a character": 'review_reason: "\\ud800"',
}


@on("C1", "D")
@pytest.mark.parametrize("text", ODD_STATES.values(), ids=ODD_STATES.keys())
def test_state_with_one_odd_detail_is_reported(box: Box, tree: ReviewTree, text: str) -> None:
    """A1: the rest of a state.yaml counts."""
    tree.submit()
    scan(box, 10)
    tree.approve()
    add(tree.results() / "state.yaml", text, tree)

    assert told(scan(box, 10)) == {("job_approved", "submitter", ANA)}


@on("D")
@pytest.mark.parametrize("word", ["queued", ["approved"], None, 7], ids=str)
def test_state_with_an_unknown_status_counts_by_its_times(box: Box, tree: ReviewTree, word: object) -> None:
    """A1: not while it may be torn; after a minute the other fields say what is true."""
    tree.submit()
    scan(box, 10)
    tree.approve()
    tree.set_state(status=word)

    assert told(scan(box, 10)) == set()
    assert told(scan(box, 51)) == {("job_approved", "submitter", ANA)}
    assert told(scan(box, 60)) == set()


UNREADABLE = {
    "larger than 256 KiB": b"name: x\npadding: " + b"x" * 263_000,
    "contains anchors or aliases": b"name: &a x\ntype: *a\n",
    "not UTF-8 text": "name: Müller\n".encode("latin-1"),
    "not valid YAML": b"name: [x\n",
    "not a mapping": b"- name\n",
    "more than one document": b"name: a\n---\nname: b\n",
    "too many values": b"x: [" + b"a," * 30_000 + b"]",
    "nested too deep": b"x: " + b"[" * 500 + b"]" * 500,
    "contains YAML directives": b"%TAG ! x:\n---\nname: a\n",
    "empty": b"",
}


@on(*FAMILIES)
@pytest.mark.parametrize(("why", "content"), UNREADABLE.items(), ids=UNREADABLE.keys())
def test_config_that_stays_unreadable_is_reported_to_the_owner(box: Box, tree: Tree, why: str, content: bytes) -> None:
    """A1: after a minute, once, with the reason and the files that are there; the submitter gets nothing."""
    tree.submit(files={"main.py": "print(1)\n", "helper.py": "print(2)\n"})
    config = tree.place() / "config.yaml"
    whole = config.read_bytes()
    tree.disk.write(config, content)
    assert told(scan(box, 40)) == set()
    (mail,) = scan(box, 30)
    assert mail.told == ("job_submitted", "owner", OWNER)
    assert mail.entities == [tree.entity()]
    for body in (mail.text, mail.html):
        assert f"Its configuration cannot be read (config.yaml: {why})." in body
        assert "helper.py" in body
        assert "run.sh" in body
    assert told(scan(box, 600)) == set()

    tree.disk.write(config, whole)
    assert told(scan(box, 10)) == ordinary(tree)
    assert told(scan(box, 100)) == set()


def link_to_outside(path: Path, outside: Path) -> None:
    """Give a file of the tree a second name outside."""
    os.link(path, outside)


@on("A", "B2", "B3", "B4", "C1", "D")
def test_config_with_a_hard_link_is_reported_to_the_owner(box: Box, tree: Tree, tmp_path: Path) -> None:
    """C9: nothing of it is mailed, and the job is not lost."""
    tree.submit()
    config = tree.place() / "config.yaml"
    tree.disk.write(config, config.read_text() + f"submitted_by: {SECRET}\n")
    link_to_outside(config, tmp_path / "outside")
    assert told(scan(box, 40)) == set()
    (mail,) = scan(box, 30)

    assert mail.told == ("job_submitted", "owner", OWNER)
    assert "Its configuration cannot be read (config.yaml: hard link)." in mail.text
    assert SECRET not in mail.text


@on("C1", "D")
def test_state_with_a_hard_link_is_reported_to_the_owner(box: Box, tree: ReviewTree, tmp_path: Path) -> None:
    """C9: its reason is not mailed, and the job is not lost."""
    tree.submit()
    tree.receive()
    tree.set_state(status="rejected", review_reason=SECRET, rejected_at="2026-11-22T00:00:00Z")
    link_to_outside(tree.results() / "state.yaml", tmp_path / "outside")
    assert told(scan(box, 10)) == set()
    mails = scan(box, 60)

    assert ("job_submitted", "owner", OWNER) in told(mails)
    assert all(SECRET not in mail.text for mail in mails)
    assert any("Its state cannot be read (state.yaml: hard link)." in mail.text for mail in mails)


@on("A", "D")
def test_config_that_is_written_for_a_while_is_not_reported(box: Box, tree: Tree) -> None:
    """A1: a file that changes is being written; the minute begins again."""
    tree.submit()
    config = tree.place() / "config.yaml"
    whole = config.read_bytes()
    for torn in (b"", b"name: analysis\nsubmitted_at: '2026-1", b"nam"):
        tree.disk.write(config, torn)
        assert told(scan(box, 40)) == set()
    tree.disk.write(config, whole)
    assert told(scan(box, 10)) == ordinary(tree)


@on("A", "B4", "C1", "D")
def test_config_unreadable_after_the_decision_is_not_reported(box: Box, tree: Tree) -> None:
    """A1: only a job that waits for its owner is."""
    tree.submit()
    tree.approve()
    assert ("job_submitted", "owner", OWNER) in told(scan(box, 10))
    tree.disk.write(tree.place() / "config.yaml", b"")

    assert told(scan(box, 100)) == set()


@on(*FAMILIES)
def test_config_unreadable_at_the_baseline_joins_the_catch_up(box: Box, tree: Tree) -> None:
    """A1: it stays undecided while it may be torn, and what follows is news."""
    forget(box)
    tree.submit()
    config = tree.place() / "config.yaml"
    whole = config.read_bytes()
    tree.disk.write(config, b"name: &a x\n")
    assert told(scan(box, 10)) == set()
    (mail,) = scan(box, 60)
    assert mail.told == ("digest", "owner", OWNER)
    assert "Its configuration cannot be read (config.yaml: contains anchors or aliases)." in mail.text
    tree.disk.write(config, whole)
    assert told(scan(box, 10)) == ordinary(tree)


@on("D")
def test_state_that_stays_unreadable_hides_no_submission(box: Box, tree: ReviewTree) -> None:
    """A1: the owner gets the job with the reason; one that was reported already is not reported again."""
    tree.submit("old")
    tree.receive("old")
    assert told(scan(box, 10)) == ORDINARY
    tree.submit("new")
    tree.receive("new")
    for name in ("old", "new"):
        tree.disk.write(tree.results(name) / "state.yaml", b"status: *a\n")
    assert told(scan(box, 10)) == set()
    (mail,) = scan(box, 60)
    assert mail.told == ("job_submitted", "owner", OWNER)
    assert mail.entities == [tree.entity("new")]
    assert "Its state cannot be read (state.yaml: contains anchors or aliases)." in mail.text


@on("D")
def test_state_unreadable_at_the_baseline_stays_undecided(box: Box, tree: ReviewTree) -> None:
    """A1, B05: a job that had ended is named to the owner, and its end is no news once it can be read."""
    forget(box)
    tree.submit()
    tree.approve()
    tree.run()
    state = tree.results() / "state.yaml"
    whole = state.read_bytes()
    tree.disk.write(state, b"")
    box.clock.advance(100)
    assert told(scan(box, 10)) == {("digest", "owner", OWNER)}
    tree.disk.write(state, whole)
    assert told(scan(box, 10)) == set()


def test_unreadable_job_in_one_line_names_the_reason() -> None:
    """A1: in a digest, in Slack and for programs."""
    payload = {"name": "x", "submitter": ANA, "owner": OWNER, "unreadable": "config.yaml: not UTF-8 text"}
    item = Item("id", Event(EventKind.JOB_SUBMITTED, "job/D/o/a/x", "", "", payload), Audience.OWNER, Status.WAITING)
    sentence = "Its configuration cannot be read (config.yaml: not UTF-8 text)."
    mails = EmailRenderer(TemplateRenderer(), sender=OWNER, links=Links())

    assert sentence in SlackRenderer(links=Links()).message([item], "#jobs").text
    assert sentence in mails.message([item], OWNER, digest="d").text
    assert native_of(item, Links())["payload"]["unreadable"] == payload["unreadable"]
