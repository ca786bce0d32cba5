"""Encoding of the state file, and reading a large one in chunks with shared labels."""

from __future__ import annotations

import orjson
import pytest

from syftnotify.store.ledger.encoding import encode, parse_in_chunks
from syftnotify.store.ledger.labels import LabelPool
from syftnotify.store.ledger.state import NOTES_KEY, LabelIndex, State


@pytest.mark.parametrize("chunk", [1, 30, 1 << 16])
def test_parse_in_chunks_reads_what_json_reads(chunk: int) -> None:
    """Wherever the chunks end; `tests/property` draws stranger texts."""
    notified: LabelIndex = {f"job/D/{number}": ("new", "approved", "executed") for number in range(40)}
    notified |= {'a"],{}:\\[ ': ('],"x', '"first":{'), "é": ("\\",)}
    first = {"job/D/1": "job_submitted=0123456789ab", '},"owed":{': '"first":{}}}}'}
    content = b"".join(encode(State(notified, data={"a": [1, None], NOTES_KEY: {"first": first}})))
    found = parse_in_chunks(content, LabelPool(), chunk=chunk)
    found["notified"] = {entity: list(labels) for entity, labels in found["notified"].items()}

    assert found == orjson.loads(content)


def test_parse_in_chunks_shares_equal_labels_and_entities() -> None:
    """Otherwise the objects of a large file would take ten times its size."""
    notified: LabelIndex = {f"job/D/owner@x.org/ana@y.net/job-{number}": ("new", "executed") for number in range(3000)}
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
