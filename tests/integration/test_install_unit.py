"""The systemd unit that `notify install` writes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.integration.systemd_units import Session, exec_start, parsed_by_systemd, verified

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


@pytest.mark.thorough
def test_unit_passes_systemd_analyze_verify(session: Session) -> None:
    """B07."""
    session.notify("install", check=0)

    output = verified(session.unit)

    if output is None:
        pytest.skip("there is no systemd-analyze")
    assert (output.returncode, output.stdout, output.stderr) == (0, "", "")
