"""Networks of their own for processes: Linux network namespaces with nothing but a loopback device."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1  # linux/sockios.h, linux/if.h
_IFREQ = struct.Struct("16sH22x")  # name and flags of a device: linux/if.h


class Network:
    """The network of some processes; nothing outside can be reached from it.

    What this process listens on with `listen` can be reached at 127.0.0.1 from inside.
    """

    def __init__(self, worker: ThreadPoolExecutor) -> None:
        """`worker` has one thread, which enters the new namespace; OSError if it may not, or cannot be followed."""
        if shutil.which("nsenter") is None:
            raise OSError("nsenter is not installed")
        self._worker = worker
        self._descriptor = worker.submit(_enter_new_namespace).result()

    def command(self, command: list[str]) -> list[str]:
        """The command that runs `command` inside, with the same process id."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._descriptor}", "--", *command]

    def listen(self) -> socket.socket:
        """A socket of this process that listens at a free port of 127.0.0.1 inside."""
        return self._worker.submit(socket.create_server, ("127.0.0.1", 0)).result()

    def set_up(self, is_up: bool) -> None:
        """Set the device up or down. While it is down nothing passes."""
        self._worker.submit(_set_loopback, is_up).result()

    def close(self) -> None:
        """Give the network up; the kernel removes it when no process is in it."""
        os.close(self._descriptor)


def _enter_new_namespace() -> int:
    """Put this thread into a new namespace; returns a file descriptor of it."""
    libc = ctypes.CDLL(None, use_errno=True)  # os.unshare is new in Python 3.12
    if libc.unshare(_CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespaces here: {os.strerror(number)}")
    _set_loopback(True)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _set_loopback(is_up: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, _SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0))
        flags = _IFREQ.unpack(request)[1]
        flags = flags | _IFF_UP if is_up else flags & ~_IFF_UP
        fcntl.ioctl(control, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags))


@contextmanager
def new_network() -> Iterator[Network | None]:
    """A new network, until the end of the block; None where the system or the user's rights do not allow it."""
    with ThreadPoolExecutor(1, thread_name_prefix="network") as worker:
        try:
            network = Network(worker)
        except OSError:
            yield None
            return
        try:
            yield network
        finally:
            network.close()
