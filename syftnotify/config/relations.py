"""Mistakes in how settings refer to each other: transports, recipients, settings that need another one.

They are looked for in the file's own words and not in the checked configuration, so that they are found although
other sections have mistakes, too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from syftnotify.config.schema import TRANSPORT_TYPES
from syftnotify.core.identifiers import AddressType, address_type_of
from syftnotify.core.kinds import ROLES
from syftnotify.core.text import escape

# What a transport delivers to, by its name; None where its type is unknown.
_Forms = Mapping[str, AddressType | None]


def conflicts(raw: Mapping[str, Any]) -> Iterator[str]:
    """Every such mistake, as `path: text`. Settings of a wrong type are left to the schema."""
    sections = _mapping(raw.get("transports"))
    forms = {name: _form(section) for name, section in sections.items() if isinstance(name, str)}
    for name, section in sections.items():
        yield from _misnamed(name)
        yield from _incomplete(f"transports.{escape(str(name))}", _mapping(section))
    forms = forms or {"gmail": AddressType.MAIL}
    can_mail = AddressType.MAIL in forms.values() or None in forms.values()
    if not can_mail and "routes" not in raw:
        yield "transports: none of them can send mail; add one of type gmail, smtp or maildir, or write `routes`"
    for name, section in sections.items():
        for key in ("default_recipient", "to"):
            for word in _words(_mapping(section).get(key)):
                yield from _wrong_recipient(f"transports.{escape(str(name))}.{key}", word, str(name), forms)
    yield from _unmatchable(_mapping(raw.get("recipients")).get("allow"), forms)
    for word in _words(_mapping(raw.get("reminders")).get("to")):
        yield from _wrong_recipient("reminders.to", word, None, forms)
    for key in ("routes", "routes+"):
        routes = raw.get(key)
        for number, route in enumerate(routes if isinstance(routes, list) else ()):
            yield from _misrouted(f"{key}[{number}]", _mapping(route), forms, can_mail=can_mail)


def _misnamed(name: object) -> Iterator[str]:
    """Names of transports that mean something else where a recipient is named."""
    if name in ROLES:
        yield f"transports.{name}: is the name of a role; call it something else"
    elif isinstance(name, str) and (not name or any(sign in "#@" or sign.isspace() for sign in name)):
        text = escape(name, limit=60)
        yield f"transports: {text!r} cannot be the name of a transport; use one without blanks, # and @"


def _unmatchable(allow: Any, forms: _Forms) -> Iterator[str]:
    """Entries of `recipients.allow` that match neither an address nor a recipient of a configured transport."""
    for number, entry in enumerate(allow if isinstance(allow, list) else ()):
        if not isinstance(entry, str) or not entry.strip():
            continue
        before, at, after = entry.partition("@")
        is_of_slack = entry[0] in "#@" and (AddressType.SLACK in forms.values() or None in forms.values())
        if is_of_slack or any(sign in before for sign in "*?[") or (before and after) or entry in forms:
            continue
        domain = after or entry.strip("@# ")
        why = "has nothing before the @" if at and not before else "has nothing after the @" if at else "has no @"
        hint = f"'*@{domain}'" if "." in domain and not entry.endswith("@") else "'*@uni.example'"
        yield (
            f"recipients.allow[{number}]: {escape(entry, limit=60)!r} {why}, so it matches no address; write a whole "
            f"address, or a pattern such as {escape(hint, limit=60)}"
        )


def _incomplete(path: str, section: Mapping[str, Any]) -> Iterator[str]:
    """Settings of one transport that have no effect without another one."""
    names = [f"`{name}`" for name in ("filter_users", "to") if section.get(name)]
    if names and section.get("events") is None and _form(section) is not None:
        verb = "needs" if len(names) == 1 else "need"
        yield f"{path}: {' and '.join(names)} {verb} `events` as well (['*'] for all)"
    is_template = section.get("format") == "template"
    if section.get("type") == "webhook" and is_template != (section.get("body") is not None):
        yield f"{path}: `body` and `format: template` belong together"


def _misrouted(path: str, route: Mapping[str, Any], forms: _Forms, *, can_mail: bool) -> Iterator[str]:
    via, to = route.get("via"), route.get("to")
    if via is not None and not isinstance(via, str):
        return
    if not can_mail and via is None and not to:
        yield f"{path}: no transport can send mail; set `to` or `via`"
    if via is not None and via not in forms:
        near = difflib.get_close_matches(via, forms, n=1)
        guess = f", did you mean `{near[0]}`?" if near else ""
        yield f"{path}.via: there is no transport {escape(via)!r}{guess}"
        return
    for word in _words(to):
        yield from _wrong_recipient(f"{path}.to", word, via, forms)


def _wrong_recipient(path: str, word: str, via: str | None, forms: _Forms) -> Iterator[str]:
    form = AddressType.MAIL if word in ROLES else address_type_of(word)
    if via is not None:
        known = forms.get(via)
        if known is not None and (known is not form or (form is AddressType.WEBHOOK and word != via)):
            yield f"{path}: {escape(word)!r} is no recipient of {via}, which is of type {known}"
    elif None not in forms.values() and (
        form not in forms.values() or (form is AddressType.WEBHOOK and forms.get(word) is not form)
    ):
        yield f"{path}: no transport carries to {escape(word)!r}"


def _form(section: Any) -> AddressType | None:
    kind = _mapping(section).get("type")
    if not isinstance(kind, str) or kind not in TRANSPORT_TYPES:
        return None
    return {"slack": AddressType.SLACK, "webhook": AddressType.WEBHOOK}.get(kind, AddressType.MAIL)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: Any) -> list[str]:
    """The recipients of a `to`; nothing where it is malformed."""
    words = [value] if isinstance(value, str) else value
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else []
