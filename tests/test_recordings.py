"""What published clients really wrote, step by step, through the whole pipeline."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from email.policy import default

import pytest

from syftnotify.runtime.container import App
from tests.recorded import RECORDINGS, Oracle, Player, Recording, Step, read_recording
from tests.support import ANA, BO, OWNER, Box, Sent
from tests.trees import Disk

ALLOWED = {"recipients": {"allow": ["*@uni.example"]}}
# The recordings hold no snapshot of syft-bg: the folders alone show that a peer was accepted.
BY_FOLDERS = {"peers_from_folders": True}
# Older than any marker must be, so that an end without a return code is believed.
SETTLED_SECONDS = 6.0


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

    def new(self) -> Counter[Sent]:
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


def look_with(box: Box, parts: App) -> None:
    parts.run_once(box.last_look)
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
    box.configure(ALLOWED if allowed else None, notify=BY_FOLDERS)
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
    box.configure(ALLOWED if allowed else None, notify=BY_FOLDERS)
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
    box.configure(notify=BY_FOLDERS)
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
    box.configure(notify=BY_FOLDERS)
    box.look()
    box.clock.advance(3 * 3600)
    player.play(recording.steps[-1])
    box.clock.advance(SETTLED_SECONDS)
    box.look()
    owed = Oracle(recording).expect(recording.steps[-1])
    expected: Counter[Sent] = Counter()
    for recipient in {OWNER, ANA, BO}:
        own = Counter({told: count for told, count in owed.items() if told[2] == recipient})
        if own.total() > 5:
            audience = "owner" if recipient == OWNER else "submitter"
            expected["digest", audience, recipient] += 1
        else:
            expected += own
    assert postbox.new() == expected
