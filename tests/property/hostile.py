"""Hostile trees, each kind of input beside an honest job of somebody else, and what must hold of them (X11, G25).

Whatever a peer puts into the tree: no scan fails, nothing is interpreted, nobody outside is mailed, nothing outside the
job is read, nothing is sent twice, and the owner is notified of the honest job. `benchmarks/hostile.py` measures how
long the worst scans take.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.harmless import SECRET, SECRET_CODE, assert_harmless
from tests.support import BO, OWNER, Box, Mail, alias_bomb
from tests.trees import RUN_SH, TREES, MarkerTree, ReviewTree, Tree

ABE = "abe@evil.example"  # the hostile peer; sorts before all others
MAL = "mal@evil.example"  # another one
STRANGER = "victim@elsewhere.example"  # nobody's peer
EVIL = "<b id=evil><script>alert(1)"
HONEST = "honest"

LAYOUTS = sorted(TREES)
FAMILIES = ["A", "B2", "B4", "C1", "D"]  # one of each family
REVIEWED = ["C1", "C2", "D"]


CAP = 256 * 1024  # bytes that are read of a config.yaml


def peaceful(tree: Tree, box: Box) -> Tree:
    tree.disk.write(
        box.snapshot, json.dumps({"snapshot": {"peer_emails": [BO, ABE], "approved_peer_emails": [BO, ABE]}})
    )
    if tree.names_submitter:
        for peer in (ABE, BO):
            tree.grant(peer)
    box.scan()
    assert box.mails() == []
    return tree


def assert_peace(box: Box, tree: Tree, *, also: Iterable[str] = ()) -> list[Mail]:
    """Each mail is harmless and unique, the honest job was notified, no secret was copied; returns all mails."""
    allowed = {OWNER, ABE, BO, *also}
    mails = box.mails()
    for mail in mails:
        assert_harmless(mail, allowed)
    notified = notified_to(OWNER, mails)
    assert notified["job_submitted", tree.entity(HONEST, BO)] == 1
    assert notified_to(BO, mails)["job_submitted", tree.entity(HONEST, BO)] == 1
    repeated = Counter((mail.event, mail.to, *mail.entities, "cannot be read" in mail.text) for mail in mails)
    assert not repeated or max(repeated.values()) == 1
    assert {entity for _, entity in notified_to(BO, mails)} == {tree.entity(HONEST, BO)}
    for path in (path for path in box.home.root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert SECRET_CODE.encode() not in content, path
    return mails


def notified_to(recipient: str, mails: Sequence[Mail]) -> Counter[tuple[str, str]]:
    """Event and entity of each message to a recipient, single or in a digest."""
    return Counter((mail.event, entity) for mail in mails if mail.to == recipient for entity in mail.entities)


# While files are fresh, after the last wait for a file, and after ten minutes.
MOMENTS = (1, 65, 700)


def live(box: Box, tree: Tree, *, also: Iterable[str] = (), moments: Sequence[int] = MOMENTS) -> list[Mail]:
    """An honest job comes, too, and scans follow one another by so many seconds."""
    tree.submit(HONEST, BO)
    for seconds in moments:
        box.clock.advance(seconds)
        box.scan()
    return assert_peace(box, tree, also=also)


def submissions(mails: Sequence[Mail]) -> set[str]:
    """The entities of the submissions that the owner was notified of."""
    return {entity for event, entity in notified_to(OWNER, mails) if event == "job_submitted"}


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
    """With files in it that a scanner reads by name."""
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
    elif isinstance(tree, MarkerTree):
        after |= {marker: f"{tree.prefix}{marker}" for marker in ("approved", "done")}
    for name in (*below, *after):
        tree.submit(name, ABE, files={"main.py" if is_reviewed else "lib/main.py": "print(1)\n"})
    for name in after:
        tree.approve(name, ABE)
        tree.run(name, ABE, code=-1, stderr="half\n", stdout="half\n")
    paths = {name: tree.job_folder(name, ABE) / path for name, path in below.items()}
    return paths | {name: tree.results_folder(name, ABE) / path for name, path in after.items()}


def with_secrets(path: Path) -> None:
    """Put secrets into what is now outside: following a link to it would disclose them."""
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
    tree.disk.set_mtime(path, path.parent)


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


def submit_quickly(tree: Tree, name: str) -> None:
    """Less than `tree.submit` does, and enough for these layouts."""
    folder = tree.job_folder(name, ABE)
    os.makedirs(folder)
    config = f"name: {name}\nsubmitted_at: {name}\nsubmitted_by: {ABE}\nfiles: []\n"
    for file, text in (("run.sh", RUN_SH), ("config.yaml", config)):
        (folder / file).write_text(text)
