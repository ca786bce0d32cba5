"""What has been told? The JSON state file, whole at every moment, shared with whoever else writes it."""

from __future__ import annotations

import copy
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import orjson

from syftnotify.core.errors import StateError
from syftnotify.core.identifiers import entity_id, stable_hash
from syftnotify.core.kinds import END_KINDS, EventKind
from syftnotify.core.models import PeerRound
from syftnotify.system.failpoints import reached
from syftnotify.system.files import atomic_write, create_private_folder, quarantine, read_regular_file
from syftnotify.system.locks import file_lock
from syftnotify.system.paths import expand_path
from syftnotify.system.permissions import owner_suffix

log = logging.getLogger(__name__)

VERSION = 1
# Our own notes live under this one key of `data`, so that a caller's keys never meet them.
OURS = "syftnotify"
_LOCK_SECONDS = 30.0

# The seed's words for three kinds: equal on input, and how the file spells them.
_FILE_WORD = {
    EventKind.JOB_SUBMITTED.value: "new",
    EventKind.JOB_APPROVED.value: "approved",
    EventKind.JOB_COMPLETED.value: "executed",
}


def _word(event_type: str) -> str:
    """The file's spelling of an event type; any string of a caller's own is fine."""
    kind, at, _ = event_type.partition("@")
    return event_type if at else _FILE_WORD.get(kind, kind)


_KIND_OF_WORD = {word: kind for kind, word in _FILE_WORD.items()}


def _kind_word(word: str) -> str:
    """The kind of event that a word of the file stands for, in whatever spelling."""
    plain = word.partition("@")[0]
    return _KIND_OF_WORD.get(plain, plain)


# Jobs of the layouts that give an end no time.
_TIMELESS = ("job/A/", "job/B")

# What is noted of each entity under `data.syftnotify`, besides which occurrence was its first of each kind.
_NOTED = ("first", "peer_rounds", "reruns", "undecided", "vanished", "emitted", "outbox")
_HEAD, _TAIL = b'{"version":%d,"notified":' % VERSION, b"}}}"
_PIECE = 1 << 16  # bytes of the file that are read as objects at once

_State = dict[str, Any]
_Signature = tuple[int, int, int]
_Words = tuple[str, ...]


def _plain(text: str) -> str:
    """`text` as it can stand in JSON: a file name that is not UTF-8 keeps its bytes, written out.

    Raises:
        TypeError: it is no text.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected text, got {type(text).__name__}")
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace") if not text.isascii() else text


def _empty() -> _State:
    return {"version": VERSION, "notified": {}, "owed": {}, "data": {}}


class JsonStateManager:
    """Remembers which entity was told about which event, and any JSON besides.

    Args:
        state_file: the JSON file; `~` is expanded, missing folders are made at the first save.

    Every save first merges what others wrote since, under a lock, so that two processes never overwrite each other.

    Raises:
        StateError: (from any method) the file cannot be read or written, or a newer version wrote it.
    """

    def __init__(self, state_file: str | Path) -> None:
        self._path = expand_path(state_file)
        self._backup = self._path.with_name(self._path.name + ".bak")
        self._lock = threading.RLock()
        self._state = _empty()
        # What was changed here and is not saved yet: entities, keys of `data`, and whether the file must be written.
        self._changed: set[str] = set()
        self._changed_data: set[str] = set()
        self._is_stale = False
        self._is_another = False  # whoever knew this file must look again
        self._spellings = _Spellings()
        self._seen: _Signature | None = (-1, -1, -1)  # of the file as last read or written; None: there was none
        self.damage = ""  # what was wrong with the file when it was last found damaged
        self.readings = 0  # how often the file was read; more when somebody else wrote it
        self.refresh()

    # -- what the seed documents ---------------------------------------------------------------------------------

    def was_notified(self, entity_id: str, event_type: str) -> bool:
        """Whether `entity_id` was told about `event_type` (`new`, `approved`, `executed`, or any other string)."""
        with self._lock:
            self.refresh()
            return _word(_plain(event_type)) in self._state["notified"].get(_plain(entity_id), ())

    def mark_notified(self, entity_id: str, event_type: str) -> None:
        """Remember, on disk and at once, that `entity_id` was told about `event_type`."""
        with self._lock:
            self._add("notified", _plain(entity_id), _word(_plain(event_type)))
            self.save()

    def get_data(self, key: str, default: Any = None) -> Any:
        """The JSON value kept under `key`, or `default`. It is a copy: changing it changes nothing here."""
        with self._lock:
            self.refresh()
            data, key = self._state["data"], _plain(key)
            return copy.deepcopy(data[key]) if key in data else default

    def set_data(self, key: str, value: Any) -> None:
        """Keep a JSON value under `key`, on disk and at once.

        Raises:
            TypeError: `value` is not JSON.
        """
        frozen, name = orjson.dumps(value), _plain(key)
        with self._lock:
            self._state["data"][name] = orjson.loads(frozen)
            self._changed_data.add(name)
            self.save()

    # -- what the worker asks ------------------------------------------------------------------------------------

    def knows(self, entity: str, kind: EventKind, occurrence: str) -> bool:
        """Whether that occurrence has been told, or is owed."""
        words = self._words(entity)
        if f"{kind}@{occurrence}" in words:
            return True
        if _word(kind) not in words:
            return False
        first = self._first(entity, kind)
        if not first:
            # Somebody marked it by hand, without saying which: it is the one that is true now.
            self._note_first(entity, kind, occurrence)
            return True
        return first == _digest(occurrence)

    def reruns(self, entity: str, generation: str) -> int:
        """How often that submission was seen un-ended after a told end."""
        return int(self._ours("reruns").get(entity, {}).get(generation, 0))

    def ends_told(self, entity: str) -> int:
        """How many ends of `entity` have been told, or are owed."""
        plain = {_word(kind) for kind in END_KINDS}
        return sum(1 for word in self._words(entity) if word in plain or word.partition("@")[0] in END_KINDS)

    def is_undecided(self, entity: str) -> bool:
        """Whether the first look could not read `entity`."""
        return entity in self._ours("undecided")

    def back_since(self, entity: str) -> float | None:
        """When an entity that had vanished was seen again; 0 if it has not been yet, None if it never was gone."""
        back: float | None = self._ours("vanished").get(entity)
        return back

    def is_settling(self, entity: str) -> bool:
        """Whether an entity had vanished and is not whole again."""
        return entity in self._ours("vanished")

    def settling(self) -> set[str]:
        """All such entities."""
        return set(self._ours("vanished"))

    def note_absence(self, is_there: Callable[[str], bool], among: Iterable[str] | None = None) -> list[str]:
        """Remember the jobs that ended and are not there, for their layouts give an end no time to know it again by.

        Returns those of which that is new. `among` names who may have gone; None looks at all that was ever told.
        """
        vanished = self._ours("vanished")
        gone = [
            entity
            for entity in (self._state["notified"] if among is None else among)
            if entity.startswith(_TIMELESS)
            and not is_there(entity)
            and vanished.get(entity) != 0
            and self.ends_told(entity)
        ]
        for entity in gone:
            self._note("vanished", entity, 0)
        return gone

    def note_return(self, returned: Iterable[str], settled: Iterable[str], at: float) -> None:
        """`returned` are back since `at`; `settled` are whole again."""
        for entity in returned:
            self._note("vanished", entity, at)
        for entity in settled:
            self._note("vanished", entity, None)

    def has_events(self, entity: str) -> bool:
        """Whether any event of `entity` has been recorded."""
        return bool(self._words(entity))

    def entities(self, prefix: str) -> list[str]:
        """The entities with recorded events whose ids begin with `prefix`."""
        with self._lock:
            found = {
                entity for part in ("notified", "owed") for entity in self._state[part] if entity.startswith(prefix)
            }
        return sorted(found)

    def peer_rounds(self) -> dict[str, PeerRound]:
        """The rounds of peers that differ from the default, by entity."""
        with self._lock:
            return {entity: PeerRound(*noted) for entity, noted in self._ours("peer_rounds").items()}

    def note_peer_round(self, entity: str, current: PeerRound) -> None:
        """Record which request of a peer is current, and for how many snapshots the peer has been absent."""
        self._note("peer_rounds", entity, list(astuple(current)) if current != PeerRound() else None)

    def first_look(self, what: str) -> str:
        """When the first look at `what` ("jobs <owner>", say) was finished, or empty if it never was."""
        return str(self._ours("first_look").get(what, ""))

    def recorded(self, about: str) -> dict[str, list[EventKind]]:
        """The kinds that are recorded as notified, by entity: of the entity `about`, or of every job of that name."""
        ending = f"/{entity_id(about)}"
        found = {}
        for entity, words in self._state["notified"].items():
            if entity == about or entity.endswith(ending):
                kinds = {_kind_word(word) for word in words}
                found[entity] = [kind for kind in EventKind if kind.value in kinds]
        return found

    def baselines(self) -> dict[str, str]:
        """When each baseline scan was finished, by what it was of: "jobs <owner>", say."""
        return dict(self._ours("first_look"))

    def word_for(self, entity: str, kind: EventKind, occurrence: str) -> str:
        """How this occurrence is written: the first one plainly, later ones with their name."""
        return _word(kind) if self._first(entity, kind) in {"", _digest(occurrence)} else f"{kind}@{occurrence}"

    def owed(self) -> dict[str, list[str]]:
        """The words that stand under `owed`, by entity."""
        with self._lock:
            return {entity: list(words) for entity, words in self._state["owed"].items()}

    def owe(self, entity: str, kind: EventKind, occurrence: str) -> None:
        """An event went into the outbox."""
        with self._lock:
            self._add("owed", entity, self._claim_word(entity, kind, occurrence))

    def disown(self, entity: str, word: str) -> None:
        """What stands under `owed` is not in the outbox any more: the fact is news again, to every later process."""
        with self._lock:
            self._is_another = True
            self._remove("owed", entity, word)

    def tell(self, entity: str, kind: EventKind, occurrence: str) -> None:
        """An event counts as told: all its notifications are sent, dead or skipped, or it had none."""
        with self._lock:
            word = self._claim_word(entity, kind, occurrence)
            self._remove("owed", entity, word)
            self._add("notified", entity, word)

    def note_emitted(self, key: str, *, owed: bool) -> None:
        """Record whether the emitted event with that key owes a notification; what owes nothing is forgotten."""
        if owed or key in self._ours("emitted"):
            self._note("emitted", _plain(key), True if owed else None)

    def emitted_owed(self) -> set[str]:
        """The keys of emitted events that owed a notification when the ledger was last changed."""
        return set(self._ours("emitted"))

    def note_outbox_progress(self, progress: list[int]) -> None:
        """Record how far the outbox is; see `Outbox.progress`."""
        self._note("outbox", "progress", progress)

    def outbox_progress(self) -> list[int]:
        """How far the outbox was at the last save; empty if that was never recorded."""
        return list(self._ours("outbox").get("progress", []))

    def count_rerun(self, entity: str, generation: str, count: int) -> None:
        """Remember the number of the run that is under way."""
        self._note("reruns", entity, {**self._ours("reruns").get(entity, {}), generation: count})

    def decide(self, undecided: set[str], decided: set[str]) -> None:
        """Remember which entities the first look could not read, and which of them could be read since."""
        for entity in sorted(undecided - self._ours("undecided").keys()):
            self._note("undecided", entity, True)
        for entity in decided:
            self._note("undecided", entity, None)

    def finish_first_look(self, what: str, at: str) -> None:
        """The first look at `what` is done."""
        with self._lock:
            _inner(self._state, "first_look")[what] = at
            self._is_stale = True

    # -- the file ------------------------------------------------------------------------------------------------

    @property
    def is_changed(self) -> bool:
        """Whether something here is not saved yet."""
        return bool(self._changed or self._changed_data or self._is_stale)

    @property
    def edition(self) -> tuple[str, int] | None:
        """Which state file this is, and how often it was saved; None before the first save or after an edit by hand.

        After something became news again it is another one.
        """
        found = None if self._is_another else self._ours("edition").get("is")
        return (found[0], found[1]) if found else None

    def refresh(self) -> None:
        """Take in what others wrote since the file was last read; costs one `stat` when nobody did."""
        with self._lock:
            found = self._signature()
            if found == self._seen:
                return
            ours = self._state
            self._read()
            self._merge(ours)

    def save(self) -> None:
        """Write all changes made here, after merging what others wrote; nothing to write costs nothing."""
        with self._lock:
            if not self.is_changed:
                return
            try:
                create_private_folder(self._path.parent)
                with file_lock(self._path.with_name(self._path.name + ".lock"), seconds=_LOCK_SECONDS) as held:
                    if not held:
                        raise StateError(f"{self._path} is held by another program for {_LOCK_SECONDS:.0f} s")
                    self.refresh()
                    self._write()
            except OSError as error:
                raise StateError(
                    f"{self._path} cannot be written: {error.strerror}{owner_suffix(self._path)}",
                    hint="see that its folder is yours, writable and not full",
                ) from error
            self._changed, self._changed_data, self._is_stale = set(), set(), False
        reached("ledger.saved")

    def _write(self) -> None:
        if self._seen is not None:
            # A second name for the good old file; the rename below leaves it to that name alone.
            spare = self._backup.with_name(self._backup.name + ".new")
            spare.unlink(missing_ok=True)
            try:
                spare.hardlink_to(self._path)
            except OSError:  # a file system without links
                atomic_write(spare, self._path.read_bytes())
            spare.replace(self._backup)
            reached("ledger.backed_up")
        name, count = self.edition or (os.urandom(8).hex(), 0)
        _inner(self._state, "edition")["is"] = [name, count + 1, _count_words(self._state)]
        atomic_write(self._path, _spelled(self._state))
        self._seen = self._signature()
        self._is_another = False

    def _read(self) -> None:
        """Load the file, else the backup, else nothing; a damaged file is kept aside."""
        self.readings += 1
        for path in (self._path, self._backup):
            try:
                self._state = _loaded(path, self._spellings)
            except FileNotFoundError:
                continue
            except ValueError as error:
                self._put_aside(path, str(error))
                continue
            except OSError as error:
                raise StateError(
                    f"{path} cannot be read: {error.strerror}{owner_suffix(path)}",
                    hint="make it yours, or move it away",
                ) from error
            if path is self._backup:
                log.warning("%s: the last good copy %s is used", self.damage or f"{self._path} is gone", path.name)
                self._is_stale = True
            break
        else:
            self._state = _empty()
        self._seen = self._signature()

    def _put_aside(self, path: Path, why: str) -> None:
        aside = quarantine(path)
        self.damage = f"{path.name} was damaged ({why}) and is kept as {aside.name}"
        log.warning("%s", self.damage)

    def _signature(self) -> _Signature | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _merge(self, ours: _State) -> None:
        """Put what was changed in `ours` into what somebody else wrote."""
        for entity in self._changed:
            for word in ours["notified"].get(entity, ()):
                self._add("notified", entity, word)
            _take_over(self._state["owed"], ours["owed"], entity)
            for part in _NOTED:
                _take_over(_inner(self._state, part), _inner(ours, part), entity)
        for key in self._changed_data:
            _take_over(self._state["data"], ours["data"], key)
        _inner(self._state, "first_look").update(_inner(ours, "first_look") if self._is_stale else {})

    def _words(self, entity: str) -> _Words:
        return (*self._state["notified"].get(entity, ()), *self._state["owed"].get(entity, ()))

    def _add(self, section: str, entity: str, word: str) -> None:
        words = self._state[section].get(entity, ())
        if word not in words:
            self._state[section][entity] = self._spellings.one((*words, word))
            self._changed.add(entity)

    def _remove(self, section: str, entity: str, word: str) -> None:
        words = self._state[section].get(entity, ())
        if word in words:
            self._changed.add(entity)
            if rest := tuple(each for each in words if each != word):
                self._state[section][entity] = self._spellings.one(rest)
            else:
                del self._state[section][entity]

    def _note(self, part: str, entity: str, value: Any) -> None:
        """Note `value` of an entity, or None: nothing."""
        with self._lock:
            _take_over(_inner(self._state, part), {} if value is None else {entity: value}, entity)
            self._changed.add(entity)

    def _first(self, entity: str, kind: EventKind) -> str:
        """By which digest the occurrence is known that the plain word of a kind stands for, or nothing."""
        for noted in self._ours("first").get(entity, "").split():
            name, _, known = noted.partition("=")
            if name == kind.value:
                return str(known)
        return ""

    def _note_first(self, entity: str, kind: EventKind, occurrence: str) -> None:
        noted = f"{self._ours('first').get(entity, '')} {kind.value}={_digest(occurrence)}"
        self._note("first", entity, noted.lstrip())

    def _ours(self, part: str) -> dict[str, Any]:
        ours = self._state["data"].get(OURS)
        inner = ours.get(part) if isinstance(ours, dict) else None
        return inner if isinstance(inner, dict) else {}

    def _claim_word(self, entity: str, kind: EventKind, occurrence: str) -> str:
        if not self._first(entity, kind):
            self._note_first(entity, kind, occurrence)
        return self.word_for(entity, kind, occurrence)


def what_is_wrong(path: Path) -> str:
    """Why the state file `path` could not be used, or nothing. Looks, and puts nothing aside."""
    try:
        _loaded(path, _Spellings())
    except (ValueError, StateError) as error:
        return f"{path.name} is damaged ({error})" if isinstance(error, ValueError) else str(error)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}{owner_suffix(path)}"
    return ""


class _Spellings:
    """The same words of very many entities, kept once."""

    def __init__(self) -> None:
        self._known: dict[_Words, _Words] = {}

    def one(self, words: Any) -> _Words:
        """`words` as the one tuple that spells them. Raises: ValueError, it is no list of texts."""
        if not isinstance(words, (list, tuple)):
            raise ValueError("not a list")
        spelled = tuple(words)
        try:
            return self._known[spelled]  # nearly always, so it comes first
        except (KeyError, TypeError):
            if not all(isinstance(word, str) for word in spelled):
                raise ValueError("not a list of texts") from None
        # What names its occurrence is like nothing else, and so is what a caller has many words for.
        is_rare = len(spelled) > len(EventKind) or any("@" in word for word in spelled)
        return spelled if is_rare else self._known.setdefault(spelled, spelled)


def _digest(occurrence: str) -> str:
    """A short name for an occurrence: 48 bits, so that the file stays small; two of one job never meet."""
    return stable_hash(occurrence)[:12]


def _take_over(to: dict[str, Any], source: Mapping[str, Any], key: str) -> None:
    if key in source:
        to[key] = source[key]
    else:
        to.pop(key, None)


def _inner(state: _State, part: str) -> dict[str, Any]:
    ours = state["data"].get(OURS)
    if not isinstance(ours, dict):
        ours = state["data"][OURS] = {}
    inner: dict[str, Any] = ours.setdefault(part, {})
    return inner


def _spelled(state: _State) -> Iterator[bytes]:
    """The file, in the order in which `_in_pieces` can read it: what is said of very many entities stands by itself."""
    ours = dict(state["data"].get(OURS, {}))
    first = ours.pop("first", {})
    data = {key: value for key, value in state["data"].items() if key != OURS}
    yield _HEAD
    yield orjson.dumps(state["notified"])
    yield b',"owed":' + orjson.dumps(state["owed"])
    yield b',"data":' + _open_ended(data, OURS) + _open_ended(ours, "first")
    yield orjson.dumps(first)
    yield _TAIL


def _open_ended(mapping: dict[str, Any], key: str) -> bytes:
    """The JSON of `mapping` up to the value of one more `key`."""
    return orjson.dumps({**mapping, key: 0})[: -len(b"0}")]


def _loaded(path: Path, spellings: _Spellings) -> _State:
    """The state that the file `path` spells.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
        StateError: a newer version wrote it; it must not be touched.
    """
    content = read_regular_file(path)
    try:
        state = _in_pieces(content, spellings)
    except (ValueError, LookupError, TypeError, AttributeError):  # written by others or an older version, or damaged
        state = orjson.loads(content)
    _check(state, path, spellings)
    _upgrade(state)
    return dict(state)


def _in_pieces(content: bytes, spellings: _Spellings, *, piece: int = _PIECE) -> _State:
    """What `_spelled` wrote, without all of it as objects at once: that would be ten times its size.

    What is searched for holds quotes, which stand in no text by themselves. Where it is found at the end of a text all
    the same, the piece that ends there is no JSON.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: something else wrote it, or it must be read at once.
    """
    owed, first = content.index(b'},"owed":{'), content.rindex(b'"first":{') + len(b'"first":')
    begin, end = len(_HEAD), len(content) - len(_TAIL)
    if content[: begin + 1] != _HEAD + b"{" or content[end - 1 :] != b"}" + _TAIL:
        raise ValueError("not our order")
    state: _State = orjson.loads(content[:begin] + b"{}" + content[owed + 1 : first] + b"{}" + _TAIL)
    ours = state["data"][OURS]
    if state["notified"] or ours["first"]:
        raise ValueError("not our order")
    notified, noted = state["notified"], ours["first"]
    for some in _members(content, begin + 1, owed, b'],"', piece):
        notified.update(zip(some, map(spellings.one, some.values()), strict=True))
    same = dict(zip(notified, notified, strict=True))  # so that each entity is kept once
    for some in _members(content, first + 1, end - 1, b'","', piece):
        noted.update(zip(map(same.get, some, some), some.values(), strict=True))
    return state


def _members(content: bytes, begin: int, end: int, between: bytes, piece: int) -> Iterator[dict[str, Any]]:
    """The members of a JSON object, read some at a time; `between` begins with what ends one of them."""
    while begin < end:
        found = content.find(between, begin + piece, end)
        stop = end if found < 0 else found + 1
        yield orjson.loads(b"{%b}" % content[begin:stop])
        begin = stop + 1


def _check(state: Any, path: Path, spellings: _Spellings) -> None:
    """See that `state` is one, and keep its words once. Raises: ValueError, StateError, as in `_loaded`."""
    if not isinstance(state, dict):
        raise ValueError("not an object")
    version = state.get("version")
    if isinstance(version, int) and version > VERSION:
        raise StateError(
            f"{path} was written by a newer version (its format is {version}, this one knows {VERSION})",
            hint="install that version again",
        )
    if version != VERSION:
        raise ValueError("no version in it")
    for section in ("notified", "owed"):
        words = state.setdefault(section, {})
        if not isinstance(words, dict):
            raise ValueError(f"{section} is wrong in form")
        for entity, value in words.items():
            if not isinstance(value, tuple):
                words[entity] = spellings.one(value)
    if not isinstance(state.setdefault("data", {}), dict) or not _are_notes(state["data"].get(OURS, {})):
        raise ValueError("data is wrong in form")


def _count_words(state: _State) -> int:
    return sum(map(len, state["notified"].values())) + sum(map(len, state["owed"].values()))


def _upgrade(state: _State) -> None:
    """What an older version wrote, or a person: then it is another file than the one that was saved so often."""
    edition = state["data"].get(OURS, {}).get("edition", {}).get("is")
    if edition and edition[2:] != [_count_words(state)]:
        del state["data"][OURS]["edition"]
    # First occurrences were noted in full.
    for entity, known in state["data"].get(OURS, {}).pop("occurrences", {}).items():
        first = _inner(state, "first")
        noted = {kind: f"{kind}={_digest(occurrence)}" for kind, occurrence in known.items()}
        # What this version noted before the older one came in between stands.
        noted |= {word.partition("=")[0]: word for word in first.get(entity, "").split()}
        first[entity] = " ".join(noted.values())


def _are_notes(ours: Any) -> bool:
    """Whether our own notes have the form in which we write them; parts that we do not know are left alone."""
    if not isinstance(ours, dict):
        return False
    inner: dict[str, type | tuple[type, ...]] = {"occurrences": str, "reruns": int}
    plain: dict[str, type | tuple[type, ...]] = {
        "edition": list,
        "first": str,
        "first_look": str,
        "peer_rounds": list,
        "undecided": bool,
        "vanished": (int, float),
        "emitted": bool,
        "outbox": list,
    }
    return (
        all(isinstance(ours.get(part, {}), dict) for part in (*inner, *plain))
        and all(map(_is_round, ours.get("peer_rounds", {}).values()))
        and all(isinstance(value, plain[part]) for part in plain for value in ours.get(part, {}).values())
        and all(
            isinstance(values, dict) and all(isinstance(value, inner[part]) for value in values.values())
            for part in inner
            for values in ours.get(part, {}).values()
        )
    )


def _is_round(noted: Any) -> bool:
    """Whether `noted` is a `PeerRound` as it is written: number, absent, synced_at, had_folders."""
    types: tuple[type | tuple[type, ...], ...] = (int, int, (int, float), bool)
    return isinstance(noted, list) and len(noted) == len(types) and all(map(isinstance, noted, types))
