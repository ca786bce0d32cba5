"""Configurations and states that are built to break or to delay their reader (X11)."""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.property.hostile import (
    ABE,
    CAP,
    EVIL,
    FAMILIES,
    HONEST,
    LAYOUTS,
    REVIEWED,
    YAMLS,
    append_to,
    in_the_cap,
    live,
    notified_to,
    submissions,
)
from tests.scanning import on
from tests.support import BO, OWNER, Box
from tests.trees import ReviewTree, Tree

pytestmark = pytest.mark.thorough


@on(*FAMILIES)
def test_hostile_configs_stop_no_other_job(box: Box, tree: Tree) -> None:
    """X11: whatever one config.yaml contains, the next one is read."""
    for number, text in enumerate(YAMLS.values()):
        tree.submit(f"job-{number}", ABE)
        append_to(tree.job_folder(f"job-{number}", ABE) / "config.yaml", text, tree)
    live(box, tree)


@on("C1", "D")
def test_hostile_states_stop_no_other_job(box: Box, tree: ReviewTree) -> None:
    """X11: a peer can bring about a state.yaml of the owner's, too."""
    for number, text in enumerate(YAMLS.values()):
        tree.submit(f"job-{number}", ABE)
        tree.approve(f"job-{number}", ABE)
        append_to(tree.results_folder(f"job-{number}", ABE) / "state.yaml", text, tree)
    live(box, tree)


# Values that do not match their tag.
FALSE_TAGS = {
    "a bool that is none": "x: !!bool maybe",
    "a key that is a bool and none": "!!bool maybe: x",
    "an empty number": "x: !!int ''",
    "a number that is a sign": "x: !!int '+'",
    "a number of underscores": "x: !!int _",
    "an empty float": "x: !!float ''",
    "a number by its full name": "x: !<tag:yaml.org,2002:int> ''",
}


@on("A", "D")
def test_configs_with_false_tags_stop_no_other_job(box: Box, tree: Tree) -> None:
    """X11"""
    for name, text in FALSE_TAGS.items():
        tree.submit(name, ABE)
        append_to(tree.job_folder(name, ABE) / "config.yaml", text, tree)
    live(box, tree)


@on("D")
def test_states_with_false_tags_stop_no_other_job(box: Box, tree: ReviewTree) -> None:
    """X11"""
    for name, text in FALSE_TAGS.items():
        tree.submit(name, ABE)
        tree.approve(name, ABE)
        append_to(tree.results_folder(name, ABE) / "state.yaml", text, tree)
    live(box, tree)


# What a file can hold at the most.
LARGE = {
    "a huge flow sequence": in_the_cap("x: [", "a,", "]"),
    "a huge flow sequence of nothing": in_the_cap("x: [", "[],", "]"),
    "99,000 nodes": "x: [" + "a," * 99_000 + "]",
    "a very long key": in_the_cap("", "y", ": x"),
    "merges of nothing": "<<: {}\n" * 30_000,
    "a merge of many": "<<: [" + "{a: b}," * 20_000 + "]",
}


@on("A", "B4", "D")
def test_configs_of_the_largest_size_stop_no_other_job(box: Box, tree: Tree) -> None:
    """X11"""
    for number, text in enumerate(LARGE.values()):
        tree.submit(f"job-{number}", ABE)
        append_to(tree.job_folder(f"job-{number}", ABE) / "config.yaml", text, tree)
    live(box, tree, moments=[65])


# As costly as a small file can be: each takes time with the square of its length.
COSTLY = {
    "a number to the base of 60": in_the_cap("x: 1", ":1"),
    "numbers with one hash": "\n".join(f"{(2**61 - 1) * n:#x}:" for n in range(1, 11_000)),
}


@on("D")
@pytest.mark.parametrize("text", COSTLY.values(), ids=COSTLY.keys())
def test_config_costly_to_parse_stops_no_other_job(box: Box, tree: Tree, text: str) -> None:
    """X11"""
    tree.submit("job", ABE)
    path = tree.job_folder("job", ABE) / "config.yaml"
    keys = "name: job\nsubmitted_at: x\nfiles: []\n"
    tree.disk.write(path, keys + text[: CAP - len(keys)].rpartition("\n" if "\n" in text else ":")[0] + "\n")
    live(box, tree, moments=[65])


TYPES: list[Any] = [
    [1, ["x"], {}],
    {"a": {"b": [1]}},
    dt.date(2026, 11, 21),
    dt.datetime(2026, 11, 21, 10, 0, 0),  # noqa: DTZ001 - YAML has such
    -7,
    10**300,
    float("nan"),
    float("-inf"),
    True,
    None,
    b"\0\xff",
    {"only"},
    f"{EVIL}\x1b[31m\n\u202e",
]
CONFIG_KEYS = (
    *("name", "submitted_at", "submitted_by", "files", "type", "entry_point", "entrypoint", "code_path"),
    *("datasets", "dependencies", "headers", "is_folder_submission", "job_type", "version", "canonical_name"),
)
STATE_KEYS = (
    *("status", "approved_at", "approved_by", "rejected_at", "rejected_by", "completed_at", "received_at"),
    *("return_code", "review_reason", "rejection_reason", "approval_method", "version", "canonical_name"),
)


def wrong(keys: Sequence[str], shift: int) -> dict[str, Any]:
    """A type for each key; over all shifts each key has each type."""
    return {key: copy.deepcopy(TYPES[(number + shift) % len(TYPES)]) for number, key in enumerate(keys)}


@on(*LAYOUTS)
def test_configs_with_any_type_for_any_key_are_notified_once(box: Box, tree: Tree) -> None:
    """X11: every key with every type; the job is notified once."""
    names = [f"job-{shift}" for shift in range(len(TYPES))]
    for shift, name in enumerate(names):
        tree.submit(name, ABE, config=wrong(CONFIG_KEYS, shift))
    mails = live(box, tree)
    assert submissions(mails) == {tree.entity(name, ABE) for name in names} | {tree.entity(HONEST, BO)}


@on(*REVIEWED)
@pytest.mark.parametrize("status", ["rejected", "failed", "done", "running", ""])
def test_states_with_any_type_for_any_key_stop_no_other_job(box: Box, tree: ReviewTree, status: str) -> None:
    """X11: every key with every type, in states of every kind; without a status, each type is tried for it, too."""
    for shift in range(len(TYPES)):
        tree.submit(f"job-{shift}", ABE)
        tree.approve(f"job-{shift}", ABE)
        state = wrong(STATE_KEYS, shift)
        tree.set_state(f"job-{shift}", ABE, **{**state, "status": status or state["status"]})
    live(box, tree)


@on("A", "D")
def test_submission_time_without_an_order_is_notified_once(box: Box, tree: Tree) -> None:
    """X11: text from a set differs from one process to the next; an occurrence must not."""
    tree.submit("job", ABE, config={"submitted_at": {f"x{n}" for n in range(8)}})
    tree.submit(HONEST, BO)
    for seed in ("1", "2", "3"):
        box.env["PYTHONHASHSEED"] = seed
        box.notify("run", "--once", check=0)
    mails = [mail for mail in box.mails() if mail.event != "digest"]
    assert notified_to(OWNER, mails)["job_submitted", tree.entity(HONEST, BO)] <= 1
    assert notified_to(OWNER, mails)["job_submitted", tree.entity("job", ABE)] <= 1


MANY = {
    "as many as are allowed": "[" + "a," * 19_000 + "]",
    "100,000": "[" + "a," * 100_000 + "]",
    "each another one": "[" + ",".join(f"{n:x}" for n in range(19_000)) + "]",
    "no strings": "[" + "{},7,~,[]," * 3_000 + "]",
    "very long ones": json.dumps(["y" * 60_000] * 3),
}


@on("A", "C1", "D")
def test_lists_of_very_many_files_stop_no_other_job(box: Box, tree: Tree) -> None:
    """X11: whatever fits into a config.yaml."""
    for name, files in MANY.items():
        tree.submit(name, ABE)
        append_to(tree.job_folder(name, ABE) / "config.yaml", f"files: {files}", tree)
    mails = live(box, tree, moments=[65])
    assert {tree.entity(name, ABE) for name in MANY if name != "100,000"} <= submissions(mails)
    assert all(mail.path.stat().st_size < 200_000 for mail in mails)
