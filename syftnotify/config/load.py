"""Reading `config.yaml`: all mistakes at once, each by its path, with what to do about it."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.reader import ReaderError

from syftnotify.config.mistakes import lines_of, not_text_name
from syftnotify.config.relations import conflicts
from syftnotify.config.schema import FOREIGN, MAIL_TYPES, Config, Gmail, Smtp, Transport, Webhook
from syftnotify.config.secrets import Resolved, resolved
from syftnotify.config.secrets import key_file as secret_key
from syftnotify.core.errors import ConfigError
from syftnotify.core.text import decoded, escape, plural
from syftnotify.system.files import fingerprint
from syftnotify.system.ownership import check_config, check_home
from syftnotify.system.paths import Home, expand_path, expansion_error, try_expand_path
from syftnotify.system.permissions import owner_suffix, secret_file_warning, write_access_warning

_MAX_BYTES = 1 << 20

# A further check of what the file says, mistakes included; what it finds is listed with all other mistakes.
Check = Callable[[Mapping[str, Any]], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that holds: every path absolute, every default filled in."""

    home: Home
    config: Config
    root: Path
    fingerprint: str  # of the file's bytes: "config changed since start"
    warnings: tuple[str, ...] = ()

    @property
    def mailer(self) -> str:
        """The name of the transport that carries mail: the first gmail, smtp or maildir one; empty where none does."""
        for kind in MAIL_TYPES:
            for name, transport in self.config.transports.items():
                if transport.type == kind:
                    return name
        return ""

    @property
    def mail_section(self) -> Transport | None:
        """The settings of that transport."""
        return self.config.transports.get(self.mailer)

    @property
    def holding(self) -> frozenset[str]:
        """The names of the transports that do not send again what may have arrived."""
        return frozenset(name for name, transport in self.config.transports.items() if self.holds(transport))

    def holds(self, transport: Transport) -> bool:
        """Whether `transport` does not send again what may have arrived."""
        return (transport.on_unknown or self.config.notify.on_unknown) == "hold"


def load(home: Home, *, check: Check | None = None) -> Settings:
    """The configuration of `home`.

    Raises:
        ConfigError: it is missing, cannot be read, or has mistakes; the message lists them all.
        UnsafeHomeError: others can change the home, the configuration or the templates.
        NotifyError: the home belongs to another user.
    """
    check_home(home)
    check_config(home)
    return parse(read(home.config), home, check=check)


def parse(content: bytes, home: Home, *, check: Check | None = None) -> Settings:
    """The configuration that `content` would be as the `config.yaml` of `home`. Raises: ConfigError."""
    warnings: list[str] = []
    mistakes: list[str] = []
    raw = _without_nothing(parsed(content, mistakes))
    foreign = _take_foreign(raw)
    if foreign:
        warnings.append(f"config.yaml: left alone, settings of other programs: {', '.join(foreign)}")
    found = resolved(raw, home)
    mistakes += [f"{path}: {what}" for path, what in found.mistakes.items()]
    warnings += found.warnings
    config: Config | None = None
    others: list[str] = []  # found in what references to secrets were replaced in
    try:
        config = Config.model_validate(found.raw)
    except ValidationError as error:
        others += lines_of(error)
    others += conflicts(found.raw)
    if check is not None:
        others += check(found.raw)
    if "syftbox_root" not in found.raw and default_root(str(found.raw.get("do_email"))) is None:
        others.append(f"syftbox_root: missing, and it cannot be found: {expansion_error('~')}")
    mistakes += _without_secrets(others, found)
    if mistakes or config is None:
        lines = "\n".join(f"  {line}" for line in mistakes)
        raise ConfigError(f"config.yaml: {plural(len(mistakes), 'mistake')}\n{lines}", hint=f"edit {home.config}")
    warnings += _suspicious(config)
    config = _completed(config, home)
    warnings += _unencrypted(config)
    secrets = {
        home.config,
        home.environment,
        secret_key(home),
        *(each.token for each in config.transports.values() if isinstance(each, Gmail)),
    }
    warnings += filter(None, map(secret_file_warning, (home.root, *sorted(secrets), home.credentials)))
    authorities = {each.ca_file for each in config.transports.values() if isinstance(each, Smtp) and each.ca_file}
    warnings += filter(None, map(write_access_warning, sorted((found.files | authorities) - secrets)))
    return Settings(
        home=home,
        config=config,
        root=_root(config, home),
        fingerprint=fingerprint(content),
        warnings=tuple(warnings),
    )


def read(path: Path) -> bytes:
    """The bytes of a `config.yaml`.

    Raises:
        ConfigError: it is missing, not a regular file, or cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would block
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise ConfigError(f"{path} is {kind}", hint="move it away, then run `notify init`")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration at {path}", hint="run `notify init`") from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}{owner_suffix(path)}",
            hint="give yourself read permission, or choose another `--home`",
        ) from error
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path} is larger than 1 MiB, so it is not a configuration", hint="move it away")
    return content


_DECIMAL = {
    "tag:yaml.org,2002:int": r"^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$",
    "tag:yaml.org,2002:float": (
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
}


_TEXT = "tag:yaml.org,2002:str"


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without numbers of base 60: 22:00 is text, as it is in YAML 1.2, and not 1320."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, re.compile(_DECIMAL[tag]) if tag in _DECIMAL else pattern) for tag, pattern in resolvers]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parsed(content: bytes, mistakes: list[str]) -> dict[str, Any]:
    """The keys and values of a `config.yaml`; keys that stand twice are added to `mistakes`. Raises: ConfigError."""
    try:
        text = decoded(content)
    except ValueError as error:
        raise ConfigError(f"config.yaml: {error}") from None
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Loader)):
            raise ConfigError("config.yaml: YAML aliases (*name) are not supported", hint="repeat the value instead")
        node = yaml.compose(text, Loader=_Loader)
        mistakes += _repeated(node)
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = error.problem or "not YAML"
        if problem == "but found another document":
            problem = "a second YAML document begins here; a configuration is one document"
        if "'\\t'" in problem:
            problem = "YAML does not allow tabs for indentation or before a value; use spaces"
        raise ConfigError(f"config.yaml: {where}{problem}", hint="correct that line") from error
    except ReaderError as error:
        line, code = text.count("\n", 0, error.position) + 1, f"U+{ord(text[error.position]):04X}"
        raise ConfigError(
            f"config.yaml: line {line}: the character {code} is not allowed in YAML", hint="remove that character"
        ) from error
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ConfigError(
            f"config.yaml: not YAML: {escape(str(error))}",
            hint="it must be UTF-8 text, `key: value` on each line",
        ) from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError("config.yaml: expected keys with values, such as `do_email: owner@example.org`")
    return raw


def _repeated(node: yaml.Node | None, path: str = "") -> Iterator[str]:
    """Keys that stand twice in one mapping, in words or by their value; YAML readers silently keep the last."""
    if isinstance(node, yaml.SequenceNode):
        for index, entry in enumerate(node.value):
            yield from _repeated(entry, f"{path}[{index}]")
    if not isinstance(node, yaml.MappingNode):
        return
    names: set[str] = set()
    values: set[object] = set()  # of names that are not text: `1` and `yes` are equal, so one would hide the other
    for key, value in node.value:
        name = f"{path}.{key.value}".removeprefix(".")
        if name in names:
            yield f"{escape(name)}: stands twice (again in line {key.start_mark.line + 1})"
        elif isinstance(key, yaml.ScalarNode) and key.tag != _TEXT:
            meaning = yaml.load(key.value, Loader=_Loader)  # noqa: S506 - a SafeLoader
            if meaning in values:
                yield f"{f'{escape(path)}: ' if path else ''}{not_text_name(f'`{escape(key.value, limit=60)}`')}"
            values.add(meaning)
        names.add(name)
        yield from _repeated(value, name)


def _without_nothing(value: dict[str, Any]) -> dict[str, Any]:
    """Keys without a value count as left out: an empty section, syft-bg's nulls."""
    kept = {
        key: _without_nothing(inner) if isinstance(inner, dict) and key != "transports" else inner
        for key, inner in value.items()
        if inner is not None
    }
    if isinstance(kept.get("transports"), dict):
        # A transport without settings is reported as a mistake.
        kept["transports"] = {
            name: _without_nothing(inner) if isinstance(inner, dict) else ({} if inner is None else inner)
            for name, inner in kept["transports"].items()
        }
    return kept


def _take_foreign(raw: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for section, names in FOREIGN.items():
        place = raw.get(section) if section else raw
        if not isinstance(place, dict):
            continue
        for name in sorted(names & place.keys()):
            del place[name]
            found.append(f"{section}.{name}" if section else name)
    return found


def _without_secrets(lines: Iterable[str], found: Resolved) -> Iterator[str]:
    """`lines` without those about settings whose secret was not found, and without the values of secrets."""
    for line in lines:
        path = line.partition(": ")[0]
        if path in found.paths:
            yield f"{path}: what it refers to cannot stand here"
        elif path not in found.mistakes:
            yield line


def _suspicious(config: Config) -> Iterator[str]:
    """Warnings about settings that are allowed, and that hardly anybody means."""
    asks = any(transport.events is not None for transport in config.transports.values())
    if config.routes == () and not config.more_routes and not asks:
        yield "routes: the list is empty, so no job or peer is notified; remove it to use the built-in routes"
    if not (config.notify.monitor_jobs or config.notify.monitor_peers):
        yield (
            "notify.monitor_jobs and notify.monitor_peers are false, so no job or peer is notified; set one of them to "
            "true"
        )
    reminders = config.reminders
    if reminders.to and not (reminders.job_waiting or reminders.job_long_running):
        yield "reminders.to: has no effect; set `reminders.job_waiting` or `reminders.job_long_running` as well"


def _completed(config: Config, home: Home) -> Config:
    """`config` with every path absolute and the one transport that the shortest configuration leaves unsaid."""
    transports: dict[str, Transport] = {}
    for name, transport in (config.transports or {"gmail": Gmail(type="gmail")}).items():
        paths = {key: getattr(transport, key) for key in type(transport).model_fields}
        places = {key: expand_path(path, home.root) for key, path in paths.items() if isinstance(path, Path)}
        transports[name] = transport.model_copy(update=places)
    notify = config.notify
    notes = {
        key: expand_path(path, home.root)
        for key in ("sync_state_path", "notify_state_path")
        if (path := getattr(notify, key)) is not None
    }
    return config.model_copy(update={"transports": transports, "notify": notify.model_copy(update=notes)})


def unencrypted(exposed: Sequence[str]) -> str:
    """The warning that these parts of requests, by name, leave this machine unencrypted."""
    *others, last = exposed
    what = f"{', '.join(others)} and {last}" if others else last
    return f"{what} {'are' if others else 'is'} sent over unencrypted http:// and can be read on the way"


def _unencrypted(config: Config) -> Iterator[str]:
    for name, section in config.transports.items():
        if isinstance(section, Webhook) and section.exposed:
            yield f"config.yaml: transports.{name}: {unencrypted(section.exposed)}; change `url` to https://"


def _root(config: Config, home: Home) -> Path:
    if config.syftbox_root is not None:
        return expand_path(config.syftbox_root, home.root)
    return default_root(config.do_email) or expand_path("~")


def default_root(email: str) -> Path | None:
    """The SyftBox folder where none is configured: the one that exists, else where a published client will create it.

    None where there is no home directory in which it could be.
    """
    return found_root(email) or try_expand_path(f"~/SyftBox_{email}")


def found_root(email: str) -> Path | None:
    """The SyftBox folder of `email` where the published clients put it, if it exists."""
    places = filter(None, map(try_expand_path, (f"~/SyftBox_{email}", "~/SyftBox", f"/content/SyftBox_{email}")))
    return next((path for path in places if is_folder(path)), None)


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; no, where that cannot be found out."""
    try:
        return path.is_dir()
    except OSError:
        return False
