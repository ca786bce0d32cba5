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
    secret: str = SMTP  # name of the secret that stores the server's URL if it contains a password
    password_url: str | None = None  # the URL to store as that secret; None: it has no password

    def with_server(self, url: str) -> MailSetup:
        """The setup with the mail server at `url`; a URL with a password becomes a secret."""
        path = ("transports", self.name)
        has_password = bool(parse_smtp_url(url).password)
        url_key, *other_keys = SmtpSettings.server_keys
        changes: dict[tuple[str, ...], Any] = {**self.changes, **{(*path, key): None for key in other_keys}}
        changes[*path, url_key] = f"secret:{self.secret}" if has_password else url
        return replace(self, changes=changes, needs_server=False, password_url=url if has_password else None)


def mail_setup(raw: Mapping[str, Any], wanted: str) -> MailSetup:
    """The changes to the configuration `raw` that make a transport of type `wanted` the default mail transport.

    If the default mail transport has that type, it stays as it is. If its type is less preferred and it has settings,
    it is kept beside a new transport. Otherwise its type is changed; the name stays, so that routes with it stay valid.
    """
    sections = _sections(raw)
    current, current_type = _default_mail_transport(sections)
    if current_type == wanted:
        return MailSetup(current, {}, secret=_free_secret(raw, current))
    section = sections.get(current) or {}
    if not current or (MAIL_TYPES.index(wanted) < MAIL_TYPES.index(current_type) and len(section) > 1):
        name = _free_name("mail", wanted, sections)
        return _set_type(raw, name, wanted, {}, kept=current)
    return _set_type(raw, current, wanted, section)


def preferred_mail_transport(raw: Mapping[str, Any]) -> str:
    """The name of the default mail transport of `raw` if it has the preferred type; otherwise empty."""
    name, kind = _default_mail_transport(_sections(raw))
    return name if kind == MAIL_TYPES[0] else ""


def _sections(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of `transports:` by name; empty if there are none."""
    sections = raw.get("transports")
    return sections if isinstance(sections, dict) else {}


def _set_type(
    raw: Mapping[str, Any], name: str, wanted: str, section: Mapping[str, Any], *, kept: str = ""
) -> MailSetup:
    """The changes that give the transport `name`, whose section is `section` so far, the type `wanted`."""
    known = {field.alias or key for key, field in TRANSPORT_TYPES[wanted].model_fields.items()}
    removed = tuple(key for key in section if key not in known)
    path = ("transports", name)
    changes: dict[tuple[str, ...], Any] = {(*path, "type"): wanted, **{(*path, key): None for key in removed}}
    needs_server = bool(TRANSPORT_TYPES[wanted].server_keys)
    return MailSetup(name, changes, removed, kept, needs_server, _free_secret(raw, name))


def _default_mail_transport(sections: Mapping[str, Any]) -> tuple[str, str]:
    """Name and type of the default mail transport; both empty if there is none.

    Without `transports:`, the configuration implies the transport `mail` of the preferred type.
    """
    for kind in MAIL_TYPES:
        for name, section in sections.items():
            if isinstance(section, dict) and section.get("type") == kind:
                return name, kind
    return ("", "") if sections else ("mail", MAIL_TYPES[0])


def _free_name(first: str, stem: str, taken: Mapping[str, Any]) -> str:
    """The first of `first`, `stem`, `stem-2`, `stem-3`, ... that is not in `taken`."""
    names = (first, stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def _free_secret(raw: Mapping[str, Any], transport: str) -> str:
    """A name for the secret of `transport` that no other setting refers to."""
    others = {name: section for name, section in _sections(raw).items() if name != transport}
    settings = repr((others, raw.get("heartbeat")))  # the settings that can refer to secrets
    names = (SMTP, *(f"{SMTP}-{number}" for number in range(2, len(others) + 4)))
    return next(name for name in names if f"'secret:{name}'" not in settings)
