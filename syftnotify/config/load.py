"""Reading `config.yaml`: all mistakes at once, each by its path, with what to do about it."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.reader import ReaderError

from syftnotify.config.mistakes import lines_of, not_text_name
from syftnotify.config.relations import conflicts, template_errors
from syftnotify.config.schema import FOREIGN, Config, config_model
from syftnotify.config.secrets import Resolved, resolved
from syftnotify.config.secrets import key_file as secret_key
from syftnotify.config.transport import TransportSettings, TransportTypes, mail_types, settings_type
from syftnotify.config.values import unencrypted
from syftnotify.core.errors import ConfigError
from syftnotify.core.text import decoded, escape, plural
from syftnotify.system.files import fingerprint, whose
from syftnotify.system.ownership import changeable_warning, check_config, check_home
from syftnotify.system.ownership import warning as ownership_warning
from syftnotify.system.paths import Home, expanded, expanded_if_possible, why_not_expanded

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that holds: every path absolute, every default filled in."""

    home: Home
    config: Config
    root: Path
    default_mail_transport: str  # its name; empty: no transport sends mail
    fingerprint: str  # of the file's bytes: "config changed since start"
    warnings: tuple[str, ...] = ()

    @property
    def mail_settings(self) -> TransportSettings | None:
        """The settings of the default mail transport."""
        return self.config.transports.get(self.default_mail_transport)

    @property
    def holding(self) -> frozenset[str]:
        """The names of the transports that do not send again what may have arrived."""
        return frozenset(name for name, transport in self.config.transports.items() if self.holds(transport))

    def holds(self, transport: TransportSettings) -> bool:
        """Whether `transport` does not send again what may have arrived."""
        return (transport.on_unknown or self.config.notify.on_unknown) == "hold"


def load(home: Home, types: TransportTypes, *, check_templates: bool = False) -> Settings:
    """The configuration of `home`; `types` are the types of transports that it may name.

    `check_templates` reports the errors in the templates of transports, too, which is slow.

    Raises:
        ConfigError: it is missing, cannot be read, or has mistakes; the message lists them all.
        UnsafeHomeError: others can change the home, the configuration or the templates.
        NotifyError: the home belongs to another user.
    """
    check_home(home)
    check_config(home)
    return parse(read(home.config), home, types, check_templates=check_templates)


def parse(content: bytes, home: Home, types: TransportTypes, *, check_templates: bool = False) -> Settings:
    """The configuration that `content` would be as the `config.yaml` of `home`. Parameters as `load`.

    Raises:
        ConfigError: it has mistakes.
    """
    warnings: list[str] = []
    mistakes: list[str] = []
    raw = _without_nothing(parsed(content, mistakes))
    foreign = _take_foreign(raw)
    if foreign:
        warnings.append(f"config.yaml: left alone, settings of other programs: {', '.join(foreign)}")
    found = resolved(raw, home)
    mistakes += [f"{path}: {what}" for path, what in found.mistakes.items()]
    warnings += _plain_text_secrets(raw, types)
    config: Config | None = None
    others: list[str] = []  # found in what references to secrets were replaced in
    try:
        config = config_model(types).model_validate(found.raw)
    except ValidationError as error:
        others += lines_of(error, types)
    others += conflicts(found.raw, types)
    if check_templates:
        others += template_errors(found.raw, types)
    if "syftbox_root" not in found.raw and default_root(str(found.raw.get("do_email"))) is None:
        others.append(f"syftbox_root: missing, and it cannot be found: {why_not_expanded('~')}")
    mistakes += _without_secrets(others, found)
    if mistakes or config is None:
        lines = "\n".join(f"  {line}" for line in mistakes)
        raise ConfigError(f"config.yaml: {plural(len(mistakes), 'mistake')}\n{lines}", hint=f"edit {home.config}")
    warnings += _suspicious(config)
    config = _completed(config, home, types)
    warnings += _unencrypted(config)
    transports = config.transports.values()
    secrets = {home.config, home.environment, secret_key(home)}.union(*(each.private_files for each in transports))
    trusted = found.files.union(*(each.trusted_files for each in transports))
    warnings += filter(None, map(ownership_warning, (home.root, *sorted(secrets), home.credentials)))
    warnings += filter(None, map(changeable_warning, sorted(trusted - secrets)))
    return Settings(
        home=home,
        config=config,
        root=_root(config, home),
        default_mail_transport=_default_mail_transport(config, types),
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
            f"{path} cannot be read: {error.strerror}{whose(path)}",
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
    if config.routes == () and not config.extra_routes and not asks:
        yield "routes: the list is empty, so no job or peer is notified; remove it to use the built-in routes"
    if not (config.notify.monitor_jobs or config.notify.monitor_peers):
        yield (
            "notify.monitor_jobs and notify.monitor_peers are false, so no job or peer is notified; set one of them to "
            "true"
        )
    reminders = config.reminders
    if reminders.to and not (reminders.job_waiting or reminders.job_long_running):
        yield "reminders.to: has no effect; set `reminders.job_waiting` or `reminders.job_long_running` as well"


def _completed(config: Config, home: Home, types: TransportTypes) -> Config:
    """`config` with absolute paths, and with the first type's transport if it has no transports."""
    default, settings = next(iter(types.items()))
    transports: dict[str, TransportSettings] = {}
    for name, transport in (config.transports or {default: settings(type=default)}).items():
        paths = {key: getattr(transport, key) for key in type(transport).model_fields}
        places = {key: expanded(path, home.root) for key, path in paths.items() if isinstance(path, Path)}
        transports[name] = transport.model_copy(update=places)
    notify = config.notify
    notes = {
        key: expanded(path, home.root)
        for key in ("sync_state_path", "notify_state_path")
        if (path := getattr(notify, key)) is not None
    }
    return config.model_copy(update={"transports": transports, "notify": notify.model_copy(update=notes)})


def _default_mail_transport(config: Config, types: TransportTypes) -> str:
    """The name of the first transport of the most preferred mail type; empty if there is none."""
    found = (name for kind in mail_types(types) for name, each in config.transports.items() if each.type == kind)
    return next(found, "")


def _plain_text_secrets(raw: Mapping[str, Any], types: TransportTypes) -> Iterator[str]:
    """The warning about secrets that stand in the file in plain text."""
    transports = raw.get("transports")
    found = [
        f"transports.{name}.{key}"
        for name, section in (transports if isinstance(transports, dict) else {}).items()
        if (settings := settings_type(types, section)) is not None
        for key in settings.plain_secrets(section)
    ]
    if found:
        yield f"secrets in plain text: {', '.join(found)}; `notify secret set NAME` keeps one encrypted"


def _unencrypted(config: Config) -> Iterator[str]:
    for name, section in config.transports.items():
        if section.exposed:
            yield f"config.yaml: transports.{name}: {unencrypted(section.exposed)}; change `url` to https://"


def _root(config: Config, home: Home) -> Path:
    if config.syftbox_root is not None:
        return expanded(config.syftbox_root, home.root)
    return default_root(config.do_email) or expanded("~")


def default_root(email: str) -> Path | None:
    """The SyftBox folder where none is configured: the one that exists, else where a published client will create it.

    None where there is no home directory in which it could be.
    """
    return found_root(email) or expanded_if_possible(f"~/SyftBox_{email}")


def found_root(email: str) -> Path | None:
    """The SyftBox folder of `email` where the published clients put it, if it exists."""
    places = filter(None, map(expanded_if_possible, (f"~/SyftBox_{email}", "~/SyftBox", f"/content/SyftBox_{email}")))
    return next((path for path in places if is_folder(path)), None)


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; no, where that cannot be found out."""
    try:
        return path.is_dir()
    except OSError:
        return False
