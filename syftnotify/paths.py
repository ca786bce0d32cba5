"""Where do things lie? The home folder of one worker and the files in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "SYFTNOTIFY_HOME"
DEFAULT_HOME = "~/.syft-creds"


def expanded(path: str | Path, base: Path | None = None) -> Path:
    """`path` with `~` expanded, absolute; a relative one lies below `base` (default: the current folder)."""
    plain = Path(path).expanduser()
    return plain if plain.is_absolute() else (base or Path.cwd()) / plain


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds everything of one worker."""

    root: Path

    @classmethod
    def at(cls, path: str | Path | None = None) -> Home:
        """The home that was asked for, else that of `SYFTNOTIFY_HOME`, else `~/.syft-creds`."""
        return cls(expanded(path or os.environ.get(HOME_VARIABLE) or DEFAULT_HOME))

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
    def memory(self) -> Path:
        return self.root / "jobs.json"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox.db"

    @property
    def lock(self) -> Path:
        return self.root / "worker.lock"

    @property
    def worker(self) -> Path:
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
        """Make the folder, for its owner alone."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
