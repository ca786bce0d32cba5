"""The ledger of a worker: notified and owed events, occurrences, baselines, the revision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.ledger.manager import JsonStateManager

BASELINE = ("jobs o@x.org", "2026-01-01T00:00:00+00:00")


def written(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_notes(path: Path, notes: dict[str, Any], notified: dict[str, list[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    data = {"syftnotify": notes}
    path.write_bytes(orjson.dumps({"version": 1, "notified": notified, "owed": {}, "data": data}))


def test_ledger_writes_the_documented_format_privately(path: Path) -> None:
    ledger = Ledger(path)
    ledger.mark_owed("job/x", EventKind.JOB_FAILED, "T1")
    ledger.mark_settled("job/x", EventKind.JOB_SUBMITTED, "T0")
    ledger.save()

    content = written(path)
    assert content["version"] == 1
    assert content["notified"] == {"job/x": ["new"]}
    assert content["owed"] == {"job/x": ["job_failed"]}
    assert path.stat().st_mode & 0o777 == 0o600


def test_ledger_without_changes_writes_nothing(path: Path) -> None:
    Ledger(path).save()

    assert not path.exists()


def test_ledger_gives_later_occurrences_a_label_with_the_occurrence(path: Path) -> None:
    ledger = Ledger(path)
    ledger.mark_owed("job/x", EventKind.JOB_COMPLETED, "T1")
    ledger.mark_settled("job/x", EventKind.JOB_COMPLETED, "T1")
    ledger.mark_owed("job/x", EventKind.JOB_COMPLETED, "T2")
    ledger.save()

    assert written(path)["notified"] == {"job/x": ["executed"]}
    assert written(path)["owed"] == {"job/x": ["job_completed@T2"]}
    reopened = Ledger(path)
    assert reopened.is_recorded("job/x", EventKind.JOB_COMPLETED, "T1")
    assert reopened.is_recorded("job/x", EventKind.JOB_COMPLETED, "T2")
    assert not reopened.is_recorded("job/x", EventKind.JOB_COMPLETED, "T3")
    assert not JsonStateManager(path).was_notified("job/x", "job_completed@T2")


def test_ledger_reads_a_mark_of_a_user_as_the_current_occurrence(path: Path) -> None:
    JsonStateManager(path).mark_notified("job/x", "executed")
    ledger = Ledger(path)

    assert ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T1")
    assert not ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T2")


def test_ledger_does_not_restore_owed_labels_from_another_writer(path: Path) -> None:
    worker, other = Ledger(path), JsonStateManager(path)
    worker.mark_owed("job/x", EventKind.JOB_FAILED, "")
    worker.save()
    other.mark_notified("y", "new")
    worker.mark_settled("job/x", EventKind.JOB_FAILED, "")
    worker.save()
    other.mark_notified("z", "new")

    assert written(path)["owed"] == {}
    assert written(path)["notified"] == {"job/x": ["job_failed"], "y": ["new"], "z": ["new"]}


def test_ledger_reads_the_occurrences_of_an_older_version(path: Path) -> None:
    occurrences = {"job/x": {"job_submitted": "T1", "job_completed": "T2"}}
    write_notes(path, {"occurrences": occurrences}, {"job/x": ["new", "executed"]})
    ledger = Ledger(path)

    assert ledger.is_recorded("job/x", EventKind.JOB_SUBMITTED, "T1")
    assert not ledger.is_recorded("job/x", EventKind.JOB_SUBMITTED, "T3")
    assert not ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T1")
    assert ledger.label("job/x", EventKind.JOB_COMPLETED, "T2") == "executed"


def test_ledger_merges_occurrences_that_an_older_version_added_later(path: Path) -> None:
    ledger = Ledger(path)
    ledger.mark_settled("job/x", EventKind.JOB_COMPLETED, "T1")
    ledger.mark_settled("job/x", EventKind.JOB_SUBMITTED, "T0")
    ledger.save()
    content = written(path)
    content["data"]["syftnotify"]["occurrences"] = {"job/x": {"job_submitted": "T0"}}
    path.write_text(json.dumps(content))
    ledger = Ledger(path)

    assert not ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T2")
    assert ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T1")


def test_ledger_restored_from_a_copy_without_its_baseline_has_none(path: Path) -> None:
    """Otherwise every event before the lost baseline scan would be notified."""
    JsonStateManager(path).mark_notified("a", "new")
    ledger = Ledger(path)
    ledger.mark_settled("job/x", EventKind.JOB_COMPLETED, "T1")
    ledger.record_baseline(*BASELINE)
    ledger.save()
    path.unlink()
    ledger.refresh()

    assert not ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T1")
    assert ledger.baseline(BASELINE[0]) == ""


def test_ledger_keeps_an_unsaved_baseline_when_another_process_writes(path: Path) -> None:
    ledger = Ledger(path)
    ledger.record_baseline(*BASELINE)
    JsonStateManager(path).mark_notified("a", "new")
    ledger.save()

    assert Ledger(path).baselines() == dict([BASELINE])


@pytest.mark.parametrize("revision", [[], [1], ["a", "b", 1], ["a", 1, 2], ["a", 1, 1, 1]])
def test_ledger_drops_the_revision_of_an_edited_file(path: Path, revision: list[Any]) -> None:
    write_notes(path, {"edition": {"is": revision}}, {"a": ["new"]})
    ledger = Ledger(path)
    assert ledger.revision is None
    ledger.mark_settled("b", EventKind.JOB_SUBMITTED, "")
    ledger.save()

    assert ledger.revision is not None
    assert ledger.revision[1] == 1
