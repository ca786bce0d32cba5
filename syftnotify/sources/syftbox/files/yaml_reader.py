"""Read YAML mappings of the tree with bounded work; of an unexpected value only that value is lost.

Unexpected are values that YAML allows and no client writes: a key that is a list, an unknown tag, an impossible date,
an unpaired surrogate, deep nesting. A file is unreadable as a whole if it is not UTF-8, not YAML, larger than
`CONFIG_CAP`, has several documents, anchors, aliases or directives, or has nesting or counts that only an attack needs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from syftnotify.sources.syftbox.files.dir_fds import DirFdCache
from syftnotify.sources.syftbox.files.safe_read import UnreadableError, read_beneath

CONFIG_CAP = 256 * 1024  # bytes of a config.yaml or state.yaml
_MAX_DEPTH = 32  # values nested more deeply are parsed and dropped
_MAX_NESTING = 400  # a file with deeper nesting is refused: the work of libyaml grows with its square
_MAX_EVENTS = 20_000  # of libyaml: a fifth of a second of work, while a job lists some dozen files
_MAX_NUMBER = 100  # characters
_DIRECTIVE = re.compile(r"^%(?!YAML )", re.MULTILINE)  # libyaml compares each one with all before it
# Surrogates written as escapes in a double-quoted text, as JSON does; libyaml accepts no surrogate.
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)((?:\\u[dD][89a-fA-F][0-9a-fA-F]{2})+)")

_STARTS = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
_NODES = frozenset({yaml.ScalarEvent, yaml.AliasEvent, *_STARTS})
_ENDS = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(f"{_TAG}{kind}" for kind in ["str", "null", "bool", "int", "float", "timestamp", "binary"])
_NUMBERS = frozenset({f"{_TAG}int", f"{_TAG}float"})
# What PyYAML raises for malformed input.
_PARSE_ERRORS = (yaml.YAMLError, ValueError, LookupError, OverflowError, TypeError, AttributeError)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # a base that is found at run time
    """PyYAML's safe loader, libyaml's if available."""


_CONSTRUCTOR = _Loader("")  # constructing scalars changes no state of it


def read_yaml(base: str, parts: Sequence[str], dir_fds: DirFdCache | None = None) -> dict[str, Any]:
    """The mapping in the YAML file `parts` below `base`.

    Raises:
        FileNotFoundError: the file does not exist.
        UnreadableError: see `parse_yaml`; or it is too large, not a regular file, a hard link, or behind a link.
    """
    content, size = read_beneath(base, parts, cap=CONFIG_CAP, dir_fds=dir_fds, allow_hard_links=False)
    if size > CONFIG_CAP:
        raise UnreadableError(f"larger than {CONFIG_CAP // 1024} KiB")
    return parse_yaml(content)


def parse_yaml(content: bytes) -> dict[str, Any]:
    """The mapping in `content`, with text keys only.

    Raises:
        UnreadableError: empty, incomplete, not a mapping, or unreadable as described in the module's docstring.
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
        loaded = _parse(text)
    except _PARSE_ERRORS as error:
        raise UnreadableError("not valid YAML") from error
    if not isinstance(loaded, dict):
        raise UnreadableError("not a mapping")
    return loaded


def _parse(text: str) -> Any:
    try:
        return _Document(text).root
    except yaml.YAMLError:
        joined = _SURROGATES.sub(lambda found: found[1] + _join_surrogates(found[2]), text)
        if joined == text:
            raise
        return _Document(joined).root


def _join_surrogates(escapes: str) -> str:
    """The characters for a run of such escapes; an unpaired one becomes U+FFFD."""
    return bytes.fromhex(escapes.replace("\\u", "")).decode("utf-16-be", "replace")


class _Document:
    """A document built from libyaml's events: twice as fast as PyYAML's nodes, and with bounded depth."""

    def __init__(self, text: str) -> None:
        self._events_left = _MAX_EVENTS
        loader = _Loader(text)
        self._get_event = loader.get_event
        try:
            self.root = self._parse_single()
        finally:
            loader.dispose()

    def _parse_single(self) -> Any:
        self._next()  # start of the stream
        if type(self._next()) is yaml.StreamEndEvent:
            return None
        root = self._value(self._next(), 0)
        self._next()  # end of the document
        if type(self._next()) is not yaml.StreamEndEvent:
            raise UnreadableError("more than one document")
        return root

    def _next(self) -> Any:
        self._events_left -= 1
        if self._events_left < 0:
            raise UnreadableError("too many values")
        event = self._get_event()
        if type(event) in _NODES and event.anchor is not None:
            raise UnreadableError("contains anchors or aliases")
        return event

    def _value(self, event: Any, depth: int) -> Any:
        """The value that starts with `event`; None for one that is nested too deeply."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            return _scalar(event)
        if depth == _MAX_DEPTH:
            self._skip()
            return None
        return self._sequence(depth) if kind is yaml.SequenceStartEvent else self._mapping(depth)

    def _sequence(self, depth: int) -> list[Any]:
        sequence = []
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            sequence.append(self._value(event, depth + 1))
        return sequence

    def _mapping(self, depth: int) -> dict[str, Any]:
        mapping = {}
        while type(key := self._next()) is not yaml.MappingEndEvent:
            if type(key) is yaml.ScalarEvent:
                # The key's text: YAML 1.1 reads `on` and `yes` as true, which is not intended.
                mapping[_valid_text(key.value)] = self._value(self._next(), depth + 1)
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
    """The value of a scalar, as PyYAML's safe loader constructs it; its text if its tag is unknown or does not fit."""
    text = _valid_text(event.value)
    if event.implicit[0]:  # plain, so its form decides the type
        for tag, pattern in _Loader.yaml_implicit_resolvers.get(text[:1], ()):
            if pattern.match(text):
                return _construct(tag, text)
        return text
    return text if event.implicit[1] else _construct(event.tag, text)


def _construct(tag: str, text: str) -> Any:
    # Parsing a base 60 number takes time proportional to the square of its length.
    if tag not in _SCALARS or (tag in _NUMBERS and len(text) > _MAX_NUMBER):
        return text
    try:
        return _Loader.yaml_constructors[tag](_CONSTRUCTOR, yaml.ScalarNode(tag, text))
    except _PARSE_ERRORS:
        return text


def _valid_text(value: str) -> str:
    """`value` without unpaired surrogates, which PyYAML's own parser accepts and no output can encode."""
    if value.isascii():
        return value
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return value.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")
    return value
