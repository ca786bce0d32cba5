"""A systemctl that records its calls, and unit files as systemd reads them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests import in_process
from tests.support import TIMEOUT, Box

# Records its arguments, one call a line; fails at the argument in FAILS_AT; `show` prints MAIN_PID, of any unit or of
# MAIN_UNIT, and `list-units` UNITS.
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> "$CALLS"
for word in "$@"; do
    if [ "$word" = "$FAILS_AT" ]; then
        echo "Failed to connect to bus: No medium found" >&2
        exit 1
    fi
    if [ "$word" = show ]; then
        for last in "$@"; do :; done
        if [ "${MAIN_UNIT:-$last}" = "$last" ]; then echo "$MAIN_PID"; else echo 0; fi
    fi
    if [ "$word" = list-units ]; then
        echo "$UNITS"
    fi
done
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A box whose user has a systemctl that only records its calls."""

    box: Box

    def notify(self, *arguments: str, check: int) -> subprocess.CompletedProcess[str]:
        """Run a command in this process; `check` is the expected exit code."""
        done = in_process.run(arguments, self.box.environment())
        assert done.returncode == check, f"{done.stdout}\n{done.stderr}"
        return done

    @property
    def calls(self) -> list[str]:
        """The arguments of each call."""
        path = Path(self.box.env["CALLS"])
        return path.read_text().splitlines() if path.exists() else []

    @property
    def units(self) -> list[Path]:
        """The unit files of this user."""
        return sorted((self.box.folder / ".config" / "systemd" / "user").glob("*"))

    @property
    def unit(self) -> Path:
        (one,) = self.units
        return one

    def fails_at(self, argument: str) -> None:
        self.box.env["FAILS_AT"] = argument


def exec_start(unit: Path) -> list[str]:
    """The arguments of ExecStart, unquoted as systemd.service(5) defines."""
    (line,) = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    arguments = shlex.split(line.removeprefix("ExecStart="))
    return [word.replace("%%", "%").replace("$$", "$") for word in arguments]


def parsed_by_systemd(unit: Path) -> list[str] | None:
    """The arguments of ExecStart as systemd parses them, before it expands variables; None where it is not present."""
    output = verified(unit, SYSTEMD_LOG_LEVEL="debug")
    if output is None:
        return None
    (line,) = [line for line in output.stdout.splitlines() if "Command Line: " in line]
    arguments = shlex.split(line.partition("Command Line: ")[2].replace("\\$", "$"))
    return [word.replace("$$", "$") for word in arguments]


def verified(unit: Path, **environment: str) -> subprocess.CompletedProcess[str] | None:
    """The result of `systemd-analyze verify` for a user's unit; None where it is not installed."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return None
    # It finds no units in the user's folders. The paths of sockets must be short.
    with tempfile.TemporaryDirectory(prefix="sn-", dir="/tmp") as nothing:
        places = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), nothing)
        return subprocess.run(
            [program, "--user", "--man=no", "verify", str(unit)],
            env={**os.environ, **places, **environment},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
