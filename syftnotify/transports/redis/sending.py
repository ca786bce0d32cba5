"""Publication on a Redis server.

Source: https://redis.io/docs/latest/develop/pubsub/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.core.text import escape, redact

_CHANNEL = "notifications:"
_MAX_TEXT = 200  # characters of a reply that an error message repeats


class RedisTransport:
    """Publishes the body of each message on the channel of its recipient; each attempt has a new connection."""

    def __init__(self, url: str, *, ca_file: Path | None, timeout: float) -> None:
        """`ca_file` has the certificates to trust; None: the system's. `timeout` is that of each step in seconds."""
        self._url = url
        self._ca_file = ca_file
        self._timeout = timeout
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._secrets = [each for each in (parts.password, unquote(parts.password or "")) if each]

    def check(self) -> None:
        """Connect, sign in and ping. Raises: DeliveryError."""
        with self._connected() as run:
            try:
                run("PING")
            except DeliveryError as error:
                is_lost = error.failure is Failure.UNKNOWN  # of a message; here nothing was sent
                raise DeliveryError(Failure.UNREACHABLE, str(error)) if is_lost else error from None

    def send(self, message: Message) -> Receipt:
        """Make one attempt. Raises: DeliveryError."""
        with self._connected() as run:
            receivers = run("PUBLISH", f"{_CHANNEL}{message.recipient}".encode("utf-8", "replace"), message.body)
        return Receipt(provider_id=f"{receivers} subscribed")

    def close(self) -> None:
        """Nothing is kept open."""

    @contextmanager
    def _connected(self) -> Iterator[Callable[..., Any]]:
        """Yields a function that runs a command on a new connection, on which the sign-in is done."""
        try:
            import redis
        except ImportError as error:
            raise DeliveryError(
                Failure.UNREACHABLE, "the package `redis` is not installed; run `pip install 'syftnotify[redis]'`"
            ) from error
        from redis.connection import parse_url

        options: dict[str, Any] = parse_url(self._url)  # type: ignore[no-untyped-call] # it has no types
        kind = options.pop("connection_class", redis.Connection)
        if kind is redis.SSLConnection and self._ca_file is not None:
            options["ssl_ca_certs"] = str(self._ca_file)
        connection = kind(
            **options,
            protocol=2,  # without HELLO, which servers before 6.0 do not have
            driver_info=None,  # otherwise two more requests in each attempt
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
        )

        def run(*command: bytes | str) -> Any:
            try:
                connection.send_command(*command, check_health=False)
                return connection.read_response()
            except (redis.ResponseError, redis.AuthenticationError, redis.exceptions.BusyLoadingError) as error:
                raise self._refusal(error) from None
            except (redis.RedisError, OSError) as error:
                raise DeliveryError(Failure.UNKNOWN, f"{self._host}: connection lost ({_reason(error)})") from None

        try:
            try:
                connection.connect()
            except redis.exceptions.BusyLoadingError as error:
                raise self._refusal(error) from None
            except (redis.AuthenticationError, redis.ResponseError) as error:
                raise self._refusal(error, signs_in=True) from None
            except (redis.RedisError, OSError, ValueError) as error:
                raise DeliveryError(Failure.UNREACHABLE, f"no connection to {self._host}: {_reason(error)}") from None
            yield run
        finally:
            connection.disconnect()

    def _refusal(self, error: Exception, *, signs_in: bool = False) -> DeliveryError:
        from redis import exceptions

        text = str(error)
        later = (
            exceptions.BusyLoadingError,
            exceptions.ClusterDownError,
            exceptions.OutOfMemoryError,
            exceptions.TryAgainError,
        )
        if isinstance(error, later) or text.startswith("BUSY "):
            failure = Failure.TEMPORARY
        elif (
            signs_in
            or isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError)
            or text.startswith("DENIED ")  # protected mode
        ):
            failure = Failure.AUTH
        else:
            failure = Failure.PERMANENT
        return DeliveryError(failure, f"{self._host} answered {escape(redact(text, self._secrets), limit=_MAX_TEXT)}")


def _reason(error: Exception) -> str:
    """The cause without text of the library, which names the user."""
    cause = error.__cause__ or error.__context__ or error
    is_timeout = "timeout" in type(error).__name__.lower() or isinstance(cause, TimeoutError)
    return "timed out" if is_timeout else escape(getattr(cause, "strerror", None) or type(cause).__name__, limit=80)
