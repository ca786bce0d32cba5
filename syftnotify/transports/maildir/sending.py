"""Mail into a Maildir on this machine, for local mail programs, tests and the demo."""

from __future__ import annotations

import contextlib
import mailbox
import threading
from collections.abc import Callable
from pathlib import Path

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.system.files import create_private_folder
from syftnotify.transports.mime import build_mime


class MaildirTransport:
    """Writes each message atomically as one file."""

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        """`path` is the Maildir; `clock` gives seconds since 1970, for the `Date` header."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()  # the counter of `mailbox` for file names is not thread-safe

    def check(self) -> None:
        """Open the Maildir, and create it if missing. Raises: DeliveryError."""
        self._open()

    def send(self, message: Message) -> Receipt:
        """Make one attempt. Raises: DeliveryError."""
        with self._lock:
            box = self._open()
            try:
                name = box.add(build_mime(message, date=self._clock()))
                with contextlib.suppress(FileNotFoundError):  # a mail program has moved it
                    (self._path / "new" / name).chmod(0o600)
            except OSError as error:
                raise DeliveryError(Failure.TEMPORARY, f"the Maildir cannot be written: {error.strerror}") from error
        return Receipt(provider_id=name)

    def close(self) -> None:
        """Nothing is kept open."""

    def _open(self) -> mailbox.Maildir:
        try:
            create_private_folder(self._path.parent)
            box = mailbox.Maildir(self._path, create=True)
            for part in ("tmp", "new", "cur"):  # the library creates them only together with the Maildir
                (self._path / part).mkdir(mode=0o700, exist_ok=True)
            return box
        except OSError as error:
            raise DeliveryError(Failure.UNREACHABLE, f"the Maildir cannot be opened: {error.strerror}") from error
