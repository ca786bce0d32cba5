"""`notify install` and `uninstall` with a recorded systemctl, in this process."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from syftnotify.system import worker_lock
from tests import in_process
from tests.support import OWNER, PATIENCE, Box
from tests.workers import start_worker, worker_pid

# Records its arguments, one call a line; fails at the argument in FAILS_AT; `show` prints MAIN_PID.
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> "$CALLS"
for word in "$@"; do
    if [ "$word" = "$FAILS_AT" ]; then
        echo "Failed to connect to bus: No medium found" >&2
        exit 1
    fi
    if [ "$word" = show ]; then
        echo "$MAIN_PID"
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


@pytest.fixture
def session(box: Box) -> Session:
    program = box.folder / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    box.env |= {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(box.folder / "calls"),
        "FAILS_AT": "",
        "MAIN_PID": "0",
        "XDG_CONFIG_HOME": "",
    }
    return Session(box)


UNIT_LINES = [
    "Type=notify",
    "Restart=on-failure",
    "RestartPreventExitStatus=2 3",
    "StartLimitIntervalSec=0",
    "UMask=0077",
    "WantedBy=default.target",
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
]
NEEDING_PRIVILEGES = ("Protect", "Private", "CapabilityBoundingSet", "ReadWritePaths", "Device", "User")


def test_unit_is_supervised_private_and_hardened(session: Session) -> None:
    """B07, C13: an option that a user's systemd cannot enforce would keep the worker from starting."""
    session.notify("install", check=0)

    lines = session.unit.read_text().splitlines()
    assert [line for line in UNIT_LINES if line not in lines] == []
    assert [line for line in lines if line.startswith(NEEDING_PRIVILEGES)] == []
    assert any(line.startswith("WatchdogSec=") for line in lines)
    assert f"EnvironmentFile=-{session.box.home.root / 'environment'}" in lines
    assert f'ExecStart="{sys.executable}" -P -m syftnotify.worker --home "{session.box.home.root}"' in lines


def test_install_writes_enables_and_starts_a_unit(session: Session) -> None:
    """B07."""
    done = session.notify("install", check=0)

    name = session.unit.name
    assert session.calls == ["--user daemon-reload", f"--user enable {name}", f"--user restart {name}"]
    assert str(session.unit) in done.stdout
    assert "enable-linger" in done.stdout
    assert done.stderr == ""
    assert stat.S_IMODE(session.unit.stat().st_mode) == 0o644


@pytest.mark.thorough
def test_unit_exposure_is_medium_for_systemd_analyze(session: Session) -> None:
    """C13: 9.4 (unsafe) without the restrictions, on the scale of `systemd-analyze security`."""
    session.notify("install", check=0)
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze")

    done = subprocess.run(
        [program, "security", "--offline=true", "--threshold=65", "--no-pager", str(session.unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "offline" in done.stderr:
        pytest.skip("this systemd-analyze measures no file")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("variable", ["", "settings"])
def test_unit_of_the_default_home_is_in_the_config_folder(session: Session, variable: str) -> None:
    """B07: `syftnotify.service`."""
    box = session.box
    home = box.folder / ".syft-creds"
    shutil.copytree(box.home.root, home)
    box.env |= {"SYFTNOTIFY_HOME": "", "XDG_CONFIG_HOME": str(box.folder / variable) if variable else ""}

    session.notify("install", check=0)

    place = box.folder / (variable or ".config") / "systemd" / "user" / "syftnotify.service"
    assert f'--home "{home}"' in place.read_text()
    assert session.calls[-1] == "--user restart syftnotify.service"


def test_install_two_homes_have_two_stable_units(session: Session) -> None:
    """B07."""
    elsewhere = session.box.folder / "elsewhere"
    shutil.copytree(session.box.home.root, elsewhere)

    session.notify("install", check=0)
    first = session.unit
    session.notify("install", "--home", str(elsewhere), check=0)
    session.notify("install", check=0)

    assert len(session.units) == 2
    assert all(unit.name.startswith("syftnotify-") and unit.suffix == ".service" for unit in session.units)
    (second,) = set(session.units) - {first}
    assert str(elsewhere) in second.read_text()
    assert str(elsewhere) not in first.read_text()


@pytest.mark.parametrize(
    "name",
    [
        "with blanks  in it",
        "double\"quotes'single",
        "per%cent %h %%",
        "$HOME ${HOME} $$",
        "back\\slash\\n",
        "; # é ü 漢",
    ],
)
def test_unit_quotes_any_path_of_the_home(session: Session, name: str) -> None:
    """B07, X11: where systemd is present, as it reads the unit."""
    home = session.box.folder / name
    shutil.copytree(session.box.home.root, home)

    session.notify("install", "--home", str(home), check=0)

    arguments = [sys.executable, "-P", "-m", "syftnotify.worker", "--home", str(home)]
    assert exec_start(session.unit) == arguments
    assert parsed_by_systemd(session.unit) in (arguments, None)


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
            timeout=PATIENCE,
            check=False,
        )


@pytest.mark.thorough
def test_unit_passes_systemd_analyze_verify(session: Session) -> None:
    """B07."""
    session.notify("install", check=0)

    output = verified(session.unit)

    if output is None:
        pytest.skip("there is no systemd-analyze")
    assert (output.returncode, output.stdout, output.stderr) == (0, "", "")


def test_install_again_rewrites_the_unit(session: Session) -> None:
    """B07: after an upgrade, or with another interpreter."""
    session.notify("install", check=0)
    before = session.unit.read_bytes()
    session.unit.write_bytes(before.replace(b"syftnotify.worker", b"syftnotify.old"))

    session.notify("install", check=0)

    assert session.unit.read_bytes() == before
    assert session.calls[3:] == session.calls[:3]


def test_install_stops_a_worker_started_by_hand(session: Session) -> None:
    """B07: also where the unit exists already."""
    session.notify("install", check=0)
    session.notify("start", check=0)

    pid = worker_pid(session.box)
    done = session.notify("install", check=0)

    assert f"worker stopped (pid {pid})" in done.stdout
    assert not worker_lock.is_held(session.box.home)


def test_install_leaves_the_worker_of_the_unit_to_systemd(session: Session) -> None:
    """B07: `systemctl restart` replaces it."""
    session.notify("install", check=0)
    session.box.env["MAIN_PID"] = str(os.getpid())

    with worker_lock.acquire(session.box.home):
        session.notify("install", check=0)

    assert session.calls[-1] == f"--user restart {session.unit.name}"


@pytest.mark.parametrize("word", ["daemon-reload", "enable", pytest.param("restart", marks=pytest.mark.thorough)])
def test_install_failing_systemctl_leaves_no_unit(session: Session, word: str) -> None:
    """B07: exit code 1, with the error of systemctl and the alternative; the worker runs on."""
    session.fails_at(word)
    is_real = word == "restart"  # by then the other worker was stopped, and must be started again
    if is_real:
        start_worker(session.box)

    with contextlib.nullcontext() if is_real else worker_lock.acquire(session.box.home):
        done = session.notify("install", check=1)
        assert worker_lock.is_held(session.box.home)

    assert "Failed to connect to bus" in done.stderr
    assert f"systemctl --user {word}" in done.stderr
    assert "notify ensure" in done.stderr
    assert "Traceback" not in done.stderr
    assert session.units == []


@pytest.mark.parametrize("word", ["daemon-reload", "enable", "restart"])
def test_install_failing_systemctl_restores_the_earlier_unit(session: Session, word: str) -> None:
    """B07."""
    session.notify("install", check=0)
    session.unit.write_text("[Unit]\nDescription=mine\n")
    session.fails_at(word)

    session.notify("install", check=1)

    assert session.unit.read_text() == "[Unit]\nDescription=mine\n"
    assert session.calls[-1] == "--user daemon-reload"  # systemd has read the new unit


def test_install_unusable_unit_folder_is_exit_one(session: Session) -> None:
    """B07: the running worker is left alone."""
    (session.box.folder / ".config").write_text("mine\n")

    with worker_lock.acquire(session.box.home):
        done = session.notify("install", check=1)

    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert session.calls == []


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_install_without_systemctl_recommends_cron(session: Session, command: str) -> None:
    """B07."""
    if command == "uninstall":
        session.notify("install", check=0)
    empty = session.box.folder / "empty"
    empty.mkdir()
    session.box.env["PATH"] = str(empty)

    done = session.notify(command, check=1)

    assert "systemctl was not found" in done.stderr
    assert "notify ensure" in done.stderr
    assert len(session.units) == (command == "uninstall")


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        ("do_email: nobody\n", "do_email: expected a mail address"),
        ("do_email: [\n", "line 2"),
        (f"do_email: {OWNER}\n", "sign in with `notify init`"),
    ],
    ids=["mistake", "no YAML", "no sign-in"],
)
def test_install_unusable_config_is_exit_two(session: Session, config: str, arguments: str) -> None:
    """B07, S15: nothing is written, and systemctl is not called."""
    session.box.home.config.write_text(config)

    done = session.notify("install", check=2)

    assert arguments in done.stderr
    assert session.units == []
    assert session.calls == []


def test_uninstall_stops_the_worker_and_removes_the_unit(session: Session) -> None:
    """B07."""
    session.notify("install", check=0)
    unit = session.unit
    made = len(session.calls)

    done = session.notify("uninstall", check=0)

    assert session.calls[made:] == [f"--user disable --now {unit.name}", "--user daemon-reload"]
    assert session.units == []
    assert str(unit) in done.stdout


def test_uninstall_without_a_unit_calls_nothing(session: Session) -> None:
    """B07."""
    done = session.notify("uninstall", check=0)

    assert "nothing was installed" in done.stdout
    assert session.calls == []


def test_uninstall_keeps_the_unit_of_another_home(session: Session) -> None:
    """B07."""
    session.notify("install", check=0)

    session.notify("uninstall", "--home", str(session.box.folder / "elsewhere"), check=0)

    assert session.unit.exists()


def test_uninstall_failing_systemctl_keeps_the_unit(session: Session) -> None:
    """B07."""
    session.notify("install", check=0)
    session.fails_at("disable")

    done = session.notify("uninstall", check=1)

    assert "Failed to connect to bus" in done.stderr
    assert session.unit.exists()
