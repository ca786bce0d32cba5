"""The state file: what was told, whole at every moment, shared."""

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
from syftnotify.store import ledger
from syftnotify.store.ledger import JsonStateManager
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
    state = JsonStateManager(path)
    state.owe("job/x", EventKind.JOB_FAILED, "T1")
    state.tell("job/x", EventKind.JOB_SUBMITTED, "T0")
    state.save()

    written = raw(path)
    assert written["version"] == 1
    assert written["notified"] == {"job/x": ["new"]}
    assert written["owed"] == {"job/x": ["job_failed"]}
    assert path.stat().st_mode & 0o777 == 0o600


def test_owed_becomes_notified_and_later_occurrences_carry_their_name(path: Path) -> None:
    state = JsonStateManager(path)
    state.owe("job/x", EventKind.JOB_COMPLETED, "T1")
    state.tell("job/x", EventKind.JOB_COMPLETED, "T1")
    state.owe("job/x", EventKind.JOB_COMPLETED, "T2")
    state.save()

    assert raw(path)["notified"] == {"job/x": ["executed"]}
    assert raw(path)["owed"] == {"job/x": ["job_completed@T2"]}
    again = JsonStateManager(path)
    assert again.knows("job/x", EventKind.JOB_COMPLETED, "T1")
    assert again.knows("job/x", EventKind.JOB_COMPLETED, "T2")
    assert not again.knows("job/x", EventKind.JOB_COMPLETED, "T3")
    assert not again.was_notified("job/x", "job_completed@T2")


def test_a_mark_by_hand_stands_for_what_is_true_then(path: Path) -> None:
    JsonStateManager(path).mark_notified("job/x", "executed")
    state = JsonStateManager(path)

    assert state.knows("job/x", EventKind.JOB_COMPLETED, "T1")
    assert not state.knows("job/x", EventKind.JOB_COMPLETED, "T2")


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
    worker, other = JsonStateManager(path), JsonStateManager(path)
    worker.owe("job/x", EventKind.JOB_FAILED, "")
    worker.save()
    other.mark_notified("y", "new")
    worker.tell("job/x", EventKind.JOB_FAILED, "")
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
        again = JsonStateManager(path)

    assert again.was_notified("a", "new")
    assert "damaged" in again.damage
    assert "state.json.bak" in caplog.text
    aside = [p for p in path.parent.iterdir() if ".damaged-" in p.name]
    assert [p.read_bytes() for p in aside] == [damage]
    again.mark_notified("c", "new")
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
    JsonStateManager(path).save()

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
    told: dict[str, list[str]], first: dict[str, str], data: dict[str, Any], piece: int
) -> None:
    """Whatever stands in it, and wherever the pieces end; a text that looks like the end of one is noticed."""
    told |= {f"job/D/{number}": ["new", "approved", "executed"] for number in range(40)}
    notified = {entity: tuple(words) for entity, words in told.items()}
    state = {"version": 1, "notified": notified, "owed": {}, "data": {**data, ledger.OURS: {"first": first}}}
    content = b"".join(ledger._spelled(state))
    try:
        found = ledger._in_pieces(content, ledger._Spellings(), piece=piece)
    except ValueError:
        texts = [*told, *(word for words in told.values() for word in words), *first, *first.values()]
        assert any(text.endswith(",") for text in texts)
        return
    found["notified"] = {entity: list(words) for entity, words in found["notified"].items()}

    assert found == orjson.loads(content)


def test_what_was_noted_before_an_older_version_came_in_between_is_still_known(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    told = JsonStateManager(path)
    told.tell("job/x", EventKind.JOB_COMPLETED, "T1")
    told.tell("job/x", EventKind.JOB_SUBMITTED, "T0")
    told.save()
    written = raw(path)
    written["data"]["syftnotify"]["occurrences"] = {"job/x": {"job_submitted": "T0"}}
    path.write_text(json.dumps(written))
    told = JsonStateManager(path)

    assert not told.knows("job/x", EventKind.JOB_COMPLETED, "T2")
    assert told.knows("job/x", EventKind.JOB_COMPLETED, "T1")


def test_a_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    """Else its objects would take ten times its size."""
    notified = {f"job/D/owner@x.org/ana@y.net/job-{number}": ("new", "executed") for number in range(5000)}
    first = dict.fromkeys(notified, "job_submitted=0123456789ab")
    state = {"version": 1, "notified": notified, "owed": {}, "data": {ledger.OURS: {"first": first}}}
    content = b"".join(ledger._spelled(state))
    found = ledger._in_pieces(content, ledger._Spellings())

    assert found["notified"] == notified
    assert len({id(words) for words in found["notified"].values()}) == 1
    assert all(one is other for one, other in zip(found["notified"], found["data"][ledger.OURS]["first"], strict=True))


def test_ever_new_words_of_one_entity_take_no_more_than_they_are_long(tmp_path: Path) -> None:
    state = JsonStateManager(tmp_path / "state.json")
    for number in range(500):
        state._add("notified", "daily", f"sent-{number}")

    assert sum(map(len, state._spellings._known)) < 1000


def test_what_an_older_version_noted_is_still_known(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    noted = {"job/x": {"job_submitted": "T1", "job_completed": "T2"}}
    old = {"version": 1, "notified": {"job/x": ["new", "executed"]}, "owed": {}, "data": {}}
    path.write_bytes(orjson.dumps({**old, "data": {"syftnotify": {"occurrences": noted}}}))
    told = JsonStateManager(path)

    assert told.knows("job/x", EventKind.JOB_SUBMITTED, "T1")
    assert not told.knows("job/x", EventKind.JOB_SUBMITTED, "T3")
    assert not told.knows("job/x", EventKind.JOB_COMPLETED, "T1")
    assert told.word_for("job/x", EventKind.JOB_COMPLETED, "T2") == "executed"
