"""Where do things lie? The home folder of one worker and the files in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from syftnotify.core.errors import ConfigError
from syftnotify.core.text import escape
from syftnotify.system.files import create_private_folder

HOME_VARIABLE = "SYFTNOTIFY_HOME"
DEFAULT_HOME = "~/.syft-creds"


def expand_path(path: str | Path, base: Path | None = None) -> Path:
    """`path` with `~` expanded, absolute; a relative one lies below `base` (default: the current folder).

    Raises:
        ConfigError: `~` cannot be expanded, or the current folder is gone.
    """
    try:
        plain = Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{escape(str(path))}: {expansion_error(path)}", hint="use an absolute path, or set HOME"
        ) from None
    if plain.is_absolute():
        return plain
    if base is not None:
        return base / plain
    try:
        return Path.cwd() / plain
    except FileNotFoundError:
        raise ConfigError(
            "the current folder no longer exists", hint="use an absolute path, or `cd` elsewhere"
        ) from None


def try_expand_path(path: str) -> Path | None:
    """Like `expanded`, for a place that is only looked up: None without a home directory."""
    try:
        return expand_path(path)
    except ConfigError:
        return None


def expansion_error(path: str | Path) -> str:
    """The reason why the `~` or `~user` at the beginning of `path` has no meaning."""
    user = Path(path).parts[0][1:]
    if user:
        return f"there is no user {escape(user)!r}"
    return "there is no home directory (HOME is not set, and this user has no entry in the user database)"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds everything of one worker."""

    root: Path

    @classmethod
    def at(cls, path: str | Path | None = None) -> Home:
        """The home that was asked for, else that of `SYFTNOTIFY_HOME`, else `~/.syft-creds`.

        Raises:
            ConfigError: it is not named, and there is no home directory for the default.
        """
        if named := path or os.environ.get(HOME_VARIABLE):
            return cls(expand_path(named))
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
        return self.root / "gmail_token.json"

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
        """What `env:` means under systemd, and to a command whose own environment has no such variable."""
        return self.root / "environment"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    def create(self) -> None:
        """Create the folder and its missing parents, for their owner alone."""
        create_private_folder(self.root)
