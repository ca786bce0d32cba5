"""One poisoned job stops nothing else; each kind of poison on few layouts (all of them: tests/property)."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scanning import on, owner_entities, run_baseline, scan_after
from tests.support import ANA, BO, OWNER, Box, Mail, alias_bomb
from tests.trees import TREES, Disk, ReviewTree, Tree

pytestmark = pytest.mark.check_only


SECRET = "the-key-of-the-owner"
STRANGER = "stranger@elsewhere.example"
HONEST = "honest"


def mails_beside_an_honest_job(box: Box, tree: Tree, seconds: float = 10) -> list[Mail]:
    """An honest job comes, too, and is notified; returns the mails about other jobs."""
    tree.submit(name=HONEST, by=BO)
    box.clock.advance(seconds)
    box.scan()
    mails = box.new_mails()
    honest = tree.entity(HONEST, BO)
    about = [mail.sent for mail in mails if mail.audience == "owner" and mail.entities == [honest]]
    assert about == [("job_submitted", "owner", OWNER)]
    assert not any(SECRET in str(mail.message) or SECRET in mail.text or SECRET in mail.html for mail in mails)
    assert not any(mail.message["Bcc"] or mail.to not in {OWNER, ANA, BO} for mail in mails)
    return [mail for mail in mails if honest not in mail.entities and mail.event.startswith("job")]


def entities(tree: Tree, names: Iterable[str]) -> list[str]:
    return sorted(tree.entity(name) for name in names)


# -- links and pipes ---------------------------------------------------------------------------------------------------


@on("D")
def test_state_that_is_a_symlink_is_not_followed(box: Box, tree: ReviewTree, tmp_path: Path) -> None:
    """X11"""
    run_baseline(box, tree)
    tree.submit()
    tree.receive()
    scan_after(box, 10)
    tree.approve()
    state = tree.results_folder() / "state.yaml"
    state.rename(tmp_path / "elsewhere.yaml")
    tree.disk.link(state, tmp_path / "elsewhere.yaml")
    assert mails_beside_an_honest_job(box, tree) == []


@on("A", "D", thorough=["B4"])
def test_config_that_is_a_symlink_is_not_followed(box: Box, tree: Tree, tmp_path: Path) -> None:
    """X11, A1: after a minute the owner is notified of the job, with the reason."""
    run_baseline(box, tree)
    tree.submit()
    config = tree.job_folder() / "config.yaml"
    config.rename(tmp_path / "elsewhere.yaml")
    tree.disk.link(config, tmp_path / "elsewhere.yaml")
    assert mails_beside_an_honest_job(box, tree) == []
    assert scan_after(box, 60) == Counter({("job_submitted", "owner", OWNER): 1})
    assert any(" config.yaml: a symbolic link." in mail.text for mail in box.mails())


@on("D", thorough=["A", "B4"])
def test_job_folder_that_is_a_symlink_is_no_job(box: Box, tree: Tree, tmp_path: Path) -> None:
    """X11"""
    run_baseline(box, tree)
    tree.submit()
    place = tree.job_folder()
    shutil.move(place, tmp_path / "elsewhere")
    tree.disk.link(place, tmp_path / "elsewhere")
    assert mails_beside_an_honest_job(box, tree) == []


@on("D", thorough=["A", "B4"])
def test_submitted_files_that_are_pipes_are_not_read(box: Box, tree: Tree) -> None:
    """X11: regular files only; opening a FIFO would wait for a writer."""
    run_baseline(box, tree)
    for which in ("config.yaml", "run.sh", "main.py"):
        tree.submit(which)
        path = tree.job_folder(which) / which
        if not path.exists():
            path = tree.job_folder(which) / "code" / which
        tree.disk.remove(path)
        os.mkfifo(path)
        tree.disk.set_mtime(path, path.parent)
    mails = mails_beside_an_honest_job(box, tree)
    assert tree.entity("config.yaml") not in owner_entities(mails)
    scan_after(box, 60)
    assert any(" config.yaml: not a regular file." in mail.text for mail in box.mails())


@on("D")
def test_results_that_are_pipes_are_not_read(box: Box, tree: ReviewTree) -> None:
    """X11"""
    run_baseline(box, tree)
    for which in ("state.yaml", "stderr.txt", "stdout.txt"):
        tree.submit(which)
        tree.approve(which)
        tree.run(which, code=-1, stderr="half")
        tree.disk.remove(tree.results_folder(which) / which)
        os.mkfifo(tree.results_folder(which) / which)
        tree.disk.set_mtime(tree.results_folder(which))
    mails_beside_an_honest_job(box, tree)


# -- content -----------------------------------------------------------------------------------------------------------

REFUSED_CONFIGS = {
    "an alias bomb": alias_bomb(),
    "a hundred thousand brackets": "files: " + "[" * 100_000 + "]" * 100_000,
    "a thousand braces": "files: " + "{a: " * 1_000 + "b" + "}" * 1_000,
    "a megabyte": "name: analysis\npadding: " + "x" * 1_000_000,
    "a number": "7\n",
    "no text": b"\xff\xfe\xfd".decode("latin-1"),
}


@on("D")
def test_configs_that_are_refused_stop_no_other_job(box: Box, tree: Tree) -> None:
    """X11: aliases refused, depth and size capped."""
    run_baseline(box, tree)
    for name, content in REFUSED_CONFIGS.items():
        tree.submit(name)
        tree.disk.write(tree.job_folder(name) / "config.yaml", content.encode("latin-1"))
    assert mails_beside_an_honest_job(box, tree) == []


KEYS = ("name", "submitted_at", "submitted_by", "files", "type", "entry_point", "entrypoint", "code_path")
WRONG_TYPES: dict[str, dict[str, Any]] = {
    "lists": {key: [1, [2]] for key in KEYS},
    "mappings": {key: {"a": {"b": 1}} for key in KEYS},
    "numbers": dict.fromkeys(KEYS, 7),
    "nothing": dict.fromkeys(KEYS),
    "not a number": {"submitted_at": float("nan"), "type": float("inf")},
    "odd files": {"files": [1, None, [], {}, "main.py", "main.py/", "/etc/passwd", ".", "", "a\0b", "x" * 5000]},
    "long names": {"entry_point": "x" * 5000, "entrypoint": "x" * 5000, "code_path": "/" + "y" * 5000, "files": []},
    "many files": {"files": ["main.py"] * 5_000},
    "an address of two lines": {"submitted_by": f"{ANA}\nBcc: {STRANGER}"},
    "a long address": {"submitted_by": "a" * 100_000 + "@uni.example"},
}
ODD_LINES = [
    "submitted_at: 0x" + "f" * 6000,
    "type: 0x" + "f" * 6000,
    "submitted_at: 2026-11-21 10:00:00",
    "submitted_at: 2026-11-21",
    'entry_point: "\\ud800"',
    'files: ["\\ud800"]',
    'submitted_by: "\\0@x.example"',
    "? [1, 2]\n: 3",
]


@on("D", thorough=["A"])
def test_configs_with_wrong_types_are_notified_to_the_owner(box: Box, tree: Tree) -> None:
    """X11: types are checked; what can be used of such a job is sent to the owner."""
    run_baseline(box, tree)
    for name, config in WRONG_TYPES.items():
        tree.submit(name, config=config)
    for number, line in enumerate(ODD_LINES):
        tree.submit(f"line {number}")
        path, key = tree.job_folder(f"line {number}") / "config.yaml", line.partition(":")[0]
        kept = {name: value for name, value in yaml.safe_load(path.read_text()).items() if name != key}
        tree.disk.write(path, f"{yaml.safe_dump(kept)}{line}\n")
    box.clock.advance(60)
    mails = mails_beside_an_honest_job(box, tree)
    jobs = [*WRONG_TYPES, *(f"line {number}" for number in range(len(ODD_LINES)))]
    assert owner_entities(mails) == entities(tree, jobs)


WRONG_STATES: list[dict[str, Any]] = [
    {"status": ["approved"]},
    {"status": {"approved": True}},
    {"status": "x" * 100_000},
    {"status": "done", "approved_at": ["x"], "completed_at": {"a": 1}, "return_code": 0},
    {"status": "failed", "completed_at": 7, "return_code": "three"},
    {"status": "failed", "completed_at": True, "return_code": True},
    {"status": "failed", "completed_at": "x", "return_code": float("inf")},
    {"status": "failed", "completed_at": "x", "return_code": 10**4000},
    {"status": "rejected", "rejected_at": "x", "review_reason": ["no"], "rejection_reason": {}},
    {"status": "rejected", "rejected_at": "x", "review_reason": "<img src=x>\x1b[31m\u202e" * 999},
]


@pytest.mark.thorough
@on("D")
def test_states_with_wrong_types_stop_no_other_job(box: Box, tree: ReviewTree) -> None:
    """X11"""
    run_baseline(box, tree)
    for number, state in enumerate(WRONG_STATES):
        tree.submit(f"job-{number}")
        tree.set_state(f"job-{number}", **state)
    mails = mails_beside_an_honest_job(box, tree)
    assert ("job_failed", ANA) in {(mail.event, mail.to) for mail in mails}
    for mail in mails:
        assert "<img" not in mail.html
        assert "\x1b" not in mail.text + mail.html


# -- names -------------------------------------------------------------------------------------------------------------

NAMES = {
    "newline": "line\nBcc: stranger@elsewhere.example",
    "carriage return": "line\r\nX-Evil: yes",
    "ansi": "\x1b[31mred\x1b]0;title\x07",
    "html": "<b onclick=x>bold&amp;<script>alert(1)",
    "right to left": "\u202egpj.exe",
    "long": "n" * 255,
    "long and wide": "é" * 127,
    "leading dash": "-rf",
    "blanks": " - ",
    "percent": "%2e%2e%2f",
    "template": "{{ 7 * 7 }}{% raw %}${x}",
    "not utf-8": os.fsdecode(b"caf\xe9\xff"),
    "an address": "ana@uni.example.job",
    "line separator": "a\u2028b\u2029c\u0085d",
}


@on("D", thorough=["A"])
def test_job_names_are_shown_escaped(box: Box, tree: Tree) -> None:
    """X11: the name of a folder is a stranger's; it is one line of plain text in each place."""
    names = [name for kind, name in NAMES.items() if tree.layout != "A" or kind != "an address"]  # A: never a job
    run_baseline(box, tree)
    for name in names:
        tree.submit(name=name, config={"name": "x"})
    mails = mails_beside_an_honest_job(box, tree)
    assert owner_entities(mails) == entities(tree, names)
    for mail in mails:
        assert mail.message["X-Evil"] is None
        assert mail.subject.isprintable()
        shown = mail.text + mail.html
        assert not any(sign in shown for sign in "\x1b\x07\u202e\u2028\u2029\u0085\ud800")
        assert "<script" not in mail.html
        assert "<b onclick" not in mail.html
        assert "49" not in mail.subject
    assert not scan_after(box, 10)


@on("D")
def test_job_named_v1_is_a_job(box: Box, tree: Tree) -> None:
    """A C job named `v1` shares its folder with D's segment; both are notified."""
    run_baseline(box, tree)
    TREES["C2"](tree.disk).submit(name="v1")
    tree.submit(name="inner")
    found = owner_entities(mails_beside_an_honest_job(box, tree))
    assert found == sorted([TREES["C2"](tree.disk).entity("v1"), tree.entity("inner")])


def test_config_beside_the_jobs_is_no_job(box: Box, disk: Disk) -> None:
    """A scientist can make inbox/<ds>/config.yaml: an address below the inbox is never an A job."""
    tree = TREES["D"](disk)
    run_baseline(box, tree)
    for base in (tree.base, TREES["A"](disk).base):
        disk.write_yaml(base / "inbox" / ANA / "config.yaml", {"name": "x", "submitted_by": STRANGER})
        disk.write(base / "inbox" / ANA / "run.sh", "true\n")
    assert mails_beside_an_honest_job(box, tree) == []


@on("B4", "D")
def test_listed_files_outside_of_the_job_are_not_shown(box: Box, tree: Tree) -> None:
    """X11: only names inside the job are opened."""
    run_baseline(box, tree)
    for folder in (tree.job_folder(), *tree.job_folder().parents[:4]):
        tree.disk.write(folder / "x", SECRET)
    outside = ["../../x", "/etc/hostname", "a/../../../x", "./../x", "..\\x", "~/x"]
    for number, name in enumerate(outside):
        config = {"files": [name], "entry_point": name, "code_path": f"/home/{name}"}
        tree.submit(f"job-{number}", files={}, config=config)
    box.clock.advance(60)
    mails = mails_beside_an_honest_job(box, tree)
    assert owner_entities(mails) == entities(tree, (f"job-{number}" for number in range(len(outside))))
