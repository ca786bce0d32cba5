"""Ownership checks of a home.

A user who can write to the home, to `config.yaml` or to a template decides what is sent in the owner's name. These are
refused unless they belong to the user (or to root, for files that an administrator deploys) and no other user can write
to them. For other files a warning is enough.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from syftnotify.core.errors import ConfigError, NotifyError, UnsafeHomeError
from syftnotify.system.paths import Home
from syftnotify.system.permissions import WRITABLE_BY_OTHERS, owner_of, write_access_problems
from syftnotify.system.syft_bg import is_in_syft_bg

if TYPE_CHECKING:  # Windows has no pwd
    import pwd

_MAX_TEMPLATE_FILES = 10_000
# Variables of root's environment that another user may get, because they hold no secrets.
_KEPT_VARIABLES = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR"}
)


def check_home(home: Home) -> None:
    """Refuse a home that belongs to another user, or that others can write to.

    Raises:
        UnsafeHomeError: others can write to it, or the caller is root and it belongs to another user.
        NotifyError: it belongs to another user.
        ConfigError: it is in the folder of syft-bg.
    """
    refuse_root(home)
    if is_in_syft_bg(home.root):
        raise ConfigError(
            f"{home.root} is in the folder of syft-bg, which rewrites its config.yaml without the settings of others",
            hint="run `notify init --from-syft-bg`, which takes over its settings, without this `--home`",
        )
    owner = owner_of(home.root)
    if owner is None:
        return
    if not owner.is_current_user:
        raise NotifyError(
            f"{home.root} belongs to {owner.name}", hint="run the command as that user, or choose another `--home`"
        )
    mode = stat.S_IMODE(home.root.stat().st_mode)
    if home.root.is_dir() and mode & WRITABLE_BY_OTHERS:
        raise UnsafeHomeError(
            f"others can write to {home.root} (mode {mode:04o}) and so decide what is sent in your name",
            hint=f"run `chmod 700 {shlex.quote(str(home.root))}`, and check that no file in it belongs to another user",
        )


def refuse_root(home: Home) -> None:
    """Refuse root in the home of another user, or in one that would be created in another user's folder.

    Root would run what that user wrote, and leave files that the user cannot read.

    Raises:
        UnsafeHomeError: as described.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    path = _nearest_existing(home.root)
    owner = owner_of(path)
    if owner is None or owner.is_current_user:
        return
    raise UnsafeHomeError(
        f"{path} belongs to {owner.name}; root must not work there",
        hint=f"run it as {owner.name}, or run `notify --as-owner --home {shlex.quote(str(home.root))} ...`",
    )


def check_config(home: Home) -> None:
    """Refuse a `config.yaml`, an `environment` file and templates that others own or can write to.

    A variable such as LD_PRELOAD in the `environment` file runs code: systemd.exec(5), "EnvironmentFile=".

    Raises:
        UnsafeHomeError: as described; the message lists every problem.
    """
    if not hasattr(os, "geteuid"):
        return
    paths = (home.config, home.environment, *_template_paths(home.templates))
    problems = [problem for path in paths for problem in write_access_problems(path)]
    if problems:
        lines = "\n".join(f"  {line}" for line in dict.fromkeys(problems))
        raise UnsafeHomeError(
            f"others can change files that decide what is sent in your name:\n{lines}",
            hint="check the content of the files, then run these commands",
        )


def drop_privileges(home: Home) -> None:
    """Replace root's privileges by those of the owner of `home`, or of the folder in which it will be created.

    Of root's environment only the variables that hold no secrets are kept.

    Raises:
        NotifyError: the caller is not root, or the owner has no account or cannot read this program.
    """
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    path = _nearest_existing(home.root) if is_root else home.root
    owner = owner_of(path)
    if owner is None or owner.is_current_user:
        return
    if not is_root:
        raise NotifyError(
            f"`--as-owner` needs root: {path} belongs to {owner.name}", hint=f"run the command as {owner.name}"
        )
    import pwd

    try:
        account = pwd.getpwuid(path.stat().st_uid)
    except KeyError:
        raise NotifyError(
            f"{path} belongs to {owner.name}, who has no account", hint="run the command with that user id"
        ) from None
    _switch_user(account)
    _reset_environment(account)


def _switch_user(account: pwd.struct_passwd) -> None:
    """Set the user and group ids; before the last step it is checked that the account can read this program."""
    os.initgroups(account.pw_name, account.pw_gid)
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    can_read = all(os.access(each, os.R_OK, effective_ids=True) for each in (sys.executable, __file__))
    os.seteuid(0)
    if not can_read:
        raise NotifyError(
            f"{account.pw_name} cannot read {Path(__file__).parent} or {sys.executable}",
            hint=f"install syftnotify where {account.pw_name} can read it",
        )
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def _reset_environment(account: pwd.struct_passwd) -> None:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES or name.startswith("LC_")}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)
    runtime_dir = Path(f"/run/user/{account.pw_uid}")
    if runtime_dir.is_dir():  # `systemctl --user` finds the user's systemd through it
        os.environ["XDG_RUNTIME_DIR"] = str(runtime_dir)


def _nearest_existing(path: Path) -> Path:
    """`path`, or its nearest parent that exists."""
    return next((each for each in (path, *path.parents) if each.exists()), path)


def _template_paths(folder: Path) -> Iterator[Path]:
    """The template folder and everything in it, linked folders included; each folder is visited once."""
    if not folder.exists():
        return
    yield folder
    visited: set[tuple[int, int]] = set()
    count = 0
    for parent, folders, files in os.walk(folder, followlinks=True):
        found = Path(parent).stat()
        if (found.st_dev, found.st_ino) in visited:
            folders.clear()
            continue
        visited.add((found.st_dev, found.st_ino))
        for name in (*folders, *files):
            yield Path(parent, name)
            count += 1
            if count > _MAX_TEMPLATE_FILES:
                raise UnsafeHomeError(
                    f"{folder} has more than {_MAX_TEMPLATE_FILES} files", hint="keep only templates in it"
                )
