"""The workers that share an outbox, and what they share beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from syftnotify.core.errors import Failure


class WorkerMode(StrEnum):
    """What a process does. The values are stored."""

    FULL = "scan and deliver"
    SCAN = "scan only"
    DELIVER = "deliver only"
    SERVE = "serve"
    DISABLED = "disabled"  # `notify.enabled` is false


class Channel(StrEnum):
    """What processes announce to each other. The values are names of channels in PostgreSQL."""

    QUEUE = "syftnotify_queue"  # something may be delivered
    INBOX = "syftnotify_inbox"  # something was stored in an inbox


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A process that counts as alive. Times in seconds since 1970, on the clock of the database."""

    id: int
    scope: str
    host: str
    pid: int
    mode: str  # a `WorkerMode`, or one of a newer version
    version: str
    started_at: float
    renewed_at: float
    is_leader: bool
    transports: Mapping[str, str]  # by name: a hash of the settings, without secrets

    @property
    def delivers(self) -> bool:
        """Whether it sends messages."""
        return self.mode in {WorkerMode.FULL, WorkerMode.DELIVER}

    @property
    def scans(self) -> bool:
        """Whether it scans the tree of its scope, or could."""
        return self.mode in {WorkerMode.FULL, WorkerMode.SCAN}


def without_leader(workers: Iterable[WorkerRecord]) -> list[str]:
    """The scopes whose tree no worker scans, although some could."""
    scanning = [worker for worker in workers if worker.scans]
    return sorted({worker.scope for worker in scanning} - {worker.scope for worker in scanning if worker.is_leader})


def unserved_transports(workers: Iterable[WorkerRecord], waiting: Iterable[str]) -> list[str]:
    """Those of the transports `waiting`, for which something waits, that no worker delivers through."""
    served = {name for worker in workers if worker.delivers for name in worker.transports}
    return sorted(set(waiting) - served)


def differing_transports(workers: Iterable[WorkerRecord]) -> dict[str, list[str]]:
    """Transports to which several homes give different settings, with the scopes of these homes.

    The settings of one home may differ between machines, for example in paths.
    """
    found: dict[str, dict[str, set[str]]] = {}  # by name and scope: the hashes
    for worker in workers:
        for name, settings in worker.transports.items():
            found.setdefault(name, {}).setdefault(worker.scope, set()).add(settings)
    return {
        name: sorted(by_scope)
        for name, by_scope in sorted(found.items())
        if len(by_scope) > 1 and not set.intersection(*by_scope.values())
    }


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """A database and its server, as of now."""

    name: str  # its address without password
    server_version: str
    server_number: int  # 150004 is 15.4
    is_standby: bool
    is_pooled: bool  # a pooler is between this process and the server
    schema_version: int  # of the tables; 0: there are none
    needed_version: int
    size: int  # bytes
    clock_difference: float  # this machine's minus the server's, in seconds
    connections: int
    max_connections: int
    oldest_transaction: float  # seconds since it began
    sees_all_users: bool  # whether it is that of all users, not only of this one
    can_write: bool


@dataclass(frozen=True, slots=True)
class TransportPause:
    """A pause that one worker has begun and all keep."""

    until: float  # seconds since 1970; then one worker sends one message, which shows whether the pause ends
    reason: str
    failure: Failure


class SharedTransports(Protocol):
    """The rate limit and the pause of each transport, by its name."""

    def take_permits(self, transport: str, rate: float, burst: int, wanted: int) -> tuple[int, float]:
        """Count messages against the rate limit of `rate` per second, with at most `burst` at once.

        Returns how many of the `wanted` ones may be sent now, and the seconds until the next one may be.
        """

    def return_permits(self, transport: str, rate: float, count: int) -> None:
        """These permits were not used."""

    def pause(self, transport: str, pause: TransportPause) -> None:
        """Begin or prolong a pause: no worker claims anything of the transport until it ends."""

    def end_pause(self, transport: str) -> None:
        """A message was sent, or a check succeeded."""

    def pauses(self) -> Mapping[str, TransportPause]:
        """The pauses by transport, also those that have ended and whose first message was not sent yet."""


class LeaderClaim(Protocol):
    """The claim of this worker to lead its scope: it scans the tree, and the ledger is its own.

    Each method raises `StateError` if the database cannot be used.
    """

    def acquire(self, seconds: float) -> int:
        """Lead if no other worker does; returns a number that changes with the leader.

        0: another worker leads. This one leads until `seconds` after the last call, and for some minutes more while
        this process renews its lease, because a scan may take long.
        """

    def extend(self) -> None:
        """The scan makes progress: the claim does not end because it takes long. Never raises."""

    def release(self) -> None:
        """Let another worker lead."""

    def is_taken(self) -> bool:
        """Whether another worker leads."""

    def load_ledger(self) -> bytes | None:
        """The ledger that the last leader of the scope has saved; None: there is none."""

    def save_ledger(self, content: bytes) -> bool:
        """Save the ledger of the scope for the next leader; returns False if this worker does not lead any more."""


class Cluster(Protocol):
    """The workers of one outbox. Each method raises `StateError` if the database cannot be used.

    A home is known by its scope: the same data owner in the same role, on whichever machine. Of the workers of a scope,
    one leads: it scans the tree.
    """

    @property
    def name(self) -> str:
        """The address of the database, for people."""

    @property
    def scope(self) -> str:
        """The home of this process."""

    @property
    def transports(self) -> SharedTransports: ...

    @property
    def leader(self) -> LeaderClaim: ...

    @property
    def is_outage_known(self) -> bool:
        """Whether the database cannot be reached, which is logged already."""

    def time(self) -> float:
        """Seconds since 1970 on the clock of the database, which all workers use."""

    def join(self, mode: WorkerMode | None = None, transports: Mapping[str, str] | None = None) -> int:
        """Become a worker, whose lease this process renews until the outbox is closed; returns its number.

        `transports` is `WorkerRecord.transports`. None: what was given before, otherwise `FULL` and no transports.
        """

    def workers(self) -> list[WorkerRecord]:
        """The processes that count as alive, of all scopes, the oldest first."""

    def publish(self, context: Mapping[str, Any], *, is_enabled: bool) -> None:
        """Publish what other workers need to render the messages of this scope, a JSON object: their claims have it.

        Unless it `is_enabled`, nobody sends anything for this scope.
        """

    def listen(self, channel: Channel, listener: Callable[[], None]) -> None:
        """Call `listener`, in another thread, after some process announced `channel`. Only before `join`.

        Announcements may be lost, for example while the connection is: a listener also polls.
        """

    def announce(self, channel: Channel) -> None:
        """Wake the listeners of `channel` in all processes; several calls in a short time may wake them once."""
