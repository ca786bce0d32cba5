"""Strategies for the content of files that others write."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import yaml
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st

from tests.support import ANA, FUZZ_FACTOR

quickly = settings(
    max_examples=60 * FUZZ_FACTOR, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
with_a_tree = settings(quickly, max_examples=8 * FUZZ_FACTOR)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**31, -(2**63), 10**30, 10**400, -1, 0]),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(
        ["", " ", "..", "/", "a/b", "../../etc/passwd", "\x00", "\ud800", "\x1b[2J", "x" * 5000, "=?utf-8?q?a?="]
    ),
    st.dates(date(1, 1, 1), date(9999, 12, 31)),
    st.datetimes(),
)
keys = st.text(max_size=8) | st.integers(-3, 3) | st.none() | st.booleans()
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
json_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**63), 10**30, 10**400]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([ANA, "", "\x00", "\ud800", "x" * 3000]),
)
json_values = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)

# Shapes that are difficult for YAML parsers, each in several sizes.
_SHAPES = [
    lambda n: b"[" * n,
    lambda n: b"{a: " * n,
    lambda n: b"- " * n + b"x",
    lambda n: b"? " * n + b"x",
    lambda n: b"a: " + b"[" * n + b"]" * n,
    lambda n: b"\n".join(b" " * i + b"a:" for i in range(n)),
    lambda n: b"a: &a [x]\n" + b"".join(b"b%d: [*a, *a]\n" % i for i in range(n)),
    lambda n: b"".join(b"k%d: &k%d [%s]\n" % (i, i, b"*k%d, *k%d" % (i - 1, i - 1) if i else b"x") for i in range(n)),
    lambda n: b"name: x\x00y\n" * n,
    lambda n: b"status: " + b"9" * n,
    lambda n: b"completed_at: 2026-13-%02dT99:99:99Z\n" % (n % 100),
    lambda n: b"<<: {a: 1}\n" * n,
    lambda n: b"!!python/object/apply:os.system ['true']\n" * n,
    lambda n: b"status: !!binary '%s'\n" % (b"=" * n),
    lambda n: b"status: !!set {a, b}\nfiles: !!omap [a: 1]\nx: !!timestamp '%d'\n" % n,
    lambda n: b"%YAML 9.9\n---\na: 1\n" * n,
    lambda n: b"a: |\n" + b"  x\n" * n,
    lambda n: b"\xef\xbb\xbfname: x\n" * n,
    lambda n: ("name: x\n" * n).encode("utf-16"),
    lambda n: b"'" * n,
    lambda n: b'"\\x' * n,
    lambda n: b"\t" * n,
]
shapes = st.builds(lambda shape, size: shape(size), st.sampled_from(_SHAPES), st.sampled_from([1, 3, 40, 3000]))
yamlish = st.text(st.sampled_from("abk:-?[]{}&*!|>'\"%@`#,\\ \n\t0123456789.~\x00é"), max_size=120).map(
    lambda text: text.encode()
)
content = st.one_of(st.binary(max_size=300), yamlish, shapes)


def as_yaml(value: Any) -> bytes:
    """`value` as a YAML file; what YAML cannot represent is discarded."""
    try:
        return yaml.dump(value, Dumper=yaml.SafeDumper, allow_unicode=True).encode("utf-8")
    except (UnicodeEncodeError, ValueError, yaml.YAMLError):
        assume(False)
        raise


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8")


nested = st.builds(
    lambda opening, n: opening * n, st.sampled_from([b"[", b'{"a":', b'{"snapshot":{"a":']), st.sampled_from([9, 3000])
)
