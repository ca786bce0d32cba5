"""What has been told? The JSON state file, whole at every moment, shared with whoever else writes it."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Any

import orjson

from syftnotify.errors import StateError
from syftnotify.failpoints import reached
from syftnotify.files import exclusive, put_aside, whose, write_whole
from syftnotify.model import ENDED, Kind
from syftnotify.paths import expanded

log = logging.getLogger(__name__)

VERSION = 1
# Our own notes live under this one key of `data`, so that a caller's keys never meet them.
OURS = "syftnotify"
_LOCK_SECONDS = 30.0

# The seed's words for three kinds: equal on input, and how the file spells them.
_FILE_WORD = {
    Kind.JOB_SUBMITTED.value: "new",
    Kind.JOB_APPROVED.value: "approved",
    Kind.JOB_COMPLETED.value: "executed",
}

# Jobs of the layouts that give an end no time.
_TIMELESS = ("job/A/", "job/B")

_State = dict[str, Any]
_Change = Callable[[_State], None]
_Signature = tuple[int, int, int]


def _word(event_type: str) -> str:
    """The file's spelling of an event type; any string of a caller's own is fine."""
    kind, at, _ = event_type.partition("@")
    return event_type if at else _FILE_WORD.get(kind, kind)


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
        self._path = expanded(state_file)
        self._backup = self._path.with_name(self._path.name + ".bak")
        self._lock = threading.RLock()
        self._state = _empty()
        self._changes: list[_Change] = []  # made here, not saved yet
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
        self._change(_adding("notified", _plain(entity_id), _word(_plain(event_type))))
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
        self._change(lambda state: state["data"].__setitem__(name, orjson.loads(frozen)))
        self.save()

    # -- what the worker asks ------------------------------------------------------------------------------------

    def knows(self, entity: str, kind: Kind, occurrence: str) -> bool:
        """Whether that occurrence has been told, or is owed."""
        words = self._words(entity)
        if f"{kind}@{occurrence}" in words:
            return True
        if _word(kind) not in words:
            return False
        first = self._ours("occurrences").get(entity, {}).get(kind.value)
        if first is None:
            # Somebody marked it by hand, without saying which: it is the one that is true now.
            self._change(_noting(entity, kind.value, occurrence))
            return True
        return bool(first == occurrence)

    def reruns(self, entity: str, generation: str) -> int:
        """How often that submission was seen un-ended after a told end."""
        return int(self._ours("reruns").get(entity, {}).get(generation, 0))

    def ends_told(self, entity: str) -> int:
        """How many ends of `entity` have been told, or are owed."""
        plain = {_word(kind) for kind in ENDED}
        return sum(1 for word in self._words(entity) if word in plain or word.partition("@")[0] in ENDED)

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

    def note_absence(self, present: Container[str], among: Iterable[str] | None = None) -> None:
        """Remember the jobs that ended and are not there, for their layouts give an end no time to know it again by.

        `among` names who may have gone; None looks at all that was ever told.
        """
        vanished = self._ours("vanished")
        gone = [
            entity
            for entity in (self._state["notified"] if among is None else among)
            if entity.startswith(_TIMELESS)
            and entity not in present
            and vanished.get(entity) != 0
            and self.ends_told(entity)
        ]
        if gone:
            self._change(lambda state: _inner(state, "vanished").update(dict.fromkeys(gone, 0)))

    def note_return(self, returned: Iterable[str], settled: Iterable[str], at: float) -> None:
        """`returned` are back since `at`; `settled` are whole again."""
        for entity in returned:
            self._change(_setting("vanished", entity, at))
        for entity in settled:
            self._change(_forgetting("vanished", entity))

    def first_look(self, what: str) -> str:
        """When the first look at `what` ("jobs <owner>", say) was finished, or empty if it never was."""
        return str(self._ours("first_look").get(what, ""))

    def word_for(self, entity: str, kind: Kind, occurrence: str) -> str:
        """How this occurrence is written: the first one plainly, later ones with their name."""
        first = self._ours("occurrences").get(entity, {}).get(kind.value)
        return _word(kind) if first is None or first == occurrence else f"{kind}@{occurrence}"

    def owed(self) -> dict[str, list[str]]:
        """The words that stand under `owed`, by entity."""
        with self._lock:
            return {entity: list(words) for entity, words in self._state["owed"].items()}

    def owe(self, entity: str, kind: Kind, occurrence: str) -> None:
        """An event went into the outbox."""
        self._change(_adding("owed", entity, self._claim_word(entity, kind, occurrence)))

    def disown(self, entity: str, word: str) -> None:
        """What stands under `owed` is not in the outbox any more: the fact is news again."""
        self._change(_removing("owed", entity, word))

    def tell(self, entity: str, kind: Kind, occurrence: str) -> None:
        """An event counts as told: all its notifications are sent, dead or skipped, or it had none."""
        word = self._claim_word(entity, kind, occurrence)
        self._change(_removing("owed", entity, word))
        self._change(_adding("notified", entity, word))

    def count_rerun(self, entity: str, generation: str, count: int) -> None:
        """Remember the number of the run that is under way."""
        self._change(lambda state: _inner(state, "reruns").setdefault(entity, {}).__setitem__(generation, count))

    def decide(self, undecided: set[str], decided: set[str]) -> None:
        """Remember which entities the first look could not read, and which of them could be read since."""
        if undecided - self._ours("undecided").keys():
            self._change(lambda state: _inner(state, "undecided").update(dict.fromkeys(sorted(undecided), True)))
        for entity in decided:
            self._change(_forgetting("undecided", entity))

    def finish_first_look(self, what: str, at: str) -> None:
        """The first look at `what` is done."""
        self._change(_setting("first_look", what, at))

    # -- the file ------------------------------------------------------------------------------------------------

    @property
    def is_changed(self) -> bool:
        """Whether something here is not saved yet."""
        return bool(self._changes)

    def refresh(self) -> None:
        """Take in what others wrote since the file was last read; costs one `stat` when nobody did."""
        with self._lock:
            found = self._signature()
            if found == self._seen:
                return
            self._read()
            for change in self._changes:
                change(self._state)

    def save(self) -> None:
        """Write all changes made here, after merging what others wrote; nothing to write costs nothing."""
        with self._lock:
            if not self._changes:
                return
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with exclusive(self._path.with_name(self._path.name + ".lock"), seconds=_LOCK_SECONDS) as held:
                    if not held:
                        raise StateError(f"{self._path} is held by another program for {_LOCK_SECONDS:.0f} s")
                    self.refresh()
                    self._write()
            except OSError as error:
                raise StateError(
                    f"{self._path} cannot be written: {error.strerror}{whose(self._path)}",
                    hint="see that its folder is yours, writable and not full",
                ) from error
            self._changes.clear()
        reached("ledger.saved")

    def _write(self) -> None:
        if self._seen is not None:
            # A second name for the good old file; the rename below leaves it to that name alone.
            spare = self._backup.with_name(self._backup.name + ".new")
            spare.unlink(missing_ok=True)
            try:
                spare.hardlink_to(self._path)
            except OSError:  # a file system without links
                write_whole(spare, self._path.read_bytes())
            spare.replace(self._backup)
            reached("ledger.backed_up")
        write_whole(self._path, orjson.dumps(self._state))
        self._seen = self._signature()

    def _read(self) -> None:
        """Load the file, else the backup, else nothing; a damaged file is kept aside."""
        self.readings += 1
        for path in (self._path, self._backup):
            try:
                self._state = _checked(path.read_bytes(), path)
            except FileNotFoundError:
                continue
            except ValueError as error:
                self._put_aside(path, str(error))
                continue
            except OSError as error:
                raise StateError(
                    f"{path} cannot be read: {error.strerror}{whose(path)}", hint="make it yours, or move it away"
                ) from error
            if path is self._backup:
                log.warning("%s: the last good copy %s is used", self.damage or f"{self._path} is gone", path.name)
                self._changes.append(_nothing)
            break
        else:
            self._state = _empty()
        self._seen = self._signature()

    def _put_aside(self, path: Path, why: str) -> None:
        aside = put_aside(path)
        self.damage = f"{path.name} was damaged ({why}) and is kept as {aside.name}"
        log.warning("%s", self.damage)

    def _signature(self) -> _Signature | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _change(self, change: _Change) -> None:
        with self._lock:
            change(self._state)
            self._changes.append(change)

    def _words(self, entity: str) -> list[str]:
        return [*self._state["notified"].get(entity, ()), *self._state["owed"].get(entity, ())]

    def _ours(self, part: str) -> dict[str, Any]:
        ours = self._state["data"].get(OURS)
        inner = ours.get(part) if isinstance(ours, dict) else None
        return inner if isinstance(inner, dict) else {}

    def _claim_word(self, entity: str, kind: Kind, occurrence: str) -> str:
        if self._ours("occurrences").get(entity, {}).get(kind.value) is None:
            self._change(_noting(entity, kind.value, occurrence))
        return self.word_for(entity, kind, occurrence)


def what_is_wrong(path: Path) -> str:
    """Why the state file `path` could not be used, or nothing. Looks, and puts nothing aside."""
    try:
        _checked(path.read_bytes(), path)
    except (ValueError, StateError) as error:
        return f"{path.name} is damaged ({error})" if isinstance(error, ValueError) else str(error)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}{whose(path)}"
    return ""


def _adding(section: str, entity: str, word: str) -> _Change:
    def change(state: _State) -> None:
        words = state[section].setdefault(entity, [])
        if word not in words:
            words.append(word)

    return change


def _removing(section: str, entity: str, word: str) -> _Change:
    def change(state: _State) -> None:
        words = state[section].get(entity)
        if words and word in words:
            words.remove(word)
            if not words:
                del state[section][entity]

    return change


def _noting(entity: str, kind: str, occurrence: str) -> _Change:
    return lambda state: _inner(state, "occurrences").setdefault(entity, {}).__setitem__(kind, occurrence)


def _setting(part: str, key: str, value: Any) -> _Change:
    return lambda state: _inner(state, part).__setitem__(key, value)


def _forgetting(part: str, entity: str) -> _Change:
    def change(state: _State) -> None:
        _inner(state, part).pop(entity, None)

    return change


def _nothing(state: _State) -> None:
    """The change that makes the next save write the file again."""


def _inner(state: _State, part: str) -> dict[str, Any]:
    ours = state["data"].get(OURS)
    if not isinstance(ours, dict):
        ours = state["data"][OURS] = {}
    inner: dict[str, Any] = ours.setdefault(part, {})
    return inner


def _checked(content: bytes, path: Path) -> _State:
    """The state that `content` spells.

    Raises:
        ValueError: it is damaged.
        StateError: a newer version wrote it; it must not be touched.
    """
    state = orjson.loads(content)
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
        if not isinstance(words, dict) or not all(_is_words(value) for value in words.values()):
            raise ValueError(f"{section} is wrong in form")
    if not isinstance(state.setdefault("data", {}), dict) or not _are_notes(state["data"].get(OURS, {})):
        raise ValueError("data is wrong in form")
    return state


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _are_notes(ours: Any) -> bool:
    """Whether our own notes have the form in which we write them; parts that we do not know are left alone."""
    if not isinstance(ours, dict):
        return False
    inner: dict[str, type | tuple[type, ...]] = {"occurrences": str, "reruns": int}
    plain: dict[str, type | tuple[type, ...]] = {"first_look": str, "undecided": bool, "vanished": (int, float)}
    return (
        all(isinstance(ours.get(part, {}), dict) for part in (*inner, *plain))
        and all(isinstance(value, plain[part]) for part in plain for value in ours.get(part, {}).values())
        and all(
            isinstance(values, dict) and all(isinstance(value, inner[part]) for value in values.values())
            for part in inner
            for values in ours.get(part, {}).values()
        )
    )
