"""Recordings of what published clients wrote, step by step, through the whole pipeline."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from email.policy import default
from functools import lru_cache

import pytest

from tests.recorded import RECORDINGS, Oracle, Player, Recording, Step, read_recording
from tests.scanning import scan_with
from tests.support import ANA, BO, OWNER, Box, Sent
from tests.trees import Disk

ALLOWED = {"recipients": {"allow": ["*@uni.example"]}}
# The recordings hold no snapshot of syft-bg: the folders alone show that a peer was accepted.
BY_FOLDERS = {"peers_from_folders": True}
# Older than any marker must be, so that an end without a return code is believed.
SETTLED_SECONDS = 6.0


def recorded(*releases: str) -> pytest.MarkDecorator:
    """Replay the recordings of these releases; of all others as thorough tests."""
    names = {path.name.removesuffix(".tar.gz").removeprefix("syft-job-"): path for path in RECORDINGS}
    params = [
        pytest.param(path, id=name, marks=[] if name in releases else pytest.mark.thorough)
        for name, path in names.items()
    ]
    assert set(releases) <= set(names)
    return pytest.mark.parametrize("recording", params, indirect=True)


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Recording:
    return cached_recording(request.param)


cached_recording = lru_cache(read_recording)


@pytest.fixture
def player(box: Box) -> Player:
    return Player(Disk(box.root, box.clock.time))


@dataclass(slots=True)
class Postbox:
    """Reads the head of each mail once: a recording brings a hundred of them."""

    box: Box
    _read: set[str] = field(default_factory=set)

    def new(self) -> Counter[Sent]:
        """Event, audience and recipient of each mail since the last call."""
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


def advance(box: Box, player: Player, step: Step) -> None:
    box.clock.advance(10)
    player.play(step)


ALLOWED_SUBMITTERS = pytest.mark.parametrize(
    "allowed", ["", pytest.param("@uni.example", marks=pytest.mark.thorough)], ids=["nobody allowed", "uni allowed"]
)


@pytest.mark.thorough
@recorded("0.1.40")
@ALLOWED_SUBMITTERS
def test_recorded_steps_are_notified_once_through_restarts(
    box: Box, player: Player, postbox: Postbox, recording: Recording, allowed: str
) -> None:
    """X10, S01: every fact once, to everybody who must get it and to nobody else, with a new process at every scan.

    All of it at the first scan after it, but for an end whose return code has not been written.
    """
    if allowed and recording.has_submitters:
        pytest.skip("the path proves who submitted")
    box.configure(ALLOWED if allowed else None, notify=BY_FOLDERS)
    oracle = Oracle(recording, allowed)
    box.scan()
    assert postbox.new() == Counter()
    for step in recording.steps:
        advance(box, player, step)
        box.scan()
        at_once = postbox.new()
        box.clock.advance(SETTLED_SECONDS)
        box.scan()
        late = postbox.new()
        assert at_once + late == oracle.expect(step), step.label
        # B2's second run left the bytes of returncode.txt as they were, so the player does not write it anew.
        may_settle = not recording.is_reviewed and ("deposit" in step.label or "run2" in step.label)
        assert not late or may_settle, step.label
    for _ in range(2):
        box.clock.advance(100)
        box.scan()
    assert postbox.new() == Counter(), "another scan repeats nothing"


@recorded("0.1.5", "0.1.9", "0.1.26", "0.1.40")
@ALLOWED_SUBMITTERS
def test_recorded_steps_are_notified_once_by_one_process(
    box: Box, player: Player, postbox: Postbox, recording: Recording, allowed: str
) -> None:
    """X10: the same from a worker that lives through all of it and reads again only what changed."""
    if allowed and recording.has_submitters:
        pytest.skip("the path proves who submitted")
    box.configure(ALLOWED if allowed else None, notify=BY_FOLDERS)
    oracle = Oracle(recording, allowed)
    with contextlib.closing(box.open_app()) as app:
        scan = scan_with(box, app)
        scan()
        assert postbox.new() == Counter()
        for step in recording.steps:
            advance(box, player, step)
            scan()
            box.clock.advance(SETTLED_SECONDS)
            scan()
            assert postbox.new() == oracle.expect(step), step.label


@recorded("0.1.9", "0.1.40")
def test_recorded_steps_that_were_missed_are_notified(
    box: Box, player: Player, postbox: Postbox, recording: Recording
) -> None:
    """Facts, not edges: a worker that scans only after the last step notifies every fact that is still true."""
    box.configure(notify=BY_FOLDERS)
    box.scan()
    advance(box, player, recording.steps[-1])
    box.clock.advance(SETTLED_SECONDS)
    box.scan()
    assert postbox.new() == Oracle(recording).expect(recording.steps[-1])


@pytest.mark.thorough
@recorded("0.1.40")
@pytest.mark.parametrize("start", ["receive", "approve-bo", "deposit-ana"])
def test_baseline_in_the_middle_of_a_recording_catches_up(
    box: Box, player: Player, postbox: Postbox, recording: Recording, start: str
) -> None:
    """B05: waiting jobs in one message to the owner, nothing to anybody else, and later ends are notified."""
    oracle = Oracle(recording)
    begin = recording.index_of(start)
    for step in recording.steps[: begin + 1]:
        player.play(step)
    waiting = oracle.baseline(recording.steps[begin])
    box.clock.advance(SETTLED_SECONDS)
    box.scan()

    assert postbox.new() == Counter({("digest", "owner", OWNER): 1} if waiting else {})
    entities = [entity for mail in box.mails() for entity in mail.entities]
    assert sorted(entities) == sorted(recording.entity(job) for job in waiting)

    for step in recording.steps[begin + 1 :]:
        advance(box, player, step)
        box.clock.advance(SETTLED_SECONDS)
        box.scan()
        assert postbox.new() == oracle.expect(step), step.label


@recorded("0.1.40")
def test_recorded_rejection_reason_is_in_the_mail(box: Box, player: Player, recording: Recording) -> None:
    if not recording.is_reviewed:
        pytest.skip("this release has no rejection")
    box.scan()
    advance(box, player, recording.steps[recording.index_of("reject")])
    box.scan()
    (mail,) = [mail for mail in box.mails() if mail.event == "job_rejected"]
    assert mail.to == ANA
    assert "touches raw rows" in mail.text
    assert "touches raw rows" in mail.html
    assert "<b>bold" not in mail.html


@recorded("0.1.40")
def test_recorded_steps_during_downtime_are_one_digest(
    box: Box, player: Player, postbox: Postbox, recording: Recording
) -> None:
    """No scan for more than an hour: more than five messages to a recipient become one."""
    box.configure(notify=BY_FOLDERS)
    box.scan()
    box.clock.advance(3 * 3600)
    player.play(recording.steps[-1])
    box.clock.advance(SETTLED_SECONDS)
    box.scan()
    required = Oracle(recording).expect(recording.steps[-1])
    expected: Counter[Sent] = Counter()
    for recipient in {OWNER, ANA, BO}:
        own = Counter({sent: count for sent, count in required.items() if sent[2] == recipient})
        if own.total() > 5:
            audience = "owner" if recipient == OWNER else "submitter"
            expected["digest", audience, recipient] += 1
        else:
            expected += own
    assert postbox.new() == expected
