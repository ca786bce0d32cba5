"""Routing options of an emitted event, checked when it is emitted and when its spool file is read. Pure.

They become `Event.routing`, the only part of an emitted event that may choose recipients.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from syftnotify.core.errors import EmitError
from syftnotify.core.identifiers import AddressType, address_type_of, is_address
from syftnotify.core.kinds import parse_kind
from syftnotify.core.text import escape

MOST_RECIPIENTS = 50  # of one event: `notify_emails` and the recipients of `alerts` together
_CONDITIONS = ("on_failure", "on_success")
_ALERT_KEYS = (*_CONDITIONS, "on_long_run_minutes", "recipients")
_EXAMPLE = """for example: '{"on_failure": true, "recipients": ["#jobs", "ana@lab.example"]}'"""
_LONGEST_WORD = 40  # characters of an unknown key that are compared with the known ones


def routing_of(*, user: Any = "", tags: Any = (), emails: Any = (), on: Any = (), alerts: Any = None) -> dict[str, Any]:
    """`Event.routing` for these options: `user`, `tags`, `notify` {emails, on}, `alerts`, as far as they are given.

    `alerts` is None when it is not given; an empty block is one, with the default conditions.

    Raises:
        EmitError: an option has the wrong type, an address is not valid, or there are too many recipients.
        UnknownKindError: `on` names an unknown kind.
    """
    if not isinstance(user, str):
        raise EmitError("the user must be text")
    routing: dict[str, Any] = {"user": user} if user else {}
    if words := _texts("tags", tags):
        routing["tags"] = words
    notify: dict[str, Any] = {}
    if addresses := _texts("notify_emails", emails):
        notify["emails"] = [_address(word) for word in addresses]
    if kinds := _texts("notify_on", on):
        notify["on"] = [kind.value for kind in dict.fromkeys(parse_kind(word, emitted=True) for word in kinds)]
    if notify:
        routing["notify"] = notify
    if alerts is not None:
        routing["alerts"] = _alerts(alerts)
    named = {word.lower() for word in (*notify.get("emails", ()), *routing.get("alerts", {}).get("recipients", ()))}
    if len(named) > MOST_RECIPIENTS:
        raise EmitError(
            f"an event may name at most {MOST_RECIPIENTS} recipients, got {len(named)}",
            hint="add a route with a mailing list or a channel to config.yaml instead",
        )
    return routing


def checked(routing: Any) -> dict[str, Any]:
    """The routing that a spool file holds, checked again: any program may have written it.

    Raises:
        EmitError, UnknownKindError: as `routing_of`.
    """
    if not isinstance(routing, dict):
        raise EmitError("the routing must be an object")
    notify = routing.get("notify", {})
    if not isinstance(notify, dict):
        raise EmitError("`notify` must be an object")
    return routing_of(
        user=routing.get("user", ""),
        tags=routing.get("tags", ()),
        emails=notify.get("emails", ()),
        on=notify.get("on", ()),
        alerts=routing.get("alerts"),
    )


def _texts(name: str, values: Any) -> list[str]:
    if isinstance(values, (str, bytes)):  # otherwise each letter would be a value
        raise EmitError(f"{name} must be a list of texts, not one text; write [{escape(str(values), limit=60)!r}]")
    try:
        found = list(values)
    except TypeError:
        raise EmitError(f"{name} must be a list of texts") from None
    if not all(isinstance(value, str) and value for value in found):
        raise EmitError(f"{name} must be a list of texts, none of them empty")
    return found


def _address(word: str) -> str:
    if not is_address(word):
        raise EmitError(f"{escape(word)!r} is not an email address", hint="give a bare address such as ana@lab.example")
    return word


def _alerts(block: Any) -> dict[str, Any]:
    """An alerts block with every key, in the form in which the layouts read those of jobs."""
    if not isinstance(block, Mapping):
        raise EmitError("alerts must be a JSON object", hint=_EXAMPLE)
    for key in block:
        if key not in _ALERT_KEYS:
            near = difflib.get_close_matches(str(key)[:_LONGEST_WORD], _ALERT_KEYS, n=1)
            guess = f", did you mean `{near[0]}`?" if near else f"; known are {', '.join(_ALERT_KEYS)}"
            raise EmitError(f"alerts: {escape(str(key), limit=60)!r} is not a known key{guess}")
    for key in _CONDITIONS:
        if not isinstance(block.get(key, False), bool):
            raise EmitError(f"alerts: `{key}` must be true or false", hint=_EXAMPLE)
    minutes = block.get("on_long_run_minutes")
    is_number = isinstance(minutes, (int, float)) and not isinstance(minutes, bool)
    if minutes is not None and not (is_number and 0 < minutes < 1e6):
        raise EmitError("alerts: `on_long_run_minutes` must be a number above 0 and below 1,000,000")
    recipients = block.get("recipients")
    return {
        "on_failure": block.get("on_failure", True),
        "on_success": block.get("on_success", False),
        "on_long_run_minutes": minutes,
        "recipients": [
            _recipient(word) for word in _texts("alerts: recipients", () if recipients is None else recipients)
        ],
    }


def _recipient(word: str) -> str:
    is_name = word.isprintable() and (address_type_of(word) is not AddressType.ENDPOINT or "@" not in word)
    if not is_name or len(word) > 254:
        raise EmitError(
            f"alerts: {escape(word, limit=60)!r} is not a recipient",
            hint="give an address, `#channel`, `@user` or the name of a webhook transport",
        )
    return word
