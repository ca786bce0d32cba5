"""Real PostgreSQL servers for the tests; a test that needs one is skipped where none is installed."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

_USER = "postgres"
_OPTIONS = ("max_connections=200", "wal_level=replica", "max_wal_senders=5", "log_min_messages=fatal")
# Nothing needs to survive a loss of power, and tests that restart the server do not cut the power.
_WITHOUT_FSYNC = ("fsync=off",)


@cache
def installations() -> dict[str, Path]:
    """The folders of the programs of each installed version, by its number.

    They are searched for where Debian has them, in the folder that SYFTNOTIFY_POSTGRES names, and on the PATH.
    """
    candidates = [*Path("/usr/lib/postgresql").glob("*/bin")]
    if named := os.environ.get("SYFTNOTIFY_POSTGRES"):
        candidates.append(Path(named))
    if (initdb := shutil.which("initdb")) is not None:
        candidates.append(Path(initdb).parent)
    found: dict[str, Path] = {}
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            found.setdefault(_version(folder), folder)
    return found


def _version(folder: Path) -> str:
    printed = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return printed.split()[2].partition(".")[0]


@dataclass(slots=True)
class Server:
    """A running server with its own data folder, on a free port of this machine."""

    programs: Path
    data: Path
    port: int
    options: Sequence[str] = _WITHOUT_FSYNC  # of the program, as `name=value`
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def log(self) -> Path:
        """The messages of the server, only those of level fatal."""
        return self.data.with_suffix(".log")

    def url(self, database: str = _USER) -> str:
        """The address of a database, as `database` in the configuration."""
        return f"postgresql+psycopg://{_USER}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = _USER) -> psycopg.Connection[tuple[object, ...]]:
        """A connection that commits each statement."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=_USER, dbname=database, autocommit=True, connect_timeout=10
        )

    def create_database(self, name: str) -> str:
        """Create an empty database; returns its address."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        command: list[str | Path] = [self.programs / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.data]
        for option in ("listen_addresses=127.0.0.1", *_OPTIONS, *self.options):
            command += ["-c", option]
        if (setpriv := shutil.which("setpriv")) is not None:  # it does not outlive a test process that is killed
            command = [setpriv, "--pdeathsig", "INT", *command]
        with self.log.open("ab") as server_log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=server_log, start_new_session=True, **as_user()
            )
        ready: list[str | Path] = [
            self.programs / "pg_isready",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-t",
            "5",
            "-q",
        ]
        while subprocess.run(ready, check=False).returncode:
            if self.process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended: {self.log.read_text(errors='replace')}")

    def execute(self, statement: str, database: str = _USER) -> list[tuple[object, ...]]:
        """The result of one statement."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it: SIGINT ends all connections first, SIGQUIT as a crash would."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None


def as_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def free_port() -> int:
    """A port of this machine that no program uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serve(version: str, options: Sequence[str] = _WITHOUT_FSYNC) -> Iterator[Server]:
    """A server of `version` with an empty data folder, which is removed at the end."""
    programs = installations()[version]
    # A short path, because that of its socket is limited; not below a folder that only root can enter.
    with tempfile.TemporaryDirectory(prefix="syftnotify-pg-", dir="/tmp") as folder:
        data = Path(folder, "data")
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            Path(folder).chmod(0o755)
            shutil.chown(data, "nobody", "nogroup")
        create: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            _USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "-N",
        ]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL, **as_user())
        server = Server(programs, data, free_port(), options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def stand_by(server: Server) -> Iterator[Server]:
    """A standby that streams from `server`, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="syftnotify-pg-", dir="/tmp") as folder:
        data = Path(folder, "data")
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        source = ["-h", "127.0.0.1", "-p", str(server.port), "-U", _USER]
        copy: list[str | Path] = [
            server.programs / "pg_basebackup",
            *source,
            "-D",
            data,
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        ]
        subprocess.run(copy, check=True, **as_user())
        standby = Server(server.programs, data, free_port())
        standby.start()
        try:
            yield standby
        finally:
            standby.stop()


def require(version: str) -> None:
    """Skip the test if that version is not installed."""
    if version not in installations():
        if os.environ.get("SYFTNOTIFY_REQUIRES_POSTGRES"):
            pytest.fail(f"PostgreSQL {version} is not installed")
        pytest.skip(f"PostgreSQL {version} is not installed")


@cache
def shared_server(version: str) -> Server:
    """The server of `version` of this test process, started at the first use; tests create their own databases."""
    require(version)
    stack = contextlib.ExitStack()
    server = stack.enter_context(serve(version))
    atexit.register(stack.close)
    return server
