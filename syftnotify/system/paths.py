"""The home folder of a worker and the files in it; expansion of `~`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from syftnotify.core.errors import ConfigError
from syftnotify.core.text import escape
from syftnotify.system.files import create_private_folder

HOME_VARIABLE = "SYFTNOTIFY_HOME"
DEFAULT_HOME = "~/.syft-creds"
TOKEN_NAME = "gmail_token.json"  # noqa: S105 - a file name


def expand_path(path: str | Path, base: Path | None = None) -> Path:
    """`path` as an absolute path with `~` expanded; a relative path is below `base` (default: the current folder).

    Raises:
        ConfigError: `~` cannot be expanded, or the current folder no longer exists.
    """
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{escape(str(path))}: {expansion_error(path)}", hint="use an absolute path, or set HOME"
        ) from None
    if expanded.is_absolute():
        return expanded
    if base is not None:
        return base / expanded
    try:
        return Path.cwd() / expanded
    except FileNotFoundError:
        raise ConfigError(
            "the current folder no longer exists", hint="use an absolute path, or `cd` elsewhere"
        ) from None


def try_expand_path(path: str) -> Path | None:
    """Like `expand_path`, but None if `path` cannot be expanded."""
    try:
        return expand_path(path)
    except ConfigError:
        return None


def expansion_error(path: str | Path) -> str:
    """The reason why the `~` or `~user` at the start of `path` cannot be expanded."""
    user = Path(path).parts[0][1:]
    if user:
        return f"there is no user {escape(user)!r}"
    return "there is no home directory (HOME is not set, and this user has no entry in the user database)"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder with all files of one worker."""

    root: Path

    @classmethod
    def at(cls, path: str | Path | None = None) -> Home:
        """The home at `path`; by default `$SYFTNOTIFY_HOME`, otherwise `~/.syft-creds`.

        Raises:
            ConfigError: none is given, and there is no home directory for the default.
        """
        if given := path or os.environ.get(HOME_VARIABLE):
            return cls(expand_path(given))
        default = try_expand_path(DEFAULT_HOME)
        if default is None:
            raise ConfigError(expansion_error(DEFAULT_HOME), hint=f"pass `--home DIR`, or set {HOME_VARIABLE}")
        return cls(default)

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def credentials(self) -> Path:
        return self.root / "credentials.json"

    @property
    def token(self) -> Path:
        return self.root / TOKEN_NAME

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def scan_cache(self) -> Path:
        return self.root / "jobs.json"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox.db"

    @property
    def lock(self) -> Path:
        return self.root / "worker.lock"

    @property
    def worker_status(self) -> Path:
        return self.root / "worker.json"

    @property
    def log(self) -> Path:
        return self.root / "notify.log"

    @property
    def templates(self) -> Path:
        return self.root / "templates"

    @property
    def mail(self) -> Path:
        return self.root / "mail"

    @property
    def environment(self) -> Path:
        """The environment file of the systemd unit; commands use it for `env:` references to unset variables."""
        return self.root / "environment"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    def create(self) -> None:
        """Create the folder and its missing parents with mode 0700."""
        create_private_folder(self.root)
