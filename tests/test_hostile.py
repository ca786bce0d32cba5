"""Hostile input, each kind of it in each layout, beside an honest job of somebody else (X11, G25).

Whatever a peer puts into the tree: no look breaks off, nothing is obeyed, nobody outside is mailed, nothing outside the
job is read, nothing is told twice, and the owner hears of the honest job. How long the worst looks take is measured by
`benchmarks/hostile.py`.
"""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import itertools
import json
import os
import shutil
import socket
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from syftnotify.sources.syftbox.scanner import JobScanner
from tests.support import BO, OWNER, Box, Clock, Mail, alias_bomb
from tests.trees import RUN_SH, TREES, Disk, ReviewTree, Tree

pytestmark = pytest.mark.fire

ABE = "abe@evil.example"  # the peer who means harm; sorts before everybody else
MAL = "mal@evil.example"  # another one
STRANGER = "victim@elsewhere.example"  # nobody's peer
SECRET = "the-key-of-the-owner"  # in files outside of any job
SECRET_CODE = "77417741"  # the same, as a return code
EVIL = "<b id=evil><script>alert(1)"
HONEST = "honest"

ALL = sorted(TREES)
FAMILIES = ["A", "B2", "B4", "C1", "D"]  # one of each way to lay a job down and to say whose it is
REVIEWED = ["C1", "C2", "D"]

FILES = 50_000  # in one folder
JOBS = {"A": 1_000, "D": 5_000}  # in one minute; what differs between the two needs no 5,000
CAP = 256 * 1024  # bytes that are read of a config.yaml


def on(*keys: str) -> pytest.MarkDecorator:
    """Run the test on these layouts."""
    return pytest.mark.parametrize("tree", keys, indirect=True)


@pytest.fixture
def tree(request: pytest.FixtureRequest, box: Box) -> Tree:
    """A tree in which both scientists are peers, and the first look is over."""
    return peaceful(TREES[request.param](Disk(box.root, box.clock.time)), box)


def peaceful(tree: Tree, box: Box) -> Tree:
    tree.disk.write(
        box.snapshot, json.dumps({"snapshot": {"peer_emails": [BO, ABE], "approved_peer_emails": [BO, ABE]}})
    )
    if tree.names_submitter:
        for peer in (ABE, BO):
            tree.grant(peer)
    box.look()
    assert box.mails() == []
    return tree


@pytest.fixture
def outside(box: Box) -> Path:
    """A folder beside the tree that is nobody's business."""
    folder = box.folder / "outside"
    folder.mkdir()
    return folder


# What must hold, whatever lies in the tree


class _Tags(HTMLParser):
    """Fails at every tag that is not of our own templates; without links configured they have none."""

    ours = (
        *("html", "head", "meta", "title", "style", "body"),
        *("div", "p", "h2", "table", "tbody", "tr", "th", "td", "pre"),
    )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.ours, f"<{tag} {attrs}>"
        assert not any(name.startswith("on") or value == "evil" for name, value in attrs)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


_HEADERS = {
    *("from", "to", "subject", "date", "message-id", "in-reply-to", "references", "mime-version", "content-type"),
    *("auto-submitted", "x-auto-response-suppress", "list-id"),
    *("x-syftnotify-event", "x-syftnotify-audience", "x-syftnotify-entity", "x-syftnotify-items"),
}
_SENT_ONCE = _HEADERS - {"x-syftnotify-entity"}
_WIRE = frozenset(b"\t\r\n") | frozenset(range(0x20, 0x7F))


def is_shown(text: str) -> bool:
    """Whether no character could be obeyed by a terminal, a mail program or an eye."""
    obeyed = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return not any(unicodedata.category(c) in obeyed and c not in "\n\t\u200c\u200d" for c in text)


def assert_harmless(mail: Mail, allowed: Iterable[str]) -> None:
    raw = mail.path.read_bytes()
    assert set(raw) <= _WIRE
    assert b"\r" not in raw.replace(b"\r\n", b"\n")
    names = Counter(name.lower() for name in mail.message)
    assert set(names) <= _HEADERS
    assert all(names[name] == 1 for name in names.keys() & _SENT_ONCE)
    assert mail.to in set(allowed)
    for value in (*map(str, mail.message.values()), *(body.replace("\r\n", "\n") for body in (mail.text, mail.html))):
        assert is_shown(value)
        assert SECRET not in value
        assert SECRET_CODE not in value
    tags = _Tags()
    tags.feed(mail.html)
    tags.close()


def assert_peace(box: Box, tree: Tree, *, also: Iterable[str] = ()) -> list[Mail]:
    """Every mail is harmless and came once, the honest job was told, no secret left its place; returns all mails."""
    allowed = {OWNER, ABE, BO, *also}
    mails = box.mails()
    for mail in mails:
        assert_harmless(mail, allowed)
    told = told_to(OWNER, mails)
    assert told["job_submitted", tree.entity(HONEST, BO)] == 1
    assert told_to(BO, mails)["job_submitted", tree.entity(HONEST, BO)] == 1
    repeated = Counter((mail.event, mail.to, *mail.entities, "cannot be read" in mail.text) for mail in mails)
    assert not repeated or max(repeated.values()) == 1
    assert {entity for _, entity in told_to(BO, mails)} == {tree.entity(HONEST, BO)}
    for path in (path for path in box.home.root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert SECRET_CODE.encode() not in content, path
    return mails


def told_to(recipient: str, mails: Sequence[Mail]) -> Counter[tuple[str, str]]:
    """What a recipient was told, singly or in a digest: (event, entity)."""
    return Counter((mail.event, entity) for mail in mails if mail.to == recipient for entity in mail.entities)


# While files are fresh, when nothing is waited for any more, and after ten minutes.
MOMENTS = (1, 65, 700)


def live(box: Box, tree: Tree, *, also: Iterable[str] = (), moments: Sequence[int] = MOMENTS) -> list[Mail]:
    """An honest job comes too, and it is looked so many seconds after one another."""
    tree.submit(HONEST, BO)
    for seconds in moments:
        box.clock.advance(seconds)
        box.look()
    return assert_peace(box, tree, also=also)


def submissions(mails: Sequence[Mail]) -> set[str]:
    """The entities of which the owner was told that they came."""
    return {entity for event, entity in told_to(OWNER, mails) if event == "job_submitted"}


# Names


NAMES = {
    "newline": f"a\nBcc: {STRANGER}\n\n{EVIL}",
    "carriage return": f"a\r\nBcc: {STRANGER}\r\n\r\nx",
    "ansi": "\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b31m\x1bc",
    "osc 8": "\x1b]8;;https:evil.example\x1b\\link\x1b]8;;\x1b\\",
    "rich markup": "[red]markup[link=evil]x[/]".replace("/", "\\"),
    "html": f"{EVIL}<img src=x onerror=evil>&amp;<!--",
    "right to left": "\u202egpj.exe\u2066\u200f",
    "255 bytes": "n" * 255,
    "255 bytes, wide": "é" * 127 + "n",
    "255 bytes, wider": "😀" * 63 + "nnn",
    "leading dash": "-rf",
    "an option": "--home=evil",
    "v1": "v1",
    "three dots": "...",
    "dots and blanks": ".. ",
    "backward": "..\\..\\x",
    "trailing": "name. . ",
    "a blank": " ",
    "not utf-8": os.fsdecode(b"caf\xe9\xff\xfe\x80"),
    "encoded word": "=?utf-8?q?a=0ABcc:_victim?= =?utf-8?b?CkJjYzogeA==?=",
    "a device": "CON",
    "a stage": "inbox",
    "a marker": "done",
    "placeholders": "{job}{0.__class__}%(name)s${x}{{ 7 * 7 }}",
}


def lived(box: Box, tree: Tree, names: Iterable[str]) -> list[Mail]:
    """Each of the jobs comes, is approved and fails, beside an honest one."""
    for name in names:
        tree.submit(name, ABE, config={"name": EVIL, "submitted_by": ABE})
    tree.submit(HONEST, BO)
    box.clock.advance(10)
    box.look()
    for name in names:
        tree.approve(name, ABE)
        tree.run(name, ABE, code=3, stderr=f"{EVIL}\x1b[31m\u202e\x9b")
    for seconds in (10, 70):
        box.clock.advance(seconds)
        box.look()
    return assert_peace(box, tree)


@on(*FAMILIES)
def test_a_hostile_name_is_shown_through_the_life_of_its_job(box: Box, tree: Tree) -> None:
    """X11: it stands in every kind of message that a job can cause."""
    mails = lived(box, tree, NAMES.values())
    told = told_to(OWNER, mails)
    jobs = {tree.entity(name, ABE) for name in NAMES.values()}
    assert {entity for event, entity in told if event == "job_failed"} == jobs
    assert submissions(mails) == {*jobs, tree.entity(HONEST, BO)}


@on(*ALL)
@pytest.mark.parametrize("name", [STRANGER, f"=?utf-8?q?a=0ABcc:_{STRANGER}?="], ids=["plain", "encoded"])
def test_a_job_named_after_a_stranger_mails_no_stranger(box: Box, tree: Tree, name: str) -> None:
    """X11: a folder that is called like an address is a scientist's only where a scientist's folder stands."""
    lived(box, tree, [name])


SUBMITTERS = {
    "newline": f"{ABE}\nBcc: {STRANGER}",
    "two": f"{STRANGER}, {BO}",
    "two with a semicolon": f"{ABE};{STRANGER}",
    "a blank behind": f"{STRANGER} ",
    "in brackets": f"<{STRANGER}>",
    "with a name": f"Victim <{STRANGER}>",
    "quoted": f'"{STRANGER}"',
    "html": f"{EVIL}@x.example",
    "ansi": "\x1b[31m@x.example",
    "right to left": "\u202eabe@x.example",
    "encoded word": "=?utf-8?q?a=0ABcc:_x?=@x.example",
    "255 bytes": "a" * 245 + "@x.example",
    "wide": "é" * 122 + "@x.example",
    "leading dash": "-rf@x.example",
    "leading dot": ".abe@x.example",
    "dots": "..@..",
    "not utf-8": os.fsdecode(b"caf\xe9@x.example"),
    "only a sign": "@",
}


@on("B4", *REVIEWED)
def test_a_hostile_submitters_folder_is_shown_and_mailed_only_as_one_plain_address(box: Box, tree: Tree) -> None:
    """X11: the name of that folder becomes a recipient; it is one bare address or nobody's."""
    for folder in SUBMITTERS.values():
        tree.submit("job", folder)
    plain = {SUBMITTERS["leading dash"]}
    mails = live(box, tree, also=plain)
    assert {mail.to for mail in mails} <= {OWNER, BO, *plain}
    assert tree.entity("job", SUBMITTERS["with a name"]) in submissions(mails)


# Claims


CLAIMS: dict[str, Any] = {
    "a stranger": STRANGER,
    "a stranger in capitals": STRANGER.upper(),
    "a header": f"{BO}\nBcc: {STRANGER}",
    "a header with a carriage return": f"{BO}\r\nBcc: {STRANGER}\r\n\r\nhello",
    "a line end": f"{BO}\n",
    "two": f"{BO}, {STRANGER}",
    "two with a semicolon": f"{BO};{STRANGER}",
    "two with a blank": f"{BO} {STRANGER}",
    "a list": [BO, STRANGER],
    "a mapping": {BO: STRANGER},
    "in brackets": f"<{BO}>",
    "with a name": f"{BO} <{STRANGER}>",
    "a group": f"all: {BO}, {STRANGER};",
    "a comment": f"{BO}({STRANGER})",
    "quoted": f'"{BO}"@elsewhere.example',
    "a route": f"@elsewhere.example:{BO}",
    "a percent": f"victim%elsewhere.example@{BO}",
    "a link": f"mailto:{BO}?bcc={STRANGER}",
    "encoded word": f"=?utf-8?q?{STRANGER}?=",
    "encoded line end": f"=?utf-8?q?{BO}=0ABcc:_{STRANGER}?=",
    "wide letters": "\uff42\uff4f@lab.example",
    "ansi": f"\x1b[31m{BO}\x1b]0;x\x07",
    "rich markup": f"[/red][link=evil]{BO}[/]",
    "html": f"{EVIL}@x.example",
    "right to left": f"\u202e{BO}",
    "nul": f"{BO}\0",
    "one very long": "a" * 200_000 + "@x.example",
    "very many": ", ".join([BO, STRANGER] * 4_000),
    "a number": 7,
    "nobody": None,
}


@on("A", "B1", "B2", "B3", "B4", "D")
def test_what_a_job_claims_of_its_submitter_mails_nobody(box: Box, tree: Tree) -> None:
    """X11: in a claim one bare address of a peer counts, and nothing else; the owner sees each claim as it stands."""
    for number, claim in enumerate(CLAIMS.values()):
        tree.submit(f"job-{number}", ABE, config={"submitted_by": claim})
    mails = live(box, tree)
    assert submissions(mails) == {tree.entity(f"job-{n}", ABE) for n in range(len(CLAIMS))} | {tree.entity(HONEST, BO)}


# Files that are none


def a_pipe(path: Path, _kept: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path, _kept: Path) -> None:
    # By its short name: an address of a socket has no room for a long path.
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


def a_link_outside(path: Path, kept: Path) -> None:
    path.symlink_to(os.path.relpath(kept, path.parent))


def a_link_to_endless_bytes(path: Path, _kept: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_to_itself(path: Path, _kept: Path) -> None:
    path.symlink_to(path.name)


def a_link_to_a_folder(path: Path, kept: Path) -> None:
    path.symlink_to(kept.parent)


def a_folder(path: Path, kept: Path) -> None:
    """With files in it that the reader knows by name."""
    path.mkdir()
    for name in ("config.yaml", "state.yaml", "run.sh", "main.py", "stderr.txt"):
        (path / name).write_text("name: x\n")


INSTEAD = [
    a_pipe,
    a_socket,
    a_link_outside,
    a_link_to_endless_bytes,
    a_link_to_itself,
    a_link_to_a_folder,
    a_folder,
]


def victims(tree: Tree) -> dict[str, Path]:
    """For each thing that can be replaced, a job named after it, and the thing's path; all of them ended badly."""
    is_reviewed = isinstance(tree, ReviewTree)
    code = "code" if is_reviewed else "lib"
    below = {"config": "config.yaml", "run": "run.sh", "code-file": f"{code}/main.py", "code-folder": code, "job": ""}
    after = {"returncode": "returncode.txt", "stderr": "stderr.txt", "stdout": "stdout.txt"}
    if is_reviewed:
        after |= {"state": "state.yaml", "results": ""}
    elif tree.layout != "A":
        dot = getattr(tree, "dot", "")
        after |= {"approved": f"{dot}approved", "done": f"{dot}done"}
    for name in (*below, *after):
        tree.submit(name, ABE, files={"main.py" if is_reviewed else "lib/main.py": "print(1)\n"})
    for name in after:
        tree.approve(name, ABE)
        tree.run(name, ABE, code=-1, stderr="half\n", stdout="half\n")
    paths = {name: tree.place(name, ABE) / path for name, path in below.items()}
    return paths | {name: tree.results(name, ABE) / path for name, path in after.items()}


def with_secrets(path: Path) -> None:
    """Make what lies outside now worth reading: whoever follows a link to it tells a secret."""
    if path.is_dir():
        for inner in path.iterdir():
            with_secrets(inner)
    elif path.name == "config.yaml":
        claims = dict.fromkeys(("name", "submitted_at", "entry_point", "entrypoint", "code_path"), SECRET)
        path.write_text(yaml.safe_dump({**claims, "submitted_by": f"{SECRET}@x.example", "files": ["main.py", SECRET]}))
    elif path.name == "state.yaml":
        why = dict.fromkeys(("rejected_at", "review_reason", "rejection_reason"), SECRET)
        path.write_text(yaml.safe_dump({"status": "rejected", **why}))
    elif path.name == "returncode.txt":
        path.write_text(SECRET_CODE)
    else:
        path.write_text(f"{SECRET}\n--- PROCESS TIMED OUT ---\n")


def replace(tree: Tree, path: Path, instead: Callable[[Path, Path], None], outside: Path) -> None:
    kept = outside / str(len(list(outside.iterdir()))) / path.name
    kept.parent.mkdir()
    shutil.move(path, kept)
    with_secrets(kept)
    instead(path, kept)
    tree.disk.stamp(path, path.parent)


@on(*ALL)
@pytest.mark.parametrize("instead", INSTEAD, ids=lambda instead: instead.__name__)
def test_what_is_no_file_in_the_place_of_one_is_never_read(
    box: Box, tree: Tree, outside: Path, instead: Callable[[Path, Path], None]
) -> None:
    """X11: regular files only, no link followed, nothing waited for; wherever it stands."""
    paths = victims(tree)
    for path in paths.values():
        replace(tree, path, instead, outside)
    if tree.names_submitter:
        tree.submit("whole", MAL)
        inbox = tree.base / "inbox" if isinstance(tree, ReviewTree) else tree.base
        replace(tree, inbox / MAL, instead, outside)
    mails = live(box, tree, also={MAL} if instead is a_folder else ())  # which is a scientist's all the same
    told = submissions(mails)
    assert tree.entity("whole", MAL) not in told
    assert tree.entity("config", ABE) in told, "A1: the owner is notified that it waits and cannot be read"
    if instead is not a_folder:  # which holds a config.yaml, and so is a job
        assert tree.entity("job", ABE) not in told
    assert {tree.entity(name, ABE) for name in ("run", "code-file", "code-folder", "stdout")} <= told


@on(*FAMILIES)
@pytest.mark.parametrize("instead", [a_pipe, a_socket, a_link_outside], ids=lambda instead: instead.__name__)
def test_what_turns_into_no_file_later_is_never_read(
    box: Box, tree: Tree, outside: Path, instead: Callable[[Path, Path], None]
) -> None:
    """X11: what was believed once is not trusted for ever."""
    paths = victims(tree)
    for _ in range(2):
        box.clock.advance(10)
        box.look()
    before = len(box.mails())
    assert before > 0
    for path in paths.values():
        replace(tree, path, instead, outside)
    mails = live(box, tree)
    news = [mail for mail in mails[before:] if mail.event == "job_submitted"]
    honest, unreadable = tree.entity(HONEST, BO), tree.entity("config", ABE)
    assert {entity for mail in news for entity in mail.entities} == {honest, unreadable}


# YAML that is built to hurt


def in_the_cap(head: str, unit: str, tail: str = "") -> str:
    """`head`, then as many `unit`s as fit into what is read of a file, then `tail`."""
    return head + unit * ((CAP - len(head) - len(tail)) // len(unit)) + tail


# Each follows the keys that a config.yaml has, so that nothing but itself is wrong with it.
YAMLS = {
    "an alias bomb": alias_bomb(),
    "an alias to what holds it": "x: &a [*a]",
    "aliases that merge": "x: &a {b: 1}\ny: {<<: [" + "*a, " * 1_000 + "*a]}",
    "nested 100,000 deep": "x: " + "[" * 100_000 + "]" * 100_000,
    "nested 100,000 deep in blocks": "x:\n" + "- " * 100_000 + "y",
    "nested 60,000 keys deep": "x:\n" + "? " * 60_000 + "y",
    "nested 500 deep in blocks": "x:\n " + "-  " * 250 + "y",
    "nested 400 deep in two ways": "x:\n " + "? - " * 200 + "y",
    "a very long scalar": in_the_cap("x: ", "y"),
    "a very long scalar of many lines": in_the_cap("x: >\n", " y\n"),
    "many comments": in_the_cap("x: y\n", "#\n"),
    "a merge of a scalar": "<<: 3",
    "a merge of what is none": "<<: [3, [4]]",
    "a default key": "=: x\ny: =",
    "a float that is a word": "x: !!float word",
    "a time that is none": "x: !!timestamp word",
    "a date that is none": "x: 2026-99-99",
    "a time zone that is none": "x: 2026-01-01 10:00:00 +99:99",
    "a time before all times": "submitted_at: 0001-01-01 00:00:00 +23:59",
    "a time after all times": "submitted_at: 9999-12-31 23:59:59 -23:59",
    "bytes that are none": "x: !!binary 'ü'",
    "an order that is none": "x: !!omap [y]",
    "pairs that are none": "x: !!pairs [y]",
    "a set": "x: !!set {a, b}",
    "a list for a key": "? [a]\n: b",
    "a mapping for a key": "? {a: b}\n: c",
    "not a number for a key": ".nan: a\n.NaN: b",
    "the same key twice": "type: a\ntype: b",
    "a python object": "x: !!python/object/apply:os.system ['true']",
    "a number of 5,000 digits": "x: " + "7" * 5_000,
    "a number of 100,000 hexadecimal digits": "submitted_at: 0x" + "f" * 100_000,
    "a nul": "x: a\0b",
    "a nul that is written out": 'x: "a\\0b"',
    "only nuls behind": "\0" * 1_000,
    "half a character": 'x: "\\ud800"',
    "a mark in the middle": "x: a\ufeffb",
    "another document": "---\nx: y",
    "an unknown directive": "...\n%EVIL x\n---\nx: y",
    "tabs": "\tx: y",
}


def append_to(path: Path, text: str, tree: Tree) -> None:
    keys = {key: value for key, value in yaml.safe_load(path.read_text()).items() if f"{key}:" not in text}
    tree.disk.write(path, (yaml.safe_dump(keys) + text + "\n").encode("utf-8", "surrogatepass"))


@on(*FAMILIES)
def test_configs_that_are_built_to_hurt_hurt_nobody(box: Box, tree: Tree) -> None:
    """X11: whatever stands in one config.yaml, the next one is read."""
    for number, text in enumerate(YAMLS.values()):
        tree.submit(f"job-{number}", ABE)
        append_to(tree.place(f"job-{number}", ABE) / "config.yaml", text, tree)
    live(box, tree)


@on("C1", "D")
def test_states_that_are_built_to_hurt_hurt_nobody(box: Box, tree: ReviewTree) -> None:
    """X11: a peer can bring about a state.yaml of the owner's, too."""
    for number, text in enumerate(YAMLS.values()):
        tree.submit(f"job-{number}", ABE)
        tree.approve(f"job-{number}", ABE)
        append_to(tree.results(f"job-{number}", ABE) / "state.yaml", text, tree)
    live(box, tree)


# Values that are not what their tag says.
UNTRUE = {
    "a bool that is none": "x: !!bool maybe",
    "a key that is a bool and none": "!!bool maybe: x",
    "an empty number": "x: !!int ''",
    "a number that is a sign": "x: !!int '+'",
    "a number of underscores": "x: !!int _",
    "an empty float": "x: !!float ''",
    "a number by its full name": "x: !<tag:yaml.org,2002:int> ''",
}


@on("A", "D")
@pytest.mark.parametrize("text", UNTRUE.values(), ids=UNTRUE.keys())
def test_a_config_whose_tags_are_untrue_hurts_nobody(box: Box, tree: Tree, text: str) -> None:
    """X11"""
    tree.submit("job", ABE)
    append_to(tree.place("job", ABE) / "config.yaml", text, tree)
    live(box, tree)


@on("D")
@pytest.mark.parametrize("text", UNTRUE.values(), ids=UNTRUE.keys())
def test_a_state_whose_tags_are_untrue_hurts_nobody(box: Box, tree: ReviewTree, text: str) -> None:
    """X11"""
    tree.submit("job", ABE)
    tree.approve("job", ABE)
    append_to(tree.results("job", ABE) / "state.yaml", text, tree)
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
def test_configs_that_are_as_large_as_they_may_be_hurt_nobody(box: Box, tree: Tree) -> None:
    """X11"""
    for number, text in enumerate(LARGE.values()):
        tree.submit(f"job-{number}", ABE)
        append_to(tree.place(f"job-{number}", ABE) / "config.yaml", text, tree)
    live(box, tree, moments=[65])


# As costly as a small file can be: each takes time with the square of its length.
COSTLY = {
    "a number to the base of 60": in_the_cap("x: 1", ":1"),
    "numbers with one hash": "\n".join(f"{(2**61 - 1) * n:#x}:" for n in range(1, 11_000)),
}


@on("D")
@pytest.mark.parametrize("text", COSTLY.values(), ids=COSTLY.keys())
def test_a_config_that_is_costly_to_read_hurts_nobody(box: Box, tree: Tree, text: str) -> None:
    """X11"""
    tree.submit("job", ABE)
    path = tree.place("job", ABE) / "config.yaml"
    keys = "name: job\nsubmitted_at: x\nfiles: []\n"
    tree.disk.write(path, keys + text[: CAP - len(keys)].rpartition("\n" if "\n" in text else ":")[0] + "\n")
    live(box, tree, moments=[65])


@on(*ALL)
def test_files_of_100_megabytes_hurt_nobody(box: Box, tree: Tree) -> None:
    """X11: sizes are capped, whatever a file begins with."""
    for path in victims(tree).values():
        if path.is_file():
            os.truncate(path, 100 << 20)
    live(box, tree)
    assert sum(each.stat().st_size for each in box.home.root.rglob("*") if each.is_file()) < 10 << 20


# Wrong types


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


@on(*ALL)
def test_wrong_types_in_a_config_stop_nobody(box: Box, tree: Tree) -> None:
    """X11: every key with every type; the job is told all the same, once."""
    names = [f"job-{shift}" for shift in range(len(TYPES))]
    for shift, name in enumerate(names):
        tree.submit(name, ABE, config=wrong(CONFIG_KEYS, shift))
    mails = live(box, tree)
    assert submissions(mails) == {tree.entity(name, ABE) for name in names} | {tree.entity(HONEST, BO)}


@on(*REVIEWED)
@pytest.mark.parametrize("status", ["rejected", "failed", "done", "running", ""])
def test_wrong_types_in_a_state_stop_nobody(box: Box, tree: ReviewTree, status: str) -> None:
    """X11: every key with every type, in states of every kind; without one, every type is tried for that, too."""
    for shift in range(len(TYPES)):
        tree.submit(f"job-{shift}", ABE)
        tree.approve(f"job-{shift}", ABE)
        state = wrong(STATE_KEYS, shift)
        tree.set_state(f"job-{shift}", ABE, **{**state, "status": status or state["status"]})
    live(box, tree)


@on("A", "D")
def test_a_time_that_has_no_order_is_told_once_by_every_process(box: Box, tree: Tree) -> None:
    """X11: text from a set differs from one process to the next; what names a fact must not."""
    tree.submit("job", ABE, config={"submitted_at": {f"x{n}" for n in range(8)}})
    tree.submit(HONEST, BO)
    for seed in ("1", "2", "3"):
        box.env["PYTHONHASHSEED"] = seed
        box.notify("run", "--once", check=0)
    mails = [mail for mail in box.mails() if mail.event != "digest"]
    assert told_to(OWNER, mails)["job_submitted", tree.entity(HONEST, BO)] <= 1
    assert told_to(OWNER, mails)["job_submitted", tree.entity("job", ABE)] <= 1


# What a job says belongs to it


@on("A", "B2", "B4", "C1", "D")
def test_no_name_of_a_file_leads_out_of_its_job(box: Box, tree: Tree, outside: Path) -> None:
    """X11: only names inside the job are opened."""
    (outside / "x").write_text(SECRET)
    neighbour = tree.place("neighbour", ABE)
    for folder in (neighbour, *neighbour.parents):
        if folder.is_relative_to(box.root):
            tree.disk.write(folder / "x", SECRET)
    names = [*(f"{'../' * n}x" for n in range(1, 12)), *(f"{'../' * n}outside/x" for n in range(1, 12))]
    names += [str(outside / "x"), f"/{outside}/x", f"file://{outside}/x", "~/x", "..\\x", "./x", "a/../../x"]
    names += ["../neighbour/x", "../../neighbour/x", "code/../../x", "x\0", "/", "//", "..", ".", "", "x/", "x\n../x"]
    jobs = {"all": {"files": names, "code_path": str(outside), "entry_point": "x"}}
    if tree.layout not in {"C", "D"}:
        jobs |= {f"entry-{n}": {"entry_point": name, "code_path": name} for n, name in enumerate(names)}
        jobs |= {f"path-{n}": {"entry_point": "x", "code_path": name} for n, name in enumerate(names)}
    for name, config in jobs.items():
        tree.submit(name, ABE, config=config)
    mails = live(box, tree)
    assert {tree.entity(name, ABE) for name in jobs} <= submissions(mails)


MANY = {
    "as many as are allowed": "[" + "a," * 19_000 + "]",
    "100,000": "[" + "a," * 100_000 + "]",
    "each another one": "[" + ",".join(f"{n:x}" for n in range(19_000)) + "]",
    "no strings": "[" + "{},7,~,[]," * 3_000 + "]",
    "very long ones": json.dumps(["y" * 60_000] * 3),
}


@on("A", "C1", "D")
def test_lists_of_very_many_files_stop_nobody(box: Box, tree: Tree) -> None:
    """X11: whatever fits into a config.yaml."""
    for name, files in MANY.items():
        tree.submit(name, ABE)
        append_to(tree.place(name, ABE) / "config.yaml", f"files: {files}", tree)
    mails = live(box, tree, moments=[65])
    assert {tree.entity(name, ABE) for name in MANY if name != "100,000"} <= submissions(mails)
    assert all(mail.path.stat().st_size < 200_000 for mail in mails)


# Very much of it


@pytest.mark.parametrize(
    ("tree", "where"),
    [("A", ""), ("B4", ""), ("D", ""), ("D", "code")],
    indirect=["tree"],
    ids=["A", "B4", "D", "D, code"],
)
def test_a_folder_of_50_000_files_stops_nobody(box: Box, tree: Tree, where: str) -> None:
    """X11"""
    tree.submit("job", ABE)
    folder = tree.place("job", ABE) / where
    for number in range(FILES):
        os.close(os.open(folder / f"file-{number}", os.O_WRONLY | os.O_CREAT, 0o600))
    tree.disk.stamp(folder)
    mails = live(box, tree)
    assert tree.entity("job", ABE) in submissions(mails)
    assert all(mail.path.stat().st_size < 200_000 for mail in mails)
    shutil.rmtree(folder)  # else pytest keeps three of them


def grown(box: Box) -> int:
    """Bytes of the outbox, its log included."""
    return sum(path.stat().st_size for path in box.home.root.glob("outbox.db*"))


@on("A", "B2", "D")
def test_a_name_that_is_very_long_fills_no_disk(box: Box, tree: Tree) -> None:
    """X11: what a message cannot show is not kept: 5,000 such jobs would be a gigabyte."""
    before = grown(box)
    for number in range(10):
        tree.submit(f"job-{number}", ABE, config={"submitted_by": "y" * 250_000})
    live(box, tree, moments=[65])
    assert grown(box) - before < 1_000_000


@on("D")
@pytest.mark.parametrize("letter", ["😀", "\x1b"], ids=["wide", "obeyed"])
def test_code_of_many_bytes_fills_no_disk(box: Box, tree: Tree, letter: str) -> None:
    """X11: the code of 200 jobs by one peer is kept, which must stay below 100 MB together."""
    before = grown(box)
    code = letter * (51_200 // len(letter.encode()))
    tree.submit("job", ABE, files={f"file-{number}.py": code for number in range(10)})
    live(box, tree, moments=[65])
    assert grown(box) - before < 100_000_000 // 200


def submit_quickly(tree: Tree, name: str) -> None:
    """Less than `tree.submit` does, and enough for these layouts."""
    folder = tree.place(name, ABE)
    os.makedirs(folder)
    config = f"name: {name}\nsubmitted_at: {name}\nsubmitted_by: {ABE}\nfiles: []\n"
    for file, text in (("run.sh", RUN_SH), ("config.yaml", config)):
        (folder / file).write_text(text)


@dataclass
class Flood:
    """Thousands of jobs by one peer in one minute; somebody honest sends one in the middle of it."""

    box: Box
    tree: Tree
    batches: int = 5
    every: float = 12.0  # seconds
    began: float = 0.0
    events: list[int] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [f"a-{number:04}" for number in range(JOBS[self.tree.layout])]

    def come(self) -> None:
        self.began = self.box.clock.now
        for batch in range(self.batches):
            for name in self.names[batch :: self.batches]:
                submit_quickly(self.tree, name)
            self.tree.disk.stamp(self.tree.place(self.names[0], ABE).parent)
            if batch == self.batches // 2:
                self.tree.submit(HONEST, BO)
            self.box.clock.advance(self.every)
            self.events.append(len(self.box.look().events))

    def go_on(self) -> None:
        """Scan every minute until every event is noticed: at most 100 a minute of one submitter are."""
        while sum(self.events) <= len(self.names):
            self.box.clock.advance(60)
            self.events.append(len(self.box.look().events))
            assert self.events[-1], "some event is noticed in each minute"

    def entities(self) -> set[str]:
        return {self.tree.entity(name, ABE) for name in self.names}


@on("A", "D")
def test_thousands_of_jobs_in_a_minute_drown_nobody(box: Box, tree: Tree) -> None:
    """X11, X12: at most 200 single messages in ten minutes and one digest, the honest job first in it; none is lost."""
    flood = Flood(box, tree)
    flood.come()
    honest = tree.entity(HONEST, BO)
    assert max(flood.events) <= 101, "100 of one submitter in a scan of a new process, and the honest one"

    owners = [mail for mail in box.mails() if mail.to == OWNER]
    assert len([mail for mail in owners if mail.event != "digest"]) <= 200
    assert len([mail for mail in owners if mail.event == "digest"]) <= 1
    flood.go_on()
    assert sum(flood.events) == len(flood.names) + 1, "each is noticed once"
    spans = 1 + (box.clock.now - flood.began) // 600  # of ten minutes

    for _ in range(3):
        box.clock.advance(600)
        assert box.look().events == []
    assert grown(box) < 100_000_000
    mails = box.mails()
    for mail in mails:
        assert_harmless(mail, {OWNER, ABE, BO})
    owners = [mail for mail in mails if mail.to == OWNER]
    assert len([mail for mail in owners if mail.event != "digest"]) <= 200 * spans
    assert len([mail for mail in owners if mail.event == "digest"]) <= spans + 3, "one in ten minutes"
    assert_each_is_told_once(owners, [*flood.entities(), honest])
    with_honest = next(mail for mail in owners if honest in mail.entities)
    assert with_honest.entities[0] == honest
    first = next(line for line in with_honest.text.splitlines() if "Job" in line or "job" in line)
    assert HONEST in first
    assert BO in first

    assert Counter(entity for mail in mails if mail.to == BO for entity in mail.entities) == Counter([honest])
    to_abe = [mail for mail in mails if mail.to == ABE]
    assert_each_is_told_once(to_abe, flood.entities())
    assert len(to_abe) <= (200 + 1) * spans + 3
    parts = box.parts()
    try:
        assert parts.outbox.history.counts().waiting == 0
    finally:
        parts.close()


def assert_each_is_told_once(mails: list[Mail], entities: Collection[str]) -> None:
    """A digest names in its headers what a mail has room for, and says how many there are."""
    named = Counter(entity for mail in mails for entity in mail.entities)
    assert set(named) <= set(entities)
    assert max(named.values()) == 1
    assert sum(int(mail.message.get("X-SyftNotify-Items", "1")) for mail in mails) == len(entities)


@on("A", "D")
def test_what_one_look_had_no_time_for_is_read_before_the_same_again(box: Box, tree: Tree) -> None:
    """X11: submissions that change before every look are read at every look; behind them nobody waits for ever."""
    restless = [f"a-{number:02}" for number in range(20)]
    for name in restless:
        tree.submit(name, ABE)
    honest = [HONEST] if tree.layout == "A" else [f"{HONEST}-{number:02}" for number in range(25)]
    for name in honest:
        tree.submit(name, BO)
    ticks = itertools.count()  # each time that it is asked a tenth of a second has gone by
    reader = JobScanner(box.root, OWNER, clock=box.clock.time, monotonic=lambda: next(ticks) / 10)
    seen: set[str] = set()
    for _ in range(30):
        box.clock.advance(1)
        tree.disk.stamp(*(tree.place(name, ABE) / "config.yaml" for name in restless))
        look = reader.scan(seconds=1.0)
        reader.accept()
        seen |= {job.entity for job in look.jobs if job.facts}
    assert seen >= {tree.entity(name, BO) for name in honest}


@pytest.mark.parametrize(("count", "name"), [(1_000, "é" * 125), (5_100, "job")], ids=["long names", "many"])
def test_the_digest_of_a_flood_is_a_mail_that_gmail_takes(box: Box, count: int, name: str) -> None:
    """X11: what is refused for its size would take the honest job in it along.

    Limits: https://support.google.com/a/answer/14016360
    """
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.submit(HONEST, BO)
    for number in range(count):
        submit_quickly(tree, f"{number:04}-{name}")
    box.clock.advance(10)
    box.look()
    mails = box.mails()
    assert [mail.message["X-SyftNotify-Items"] for mail in mails] == [str(count + 1)]
    assert tree.entity(HONEST, BO) in mails[0].entities
    assert HONEST in mails[0].text
    for mail in mails:
        fields = [(key, str(value)) for key, value in mail.message.items()]
        assert len(fields) < 5_000
        assert sum(len(key) + len(value) + 4 for key, value in fields) < 500_000
        assert all(len(value) < 32_000 for _, value in fields)


# The commands


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
    """Everything above that costs little, at once, and the honest job."""
    for name in NAMES.values():
        tree.submit(name, ABE)
    for number, claim in enumerate(CLAIMS.values()):
        tree.submit(f"claim-{number}", ABE, config={"submitted_by": claim})
    for number, text in enumerate(YAMLS.values()):
        tree.submit(f"yaml-{number}", ABE)
        append_to(tree.place(f"yaml-{number}", ABE) / "config.yaml", text, tree)
    kinds = iter([a_pipe, a_socket, a_link_outside, a_link_to_itself, a_link_to_endless_bytes] * 3)
    for path in victims(tree).values():
        replace(tree, path, next(kinds), outside)
    tree.submit(HONEST, BO)


@pytest.mark.parametrize("layout", ["A", "D"])
def test_the_commands_show_nothing_that_a_terminal_obeys(now: Box, tmp_path: Path, layout: str) -> None:
    """X11, S16: `notify run`, `status` and `logs` over a tree of everything hostile."""
    box, tree = now, TREES[layout](Disk(now.root, now.clock.time))
    outside = tmp_path / "outside"
    outside.mkdir()
    tree.disk.write(box.snapshot, json.dumps({"snapshot": {"approved_peer_emails": [BO, ABE]}}))
    box.notify("run", "--once", check=0)
    zoo(box, tree, outside)
    said = [
        box.notify("run", "--dry-run", check=0),
        *(box.notify("run", "--once", check=0) for _ in range(4)),  # at most 100 events of one submitter in each
        box.notify("run", "--once", check=0),
        box.notify("status"),
        box.notify("status", "--json"),
        box.notify("logs", "-n", "5000", check=0),
        box.notify("logs", "--json", check=0),
    ]
    for done in said:
        assert is_shown(done.stdout + done.stderr), done.args
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    rehearsal, *_, first, second, status, as_json, lines, _ = said
    assert tree.entity(HONEST, BO) in rehearsal.stdout
    assert "0 waiting, 0 dead" in first.stdout
    assert "0 new events" in second.stdout
    assert "0 waiting, 0 dead" in status.stdout
    assert not json.loads(as_json.stdout)["last_error"]
    assert f"noticed job_submitted {tree.entity(HONEST, BO)}" in lines.stdout
    log = box.home.log.read_bytes()
    assert is_shown(log.decode("utf-8"))
    assert all(line[:4].isdigit() for line in log.decode("utf-8").splitlines())
    assert_peace(box, tree)
