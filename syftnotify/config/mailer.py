"""How `config.yaml` must change for mail to go out through a transport of another type, or another mail server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from syftnotify.config.schema import MAIL_TYPES, TRANSPORT_TYPES
from syftnotify.transports.smtp.server import parse_smtp_url

_SERVER = ("smtp_url", "host", "port", "user", "password", "tls")  # the settings that name a mail server


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes for one transport, which carries mail afterwards."""

    name: str
    changes: Mapping[tuple[str, ...], Any]
    removed: tuple[str, ...] = ()  # settings that the new type does not have
    kept: str = ""  # the transport that carried mail before and stays configured
    needs_server: bool = False  # an SMTP transport without a server yet
    secret: str = "smtp"  # noqa: S105 - the name under which the server's URL is kept, if it has a password
    password_of: str | None = None  # the URL to be encrypted under that name

    def with_server(self, url: str) -> Plan:
        """The same for an SMTP transport, with its server; a URL with a password is encrypted."""
        path = ("transports", self.name)
        has_password = bool(parse_smtp_url(url).password)
        changes: dict[tuple[str, ...], Any] = {**self.changes, **{(*path, key): None for key in _SERVER[1:]}}
        changes[*path, "smtp_url"] = f"secret:{self.secret}" if has_password else url
        return replace(self, changes=changes, needs_server=False, password_of=url if has_password else None)


def plan(raw: Mapping[str, Any], wanted: str) -> Plan:
    """What changes in the configuration `raw` so that a transport of the type `wanted` carries mail.

    A transport of that type is used as it is. A less preferred one with settings of its own stays beside the new one,
    which is used instead of it. Any other one is replaced under its name, so that routes which refer to it still hold.
    """
    written = raw.get("transports")
    sections: dict[str, Any] = written if isinstance(written, dict) else {}
    current, found = _current(sections)
    if found == wanted:
        return Plan(current, {}, secret=_free_secret(raw, current))
    section = sections.get(current) or {}
    if not current or (MAIL_TYPES.index(wanted) < MAIL_TYPES.index(found) and len(section) > 1):
        name = _free("mail", wanted, sections)
        return _new(raw, name, wanted, {}, kept=current)
    return _new(raw, current, wanted, section)


def _new(raw: Mapping[str, Any], name: str, wanted: str, section: Mapping[str, Any], *, kept: str = "") -> Plan:
    known = {field.alias or key for key, field in TRANSPORT_TYPES[wanted].model_fields.items()}
    removed = tuple(key for key in section if key not in known)
    path = ("transports", name)
    changes: dict[tuple[str, ...], Any] = {(*path, "type"): wanted, **{(*path, key): None for key in removed}}
    return Plan(name, changes, removed, kept, wanted == "smtp", _free_secret(raw, name))


def _current(sections: Mapping[str, Any]) -> tuple[str, str]:
    """The name and type of the transport that carries mail; without any transports, an implicit one of type gmail."""
    for kind in MAIL_TYPES:
        for name, section in sections.items():
            if isinstance(section, dict) and section.get("type") == kind:
                return name, kind
    return ("", "") if sections else ("mail", "gmail")


def _free(first: str, stem: str, taken: Mapping[str, Any]) -> str:
    names = (first, stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def _free_secret(raw: Mapping[str, Any], transport: str) -> str:
    """A name for the secret of `transport` that nothing else refers to."""
    sections = raw.get("transports")
    others = {key: value for key, value in sections.items() if key != transport} if isinstance(sections, dict) else {}
    text = repr((others, raw.get("heartbeat")))
    names = ("smtp", *(f"smtp-{number}" for number in range(2, len(others) + 4)))
    return next(name for name in names if f"'secret:{name}'" not in text)
