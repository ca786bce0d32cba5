"""Homes and configuration that others own or can change are refused before anything is read."""

from __future__ import annotations

import json
import os
import pwd
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from syftnotify.core.errors import UnsafeHomeError
from syftnotify.monitors import JobMonitor
from syftnotify.runtime.opening import state_access
from syftnotify.services.doctor.checks import run_checks
from syftnotify.services.doctor.findings import Level
from syftnotify.services.settings import load
from syftnotify.sources.spool import emit
from syftnotify.system import worker_lock
from syftnotify.system.ownership import check_home
from tests.other_user import NOBODY
from tests.support import ANA, OWNER, Box
from tests.trees import TREES, Disk

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


COMMANDS = [
    ("status",),
    ("logs",),
    ("start",),
    ("stop",),
    ("restart",),
    ("run",),
    ("run", "--once"),
    ("run", "--dry-run"),
    ("ensure",),
    ("install",),
    ("uninstall",),
    ("init", "--email", OWNER, "--no-test"),
    ("dead-letters",),
    ("resend", "--all-dead"),
    ("history",),
    ("why", "survey"),
    ("prune",),
    ("preview", "new_job"),
    ("doctor",),
    ("emit", "job_failed", "--entity", "run/1"),
    ("test",),
    ("alerts", "add", "--job", "x", "--email", OWNER),
    ("alerts", "list"),
    ("alerts", "rm", "1"),
    ("secret", "set", "smtp"),
]


def content(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Owner, mode and time of change of everything in a folder."""
    return {
        str(path.relative_to(folder)): (found.st_uid, found.st_mode, found.st_ctime_ns)
        for path in folder.rglob("*")
        if (found := path.lstat())
    }


# -- root ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_root_in_the_home_of_another_user_is_refused(foreign_box: Box, arguments: tuple[str, ...]) -> None:
    """C7: every command, before it reads or writes anything there."""
    before = content(foreign_box.folder)

    done = foreign_box.notify(*arguments, check=2, stdin="hush\n")

    assert f"{foreign_box.home.root} belongs to {pwd.getpwuid(NOBODY).pw_name}" in done.stderr
    assert f"`notify --as-owner --home {shlex.quote(str(foreign_box.home.root))} ...`" in done.stderr
    assert content(foreign_box.folder) == before


def test_python_api_refuses_root_in_the_home_of_another_user(foreign_box: Box) -> None:
    """C7."""
    before = content(foreign_box.folder)

    for call in (
        lambda: emit("job_failed", "run/1", home=foreign_box.home.root),
        JobMonitor(foreign_box.home.root).check,
    ):
        with pytest.raises(UnsafeHomeError, match="root must not work there"):
            call()

    assert content(foreign_box.folder) == before


@pytest.mark.parametrize("arguments", [("status",), ("run", "--once"), ("start",), ("alerts", "list")], ids=" ".join)
def test_root_creating_a_home_for_another_user_is_refused(foreign_box: Box, arguments: tuple[str, ...]) -> None:
    """C12: its later owner could not use it."""
    fresh = foreign_box.home.root / "sub" / "home"

    done = foreign_box.notify("--home", str(fresh), *arguments, check=2)

    assert f"{foreign_box.home.root} belongs to" in done.stderr
    assert not fresh.parent.exists()


def test_as_owner_in_the_own_home_changes_nothing(box: Box) -> None:
    """C7."""
    box.notify("--as-owner", "run", "--once", check=0)

    assert box.home.outbox.stat().st_uid == os.geteuid()


# -- others who can write ------------------------------------------------------------------------------------------


WRITING = [
    ("start",),
    ("run",),
    ("run", "--once"),
    ("ensure",),
    ("init", "--interval", "20", "--no-test"),
    ("emit", "job_failed", "--entity", "run/1"),
    ("alerts", "add", "--job", "x", "--email", OWNER),
    ("secret", "set", "smtp"),
    ("preview", "new_job"),
]


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [*((arguments, 0o777) for arguments in WRITING), *((("start",), mode) for mode in (0o770, 0o702, 0o1777))],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else f"{value:04o}",
)
def test_home_writable_by_others_is_refused(box: Box, arguments: tuple[str, ...], mode: int) -> None:
    """C7: the error names the command that fixes it."""
    box.home.root.chmod(mode)
    before = content(box.folder)

    done = box.notify(*arguments, check=2, stdin="hush\n")

    assert f"others can write to {box.home.root} (mode {mode:04o})" in done.stderr
    assert f"`chmod 700 {shlex.quote(str(box.home.root))}`" in done.stderr
    assert content(box.folder) == before


def elsewhere(box: Box) -> Path:
    folder = box.folder / "elsewhere"
    folder.mkdir(exist_ok=True)
    return folder


def writable_config(box: Box) -> Path:
    box.home.config.chmod(0o660)
    return box.home.config


def writable_environment(box: Box) -> Path:
    box.home.environment.write_text("LD_PRELOAD=/tmp/x.so\n")
    box.home.environment.chmod(0o602)
    return box.home.environment


def writable_templates(box: Box) -> Path:
    box.home.templates.mkdir()
    box.home.templates.chmod(0o777)
    return box.home.templates


def writable_folder_of_templates(box: Box) -> Path:
    folder = box.home.templates / "emails"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    return folder


def writable_template(box: Box) -> Path:
    path = box.home.templates / "emails" / "new_job.html"
    path.parent.mkdir(parents=True)
    path.write_text("{{ job_name }}")
    path.chmod(0o666)
    return path


def link_to_a_writable_template(box: Box) -> Path:
    path = box.home.templates / "emails" / "new_job.html"
    path.parent.mkdir(parents=True)
    real = elsewhere(box) / "new_job.html"
    real.write_text("{{ job_name }}")
    real.chmod(0o666)
    path.symlink_to(real)
    return path


def link_into_a_writable_folder(box: Box) -> Path:
    real = elsewhere(box) / "config.yaml"
    box.home.config.rename(real)
    box.home.config.symlink_to(real)
    real.parent.chmod(0o777)
    return real.parent


def linked_folder_of_templates(box: Box) -> Path:
    path = elsewhere(box) / "emails" / "new_job.txt"
    path.parent.mkdir()
    path.write_text("{{ job_name }}")
    path.chmod(0o666)
    box.home.templates.mkdir()
    (box.home.templates / "emails").symlink_to(path.parent)
    (path.parent / "round").symlink_to(path.parent)
    return box.home.templates / "emails" / "new_job.txt"


WRITABLE = [
    writable_config,
    writable_environment,
    writable_templates,
    writable_folder_of_templates,
    writable_template,
    link_to_a_writable_template,
    link_into_a_writable_folder,
    linked_folder_of_templates,
]


@pytest.mark.parametrize("make", WRITABLE, ids=lambda each: each.__name__)
def test_configuration_writable_by_others_is_refused(box: Box, make: Callable[[Box], Path]) -> None:
    """C7: the error names each file and the command that fixes it."""
    path = make(box)

    done = box.notify("run", "--once", check=2)

    mode = path.stat().st_mode & 0o777
    assert (
        f"{path} can be written by others (mode {mode:04o}): run `chmod go-w {shlex.quote(str(path))}`" in done.stderr
    )
    assert not worker_lock.is_held(box.home)


@only_root
@pytest.mark.parametrize("name", ["config.yaml", "templates", "templates/emails/new_job.html", "environment"])
def test_configuration_of_another_user_is_refused(box: Box, name: str) -> None:
    """C7: its owner can change it."""
    (box.home.templates / "emails").mkdir(parents=True)
    (box.home.templates / "emails" / "new_job.html").touch()
    box.home.environment.touch()
    path = box.home.root / name
    os.chown(path, NOBODY, NOBODY)

    done = box.notify("run", "--once", check=2)

    assert f"{path} belongs to {pwd.getpwuid(NOBODY).pw_name}: run `chown root {shlex.quote(str(path))}`" in done.stderr


@only_root
def test_secrets_of_another_user_are_a_warning(box: Box) -> None:
    """C7: they run no code."""
    box.home.credentials.write_text("{}")
    os.chown(box.home.credentials, NOBODY, NOBODY)

    done = box.notify("run", "--once", check=0)

    assert f"{box.home.credentials} belongs to" in done.stderr


@pytest.mark.parametrize("change", ["chmod", pytest.param("chown", marks=only_root)])
def test_transport_files_others_can_change_are_a_warning(box: Box, change: str) -> None:
    """C7."""
    mail = {"type": "smtp", "host": "mail.example", "user": "u", "password": "file:pw", "ca_file": "ca.pem"}
    box.configure({"transports": {"mail": mail}})
    for name in ("pw", "ca.pem"):
        path = box.home.root / name
        path.write_text("secret\n")
        path.chmod(0o600)
    assert not [each for each in load(box.home).warnings if "ca.pem" in each or "/pw" in each]
    for name in ("pw", "ca.pem"):
        path = box.home.root / name
        path.chmod(0o666) if change == "chmod" else os.chown(path, NOBODY, -1)

    found = load(box.home).warnings

    output = "can be written by others" if change == "chmod" else "belongs to nobody"
    for name in ("pw", "ca.pem"):
        assert any(f"{box.home.root / name} {output}" in each for each in found)


@only_root
@pytest.mark.parametrize("name", ["state.json", "outbox.db"])
def test_doctor_names_state_of_another_user(box: Box, name: str) -> None:
    """C12."""
    box.configure()
    box.scan()
    os.chown(box.home.root / name, NOBODY, -1)

    checks = run_checks(box.home, state_access(box.home))
    found = [each for each in checks if each.text == f"{box.home.root / name} belongs to nobody"]

    assert [(each.check, each.level, each.advice) for each in found] == [
        ("home", Level.WARN, f"`sudo chown root {shlex.quote(str(box.home.root / name))}`")
    ]


def test_home_in_a_sticky_folder_is_accepted(tmp_path: Path) -> None:
    """C7: as below /tmp, where no other user can rename it."""
    tmp_path.chmod(0o1777)
    box = Box(tmp_path)
    box.configure()

    check_home(box.home)


def test_template_using_internals_holds_back_its_mail_only(box: Box) -> None:
    """C7: the error is stored with the notification."""
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.scan()
    path = box.home.templates / "emails" / "new_job.html"
    path.parent.mkdir(parents=True)
    path.write_text("{{ job_name.__class__.__mro__ }}")
    tree.submit("survey", ANA)
    box.scan()

    assert [mail.sent for mail in box.mails()] == [("job_submitted", "submitter", ANA)]
    (waiting,) = json.loads(box.notify("history", "--state", "pending", "--json", check=0).stdout)
    assert waiting["recipient"] == OWNER
    assert "the template cannot be used: access to attribute '__class__'" in waiting["reason"]
