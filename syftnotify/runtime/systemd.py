"""The worker as a systemd user service: the unit file, and notifications to the service manager."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from syftnotify.core.errors import NotifyError
from syftnotify.core.text import escape
from syftnotify.system import worker_lock
from syftnotify.system.files import atomic_write, create_private_folder, fingerprint
from syftnotify.system.paths import DEFAULT_HOME, Home, expansion_error, try_expand_path

TEMPLATE_NAME = "syftnotify@.service"
_WATCHDOG_SECONDS = 600  # systemd restarts a worker whose scan takes longer
_START_SECONDS = 3600  # limit of the first scan, which takes long in a very large tree
_STOP_SECONDS = 150  # longer than an attempt to send a mail, which ends after 120 seconds

_UNIT = """\
[Unit]
Description=syftnotify ({name})
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
# Values of `env:NAME` in config.yaml: one NAME=value per line. The file is optional.
EnvironmentFile=-{environment}
ExecStart={python} -P -m syftnotify.worker --home {home}
WatchdogSec={watchdog}
TimeoutStartSec={start}
TimeoutStopSec={stop}
Restart=on-failure
RestartSec=5
# 2: the configuration has errors. 3: another worker is running. A restart would not help.
RestartPreventExitStatus=2 3
UMask=0077
# Restrictions that a user's systemd can enforce without privileges. Options that need a mount namespace are left out,
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


def sd_notify(state: str) -> None:
    """Send a state such as `READY=1`, `WATCHDOG=1` or `STOPPING=1` to the service manager, if there is one.

    Source: sd_notify(3): one datagram to the socket named by `NOTIFY_SOCKET`.
    """
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name or not hasattr(socket, "AF_UNIX"):
        return
    address = f"\0{name[1:]}" if name.startswith("@") else name
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(address)
        channel.send(state.encode("ascii"))


def watchdog_seconds() -> float | None:
    """The longest time between two `WATCHDOG=1`; None if the service manager does not expect them.

    Source: sd_watchdog_enabled(3).
    """
    try:
        seconds = int(os.environ["WATCHDOG_USEC"]) / 1e6
        pid = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError):
        return None
    return seconds if seconds > 0 and pid == os.getpid() else None


def unit_name(home: Home) -> str:
    """`syftnotify.service` for the default home; for others `syftnotify-<hash of the path>.service`."""
    if home.root == try_expand_path(DEFAULT_HOME):
        return "syftnotify.service"
    return f"syftnotify-{fingerprint(os.fsencode(home.root))[:8]}.service"


def unit_path(home: Home) -> Path:
    """The path of the unit file of `home`.

    Raises:
        NotifyError: the user has no home directory.
    """
    return _unit_folder() / unit_name(home)


def _unit_folder() -> Path:
    variable = os.environ.get("XDG_CONFIG_HOME")
    config_folder = Path(variable) if variable else try_expand_path("~/.config")
    if config_folder is None:
        raise NotifyError(expansion_error("~/.config"), hint="set HOME or XDG_CONFIG_HOME")
    return config_folder / "systemd" / "user"


def install(home: Home, *, stop_other_worker: Callable[[], None]) -> Path:
    """Write the unit of `home`, start it, and enable it for later sessions; returns its path.

    `stop_other_worker` stops a worker that systemd did not start. It is called when systemd has loaded the unit.

    Raises:
        NotifyError: systemd is not available for this user; an earlier unit is restored.
    """
    path = unit_path(home)
    # The path of the environment is not unquoted by systemd; only the percent sign has a meaning in it.
    environment = str(home.environment).replace("%", "%%")
    text = _unit_text(unit_name(home), home=_quoted(str(home.root)), environment=environment)
    earlier = _write_unit(path, text)
    try:
        _systemctl("daemon-reload")
        _systemctl("enable", path.name)
        stop_other_worker()
        _systemctl("restart", path.name)
    except NotifyError:
        _restore(path, earlier)
        raise
    return path


def install_template() -> Path:
    """Write `syftnotify@.service`, of which each instance is the worker of another home; returns its path.

    Raises:
        NotifyError: systemd is not available for this user, or the file cannot be written.
    """
    path = _unit_folder() / TEMPLATE_NAME
    # systemd replaces `%f` by the path that is the name of the instance, and splits the command before.
    text = _unit_text("%f", home='"%f"', environment=f"%f/{Home(Path()).environment.name}")
    _write_unit(path, text)
    _systemctl("daemon-reload")
    return path


def _write_unit(path: Path, text: str) -> bytes | None:
    """Write a unit file; returns what it contained before, None if there was none. Raises: NotifyError."""
    try:
        earlier = path.read_bytes() if path.exists() else None
        create_private_folder(path.parent)
        atomic_write(path, text.encode("utf-8"), mode=0o644)
    except OSError as error:
        raise NotifyError(
            f"{path} cannot be written: {error.strerror}", hint="make sure that its folder is yours"
        ) from error
    return earlier


def _unit_text(name: str, *, home: str, environment: str) -> str:
    return _UNIT.format(
        name=name,
        home=home,
        environment=environment,
        python=_quoted(sys.executable),
        watchdog=_WATCHDOG_SECONDS,
        start=_START_SECONDS,
        stop=_STOP_SECONDS,
    )


def _restore(path: Path, earlier: bytes | None) -> None:
    """Restore the unit that existed before; remove the new one if there was none."""
    if earlier is not None:
        atomic_write(path, earlier, mode=0o644)
        with contextlib.suppress(NotifyError):
            _systemctl("daemon-reload")
        return
    with contextlib.suppress(NotifyError):
        _systemctl("disable", path.name)
    path.unlink(missing_ok=True)


def uninstall(home: Home) -> Path | None:
    """Stop, disable and remove the unit of `home`; returns its path, or None if there was none.

    Raises:
        NotifyError: a call of systemctl failed; the unit stays.
    """
    path = unit_path(home)
    if not path.exists():
        return None
    disable(path.name)
    path.unlink()
    _systemctl("daemon-reload")
    return path


def uninstall_template() -> Path | None:
    """Stop the workers of `syftnotify@.service`, and remove it; returns its path, or None if there was none.

    Raises:
        NotifyError: a call of systemctl failed; the unit stays.
    """
    path = _unit_folder() / TEMPLATE_NAME
    if not path.exists():
        return None
    pattern = TEMPLATE_NAME.replace("@", "@*")
    for line in _systemctl("list-units", "--all", "--plain", "--no-legend", pattern).splitlines():
        disable(line.split()[0])
    path.unlink()
    _systemctl("daemon-reload")
    return path


def running_unit(home: Home) -> str | None:
    """The name of the unit by which systemd runs the worker of `home`; None if it does not."""
    pid = worker_lock.holder_pid(home)
    if pid is None:
        return None
    with contextlib.suppress(NotifyError, ValueError):  # without a home directory or systemd there is no unit
        for name in _unit_names(home):
            if int(_systemctl("show", "--property=MainPID", "--value", name)) == pid:
                return name
    return None


def _unit_names(home: Home) -> Iterator[str]:
    """The installed units that may run the worker of `home`. Raises: NotifyError."""
    if unit_path(home).exists():
        yield unit_name(home)
    if (_unit_folder() / TEMPLATE_NAME).exists():
        yield _run("systemd-escape", "--path", f"--template={TEMPLATE_NAME}", str(home.root))


def disable(unit: str) -> None:
    """Stop `unit`, and do not start it with later sessions. Raises: NotifyError."""
    _systemctl("disable", "--now", unit)


def restart(unit: str) -> None:
    """Restart the worker of `unit`; returns when it is ready. Raises: NotifyError."""
    _systemctl("restart", unit)


def _systemctl(*arguments: str) -> str:
    """The output of `systemctl --user`. Raises: NotifyError."""
    return _run("systemctl", "--user", *arguments)


def _run(program: str, *arguments: str) -> str:
    """The output of a program of systemd. Raises: NotifyError."""
    path = shutil.which(program)
    hint = "without systemd, let cron run `notify ensure` every few minutes"
    if path is None:
        raise NotifyError(f"{program} was not found", hint=hint)
    done = subprocess.run(  # noqa: S603 - no shell; the arguments are verbs and units of this module
        [path, *arguments], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        output = done.stderr.strip() or f"exit code {done.returncode}"
        raise NotifyError(f"`{program} {' '.join(arguments)}` failed: {output}", hint=hint)
    return done.stdout.strip()


def _quoted(argument: str) -> str:
    """An argument of a command line in a unit file, quoted. Source: systemd.service(5), "Command lines".

    Raises:
        NotifyError: it contains a character that would end the line.
    """
    if not argument.isprintable():
        raise NotifyError(
            f"{escape(argument)} contains characters that a unit file cannot contain",
            hint="choose another folder with `--home`",
        )
    plain = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"'
