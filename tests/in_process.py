"""Runs the command line in this process: the same `main`, with its own arguments, environment and streams."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from syftnotify.cli.app import main
from syftnotify.cli.console import err, out
from syftnotify.system.paths import Home

# Variables that the program reads each time that it needs them; others may have been read when a module was imported.
VARIABLES = frozenset({"HOME", "SYFTNOTIFY_HOME", "TZ", "COLUMNS"})


def run(
    arguments: Sequence[str], environment: Mapping[str, str], typed: str = "", encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    """Like `subprocess.run` of the command; its streams are no terminals and have this encoding."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    stdin = io.TextIOWrapper(io.BytesIO(typed.encode()), encoding="utf-8")
    with _replaced(["notify", *arguments], environment, {"stdin": stdin, **streams}):
        code = _exit_code()
    texts = {}
    for name, stream in streams.items():
        stream.flush()
        binary = stream.detach()
        assert isinstance(binary, io.BytesIO)
        texts[name] = binary.getvalue().decode(encoding, "replace")
    return subprocess.CompletedProcess(list(arguments), code, texts["stdout"], texts["stderr"])


def run_command(home: Home, *arguments: str) -> int:
    """Run the command in `home` with the environment and the streams of this process; returns the exit code."""
    with _replaced(["notify", "--home", str(home.root), *arguments], os.environ.copy(), {}):
        return _exit_code()


def _exit_code() -> int:
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - as the interpreter does at the end of a process
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def _replaced(arguments: list[str], environment: Mapping[str, str], streams: Mapping[str, TextIO]) -> Iterator[None]:
    """Replace what belongs to a process, and restore it."""
    root = logging.getLogger()
    before = {name: getattr(sys, name) for name in ("argv", *streams)}
    handlers, level, variables, folder = list(root.handlers), root.level, dict(os.environ), os.open(".", os.O_RDONLY)
    umask = os.umask(0o022)
    try:
        for name, value in {"argv": arguments, **streams}.items():
            setattr(sys, name, value)
        _set_environment(environment)
        yield
    finally:
        for name, value in before.items():
            setattr(sys, name, value)
        _set_environment(variables)
        for handler in set(root.handlers) - set(handlers):
            root.removeHandler(handler)
            handler.close()
        root.handlers, root.level = handlers, level
        os.umask(umask)
        os.fchdir(folder)
        os.close(folder)


def _set_environment(variables: Mapping[str, str]) -> None:
    zone = os.environ.get("TZ")
    for console in (out, err):  # which read the width when they were created
        console.width = int(variables.get("COLUMNS", "80"))
    os.environ.clear()
    os.environ.update(variables)
    if os.environ.get("TZ") != zone:
        time.tzset()
