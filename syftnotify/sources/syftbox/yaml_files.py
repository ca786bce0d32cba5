"""Read one YAML mapping of the tree. Work is bounded by the file's length, and an odd value costs that value alone.

An odd value is one that the YAML allows and no reader expects: a key that is a list, an unknown tag, a date that does
not exist, half a surrogate pair, deep nesting. What remains unreadable as a whole: not UTF-8, not YAML, larger than
`CONFIG_CAP`, more than one document, anchors or aliases, directives, and nesting or counts that only an attack needs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from syftnotify.sources.syftbox.safe_files import DirFdCache, UnreadableError, read_beneath

CONFIG_CAP = 256 * 1024  # bytes of a config.yaml or state.yaml
_MAX_DEPTH = 32  # what is nested deeper is parsed and dropped
_MAX_NESTING = 400  # and deeper than this the file is refused: libyaml's work grows with the square of it
_MAX_EVENTS = 20_000  # of libyaml, a fifth of a second of work; a job lists some dozen files
_LONGEST_NUMBER = 100  # characters
_DIRECTIVE = re.compile(r"^%(?!YAML )", re.MULTILINE)  # libyaml compares each with all before it
# Surrogates that are written as escapes in a double-quoted text, as JSON does; libyaml takes no half of a character.
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)((?:\\u[dD][89a-fA-F][0-9a-fA-F]{2})+)")

_STARTS = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
_ENDS = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(f"{_TAG}{kind}" for kind in ["str", "null", "bool", "int", "float", "timestamp", "binary"])
_NUMBERS = frozenset({f"{_TAG}int", f"{_TAG}float"})


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # a base that is found at run time
    """PyYAML's safe loader, libyaml's where present."""


_MAKER = _Loader("")  # constructors of scalars keep no state in it


def read_yaml(base: str, parts: Sequence[str], opened: DirFdCache | None = None) -> dict[str, Any]:
    """The mapping in a YAML file of the tree.

    Raises:
        FileNotFoundError: there is none.
        UnreadableError: see `parse_yaml`; or the file is too large, no regular file, a hard link, or behind a link.
    """
    content, size = read_beneath(base, parts, cap=CONFIG_CAP, opened=opened, may_be_hard_link=False)
    if size > CONFIG_CAP:
        raise UnreadableError(f"larger than {CONFIG_CAP // 1024} KiB")
    return parse_yaml(content)


def parse_yaml(content: bytes) -> dict[str, Any]:
    """The mapping that `content` spells; every key in it is a text.

    Raises:
        UnreadableError: empty, cut, not a mapping, or one of the things that the module names.
    """
    if not content.strip():
        raise UnreadableError("empty")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError("not UTF-8 text") from error
    if _DIRECTIVE.search(text):
        raise UnreadableError("contains YAML directives")
    try:
        loaded = _parsed(text)
    except (yaml.YAMLError, ValueError, LookupError, OverflowError, TypeError, AttributeError) as error:
        raise UnreadableError("not valid YAML") from error
    if not isinstance(loaded, dict):
        raise UnreadableError("not a mapping")
    return loaded


def _parsed(text: str) -> Any:
    try:
        return _Document(text).root
    except yaml.YAMLError:
        whole = _SURROGATES.sub(lambda found: found[1] + _joined(found[2]), text)
        if whole == text:
            raise
        return _Document(whole).root


def _joined(escapes: str) -> str:
    """The characters that a run of such escapes stands for; a half without its other half becomes U+FFFD."""
    return bytes.fromhex(escapes.replace("\\u", "")).decode("utf-16-be", "replace")


class _Document:
    """A document, built from libyaml's events: in half the time of PyYAML's nodes, and no deeper than is read."""

    def __init__(self, text: str) -> None:
        self._left = _MAX_EVENTS
        self._loader = _Loader(text)
        try:
            self.root = self._only_one()
        finally:
            self._loader.dispose()

    def _only_one(self) -> Any:
        self._next()  # the beginning of the stream
        if type(self._next()) is yaml.StreamEndEvent:
            return None
        root = self._value(self._next(), 0)
        self._next()  # the end of the document
        if type(self._next()) is not yaml.StreamEndEvent:
            raise UnreadableError("more than one document")
        return root

    def _next(self) -> Any:
        self._left -= 1
        if self._left < 0:
            raise UnreadableError("too many values")
        event = self._loader.get_event()
        if getattr(event, "anchor", None) is not None:  # an alias has one, too
            raise UnreadableError("contains anchors or aliases")
        return event

    def _value(self, event: Any, depth: int) -> Any:
        """The value that begins with `event`; None in the place of what is nested too deep."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            return _scalar(event)
        if depth == _MAX_DEPTH:
            self._skip()
            return None
        if kind is yaml.SequenceStartEvent:
            sequence = []
            while type(event := self._next()) is not yaml.SequenceEndEvent:
                sequence.append(self._value(event, depth + 1))
            return sequence
        mapping = {}
        while type(key := self._next()) is not yaml.MappingEndEvent:
            if type(key) is yaml.ScalarEvent:
                # As it is written: YAML 1.1 reads `on` and `yes` as true, which is not intended.
                name = _text(key.value)
                mapping[name] = self._value(self._next(), depth + 1)
            else:
                self._skip()
                self._value(self._next(), depth + 1)
        return mapping

    def _skip(self) -> None:
        """Drop the rest of a sequence or mapping, without recursion."""
        nesting = 1
        while nesting:
            event = self._next()
            nesting += isinstance(event, _STARTS) - isinstance(event, _ENDS)
            if nesting > _MAX_NESTING:
                raise UnreadableError("nested too deep")


def _scalar(event: Any) -> Any:
    """The value of a scalar as PyYAML's safe loader has it; its text where its tag is unknown or does not fit."""
    text = _text(event.value)
    if event.implicit[0]:  # plain: it may be more than a text
        for tag, spelled in _Loader.yaml_implicit_resolvers.get(text[:1], ()):
            if spelled.match(text):
                return _made(tag, text)
        return text
    return text if event.implicit[1] else _made(event.tag, text)


def _made(tag: str, text: str) -> Any:
    # A number to the base of 60 costs the square of its length.
    if tag not in _SCALARS or (tag in _NUMBERS and len(text) > _LONGEST_NUMBER):
        return text
    try:
        return _Loader.yaml_constructors[tag](_MAKER, yaml.ScalarNode(tag, text))
    except (yaml.YAMLError, ValueError, LookupError, OverflowError, TypeError, AttributeError):
        return text


def _text(value: str) -> str:
    """`value` without halves of characters, which PyYAML's own parser lets pass and nothing can write down."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return value.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")
    return value
