"""Shown, never obeyed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.text import plural, shown, shown_block


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2028b", "a\\u2028b"),
        ("\udcff", "\\udcff"),
        ("\x00", "\\x00"),
        ("\ufeffx", "\\ufeffx"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
        ("Müller 漢字 👩‍🔬", "Müller 漢字 👩‍🔬"),
    ],
)
def test_what_could_be_obeyed_is_written_out(hostile: str, harmless: str) -> None:
    """X11"""
    assert shown(hostile) == harmless


@given(st.text(max_size=200))
def test_nothing_a_terminal_obeys_survives(text: str) -> None:
    safe = shown(text)

    assert "\n" not in safe
    assert "\x1b" not in safe
    assert "\u202e" not in safe
    safe.encode("utf-8")


def test_long_text_is_cut_with_a_mark() -> None:
    assert shown("a" * 400, limit=10) == "a" * 10 + "…"


def test_a_block_keeps_its_lines_and_tabs() -> None:
    assert shown_block("a\tb\r\n\n\x1bc\r") == "a\tb\n\n\\x1bc\n"


def test_one_and_many() -> None:
    assert plural(1, "job") == "1 job"
    assert plural(2, "job") == "2 jobs"
    assert plural(2, "request waits", "requests wait") == "2 requests wait"
