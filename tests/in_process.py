"""Runs the command line in this process: the same `main`, with its own arguments, environment and streams."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from syftnotify.cli.app import main


def run(words: Sequence[str], environment: Mapping[str, str], typed: str = "") -> subprocess.CompletedProcess[str]:
    """Like `subprocess.run` of the command with text streams that are not terminals."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for name in ("stdout", "stderr")}
    stdin = io.TextIOWrapper(io.BytesIO(typed.encode()), encoding="utf-8")
    with _replaced(["notify", *words], environment, {"stdin": stdin, **streams}):
        code = _exit_code()
    texts = {}
    for name, stream in streams.items():
        stream.flush()
        binary = stream.detach()
        assert isinstance(binary, io.BytesIO)
        texts[name] = binary.getvalue().decode()
    return subprocess.CompletedProcess(list(words), code, texts["stdout"], texts["stderr"])


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
def _replaced(
    arguments: list[str], environment: Mapping[str, str], streams: Mapping[str, io.TextIOWrapper]
) -> Iterator[None]:
    """Replace what belongs to a process, and put it back."""
    root = logging.getLogger()
    before = {name: getattr(sys, name) for name in ("argv", *streams)}
    handlers, level, variables, folder = list(root.handlers), root.level, dict(os.environ), os.open(".", os.O_RDONLY)
    umask = os.umask(0o022)
    root.handlers = []  # a command configures logging only where nothing has yet
    try:
        for name, value in {"argv": arguments, **streams}.items():
            setattr(sys, name, value)
        os.environ.clear()
        os.environ.update(environment)
        yield
    finally:
        for name, value in before.items():
            setattr(sys, name, value)
        os.environ.clear()
        os.environ.update(variables)
        for handler in root.handlers:
            handler.close()
        root.handlers, root.level = handlers, level
        os.umask(umask)
        os.fchdir(folder)
        os.close(folder)
