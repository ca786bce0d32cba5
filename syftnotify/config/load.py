"""Reading `config.yaml`: all mistakes at once, each by its path, with what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from syftnotify.config.schema import FOREIGN, TRANSPORT_TYPES, Config, Gmail, Transport, Webhook
from syftnotify.config.secrets import Resolved, resolved
from syftnotify.config.secrets import key_file as secret_key
from syftnotify.config.values import got
from syftnotify.errors import ConfigError
from syftnotify.files import fingerprint, too_open, whose
from syftnotify.model import ROLES, Form, form_of
from syftnotify.paths import Home, expanded
from syftnotify.text import decoded, plural, shown

_MAX_BYTES = 1 << 20
_NAMING = frozenset({"transports", "secrets"})  # below them a number is a name, wrongly written, and no place in a list


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
        for kind in ("gmail", "smtp", "maildir"):
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


def load(home: Home) -> Settings:
    """The configuration of `home`.

    Raises:
        ConfigError: it is missing, cannot be read, or has mistakes; the message lists them all.
    """
    content = _read(home.config)
    warnings: list[str] = []
    mistakes: list[str] = []
    raw = _without_nothing(_parsed(_text(content), mistakes))
    foreign = _take_foreign(raw)
    if foreign:
        warnings.append(f"config.yaml: left alone, they are other programs': {', '.join(foreign)}")
    found = resolved(raw, home)
    mistakes += [f"{path}: {what}" for path, what in found.mistakes.items()]
    warnings += found.warnings
    config: Config | None = None
    try:
        config = Config.model_validate(found.raw)
        mistakes += _without_secrets(_misdirected(config), found)
    except ValidationError as error:
        mistakes += _without_secrets(_mistakes(error), found)
    if mistakes or config is None:
        lines = "\n".join(f"  {line}" for line in mistakes)
        raise ConfigError(f"config.yaml: {plural(len(mistakes), 'mistake')}\n{lines}", hint=f"edit {home.config}")
    config = _completed(config, home)
    warnings += _unencrypted(config)
    secrets = {
        home.config,
        home.environment,
        secret_key(home),
        *(each.token for each in config.transports.values() if isinstance(each, Gmail)),
    }
    warnings += filter(None, (too_open(path) for path in (home.root, *sorted(secrets), home.credentials)))
    return Settings(
        home=home,
        config=config,
        root=_root(config, home),
        fingerprint=fingerprint(content),
        warnings=tuple(warnings),
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration at {path}", hint="`notify init` writes one") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}{whose(path)}", hint="make it yours") from error
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path} is larger than 1 MiB; that is no configuration")
    return content


def _text(content: bytes) -> str:
    try:
        return decoded(content)
    except ValueError as error:
        raise ConfigError(f"config.yaml: {error}") from None


def _parsed(content: str, mistakes: list[str]) -> dict[str, Any]:
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, Loader=yaml.SafeLoader)):
            raise ConfigError("config.yaml: YAML aliases (*name) are not understood here", hint="write it out instead")
        node = yaml.compose(content, Loader=yaml.SafeLoader)
        mistakes += _repeated(node)
        raw = yaml.safe_load(content)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"config.yaml: {where}{error.problem or 'not YAML'}", hint="mend that line") from error
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ConfigError(f"config.yaml: not YAML: {shown(str(error))}") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError("config.yaml: expected keys with values, such as `do_email: owner@example.org`")
    return raw


def _repeated(node: yaml.Node | None, path: str = "") -> Iterator[str]:
    """Keys that stand twice in one mapping; YAML readers silently keep the last."""
    if isinstance(node, yaml.SequenceNode):
        for index, entry in enumerate(node.value):
            yield from _repeated(entry, f"{path}[{index}]")
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = f"{path}.{key.value}".removeprefix(".")
        if name in seen:
            yield f"{shown(name)}: stands twice (again in line {key.start_mark.line + 1})"
        seen.add(name)
        yield from _repeated(value, name)


def _without_nothing(value: dict[str, Any]) -> dict[str, Any]:
    """Keys without a value count as left out: an empty section, syft-bg's nulls."""
    kept = {
        key: _without_nothing(inner) if isinstance(inner, dict) and key != "transports" else inner
        for key, inner in value.items()
        if inner is not None
    }
    if isinstance(kept.get("transports"), dict):
        # A transport without settings is a mistake to be told, not a transport that was never meant.
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


def _mistakes(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors():
        path = _plain_path(item["loc"])
        name = _spelled(path)
        kind = item["type"]
        if kind == "invalid_key" or (path[-1] == "[key]" and not isinstance(item["input"], str)):
            above = path[:-2] if path[-1] == "[key]" else path[:-1]
            place = f"{_spelled(above)}: " if above else ""
            lines.append(
                f"{place}YAML does not read the name {_written(item['input'])} as text: put the name into quotes"
            )
        elif kind == "extra_forbidden":
            lines.append(f"{name}: unknown{_nearest([str(part) for part in item['loc']])}")
        elif kind == "missing":
            lines.append(f"{name}: missing, it must be set")
        elif kind == "union_tag_not_found":
            lines.append(f"{name}.type: missing, expected {_types()}")
        elif kind == "union_tag_invalid":
            tag = str(item.get("ctx", {}).get("tag", ""))
            near = difflib.get_close_matches(tag, TRANSPORT_TYPES, n=1)
            guess = f", did you mean `{near[0]}`?" if near else ""
            lines.append(f"{name}.type: expected {_types()}, got {shown(tag, limit=60)!r}{guess}")
        elif kind in {"model_type", "dict_type", "model_attributes_type"}:
            # Below the transports what stands in the wrong place may be a secret.
            what = type(item["input"]).__name__ if path[0] in _NAMING else got(item["input"])
            lines.append(f"{name}: expected keys with values, got {what}")
        elif kind in {"tuple_type", "list_type"}:
            lines.append(f"{name}: expected a list, got {got(item['input'])}")
        elif kind == "string_type" and isinstance(item["input"], (bool, int, float, date)):
            lines.append(f"{name}: YAML does not read {_written(item['input'])} as text: put it into quotes")
        else:
            lines.append(f"{name}: {item['msg'].removeprefix('Value error, ')}")
    return lines


def _written(value: Any) -> str:
    """How something without quotes is written that YAML reads as `value`, which is no text."""
    if isinstance(value, bool):
        return "`on`, `yes` or `true`" if value else "`off`, `no` or `false`"
    return f"`{'null' if value is None else shown(str(value), limit=60)}`"


def _without_secrets(lines: Iterable[str], found: Resolved) -> Iterator[str]:
    """The mistakes that are not told already, and those about what was put in without what it is."""
    for line in lines:
        path = line.partition(": ")[0]
        if path in found.paths:
            yield f"{path}: what it refers to cannot stand here"
        elif path not in found.mistakes:
            yield line


def _types() -> str:
    *others, last = TRANSPORT_TYPES
    return f"{', '.join(others)} or {last}"


def _plain_path(loc: tuple[int | str, ...]) -> list[int | str]:
    """Where the mistake is as the file has it: without the tag that pydantic puts in for a union."""
    path = list(loc)
    if len(path) > 2 and path[0] == "transports" and path[2] in TRANSPORT_TYPES:
        del path[2]
    return path


def _spelled(path: Sequence[int | str]) -> str:
    """`routes[0].via`."""
    words = (f"[{part}]" if isinstance(part, int) and path[0] not in _NAMING else f".{part}" for part in path)
    return shown("".join(words).removeprefix("."))


def _misdirected(config: Config) -> list[str]:
    """Recipients that no transport carries to, and transports that are not there."""
    ways = {
        name: {"slack": Form.SLACK, "webhook": Form.WEBHOOK}.get(section.type, Form.MAIL)
        for name, section in config.transports.items()
    } or {"gmail": Form.MAIL}
    found = [f"transports.{name}: is the name of a role; call it something else" for name in ways if name in ROLES]
    rules: list[tuple[str, str | None, tuple[str, ...]]] = [
        *((f"routes[{n}]", rule.via, rule.to) for n, rule in enumerate(config.routes or ())),
        *((f"routes+[{n}]", rule.via, rule.to) for n, rule in enumerate(config.more_routes)),
        ("reminders", None, config.reminders.to),
        *((f"transports.{name}", name, section.to) for name, section in config.transports.items()),
    ]
    for name, section in config.transports.items():
        mistakes = (_misdirection(word, name, ways) for word in section.default_recipient)
        found += [f"transports.{name}.default_recipient: {mistake}" for mistake in mistakes if mistake]
    has_mail = Form.MAIL in ways.values()
    if not has_mail and config.routes is None:
        found.append(
            "transports: none of them can send mail; add one of type gmail, smtp or maildir, or write `routes`"
        )
    for path, via, to in rules:
        if not has_mail and via is None and not to and path.startswith("routes"):
            found.append(f"{path}: no transport can send mail, so `to` or `via` must say who hears")
        if via is not None and via not in ways:
            near = difflib.get_close_matches(via, ways, n=1)
            guess = f", did you mean `{near[0]}`?" if near else ""
            found.append(f"{path}.via: there is no transport {via!r}{guess}")
        else:
            mistakes = (_misdirection(word, via, ways) for word in to)
            found += [f"{path}.to: {mistake}" for mistake in mistakes if mistake]
    return found


def _misdirection(word: str, via: str | None, ways: Mapping[str, Form]) -> str:
    form = Form.MAIL if word in ROLES else form_of(word)
    if via is not None:
        if ways[via] is not form or (form is Form.WEBHOOK and word != via):
            return f"{shown(word)!r} is no recipient of {via}, which is of type {ways[via]}"
    elif form not in ways.values() or (form is Form.WEBHOOK and ways.get(word) is not form):
        return f"no transport carries to {shown(word)!r}"
    return ""


def _nearest(path: list[str]) -> str:
    model: type[BaseModel] | None = Config
    if path[0] == "transports" and len(path) > 2 and path[2] in TRANSPORT_TYPES:
        known = set(_fields(TRANSPORT_TYPES[path[2]]))
    else:
        for part in path[:-1]:
            if not part.isdigit():
                field = _fields(model).get(part)
                model = _model_in(field.annotation) if field else None
        known = set(_fields(model))
    near = difflib.get_close_matches(path[-1], sorted(known), n=1, cutoff=0.5)
    return f", did you mean `{near[0]}`?" if near else f"; known here: {', '.join(sorted(known))}"


def _fields(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """By the names that the file has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()} if model else {}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The first model that is named in a field's type: `tuple[RouteSection, ...] | None`, say."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _completed(config: Config, home: Home) -> Config:
    """`config` with every path absolute and the one transport that the shortest configuration leaves unsaid."""
    transports: dict[str, Transport] = {}
    for name, transport in (config.transports or {"gmail": Gmail(type="gmail")}).items():
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


def _unencrypted(config: Config) -> Iterator[str]:
    for name, section in config.transports.items():
        if isinstance(section, Webhook) and section.exposed:
            what = ", ".join(section.exposed)
            yield f"config.yaml: transports.{name}: {what} with unencrypted http://; change `url` to https://"


def _root(config: Config, home: Home) -> Path:
    if config.syftbox_root is not None:
        return expanded(config.syftbox_root, home.root)
    return found_root(config.do_email) or expanded("~/SyftBox")


def found_root(email: str) -> Path | None:
    """The SyftBox folder of `email` where the published clients put it, if one is there."""
    places = [f"~/SyftBox_{email}", "~/SyftBox", f"/content/SyftBox_{email}"]
    return next((path for path in map(expanded, places) if path.is_dir()), None)
