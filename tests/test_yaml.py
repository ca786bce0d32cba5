"""What is read of the tree is what PyYAML's own safe loader reads, or nothing."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from syftnotify.observe.files import UnreadableError, parse_yaml
from tests.support import THOROUGH, alias_bomb

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["no", "y", "On", "null", "~", "", "1e3", "0x1F", "0o7", "1_000", "12:30:45", "2026-11-21", ".inf", "<<", "="]
    ),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.datetimes(),
    st.dates(),
    st.binary(max_size=6),
    TEXTS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4) | st.sets(TEXTS, max_size=3),
    max_leaves=12,
)


class _Plain(yaml.SafeDumper):
    """Without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@settings(max_examples=300 * THOROUGH, deadline=None)
@given(
    st.dictionaries(TEXTS, VALUES, max_size=5), st.sampled_from([None, True, False]), st.sampled_from([None, "'", '"'])
)
def test_what_is_dumped_is_read(mapping: dict[str, Any], flow: bool | None, style: str | None) -> None:
    text = yaml.dump(mapping, Dumper=_Plain, default_flow_style=flow, default_style=style, allow_unicode=True)

    assert_same(text)


@settings(max_examples=500 * THOROUGH, deadline=None)
@given(st.text(alphabet="ab:1-0 \n{}[],'\"?|>!~.#%e", max_size=60))
def test_what_is_typed_is_read_as_the_library_reads_it(text: str) -> None:
    assert_same(text)


def assert_same(text: str) -> None:
    """What both make of it; what PyYAML takes and is no mapping of texts, we may refuse."""
    try:
        expected = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError):
        expected = None
    try:
        found = parse_yaml(text.encode())
    except UnreadableError:
        assert not isinstance(expected, dict) or is_refused(expected) or "%" in text, expected
        return
    assert found == expected


def is_refused(value: Any) -> bool:
    """Whether it holds a key that is no text."""
    if isinstance(value, dict):
        return any(type(key) is not str or is_refused(each) for key, each in value.items())
    return any(map(is_refused, value)) if isinstance(value, list) else False


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [" * 40 + "]" * 40, "nested too deep"),
        ("- " * 100 + "x", "nested too deep"),
        ("a: [" + "1, " * 21_000 + "1]", "too large"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("a: &x 1\nb: *x\n", "anchors or aliases"),
        (alias_bomb(), "anchors or aliases"),
        ("1: x\n", "a key that is no text"),
        ("[a]: x\n", "a key that is no text"),
        ("<<: {a: 1}\n", "a tag that nobody knows"),
        ("a: !!python/object/apply:os.system [id]\n", "not readable as YAML"),
        ("a: !!python/name:os.system\n", "a tag that nobody knows"),
        ("a: !!set x\n", "a tag that nobody knows"),
        ("[1, 2]\n", "not a mapping"),
        ("x\n", "not a mapping"),
        ("---\n...\n", "not a mapping"),
        ("# nothing\n", "not a mapping"),
        ("a: '\n", "not readable as YAML"),
        ("", "empty"),
    ],
)
def test_what_hurts_or_says_nothing_is_refused(text: str, why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        parse_yaml(text.encode())


def test_half_a_character_is_refused_without_libyaml_too() -> None:
    """It could be written down nowhere, and would stop every look."""
    program = (
        "import yaml; del yaml.CSafeLoader\n"
        "from syftnotify.observe.files import UnreadableError, parse_yaml\n"
        "try: print(parse_yaml(b'a: \"\\\\ud800\"'))\n"
        "except UnreadableError as error: print('refused:', error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "refused: not readable as YAML\n"


def test_the_version_may_be_said_first() -> None:
    assert parse_yaml(b"%YAML 1.1\n---\na: 1\n") == {"a": 1}


def test_a_number_that_would_take_long_is_a_text() -> None:
    digits = "9" * 5000

    assert parse_yaml(f"a: {digits}\nb: 1.5\nc: .nan\n".encode())["a"] == digits
    assert math.isnan(parse_yaml(b"c: .nan")["c"])
