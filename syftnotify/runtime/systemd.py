"""How does systemd keep the worker alive? The user unit, and what the worker says to whoever supervises it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from syftnotify.core.errors import NotifyError
from syftnotify.core.text import escape
from syftnotify.system.files import atomic_write, create_private_folder, fingerprint
from syftnotify.system.paths import DEFAULT_HOME, Home, expansion_error, try_expand_path

# A look that takes longer hangs; the first one of a very full tree has until _START_SECONDS.
_WATCHDOG_SECONDS = 600
_START_SECONDS = 3600
_STOP_SECONDS = 150  # a mail call is cut off after 120

_UNIT = """\
[Unit]
Description=syftnotify ({name})
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
# What `env:NAME` in config.yaml means, a NAME=value on each line; need not be there.
EnvironmentFile=-{environment}
ExecStart={python} -P -m syftnotify.worker --home {home}
WatchdogSec={watchdog}
TimeoutStartSec={start}
TimeoutStopSec={stop}
Restart=on-failure
RestartSec=5
# A configuration with mistakes, or another worker: starting again would not help.
RestartPreventExitStatus=2 3
UMask=0077
# What a user's own systemd can enforce without privileges; options that need a mount namespace are left out,
# because they fail where the kernel does not allow users to create one.
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
KeyringMode=private

[Install]
WantedBy=default.target
"""


def say(state: str) -> None:
    """Tell the supervisor, if there is one, how we stand: `READY=1`, `WATCHDOG=1`, `STOPPING=1`.

    Source: sd_notify(3); a datagram to the socket that `NOTIFY_SOCKET` names.
    """
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name or not hasattr(socket, "AF_UNIX"):
        return
    address = f"\0{name[1:]}" if name.startswith("@") else name
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(address)
        channel.send(state.encode("ascii"))


def watchdog_seconds() -> float | None:
    """How often the supervisor wants to hear that we live, at the least; None when nobody asks."""
    try:
        seconds = int(os.environ["WATCHDOG_USEC"]) / 1e6
        meant = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError):
        return None
    return seconds if seconds > 0 and meant == os.getpid() else None


def unit_name(home: Home) -> str:
    """`syftnotify.service` for the usual home; others have a part of their path's fingerprint in it."""
    if home.root == try_expand_path(DEFAULT_HOME):
        return "syftnotify.service"
    return f"syftnotify-{fingerprint(os.fsencode(home.root))[:8]}.service"


def unit_path(home: Home) -> Path:
    """The path of the unit file of `home`.

    Raises:
        NotifyError: there is no folder for the units of this user.
    """
    variable = os.environ.get("XDG_CONFIG_HOME")
    settings = Path(variable) if variable else try_expand_path("~/.config")
    if settings is None:
        raise NotifyError(expansion_error("~/.config"), hint="set HOME or XDG_CONFIG_HOME to the folder for user units")
    return settings / "systemd" / "user" / unit_name(home)


def install(home: Home, *, make_way: Callable[[], None]) -> Path:
    """Write the unit of `home`, start it, and have it started with the session from now on; returns its path.

    `make_way` ends a worker that somebody else started; it is called when systemd is known to answer.

    Raises:
        NotifyError: there is no systemd for this user; nothing was left behind.
    """
    path = unit_path(home)
    text = _UNIT.format(
        name=path.name,
        home=_quoted(str(home.root)),
        # Read as it stands, quotes included; only the percent sign means something.
        environment=str(home.environment).replace("%", "%%"),
        python=_quoted(sys.executable),
        watchdog=_WATCHDOG_SECONDS,
        start=_START_SECONDS,
        stop=_STOP_SECONDS,
    )
    try:
        before = path.read_bytes() if path.exists() else None
        create_private_folder(path.parent)
        atomic_write(path, text.encode("utf-8"), mode=0o644)
    except OSError as error:
        raise NotifyError(f"{path} cannot be written: {error.strerror}", hint="see that its folder is yours") from error
    try:
        _systemctl("daemon-reload")
        _systemctl("enable", path.name)
        make_way()
        _systemctl("restart", path.name)
    except NotifyError:
        if before is None:
            with contextlib.suppress(NotifyError):
                _systemctl("disable", path.name)
            path.unlink(missing_ok=True)
        else:
            atomic_write(path, before, mode=0o644)
        raise
    return path


def uninstall(home: Home) -> Path | None:
    """Stop and forget the unit of `home`; returns where it was, None when there was none.

    Raises:
        NotifyError: systemd does not answer; the unit stays.
    """
    path = unit_path(home)
    if not path.exists():
        return None
    _systemctl("disable", "--now", path.name)
    path.unlink()
    _systemctl("daemon-reload")
    return path


def main_pid(home: Home) -> int | None:
    """The pid of the worker that systemd started for `home`, if it runs one."""
    try:
        pid = int(_systemctl("show", "--property=MainPID", "--value", unit_name(home)))
    except (NotifyError, ValueError):
        return None
    return pid or None


def _systemctl(*words: str) -> str:
    """What systemctl says. Raises: NotifyError."""
    program = shutil.which("systemctl")
    hint = "without systemd, let cron run `notify ensure` every few minutes"
    if program is None:
        raise NotifyError("there is no systemd here", hint=hint)
    done = subprocess.run(  # noqa: S603 - a fixed program and our own words
        [program, "--user", *words], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise NotifyError(f"`systemctl --user {' '.join(words)}` failed: {said}", hint=hint)
    return done.stdout.strip()


def _quoted(word: str) -> str:
    """One word of a unit file, taken as it is. Source: systemd.service(5), "Command lines".

    Raises:
        NotifyError: it holds what would end the line.
    """
    if not word.isprintable():
        raise NotifyError(f"{escape(word)} cannot stand in a unit file", hint="choose a plainer path for `--home`")
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"'
