"""All eight on-disk layouts, alone and mixed, whole and torn, honest and hostile."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from syftnotify.core.kinds import Status
from syftnotify.runtime.container import App
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.sources.syftbox.scanner import JobScanner
from tests.support import ANA, BO, OWNER, Box, Clock, Mail, Sent, alias_bomb
from tests.trees import CODE, NAME, TREES, Disk, MarkerTree, ReviewTree, StageTree, Tree

SECRET = "the-key-of-the-owner"
STRANGER = "stranger@elsewhere.example"

ALL = sorted(TREES)
REVIEWED = ["C1", "C2", "D"]
MARKED = ["B1", "B2", "B3", "B4"]
NAMING = ["B4", *REVIEWED]
CLAIMING = ["A", "B1", "B2", "B3"]
FAMILIES = ["A", "B4", "D"]  # one of each way to lay a job down
RERUNNING = [key for key in ALL if TREES[key].can_rerun]


def on(*keys: str) -> pytest.MarkDecorator:
    """Run the test on these layouts."""
    return pytest.mark.parametrize("tree", keys, indirect=True)


@pytest.fixture
def disk(box: Box) -> Disk:
    return Disk(box.root, box.clock.time)


@pytest.fixture
def tree(request: pytest.FixtureRequest, disk: Disk) -> Tree:
    return TREES[request.param](disk)


@dataclass(slots=True)
class OneProcess:
    """A worker that lives on: what it has read it does not read again."""

    box: Box
    parts: App

    def look(self) -> ScanReport:
        tick = self.parts.run_once(self.box.last_look)
        self.box.last_look = self.box.clock.now
        return tick


@pytest.fixture
def one(box: Box) -> Iterator[OneProcess]:
    parts = box.parts()
    yield OneProcess(box, parts)
    parts.close()


Look = Callable[[], ScanReport]


@pytest.fixture(params=["restarts", "one process"])
def look(request: pytest.FixtureRequest, box: Box) -> Iterator[Look]:
    """A look: of a fresh process each time, or of one that lives on."""
    if request.param == "restarts":
        yield box.look
        return
    parts = box.parts()
    yield OneProcess(box, parts).look
    parts.close()


@pytest.fixture
def lasting(one: OneProcess) -> Look:
    """A look of a process that lives on, where restarts are tested elsewhere."""
    return one.look


def told(box: Box) -> Counter[Sent]:
    return Counter(mail.told for mail in box.new_mails())


def after(box: Box, seconds: float, look: Look | None = None) -> Counter[Sent]:
    """What a look tells so many seconds later."""
    box.clock.advance(seconds)
    (look or box.look)()
    return told(box)


def owed(tree: Tree, *kinds: str, by: str = ANA) -> Counter[Sent]:
    """What the table of who hears what owes for `kinds`."""
    found: Counter[Sent] = Counter()
    for kind in kinds:
        if kind not in {"job_approved", "job_rejected"}:
            found[kind, "owner", OWNER] += 1
        if tree.names_submitter:
            found[kind, "submitter", by] += 1
    return found


NOTHING: Counter[Sent] = Counter()


def begin(box: Box, tree: Tree, *, look: Look | None = None, granted: bool = True) -> None:
    """The first look, at a tree where the scientists are peers and no job is."""
    if granted and tree.layout in {"C", "D"}:
        for peer in (ANA, BO):
            tree.grant(peer)
    box.clock.advance(10)
    (look or box.look)()
    assert told(box) == NOTHING


def build_mime(box: Box, kind: str, audience: str = "owner") -> Mail:
    (mail,) = [mail for mail in box.mails() if (mail.event, mail.audience) == (kind, audience)]
    return mail


def granted(*peers: str) -> Counter[Sent]:
    return Counter({("peer_granted", "submitter", peer): 1 for peer in peers})


def without_grants(found: Counter[Sent]) -> Counter[Sent]:
    return Counter({key: count for key, count in found.items() if key[0] != "peer_granted"})


# The life of a job


@on(*ALL)
def test_a_whole_life_is_told(box: Box, tree: Tree, look: Look) -> None:
    """X10: every published layout is read."""
    begin(box, tree, look=look)
    tree.submit()
    assert without_grants(after(box, 1, look)) == owed(tree, "job_submitted")
    tree.approve()
    assert after(box, 10, look) == owed(tree, "job_approved")
    tree.run()
    assert after(box, 10, look) == owed(tree, "job_completed")
    assert after(box, 10, look) == NOTHING
    assert after(box, 1000, look) == NOTHING
    assert {entity for mail in box.mails() for entity in mail.entities if entity.startswith("job/")} == {tree.entity()}


@on(*ALL)
def test_a_failure_tells_the_owner_its_stderr_and_the_scientist_only_that(box: Box, tree: Tree) -> None:
    """B03: the end of stderr and the return code; private output stays with the owner."""
    begin(box, tree)
    tree.submit()
    tree.approve()
    tree.run(code=3, stderr=f"Traceback: {SECRET}")
    assert without_grants(after(box, 10)) == owed(tree, "job_submitted", "job_approved", "job_failed")
    failure = build_mime(box, "job_failed")
    assert SECRET in failure.text
    assert SECRET in failure.html
    assert "3" in failure.text
    for mail in box.mails():
        assert mail.audience == "owner" or SECRET not in str(mail.message)


@on(*ALL)
def test_a_deposited_result_was_approved_and_is_complete(box: Box, tree: Tree, lasting: Look) -> None:
    """The steps that were skipped are told from the facts."""
    begin(box, tree, look=lasting)
    tree.submit()
    assert without_grants(after(box, 1, lasting)) == owed(tree, "job_submitted")
    tree.deposit()
    found = after(box, 1, lasting) + after(box, 6, lasting)
    assert found == owed(tree, "job_approved", "job_completed")


@on("B2", "B4", "C1", "D")
def test_a_rerun_that_ends_again_is_told_again(box: Box, tree: Tree, look: Look) -> None:
    """A rerun that ends again is a new occurrence."""
    begin(box, tree, look=look)
    tree.submit()
    tree.approve()
    tree.run(code=3)
    after(box, 10, look)
    for code, kind in ((0, "job_completed"), (0, "job_completed"), (4, "job_failed")):
        tree.rerun()
        assert after(box, 10, look) == NOTHING
        tree.run(code=code)
        assert after(box, 10, look) == owed(tree, kind)
        assert after(box, 10, look) == NOTHING


@on(*REVIEWED)
def test_a_rerun_between_two_looks_is_told_by_its_time(box: Box, tree: Tree, lasting: Look) -> None:
    """C and D: the occurrence of an end is its `completed_at`."""
    begin(box, tree, look=lasting)
    tree.submit()
    tree.approve()
    tree.run()
    after(box, 10, lasting)
    tree.rerun()
    tree.run()
    assert after(box, 10, lasting) == owed(tree, "job_completed")


@on(*REVIEWED)
def test_a_rejection_is_told_with_its_reason(box: Box, tree: Tree, lasting: Look) -> None:
    begin(box, tree, look=lasting)
    tree.submit()
    after(box, 10, lasting)
    tree.reject(reason="touches raw rows")
    assert after(box, 10, lasting) == owed(tree, "job_rejected")
    assert "touches raw rows" in build_mime(box, "job_rejected", "submitter").text


@on("C1", "D")
@pytest.mark.parametrize("reason", [None, ""])
def test_a_rejection_without_a_reason_is_told_too(box: Box, tree: Tree, reason: str | None) -> None:
    begin(box, tree)
    tree.submit()
    tree.reject(reason=reason)
    assert after(box, 10) == owed(tree, "job_submitted", "job_rejected")
    assert "none was given" in build_mime(box, "job_rejected", "submitter").text


@on(*(key for key in ALL if TREES[key].marks_timeout))
def test_a_time_out_is_its_own_kind(box: Box, tree: Tree) -> None:
    begin(box, tree)
    tree.submit()
    tree.approve()
    tree.time_out()
    found = without_grants(after(box, 10))
    assert found == owed(tree, "job_submitted", "job_approved", "job_timeout")


@on(*FAMILIES)
def test_minus_one_without_the_line_is_a_failure(box: Box, tree: Tree) -> None:
    begin(box, tree)
    tree.submit()
    tree.approve()
    tree.run(code=-1)
    assert without_grants(after(box, 10)) == owed(tree, "job_submitted", "job_approved", "job_failed")


@on(*REVIEWED)
def test_a_runner_that_broke_left_no_logs_and_is_told(box: Box, tree: ReviewTree) -> None:
    """C1's captured mode: state failed, return code -1, no log and no returncode.txt."""
    begin(box, tree)
    tree.submit()
    tree.approve()
    tree.end(code=-1)
    assert after(box, 10) == owed(tree, "job_submitted", "job_approved", "job_failed")


@on(*ALL)
def test_a_job_deleted_and_sent_again_is_news(box: Box, tree: Tree, lasting: Look) -> None:
    """A submission's occurrence is its `submitted_at`."""
    begin(box, tree, look=lasting)
    for _ in range(2):
        tree.submit()
        assert without_grants(after(box, 10, lasting)) == owed(tree, "job_submitted")
        tree.approve()
        assert after(box, 10, lasting) == owed(tree, "job_approved")
        tree.run()
        assert after(box, 10, lasting) == owed(tree, "job_completed")
        tree.delete()
        assert after(box, 10, lasting) == NOTHING


@on("A")
def test_a_stage_layout_name_may_wait_again_while_its_old_job_is_done(box: Box, tree: Tree, lasting: Look) -> None:
    begin(box, tree, look=lasting)
    tree.submit()
    tree.approve()
    tree.run()
    after(box, 10, lasting)
    tree.submit()
    assert after(box, 10, lasting) == owed(tree, "job_submitted")
    tree.approve()
    assert after(box, 10, lasting) == owed(tree, "job_approved")
    tree.run()
    assert after(box, 10, lasting) == owed(tree, "job_completed")


# Whose job


@on(*NAMING)
def test_two_scientists_may_use_one_name(box: Box, tree: Tree, lasting: Look) -> None:
    begin(box, tree, look=lasting)
    tree.submit(by=ANA)
    tree.submit(by=BO)
    found = without_grants(after(box, 10, lasting))
    assert found == owed(tree, "job_submitted", by=ANA) + owed(tree, "job_submitted", by=BO)
    owners = [mail.entities for mail in box.mails() if mail.audience == "owner"]
    assert sorted(owners) == sorted([[tree.entity(by=ANA)], [tree.entity(by=BO)]])
    assert mail_of_recipient(box, ANA).entities == [tree.entity(by=ANA)]


def mail_of_recipient(box: Box, recipient: str) -> Mail:
    (mail,) = [mail for mail in box.mails() if mail.to == recipient and mail.event.startswith("job_")]
    return mail


def test_one_scientist_may_use_one_name_in_two_layouts(box: Box, disk: Disk) -> None:
    begin(box, TREES["C2"](disk))
    for key in ("C2", "D"):
        TREES[key](disk).submit()
    found = after(box, 10)
    assert found[("job_submitted", "owner", OWNER)] == 2
    assert found[("job_submitted", "submitter", ANA)] == 2
    owners = {tuple(mail.entities) for mail in box.mails() if mail.audience == "owner"}
    assert owners == {(TREES[key](disk).entity(),) for key in ("C2", "D")}


def test_all_layouts_are_read_mixed_in_one_root(box: Box, disk: Disk, look: Look) -> None:
    """X10: every layout at once, each job once through its whole life."""
    trees = {key: tree(disk) for key, tree in TREES.items()}
    begin(box, trees["D"], look=look)
    by = {key: ANA if tree.names_submitter else STRANGER for key, tree in trees.items()}
    for key, tree in trees.items():
        tree.submit(name=f"job-{key}", by=by[key])
    expected = sum((owed(tree, "job_submitted") for tree in trees.values()), NOTHING)
    assert without_grants(after(box, 10, look)) == expected
    for key, tree in trees.items():
        tree.approve(name=f"job-{key}", by=by[key])
        tree.run(name=f"job-{key}", by=by[key], code=1)
    expected = sum((owed(tree, "job_approved", "job_failed") for tree in trees.values()), NOTHING)
    assert after(box, 10, look) == expected
    assert after(box, 10, look) == NOTHING


def test_a_client_upgraded_in_place_changes_nothing(box: Box, disk: Disk) -> None:
    """B1 and B2 are one layout to an entity id, and C1 and C2 are."""
    for old, new in (("B1", "B2"), ("C1", "C2")):
        assert TREES[old](disk).entity() == TREES[new](disk).entity()
    begin(box, TREES["C1"](disk))
    TREES["B1"](disk).submit(by=STRANGER)
    TREES["C1"](disk).submit(name="other")
    after(box, 10)
    TREES["B2"](disk).approve()
    TREES["C2"](disk).approve(name="other")
    assert after(box, 10) == Counter({("job_approved", "submitter", ANA): 1})


@on(*CLAIMING)
def test_a_stranger_that_a_job_names_is_not_mailed(box: Box, tree: Tree) -> None:
    """X11: where the path proves no submitter, what config.yaml says is shown as claimed and never mailed."""
    begin(box, tree)
    tree.submit(by=STRANGER)
    tree.approve(by=STRANGER)
    tree.run(by=STRANGER)
    found = after(box, 10)
    assert found == Counter({("job_submitted", "owner", OWNER): 1, ("job_completed", "owner", OWNER): 1})
    mail = build_mime(box, "job_submitted")
    assert STRANGER in mail.text
    assert "claimed" in mail.text
    assert "claimed" in mail.html


@on(*NAMING)
def test_the_path_and_not_the_file_says_who_submitted(box: Box, tree: Tree) -> None:
    begin(box, tree)
    tree.submit(config={"submitted_by": STRANGER, "name": "another", "datasite_email": STRANGER})
    assert without_grants(after(box, 10)) == owed(tree, "job_submitted")
    assert build_mime(box, "job_submitted").entities == [tree.entity()]


@on(*CLAIMING)
def test_an_allowed_address_is_mailed_to(box: Box, tree: Tree) -> None:
    box.configure({"recipients": {"allow": ["*@uni.example"]}})
    begin(box, tree)
    tree.submit(by=ANA)
    tree.submit(name="other", by=BO)
    expected = owed(tree, "job_submitted", "job_submitted")
    expected["job_submitted", "submitter", ANA] += 1
    assert after(box, 10) == expected


def test_somebody_elses_jobs_are_not_the_owners(box: Box, disk: Disk) -> None:
    begin(box, TREES["D"](disk))
    for tree in TREES.values():
        tree(disk, owner="other@datasite.example").submit()
    assert after(box, 10) == NOTHING


# Files on their way


TORN = [b"", b"status: appr\nfoo: [", b"\0" * 40, b"\xff\xfe\x00", b"approved", b"- status\n- done\n", b"status: new\n"]


@on("D")
@pytest.mark.parametrize("torn", TORN)
def test_a_torn_state_says_nothing_until_it_is_whole(box: Box, tree: ReviewTree, lasting: Look, torn: bytes) -> None:
    """Empty, cut or unparsable files: no change, look again."""
    begin(box, tree, look=lasting)
    tree.submit()
    tree.receive()
    assert after(box, 10, lasting) == owed(tree, "job_submitted")
    tree.approve()
    state = tree.results() / "state.yaml"
    whole = state.read_bytes()
    tree.disk.write(state, torn)
    assert after(box, 10, lasting) == NOTHING
    assert after(box, 10, lasting) == NOTHING
    tree.disk.write(state, whole)
    assert after(box, 10, lasting) == owed(tree, "job_approved")


@on(*FAMILIES)
@pytest.mark.parametrize("torn", [b"", b"name: analysis\nsubmitted_at: '2026-1", b"just words"])
def test_a_torn_config_says_nothing_until_it_is_whole(box: Box, tree: Tree, lasting: Look, torn: bytes) -> None:
    begin(box, tree, look=lasting)
    tree.submit()
    config = tree.place() / "config.yaml"
    whole = config.read_bytes()
    tree.disk.write(config, torn)
    assert without_grants(after(box, 10, lasting)) == NOTHING
    assert after(box, 40, lasting) == NOTHING
    tree.disk.write(config, whole)
    assert after(box, 10, lasting) == owed(tree, "job_submitted")


@on(*FAMILIES)
def test_a_config_torn_for_a_while_repeats_nothing(box: Box, tree: Tree, lasting: Look) -> None:
    begin(box, tree, look=lasting)
    tree.submit()
    tree.approve()
    tree.run()
    after(box, 10, lasting)
    config = tree.place() / "config.yaml"
    whole = config.read_bytes()
    for content in (b"", whole):
        tree.disk.write(config, content)
        assert after(box, 10, lasting) == NOTHING


@on(*REVIEWED)
def test_a_job_torn_at_the_first_look_joins_its_rules_later(box: Box, tree: ReviewTree) -> None:
    """B05: nobody is flooded by what could not be read when the first look was taken."""
    tree.grant()
    for name in ("waits", "ran"):
        tree.submit(name=name)
        tree.receive(name=name)
    tree.approve(name="ran")
    tree.run(name="ran")
    states = {name: (tree.results(name) / "state.yaml") for name in ("waits", "ran")}
    whole = {name: path.read_bytes() for name, path in states.items()}
    for path in states.values():
        tree.disk.write(path, b"")
    assert after(box, 10) == NOTHING
    for name, path in states.items():
        tree.disk.write(path, whole[name])
    assert after(box, 10) == Counter({("digest", "owner", OWNER): 1})
    assert [mail.entities for mail in box.mails()] == [[tree.entity("waits")]]


@on(*FAMILIES)
def test_a_file_torn_for_ten_minutes_is_named_once(box: Box, tree: Tree, one: OneProcess) -> None:
    begin(box, tree, look=one.look)
    tree.submit()
    tree.disk.write(tree.place() / "config.yaml", b"")
    problems: list[str] = []
    for _ in range(12):
        box.clock.advance(100)
        problems += one.look().problems
    assert len(problems) == 1
    assert "config.yaml" in problems[0]
    assert NAME in problems[0]


@on("B1", "B4")
def test_an_end_waits_for_its_return_code(box: Box, tree: MarkerTree, look: Look) -> None:
    """The marker may be there before the code is written: no success is told meanwhile."""
    begin(box, tree, look=look)
    tree.submit()
    tree.approve()
    after(box, 10, look)
    tree.mark("done")
    assert after(box, 1, look) == NOTHING
    assert after(box, 2, look) == NOTHING
    tree.disk.write(tree.place() / "returncode.txt", "3")
    assert after(box, 1, look) == owed(tree, "job_failed")


@on("A")
def test_a_moved_job_waits_for_its_return_code(box: Box, tree: StageTree, one: OneProcess) -> None:
    begin(box, tree, look=one.look)
    tree.submit()
    tree.approve()
    after(box, 10, one.look)
    done = tree.finish()
    assert after(box, 1, one.look) == NOTHING
    tree.disk.write(done / "returncode.txt", "3")
    assert after(box, 1, one.look) == owed(tree, "job_failed")


@on("A", "B2", "B3")
def test_an_end_without_a_return_code_is_believed_after_five_seconds(box: Box, tree: Tree, look: Look) -> None:
    begin(box, tree, look=look)
    tree.submit()
    after(box, 10, look)
    tree.deposit()
    early = after(box, 1, look)
    assert early == owed(tree, "job_approved")
    assert after(box, 3, look) == NOTHING
    assert after(box, 2, look) == owed(tree, "job_completed")
    assert after(box, 10, look) == NOTHING


@on("B2", "B4")
def test_the_code_of_the_old_run_is_not_taken_for_the_new_one(box: Box, tree: MarkerTree, look: Look) -> None:
    """A rerun leaves the old returncode.txt in place until its end writes over it, after the fresh marker."""
    begin(box, tree, look=look)
    tree.submit()
    tree.approve()
    tree.run(code=3)
    after(box, 10, look)
    tree.rerun()
    assert after(box, 10, look) == NOTHING
    tree.mark("done")
    assert after(box, 1, look) == NOTHING
    tree.disk.write(tree.place() / "returncode.txt", "0")
    assert after(box, 1, look) == owed(tree, "job_completed")


@on(*ALL)
def test_a_submission_is_told_when_its_files_are_there(box: Box, tree: Tree, lasting: Look) -> None:
    begin(box, tree, look=lasting)
    tree.submit()
    late = tree.place() / ("code/main.py" if tree.layout in {"C", "D"} else "run.sh")
    content = late.read_bytes()
    tree.disk.remove(late)
    assert without_grants(after(box, 10, lasting)) == NOTHING
    assert after(box, 40, lasting) == NOTHING
    tree.disk.write(late, content)
    assert after(box, 1, lasting) == owed(tree, "job_submitted")
    assert "Not all of its files" not in build_mime(box, "job_submitted").text


@on(*FAMILIES)
def test_an_incomplete_submission_is_told_after_a_minute_and_says_so(box: Box, tree: Tree, look: Look) -> None:
    begin(box, tree, look=look)
    tree.submit()
    late = tree.place() / ("code/main.py" if tree.layout in {"C", "D"} else "run.sh")
    content = late.read_bytes()
    tree.disk.remove(late)
    assert without_grants(after(box, 10, look)) == NOTHING
    assert after(box, 51, look) == owed(tree, "job_submitted")
    assert "Not all of its files" in build_mime(box, "job_submitted").text
    tree.disk.write(late, content)
    assert after(box, 10, look) == NOTHING


# Trees that vanish and come back


def three_jobs(tree: Tree) -> None:
    for name in ("waits", "approved", "ended"):
        tree.submit(name=name)
    tree.approve(name="approved")
    tree.approve(name="ended")
    tree.run(name="ended")


@on("A", "B2", "B4", "D")
@pytest.mark.parametrize("what", ["job folder", "whole root"])
def test_a_tree_that_comes_back_file_by_file_tells_nothing(
    box: Box, tree: Tree, look: Look, tmp_path: Path, what: str
) -> None:
    """A vanished tree is no event; when it comes back, with new times, nothing is told again."""
    begin(box, tree, look=look)
    three_jobs(tree)
    assert after(box, 10, look) != NOTHING
    gone = box.root if what == "whole root" else tree.base
    kept = tmp_path / "kept"
    shutil.copytree(gone, kept)
    shutil.rmtree(gone)
    assert after(box, 10, look) == NOTHING

    for path in sorted((path for path in kept.rglob("*") if path.is_file()), key=restore_order):
        tree.disk.write(gone / path.relative_to(kept), path.read_bytes())
        assert after(box, 1, look) == NOTHING, path.relative_to(kept)
    assert after(box, 100, look) == NOTHING
    assert after(box, 100, look) == NOTHING

    tree.run(name="approved", code=2)
    assert after(box, 10, look) == owed(tree, "job_failed")


def restore_order(path: Path) -> tuple[str, int, str]:
    """Job by job, run.sh and config.yaml before the marks, as a sync brings them."""
    first = ("run.sh", "config.yaml")
    return str(path.parent), first.index(path.name) if path.name in first else len(first), path.name


@on(*FAMILIES)
def test_a_tree_that_comes_back_at_once_tells_nothing(box: Box, tree: Tree, look: Look, tmp_path: Path) -> None:
    begin(box, tree, look=look)
    three_jobs(tree)
    after(box, 10, look)
    for name in ("one", "two"):
        tree.base.rename(tmp_path / name)
        assert after(box, 10, look) == NOTHING
        shutil.copytree(tmp_path / name, tree.base)
        for path in (tree.base, *tree.base.rglob("*")):
            tree.disk.stamp(path)
        assert after(box, 1, look) == NOTHING
        assert after(box, 100, look) == NOTHING


# Reading as little as possible


@on(*ALL)
def test_a_quiet_file_is_not_read_again(box: Box, tree: Tree, one: OneProcess) -> None:
    """The same time, size and inode: not parsed again, until the time moves."""
    begin(box, tree, look=one.look)
    tree.submit()
    after(box, 10, one.look)
    one.look()
    config = tree.place() / "config.yaml"
    before = config.stat()
    config.write_bytes(config.read_bytes().replace(b"submitted_at: '20", b"submitted_at: '19"))
    os.utime(config, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert config.stat().st_size == before.st_size
    assert after(box, 10, one.look) == NOTHING
    tree.disk.stamp(config)
    assert after(box, 10, one.look) == owed(tree, "job_submitted"), "another submitted_at is another submission"


@on(*ALL)
def test_a_fresh_file_is_believed_and_read_again(box: Box, tree: Tree, one: OneProcess) -> None:
    """A second write in one clock tick leaves the same numbers, so a fresh file is read at the next look too."""
    begin(box, tree, look=one.look)
    tree.submit()
    config = tree.place() / "config.yaml"
    before = config.stat()
    assert without_grants(after(box, 0.5, one.look)) == owed(tree, "job_submitted")
    config.write_bytes(config.read_bytes().replace(b"submitted_at: '20", b"submitted_at: '19"))
    os.utime(config, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert after(box, 5, one.look) == owed(tree, "job_submitted")


# Hostile trees


def neighbour_is_told(box: Box, tree: Tree, look: Look | None = None) -> list[Mail]:
    """One poisoned thing stops nothing else: an honest job is told; returns the mails about others."""
    tree.submit(name="honest", by=BO)
    box.clock.advance(10)
    (look or box.look)()
    mails = box.new_mails()
    honest = tree.entity("honest", BO)
    assert [mail.told for mail in mails if mail.audience == "owner" and mail.entities == [honest]] == [
        ("job_submitted", "owner", OWNER)
    ]
    assert not any(SECRET in str(mail.message) or SECRET in mail.text or SECRET in mail.html for mail in mails)
    return [mail for mail in mails if honest not in mail.entities and mail.event.startswith("job")]


@on("D")
def test_a_linked_state_is_not_followed(box: Box, tree: ReviewTree, tmp_path: Path) -> None:
    """X11: no symlink is followed."""
    begin(box, tree)
    tree.submit()
    tree.receive()
    after(box, 10)
    tree.approve()
    state = tree.results() / "state.yaml"
    state.rename(tmp_path / "elsewhere.yaml")
    tree.disk.link(state, tmp_path / "elsewhere.yaml")
    assert neighbour_is_told(box, tree) == []


@on(*FAMILIES)
def test_a_linked_config_is_not_followed(box: Box, tree: Tree, tmp_path: Path) -> None:
    """X11: no symlink is followed."""
    begin(box, tree)
    tree.submit()
    config = tree.place() / "config.yaml"
    config.rename(tmp_path / "elsewhere.yaml")
    tree.disk.link(config, tmp_path / "elsewhere.yaml")
    assert neighbour_is_told(box, tree) == []
    assert after(box, 60) == Counter({("job_submitted", "owner", OWNER): 1})
    assert any("(config.yaml: a symbolic link)" in mail.text for mail in box.mails())


@on(*FAMILIES)
def test_a_linked_job_folder_is_no_job(box: Box, tree: Tree, tmp_path: Path) -> None:
    begin(box, tree)
    tree.submit()
    place = tree.place()
    shutil.move(place, tmp_path / "elsewhere")
    tree.disk.link(place, tmp_path / "elsewhere")
    assert neighbour_is_told(box, tree) == []


@on(*FAMILIES)
@pytest.mark.parametrize("what", ["file", "folder"])
def test_linked_code_is_not_shown(box: Box, tree: Tree, tmp_path: Path, what: str) -> None:
    """X11: a link in the code leads nowhere; the owner is told what was left out."""
    begin(box, tree)
    secret = tmp_path / "secrets" / "main.py"
    secret.parent.mkdir()
    secret.write_text(SECRET)
    name = "main.py" if what == "file" else "lib/main.py"
    tree.submit(files={name: CODE})
    code = tree.place() / "code" if tree.layout in {"C", "D"} else tree.place()
    old, target = (code / name, secret) if what == "file" else (code / "lib", secret.parent)
    tree.disk.remove(old)
    tree.disk.link(old, target)
    box.clock.advance(60)
    mails = neighbour_is_told(box, tree)
    assert [mail.told for mail in mails if mail.audience == "owner"] == [("job_submitted", "owner", OWNER)]


@on(*FAMILIES)
@pytest.mark.parametrize("which", ["config.yaml", "run.sh", "main.py"])
def test_a_pipe_stops_nobody(box: Box, tree: Tree, which: str) -> None:
    """X11: regular files only; a FIFO that nobody writes to must not be waited for."""
    begin(box, tree)
    tree.submit()
    path = tree.place() / which
    if not path.exists():
        path = tree.place() / "code" / which
    tree.disk.remove(path)
    os.mkfifo(path)
    tree.disk.stamp(path, path.parent)
    mails = neighbour_is_told(box, tree)
    assert which != "config.yaml" or mails == []
    after(box, 60)
    assert which != "config.yaml" or any("(config.yaml: not a regular file)" in mail.text for mail in box.mails())


@on("D")
@pytest.mark.parametrize("which", ["state.yaml", "stderr.txt", "stdout.txt"])
def test_a_pipe_among_the_results_stops_nobody(box: Box, tree: ReviewTree, which: str) -> None:
    begin(box, tree)
    tree.submit()
    tree.approve()
    tree.run(code=-1, stderr="half")
    tree.disk.remove(tree.results() / which)
    os.mkfifo(tree.results() / which)
    tree.disk.stamp(tree.results())
    neighbour_is_told(box, tree)


UNBELIEVABLE = {
    "an alias bomb": alias_bomb(),
    "a small alias": "name: &a x\nsubmitted_at: *a\n",
    "a hundred thousand brackets": "files: " + "[" * 100_000 + "]" * 100_000,
    "three thousand brackets": "files: " + "[" * 3_000 + "]" * 3_000,
    "a thousand braces": "files: " + "{a: " * 1_000 + "b" + "}" * 1_000,
    "a megabyte": "name: analysis\npadding: " + "x" * 1_000_000,
    "a list": "- name\n- analysis\n",
    "a number": "7\n",
    "two documents": "name: a\n---\nname: b\n",
    "no text": b"\xff\xfe\xfd".decode("latin-1"),
}


@on("A", "D")
@pytest.mark.parametrize("content", UNBELIEVABLE.values(), ids=UNBELIEVABLE.keys())
def test_a_config_built_to_hurt_stops_nobody(box: Box, tree: Tree, content: str) -> None:
    """X11: aliases refused, depth and size capped; the neighbours are told as ever."""
    begin(box, tree)
    tree.submit()
    tree.disk.write(tree.place() / "config.yaml", content.encode("latin-1"))
    assert neighbour_is_told(box, tree) == []


KEYS = ("name", "submitted_at", "submitted_by", "files", "type", "entry_point", "entrypoint", "code_path")
ODD: dict[str, dict[str, Any]] = {
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


@on("A", "D")
@pytest.mark.parametrize("config", ODD.values(), ids=ODD.keys())
def test_wrong_types_in_a_config_stop_nobody(box: Box, tree: Tree, config: dict[str, Any]) -> None:
    """X11: types are checked; what can be told of such a job is told to the owner."""
    begin(box, tree)
    tree.submit(config=config)
    box.clock.advance(60)
    mails = neighbour_is_told(box, tree)
    assert [mail.told for mail in mails if mail.audience == "owner"] == [("job_submitted", "owner", OWNER)]
    assert not any(STRANGER in mail.to or mail.message["Bcc"] for mail in mails)


@on("A", "D")
@pytest.mark.parametrize(
    "line",
    [
        "submitted_at: 0x" + "f" * 6000,
        "type: 0x" + "f" * 6000,
        "submitted_at: 2026-11-21 10:00:00",
        "submitted_at: 2026-11-21",
        'entry_point: "\\ud800"',
        'files: ["\\ud800"]',
        'submitted_by: "\\0@x.example"',
        "? [1, 2]\n: 3",
        "files: " + "[" * 1_900 + "]" * 1_900,
    ],
    ids=[
        "long number",
        "long number for a type",
        "time",
        "date",
        "surrogate",
        "surrogate file",
        "nul",
        "odd key",
        "deep",
    ],
)
def test_odd_scalars_in_a_config_stop_nobody(box: Box, tree: Tree, line: str) -> None:
    """X11, and one poisoned job stops nothing else."""
    begin(box, tree)
    tree.submit()
    key = line.partition(":")[0]
    kept = {k: v for k, v in yaml.safe_load((tree.place() / "config.yaml").read_text()).items() if k != key}
    tree.disk.write(tree.place() / "config.yaml", f"{yaml.safe_dump(kept)}{line}\n")
    neighbour_is_told(box, tree)


STATES: dict[str, dict[str, Any]] = {
    "a status that is a list": {"status": ["approved"]},
    "a status that is a mapping": {"status": {"approved": True}},
    "a long status": {"status": "x" * 100_000},
    "odd times": {"status": "done", "approved_at": ["x"], "completed_at": {"a": 1}, "return_code": 0},
    "odd codes": {"status": "failed", "completed_at": 7, "return_code": "three"},
    "a yes for a code": {"status": "failed", "completed_at": True, "return_code": True},
    "an endless code": {"status": "failed", "completed_at": "x", "return_code": float("inf")},
    "a great code": {"status": "failed", "completed_at": "x", "return_code": 10**4000},
    "an odd reason": {"status": "rejected", "rejected_at": "x", "review_reason": ["no"], "rejection_reason": {}},
    "a hostile reason": {"status": "rejected", "rejected_at": "x", "review_reason": "<img src=x>\x1b[31m\u202e" * 999},
}


@on("D")
@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_wrong_types_in_a_state_stop_nobody(box: Box, tree: ReviewTree, state: dict[str, Any]) -> None:
    begin(box, tree)
    tree.submit()
    tree.set_state(**state)
    for mail in neighbour_is_told(box, tree):
        assert "<img" not in mail.html
        assert "\x1b" not in mail.text + mail.html


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


@on("A", "D")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_any_name_is_shown_and_not_obeyed(box: Box, tree: Tree, name: str) -> None:
    """X11: the name of a folder is a stranger's; it is one line of plain text wherever it stands."""
    if tree.layout == "A" and name == NAMES["an address"]:
        pytest.skip("an address below a stage is never an A job")
    begin(box, tree)
    tree.submit(name=name, config={"name": "x"})
    (mail,) = [mail for mail in neighbour_is_told(box, tree) if mail.audience == "owner"]
    assert mail.told == ("job_submitted", "owner", OWNER)
    assert mail.entities == [tree.entity(name)]
    assert mail.message["Bcc"] is None
    assert mail.message["X-Evil"] is None
    assert mail.subject.isprintable()
    shown = mail.text + mail.html
    assert not any(sign in shown for sign in "\x1b\x07\u202e\u2028\u2029\u0085\ud800")
    assert "<script" not in mail.html
    assert "<b onclick" not in mail.html
    assert "49" not in mail.subject
    assert after(box, 10) == NOTHING


@on("D")
def test_a_job_called_v1_is_a_job(box: Box, tree: Tree) -> None:
    """A C job named `v1` shares its folder with D's segment; both are told."""
    begin(box, tree)
    TREES["C2"](tree.disk).submit(name="v1")
    TREES["D"](tree.disk).submit(name="inner")
    found = {tuple(mail.entities) for mail in neighbour_is_told(box, tree) if mail.audience == "owner"}
    assert found == {(TREES["C2"](tree.disk).entity("v1"),), (TREES["D"](tree.disk).entity("inner"),)}


def test_a_config_made_beside_the_jobs_is_no_job(box: Box, disk: Disk) -> None:
    """A scientist can make inbox/<ds>/config.yaml: an address below the inbox is never an A job."""
    tree = TREES["D"](disk)
    begin(box, tree)
    for base in (tree.base, TREES["A"](disk).base):
        disk.write_yaml(base / "inbox" / ANA / "config.yaml", {"name": "x", "submitted_by": STRANGER})
        disk.write(base / "inbox" / ANA / "run.sh", "true\n")
    assert neighbour_is_told(box, tree) == []


@on("B4", "D")
@pytest.mark.parametrize("name", ["../../x", "/etc/hostname", "a/../../../x", "./../x", "..\\x", "~/x"])
def test_a_file_that_points_elsewhere_is_never_shown(box: Box, tree: Tree, name: str) -> None:
    """X11: only names inside the job are opened."""
    begin(box, tree)
    for folder in (tree.place(), *tree.place().parents[:4]):
        tree.disk.write(folder / "x", SECRET)
    tree.submit(files={}, config={"files": [name], "entry_point": name, "code_path": f"/home/{name}"})
    box.clock.advance(60)
    mails = neighbour_is_told(box, tree)
    assert [mail.told for mail in mails if mail.audience == "owner"] == [("job_submitted", "owner", OWNER)]


# What the owner's mail carries


@on(*ALL)
def test_the_owners_mail_carries_the_code(box: Box, tree: Tree) -> None:
    """B02: the code to review stands in the owner's mail, and in nobody else's."""
    begin(box, tree)
    tree.submit(files={"main.py": f"value = '{SECRET}'\n"})
    box.clock.advance(10)
    box.look()
    mail = build_mime(box, "job_submitted")
    assert SECRET in mail.text
    assert SECRET in mail.html
    assert not any(SECRET in str(mail.message) for mail in box.mails() if mail.audience != "owner")


@on("B4", "D")
@pytest.mark.parametrize("sign", ["x", "<", "é", "\x1b", "\n"], ids=["plain", "markup", "wide", "control", "lines"])
def test_a_mail_shows_a_part_of_very_long_code(box: Box, tree: Tree, sign: str) -> None:
    """B02: at most 50 KB of a file; the HTML stays below the 102 KB at which mail programs clip."""
    begin(box, tree)
    tree.submit(files={"main.py": sign * 200_000})
    box.clock.advance(10)
    box.look()
    mail = build_mime(box, "job_submitted")
    assert len(mail.html.encode()) < 102 * 1024
    assert "(cut)" in mail.text
    if sign == "x":
        assert 49 * 1024 < mail.text.count("x") < 51 * 1024


@on("D")
def test_a_mail_says_which_files_it_left_out(box: Box, tree: Tree) -> None:
    """B02: hidden, generated and binary files are left out, and named; so is what is too much."""
    begin(box, tree)
    files = {f"part-{n:02}.py": "y" * 40_000 for n in range(6)}
    tree.submit(files={**files, ".hidden": SECRET, "__pycache__/a.pyc": SECRET, "blob.bin": f"\0{SECRET}"})
    (mail,) = [mail for mail in neighbour_is_told(box, tree) if mail.audience == "owner"]
    assert len(mail.html.encode()) < 102 * 1024
    for name in (".hidden", "__pycache__/a.pyc", "blob.bin", "part-05.py"):
        assert name in mail.text


def test_a_folder_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """A restore puts another one in its place: what the old one said is not what the new one's times stand for."""
    clock = Clock()
    tree = TREES["D"](Disk(tmp_path, clock.time))
    for name in ("a", "b"):
        tree.submit(name, ANA)
        tree.approve(name, ANA)
    clock.advance(60)
    review, asked = tree.results("a", ANA).parent, 0
    shutil.copytree(review, review.with_name("old"))
    tree.run("b", ANA)
    review.rename(review.with_name("new"))
    review.with_name("old").rename(review)
    clock.advance(3600)

    def monotonic() -> float:
        """Asked at the beginning, and before each job is read."""
        nonlocal asked
        asked += 1
        if asked == 3:  # `a` was read in the old one
            review.rename(review.with_name("old"))
            review.with_name("new").rename(review)
        return clock.monotonic()

    reader = JobScanner(tmp_path, OWNER, clock=clock.time, monotonic=monotonic)
    found = statuses(reader, clock, looks=6)

    assert ("b", Status.DONE) in found


def statuses(reader: JobScanner, clock: Clock, *, looks: int) -> set[tuple[str, Status]]:
    """What so many looks, a minute apart, say of jobs."""
    found = set()
    for _ in range(looks):
        look = reader.scan()
        reader.accept()
        found |= {(job.name, job.status) for job in look.jobs}
        clock.advance(60)
    return found


def test_a_mark_of_the_same_instant_is_seen_however_long_the_look_lasts(tmp_path: Path) -> None:
    """A folder's time is as coarse as the kernel's clock: what was read right after its last change is read again."""
    clock = Clock()
    tree = TREES["B4"](Disk(tmp_path, clock.time))
    for name in ("a", "b", "c"):
        tree.submit(name, ANA)
    clock.advance(3600)
    place, asked = tree.place("b", ANA), 0

    def monotonic() -> float:
        """Asked at the beginning, and before each job is read."""
        nonlocal asked
        asked += 1
        if asked == 3:  # what comes before `b` took three seconds
            clock.advance(3.0)
            tree.approve("b", ANA)
        elif asked == 4:
            found = place.stat()
            (place / "done").touch()
            (place / "returncode.txt").write_text("0")
            os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))
        return clock.monotonic()

    reader = JobScanner(tmp_path, OWNER, clock=clock.time, monotonic=monotonic)
    found = statuses(reader, clock, looks=4)

    assert ("b", Status.APPROVED) in found
    assert ("b", Status.DONE) in found
