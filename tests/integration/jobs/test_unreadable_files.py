"""One odd detail in a job's file costs that detail; a file that stays unreadable is reported to the owner (A1)."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.scanning import NOTHING, expected, mail_about, on, run_baseline, scan_after, times, without_grants
from tests.support import OWNER, Box
from tests.trees import ReviewTree, Tree

pytestmark = pytest.mark.check_only


FRIEND = "friend@lab.example"
SECRET = "the-key-of-the-owner"
OWNER_ONLY = Counter({("job_submitted", "owner", OWNER): 1})
CATCH_UP = Counter({("digest", "owner", OWNER): 1})


def replace_keys(path: Path, text: str, tree: Tree) -> None:
    """Replace the keys that `text` has in a YAML file of the tree."""
    kept = {key: value for key, value in yaml.safe_load(path.read_text()).items() if f"{key}:" not in text}
    tree.disk.write(path, yaml.safe_dump(kept) + text + "\n")


# -- odd details -------------------------------------------------------------------------------------------------------


@on("D", thorough=["A", "B4", "C1"])
def test_config_with_the_documented_headers_is_applied(box: Box, tree: Tree) -> None:
    """A1: YAML 1.1 reads `on` as true; a key is the text that is written."""
    box.configure({"recipients": {"allow": [FRIEND]}})
    run_baseline(box, tree)
    tree.submit()
    headers = f"headers:\n  notify:\n    emails: [{FRIEND}]\n    on: [job_submitted]\n    tags: [blue, 2026]\n  yes: 1"
    replace_keys(tree.job_folder() / "config.yaml", headers, tree)

    guest = Counter({("job_submitted", "guest", FRIEND): 1})
    assert without_grants(scan_after(box, 10)) == expected(tree, "job_submitted") + guest


ODD_CONFIGS = {
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


@on("D", thorough=["A"])
def test_configs_with_one_odd_detail_are_notified(box: Box, tree: Tree) -> None:
    """A1: the detail is dropped, and the job is notified as usual; some editors write a byte order mark."""
    run_baseline(box, tree)
    for name, text in ODD_CONFIGS.items():
        tree.submit(name)
        replace_keys(tree.job_folder(name) / "config.yaml", text, tree)
    tree.submit("byte order mark")
    config = tree.job_folder("byte order mark") / "config.yaml"
    tree.disk.write(config, b"\xef\xbb\xbf" + config.read_bytes())

    found = without_grants(scan_after(box, 70))
    assert found == times(expected(tree, "job_submitted"), len(ODD_CONFIGS) + 1)
    assert not any("cannot be read" in mail.text for mail in box.mails())
    assert scan_after(box, 70) == NOTHING


ODD_STATES = {
    "an odd key": "? [1]\n: 2\non: off",
    "an unknown tag": "approved_by: !somebody x",
    "an odd date": "received_at: 2026-99-99",
    "a reason of an odd type": "review_reason: {a: [b]}",
    "a code of an odd type": "return_code: !!int word",
    "half a character": 'review_reason: "\\ud800"',
}


@on("D", thorough=["C1"])
def test_states_with_one_odd_detail_are_notified(box: Box, tree: ReviewTree) -> None:
    """A1: the rest of a state.yaml counts."""
    run_baseline(box, tree)
    for name in ODD_STATES:
        tree.submit(name)
    scan_after(box, 10)
    for name, text in ODD_STATES.items():
        tree.approve(name)
        replace_keys(tree.results_folder(name) / "state.yaml", text, tree)

    assert scan_after(box, 10) == times(expected(tree, "job_approved"), len(ODD_STATES))


@on("D")
def test_states_with_an_unknown_status_count_by_their_times(box: Box, tree: ReviewTree) -> None:
    """A1: not while they may be partial; after a minute the other fields count."""
    run_baseline(box, tree)
    unknown: dict[str, object] = {"text": "queued", "list": ["approved"], "nothing": None, "number": 7}
    for name in unknown:
        tree.submit(name)
    scan_after(box, 10)
    for name, status in unknown.items():
        tree.approve(name)
        tree.set_state(name, status=status)

    assert scan_after(box, 10) == NOTHING
    assert scan_after(box, 51) == times(expected(tree, "job_approved"), len(unknown))
    assert scan_after(box, 60) == NOTHING


# -- files that stay unreadable ----------------------------------------------------------------------------------------

UNREADABLE_CONFIGS = {
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


@on("A", thorough=["B4", "C1", "D"])
def test_configs_that_stay_unreadable_are_notified_to_the_owner(box: Box, tree: Tree) -> None:
    """A1: after a minute, once, with the reason and the files that are there; the submitter gets nothing."""
    run_baseline(box, tree)
    complete = {}
    for reason, content in UNREADABLE_CONFIGS.items():
        tree.submit(reason, files={"main.py": "print(1)\n", "helper.py": "print(2)\n"})
        config = tree.job_folder(reason) / "config.yaml"
        complete[config] = config.read_bytes()
        tree.disk.write(config, content)
    assert without_grants(scan_after(box, 40)) == NOTHING
    assert scan_after(box, 30) == times(OWNER_ONLY, len(UNREADABLE_CONFIGS))
    mails = {mail.entities[0]: mail for mail in box.mails() if mail.event == "job_submitted"}
    for reason in UNREADABLE_CONFIGS:
        mail = mails[tree.entity(reason)]
        for body in (mail.text, mail.readable_html):
            assert f"Its files cannot be read as a job: config.yaml: {reason}." in body
            assert "helper.py" in body
            assert "run.sh" in body
    assert scan_after(box, 600) == NOTHING

    for config, content in complete.items():
        tree.disk.write(config, content)
    assert scan_after(box, 10) == times(expected(tree, "job_submitted"), len(UNREADABLE_CONFIGS))
    assert scan_after(box, 100) == NOTHING


@on("A", "D", thorough=["B2", "B3", "B4", "C1"])
def test_config_with_a_hard_link_is_notified_to_the_owner(box: Box, tree: Tree, tmp_path: Path) -> None:
    """C9: nothing of it is mailed, and the job is not lost."""
    run_baseline(box, tree)
    tree.submit()
    config = tree.job_folder() / "config.yaml"
    tree.disk.write(config, config.read_text() + f"submitted_by: {SECRET}\n")
    os.link(config, tmp_path / "outside")
    assert without_grants(scan_after(box, 40)) == NOTHING
    assert scan_after(box, 30) == OWNER_ONLY
    mail = mail_about(box, "job_submitted")
    assert "Its files cannot be read as a job: config.yaml: hard link." in mail.text
    assert SECRET not in mail.text


@on("D", thorough=["C1"])
def test_state_with_a_hard_link_is_notified_to_the_owner(box: Box, tree: ReviewTree, tmp_path: Path) -> None:
    """C9: its reason is not mailed, and the job is not lost."""
    run_baseline(box, tree)
    tree.submit()
    tree.receive()
    tree.set_state(status="rejected", review_reason=SECRET, rejected_at="2026-11-22T00:00:00Z")
    os.link(tree.results_folder() / "state.yaml", tmp_path / "outside")
    assert scan_after(box, 10) == NOTHING
    assert scan_after(box, 60)["job_submitted", "owner", OWNER] == 1
    mails = box.mails()
    assert all(SECRET not in mail.text for mail in mails)
    assert any("Its files cannot be read as a job: state.yaml: hard link." in mail.text for mail in mails)


@on("A", "D")
def test_config_that_changes_for_a_while_is_not_unreadable(box: Box, tree: Tree) -> None:
    """A1: a file that changes is being written; the minute begins again."""
    run_baseline(box, tree)
    tree.submit()
    config = tree.job_folder() / "config.yaml"
    complete = config.read_bytes()
    for partial in (b"", b"name: analysis\nsubmitted_at: '2026-1", b"nam"):
        tree.disk.write(config, partial)
        assert without_grants(scan_after(box, 40)) == NOTHING
    tree.disk.write(config, complete)
    assert scan_after(box, 10) == expected(tree, "job_submitted")


@on("B4", thorough=["A", "C1", "D"])
def test_config_unreadable_after_the_decision_is_not_notified(box: Box, tree: Tree) -> None:
    """A1: only a job that waits for its owner is."""
    run_baseline(box, tree)
    tree.submit()
    tree.approve()
    assert scan_after(box, 10)["job_submitted", "owner", OWNER] == 1
    tree.disk.write(tree.job_folder() / "config.yaml", b"")

    assert scan_after(box, 100) == NOTHING


@on("D", thorough=["A", "B4", "C1"])
def test_config_unreadable_at_the_baseline_joins_the_catch_up(box: Box, tree: Tree) -> None:
    """A1: it stays unreadable while it may be partial, and what follows is notified."""
    tree.submit()
    config = tree.job_folder() / "config.yaml"
    complete = config.read_bytes()
    tree.disk.write(config, b"name: &a x\n")
    assert scan_after(box, 10) == NOTHING
    assert scan_after(box, 60) == CATCH_UP
    assert "cannot be read (config.yaml: contains anchors or aliases)" in mail_about(box, "digest").text
    tree.disk.write(config, complete)
    assert scan_after(box, 10) == expected(tree, "job_submitted")


@on("D")
def test_state_that_stays_unreadable_hides_no_submission(box: Box, tree: ReviewTree) -> None:
    """A1: the owner gets the job with the reason; one that was notified already is not notified again."""
    run_baseline(box, tree)
    tree.submit("old")
    tree.receive("old")
    assert scan_after(box, 10) == expected(tree, "job_submitted")
    tree.submit("new")
    tree.receive("new")
    for name in ("old", "new"):
        tree.disk.write(tree.results_folder(name) / "state.yaml", b"status: *a\n")
    assert scan_after(box, 10) == NOTHING
    box.clock.advance(60)
    box.scan()
    (mail,) = box.new_mails()
    assert mail.sent == ("job_submitted", "owner", OWNER)
    assert mail.entities == [tree.entity("new")]
    assert "Its files cannot be read as a job: state.yaml: contains anchors or aliases." in mail.text


@on("D")
def test_state_unreadable_at_the_baseline_notifies_no_old_end(box: Box, tree: ReviewTree) -> None:
    """A1, B05: a job that had ended is named to the owner, and its end is not notified once it can be read."""
    tree.submit()
    tree.approve()
    tree.run()
    state = tree.results_folder() / "state.yaml"
    complete = state.read_bytes()
    tree.disk.write(state, b"")
    assert scan_after(box, 110) == CATCH_UP
    tree.disk.write(state, complete)
    assert scan_after(box, 10) == NOTHING
