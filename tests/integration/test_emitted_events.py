"""Emitted events through a scan: what is notified, once, whatever their payload contains."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from syftnotify.core.errors import EmitError
from syftnotify.core.kinds import RESERVED_KINDS, EventKind
from tests.emitting import GOOD_EVENT, emit, entities_of, scan_all, spooled
from tests.harmless import assert_harmless, is_printable
from tests.support import ANA, OWNER, PROJECT_ROOT, Box

EMITTABLE = [kind for kind in EventKind if kind not in RESERVED_KINDS]


def test_emitted_event_of_every_kind_is_notified(box: Box) -> None:
    """C02, N28"""
    box.configure({"routes": [{"to": ["owner"]}]})
    for kind in EMITTABLE:
        emit(box, kind.value, f"thing/{kind}")
    scan_all(box)

    assert sorted(mail.event for mail in box.mails()) == sorted(EMITTABLE)


def test_emitted_payload_of_any_depth_stops_no_event(box: Box) -> None:
    """C05"""
    for depth in (251, 252, 253, 254, 255, 900):
        payload: dict[str, Any] = {}
        for _ in range(depth):
            payload = {"a": payload}
        with contextlib.suppress(EmitError):
            emit(box, payload=payload)
    emit(box, entity="good")

    assert "good" in scan_all(box)


ENTITIES = [
    "run/1",
    "  nightly sync  ",
    "two\nlines",
    "../../etc/passwd",
    "/",
    ".hidden.json",
    "žluť/☃/😀",
    "turned \u202e round",
    "\x1b[31mred\x1b[0m",
    "nul\0byte",
    "=?utf-8?q?x=0d=0abcc:?=",
    "<b>bold</b> {{ 7*7 }}",
    "[red]markup[/red]",
    "x" * 1000,
    f"job/D/{OWNER}/{ANA}/survey",
    "key job_failed 1",
]


def test_emitted_entity_is_stored_as_typed_and_shown_escaped(box: Box) -> None:
    """X11"""
    for entity in ENTITIES:
        emit(box, entity=entity)
    assert [event["entity"] for event in spooled(box)] == ENTITIES
    scan_all(box)

    assert len(box.mails()) == len(ENTITIES)
    for mail in box.mails():
        assert_harmless(mail, {OWNER})
    history = box.notify("history", "-n", "0", check=0).stdout
    known = [each["entity"] for each in json.loads(box.notify("history", "-n", "0", "--json", check=0).stdout)]
    assert sorted(known) == sorted(ENTITIES)
    assert is_printable(history)
    assert is_printable(box.home.log.read_text() if box.home.log.exists() else "")
    assert len(history.splitlines()) == len(ENTITIES)


@pytest.mark.parametrize("entity", [" two\nlines ", "-n"])
def test_emitted_entity_can_be_explained_by_why(box: Box, entity: str) -> None:
    box.notify("emit", "job_failed", f"--entity={entity}", check=0)
    scan_all(box)
    found = json.loads(box.notify("why", "--json", "--", entity, check=0).stdout)

    assert [each["entity"] for each in found] == [entity]


NAMES = [
    *("name", "owner", "submitter", "claimed", "user", "tags", "error", "reason", "return_code", "minutes"),
    *("code", "code_left_out", "stderr", "notify", "alerts", "asked_by", "figures", "started_at", "anything"),
]


@pytest.mark.thorough
def test_emitted_payload_keys_of_any_type_stop_no_event(box: Box) -> None:
    """C05, X11: `tags` of another scheduler may be an object, `code` a number."""
    box.configure({"routes": [{"match": {"not": {"tags": "quiet"}}, "to": ["owner"]}]})
    values: list[Any] = [{"a": 1}, [["a"]], 7, "text"]
    odd = [(f"{name}/{number}", {name: value}) for name in NAMES for number, value in enumerate(values)]
    for entity, payload in odd:
        emit(box, entity=entity, payload=payload)

    assert sorted(scan_all(box)) == sorted(entity for entity, _ in odd)


def test_emitted_key_is_one_event_across_restarts(box: Box) -> None:
    """X01, N28: decision *De-duplication*"""
    command = ["emit", "job_failed", "--entity", "nightly", "--key", "run-7"]
    for _ in range(2):
        box.notify(*command, check=0)
        emit(box, "job_failed", "nightly", key="run-7")
        box.notify("run", "--once", check=0)

    assert entities_of(box) == ["nightly"]
    emit(box, "job_completed", "nightly", key="run-7")
    emit(box, "job_failed", "other", key="run-7")
    emit(box, "job_failed", "nightly", key="run-8")
    scan_all(box)
    assert Counter(entities_of(box)) == {"nightly": 3, "other": 1}


def test_emitted_events_without_a_key_are_distinct(box: Box) -> None:
    keys = {emit(box, payload={"n": 1}) for _ in range(5)}
    scan_all(box)

    assert len(keys) == 5
    assert entities_of(box) == ["run/1"] * 5


def test_emitted_events_with_similar_names_are_distinct(box: Box) -> None:
    """X01: entities and keys that are equal only after joining, trimming or folding."""
    pairs = [("a b", "c"), ("a", "b c"), ("a", "job_failed x"), ("a job_failed", "x"), ("a", "1 "), ("a", "1")]
    pairs += [("A", "1"), ("a\n", "1"), ("a", ""), ("a", "")]  # without a key each event is distinct
    keys = {emit(box, entity=entity, key=key) for entity, key in pairs}

    assert len(keys) == len(pairs)
    assert len(scan_all(box)) == len(pairs)


def test_emitted_event_without_a_tree_is_notified(box: Box) -> None:
    box.root.rmdir()
    emit(box)
    box.scan()

    assert entities_of(box) == ["run/1"]


def test_emitted_event_waits_while_notify_is_disabled(box: Box) -> None:
    """G01"""
    box.configure({"notify": {"enabled": False}})
    emit(box)
    box.scan()
    assert box.mails() == []
    assert len(spooled(box)) == 1

    box.configure()
    box.scan()
    assert entities_of(box) == ["run/1"]


def test_dry_run_shows_emitted_events_and_keeps_them(box: Box) -> None:
    emit(box)
    output = box.notify("run", "--dry-run", check=0).stdout

    assert len(spooled(box)) == 1
    assert "run/1" in output
    assert "1 message would be sent" in output


def test_dry_run_ignores_spool_files_that_are_no_events(box: Box) -> None:
    """X11: a pipe, a link to another folder, and a file that its emitter is about to rename."""
    emit(box)
    os.mkfifo(box.home.spool / "0.json")
    (box.home.spool / "1.json").symlink_to(PROJECT_ROOT)
    (box.home.spool / ".2.json.half").write_text("{")
    output = box.notify("run", "--dry-run", check=0).stdout

    assert "1 message would be sent" in output
    assert len(list(box.home.spool.iterdir())) == 4


def test_spool_file_restored_after_delivery_is_not_notified_again(box: Box) -> None:
    emit(box)
    (path,) = box.home.spool.iterdir()
    content = path.read_bytes()
    for _ in range(3):
        scan_all(box)
        assert not path.exists()
        path.write_bytes(content)
        path.with_name("0-copy.json").write_bytes(content)
    scan_all(box)

    assert entities_of(box) == ["run/1"]


def test_spool_files_nested_deeply_stop_no_event(box: Box) -> None:
    """X11"""
    emit(box, entity="good")
    text = json.dumps({**GOOD_EVENT, "payload": {"a": "HERE"}})
    for depth in (260, 500, 900, 1100):
        content = text.replace('"HERE"', '{"a":' * depth + "1" + "}" * depth)
        (box.home.spool / f"{depth}.json").write_text(content)

    assert "good" in scan_all(box)
    assert spooled(box) == []


def test_events_emitted_during_downtime_are_one_message(box: Box) -> None:
    box.scan()
    box.new_mails()
    for number in range(30):
        emit(box, "job_failed", f"run/{number}", user=OWNER)
    box.clock.advance(3 * 86400)
    box.scan()

    (mail,) = [mail for mail in box.new_mails() if mail.to == OWNER]
    assert len(mail.entities) == 30


STORY = ["job_submitted", "job_started", "job_completed"]


def positions_of(entities: Iterable[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for position, entity in enumerate(entities):
        found[entity].append(position)
    return found


@pytest.mark.thorough
def test_emitted_flood_is_notified_completely_and_in_order(box: Box) -> None:
    """X06, decision *Order*: 200 mails, and the others in digests."""
    box.configure({"routes": [{"to": ["owner"]}]})

    def emit_story(number: int) -> None:
        for kind in STORY:
            emit(box, kind, f"run/{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(emit_story, range(1000)))
    scan_all(box)
    box.clock.advance(601)
    box.scan()

    single = [mail for mail in box.mails() if mail.event != "digest"]
    digests = [mail for mail in box.mails() if mail.event == "digest"]
    assert (len(single), len(digests)) == (200, 2), "a digest now, and one after ten minutes"
    assert sum(int(digest.message["X-SyftNotify-Items"]) for digest in digests) == 2800
    for positions in positions_of(mail.entities[0] for mail in single).values():
        assert [single[position].event for position in positions] == STORY[: len(positions)]
    history = json.loads(box.notify("history", "-n", "0", "--json", check=0).stdout)
    assert Counter(each["state"] for each in history) == {"sent": 3000}
    for positions in positions_of(each["entity"] for each in history).values():
        assert [history[position]["event"] for position in positions] == STORY
    assert spooled(box) == []
