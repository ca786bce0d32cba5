"""Changes to `config.yaml` that select the default mail transport, or its mail server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from syftnotify.config.transport import mail_types
from syftnotify.transports.registry import TRANSPORT_TYPES
from syftnotify.transports.smtp.server import parse_smtp_url
from syftnotify.transports.smtp.settings import SmtpSettings

MAIL_TYPES = mail_types(TRANSPORT_TYPES)  # the preferred one first
SMTP = SmtpSettings.type_name()


@dataclass(frozen=True, slots=True)
class MailSetup:
    """The changes for one transport, which is the default mail transport afterwards."""

    name: str
    changes: Mapping[tuple[str, ...], Any]
    removed: tuple[str, ...] = ()  # settings that the new type does not have
    kept: str = ""  # the previous default mail transport, which stays configured
    needs_server: bool = False  # an SMTP transport without a server yet
    secret: str = SMTP  # the name under which the server's URL is saved if it contains a password
    password_url: str | None = None  # the URL to be encrypted under that name

    def with_server(self, url: str) -> MailSetup:
        """The same with the mail server at `url`; a URL with a password is encrypted."""
        path = ("transports", self.name)
        has_password = bool(parse_smtp_url(url).password)
        url_key, *other_keys = SmtpSettings.server_keys
        changes: dict[tuple[str, ...], Any] = {**self.changes, **{(*path, key): None for key in other_keys}}
        changes[*path, url_key] = f"secret:{self.secret}" if has_password else url
        return replace(self, changes=changes, needs_server=False, password_url=url if has_password else None)


def mail_setup(raw: Mapping[str, Any], wanted: str) -> MailSetup:
    """The changes to the configuration `raw` that make a transport of type `wanted` the default mail transport.

    A transport of that type is used as it is. A less preferred one with settings of its own is kept beside a new one.
    Any other one is replaced under its name, so that routes which refer to it stay valid.
    """
    written = raw.get("transports")
    sections: dict[str, Any] = written if isinstance(written, dict) else {}
    current, found = _current(sections)
    if found == wanted:
        return MailSetup(current, {}, secret=_free_secret(raw, current))
    section = sections.get(current) or {}
    if not current or (MAIL_TYPES.index(wanted) < MAIL_TYPES.index(found) and len(section) > 1):
        name = _free("mail", wanted, sections)
        return _new(raw, name, wanted, {}, kept=current)
    return _new(raw, current, wanted, section)


def _new(raw: Mapping[str, Any], name: str, wanted: str, section: Mapping[str, Any], *, kept: str = "") -> MailSetup:
    known = {field.alias or key for key, field in TRANSPORT_TYPES[wanted].model_fields.items()}
    removed = tuple(key for key in section if key not in known)
    path = ("transports", name)
    changes: dict[tuple[str, ...], Any] = {(*path, "type"): wanted, **{(*path, key): None for key in removed}}
    needs_server = bool(TRANSPORT_TYPES[wanted].server_keys)
    return MailSetup(name, changes, removed, kept, needs_server, _free_secret(raw, name))


def _current(sections: Mapping[str, Any]) -> tuple[str, str]:
    """The name and type of the default mail transport; without any transports, an implicit one of the first type."""
    for kind in MAIL_TYPES:
        for name, section in sections.items():
            if isinstance(section, dict) and section.get("type") == kind:
                return name, kind
    return ("", "") if sections else ("mail", MAIL_TYPES[0])


def _free(first: str, stem: str, taken: Mapping[str, Any]) -> str:
    names = (first, stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def _free_secret(raw: Mapping[str, Any], transport: str) -> str:
    """A name for the secret of `transport` that no other setting refers to."""
    sections = raw.get("transports")
    others = {key: value for key, value in sections.items() if key != transport} if isinstance(sections, dict) else {}
    text = repr((others, raw.get("heartbeat")))
    names = (SMTP, *(f"{SMTP}-{number}" for number in range(2, len(others) + 4)))
    return next(name for name in names if f"'secret:{name}'" not in text)
