"""Escapes characters that control the display, are invisible, or imitate other text.

Rules in the spirit of Unicode Technical Standard #39 (https://www.unicode.org/reports/tr39/): no mixed scripts within a
word or an address, and no compatibility characters that look like ASCII.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from functools import lru_cache

# General categories that a terminal, a mail program or a reader may act on: controls, formats (including bidirectional
# overrides), surrogates, private use, unassigned, line and paragraph separators.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Invisible or blank characters of other categories: Unicode's default ignorable characters, fillers, blanks.
# Source: https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
_INVISIBLE = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0xFFFC, 0x13441, 0x13442, 0x16FE4, 0x1D159}
).union(range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
# Invisible characters that are needed in some contexts and allowed only there: joiners between emoji and in several
# scripts, presentation selectors of emoji, the ideographic space of Chinese and Japanese.
_JOINERS = "\u200c\u200d"
_CONTEXTUAL = re.compile("[\u200c\u200d\ufe0e\ufe0f\u3000]")
_JOINING_SCRIPTS = frozenset(
    "ARABIC SYRIAC MONGOLIAN NKO MANDAIC DEVANAGARI BENGALI GURMUKHI GUJARATI ORIYA TAMIL TELUGU KANNADA MALAYALAM "  # noqa: SIM905 - a list of words
    "SINHALA KHMER MYANMAR TIBETAN BALINESE JAVANESE".split()
)
# Scripts that occur together in one word, also with Latin letters. Other scripts beside Latin letters may imitate them.
_EAST_ASIAN = frozenset(
    ["CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "HALFWIDTH", "MODIFIER"]
)
_WITH_LATIN = frozenset({"LATIN", "FEMININE", "MASCULINE", "MICRO", "SUPERSCRIPT", "SUBSCRIPT", *_EAST_ASIAN})
_WITHOUT_LATIN = frozenset({"FULLWIDTH", *_EAST_ASIAN})
# First words of character names that are not the name of a script.
_NO_SCRIPT = (_WITH_LATIN - _EAST_ASIAN) | {"MODIFIER", "COMBINING"}
# Characters that NFKC maps to ASCII but that cannot be mistaken for it.
_NOT_CONFUSABLE = frozenset("\u00aa\u00ba\u2026\u2116\u2120\u2121\u2122")
_NOT_CONFUSABLE_SCRIPTS = frozenset({"SUPERSCRIPT", "SUBSCRIPT"})
_WIDE = frozenset({"FULLWIDTH", "PRESENTATION"})  # belong to East Asian text
# Characters that look like ASCII unless the presentation selector of emoji follows.
_EMOJI = "\u2139\u24c2\u203c\u2049"
_NON_ASCII = re.compile(f"[{_EMOJI}]\ufe0f|[^\x00-\x7f]")
# Non-ASCII punctuation that may surround an address.
_PUNCTUATION = frozenset("\u2026\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f")
_LABEL_END = re.compile(r"[\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]")
_MAX_COMBINING_MARKS = 3  # in a row
# Escape sequences in source code and of this module: their letters belong to no word.
_ESCAPE_SEQUENCE = re.compile(r"\\(?:[abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
# Characters that look like a double quotation mark, and those of which two do.
_QUOTES = (
    '"\u02ba\u02dd\u02ee\u02f5\u02f6\u05f4\u201c\u201d\u201e\u201f\u2033\u2034\u2036\u2037\u2057\u275d\u275e\u2e42'
    "\u3003\u301d\u301e\u301f\uff02\U0001f676\U0001f677\U0001f678"
)
_HALF_QUOTES = (
    "'`\xb4\u02b9\u02bb\u02bc\u02bd\u02c8\u02ca\u02cb\u055a\u05f3\u2018\u2019\u201a\u201b\u2032\u2035\u275b\u275c\ua78c"
    "\uff07"
)
_SECOND_HALF_QUOTE = re.compile(f"(?<=[{_HALF_QUOTES}])[{_HALF_QUOTES}]")
_LETTERS_AND_DIGITS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl"})


def escape_unsafe(text: str, allowed: str = "") -> str:
    """`text` with all unsafe characters escaped; the control characters in `allowed` stay."""
    if not text.isascii():
        # Other blanks and line ends are escaped below, so they belong to the token.
        text = re.sub(f"[^ {allowed}]+", _escape_token, text)
    text = text.translate(_EscapeTable({ord(each): each for each in allowed}))
    return text if text.isascii() else _CONTEXTUAL.sub(_escape_out_of_context, text)


def escape_quotes(text: str) -> str:
    """`text` with everything escaped that looks like a double quotation mark, such as two single ones."""
    return _SECOND_HALF_QUOTE.sub(lambda match: _escape(match[0]), text.translate(_QUOTE_TABLE))


class _EscapeTable(dict[int, str]):
    """Translation table for `str.translate`; every character is classified once per text."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        is_blank = category == "Zs" and character != " "
        is_unsafe = category in _UNSAFE_CATEGORIES or code in _INVISIBLE or is_blank
        self[code] = _escape(character) if is_unsafe and not _CONTEXTUAL.match(character) else character
        return self[code]


def _escape(character: str) -> str:
    code = ord(character)
    return character.encode("unicode_escape").decode("ascii") if not 0x20 <= code < 0x7F else f"\\x{code:02x}"


_QUOTE_TABLE = {ord(each): _escape(each) for each in _QUOTES}


def _escape_out_of_context(match: re.Match[str]) -> str:
    return match[0] if _is_in_context(match) else _escape(match[0])


def _is_in_context(match: re.Match[str]) -> bool:
    """Whether a joiner, a presentation selector of emoji or an ideographic space is where it is needed."""
    character = match[0]
    before = match.string[match.start() - 1 : match.start()]
    after = match.string[match.end() : match.end() + 1]
    if not before:
        return False
    if character == "\u3000":
        return _script(before) in _EAST_ASIAN and _script(after) in _EAST_ASIAN
    if character not in _JOINERS:
        is_symbol = before in _EMOJI or (not before.isascii() and unicodedata.category(before) in {"So", "Sm"})
        return is_symbol or after == "\u20e3"
    if _script(before) in _JOINING_SCRIPTS:
        return _script(after) == _script(before) or unicodedata.combining(before) == 9  # 9: virama
    is_emoji = before == "\ufe0f" or unicodedata.category(before) in {"So", "Sk"}
    return is_emoji and unicodedata.category(after or " ") in {"So", "Sm"}


def _escape_token(match: re.Match[str]) -> str:
    """Escape characters of foreign scripts and ASCII lookalikes in a text without blanks.

    Repeated until nothing changes, because an escape is ASCII text beside which other characters become foreign.
    """
    token = match[0]
    while not token.isascii():
        before = token
        token = _escape_stacked_marks(token)
        if "@" in unicodedata.normalize("NFKC", token):
            token = _escape_address(token)
        else:
            token = _escape_lookalikes(_escape_mixed_scripts(token))
        if token == before:
            break
    return token


def _escape_stacked_marks(token: str) -> str:
    """Escape combining marks above the limit: a long run of them covers the lines above and below."""
    escaped, run = [], 0
    for each in token:
        run = run + 1 if not each.isascii() and unicodedata.category(each)[0] == "M" else 0
        escaped.append(_escape(each) if run > _MAX_COMBINING_MARKS else each)
    return "".join(escaped)


def _escape_address(token: str) -> str:
    """Escape all non-ASCII characters of a mail address unless its letters are of one script.

    Punctuation and East Asian text around the address stay; the latter has no blanks.
    """
    begin, end = 0, len(token)
    while begin < end and _may_surround_address(token[begin]):
        begin += 1
    while begin < end and _may_surround_address(token[end - 1]):
        end -= 1
    address = token[begin:end]
    if not _is_of_one_script(_ESCAPE_SEQUENCE.sub("", address)):
        address = "".join(each if each.isascii() else _escape(each) for each in address)
    return token[:begin] + address + token[end:]


def _may_surround_address(character: str) -> bool:
    if character.isascii():
        return False
    is_bracket_or_quote = unicodedata.category(character) in {"Ps", "Pe", "Pi", "Pf"}
    return is_bracket_or_quote or character in _PUNCTUATION or _address_script(character) == "CJK"


def _is_of_one_script(address: str) -> bool:
    """Whether `address` is ASCII, or all its letters are of one other script.

    East Asian letters do not resemble Latin ones, so labels of both may occur in one address.
    """
    scripts = {_address_script(each) for each in address if not each.isascii()}
    if scripts == {"CJK"}:
        return not any(map(_mixes_ascii_letters, _LABEL_END.split(address)))
    return not scripts or (len(scripts) == 1 and "" not in scripts and not _has_ascii_letters(address))


def _address_script(character: str) -> str:
    """The script of a letter or mark that an internationalized address may contain; empty for anything else."""
    is_letter = unicodedata.category(character)[0] in "LM" and ord(character) not in _INVISIBLE
    script = _script(character)
    if not is_letter or script in _NO_SCRIPT or _is_lookalike(character):
        return ""
    return "CJK" if script in _EAST_ASIAN else script


def _escape_lookalikes(token: str) -> str:
    """Escape characters that look like ASCII in a token with Latin letters or with such characters."""
    characters = [each for each in _NON_ASCII.findall(token) if len(each) == 1]
    lookalikes = {each for each in characters if _is_lookalike(each)}
    if any(_script(each) in _EAST_ASIAN and _address_script(each) for each in characters):
        lookalikes = {each for each in lookalikes if _script(each) not in _WIDE}
    has_latin = _has_ascii_letters(_ESCAPE_SEQUENCE.sub("", token)) or any(map(_is_latin_letter, characters))
    if not lookalikes or not (has_latin or any(map(_resembles_letter, lookalikes))):
        return token
    return _NON_ASCII.sub(lambda match: _escape(match[0]) if match[0] in lookalikes else match[0], token)


@lru_cache(maxsize=4096)
def _is_lookalike(character: str) -> bool:
    """Whether NFKC maps it to ASCII: mathematical, enclosed and wide letters, ligatures, dots, ..."""
    if character.isascii() or character in _NOT_CONFUSABLE or _script(character) in _NOT_CONFUSABLE_SCRIPTS:
        return False
    plain = unicodedata.normalize("NFKC", character)
    return plain.isascii() and plain.isprintable() and " " not in plain


def _resembles_letter(lookalike: str) -> bool:
    """Whether it is read as a Latin letter without others beside it, unlike Roman numerals and squared units."""
    is_letter = unicodedata.category(lookalike)[0] == "L" or unicodedata.category(lookalike) == "So"
    return is_letter and _script(lookalike) != "SQUARE" and _has_ascii_letters(unicodedata.normalize("NFKC", lookalike))


def _is_latin_letter(character: str) -> bool:
    return unicodedata.category(character)[0] == "L" and _script(character) == "LATIN"


def _has_ascii_letters(text: str) -> bool:
    return any(each.isascii() and each.isalpha() for each in text)


def _mixes_ascii_letters(label: str) -> bool:
    """Whether ASCII letters stand beside non-ASCII characters."""
    return _has_ascii_letters(label) and not label.isascii()


def _escape_mixed_scripts(token: str) -> str:
    """Escape letters that are not of the script of their word."""
    ends = {0, len(token)}
    ends.update(index + 1 for index, each in enumerate(token) if not _is_in_word(each))
    ends.update(end for match in _ESCAPE_SEQUENCE.finditer(token) for end in match.span())
    return "".join(_escape_foreign_letters(token[begin:end]) for begin, end in itertools.pairwise(sorted(ends)))


def _escape_foreign_letters(word: str) -> str:
    """Escape letters that are not of the word's script: Latin if there are Latin letters, else that of the first."""
    scripts = [_script(each) for each in word if unicodedata.category(each)[0] == "L"]
    if word.isascii() or not scripts:
        return word
    if "LATIN" in scripts:
        return "".join(_escape(each) if _is_foreign_to_latin(each) else each for each in word)
    allowed = _WITHOUT_LATIN if scripts[0] in _WITHOUT_LATIN else {scripts[0], "MODIFIER"}
    return "".join(
        _escape(each) if unicodedata.category(each)[0] == "L" and _script(each) not in allowed else each
        for each in word
    )


def _is_foreign_to_latin(character: str) -> bool:
    """Whether it is a letter or digit that does not belong beside Latin letters."""
    is_other = not character.isascii() and unicodedata.category(character) in _LETTERS_AND_DIGITS
    return is_other and _script(character) not in _WITH_LATIN


def _is_in_word(character: str) -> bool:
    """Whether it continues a word: letters, marks, numbers, and invisible format characters."""
    return unicodedata.category(character)[0] in "LMN" or unicodedata.category(character) == "Cf"


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    """The script of a character, by the first word of its name: `LATIN`, `CYRILLIC`, `CJK`, ..."""
    return unicodedata.name(character, "").partition(" ")[0] if character else ""
