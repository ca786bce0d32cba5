"""No content of the state file stops the program, and every content that it writes is read back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syftnotify.store.ledger.encoding import encode, parse_in_chunks
from syftnotify.store.ledger.labels import LabelPool
from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.store.ledger.state import NOTES_KEY, State
from tests.support import FUZZ_FACTOR


@given(st.binary(max_size=300))
@settings(max_examples=150 * FUZZ_FACTOR)
def test_state_file_with_any_content_can_be_replaced(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("ledger") / "state.json"
    path.write_bytes(content)
    state = JsonStateManager(path)
    state.mark_notified("a", "new")

    assert JsonStateManager(path).was_notified("a", "new")


HOSTILE_TEXTS = st.text(alphabet='a"],{}:\\[ ', max_size=12) | st.sampled_from(
    ['],"', '","', '"first":{', '},"owed":{', "}}}", '"first":{}}}}', "\\"]
)


@settings(max_examples=60 * FUZZ_FACTOR, deadline=None)
@given(
    st.dictionaries(HOSTILE_TEXTS, st.lists(HOSTILE_TEXTS, min_size=1, max_size=3), max_size=6),
    st.dictionaries(HOSTILE_TEXTS, HOSTILE_TEXTS, max_size=4),
    st.dictionaries(HOSTILE_TEXTS, st.lists(HOSTILE_TEXTS, max_size=2) | HOSTILE_TEXTS, max_size=3),
    st.sampled_from([1, 30, 1 << 16]),
)
def test_parse_in_chunks_reads_what_json_reads(
    lists: dict[str, list[str]], first: dict[str, str], data: dict[str, Any], chunk: int
) -> None:
    """Whatever the texts are, and wherever the chunks end; one that looks like the end of a chunk is detected."""
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
