"""The ledger and its state file."""

from __future__ import annotations

import json
import logging
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syftnotify.core.errors import StateError
from syftnotify.core.kinds import EventKind
from syftnotify.store.ledger.encoding import encode, parse_in_chunks
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.ledger.labels import LabelPool
from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.store.ledger.state import NOTES_KEY, LabelIndex, State
from tests.support import THOROUGH


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state.json"


def raw(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_mark_survives_a_restart(path: Path) -> None:
    """S13"""
    state = JsonStateManager(path)
    assert not state.was_notified("job_123", "new")
    state.mark_notified("job_123", "new")

    assert JsonStateManager(str(path)).was_notified("job_123", "new")
    assert not JsonStateManager(path).was_notified("job_123", "approved")
    assert not JsonStateManager(path).was_notified("job_124", "new")


@pytest.mark.parametrize(
    ("seed", "ours"), [("new", "job_submitted"), ("approved", "job_approved"), ("executed", "job_completed")]
)
def test_the_seeds_words_equal_ours(path: Path, seed: str, ours: str) -> None:
    state = JsonStateManager(path)
    state.mark_notified("one", seed)
    state.mark_notified("two", ours)

    assert state.was_notified("one", ours)
    assert state.was_notified("two", seed)
    assert raw(path)["notified"] == {"one": [seed], "two": [seed]}


def test_any_string_is_a_fine_event_type(path: Path) -> None:
    state = JsonStateManager(path)
    state.mark_notified("x", "my own: event\n")

    assert JsonStateManager(path).was_notified("x", "my own: event\n")


@pytest.mark.parametrize("value", [None, 0, "text", [1, {"a": None}], {"deep": {"list": [1.5, True]}}])
def test_any_json_is_kept(path: Path, value: Any) -> None:
    """S14"""
    JsonStateManager(path).set_data("key", value)
    again = JsonStateManager(path)

    assert again.get_data("key", "default") == value
    assert again.get_data("other", "default") == "default"
    assert again.get_data("other") is None


def test_what_is_no_json_is_refused_and_nothing_changes(path: Path) -> None:
    state = JsonStateManager(path)
    state.set_data("key", 1)
    with pytest.raises(TypeError):
        state.set_data("key", object())

    assert JsonStateManager(path).get_data("key") == 1


@pytest.mark.parametrize("name", [123, None, b"x"])
def test_what_is_no_text_is_refused_and_poisons_nothing(path: Path, name: Any) -> None:
    state = JsonStateManager(path)
    with pytest.raises(TypeError):
        state.mark_notified(name, "new")
    state.mark_notified("a", "new")

    assert JsonStateManager(path).was_notified("a", "new")


def test_a_file_name_that_is_not_utf8_is_a_fine_entity(path: Path) -> None:
    JsonStateManager(path).mark_notified("job_\udcff", "new")

    assert JsonStateManager(path).was_notified("job_\udcff", "new")
    assert not JsonStateManager(path).was_notified("job_\udcfe", "new")


def test_a_value_that_was_handed_out_is_a_copy(path: Path) -> None:
    state = JsonStateManager(path)
    state.set_data("list", [1])
    state.get_data("list").append(2)

    assert state.get_data("list") == [1]


def test_the_tilde_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    JsonStateManager("~/s.json").mark_notified("a", "new")

    assert (tmp_path / "s.json").exists()


def test_the_file_is_as_documented_and_private(path: Path) -> None:
    ledger = Ledger(path)
    ledger.mark_owed("job/x", EventKind.JOB_FAILED, "T1")
    ledger.mark_settled("job/x", EventKind.JOB_SUBMITTED, "T0")
    ledger.save()

    written = raw(path)
    assert written["version"] == 1
    assert written["notified"] == {"job/x": ["new"]}
    assert written["owed"] == {"job/x": ["job_failed"]}
    assert path.stat().st_mode & 0o777 == 0o600


def test_owed_becomes_notified_and_later_occurrences_carry_their_name(path: Path) -> None:
    ledger = Ledger(path)
    ledger.mark_owed("job/x", EventKind.JOB_COMPLETED, "T1")
    ledger.mark_settled("job/x", EventKind.JOB_COMPLETED, "T1")
    ledger.mark_owed("job/x", EventKind.JOB_COMPLETED, "T2")
    ledger.save()

    assert raw(path)["notified"] == {"job/x": ["executed"]}
    assert raw(path)["owed"] == {"job/x": ["job_completed@T2"]}
    again = Ledger(path)
    assert again.is_recorded("job/x", EventKind.JOB_COMPLETED, "T1")
    assert again.is_recorded("job/x", EventKind.JOB_COMPLETED, "T2")
    assert not again.is_recorded("job/x", EventKind.JOB_COMPLETED, "T3")
    assert not JsonStateManager(path).was_notified("job/x", "job_completed@T2")


def test_a_mark_by_hand_stands_for_what_is_true_then(path: Path) -> None:
    JsonStateManager(path).mark_notified("job/x", "executed")
    ledger = Ledger(path)

    assert ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T1")
    assert not ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T2")


def test_two_managers_never_overwrite_each_other(path: Path) -> None:
    one, two = JsonStateManager(path), JsonStateManager(path)
    one.mark_notified("a", "new")
    two.mark_notified("b", "new")
    one.set_data("k", 1)
    two.set_data("l", 2)

    for state in (one, two, JsonStateManager(path)):
        assert state.was_notified("a", "new")
        assert state.was_notified("b", "new")
        assert (state.get_data("k"), state.get_data("l")) == (1, 2)


def test_what_was_settled_here_does_not_come_back_from_there(path: Path) -> None:
    worker, other = Ledger(path), JsonStateManager(path)
    worker.mark_owed("job/x", EventKind.JOB_FAILED, "")
    worker.save()
    other.mark_notified("y", "new")
    worker.mark_settled("job/x", EventKind.JOB_FAILED, "")
    worker.save()
    other.mark_notified("z", "new")

    assert raw(path)["owed"] == {}
    assert raw(path)["notified"] == {"job/x": ["job_failed"], "y": ["new"], "z": ["new"]}


def _mark(path: Path, name: str) -> None:
    state = JsonStateManager(path)
    for number in range(20):
        state.mark_notified(f"{name}-{number}", "new")


def test_processes_and_threads_lose_nothing_of_each_other(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_mark, args=(path, f"p{n}")) for n in range(2)]
    threads = [threading.Thread(target=_mark, args=(path, f"t{n}")) for n in range(2)]
    everybody: list[Any] = [*workers, *threads]
    for each in everybody:
        each.start()
    for each in everybody:
        each.join()

    assert len(raw(path)["notified"]) == 80


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b'{"version": 1, "notified": []}', b"\x00" * 100, b'{"a": 1}']
)
def test_a_damaged_file_is_kept_aside_and_the_last_good_copy_used(
    path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """X02"""
    state = JsonStateManager(path)
    state.mark_notified("a", "new")
    state.mark_notified("b", "new")
    path.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        ledger = Ledger(path)

    assert ledger.has_events("a")
    assert "damaged" in ledger.corruption
    assert "state.json.bak" in caplog.text
    aside = [p for p in path.parent.iterdir() if ".damaged-" in p.name]
    assert [p.read_bytes() for p in aside] == [damage]
    JsonStateManager(path).mark_notified("c", "new")
    assert set(raw(path)["notified"]) >= {"a", "c"}


def test_a_file_that_is_gone_comes_back_from_the_copy(path: Path) -> None:
    """X02"""
    state = JsonStateManager(path)
    state.mark_notified("a", "new")
    state.mark_notified("b", "new")
    path.unlink()

    assert JsonStateManager(path).was_notified("a", "new")
    assert state.was_notified("a", "new")


def test_both_files_gone_is_a_fresh_start(path: Path) -> None:
    state = JsonStateManager(path)
    state.mark_notified("a", "new")
    for file in path.parent.iterdir():
        file.unlink()

    assert not JsonStateManager(path).was_notified("a", "new")


def test_a_newer_versions_file_is_not_touched(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"version": 2, "notified": {}}')

    with pytest.raises(StateError, match="newer version"):
        JsonStateManager(path)
    assert raw(path)["version"] == 2


def test_saving_nothing_writes_nothing(path: Path) -> None:
    Ledger(path).save()

    assert not path.exists()


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateError, match="cannot be"):
        JsonStateManager(tmp_path / "file" / "state.json").mark_notified("a", "new")


@given(st.binary(max_size=300))
@settings(max_examples=150)
def test_no_content_of_the_file_breaks_the_reading(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("ledger") / "state.json"
    path.write_bytes(content)
    state = JsonStateManager(path)
    state.mark_notified("a", "new")

    assert JsonStateManager(path).was_notified("a", "new")


NASTY = st.text(alphabet='a"],{}:\\[ ', max_size=12) | st.sampled_from(
    ['],"', '","', '"first":{', '},"owed":{', "}}}", '"first":{}}}}', "\\"]
)


@settings(max_examples=60 * THOROUGH, deadline=None)
@given(
    st.dictionaries(NASTY, st.lists(NASTY, min_size=1, max_size=3), max_size=6),
    st.dictionaries(NASTY, NASTY, max_size=4),
    st.dictionaries(NASTY, st.lists(NASTY, max_size=2) | NASTY, max_size=3),
    st.sampled_from([1, 30, 1 << 16]),
)
def test_what_is_read_in_pieces_is_what_was_written(
    lists: dict[str, list[str]], first: dict[str, str], data: dict[str, Any], chunk: int
) -> None:
    """Whatever stands in it, and wherever the pieces end; a text that looks like the end of one is noticed."""
    lists |= {f"job/D/{number}": ["new", "approved", "executed"] for number in range(40)}
    notified = {entity: tuple(labels) for entity, labels in lists.items()}
    content = b"".join(encode(State(notified, data={**data, NOTES_KEY: {"first": first}})))
    try:
        found = parse_in_chunks(content, LabelPool(), chunk=chunk)
    except ValueError:
        texts = [*lists, *(label for labels in lists.values() for label in labels), *first, *first.values()]
        assert any(text.endswith(",") for text in texts)
        return
    found["notified"] = {entity: list(labels) for entity, labels in found["notified"].items()}

    assert found == orjson.loads(content)


def test_what_was_noted_before_an_older_version_came_in_between_is_still_known(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    ledger = Ledger(path)
    ledger.mark_settled("job/x", EventKind.JOB_COMPLETED, "T1")
    ledger.mark_settled("job/x", EventKind.JOB_SUBMITTED, "T0")
    ledger.save()
    written = raw(path)
    written["data"]["syftnotify"]["occurrences"] = {"job/x": {"job_submitted": "T0"}}
    path.write_text(json.dumps(written))
    ledger = Ledger(path)

    assert not ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T2")
    assert ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T1")


def test_a_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    """Else its objects would take ten times its size."""
    notified: LabelIndex = {f"job/D/owner@x.org/ana@y.net/job-{number}": ("new", "executed") for number in range(5000)}
    first = dict.fromkeys(notified, "job_submitted=0123456789ab")
    content = b"".join(encode(State(notified, data={NOTES_KEY: {"first": first}})))
    found = parse_in_chunks(content, LabelPool())

    assert found["notified"] == notified
    assert len({id(labels) for labels in found["notified"].values()}) == 1
    assert all(one is other for one, other in zip(found["notified"], found["data"][NOTES_KEY]["first"], strict=True))


@pytest.mark.parametrize("labels", [[f"sent-{number}" for number in range(500)], ["executed", "job_completed@T2"]])
def test_pool_keeps_no_labels_that_are_unlikely_to_occur_again(labels: list[str]) -> None:
    pool = LabelPool()

    assert pool.intern(["new"]) is pool.intern(["new"])
    assert pool.intern(labels) is not pool.intern(labels)
    assert pool.intern(labels) == tuple(labels)


def test_state_file_restored_without_its_baseline_has_none(path: Path) -> None:
    """Else every event before the lost baseline scan would be notified."""
    JsonStateManager(path).mark_notified("a", "new")
    ledger = Ledger(path)
    ledger.mark_settled("job/x", EventKind.JOB_COMPLETED, "T1")
    ledger.record_baseline("jobs o@x.org", "2026-01-01T00:00:00+00:00")
    ledger.save()
    path.unlink()
    ledger.refresh()

    assert not ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T1")
    assert ledger.baseline("jobs o@x.org") == ""


def test_baseline_that_is_not_saved_survives_the_write_of_another_process(path: Path) -> None:
    ledger = Ledger(path)
    ledger.record_baseline("jobs o@x.org", "2026-01-01T00:00:00+00:00")
    JsonStateManager(path).mark_notified("a", "new")
    ledger.save()

    assert Ledger(path).baselines() == {"jobs o@x.org": "2026-01-01T00:00:00+00:00"}


def test_set_data_refuses_the_key_of_the_worker(path: Path) -> None:
    """Overwriting the notes would make the worker take its ledger for lost."""
    with pytest.raises(ValueError, match="reserved"):
        JsonStateManager(path).set_data("syftnotify", {})

    assert not path.exists()


@pytest.mark.parametrize("revision", [[], [1], ["a", "b", 1], ["a", 1, 2], ["a", 1, 1, 1]])
def test_revision_of_an_edited_file_is_dropped(path: Path, revision: list[Any]) -> None:
    path.parent.mkdir()
    notes = {"edition": {"is": revision}}
    path.write_bytes(orjson.dumps({"version": 1, "notified": {"a": ["new"]}, "data": {"syftnotify": notes}}))
    ledger = Ledger(path)
    assert ledger.revision is None
    ledger.mark_settled("b", EventKind.JOB_SUBMITTED, "")
    ledger.save()

    assert ledger.revision is not None
    assert ledger.revision[1] == 1


def test_what_an_older_version_noted_is_still_known(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    noted = {"job/x": {"job_submitted": "T1", "job_completed": "T2"}}
    old = {"version": 1, "notified": {"job/x": ["new", "executed"]}, "owed": {}, "data": {}}
    path.write_bytes(orjson.dumps({**old, "data": {"syftnotify": {"occurrences": noted}}}))
    ledger = Ledger(path)

    assert ledger.is_recorded("job/x", EventKind.JOB_SUBMITTED, "T1")
    assert not ledger.is_recorded("job/x", EventKind.JOB_SUBMITTED, "T3")
    assert not ledger.is_recorded("job/x", EventKind.JOB_COMPLETED, "T1")
    assert ledger.label("job/x", EventKind.JOB_COMPLETED, "T2") == "executed"
