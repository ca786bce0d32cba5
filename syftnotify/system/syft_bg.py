"""The folders of syft-bg on this machine, and which of its services run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from syftnotify.system.paths import try_expand_path
from syftnotify.system.procinfo import is_alive

NOTIFY, SYNC = "notify", "sync"
_SERVICES = (SYNC, NOTIFY, "approve", "email_approve")
# Where releases since 0.3.7 keep their files, and where older ones do; the second of each pair is the one on Colab.
_FOLDERS = ("~/.syft-bg", "/content/drive/MyDrive/syft-bg")
_OLD_FOLDERS = ("~/.syft-creds", "/content/drive/MyDrive/syft-creds")


@dataclass(frozen=True, slots=True)
class SyftBgHome:
    """A folder with the configuration and the state of syft-bg."""

    root: Path
    is_old: bool = False  # of releases before 0.3.7, which have no sync service; their folder is also our default home

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    def state(self, service: str) -> Path:
        """The state file of a service."""
        return self.root / service / "state.json"

    @property
    def is_used(self) -> bool:
        """Whether syft-bg is set up here. In the folder of old releases, a configuration may be our own."""
        has_run = any((self.root / service).is_dir() for service in _SERVICES)
        return has_run or (self.config.is_file() and not self.is_old)

    def services(self) -> dict[str, int | None]:
        """The pids of the services by name; None for those that are not running.

        As syft-bg does, it takes any process with the stored pid for the service.
        """
        names = (NOTIFY, "approve") if self.is_old else _SERVICES
        pids = {name: _pid(self.root / name / "daemon.pid") for name in names}
        return {name: pid if is_alive(pid) else None for name, pid in pids.items()}


def syft_bg_homes() -> list[SyftBgHome]:
    """Where syft-bg may keep its files on this machine; the folders need not exist."""
    places = [(folder, False) for folder in _FOLDERS] + [(folder, True) for folder in _OLD_FOLDERS]
    paths = ((try_expand_path(folder), is_old) for folder, is_old in places)
    return [SyftBgHome(path, is_old) for path, is_old in paths if path is not None]


def find_syft_bg() -> SyftBgHome | None:
    """The first of the possible homes that is used."""
    return next((home for home in syft_bg_homes() if home.is_used), None)


def syft_bg_at(path: Path) -> SyftBgHome:
    """The home at `path`. One in another place than the usual ones is of a newer release if it has a sync service."""
    known = next((home for home in syft_bg_homes() if home.root == path), None)
    return known or SyftBgHome(path, is_old=not (path / SYNC).is_dir())


def is_in_syft_bg(path: Path) -> bool:
    """Whether `path` is in a folder of syft-bg, other than the one that older releases share with this program."""
    resolved = path.resolve()
    folders = [home.root.resolve() for home in syft_bg_homes() if not home.is_old]
    return any(folder in (resolved, *resolved.parents) for folder in folders)


def syft_bg_in_use(snapshot: str | None) -> SyftBgHome | None:
    """The home with the sync snapshot that is read; otherwise the one that is found. None: syft-bg is not set up."""
    folder = Path(snapshot).parent if snapshot else None
    return syft_bg_at(folder.parent) if folder is not None and folder.name == SYNC else find_syft_bg()


def second_notifier() -> int | None:
    """The pid of syft-bg's notify service if it runs; otherwise None."""
    return next((pid for home in syft_bg_homes() if (pid := home.services()[NOTIFY])), None)


def _pid(path: Path) -> int:
    """The pid in a file; 0 if there is none."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
