"""Escaping of text from outside, and the text of timestamps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.core.text import did_you_mean, escape, escape_block, iso_to_local, local_time, plural


@pytest.mark.parametrize(
    ("text", "escaped"),
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
def test_escape_replaces_control_characters(text: str, escaped: str) -> None:
    """X11"""
    assert escape(text) == escaped


@given(st.text(max_size=200))
def test_escape_leaves_no_terminal_control(text: str) -> None:
    safe = escape(text)

    assert "\n" not in safe
    assert "\x1b" not in safe
    assert "\u202e" not in safe
    safe.encode("utf-8")


def test_escape_limit_cuts_with_an_ellipsis() -> None:
    assert escape("a" * 400, limit=10) == "a" * 10 + "…"


def test_escape_block_keeps_lines_and_tabs() -> None:
    assert escape_block("a\tb\r\n\n\x1bc\r") == "a\tb\n\n\\x1bc\n"


def test_plural_of_one_and_many() -> None:
    assert plural(1, "job") == "1 job"
    assert plural(2, "job") == "2 jobs"
    assert plural(2, "request waits", "requests wait") == "2 requests wait"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("\u0430na@uni.example", "\\u0430na@uni.example"),
        ("\u0441\u043e\u0441\u043e@uni.example", "\\u0441\\u043e\\u0441\\u043e@uni.example"),
        ("ana@un\u0131.example", "ana@un\\u0131.example"),
        ("j\u03bfb", "j\\u03bfb"),
        ("p\u0430ypal \u0438 \u043c\u0438\u0440", "p\\u0430ypal \u0438 \u043c\u0438\u0440"),
        ("a\u0301\u0430", "a\u0301\\u0430"),
        ("\u0430\u200dna", "\\u0430\\u200dna"),
        ("\U0001d41ana", "\\U0001d41ana"),
        ("\uff41na", "\\uff41na"),
        ("\u13aana", "\\u13aana"),
        ("\u212aelvin \u2160x", "\\u212aelvin \\u2160x"),
        ("\u03b1\u0430", "\u03b1\\u0430"),
    ],
    ids=ascii,
)
def test_escape_mixed_scripts_escapes_letters_of_the_other(text: str, escaped: str) -> None:
    """C6"""
    assert escape(text) == escaped
    assert escape_block(f"{text}\n") == f"{escaped}\n"
    assert escape(escaped) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("ana@uni\u2024example", "ana@uni\\u2024example"),
        ("a\u0323na@uni.example", "a\\u0323na@uni.example"),
        ("ana\u0335@uni.example", "ana\\u0335@uni.example"),
        ("\u24d0na@uni.example", "\\u24d0na@uni.example"),
        ("ana@uni\uff0eexample", "ana@uni\\uff0eexample"),
        ("ana@uni\u3002example", "ana@uni\\u3002example"),
        ("ana@uni\u4e00example", "ana@uni\\u4e00example"),
        ("\u1d43na@uni.example", "\\u1d43na@uni.example"),
        ("ana\uff20uni.example", "ana\\uff20uni.example"),
        ("ana\ufe6buni.example", "ana\\ufe6buni.example"),
        ("\U0001d41a\U0001d427\U0001d41a@uni.example", "\\U0001d41a\\U0001d427\\U0001d41a@uni.example"),
        ("ana@\r\u0456", "ana@\\r\\u0456"),
        ("ana@un\ufb01.example", "ana@un\\ufb01.example"),
        ("m\xfcller@uni.example", "m\\xfcller@uni.example"),
        ("\u0438\u0432\u0430\u043d@\u5c71.\u0440\u0444", "\\u0438\\u0432\\u0430\\u043d@\\u5c71.\\u0440\\u0444"),
    ],
    ids=ascii,
)
def test_escape_address_with_foreign_characters_is_ascii(text: str, escaped: str) -> None:
    """C6: letters, dots, marks and other forms of the `@`."""
    assert escape(text) == escaped
    assert escape(escaped) == escaped
    assert escape(f"\u201c{text}\u201d") == f"\u201c{escaped}\u201d"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("uni\u2024example", "uni\\u2024example"),
        ("\u24d0na", "\\u24d0na"),
        ("\u24d0\u24dd\u24d0", "\\u24d0\\u24dd\\u24d0"),
        ("\U0001d41a\U0001d427\U0001d41a", "\\U0001d41a\\U0001d427\\U0001d41a"),
        ("\uff21\uff4e\uff41", "\\uff21\\uff4e\\uff41"),
        ("uni\uff0eexample", "uni\\uff0eexample"),
        ("pro\ufb01le", "pro\\ufb01le"),
        ("\u1d43na", "\\u1d43na"),
    ],
    ids=ascii,
)
def test_escape_imitated_ascii_is_escaped(text: str, escaped: str) -> None:
    """C6: beside Latin letters, and alone where it looks like them."""
    assert escape(text) == escaped
    assert escape(escaped) == escaped


def test_escape_stacked_marks_keeps_three() -> None:
    """C6: more of them cover other lines."""
    assert escape("a" + "\u0301" * 5 + "b\u0301") == "a\u0301\u0301\u0301\\u0301\\u0301b\u0301"


INVISIBLE = (
    "\u3164\u115f\u1160\uffa0\u2800\u180e\ufe0f\ufe0e\u034f\u200b\u200c\u200d\u2060\u00ad\u00a0\u2003\u3000"
    "\U000e0041\U000e0101"
)


@pytest.mark.parametrize("character", INVISIBLE, ids=ascii)
def test_escape_invisible_or_blank_is_escaped(character: str) -> None:
    """C6: beside Latin letters, twice, and alone."""
    for text in (f"a{character}b", f"a{character}{character}b", character):
        assert character not in escape(text)
        assert character.encode("unicode_escape").decode() in escape(text)


@pytest.mark.parametrize(
    "name",
    [
        "\u0418\u0432\u0430\u043d \u041f\u0435\u0442\u0440\u043e\u0432",
        "\u0430\u043d\u0430\u043b\u0438\u0437 \u0434\u0430\u043d\u043d\u044b\u0445_v2.csv",
        "\u0438\u0432\u0430\u043d@\u043f\u043e\u0447\u0442\u0430.\u0440\u0444",
        "\u5c71\u7530\u3000\u592a\u90ce",
        "\u65e5\u672c\u8a9e\u30c6\u30b9\u30c8 analysis\u6f22\u5b57 \uff21\uff22\uff23\u6f22\u5b57",
        "\ud55c\uad6d\uc5b4 \uc774\ub984",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u0641\u0627\u062a\u0648\u0631\u0629\u0661\u0662",
        "\u0939\u093f\u0928\u094d\u0926\u0940 \u0915\u094d\u200d\u0937",
        "\u0d05\u0d35\u0d28\u0d4d\u200d",
        "\U0001f469\u200d\U0001f52c \u2764\ufe0f 1\ufe0f\u20e3 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f44d\U0001f3fd",
        "M\xfcller, caf\xe9, \u0141\xf3d\u017a, Vi\u1ec7t Nam, \xbd x\xb2, 10 \xb5m",
        "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u03b2-carotene",
        "print('\\n\u041f\u0440\u0438\u0432\u0435\u0442')",
        "\u7528\u6237@\u4f8b\u3048.jp \u043f\u043e\u0447\u0442\u0430@\u0434\u043e\u043c\u0435\u043d.\u0440\u0444",
        "\u0909\u092a\u092f\u094b\u0917@\u0909\u0926\u093e\u0939\u0930\u0923.\u092d\u093e\u0930\u0924",
        "\u8bf7\u53d1\u5230ana@uni.example\u3002 \xabana@uni.example\xbb",
        "\u6a21\u578b\uff1aResNet50\uff0c\u6570\u636e\uff08\u65b0\uff09 \u2460\u6570\u636e \u2160 \uff12\uff10",
        "cafe\u0301 Mu\u0308ller Vie\u0323\u0302t \u0938\u094d\u0924\u094d\u0930\u0940",
        "\uac00\u1100\u1161 \u1112\u1161\u11ab",
        "\u0e17\u0e35\u0e48 \u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
        "\u0627\u0644\u0639\u064e\u0631\u064e\u0628\u0650\u064a\u0651\u064e\u0629",
        "\u2139\ufe0f \u203c\ufe0f \U0001f1e9\U0001f1ea SyftBox\u2122 n.\xba 1 wait\u2026 CO\u2082 \U0001f170\ufe0f",
    ],
    ids=ascii,
)
def test_escape_genuine_name_is_unchanged(name: str) -> None:
    """C6"""
    assert escape(name) == name
    assert escape_block(name) == name


@pytest.mark.parametrize(
    "character",
    [
        *'"\u201c\u201d\uff02\u02ba\u02ee\u05f4\u02dd\u3003\u2e42\U0001f676\U0001f677\U0001f678',
        *("''", "\u2019\u2019", "\u2032\u2032", "\u2019'", "``"),
    ],
    ids=ascii,
)
def test_escape_quoted_text_cannot_end_the_quotation(character: str) -> None:
    """C6: of two single marks, the second one is escaped."""
    name = escape(f"x{character} from b@lab.example is done. Job {character}y", quoted=True)
    code = ord(character[-1])
    escaped = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    assert character not in name
    assert name.startswith(f"x{character[:-1]}{escaped} from")


def test_escape_quoted_text_keeps_an_apostrophe() -> None:
    """C6"""
    assert escape("ana's caf\xe9 o\u2019neill", quoted=True) == "ana's caf\xe9 o\u2019neill"


@given(st.text(max_size=60))
def test_escape_twice_is_the_same(text: str) -> None:
    """C6: text passes through more than one place that displays it."""
    once = escape(text)

    assert escape(once, limit=len(once)) == once


MIXED = (
    "a\xe9\u0430\u6f22\u30fc\u3042\uff21\uff1a\uff20@.\u3002\u2024\u24d0\ufb01\u1d43\u2139\u2160\u2460\U0001d41a\u0301\u3164\\"
    " \xb2\u2026'\"\u02bc\u3003"
)


@given(st.text(st.sampled_from(MIXED), max_size=20))
def test_escape_of_mixed_scripts_twice_is_the_same(text: str) -> None:
    """C6"""
    for quoted in (False, True):
        once = escape(text, quoted=quoted)

        assert escape(once, quoted=quoted) == once


# 2027-01-15 08:00 and 2027-07-15 08:00 in UTC.
WINTER, SUMMER = 1_800_000_000.0, 1_815_638_400.0


@pytest.mark.parametrize(
    ("zone", "seconds", "text"),
    [
        ("UTC", WINTER, "2027-01-15 08:00:00+00:00"),
        ("IST-5:30", WINTER, "2027-01-15 13:30:00+05:30"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", WINTER, "2027-01-15 09:00:00+01:00"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", SUMMER, "2027-07-15 10:00:00+02:00"),
        ("XXX11", WINTER, "2027-01-14 21:00:00-11:00"),
        ("UTC", 1e18, "1000000000000000000 s since 1970"),
        ("IST-5:30", 253_402_300_000.0, "253402300000 s since 1970"),
    ],
)
def test_local_time_has_the_offset_of_the_timezone(
    in_zone: Callable[[str], None], zone: str, seconds: float, text: str
) -> None:
    """F6"""
    in_zone(zone)

    assert local_time(seconds) == text


def test_iso_to_local_converts_iso_and_keeps_other_text(in_zone: Callable[[str], None]) -> None:
    """F6"""
    in_zone("IST-5:30")

    assert iso_to_local("2027-01-15T08:00:00.000Z") == "2027-01-15 13:30:00+05:30"
    assert iso_to_local("soon") == "soon"


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [("intervall", "; did you mean `interval`?"), ("colour", ""), ("intervall" + "l" * 10**6, "")],
)
def test_did_you_mean_names_only_a_similar_entry(text: str, suggestion: str) -> None:
    assert did_you_mean(text, ["interval", "watch"]) == suggestion
