"""Network backend for httpcore: connections with an overall deadline and a size limit.

Neither httpx nor httpcore has an overall deadline (their timeouts apply to each read and write), a timeout for name
lookups, or a limit for the size of a response.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from syftnotify.transports.deadline import Deadline

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
# The only IPv6 addresses of the internet, besides those that contain an IPv4 address (RFC 4291).
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# Special-purpose networks that older versions of Python do not know (RFC 6890, RFC 9637).
_RESERVED = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "3fff::/20")))
_MAX_CONNECTION_BYTES = 256 * 1024  # read from one connection, including headers, framing and replies of proxies


class ResponseTooLongError(httpcore.ReadError):
    """The server sent more than a connection may receive."""


class PrivateAddressError(httpcore.ConnectError):
    """The host has only addresses of private networks, which the target may not have."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, also if an IPv6 address contains an IPv4 address.

    Other ones are of this machine, of private networks, or reserved (RFC 6890).
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if any(found in each for each in _RESERVED if each.version == found.version):
        return False
    if isinstance(found, ipaddress.IPv6Address):
        contained = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
        if found in _NAT64:
            contained.append(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
        embedded = [each for each in contained if each is not None]
        if embedded:
            return all(is_public(str(each)) for each in embedded)
        if found not in _GLOBAL_UNICAST:
            return False
    return found.is_global and not found.is_multicast


class DeadlineBackend(httpcore.SyncBackend):
    """Opens connections that end at `deadline`."""

    def __init__(self, deadline: Deadline, *, public_only: bool = False) -> None:
        """`public_only` refuses addresses of private networks. The address that is checked is the one that is used."""
        self._deadline = deadline
        self._public_only = public_only

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host` that accepts, trying each for `timeout` seconds at most."""
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._deadline.resolve(host, port):
            if self._public_only and not is_public(address):
                failure = PrivateAddressError(f"{host} has an address of a private network")
                continue
            try:
                remaining = self._deadline.remaining(timeout)
                stream = super().connect_tcp(address, port, remaining, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            try:
                self._deadline.watch(stream.get_extra_info("socket"))
            except OSError:
                stream.close()
                raise
            return _LimitedStream(stream, _MAX_CONNECTION_BYTES)
        raise failure


class _LimitedStream(httpcore.NetworkStream):
    """A connection from which at most `remaining` bytes are read."""

    def __init__(self, stream: httpcore.NetworkStream, remaining: int) -> None:
        self._stream = stream
        self._remaining = remaining

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._remaining <= 0:
            raise ResponseTooLongError
        content = self._stream.read(min(max_bytes, self._remaining), timeout)
        self._remaining -= len(content)
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _LimitedStream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._remaining)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
