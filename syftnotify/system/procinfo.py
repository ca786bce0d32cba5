"""Facts about other processes: whether one is alive, and whether it is a worker of a home.

From `/proc` where it exists, otherwise from `ps`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

WORKER_MODULE = "syftnotify.worker"
_COMMANDS = frozenset({"notify", "syftnotify"})


def is_alive(pid: int) -> bool:
    """Whether a process of that number exists."""
    if pid <= 0:  # for kill(2) a group of processes
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def is_worker(pid: int, home: Path, *, default: bool = False) -> bool:
    """Whether `pid` is a worker of `home`: detached, or `notify run`. A pid in a file may belong to another process.

    Args:
        pid: the process.
        home: the folder of the worker.
        if_unclear: the answer for a `notify run` whose environment cannot be read.
    """
    words = _command_of(pid)
    is_detached = WORKER_MODULE in words
    if not is_detached and not ("run" in words and any(Path(word).name in _COMMANDS for word in words)):
        return False
    given = _option(words, "--home")
    if given:
        # `ps` prints one line of text: a path with blanks in it is in pieces, and is only searched for.
        return _resolved(pid, given) == os.path.realpath(home) or f" --home {home} " in f"{' '.join(words)} "
    environment = _environment_of(pid)
    if not environment:
        return default
    usual = os.path.join(environment.get("HOME", ""), ".syft-creds")  # noqa: PTH118 - the other process's `~`
    return _resolved(pid, environment.get("SYFTNOTIFY_HOME") or usual) == os.path.realpath(home)


def _option(words: list[str], name: str) -> str:
    """The last value of an option, as `--home DIR` or `--home=DIR`; empty if it is not given."""
    found = ""
    for index, word in enumerate(words):
        if word == name:
            found = next(iter(words[index + 1 : index + 2]), "")
        elif word.startswith(f"{name}="):
            found = word.partition("=")[2]
    return found


def _resolved(pid: int, place: str) -> str:
    """`place` as the process sees it, without symbolic links."""
    with contextlib.suppress(OSError):
        place = str(Path(f"/proc/{pid}/cwd").readlink() / place)
    return os.path.realpath(place)


def _command_of(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    import subprocess  # only where there is no /proc

    try:
        shown = subprocess.run(  # noqa: S603 - fixed words and a number
            ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False
        )
    except OSError:
        return []
    return os.fsdecode(shown.stdout).split()


def _environment_of(pid: int) -> dict[str, str]:
    try:
        content = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes())
    except OSError:
        return {}
    pairs = (item.partition("=") for item in content.split("\0"))
    return {name: value for name, equals, value in pairs if equals}
