"""Encode and decode the state file.

The file is one JSON object. Parsing all of it in one call takes memory of ten times its size, so its members are
written in an order that allows to parse the two large parts, `notified` and `data.syftnotify.first`, in chunks. A file
that another program wrote in another order is parsed in one call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from syftnotify.core.errors import StateError
from syftnotify.store.ledger.labels import LabelPool, occurrence_hash
from syftnotify.store.ledger.state import NOTES_KEY, Section, State

VERSION = 1

_HEAD, _TAIL = b'{"version":%d,"notified":' % VERSION, b"}}}"
_OWED, _FIRST = b'},"owed":{', b'"first":{'
_CHUNK = 1 << 16  # bytes that are parsed in one call


def encode(state: State) -> Iterator[bytes]:
    """The content of the file, in parts."""
    notes = dict(state.data.get(NOTES_KEY, {}))
    first = notes.pop(Section.FIRST, {})
    data = {key: value for key, value in state.data.items() if key != NOTES_KEY}
    yield _HEAD
    yield orjson.dumps(state.notified)
    yield b',"owed":' + orjson.dumps(state.owed)
    yield b',"data":' + _open_object(data, NOTES_KEY) + _open_object(notes, Section.FIRST.value)
    yield orjson.dumps(first)
    yield _TAIL


def _open_object(members: dict[str, Any], last_key: str) -> bytes:
    """A JSON object of `members` that ends before the value of `last_key`."""
    return orjson.dumps({**members, last_key: 0})[: -len(b"0}")]


def decode(content: bytes, pool: LabelPool) -> State:
    """The state in the content of a file.

    Raises:
        ValueError: the content is corrupt.
        StateError: a newer version wrote it; the file must not be changed.
    """
    try:
        found = parse_in_chunks(content, pool)
    except (ValueError, LookupError, TypeError, AttributeError):  # another order, an older version, or corrupt
        found = orjson.loads(content)
    state = _validated(found, pool)
    _upgrade(state)
    return state


def parse_in_chunks(content: bytes, pool: LabelPool, *, chunk: int = _CHUNK) -> dict[str, Any]:
    """The JSON object that `encode` wrote.

    The positions of the large parts are found by searching for delimiters with quotes, which JSON escapes inside a
    string. A delimiter can still match at the end of a string; the chunk that ends there is not valid JSON.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: `encode` did not write it, or it must be parsed in one call.
    """
    owed, first = content.index(_OWED), content.rindex(_FIRST) + len(_FIRST) - 1
    begin, end = len(_HEAD), len(content) - len(_TAIL)
    if content[: begin + 1] != _HEAD + b"{" or content[end - 1 :] != b"}" + _TAIL:
        raise ValueError("another order")
    found: dict[str, Any] = orjson.loads(content[:begin] + b"{}" + content[owed + 1 : first] + b"{}" + _TAIL)
    notified, hashes = found["notified"], found["data"][NOTES_KEY][Section.FIRST]
    if notified or hashes:
        raise ValueError("another order")
    for members in _chunks(content, begin + 1, owed, b'],"', chunk):
        notified.update(zip(members, map(pool.intern, members.values()), strict=True))
    shared = dict(zip(notified, notified, strict=True))  # the two parts share the strings of their keys
    for members in _chunks(content, first + 1, end - 1, b'","', chunk):
        hashes.update(zip(map(shared.get, members, members), members.values(), strict=True))
    return found


def _chunks(content: bytes, begin: int, end: int, delimiter: bytes, chunk: int) -> Iterator[dict[str, Any]]:
    """The members of a JSON object, in groups; `delimiter` starts with the last byte of a member."""
    while begin < end:
        found = content.find(delimiter, begin + chunk, end)
        stop = end if found < 0 else found + 1
        yield orjson.loads(b"{%b}" % content[begin:stop])
        begin = stop + 1


def _validated(found: Any, pool: LabelPool) -> State:
    """`found` as a state, its labels interned. Raises: ValueError, StateError as in `decode`."""
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    version = found.get("version")
    if isinstance(version, int) and version > VERSION:
        raise StateError(
            f"a newer version wrote it (format {version}; this version reads format {VERSION})",
            hint="install the newer version again",
        )
    if version != VERSION:
        raise ValueError("`version` is missing or invalid")
    data = found.get("data", {})
    if not isinstance(data, dict) or not _are_notes(data.get(NOTES_KEY, {})):
        raise ValueError("`data` has an invalid form")
    return State(_label_index(found, "notified", pool), _label_index(found, "owed", pool), data)


def _label_index(found: dict[str, Any], name: str, pool: LabelPool) -> dict[str, Any]:
    index = found.get(name, {})
    if not isinstance(index, dict):
        raise ValueError(f"`{name}` is not a JSON object")
    for entity, labels in index.items():
        if not isinstance(labels, tuple):
            index[entity] = pool.intern(labels)
    return index


def _upgrade(state: State) -> None:
    """Convert what an older version wrote.

    A file that an older version saved, or a person edited, has another number of labels and loses its revision.
    """
    revision = state.notes(Section.REVISION).get("is")
    if revision is not None and not _is_revision(revision, state.count_labels()):
        state.set_note(Section.REVISION, "is", None)
    older: dict[str, dict[str, str]] = state.data.get(NOTES_KEY, {}).pop(Section.OCCURRENCES, {})
    for entity, occurrences in older.items():
        first = {kind: f"{kind}={occurrence_hash(occurrence)}" for kind, occurrence in occurrences.items()}
        # What this version recorded before an older one wrote the file takes precedence.
        first |= {each.partition("=")[0]: each for each in state.notes(Section.FIRST).get(entity, "").split()}
        state.set_note(Section.FIRST, entity, " ".join(first.values()))


def _is_revision(found: Any, label_count: int) -> bool:
    match found:
        case [str(), int(), int(labels)]:
            return labels == label_count
    return False


# The types of the entries of each section, and of the members of entries that are objects.
_ENTRY_TYPES: dict[Section, set[type]] = {
    Section.FIRST: {str},
    Section.RERUNS: {dict},
    Section.UNREADABLE: {bool},
    Section.VANISHED: {int, float},
    Section.PEER_ROUNDS: {list},
    Section.EMITTED: {bool},
    Section.OUTBOX: {list},
    Section.BASELINES: {str},
    Section.REVISION: {list},
    Section.OCCURRENCES: {dict},
}
_MEMBER_TYPES: dict[Section, set[type]] = {Section.RERUNS: {int}, Section.OCCURRENCES: {str}}


def _are_notes(notes: Any) -> bool:
    """Whether the notes have the form in which they are written. Unknown sections are kept as they are."""
    if not isinstance(notes, dict):
        return False
    sections = {section: notes.get(section, {}) for section in Section}
    return (
        all(isinstance(entries, dict) for entries in sections.values())
        and all(_have_types(sections[section].values(), types) for section, types in _ENTRY_TYPES.items())
        and all(
            _have_types(entry.values(), types)
            for section, types in _MEMBER_TYPES.items()
            for entry in sections[section].values()
        )
        and all(map(_is_peer_round, sections[Section.PEER_ROUNDS].values()))
    )


def _have_types(values: Iterable[Any], types: set[type]) -> bool:
    return set(map(type, values)) <= types  # much faster than `isinstance` for each of 100,000 values


def _is_peer_round(entry: list[Any]) -> bool:
    """Whether a list has the fields of a `PeerRound`: number, absent, synced_at, had_folders."""
    match entry:
        case [int(), int(), int() | float(), bool()]:
            return True
    return False
