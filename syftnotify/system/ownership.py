"""Who owns a home, and who else can change what is in it.

A user who can write to the home, to `config.yaml` or to a template decides what is sent in the owner's name: these are
refused unless they belong to the user (or to root, for files that an administrator deploys) and no other user can write
to them. For other files a warning is enough.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from syftnotify.core.errors import NotifyError, UnsafeHomeError
from syftnotify.system.files import owner_of, permission_warning
from syftnotify.system.paths import Home

_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
_MAX_TEMPLATE_FILES = 10_000  # below `templates/`
# What another user may have of root's environment: nothing that can hold a secret.
_KEPT_VARIABLES = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR"}
)


def check_home(home: Home) -> None:
    """Refuse a home that belongs to another user, or that others can write to.

    Raises:
        UnsafeHomeError: others can write to it, or the caller is root and it belongs to another user.
        NotifyError: it belongs to another user.
    """
    refuse_root(home)
    owner = owner_of(home.root)
    if owner is None:
        return
    if not owner.is_current_user:
        raise NotifyError(f"{home.root} belongs to {owner.name}", hint="work as that user, or choose another `--home`")
    mode = stat.S_IMODE(home.root.stat().st_mode)
    if home.root.is_dir() and mode & _WRITABLE:
        raise UnsafeHomeError(
            f"others can write to {home.root} (mode {mode:04o}) and so decide what is sent in your name",
            hint=f"run `chmod 700 {home.root}`, and see that nothing in it is theirs",
        )


def refuse_root(home: Home) -> None:
    """Refuse root in the home of another user, or in one that would be created in another user's folder.

    Root would run what that user wrote, and leave files that the user cannot read.

    Raises:
        UnsafeHomeError: as described.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    place = _existing(home.root)
    owner = owner_of(place)
    if owner is None or owner.is_current_user:
        return
    where = f"{home.root} belongs to {owner.name}" if place == home.root else f"{place} belongs to {owner.name}"
    raise UnsafeHomeError(
        f"{where}, and root does not work there",
        hint=f"run it as {owner.name}, or with `notify --as-owner --home {home.root} ...`",
    )


def check_config(home: Home) -> None:
    """Refuse a `config.yaml`, an `environment` and templates that others own or can write to.

    Source: systemd.exec(5), "EnvironmentFile=": a variable such as LD_PRELOAD runs code.

    Raises:
        UnsafeHomeError: as described; the message lists all of them.
    """
    if not hasattr(os, "geteuid"):
        return
    found = [
        problem for path in (home.config, home.environment, *_templates(home.templates)) for problem in _problems(path)
    ]
    if found:
        lines = "\n".join(f"  {line}" for line in dict.fromkeys(found))
        raise UnsafeHomeError(
            f"others can change what decides what is sent in your name:\n{lines}",
            hint="run these commands after checking the content of the files",
        )


def warning(path: Path) -> str:
    """What to do about a file with secrets that belongs to another user, or that others can read; else empty."""
    owner = owner_of(path)
    if owner is None or owner.is_current_user:
        return permission_warning(path)
    return next(_problems(path), "")


def write_access_warning(path: Path) -> str:
    """What to do about a file that another user (but root) owns or can write to; else empty."""
    return next(_problems(path), "") if hasattr(os, "geteuid") else ""


def foreign_owner(path: Path) -> tuple[str, str] | None:
    """That a file of the program's own belongs to another user, root included, and the command that ends it."""
    owner = owner_of(path)
    if owner is None or owner.is_current_user:
        return None
    return f"{path} belongs to {owner.name}", f"`sudo chown {_me()} {path}`"


def drop_privileges(home: Home) -> None:
    """Give up root's rights for those of the owner of `home`, or of the folder in which it will be created.

    Nothing of root's environment stays but what is needed to find programs and to print text.

    Raises:
        NotifyError: the caller is not root, or the owner has no account or cannot read this program.
    """
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    place = _existing(home.root) if is_root else home.root
    owner = owner_of(place)
    if owner is None or owner.is_current_user:
        return
    if not is_root:
        raise NotifyError(f"`--as-owner` needs root: {place} belongs to {owner.name}", hint=f"run it as {owner.name}")
    import pwd

    try:
        account = pwd.getpwuid(place.stat().st_uid)
    except KeyError:
        raise NotifyError(
            f"{place} belongs to {owner.name}, who has no account", hint="start it with that user id instead"
        ) from None
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
    kept = {name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES or name.startswith("LC_")}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)
    session = Path(f"/run/user/{account.pw_uid}")
    if session.is_dir():  # how `systemctl --user` finds the user's systemd
        os.environ["XDG_RUNTIME_DIR"] = str(session)


def _existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next((each for each in (path, *path.parents) if each.exists()), path)


def _templates(folder: Path) -> Iterator[Path]:
    """The folder of templates with all that is in it, links to folders included."""
    if not folder.exists():
        return
    yield folder
    seen: set[tuple[int, int]] = set()
    count = 0
    for above, folders, files in os.walk(folder, followlinks=True):
        found = Path(above).stat()
        if (found.st_dev, found.st_ino) in seen:
            folders.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        for name in (*folders, *files):
            yield Path(above, name)
            count += 1
            if count > _MAX_TEMPLATE_FILES:
                raise UnsafeHomeError(f"{folder} has more than {_MAX_TEMPLATE_FILES} files", hint="keep only templates in it")


def _problems(path: Path) -> Iterator[str]:
    """Why others can change `path`, each with the command that ends it."""
    try:
        yield from _problems_of(path, path.stat())
        if path.is_symlink():  # then it can be exchanged where it really is
            real = path.resolve()
            above = real.parent.stat()
            if not above.st_mode & stat.S_ISVTX:
                yield from _problems_of(real.parent, above)
    except OSError:  # the code that reads it reports this
        return


def _problems_of(path: Path, found: os.stat_result) -> Iterator[str]:
    owner = owner_of(path)
    if owner is not None and not owner.is_current_user and found.st_uid != 0:
        yield f"{path} belongs to {owner.name}: `chown {_me()} {path}`"
    if found.st_mode & _WRITABLE:
        yield f"{path} can be written by others (mode {stat.S_IMODE(found.st_mode):04o}): `chmod go-w {path}`"


def _me() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
