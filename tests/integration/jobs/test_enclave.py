"""Jobs of an enclave, which several owners approve: what syft-enclave 0.1.1 wrote in its four roles."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syftnotify.store.outbox.store import SqliteOutbox
from tests.scanning import scan_once
from tests.support import ANA, DATA, OWNER, Box, Mail, Sent

pytestmark = pytest.mark.check_only


ENCLAVE, SECOND = "enclave@tee.example", "do2@hospital.example"
SUBMITTED_AT = datetime(2026, 11, 27, 12, 44, 38, tzinfo=UTC).timestamp()  # of the first job in the recording
NOTHING: Counter[Sent] = Counter()


class Recording:
    """Plays the steps of the recording for one role: `enclave`, `do1`, `do2` or `ds`."""

    def __init__(self, root: Path, role: str) -> None:
        self._root = root
        with tarfile.open(DATA / "enclave" / "syft-enclave-0.1.1.tar.gz") as archive:
            contents = {each.name: archive.extractfile(each) for each in archive.getmembers()}
            files = {name: file.read() for name, file in contents.items() if file is not None}
        self.steps = [step["step"] for step in json.loads(files.pop("manifest.json"))["steps"]]
        self._files = {
            step: {
                name.removeprefix(f"{step}/{role}/"): content
                for name, content in files.items()
                if name.startswith(f"{step}/{role}/")
            }
            for step in self.steps
        }

    def play(self, number: int) -> None:
        """Bring the folder to the state after the step with that number: changed files are written in place."""
        for name, content in self._files[self.steps[number]].items():
            path = self._root / name
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def configured(box: Box, email: str, **changes: object) -> None:
    box.configure({"do_email": email, **changes})


def sent(box: Box) -> Counter[Sent]:
    """What a scan a minute later sends."""
    box.clock.advance(60)
    scan_once(box)
    return Counter(mail.sent for mail in box.new_mails())


def played(box: Box, recording: Recording, *numbers: int) -> list[Counter[Sent]]:
    """What is sent after each of these steps."""
    found = []
    for number in numbers:
        recording.play(number)
        found.append(sent(box))
    return found


def to_owners(event: str, *owners: str) -> Counter[Sent]:
    return Counter({(event, "owner", owner): 1 for owner in owners})


def to_scientist(event: str) -> Counter[Sent]:
    return Counter({(event, "submitter", ANA): 1})


def test_enclave_notifies_all_owners_and_the_scientist(box: Box) -> None:
    """E: the submission asks every owner; the approval is that of all."""
    configured(box, ENCLAVE)
    recording = Recording(box.root, "enclave")
    played(box, recording, 0)

    assert played(box, recording, 2, 4, 5, 6) == [
        to_owners("job_submitted", OWNER, SECOND) + to_scientist("job_submitted"),
        NOTHING,
        to_scientist("job_approved"),
        to_owners("job_completed", OWNER, SECOND) + to_scientist("job_completed"),
    ]


def test_enclave_job_that_ends_between_two_scans_was_approved(box: Box) -> None:
    """E: `state.yaml` has no time of an approval."""
    configured(box, ENCLAVE)
    recording = Recording(box.root, "enclave")
    played(box, recording, 0, 2)

    assert played(box, recording, 6, 7) == [
        to_scientist("job_approved") + to_owners("job_completed", OWNER, SECOND) + to_scientist("job_completed"),
        NOTHING,
    ]


def test_enclave_rejection_by_one_owner_rejects_the_job(box: Box) -> None:
    """E"""
    configured(box, ENCLAVE)
    recording = Recording(box.root, "enclave")
    played(box, recording, 7, 8)

    (found,) = played(box, recording, 9)

    assert found == to_scientist("job_rejected")


def test_owner_is_notified_of_a_job_that_waits_at_an_enclave(box: Box) -> None:
    """E: on the owner's machine only the own approval is known, and only the owner is notified."""
    configured(box, OWNER)
    recording = Recording(box.root, "do1")
    played(box, recording, 0)

    assert played(box, recording, 3, 4, 5, 6, 7) == [
        to_owners("job_submitted", OWNER),
        NOTHING,
        NOTHING,
        NOTHING,
        to_owners("job_completed", OWNER),  # results are shared with the owners
    ]


@pytest.mark.parametrize(
    ("role", "email", "waiting"),
    [("do1", OWNER, [0, 1, 0, 0, 0]), ("enclave", ENCLAVE, [1, 1, 1, 0, 0]), ("ds", ANA, [0, 0, 0, 0, 0])],
)
def test_job_of_an_enclave_waits_for_the_decision_of_the_owner(
    box: Box, role: str, email: str, waiting: list[int]
) -> None:
    """A job waits on the page of an owner until that owner has approved, and at the enclave until all have."""
    configured(box, email, role="scientist" if role == "ds" else "owner")
    recording = Recording(box.root, role)
    found = []
    for number in (2, 3, 4, 5, 6):
        played(box, recording, number)
        with closing(SqliteOutbox(box.home.outbox)) as outbox:
            found.append(outbox.decisions.count())

    assert found == waiting


def test_scientist_is_notified_of_the_end_at_an_enclave(box: Box) -> None:
    """E"""
    configured(box, ANA, role="scientist")
    recording = Recording(box.root, "ds")
    played(box, recording, 0, 1)

    (found,) = played(box, recording, 7)

    assert found == to_scientist("job_approved") + to_scientist("job_completed")


def test_submission_names_the_approvals_that_are_given(box: Box) -> None:
    """E: an owner who has approved is not asked again."""
    configured(box, ENCLAVE)
    recording = Recording(box.root, "enclave")
    played(box, recording, 0)
    recording.play(4)
    box.clock.advance(60)
    scan_once(box)

    (mail,) = [mail for mail in box.new_mails() if mail.audience == "owner"]
    assert mail.to == SECOND
    assert "It needs your approval; 1 of 2 approvals are given." in mail.text


def test_reminders_go_to_the_owners_who_have_not_decided(box: Box) -> None:
    """E, X08"""
    configured(box, ENCLAVE, reminders={"job_waiting": "1h"})
    box.clock.now = SUBMITTED_AT
    recording = Recording(box.root, "enclave")
    played(box, recording, 0, 2, 4)

    box.clock.advance(3600)
    assert sent(box) == to_owners("job_waiting", SECOND)


def test_approval_that_is_being_written_decides_nothing(box: Box) -> None:
    """E: clients write in place."""
    configured(box, ENCLAVE)
    recording = Recording(box.root, "enclave")
    played(box, recording, 0, 2)
    recording.play(5)
    (approval,) = box.root.rglob(f"{OWNER}_approval_state.json")
    approval.write_bytes(b"")

    assert sent(box) == NOTHING
    assert played(box, recording, 5) == [to_scientist("job_approved")]


@pytest.mark.parametrize(
    "content",
    [b"[]", b'{"status": ["approved"]}', b'{"status": "granted", "approved_at": {}}', b"[" * 100_000, b"x" * 100_000],
    ids=["list", "status-list", "unknown", "deep", "large"],
)
def test_unusable_approval_files_decide_nothing(box: Box, content: bytes) -> None:
    """X11: and a file whose name is no address belongs to nobody."""
    configured(box, ENCLAVE)
    recording = Recording(box.root, "enclave")
    played(box, recording, 0)
    recording.play(4)
    (approval,) = box.root.rglob(f"{OWNER}_approval_state.json")
    approval.write_bytes(content)
    for name in ("nobody", "two@at@signs.example", " @x"):
        approval.with_name(f"{name}_approval_state.json").write_bytes(b'{"status": "approved"}')

    found = Counter(mail.sent for _ in range(3) for mail in _mails_after(box))

    assert found == to_owners("job_submitted", OWNER, SECOND) + to_scientist("job_submitted")


def _mails_after(box: Box) -> list[Mail]:
    box.clock.advance(60)
    scan_once(box)
    return box.new_mails()
