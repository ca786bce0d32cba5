"""Entity ids and mail addresses."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.core.identifiers import entity_id, is_address

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(names, names, names)
def test_entity_id_splits_into_its_parts(owner: str, submitter: str, name: str) -> None:
    entity = entity_id("job", "D", owner, submitter, name)

    assert [unquote(part) for part in entity.split("/")] == ["job", "D", owner, submitter, name]
    assert entity.isascii()
    assert " " not in entity
    assert "\n" not in entity


def test_entity_id_keeps_at_signs_and_names_that_are_not_utf8() -> None:
    assert entity_id("job", "C", "o@x.org", "a@y.net", "a b") == "job/C/o@x.org/a@y.net/a%20b"
    assert entity_id(b"\xff".decode("utf-8", "surrogateescape")) == "%FF"


@pytest.mark.parametrize("text", ["a@b.org", "first.last+tag@sub.uni.example", "x@localhost", "o'neil@x.org"])
def test_is_address_accepts_a_bare_address(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a@", "@b", "a@b@c", "a b@c.org", "a@b.org\n", "a@b.org\nBcc: x@y.org", "<a@b.org>", "a@b.org,c@d.org",
     "Name <a@b.org>", "\x1b[1ma@b.org", "a@-b.org", "ä@b.org", "a" * 250 + "@b.org", "a@b.org "],
)  # fmt: skip
def test_is_address_rejects_what_could_break_a_header(text: str) -> None:
    """X11"""
    assert not is_address(text)
