"""PyYAML's safe loader as the reference for the project's YAML reader."""

from __future__ import annotations

from typing import Any

import yaml

from syftnotify.sources.syftbox.files.safe_read import UnreadableError
from syftnotify.sources.syftbox.files.yaml_reader import parse_yaml

# YAML with one detail that the reader does not interpret, and the result; None: any value under the key `a`.
ODD_DETAILS: dict[str, dict[str, Any] | None] = {
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


class _Reference(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # found at run time
    """PyYAML's safe loader with text keys; unknown tags and invalid scalars are read as text."""

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


def assert_read_as_by_pyyaml(text: str) -> None:
    """Check that `parse_yaml` returns what PyYAML returns, or rejects what is not a mapping."""
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
