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

_COUNTER_LOCK = threading.Lock()  # `mailbox` counts file names for the whole process, without a lock


class MaildirTransport:
    """Writes each message atomically as one file."""

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        """`path` is the Maildir; `clock` gives seconds since 1970, for the `Date` header."""
        self._path = path
        self._clock = clock

    def check(self) -> None:
        """Open the Maildir, and create it if missing. Raises: DeliveryError."""
        self._open()

    def send(self, message: Message) -> Receipt:
        """Make one attempt. Raises: DeliveryError."""
        with _COUNTER_LOCK:
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
            # The library fails where another thread or process creates the Maildir at the same moment.
            for folder in (self._path, *(self._path / part for part in ("tmp", "new", "cur"))):
                folder.mkdir(mode=0o700, exist_ok=True)
            return mailbox.Maildir(self._path, create=False)
        except OSError as error:
            raise DeliveryError(Failure.UNREACHABLE, f"the Maildir cannot be opened: {error.strerror}") from error
