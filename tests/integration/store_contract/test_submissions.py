"""Store contract: copies of submissions, and the owner's decisions about them (X09)."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.kinds import Status
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.submissions import Decision, Submission, SubmissionVersion
from syftnotify.store.outbox.store import SqliteOutbox
from tests.integration.store_contract.stores import OpenOutbox
from tests.support import ANA, BO, OWNER

KEPT = 40  # copies of one submitter
FILES = {"main.py": "print('é')\n", "a.py": "", "config.yaml": "name: a\n"}
HASHES = {"main.py": "1a", "a.py": "2b", "config.yaml": "3c", "model.pkl": "4d"}
DECIDED_AT = "2026-11-20T10:00:00Z"


def submission(name: str = "a", submission_id: str = "T1", **more: Any) -> Submission:
    fields = {
        "owner": OWNER,
        "submitter": ANA,
        "name": name,
        "fingerprint": "0f",
        "files": FILES,
        "hashes": HASHES,
        **more,
    }
    return Submission(f"job/{fields['owner']}/{fields['submitter']}/{name}", submission_id, **fields)


def decision(about: Submission, status: Status = Status.REJECTED, reason: str = "reads rows") -> Decision:
    return Decision(about.entity, about.submission_id, status, reason, DECIDED_AT)


def find(outbox: OutboxStore, about: Submission) -> Submission | None:
    return outbox.submissions.find(about.entity, about.submission_id)


def record_decided(outbox: OutboxStore, *submissions: Submission) -> None:
    outbox.submissions.record(submissions, [decision(each) for each in submissions], 1.0)


def test_record_keeps_the_copy_for_another_process(open_outbox: OpenOutbox) -> None:
    """With the order of its files, which is that of display."""
    copy = submission()
    open_outbox().submissions.record([copy], [], 1.0)
    found = find(open_outbox(), copy)

    assert found == copy
    assert found is not None
    assert list(found.files) == list(FILES)


def test_find_needs_entity_and_submission_id(outbox: OutboxStore) -> None:
    """A job that was deleted and submitted again is another submission."""
    first, second = submission(fingerprint="1"), submission(submission_id="T2", fingerprint="2")
    outbox.submissions.record([first, second], [], 1.0)

    assert [find(outbox, each) for each in (first, second)] == [first, second]
    assert find(outbox, submission(submission_id="T3")) is None
    assert find(outbox, submission("b")) is None


def test_record_of_a_decision_is_in_the_copy(outbox: OutboxStore) -> None:
    """Only in that of the submission it is about."""
    first, second = submission(), submission(submission_id="T2")
    outbox.submissions.record([first, second], [], 1.0)
    outbox.submissions.record([], [decision(first)], 2.0)
    found = find(outbox, first)

    assert found is not None
    assert (found.status, found.reason, found.decided_at) == (Status.REJECTED, "reads rows", DECIDED_AT)
    assert found.files == FILES
    assert find(outbox, second) == second


def test_record_of_another_decision_replaces_the_first(outbox: OutboxStore) -> None:
    copy = submission()
    record_decided(outbox, copy)
    outbox.submissions.record([], [decision(copy, Status.APPROVED, "")], 2.0)

    assert [(each.status, each.reason) for each in outbox.submissions.decided(OWNER, ANA)] == [(Status.APPROVED, "")]


def test_record_of_a_copy_again_replaces_it_and_keeps_the_decision(outbox: OutboxStore) -> None:
    record_decided(outbox, submission())
    changed = submission(fingerprint="ff", files={"main.py": "x\n"})
    outbox.submissions.record([changed], [], 2.0)
    (found,) = outbox.submissions.decided(OWNER, ANA)

    assert (found.fingerprint, found.files) == ("ff", {"main.py": "x\n"})
    assert (found.status, found.reason, found.decided_at) == (Status.REJECTED, "reads rows", DECIDED_AT)


def test_record_of_copy_and_decision_at_once_keeps_both(outbox: OutboxStore) -> None:
    copy = submission()
    outbox.submissions.record([copy], [decision(copy)], 1.0)

    assert [each.status for each in outbox.submissions.decided(OWNER, ANA)] == [Status.REJECTED]


def test_record_of_a_decision_without_a_copy_is_ignored(outbox: OutboxStore) -> None:
    copy = submission()
    outbox.submissions.record([], [decision(copy)], 1.0)

    assert outbox.submissions.decided(OWNER, ANA) == []
    outbox.submissions.record([copy], [], 2.0)
    assert find(outbox, copy) == copy


def test_record_of_nothing_changes_nothing(outbox: OutboxStore) -> None:
    outbox.submissions.record([submission()], [], 1.0)
    outbox.submissions.record([], [], 2.0)

    assert find(outbox, submission()) == submission()


def test_decided_has_the_latest_first_without_waiting_ones(outbox: OutboxStore) -> None:
    """By the order of the submissions, whatever the order of the decisions."""
    first, waiting, third = (submission(name) for name in ("first", "waiting", "third"))
    for copy in (first, waiting, third):
        outbox.submissions.record([copy], [], 1.0)
    for copy in (third, first):
        outbox.submissions.record([], [decision(copy)], 2.0)

    assert [each.name for each in outbox.submissions.decided(OWNER, ANA)] == ["third", "first"]


def test_decided_is_of_one_owner_and_one_submitter(outbox: OutboxStore) -> None:
    other = "other@datasite.example"
    record_decided(outbox, submission(), submission(submitter=BO), submission(owner=other), submission(submitter=""))

    for owner, submitter in ((OWNER, ANA), (OWNER, BO), (other, ANA), (OWNER, "")):
        assert [(each.owner, each.submitter) for each in outbox.submissions.decided(owner, submitter)] == [
            (owner, submitter)
        ]
    assert outbox.submissions.decided(other, BO) == []


def test_versions_have_fingerprints_and_times_of_the_entities(outbox: OutboxStore) -> None:
    first, again, other = submission(), submission(submission_id="T2"), submission("b")
    outbox.submissions.record([first], [], 1.0)
    outbox.submissions.record([again, other], [], 2.0)
    outbox.submissions.record([submission(fingerprint="ff")], [], 3.5)

    assert outbox.submissions.versions([first.entity, "job/none"]) == {
        (first.entity, "T1"): SubmissionVersion("ff", 3.5),
        (first.entity, "T2"): SubmissionVersion("0f", 2.0),
    }
    assert outbox.submissions.versions([]) == {}


def test_versions_take_more_entities_than_one_statement_holds(outbox: OutboxStore) -> None:
    """SQLite takes 999 values in one statement."""
    outbox.submissions.record([submission("n1000")], [], 1.0)
    entities = [submission(f"n{number}").entity for number in range(1100)]

    assert outbox.submissions.versions(entities) == {
        (submission("n1000").entity, "T1"): SubmissionVersion("0f", 1.0),
    }


def test_record_of_many_copies_drops_the_oldest_of_their_submitter(outbox: OutboxStore) -> None:
    """At least their texts. Those of others stay: one submitter displaces no other."""
    others = [submission("old", submitter=BO), submission("old", owner="other@datasite.example")]
    copies = [submission(f"n{number}") for number in range(KEPT + 3)]
    outbox.submissions.record(others, [], 1.0)
    for copy in copies[:KEPT]:
        outbox.submissions.record([copy], [], 1.0)
    assert [find(outbox, each) for each in copies[:KEPT]] == copies[:KEPT]
    outbox.submissions.record(copies[KEPT:], [], 2.0)

    kept = [found for each in copies if (found := find(outbox, each)) is not None and found.files]
    assert kept == copies[3:]
    assert [find(outbox, each) for each in others] == others


def test_record_of_a_copy_again_drops_no_other(outbox: OutboxStore) -> None:
    copies = [submission(f"n{number}") for number in range(KEPT)]
    outbox.submissions.record(copies, [], 1.0)
    for _ in range(3):
        outbox.submissions.record(copies[:1], [], 2.0)

    assert [find(outbox, each) for each in copies] == copies


def test_record_keeps_hostile_texts_as_they_are(outbox: OutboxStore) -> None:
    """Half of a surrogate pair, which the name of a file may have, is no valid UTF-8."""
    copy = submission(files={"'; DROP TABLE--\udc80": "\x00\ud800\u202e\U0001f600", "": "x" * 500_000})
    outbox.submissions.record([copy], [], 1.0)

    assert find(outbox, copy) == copy


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param("files", b"no zlib", id="no zlib"),
        pytest.param("files", zlib.compress(b'{"a.py": "x"}')[:-5], id="cut off"),
        pytest.param("files", zlib.compress(b""), id="empty"),
        pytest.param("files", zlib.compress(b"[1]"), id="list"),
        pytest.param("files", zlib.compress(b"null"), id="null"),
        pytest.param("files", zlib.compress(b"[" * 100_000), id="nested"),
        pytest.param("status", "unknown", id="status"),
    ],
)
def test_damaged_copy_is_ignored_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, value: object
) -> None:
    """X02: in a database file; the other copies are used."""
    damaged, intact = submission("damaged"), submission("intact")
    with contextlib.closing(SqliteOutbox(tmp_path / "outbox.db")) as outbox:
        record_decided(outbox, damaged, intact)
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as connection:
        connection.execute(f"UPDATE submissions SET {column} = ? WHERE name = 'damaged'", (value,))
        connection.commit()
    with contextlib.closing(SqliteOutbox(tmp_path / "outbox.db")) as outbox, caplog.at_level(logging.ERROR):
        assert find(outbox, damaged) is None
        assert [each.name for each in outbox.submissions.decided(OWNER, ANA)] == ["intact"]

    assert damaged.entity in caplog.records[0].getMessage()
    assert "is ignored" in caplog.records[0].getMessage()
