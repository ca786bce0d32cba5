"""Facts about other processes: whether one exists, and whether it is the worker of a home.

Read from `/proc` where it exists, otherwise from `ps`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from syftnotify.system.paths import DEFAULT_HOME, HOME_VARIABLE

WORKER_MODULE = "syftnotify.worker"
_COMMANDS = frozenset({"notify", "syftnotify"})


def is_alive(pid: int) -> bool:
    """Whether a process with this pid exists."""
    if pid <= 0:  # a process group for kill(2)
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def is_worker(pid: int, home: Path, *, default: bool = False) -> bool:
    """Whether `pid` is a worker of `home`, detached or `notify run`; a stored pid may be that of another process.

    Args:
        pid: the process.
        home: the home folder.
        default: the answer for a `notify run` whose environment cannot be read.
    """
    arguments = _command_line(pid)
    is_detached = WORKER_MODULE in arguments
    is_command = "run" in arguments and any(Path(argument).name in _COMMANDS for argument in arguments)
    if not (is_detached or is_command):
        return False
    option = _option_value(arguments, "--home")
    if option:
        # `ps` prints one line of text, which splits a path with blanks: then the line is searched for the path.
        return _resolve(pid, option) == os.path.realpath(home) or f" --home {home} " in f"{' '.join(arguments)} "
    environment = _environment(pid)
    if not environment:
        return default
    default_home = DEFAULT_HOME.replace("~", environment.get("HOME", ""))  # `~` of the other process
    return _resolve(pid, environment.get(HOME_VARIABLE) or default_home) == os.path.realpath(home)


def _option_value(arguments: list[str], name: str) -> str:
    """The last value of an option, given as `--home DIR` or `--home=DIR`; empty if it is not given."""
    value = ""
    for index, argument in enumerate(arguments):
        if argument == name:
            value = next(iter(arguments[index + 1 : index + 2]), "")
        elif argument.startswith(f"{name}="):
            value = argument.partition("=")[2]
    return value


def _resolve(pid: int, path: str) -> str:
    """`path`, relative to the working folder of the process, as an absolute path without symbolic links."""
    with contextlib.suppress(OSError):
        path = str(Path(f"/proc/{pid}/cwd").readlink() / path)
    return os.path.realpath(path)


def _command_line(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    import subprocess  # only where there is no /proc, or the process has just ended

    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments and a number
            ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False
        )
    except OSError:
        return []
    return os.fsdecode(done.stdout).split()


def _environment(pid: int) -> dict[str, str]:
    try:
        content = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes())
    except OSError:
        return {}
    pairs = (item.partition("=") for item in content.split("\0"))
    return {name: value for name, equals, value in pairs if equals}
