"""What published clients really wrote, step by step, through the whole pipeline."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from syftnotify.assembly import Parts
from syftnotify.model import entity_id
from tests.support import ANA, BO, OWNER, Box, Told
from tests.trees import Disk

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*.tar.gz"))
LAYOUT = {
    "0.1.3": "A",  # logs in a folder of their own
    "0.1.5": "A",
    "0.1.9": "B2",  # B1
    "0.1.12": "B2",
    "0.1.21": "B2",
    "0.1.23": "B3",
    "0.1.26": "B4",
    "0.1.34": "C",  # C1
    "0.1.38": "C",  # C2
    "0.1.40": "D",
}
ALLOWED = {"recipients": {"allow": ["*@uni.example"]}}
# Older than any marker must be, so that an end without a return code is believed.
SETTLED_SECONDS = 6.0

WAITING = frozenset({"inbox", "received", "pending"})
ENDED = frozenset({"done", "failed"})

JobKey = tuple[str, str]  # submitter, name


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a recording: the files after it, and what the release itself said of the jobs."""

    label: str
    files: Mapping[str, bytes]
    folders: frozenset[str]
    status: Mapping[JobKey, str]


@dataclass(frozen=True, slots=True)
class Recording:
    layout: str
    steps: tuple[Step, ...]

    @property
    def proves_submitters(self) -> bool:
        return self.layout in {"B4", "C", "D"}

    @property
    def is_reviewed(self) -> bool:
        """Whether the release knows rejected and failed; the others call every end `done`."""
        return self.layout in {"C", "D"}

    def entity(self, job: JobKey) -> str:
        return entity_id("job", self.layout, OWNER, job[0] if self.proves_submitters else "-", job[1])

    def first_of(self, label: str) -> int:
        return next(number for number, step in enumerate(self.steps) if label in step.label)


def read_recording(path: Path) -> Recording:
    with tarfile.open(path) as archive:
        members = {member.name.removeprefix("./"): member for member in archive.getmembers()}

        def content(name: str) -> bytes:
            opened = archive.extractfile(members[name])
            assert opened is not None
            return opened.read()

        manifest: dict[str, Any] = json.loads(content("manifest.json"))
        assert manifest["owner"] == OWNER
        steps = []
        for step in manifest["steps"]:
            above = f"{step['step']}/SyftBox/"
            below = {name: member for name, member in members.items() if name.startswith(above) and name != above}
            steps.append(
                Step(
                    step["step"],
                    {name.removeprefix(above): content(name) for name, member in below.items() if member.isfile()},
                    frozenset(name.removeprefix(above) for name, member in below.items() if member.isdir()),
                    {(job["ds"], job["name"]): job["status"] for job in step["jobs"]},
                )
            )
    return Recording(LAYOUT[manifest["version"]], tuple(steps))


@dataclass(slots=True)
class Player:
    """Brings the live folder from one step to the next, in place."""

    disk: Disk
    now: dict[str, bytes] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()

    def play(self, step: Step) -> None:
        root = self.disk.root
        for name in sorted(step.folders):
            self.disk.folder(root / name)
        for name, content in step.files.items():
            if self.now.get(name) != content:
                self.disk.write(root / name, content)
        for name in self.now.keys() - step.files.keys():
            self.disk.remove(root / name)
        for name in sorted(self.folders - step.folders, reverse=True):
            self.disk.remove(root / name)
        self.now, self.folders = dict(step.files), step.folders


@dataclass(slots=True)
class Oracle:
    """What the release's own list of jobs implies must be told, by the table of who hears what."""

    recording: Recording
    allowed: str = ""  # the end of the addresses that recipients.allow lets pass
    told: dict[JobKey, list[str]] = field(default_factory=dict)
    peers: set[str] = field(default_factory=set)

    def begin(self, step: Step) -> list[JobKey]:
        """The first look: everything counts as told; returns the jobs that join the catch-up."""
        self.expect(step)
        return [job for job, status in step.status.items() if status in WAITING]

    def expect(self, step: Step) -> Counter[Told]:
        """The mails that `step` owes beyond those before it."""
        owed: Counter[Told] = Counter()
        for job, status in step.status.items():
            known = self.told.setdefault(job, [])
            if status not in ENDED:  # rerun: its next end is another
                known[:] = [kind for kind in known if kind not in {"job_completed", "job_failed"}]
            for kind in self._facts(step, job, status):
                if kind not in known:
                    known.append(kind)
                    owed.update((kind, *who) for who in self._who(kind, job))
        for peer in {ANA, BO} - self.peers:
            if any(f"/inbox/{peer}/" in name or f"/job/{peer}/" in name for name in step.files):
                self.peers.add(peer)
                owed["peer_granted", "submitter", peer] += 1
        return owed

    def _facts(self, step: Step, job: JobKey, status: str) -> Iterator[str]:
        yield "job_submitted"
        if status in {"approved", "running", *ENDED}:
            yield "job_approved"
        if status == "rejected":
            yield "job_rejected"
        if status == "failed":
            yield "job_failed"
        if status == "done":
            yield "job_failed" if self._has_failed(step, job) else "job_completed"

    def _has_failed(self, step: Step, job: JobKey) -> bool:
        """A and B call every end `done`; the return code tells."""
        folder = f"/{job[0]}/{job[1]}" if self.recording.proves_submitters else f"/{job[1]}"
        ends = (f"{folder}/returncode.txt", f"{folder}/logs/returncode.txt")
        codes = [content for name, content in step.files.items() if name.endswith(ends)]
        return not self.recording.is_reviewed and any(code.strip() != b"0" for code in codes)

    def _who(self, kind: str, job: JobKey) -> Iterator[tuple[str, str]]:
        if kind not in {"job_approved", "job_rejected"}:
            yield "owner", OWNER
        if self.recording.proves_submitters or (self.allowed and job[0].endswith(self.allowed)):
            yield "submitter", job[0]


@pytest.fixture(scope="module", params=RECORDINGS, ids=lambda path: path.name.removesuffix(".tar.gz"))
def recording(request: pytest.FixtureRequest) -> Recording:
    return read_recording(request.param)


@pytest.fixture
def player(box: Box) -> Player:
    return Player(Disk(box.root, box.clock.time))


@dataclass(slots=True)
class Postbox:
    """Reads the head of each mail once: a recording brings a hundred of them."""

    box: Box
    _read: set[str] = field(default_factory=set)

    def new(self) -> Counter[Told]:
        """Who was told what since this was last asked."""
        folder = self.box.home.mail / "new"
        fresh = [path for path in folder.iterdir() if path.name not in self._read] if folder.is_dir() else []
        self._read.update(path.name for path in fresh)
        heads = [BytesHeaderParser(policy=default).parsebytes(path.read_bytes()) for path in fresh]
        return Counter(
            (str(head["X-SyftNotify-Event"]), str(head["X-SyftNotify-Audience"]), str(head["To"])) for head in heads
        )


@pytest.fixture
def postbox(box: Box) -> Postbox:
    return Postbox(box)


def look_with(box: Box, parts: Parts) -> None:
    parts.look_once(box.last_look)
    box.last_look = box.clock.now


def bring(box: Box, player: Player, step: Step) -> None:
    box.clock.advance(10)
    player.play(step)


ALLOWING = pytest.mark.parametrize("allowed", ["", "@uni.example"], ids=["nobody allowed", "uni allowed"])


@ALLOWING
def test_each_step_tells_exactly_what_the_client_says_through_restarts(
    box: Box, player: Player, postbox: Postbox, recording: Recording, allowed: str
) -> None:
    """X10: every fact once, to everybody who must hear it and to nobody else, with a fresh process at every look.

    All of it at the first look after it, but for an end whose return code has not been written.
    """
    if allowed and recording.proves_submitters:
        pytest.skip("the path proves who submitted")
    box.configure(ALLOWED if allowed else None)
    oracle = Oracle(recording, allowed)
    box.look()
    assert postbox.new() == Counter()
    for step in recording.steps:
        bring(box, player, step)
        box.look()
        at_once = postbox.new()
        box.clock.advance(SETTLED_SECONDS)
        box.look()
        late = postbox.new()
        assert at_once + late == oracle.expect(step), step.label
        # B2's second run left the bytes of returncode.txt as they were, so the player does not write it anew.
        may_settle = not recording.is_reviewed and ("deposit" in step.label or "run2" in step.label)
        assert not late or may_settle, step.label
    for _ in range(2):
        box.clock.advance(100)
        box.look()
    assert postbox.new() == Counter(), "a second look tells nothing"


@ALLOWING
def test_each_step_tells_exactly_what_the_client_says_in_one_process(
    box: Box, player: Player, postbox: Postbox, recording: Recording, allowed: str
) -> None:
    """X10: the same from a worker that lives through all of it and reads again only what changed."""
    if allowed and recording.proves_submitters:
        pytest.skip("the path proves who submitted")
    box.configure(ALLOWED if allowed else None)
    oracle = Oracle(recording, allowed)
    parts = box.parts()
    try:
        look_with(box, parts)
        assert postbox.new() == Counter()
        for step in recording.steps:
            bring(box, player, step)
            look_with(box, parts)
            box.clock.advance(SETTLED_SECONDS)
            look_with(box, parts)
            assert postbox.new() == oracle.expect(step), step.label
    finally:
        parts.close()


def test_steps_that_nobody_saw_are_told_all_the_same(
    box: Box, player: Player, postbox: Postbox, recording: Recording
) -> None:
    """Facts, not edges: a worker that sees only the last step tells every fact that is still true."""
    box.look()
    bring(box, player, recording.steps[-1])
    box.clock.advance(SETTLED_SECONDS)
    box.look()
    assert postbox.new() == Oracle(recording).expect(recording.steps[-1])


@pytest.mark.parametrize("start", ["receive", "approve-bo", "deposit-ana"])
def test_a_first_look_in_the_middle_catches_up_and_goes_on(
    box: Box, player: Player, postbox: Postbox, recording: Recording, start: str
) -> None:
    """B05: waiting jobs in one message to the owner, nothing to anybody else, and later ends are told."""
    oracle = Oracle(recording)
    begin = recording.first_of(start)
    for step in recording.steps[: begin + 1]:
        player.play(step)
    waiting = oracle.begin(recording.steps[begin])
    box.clock.advance(SETTLED_SECONDS)
    box.look()

    assert postbox.new() == Counter({("digest", "owner", OWNER): 1} if waiting else {})
    entities = [entity for mail in box.mails() for entity in mail.entities]
    assert sorted(entities) == sorted(recording.entity(job) for job in waiting)

    for step in recording.steps[begin + 1 :]:
        bring(box, player, step)
        box.clock.advance(SETTLED_SECONDS)
        box.look()
        assert postbox.new() == oracle.expect(step), step.label


def test_the_reason_of_a_rejection_reaches_its_scientist(box: Box, player: Player, recording: Recording) -> None:
    if not recording.is_reviewed:
        pytest.skip("this release knows no rejection")
    box.look()
    bring(box, player, recording.steps[recording.first_of("reject")])
    box.look()
    (mail,) = [mail for mail in box.mails() if mail.event == "job_rejected"]
    assert mail.to == ANA
    assert "touches raw rows" in mail.text
    assert "touches raw rows" in mail.html
    assert "<b>bold" not in mail.html


def test_after_time_off_more_than_five_come_in_one_message(
    box: Box, player: Player, postbox: Postbox, recording: Recording
) -> None:
    """No look for more than an hour: what happened meanwhile leaves as one message for each recipient."""
    box.look()
    box.clock.advance(3 * 3600)
    player.play(recording.steps[-1])
    box.clock.advance(SETTLED_SECONDS)
    box.look()
    owed = Oracle(recording).expect(recording.steps[-1])
    expected: Counter[Told] = Counter()
    for recipient in {OWNER, ANA, BO}:
        own = Counter({told: count for told, count in owed.items() if told[2] == recipient})
        if own.total() > 5:
            audience = "owner" if recipient == OWNER else "submitter"
            expected["digest", audience, recipient] += 1
        else:
            expected += own
    assert postbox.new() == expected
