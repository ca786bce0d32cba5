"""Reading YAML files of the tree: as PyYAML's safe loader does, or not at all."""

from __future__ import annotations

import math

import pytest

from syftnotify.sources.syftbox.files.safe_read import UnreadableError
from syftnotify.sources.syftbox.files.yaml_reader import parse_yaml
from tests.support import alias_bomb
from tests.yaml_reference import ODD_DETAILS, assert_read_as_by_pyyaml


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: 1.5\nc: no\nd: ~\ne: 0x1F\nf: 0o7\ng: 1_000\nh: 12:30:45\ni: .inf\nj: 1e3\n",
        "a: 2026-11-21\nb: 2026-11-21T10:00:00+02:00\nc: !!binary aGk=\nd: !!set {x, y}\n",
        "a: [1, [2, {b: 3}]]\nb:\n- x\n- y: z\n  w: v\n",
        "a: |\n  two\n  lines\nb: >-\n  folded\n  text\nc: 'it''s'\nd: \"\\u00e9\"\n",
        "a: b: c\n",
        "a: {b\n",
        "- a\n- b\n",
    ],
    ids=["scalars", "tags", "nested", "texts", "two colons", "open brace", "list"],
)
def test_parse_yaml_reads_text_as_pyyaml_does(text: str) -> None:
    """`tests/property` draws stranger texts."""
    assert_read_as_by_pyyaml(text)


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
def test_parse_yaml_refuses_hostile_and_empty_files(text: str, why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        parse_yaml(text.encode("latin-1" if "UTF-8" in why else "utf-8"))


@pytest.mark.parametrize(("text", "expected"), ODD_DETAILS.items(), ids=map(ascii, ODD_DETAILS))
def test_parse_yaml_with_an_odd_detail_keeps_the_rest(text: str, expected: object) -> None:
    """A1"""
    found = parse_yaml(text.encode())

    assert found == expected or (expected is None and "a" in found)


def test_parse_yaml_accepts_a_version_directive() -> None:
    assert parse_yaml(b"%YAML 1.1\n---\na: 1\n") == {"a": 1}


def test_parse_yaml_keeps_a_huge_number_as_text() -> None:
    """Its conversion would take long."""
    digits = "9" * 5000

    assert parse_yaml(f"a: {digits}\nb: 1.5\nc: .nan\n".encode())["a"] == digits
    assert math.isnan(parse_yaml(b"c: .nan")["c"])
