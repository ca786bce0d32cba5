"""What is read of the tree is what PyYAML's own safe loader reads, or nothing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from syftnotify.sources.syftbox.files.safe_read import UnreadableError
from syftnotify.sources.syftbox.files.yaml_reader import parse_yaml
from tests.support import PATIENCE, THOROUGH, alias_bomb

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


class _Reference(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # found at run time
    """PyYAML's safe loader, with keys as texts; an unknown tag or an odd scalar is the text that is written."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [self.construct_object(each) for each in node.value]
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, each) for key, each in node.value if isinstance(key, yaml.ScalarNode)]
            return {key.value: self.construct_object(each) for key, each in pairs}
        try:
            return super().construct_object(node, deep=deep)
        except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError):
            return node.value


def assert_same(text: str) -> None:
    """What both make of it; what PyYAML takes and is no mapping, we refuse."""
    try:
        expected = yaml.load(text, Loader=_Reference)
    except (yaml.YAMLError, ValueError):
        expected = None
    try:
        found = parse_yaml(text.encode())
    except UnreadableError:
        assert not isinstance(expected, dict) or "%" in text, expected
        return
    assert found == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: " + "[" * 500 + "]" * 500, "nested too deep"),
        ("- " * 500 + "x", "nested too deep"),
        ("a: [" + "1, " * 21_000 + "1]", "too many values"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("a: &x 1\nb: *x\n", "anchors or aliases"),
        (alias_bomb(), "anchors or aliases"),
        ("[1, 2]\n", "not a mapping"),
        ("x\n", "not a mapping"),
        ("---\n...\n", "not a mapping"),
        ("# nothing\n", "not a mapping"),
        ("a: '\n", "not valid YAML"),
        (b"a: \xff\n".decode("latin-1"), "not UTF-8"),
        ("", "empty"),
    ],
)
def test_what_hurts_or_says_nothing_is_refused(text: str, why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        parse_yaml(text.encode("latin-1" if "UTF-8" in why else "utf-8"))


ODD = {
    "1: x\nyes: y\n~: z\n": {"1": "x", "yes": "y", "~": "z"},
    "[a]: x\nb: y\n? {c: d}\n: {e: f}\n": {"b": "y"},
    "<<: {a: 1}\n": {"<<": {"a": 1}},
    "a: !!python/object/apply:os.system [id]\n": {"a": ["id"]},
    "a: !!python/name:os.system\n": {"a": ""},
    "a: !!int x\nb: 2026-99-99\n": {"a": "x", "b": "2026-99-99"},
    "a: [" * 40 + "]" * 40: None,
    'a: "\\ud83d\\ude00 \\ud800 \\\\ud800"\n': {"a": "\U0001f600 \ufffd \\ud800"},
    "\ufeffa: 1\n": {"a": 1},
}


@pytest.mark.parametrize("without", ["", "import yaml; del yaml.CSafeLoader"], ids=["libyaml", "PyYAML"])
def test_parse_yaml_of_an_odd_detail_keeps_the_rest(without: str) -> None:
    """A1: with libyaml, and where only PyYAML's own parser is there."""
    program = (
        f"import json, sys; {without}\n"
        "from syftnotify.sources.syftbox.files.yaml_reader import parse_yaml\n"
        "print(json.dumps([parse_yaml(text.encode()) for text in json.load(sys.stdin)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([*ODD]),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )

    for found, (text, expected) in zip(json.loads(done.stdout), ODD.items(), strict=True):
        assert found == expected or (expected is None and "a" in found), text


def test_the_version_may_be_said_first() -> None:
    assert parse_yaml(b"%YAML 1.1\n---\na: 1\n") == {"a": 1}


def test_a_number_that_would_take_long_is_a_text() -> None:
    digits = "9" * 5000

    assert parse_yaml(f"a: {digits}\nb: 1.5\nc: .nan\n".encode())["a"] == digits
    assert math.isnan(parse_yaml(b"c: .nan")["c"])
