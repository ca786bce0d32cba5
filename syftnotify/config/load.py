"""Loading `config.yaml`: all errors at once, each with the path of its setting."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from syftnotify.config.relations import conflicts, template_errors
from syftnotify.config.schema import FOREIGN, Config, config_model
from syftnotify.config.secrets import ResolvedConfig, is_plain_text, key_file, references_to_stored, resolve_references
from syftnotify.config.syftbox_root import default_root
from syftnotify.config.transport import TransportSettings, TransportTypes, mail_types, settings_type
from syftnotify.config.urls import unencrypted
from syftnotify.config.validation_errors import error_lines
from syftnotify.config.yaml_reader import parse_yaml, read_config_file
from syftnotify.core.errors import ConfigError
from syftnotify.core.text import plural
from syftnotify.system.files import fingerprint
from syftnotify.system.ownership import check_config, check_home
from syftnotify.system.paths import Home, expand_path, expansion_error
from syftnotify.system.permissions import secret_file_problem, write_access_problems

_COMMENT_AS_VALUE = re.compile(rb"(?m)^[^#'\"\n]*(?:[\[,:]|-) *#\w")  # `to: [#jobs]`, `- #jobs`
_SECRET_PART = 4  # characters; errors that have so many in a row in common with a secret are not shown


@dataclass(frozen=True, slots=True)
class Settings:
    """A valid configuration with absolute paths and all defaults."""

    home: Home
    config: Config
    root: Path
    default_mail_transport: str  # its name; empty: no transport sends mail
    fingerprint: str  # of the file, to detect changes since the start
    warnings: tuple[str, ...] = ()

    @property
    def mail_settings(self) -> TransportSettings | None:
        """The settings of the default mail transport."""
        return self.config.transports.get(self.default_mail_transport)

    @property
    def holding(self) -> frozenset[str]:
        """The names of the transports that do not resend messages with an unknown outcome."""
        return frozenset(name for name, transport in self.config.transports.items() if self.holds(transport))

    def holds(self, transport: TransportSettings) -> bool:
        """Whether `transport` does not resend messages with an unknown outcome."""
        return (transport.on_unknown or self.config.notify.on_unknown) == "hold"


def load(home: Home, types: TransportTypes, *, check_templates: bool = False) -> Settings:
    """Load the configuration of `home`.

    `types` are the known types of transports. `check_templates` adds the errors in their templates, which is slow.

    Raises:
        ConfigError: it is missing, cannot be read, or has errors; the message lists all of them.
        UnsafeHomeError: others can change the home, the configuration or the templates.
        NotifyError: the home belongs to another user.
    """
    check_home(home)
    check_config(home)
    return parse(read_config_file(home.config), home, types, check_templates=check_templates)


def parse(content: bytes, home: Home, types: TransportTypes, *, check_templates: bool = False) -> Settings:
    """Parse `content` as the `config.yaml` of `home`; the other parameters are those of `load`.

    Raises:
        ConfigError: it has errors; the message lists all of them.
    """
    raw, errors = parse_yaml(content)
    raw = _drop_empty_keys(raw)
    foreign = _pop_foreign_keys(raw)
    resolved = resolve_references(raw, home)
    config, schema_errors = _validate(resolved.raw, types, check_templates=check_templates)
    errors += [f"{path}: {text}" for path, text in resolved.errors.items()]
    errors += _without_secrets(schema_errors, resolved, references_to_stored(raw))
    if errors or config is None:
        lines = "\n".join(f"  {line}" for line in errors)
        hint = f"edit {home.config}"
        if _COMMENT_AS_VALUE.search(content):
            hint += '; in YAML a `#` begins a comment, so write names of channels in quotes: "#jobs"'
        raise ConfigError(f"config.yaml: {plural(len(errors), 'error')}\n{lines}", hint=hint)
    completed = _with_defaults(config, home, types)
    return Settings(
        home=home,
        config=completed,
        root=_root(config, home),
        default_mail_transport=_default_mail_transport(completed, types),
        fingerprint=fingerprint(content),
        warnings=(
            *([f"config.yaml: ignored settings of other programs: {', '.join(foreign)}"] if foreign else []),
            *_plain_text_secrets(raw, types),
            *_suspicious(config),
            *_unencrypted(completed),
            *_permission_warnings(completed, home, resolved.files),
        ),
    )


def _validate(
    raw: Mapping[str, Any], types: TransportTypes, *, check_templates: bool
) -> tuple[Config | None, list[str]]:
    """The configuration, None if the schema refuses it, and all errors. They may show the values of secrets."""
    config: Config | None = None
    errors: list[str] = []
    try:
        config = config_model(types).model_validate(raw)
    except ValidationError as error:
        errors += error_lines(error, types)
    errors += conflicts(raw, types)
    if check_templates:
        errors += template_errors(raw, types)
    if "syftbox_root" not in raw and default_root(str(raw.get("do_email"))) is None:
        errors.append(f"syftbox_root: missing, and it has no default: {expansion_error('~')}")
    return config, errors


def _without_secrets(errors: Iterable[str], resolved: ResolvedConfig, stored: Mapping[str, str]) -> Iterator[str]:
    """`errors` without the values of secrets, and without those of settings whose reference has no value.

    `stored` has the names of stored secrets by the paths of the settings that refer to them.
    """
    for line in errors:
        # Not `partition`: a name in the path may contain ": ".
        path = next((path for path in (*resolved.values, *resolved.errors) if line.startswith(f"{path}: ")), None)
        if path is None:
            yield line
        elif path in resolved.values:
            is_safe = not _may_reveal(line.removeprefix(path), resolved.values[path])
            shown = line if is_safe else f"{path}: the referenced value is not valid for this setting"
            is_wrong_value = path in stored and (not is_safe or "expected" in line)  # and no conflict with another key
            yield f"{shown}; store another one: `notify secret set {stored[path]}`" if is_wrong_value else shown


def _may_reveal(text: str, secret: str) -> bool:
    """Whether `text`, an error about `secret`, may contain a part of it, such as its beginning."""
    if not (secret.isascii() and secret.isprintable()) or set(secret) & set("%\\\"'"):  # maybe in another spelling
        return True
    parts = (secret[start : start + _SECRET_PART] for start in range(max(1, len(secret) - _SECRET_PART + 1)))
    return any(part.lower() in text.lower() for part in parts)


def _permission_warnings(config: Config, home: Home, secret_sources: set[Path]) -> Iterator[str]:
    """Warnings about files with secrets that others can read, and files that others can change."""
    transports = config.transports.values()
    secrets = {home.config, home.environment, key_file(home)}.union(*(each.private_files for each in transports))
    for path in (home.root, *sorted(secrets), home.credentials):
        if problem := secret_file_problem(path):
            yield str(problem)
    trusted = secret_sources.union(*(each.trusted_files for each in transports))
    for path in sorted(trusted - secrets):
        if problem := next(write_access_problems(path), None):
            yield str(problem)


def _drop_empty_keys(raw: dict[str, Any]) -> dict[str, Any]:
    """`raw` without keys that have no value, such as an empty section or syft-bg's nulls."""
    kept = {
        key: _drop_empty_keys(value) if isinstance(value, dict) and key != "transports" else value
        for key, value in raw.items()
        if value is not None
    }
    if isinstance(kept.get("transports"), dict):
        # A transport without settings is kept, so that its missing type is reported.
        kept["transports"] = {
            name: _drop_empty_keys(section) if isinstance(section, dict) else ({} if section is None else section)
            for name, section in kept["transports"].items()
        }
    return kept


def _pop_foreign_keys(raw: dict[str, Any]) -> list[str]:
    """Remove the settings of other programs from `raw`, and return their paths."""
    found: list[str] = []
    for section, names in FOREIGN.items():
        values = raw.get(section) if section else raw
        if not isinstance(values, dict):
            continue
        for name in sorted(names & values.keys()):
            del values[name]
            found.append(f"{section}.{name}" if section else name)
    return found


def _suspicious(config: Config) -> Iterator[str]:
    """Warnings about valid settings that are probably not intended."""
    has_events = any(transport.events is not None for transport in config.transports.values())
    if config.routes == () and not config.extra_routes and not has_events:
        yield "routes: the list is empty, so no job or peer is notified; remove it to use the built-in routes"
    if not (config.notify.monitor_jobs or config.notify.monitor_peers):
        yield (
            "notify.monitor_jobs and notify.monitor_peers are false, so no job or peer is notified; set one of them to "
            "true"
        )
    reminders = config.reminders
    if reminders.to and not (reminders.job_waiting or reminders.job_long_running):
        yield "reminders.to: has no effect; set `reminders.job_waiting` or `reminders.job_long_running` as well"


def _with_defaults(config: Config, home: Home, types: TransportTypes) -> Config:
    """`config` with absolute paths, and with a transport of the first type if it has no transports."""
    default, settings = next(iter(types.items()))
    transports: dict[str, TransportSettings] = {}
    for name, transport in (config.transports or {default: settings(type=default)}).items():
        paths = {key: getattr(transport, key) for key in type(transport).model_fields}
        absolute = {key: expand_path(path, home.root) for key, path in paths.items() if isinstance(path, Path)}
        transports[name] = transport.model_copy(update=absolute)
    notify = config.notify
    notify_paths = {
        key: expand_path(path, home.root)
        for key in ("sync_state_path", "notify_state_path")
        if (path := getattr(notify, key)) is not None
    }
    return config.model_copy(update={"transports": transports, "notify": notify.model_copy(update=notify_paths)})


def _default_mail_transport(config: Config, types: TransportTypes) -> str:
    """The name of the first transport of the most preferred mail type; empty if there is none."""
    found = (name for kind in mail_types(types) for name, each in config.transports.items() if each.type == kind)
    return next(found, "")


def _plain_text_secrets(raw: Mapping[str, Any], types: TransportTypes) -> Iterator[str]:
    """The warning about secrets in plain text; `raw` has the references to the other ones."""
    transports = raw.get("transports")
    found = [
        f"transports.{name}.{key}"
        for name, section in (transports if isinstance(transports, dict) else {}).items()
        if (settings := settings_type(types, section)) is not None
        for key in settings.plain_secrets(section)
    ]
    database = raw.get("database")
    if isinstance(database, str) and is_plain_text(database) and urlsplit(database).password:
        found.append("database")
    if found:
        yield f"secrets in plain text: {', '.join(found)}; run `notify secret set NAME` to store one encrypted"


def _unencrypted(config: Config) -> Iterator[str]:
    for name, section in config.transports.items():
        if section.exposed:
            warning = unencrypted(section.exposed, section.plain_scheme)
            yield f"config.yaml: transports.{name}: {warning}; change `url` to {section.plain_scheme}s://"


def _root(config: Config, home: Home) -> Path:
    if config.syftbox_root is not None:
        return expand_path(config.syftbox_root, home.root)
    return default_root(config.do_email) or expand_path("~")
