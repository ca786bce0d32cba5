"""The error tree: each error has a message, a hint what to do, and an exit code.

NotifyError                 1
├── ConfigError             2   config.yaml is missing, unreadable or invalid
│   └── UnsafeHomeError     2   other users own or can change files of the home
├── NotSignedInError        2   no Google sign-in, or an expired one
├── AlreadyRunningError     3   another worker holds the lock of this home
├── NotRunningError         3   no worker is running
├── LockLostError           1   the lock file was removed or replaced while the worker was running
├── StateError              1   the ledger or the outbox cannot be read or written
│   ├── NoTablesError       1   the database has no tables yet
│   └── NoLocksError        2   the file system of the home does not support locks
├── UnknownKindError        2   unknown event kind
├── EmitError               2   an event that cannot be emitted
└── DeliveryError           1   an attempt failed; `.failure` is its class

Two exit codes are not errors: 4 from `notify status` for an unhealthy worker, 5 from `notify init` without a sign-in.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class NotifyError(Exception):
    """An error that is reported to the user as message and hint, without a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(NotifyError):
    """The configuration is not usable; the message lists all errors in it."""

    exit_code = 2


class UnsafeHomeError(ConfigError):
    """The home, its configuration or its templates belong to another user or are writable for other users."""


class NotSignedInError(NotifyError):
    """There is no valid Google sign-in."""

    exit_code = 2


class AlreadyRunningError(NotifyError):
    """Another worker holds the lock of this home."""

    exit_code = 3

    def __init__(self, pid: int | None) -> None:
        super().__init__(
            f"a worker is already running for this home (pid {pid or 'unknown'})",
            hint="run `notify status` to see it or `notify stop` to stop it",
        )
        self.pid = pid


class NotRunningError(NotifyError):
    """No worker holds the lock of this home."""

    exit_code = 3

    def __init__(self) -> None:
        super().__init__("no worker is running for this home", hint="run `notify start`")


class StateError(NotifyError):
    """The ledger or the outbox cannot be read or written."""


class NoTablesError(StateError):
    """The database has no tables of this program yet."""


class NoLocksError(StateError):
    """The file system does not support locks, so two workers could run at once. A restart does not help."""

    exit_code = 2

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(
            f"file locks do not work in {folder}{f' ({why})' if why else ''}",
            hint="move the home to a local disk and run `notify --home DIR`",
        )


class LockLostError(NotifyError):
    """The lock file was removed or replaced while the worker was running."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} was removed or replaced while the worker was running, so a second worker could start",
            hint="do not touch that file; run `notify start`",
        )


class NotFoundError(NotifyError):
    """There is nothing with that id, or it belongs to another person."""


class ConflictError(NotifyError):
    """The state of something does not permit what was asked for."""


class UnknownKindError(NotifyError, ValueError):
    """Unknown event kind; the message suggests a similar one, if there is one."""

    exit_code = 2


class EmitError(NotifyError, ValueError):
    """An event that cannot be emitted; the message contains the reason."""

    exit_code = 2


class Failure(StrEnum):
    """The class of a failed attempt. `core.retry` derives the decision from it; the values are stored."""

    UNREACHABLE = "no_answer"  # DNS, connection, TLS or connect timeout: the message was not sent
    TEMPORARY = "not_now"  # the server asks for a later attempt
    PERMANENT = "refused"  # the server rejects this message
    GONE = "gone"  # the endpoint does not exist any more
    AUTH = "sign_in"  # the credentials are not accepted any more
    QUOTA = "held"  # a daily limit is reached: nothing is accepted for hours
    CORRECTED = "renewed"  # the transport corrected the cause, such as an expired access token: retry at once
    UNKNOWN = "unknown"  # the connection ended after the message was sent: it may have been delivered

    @property
    def label(self) -> str:
        """The name in the API and in metrics: `unreachable`, `temporary`, ..."""
        return self.name.lower()


class DeliveryError(NotifyError):
    """An attempt did not deliver the message, or its outcome is unknown.

    The text never contains a token, a password or the path of a URL.

    Attributes:
        failure: the class of the failure.
        not_before: the earliest time for a retry that the server gave, if any.
        is_local: whether the message was refused before it was sent to the server.
        is_about_recipient: whether the server gave the recipient as the reason.
    """

    def __init__(
        self,
        failure: Failure,
        message: str,
        *,
        not_before: datetime | None = None,
        is_local: bool = False,
        is_about_recipient: bool = False,
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.not_before = not_before
        self.is_local = is_local
        self.is_about_recipient = is_about_recipient


class RecordedError(NamedTuple):
    """An error for the status of a worker; the greatest of several is the latest."""

    at: float  # seconds since 1970
    text: str


NO_ERROR = RecordedError(0.0, "")
