"""Notifications to the service manager: its socket and its watchdog."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify.runtime import systemd

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("needs Unix sockets", allow_module_level=True)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for the name of a socket, which has about a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="sn-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract name"])
def test_sd_notify_sends_one_datagram_to_the_socket(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool
) -> None:
    """B07."""
    if is_abstract and not sys.platform.startswith("linux"):
        pytest.skip("only Linux has abstract names")
    name = f"syftnotify-tests-{uuid.uuid4()}" if is_abstract else str(short_folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{name}" if is_abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if is_abstract else name)

        systemd.sd_notify("READY=1")

        assert channel.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", ["", "gone"])
def test_sd_notify_without_a_listener_is_ignored(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """B07."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(short_folder / name) if name else "")

    systemd.sd_notify("READY=1")


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "400000"}, 0.4),
        ({"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "own"}, 0.4),
        ({"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
    ids=str,
)
def test_watchdog_seconds_only_if_requested_of_this_process(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], seconds: float | None
) -> None:
    """B07."""
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(os.getpid()) if value == "own" else value)

    assert systemd.watchdog_seconds() == seconds
