"""The files that are written and the notifications owed for them: rounds of recordings of published clients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from syftnotify.core.identifiers import entity_id
from tests.recorded import RECORDINGS, Oracle, Recording, Step, read_recording
from tests.support import ANA, BO, OWNER

# Layouts D and C, alternating.
_RELEASES = ("0.1.40", "0.1.38")


class Owed(NamedTuple):
    """A fact and a recipient who must be notified of it."""

    event: str
    audience: str
    recipient: str
    entity: str


@dataclass(frozen=True, slots=True)
class Round:
    """One recording with its own scientists, so that every round causes notifications."""

    steps: tuple[Step, ...]
    owed: frozenset[Owed]


def round_of(number: int) -> Round:
    """The round of that number, from 0; the same in every process."""
    steps, owed = _steps_and_owed(number % len(_RELEASES))
    return Round(
        tuple(_renamed(step, number) for step in steps),
        frozenset(Owed(*(_with_number(value, number) for value in each)) for each in owed),
    )


def owed_by(rounds: Iterable[Round]) -> frozenset[Owed]:
    return frozenset(each for one in rounds for each in one.owed)


def recording_of(number: int) -> Recording:
    """The recording of the round of that number."""
    release = _RELEASES[number % len(_RELEASES)]
    (path,) = (path for path in RECORDINGS if path.name == f"syft-job-{release}.tar.gz")
    return read_recording(path)


@cache
def _steps_and_owed(number: int) -> tuple[tuple[Step, ...], frozenset[Owed]]:
    recording = recording_of(number)
    steps = _without_rerun(recording)
    return steps, frozenset(_owed(recording, steps[-1]))


def _without_rerun(recording: Recording) -> tuple[Step, ...]:
    """The steps without the rerun of a job, whose files stay unchanged.

    Everything else that the steps make true stays true, so a worker that was down meanwhile must report it: every item
    is strictly owed. A rerun overwrites the end of the first run, which a worker that was down cannot detect.
    """
    rerun, rerun_ended = recording.index_of("rerun-"), recording.index_of("run2-")
    before, after = recording.steps[rerun - 1].files, recording.steps[rerun_ended].files
    touched = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    kept = {name: before[name] for name in touched & before.keys()}
    later = (
        replace(step, files={name: content for name, content in step.files.items() if name not in touched} | kept)
        for step in recording.steps[rerun_ended + 1 :]
    )
    return *recording.steps[:rerun], *later


def _owed(recording: Recording, last: Step) -> Iterator[Owed]:
    """Everything owed after the last step: job by job, because of the entities, then the peers."""
    for job, status in last.status.items():
        alone = replace(last, status={job: status}, files={})
        for sent in Oracle(recording).expect(alone):
            yield Owed(*sent, recording.entity(job))
    for sent in Oracle(recording).expect(replace(last, status={})):
        yield Owed(*sent, entity_id("peer", OWNER, sent[2]))


def _renamed(step: Step, number: int) -> Step:
    return Step(
        step.label,
        {
            _with_number(name, number): _with_number(content.decode(), number).encode()
            for name, content in step.files.items()
        },
        frozenset(_with_number(name, number) for name in step.folders),
        {(_with_number(job[0], number), job[1]): status for job, status in step.status.items()},
    )


def _with_number(text: str, number: int) -> str:
    """Add the number of the round to the addresses: ana@uni.example becomes ana-17@uni.example."""
    for address in (ANA, BO):
        user, _, domain = address.partition("@")
        text = text.replace(address, f"{user}-{number}@{domain}")
    return text
