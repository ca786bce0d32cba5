"""Files of the tree are read as PyYAML's safe loader reads them, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import FUZZ_FACTOR
from tests.yaml_reference import assert_read_as_by_pyyaml

pytestmark = pytest.mark.thorough

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


class DumperWithoutAnchors(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


@settings(max_examples=300 * FUZZ_FACTOR, deadline=None)
@given(
    st.dictionaries(TEXTS, VALUES, max_size=5), st.sampled_from([None, True, False]), st.sampled_from([None, "'", '"'])
)
def test_parse_yaml_reads_whatever_pyyaml_dumps(mapping: dict[str, Any], flow: bool | None, style: str | None) -> None:
    text = yaml.dump(
        mapping, Dumper=DumperWithoutAnchors, default_flow_style=flow, default_style=style, allow_unicode=True
    )

    assert_read_as_by_pyyaml(text)


@settings(max_examples=500 * FUZZ_FACTOR, deadline=None)
@given(st.text(alphabet="ab:1-0 \n{}[],'\"?|>!~.#%e", max_size=60))
def test_parse_yaml_reads_typed_text_as_pyyaml_does(text: str) -> None:
    assert_read_as_by_pyyaml(text)
