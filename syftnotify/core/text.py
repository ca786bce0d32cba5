"""Text from outside made harmless: displayed, never interpreted; nothing hides in it, and nothing imitates it."""

from __future__ import annotations

import codecs
import itertools
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import urlsplit

# Categories that a terminal, a mail program or a reader's eye may obey: controls, formats (among them the
# bidirectional overrides), surrogates, private use, unassigned, line and paragraph separators.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# What shows nothing, or a blank, and is in none of these: Unicode's default ignorable characters, fillers, blanks.
# Source: https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
_INVISIBLE = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0xFFFC, 0x13441, 0x13442, 0x16FE4, 0x1D159}
).union(range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
# Invisible too, and needed: joiners between emoji and in several scripts, the presentation of emoji, the blank of
# Chinese and Japanese. Each is harmless in its place only.
_JOINERS = "\u200c\u200d"
_IN_PLACE = re.compile("[\u200c\u200d\ufe0e\ufe0f\u3000]")
_JOINED_SCRIPTS = frozenset(
    "ARABIC SYRIAC MONGOLIAN NKO MANDAIC DEVANAGARI BENGALI GURMUKHI GUJARATI ORIYA TAMIL TELUGU KANNADA MALAYALAM "  # noqa: SIM905 - a list of words
    "SINHALA KHMER MYANMAR TIBETAN BALINESE JAVANESE".split()
)
# Scripts that are written together in one word, and with Latin letters; what is neither and stands beside Latin letters
# may be there to look like them.
_EAST_ASIAN = frozenset(
    ["CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "HALFWIDTH", "MODIFIER"]
)
_LATIN = frozenset({"LATIN", "FEMININE", "MASCULINE", "MICRO", "SUPERSCRIPT", "SUBSCRIPT", *_EAST_ASIAN})
_WITHOUT_LATIN = frozenset({"FULLWIDTH", *_EAST_ASIAN})
# Scripts by name that are none: letters and marks that stand with Latin ones.
_NO_SCRIPT = (_LATIN - _EAST_ASIAN) | {"MODIFIER", "COMBINING"}
# NFKC spells these with ASCII, too, but each is what it looks like.
_KEPT = frozenset("\u00aa\u00ba\u2026\u2116\u2120\u2121\u2122")
_KEPT_SCRIPTS = frozenset({"SUPERSCRIPT", "SUBSCRIPT"})
_WIDE = frozenset({"FULLWIDTH", "PRESENTATION"})  # belong to East Asian text
# Emoji in their place, before the selector of an emoji's look; without it they look like ASCII.
_EMOJI = "\u2139\u24c2\u203c\u2049"
_SIGN = re.compile(f"[{_EMOJI}]\ufe0f|[^\x00-\x7f]")
# What may stand around an address, and is no part of it.
_AROUND = frozenset("\u2026\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f")
_LABEL_END = re.compile(r"[\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]")
_MOST_MARKS = 3  # combining marks in a row
# In source code, and of ours: these letters belong to the backslash, and to no word.
_ESCAPED = re.compile(r"\\(?:[abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
# What looks like a quotation mark, and of what two do.
_QUOTES = (
    '"\u02ba\u02dd\u02ee\u02f5\u02f6\u05f4\u201c\u201d\u201e\u201f\u2033\u2034\u2036\u2037\u2057\u275d\u275e\u2e42'
    "\u3003\u301d\u301e\u301f\uff02\U0001f676\U0001f677\U0001f678"
)
_HALF_QUOTES = (
    "'`\xb4\u02b9\u02bb\u02bc\u02bd\u02c8\u02ca\u02cb\u055a\u05f3\u2018\u2019\u201a\u201b\u2032\u2035\u275b\u275c\ua78c"
    "\uff07"
)
_SECOND_HALF = re.compile(f"(?<=[{_HALF_QUOTES}])[{_HALF_QUOTES}]")
_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl"})  # and digits
_SHORTEST_SECRET = 4


def escape(text: str, *, limit: int = 300, quoted: bool = False) -> str:
    """`text` on one line, cut to `limit` characters; what could be obeyed, hide or imitate is written as an escape.

    `quoted` escapes quotation marks as well, so that the result can stand between them.
    """
    cut = text[:limit]
    if not cut.isascii() or not cut.isprintable():
        cut = _escaped(cut, "")
    if quoted:
        cut = _SECOND_HALF.sub(lambda found: _escape(found[0]), cut.translate(_ESCAPED_QUOTES))
    return cut + "…" if len(text) > limit else cut


def escape_block(text: str) -> str:
    """Like `shown` for text of many lines: line ends and tabs stay, nothing is cut."""
    return _escaped(text.replace("\r\n", "\n").replace("\r", "\n"), "\n\t")


def decoded(content: bytes) -> str:
    """The text of a file that people edit or download: UTF-8, with or without a byte order mark.

    Raises:
        ValueError: it is in another encoding. The message repeats nothing of the content.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        raise ValueError("UTF-16 or UTF-32 text; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text; save it as UTF-8") from None


def host_of(url: str) -> str:
    """The part of an address that may be shown: the path of a webhook is often its password."""
    return urlsplit(url).hostname or "the address"


def iso(seconds: float, *, exact: bool = False) -> str:
    """`2026-01-15T15:30:00Z`; `exact` adds milliseconds."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds" if exact else "seconds").replace("+00:00", "Z")


def local_time(seconds: float) -> str:
    """`2026-01-15 21:00:00+05:30`: the time in this machine's zone with its offset, for a person to read.

    `--since` and `--older-than` accept it as it is printed. JSON and log lines use `iso`.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(sep=" ", timespec="seconds")
    except (OverflowError, ValueError, OSError):  # outside the years that `datetime` or the platform can express
        return f"{seconds:.0f} s since 1970"


def localized(moment: str) -> str:
    """An ISO 8601 time as `local_time` prints it; any other text is returned unchanged."""
    try:
        return local_time(datetime.fromisoformat(moment).timestamp())
    except (OverflowError, ValueError):
        return moment


def redact(text: str, secrets: Iterable[str]) -> str:
    """`text` without `secrets`: other sides repeat what they were sent. Very short ones would blot out everything."""
    for secret in sorted({each for each in secrets if len(each) >= _SHORTEST_SECRET}, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def _escaped(text: str, kept: str) -> str:
    if not text.isascii():
        # Other blanks and line ends become escapes, and so parts of the word.
        text = re.sub(f"[^ {kept}]+", _mixed_scripts_escaped, text)
    text = text.translate(_Escapes({ord(each): each for each in kept}))
    return text if text.isascii() else _IN_PLACE.sub(_in_place_or_escaped, text)


class _Escapes(dict[int, str]):
    """What each character is shown as; every one is judged once a text."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        is_hidden = unicodedata.category(character) in _OBEYED or code in _INVISIBLE or _is_odd_blank(character)
        if is_hidden and not _IN_PLACE.match(character):
            character = _escape(character)
        self[code] = character
        return character


def _escape(character: str) -> str:
    code = ord(character)
    return character.encode("unicode_escape").decode("ascii") if not 0x20 <= code < 0x7F else f"\\x{code:02x}"


_ESCAPED_QUOTES = {ord(sign): _escape(sign) for sign in _QUOTES}


def _is_odd_blank(character: str) -> bool:
    return character != " " and unicodedata.category(character) == "Zs"


def _in_place_or_escaped(found: re.Match[str]) -> str:
    return found[0] if _is_in_place(found) else _escape(found[0])


def _is_in_place(found: re.Match[str]) -> bool:
    """Whether a joiner, a selector of an emoji's look, or a wide blank stands where it is needed."""
    sign = found[0]
    before = found.string[found.start() - 1 : found.start()]
    after = found.string[found.end() : found.end() + 1]
    if not before:
        return False
    if sign == "\u3000":
        return _script(before) in _EAST_ASIAN and _script(after) in _EAST_ASIAN
    if sign not in _JOINERS:
        is_symbol = before in _EMOJI or (not before.isascii() and unicodedata.category(before) in {"So", "Sm"})
        return is_symbol or after == "\u20e3"
    if _script(before) in _JOINED_SCRIPTS:
        return _script(after) == _script(before) or unicodedata.combining(before) == 9  # a virama
    is_emoji = before == "\ufe0f" or unicodedata.category(before) in {"So", "Sk"}
    return is_emoji and unicodedata.category(after or " ") in {"So", "Sm"}


def _mixed_scripts_escaped(found: re.Match[str]) -> str:
    """A token with the characters escaped that do not belong to the script of their word, or imitate another."""
    token = found[0]
    while not token.isascii():
        before = token
        token = _stacked_marks_escaped(token)
        if "@" in unicodedata.normalize("NFKC", token):
            token = _foreign_escaped_in_address(token)
        else:
            token = _imitations_escaped(_other_scripts_escaped(token))
        if token == before:
            break
    return token


def _stacked_marks_escaped(token: str) -> str:
    """A long run of combining marks covers the lines above and below."""
    kept, row = [], 0
    for each in token:
        row = row + 1 if not each.isascii() and unicodedata.category(each)[0] == "M" else 0
        kept.append(_escape(each) if row > _MOST_MARKS else each)
    return "".join(kept)


def _foreign_escaped_in_address(token: str) -> str:
    """A token with an `@`: if all its letters are of one script it stays, otherwise it is written in ASCII.

    Punctuation around an address stays, and East Asian text, which has no blanks.
    """
    begin, end = 0, len(token)
    while begin < end and _is_around_address(token[begin]):
        begin += 1
    while begin < end and _is_around_address(token[end - 1]):
        end -= 1
    address = token[begin:end]
    if not _is_of_one_script(_ESCAPED.sub("", address)):
        address = "".join(each if each.isascii() else _escape(each) for each in address)
    return token[:begin] + address + token[end:]


def _is_around_address(character: str) -> bool:
    if character.isascii():
        return False
    is_bracket_or_quote = unicodedata.category(character) in {"Ps", "Pe", "Pi", "Pf"}
    return is_bracket_or_quote or character in _AROUND or _address_script(character) == "CJK"


def _is_of_one_script(address: str) -> bool:
    """Whether `address` is ASCII, or all its letters are of one other script.

    East Asian letters resemble no Latin ones: they may have Latin ones beside them, in other labels.
    """
    scripts = {_address_script(each) for each in address if not each.isascii()}
    if scripts == {"CJK"}:
        return not any(map(_has_ascii_letters_and_others, _LABEL_END.split(address)))
    return not scripts or (len(scripts) == 1 and "" not in scripts and not _has_ascii_letters(address))


def _address_script(character: str) -> str:
    """The script of a letter or mark that an internationalized address may have, or nothing."""
    is_letter = unicodedata.category(character)[0] in "LM" and ord(character) not in _INVISIBLE
    script = _script(character)
    if not is_letter or script in _NO_SCRIPT or _is_imitation(character):
        return ""
    return "CJK" if script in _EAST_ASIAN else script


def _imitations_escaped(token: str) -> str:
    """A token with Latin letters, or what looks like them, in which each character is what it looks like."""
    signs = [each for each in _SIGN.findall(token) if len(each) == 1]
    imitations = {each for each in signs if _is_imitation(each)}
    if any(_script(each) in _EAST_ASIAN and _address_script(each) for each in signs):
        imitations = {each for each in imitations if _script(each) not in _WIDE}
    has_latin = _has_ascii_letters(_ESCAPED.sub("", token)) or any(map(_is_latin_letter, signs))
    if not imitations or not (has_latin or any(map(_looks_like_a_letter, imitations))):
        return token
    return _SIGN.sub(lambda found: _escape(found[0]) if found[0] in imitations else found[0], token)


@lru_cache(maxsize=4096)
def _is_imitation(character: str) -> bool:
    """Whether NFKC makes ASCII of it: mathematical, enclosed and wide letters, ligatures, dots, ..."""
    if character.isascii() or character in _KEPT or _script(character) in _KEPT_SCRIPTS:
        return False
    plain = unicodedata.normalize("NFKC", character)
    return plain.isascii() and plain.isprintable() and " " not in plain


def _looks_like_a_letter(imitation: str) -> bool:
    """Whether it passes for Latin without Latin letters beside it; Roman numerals and units in one square do not."""
    is_letter = unicodedata.category(imitation)[0] == "L" or unicodedata.category(imitation) == "So"
    return is_letter and _script(imitation) != "SQUARE" and _has_ascii_letters(unicodedata.normalize("NFKC", imitation))


def _is_latin_letter(character: str) -> bool:
    return unicodedata.category(character)[0] == "L" and _script(character) == "LATIN"


def _has_ascii_letters(text: str) -> bool:
    return any(each.isascii() and each.isalpha() for each in text)


def _has_ascii_letters_and_others(label: str) -> bool:
    return _has_ascii_letters(label) and not label.isascii()


def _other_scripts_escaped(token: str) -> str:
    """A token with the letters escaped that are not of the script of their word; one with Latin letters is Latin."""
    ends = [0]
    ends += [index + 1 for index, each in enumerate(token) if not _is_in_word(each)]
    ends += [end for match in _ESCAPED.finditer(token) for end in match.span()]
    ends = sorted({*ends, len(token)})
    return "".join(_one_script(token[begin:end]) for begin, end in itertools.pairwise(ends))


def _one_script(word: str) -> str:
    scripts = [_script(each) for each in word if unicodedata.category(each)[0] == "L"]
    if word.isascii() or not scripts:
        return word
    if "LATIN" in scripts:
        return _only(_LATIN, word)
    allowed = _WITHOUT_LATIN if scripts[0] in _WITHOUT_LATIN else {scripts[0], "MODIFIER"}
    is_other = (unicodedata.category(each)[0] == "L" and _script(each) not in allowed for each in word)
    return "".join(_escape(each) if other else each for each, other in zip(word, is_other, strict=True))


def _only(scripts: frozenset[str], word: str) -> str:
    """`word` with each letter and digit escaped that is neither ASCII nor of `scripts`."""
    return "".join(
        _escape(each)
        if not each.isascii() and unicodedata.category(each) in _LETTERS and _script(each) not in scripts
        else each
        for each in word
    )


def _is_in_word(character: str) -> bool:
    """Whether a word goes on with it: letters, marks, numbers, and what is invisible."""
    return unicodedata.category(character)[0] in "LMN" or unicodedata.category(character) == "Cf"


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    """The script of a character, by the first word of its name: `LATIN`, `CYRILLIC`, `CJK`, ..."""
    return unicodedata.name(character, "").partition(" ")[0] if character else ""


def plural(count: int, one: str, many: str = "") -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {one if count == 1 else many or one + 's'}"
