"""Runs the command line in the test process: `main` with given arguments, environment and streams."""

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

# Variables that the program reads at each use; others may have been read when a module was imported.
VARIABLES = frozenset({"HOME", "SYFTNOTIFY_HOME", "TZ", "COLUMNS"})


def run(
    arguments: Sequence[str], environment: Mapping[str, str], stdin: str = "", encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    """Like `subprocess.run` of the command; the streams are not terminals and have this encoding."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    input_stream = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
    with _replaced(["notify", *arguments], environment, {"stdin": input_stream, **streams}):
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
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except Exception:  # noqa: BLE001 - the interpreter does the same
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def _replaced(arguments: list[str], environment: Mapping[str, str], streams: Mapping[str, TextIO]) -> Iterator[None]:
    """Replace the arguments, environment and streams of the process; restore all process state afterwards."""
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
    for console in (out, err):  # they read the width at creation
        console.width = int(variables.get("COLUMNS", "80"))
    os.environ.clear()
    os.environ.update(variables)
    if os.environ.get("TZ") != zone:
        time.tzset()
