"""What can go wrong, said to a person: what happened, what to do, and the exit code.

NotifyError                 1
├── ConfigError             2   config.yaml is missing, unreadable or has mistakes
│   └── UnsafeHomeError     2   others own or can change what decides what is sent
├── NotSignedInError        2   no Google sign-in, or one that died
├── AlreadyRunningError     3   another worker holds the lock of this home
├── NotRunningError         3   there is no worker to talk to
├── LockLostError           1   the lock file was removed or replaced while the worker ran
├── StateError              1   the ledger or the outbox cannot be read or written
│   └── NoLocksError        2   the file system of the home has no working locks
├── UnknownKindError        2   no such kind of event
├── EmitError               2   an event that cannot be handed in
└── DeliveryError           1   one attempt failed; `.failure` says how

Not errors: `notify status` ends with 4 for an unhealthy worker, `notify init` with 5 when the sign-in is missing.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path


class NotifyError(Exception):
    """Anything that the program says to a person instead of showing a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(NotifyError):
    """The configuration cannot be used; the message lists every mistake."""

    exit_code = 2


class UnsafeHomeError(ConfigError):
    """The home, its configuration or its templates belong to another user, or other users can write to them."""


class NotSignedInError(NotifyError):
    """There is no usable sign-in to Google."""

    exit_code = 2


class AlreadyRunningError(NotifyError):
    """Another worker holds the lock of this home."""

    exit_code = 3

    def __init__(self, pid: int | None) -> None:
        super().__init__(
            f"a worker is already running here (pid {pid or 'unknown'})",
            hint="`notify status` shows it, `notify stop` ends it",
        )
        self.pid = pid


class NotRunningError(NotifyError):
    """No worker holds the lock of this home."""

    exit_code = 3

    def __init__(self) -> None:
        super().__init__("no worker is running here", hint="`notify start` starts one")


class StateError(NotifyError):
    """The ledger or the outbox cannot be read or written."""


class NoLocksError(StateError):
    """The file system has no working locks, so two workers could run at once; starting again does not help."""

    exit_code = 2

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(
            f"file locks do not work in {folder}{f' ({why})' if why else ''}",
            hint="keep the home on a local disk: `notify --home DIR`",
        )


class LockLostError(NotifyError):
    """The lock file was removed or replaced while the worker ran."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} was removed or replaced while the worker ran, so another worker could start beside it",
            hint="run `notify start`, and leave that file alone",
        )


class UnknownKindError(NotifyError, ValueError):
    """No such kind of event; the message names a similar known one, if any."""

    exit_code = 2


class EmitError(NotifyError, ValueError):
    """An event that cannot be handed in; the message says what is wrong with it."""

    exit_code = 2


class Failure(StrEnum):
    """The class of a failed attempt. `core.retry` decides what follows; the values are stored."""

    UNREACHABLE = "no_answer"  # DNS, connection refused, TLS, connect timeout: the message was not sent
    TEMPORARY = "not_now"  # the server asks for a later attempt
    PERMANENT = "refused"  # the server rejects this message
    GONE = "gone"  # the endpoint does not exist any more
    AUTH = "sign_in"  # the credentials are not accepted any more
    QUOTA = "held"  # a daily limit is reached: nothing is accepted for hours
    TOKEN_REFRESHED = "renewed"  # noqa: S105 - not a secret; the access token had expired and was refreshed: try again at once
    UNKNOWN = "unknown"  # the connection ended after the message was sent: it may have been delivered


class DeliveryError(NotifyError):
    """One attempt did not hand the message over, or nobody can know.

    Its text is safe to show: it never carries a token, a password or a URL's path.

    Attributes:
        failure: what it means.
        not_before: the earliest moment the other side named for another attempt, if it named one.
        is_local: whether our own code refused the message, and the other side was not asked.
        is_about_recipient: whether the other side named the recipient as the reason.
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
