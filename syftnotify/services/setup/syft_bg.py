"""The settings of syft-bg as options and changes of a setup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from syftnotify.config.transport import TransportSettings
from syftnotify.config.values import MAX_HEARTBEAT, MAX_INTERVAL, MIN_HEARTBEAT, MIN_INTERVAL
from syftnotify.config.yaml_reader import parse_yaml, read_config_file
from syftnotify.core.errors import ConfigError
from syftnotify.core.sent_record import SentRecord
from syftnotify.services.setup.mail import MAIL_TYPES
from syftnotify.services.setup.options import SetupOptions
from syftnotify.sources.syftbox.syft_bg_record import read_sent_record
from syftnotify.system.paths import Home, expand_path
from syftnotify.system.syft_bg import NOTIFY, SYNC, SyftBgHome, find_syft_bg, syft_bg_at, syft_bg_homes

_DAY = 86400
_TOKEN, _OLD_TOKEN = "token.json", "gmail_token.json"
_MORNING = "08:00"


@dataclass(frozen=True, slots=True)
class SyftBgSettings:
    """What a home of syft-bg contains that this program uses. All paths are absolute."""

    home: SyftBgHome
    email: str
    syftbox_root: Path | None
    interval: float
    notify_jobs: bool
    notify_peers: bool
    token: Path  # the saved Gmail sign-in, which may be missing
    credentials: Path
    notify_state: Path
    sync_state: Path
    record: SentRecord  # of sent mail
    heartbeat: Mapping[str, Any] = field(default_factory=dict)  # settings of `heartbeat` in our configuration
    notes: tuple[str, ...] = ()  # values that could not be taken over as they are

    def complete(self, options: SetupOptions) -> SetupOptions:
        """`options`, with these settings where the user gave none.

        Raises:
            ConfigError: they are for a scientist; syft-bg notifies data owners.
        """
        if options.role == "scientist":
            raise ConfigError("--role scientist contradicts --from-syft-bg", hint="syft-bg notifies data owners")
        return replace(
            options,
            email=self.email if options.email is None else options.email,
            syftbox_root=self.syftbox_root if options.syftbox_root is None else options.syftbox_root,
            interval=self.interval if options.interval is None else options.interval,
            notify_jobs=self.notify_jobs if options.notify_jobs is None else options.notify_jobs,
            notify_peers=self.notify_peers if options.notify_peers is None else options.notify_peers,
            syft_bg=self,
        )

    def summary(self, mail: TransportSettings | None) -> Iterator[str]:
        """The settings, one line each; `mail` are those of the default mail transport."""
        monitored = [name for name, is_on in (("jobs", self.notify_jobs), ("peers", self.notify_peers)) if is_on]
        yield f"{self.email}, scans every {self.interval:g} s, notifies about {' and '.join(monitored) or 'nothing'}"
        if mail is not None and self.token in mail.private_files and self.token.is_file():
            yield f"the Gmail sign-in {self.token}, which syft-bg keeps using"
        if self.heartbeat:
            settings = ", ".join(f"{key}: {_yaml(value)}" for key, value in self.heartbeat.items())
            yield f"`heartbeat_enabled` as `heartbeat: {{{settings}}}`"

    def service_problems(self) -> Iterator[str]:
        """What has to change about the services of syft-bg on this machine."""
        services = self.home.services()
        if pid := services[NOTIFY]:
            yield (
                f"its notify service runs (pid {pid}), so mails are sent twice: run `syft-bg stop notify`, and then "
                "`notify init --from-syft-bg` again before `notify start`"
            )
        if services.get(SYNC, 0) is None:
            yield "its sync service does not run: run `syft-bg start sync`, which brings jobs and peers to this machine"

    def changes(self, home: Home, gmail: str) -> dict[tuple[str, ...], Any]:
        """The further changes to the configuration of `home`; `gmail` is its Gmail transport, empty if there is none.

        The token is used where it is: syft-bg keeps using it, too.
        """
        changes: dict[tuple[str, ...], Any] = {("heartbeat", key): value for key, value in self.heartbeat.items()}
        if gmail and self.token.is_file() and self.token != home.token:
            changes["transports", gmail, "type"] = MAIL_TYPES[0]
            changes["transports", gmail, "token"] = str(self.token)
            if self.credentials.is_file() and self.credentials != home.credentials:
                changes["transports", gmail, "credentials"] = str(self.credentials)
        searched = {each.state(service) for each in syft_bg_homes() for service in (SYNC, NOTIFY)}
        for key, path in (("sync_state_path", self.sync_state), ("notify_state_path", self.notify_state)):
            if path not in searched:
                changes["notify", key] = str(path)
        return changes


def syft_bg_home(folder: Path | None) -> SyftBgHome:
    """The home of syft-bg at `folder`, or else where it usually is.

    Raises:
        ConfigError: there is none.
    """
    hint = "pass its folder with `--syft-bg-home DIR`"
    if folder is not None:
        home = syft_bg_at(expand_path(folder))
        if not home.config.is_file():
            raise ConfigError(f"there is no configuration of syft-bg at {home.config}", hint=hint)
        return home
    found = find_syft_bg()
    if found is None:
        raise ConfigError("syft-bg is not set up on this machine: it has no folder ~/.syft-bg", hint=hint)
    return found


def read_settings(home: SyftBgHome) -> SyftBgSettings:
    """The settings in the configuration of `home`.

    Raises:
        ConfigError: it cannot be read, or lacks the owner's address.
        StateError: the record of sent mail cannot be read.
    """
    try:
        raw = parse_yaml(read_config_file(home.config))[0]
    except ConfigError as error:
        raise ConfigError(f"{home.config}: {error}", hint="correct it, then run the command again") from None
    section = raw.get(NOTIFY)
    notify = section if isinstance(section, Mapping) else {}
    sync = raw.get(SYNC)
    reader = _Reader(home, notify, raw)
    email = reader.text("do_email")
    if not email:
        raise ConfigError(f"{home.config} has no `do_email`", hint="pass it with `--email`")
    heartbeat = dict(reader.heartbeat())
    notify_state = reader.file("notify_state_path", home.state(NOTIFY))
    return SyftBgSettings(
        home,
        email,
        reader.path("syftbox_root"),
        reader.seconds("interval", 30 if home.is_old else 5, MIN_INTERVAL, MAX_INTERVAL),
        reader.flag("monitor_jobs"),
        reader.flag("monitor_peers"),
        reader.file("gmail_token_path", home.root / (_OLD_TOKEN if home.is_old else _TOKEN)),
        reader.file("credentials_path", home.root / "credentials.json"),
        notify_state,
        _Reader(home, sync if isinstance(sync, Mapping) else {}, notify).file("sync_state_path", home.state(SYNC)),
        read_sent_record(notify_state),
        heartbeat,
        tuple(reader.notes),
    )


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Reader:
    """Reads settings of a service: its own ones, otherwise the common ones, otherwise the defaults of syft-bg."""

    def __init__(self, home: SyftBgHome, section: Mapping[str, Any], common: Mapping[str, Any]) -> None:
        self._home = home
        self._section = section
        self._common = common
        self.notes: list[str] = []

    def text(self, key: str) -> str:
        """The text of a setting; empty if it has none."""
        values = (self._section.get(key), self._common.get(key))
        return next((value.strip() for value in values if isinstance(value, str) and value.strip()), "")

    def path(self, key: str) -> Path | None:
        """The path of a setting."""
        text = self.text(key)
        return expand_path(text, self._home.root) if text else None

    def file(self, key: str, default: Path) -> Path:
        """The path of a file. A configuration that was copied to another place may name files that are not there."""
        # syft-bg writes the default into each section, where it does not replace the common setting.
        paths = [self.path(key), _Reader(self._home, {}, self._common).path(key)]
        return next((path for path in paths if path is not None and path != default and path.exists()), default)

    def flag(self, key: str) -> bool:
        """A switch, which is on by default."""
        value = self._section.get(key)
        return value if isinstance(value, bool) else True

    def seconds(self, key: str, default: float, minimum: float, maximum: float) -> float:
        """A number of seconds; one out of range is moved into it, and noted."""
        value = self._section.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.notes.append(f"{key} is not a number: {default:.0f} s are used")
            return default
        bounded = min(max(value, minimum), maximum)
        if bounded != value:
            self.notes.append(f"{key} is {value} s: {bounded:.0f} s are used")
        return bounded

    def heartbeat(self) -> Iterator[tuple[str, Any]]:
        """The settings of `heartbeat`. syft-bg sends a mail at each start, and then in each interval."""
        is_enabled = self._section.get("heartbeat_enabled", not self._home.is_old)  # old releases have none
        if is_enabled is not True:
            return
        interval = self.seconds("heartbeat_interval", _DAY, MIN_HEARTBEAT, MAX_HEARTBEAT)
        if interval == _DAY:
            yield "daily", _MORNING
        else:
            yield "every", f"{interval:.0f}s"
        yield "on_start", True
