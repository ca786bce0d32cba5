"""Conflicts between settings: transports, recipients, settings that need another one.

The input is the file as written and not the validated configuration, so that they are found even if other sections have
errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from syftnotify.config.transport import TransportSettings, TransportTypes, mail_types, settings_type
from syftnotify.core.identifiers import AddressType, address_type_of, is_address
from syftnotify.core.kinds import ROLES
from syftnotify.core.models import INBOX, MAIL
from syftnotify.core.text import did_you_mean, escape, listed

# The types of the configured transports by their name; None where the type is unknown.
_Configured = Mapping[str, type[TransportSettings] | None]


def conflicts(raw: Mapping[str, Any], types: TransportTypes) -> Iterator[str]:
    """All conflicts, as `path: text`. Settings of a wrong type are left to the schema."""
    sections = _mapping(raw.get("transports"))
    configured: _Configured = {
        name: settings_type(types, section) for name, section in sections.items() if isinstance(name, str)
    }
    for name, section in sections.items():
        yield from _misnamed(name, has_inbox="serve" in raw)
        if (settings := settings_type(types, section)) is not None:
            yield from (f"{_path(name)}: {text}" for text in settings.conflicts(section))
    configured = configured or dict([next(iter(types.items()))])
    can_mail = None in configured.values() or any(
        settings is not None and settings.medium(name) == MAIL for name, settings in configured.items()
    )
    if not can_mail and "routes" not in raw:
        mail = listed(mail_types(types), "or")
        yield f"transports: none of them can send mail; add one of type {mail}, or write `routes`"
    for name, section in sections.items():
        for key in ("default_recipient", "to"):
            for recipient in _recipients(_mapping(section).get(key)):
                yield from _wrong_recipient(f"{_path(name)}.{key}", recipient, str(name), configured)
    yield from _unmatchable(_mapping(raw.get("recipients")).get("allow"), configured)
    for recipient in _recipients(_mapping(raw.get("reminders")).get("to")):
        yield from _wrong_recipient("reminders.to", recipient, None, configured)
    yield from _double_heartbeat(_mapping(raw.get("heartbeat")))
    for key in ("routes", "extra_routes", "routes+"):
        routes = raw.get(key)
        for number, route in enumerate(routes if isinstance(routes, list) else ()):
            yield from _misrouted(
                f"{key}[{number}]", _mapping(route), configured, can_mail=can_mail, has_inbox="serve" in raw
            )


def _double_heartbeat(heartbeat: Mapping[str, Any]) -> Iterator[str]:
    if heartbeat.get("daily") not in (None, False) and heartbeat.get("every") is not None:
        yield "heartbeat: `daily` and `every` exclude each other; write one of them"


def template_errors(raw: Mapping[str, Any], types: TransportTypes) -> Iterator[str]:
    """The errors in the templates of transports, as `path: text`."""
    for name, section in _mapping(raw.get("transports")).items():
        if (settings := settings_type(types, section)) is not None:
            yield from (f"{_path(name)}.{text}" for text in settings.template_errors(section))


def _path(name: object) -> str:
    return escape(f"transports.{name}")


def _address_types(configured: _Configured) -> set[AddressType]:
    """The address types of the configured transports; all of them if a type is unknown."""
    if None in configured.values():
        return set(AddressType)
    return {settings.address_type for settings in configured.values() if settings is not None}


def _misnamed(name: object, *, has_inbox: bool) -> Iterator[str]:
    """Names of transports that mean something else where a recipient or a transport is named."""
    if name in ROLES:
        yield f"transports.{name}: is the name of a role; call it something else"
    elif name == INBOX and has_inbox:
        yield f"transports.{name}: is the name of the inbox, which `serve` adds; call it something else"
    elif isinstance(name, str) and (not name or any(sign in "#@" or sign.isspace() for sign in name)):
        text = escape(name, limit=60)
        yield f"transports: {text!r} cannot be the name of a transport; use one without blanks, # and @"


def _unmatchable(allow: Any, configured: _Configured) -> Iterator[str]:
    """Entries of `recipients.allow` that match neither an address nor a recipient of a configured transport."""
    for number, entry in enumerate(allow if isinstance(allow, list) else ()):
        if not isinstance(entry, str) or not entry.strip():
            continue
        before, at, after = entry.partition("@")
        is_channel = entry[0] in "#@" and AddressType.CHANNEL in _address_types(configured)
        if is_channel or any(sign in before for sign in "*?[") or (before and after) or entry in configured:
            continue
        domain = after or entry.strip("@# ")
        why = f"has nothing {'after' if before else 'before'} the @" if at else "has no @"
        hint = f"'*@{domain}'" if "." in domain and not entry.endswith("@") else "'*@uni.example'"
        yield (
            f"recipients.allow[{number}]: {escape(entry, limit=60)!r} {why}, so it matches no address; write a whole "
            f"address, or a pattern such as {escape(hint, limit=60)}"
        )


def _misrouted(
    path: str, route: Mapping[str, Any], configured: _Configured, *, can_mail: bool, has_inbox: bool
) -> Iterator[str]:
    key = "via" if "via" in route and "transport" not in route else "transport"  # both: an error of the schema
    transport, to = route.get(key), route.get("to")
    if transport is not None and not isinstance(transport, str):
        return
    if not can_mail and transport is None and not to:
        yield f"{path}: no transport can send mail; set `to` or `transport`"
    if transport == INBOX and transport not in configured and has_inbox:
        yield from (
            f"{path}.to: {escape(recipient)!r} has no inbox; only roles and addresses have one"
            for recipient in _recipients(to)
            if recipient not in ROLES and not is_address(recipient)
        )
        return
    if transport is not None and transport not in configured:
        yield f"{path}.{key}: there is no transport {escape(transport)!r}{did_you_mean(transport, configured)}"
        return
    for recipient in _recipients(to):
        yield from _wrong_recipient(f"{path}.to", recipient, transport, configured)


def _wrong_recipient(path: str, recipient: str, transport: str | None, configured: _Configured) -> Iterator[str]:
    address_type = AddressType.MAIL if recipient in ROLES else address_type_of(recipient)
    if transport is not None:
        settings = configured.get(transport)
        if settings is not None and not _accepts(transport, settings, recipient, address_type):
            kind = settings.type_name()
            yield f"{path}: {escape(recipient)!r} is not a recipient of {transport}, which is of type {kind}"
    elif None not in configured.values() and not any(
        settings is not None
        and _accepts(name, settings, recipient, address_type)
        and (address_type is not AddressType.MAIL or settings.medium(name) == MAIL)  # what routes choose by themselves
        for name, settings in configured.items()
    ):
        yield f"{path}: no transport delivers to {escape(recipient)!r}"


def _accepts(name: str, settings: type[TransportSettings], recipient: str, address_type: AddressType) -> bool:
    is_other_endpoint = address_type is AddressType.ENDPOINT and recipient != name
    return settings.address_type is address_type and not is_other_endpoint


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _recipients(value: Any) -> list[str]:
    """The recipients in a setting such as `to`; none if it is malformed."""
    recipients = [value] if isinstance(value, str) else value
    is_list = isinstance(recipients, list) and all(isinstance(each, str) for each in recipients)
    return recipients if is_list else []
