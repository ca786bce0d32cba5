"""The state file on disk: read, replaced and backed up as a whole."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syftnotify.core.errors import StateError
from syftnotify.store.ledger.encoding import decode, encode
from syftnotify.store.ledger.labels import LabelPool
from syftnotify.store.ledger.state import Section, State
from syftnotify.system.failpoints import reached
from syftnotify.system.files import atomic_write, create_private_folder, quarantine, read_regular_file
from syftnotify.system.locks import file_lock
from syftnotify.system.permissions import owner_suffix

log = logging.getLogger(__name__)

_LOCK_SECONDS = 30.0

_Signature = tuple[int, int, int]  # mtime in nanoseconds, size, inode


class StateFile:
    """A state file and its backup, which is the content before the last write.

    The signature of the file shows whether another process wrote it.
    """

    def __init__(self, path: Path, pool: LabelPool) -> None:
        self.corruption = ""  # what was wrong with the file when it was last found corrupt
        self.read_count = 0
        self._path = path
        self._backup = path.with_name(path.name + ".bak")
        self._pool = pool
        self._signature: _Signature | None = (-1, -1, -1)  # as last read or written; None: there was no file

    def is_modified(self) -> bool:
        """Whether the file is not as it was last read or written. Costs one `stat`."""
        return self._current_signature() != self._signature

    def read(self) -> tuple[State, bool]:
        """The content of the file, or of the backup, or nothing; and whether it is the backup's.

        A corrupt file is quarantined.

        Raises:
            StateError: it cannot be read, or a newer version wrote it.
        """
        self.read_count += 1
        signature = self._current_signature()  # before reading, so that no write by another process is missed
        state, is_restored = self._load(self._path), False
        if state is None:
            signature = None
            state = self._load(self._backup)
            is_restored = state is not None
        if is_restored:
            problem = self.corruption or f"{self._path} is missing"
            log.warning("%s: the backup %s is used", problem, self._backup.name)
        self._signature = signature
        return state or State(), is_restored

    def write(self, state: State) -> None:
        """Replace the file; its previous content becomes the backup.

        Raises:
            OSError: it cannot be written.
        """
        if self._signature is not None:
            self._back_up()
        atomic_write(self._path, encode(state))
        self._signature = self._current_signature()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of all writers of the file.

        Raises:
            StateError: the lock is not free within 30 seconds, or the block raised OSError.
        """
        try:
            create_private_folder(self._path.parent)
            with file_lock(self._path.with_name(self._path.name + ".lock"), seconds=_LOCK_SECONDS) as held:
                if not held:
                    raise StateError(
                        f"{self._path} was locked by another program for {_LOCK_SECONDS:.0f} s",
                        hint="stop that program, or try again",
                    )
                yield
        except OSError as error:
            raise StateError(
                f"{self._path} cannot be written: {error.strerror}{owner_suffix(self._path)}",
                hint="make sure that its folder is yours, writable and not full",
            ) from error

    def _load(self, path: Path) -> State | None:
        """The content of `path`; None if it is missing, or was corrupt and is now quarantined."""
        try:
            return _read_state(path, self._pool)
        except FileNotFoundError:
            return None
        except ValueError as error:
            aside = quarantine(path)
            self.corruption = f"{path.name} was damaged ({error}) and is kept as {aside.name}"
            log.warning("%s", self.corruption)
            return None
        except OSError as error:
            raise StateError(_read_error(path, error), hint="change its owner to yourself, or move it away") from error

    def _back_up(self) -> None:
        # A hard link instead of a copy: `write` renames a new file over the original and does not change this one.
        link = self._backup.with_name(self._backup.name + ".new")
        link.unlink(missing_ok=True)
        try:
            link.hardlink_to(self._path)
        except OSError:  # a file system without hard links
            atomic_write(link, self._path.read_bytes())
        link.replace(self._backup)
        reached("ledger.backed_up")

    def _current_signature(self) -> _Signature | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def is_later_save(ledger: bytes, other: bytes) -> bool:
    """Whether the content `ledger` of a state file was saved after `other`, by the same series of saves."""
    revisions = [_revision(each) for each in (ledger, other)]
    (name, count), (other_name, other_count) = revisions
    return bool(name) and name == other_name and count > other_count


def _revision(content: bytes) -> tuple[str, int]:
    """The id of a series of saves and the number of the save; ("", 0) if the content is not usable or has none."""
    try:
        found = decode(content, LabelPool()).notes(Section.REVISION).get("is")
    except (ValueError, StateError):
        return "", 0
    return (found[0], found[1]) if found else ("", 0)


def find_corruption(path: Path) -> str:
    """Why the state file `path` cannot be used; empty if it can. Changes nothing on disk."""
    try:
        _read_state(path, LabelPool())
    except ValueError as error:
        return f"{path.name} is damaged ({error})"
    except StateError as error:
        return str(error)
    except OSError as error:
        return _read_error(path, error)
    return ""


def _read_state(path: Path, pool: LabelPool) -> State:
    """The content of `path`. Raises: OSError; ValueError and StateError as in `decode`."""
    content = read_regular_file(path)
    try:
        return decode(content, pool)
    except StateError as error:
        raise StateError(f"{path} cannot be used: {error}", hint=error.hint) from None


def _read_error(path: Path, error: OSError) -> str:
    return f"{path} cannot be read: {error.strerror}{owner_suffix(path)}"
