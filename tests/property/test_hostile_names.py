"""Hostile names of jobs and submitters, and hostile claims (X11)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.harmless import SECRET
from tests.property.hostile import (
    ABE,
    CLAIMS,
    EVIL,
    FAMILIES,
    HONEST,
    LAYOUTS,
    NAMES,
    REVIEWED,
    STRANGER,
    assert_peace,
    live,
    notified_to,
    submissions,
)
from tests.scanning import on
from tests.support import BO, OWNER, Box, Mail
from tests.trees import Tree

pytestmark = pytest.mark.thorough


def lived(box: Box, tree: Tree, names: Iterable[str]) -> list[Mail]:
    """Each of the jobs comes, is approved and fails, beside an honest one."""
    for name in names:
        tree.submit(name, ABE, config={"name": EVIL, "submitted_by": ABE})
    tree.submit(HONEST, BO)
    box.clock.advance(10)
    box.scan()
    for name in names:
        tree.approve(name, ABE)
        tree.run(name, ABE, code=3, stderr=f"{EVIL}\x1b[31m\u202e\x9b")
    for seconds in (10, 70):
        box.clock.advance(seconds)
        box.scan()
    return assert_peace(box, tree)


@on(*FAMILIES)
def test_hostile_job_names_are_shown_through_the_life_of_the_job(box: Box, tree: Tree) -> None:
    """X11: in every kind of message about a job."""
    mails = lived(box, tree, NAMES.values())
    notified = notified_to(OWNER, mails)
    jobs = {tree.entity(name, ABE) for name in NAMES.values()}
    assert {entity for event, entity in notified if event == "job_failed"} == jobs
    assert submissions(mails) == {*jobs, tree.entity(HONEST, BO)}


@on(*LAYOUTS)
@pytest.mark.parametrize("name", [STRANGER, f"=?utf-8?q?a=0ABcc:_{STRANGER}?="], ids=["plain", "encoded"])
def test_job_named_after_a_stranger_mails_no_stranger(box: Box, tree: Tree, name: str) -> None:
    """X11: a folder that is called like an address is a submitter's only in the place of a submitter's folder."""
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
def test_hostile_submitter_folder_is_mailed_only_as_one_address(box: Box, tree: Tree) -> None:
    """X11: the name of that folder becomes a recipient; one bare address or none."""
    for folder in SUBMITTERS.values():
        tree.submit("job", folder)
    plain = {SUBMITTERS["leading dash"]}
    mails = live(box, tree, also=plain)
    assert {mail.to for mail in mails} <= {OWNER, BO, *plain}
    assert tree.entity("job", SUBMITTERS["with a name"]) in submissions(mails)


@on("A", "B1", "B2", "B3", "B4", "D")
def test_hostile_claims_of_a_submitter_mail_nobody(box: Box, tree: Tree) -> None:
    """X11: in a claim one bare address of a peer counts, and nothing else; the owner is shown each claim."""
    for number, claim in enumerate(CLAIMS.values()):
        tree.submit(f"job-{number}", ABE, config={"submitted_by": claim})
    mails = live(box, tree)
    assert submissions(mails) == {tree.entity(f"job-{n}", ABE) for n in range(len(CLAIMS))} | {tree.entity(HONEST, BO)}


@on("A", "B2", "B4", "C1", "D")
def test_no_file_name_leads_out_of_its_job(box: Box, tree: Tree, outside: Path) -> None:
    """X11: only names inside the job are opened."""
    (outside / "x").write_text(SECRET)
    neighbour = tree.job_folder("neighbour", ABE)
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
