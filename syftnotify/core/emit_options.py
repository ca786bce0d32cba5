"""Validation of the routing options of emitted events: once when they are emitted, once when the spool is read.

They become `Event.routing`, the only part of an emitted event that can select recipients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syftnotify.core.errors import EmitError
from syftnotify.core.identifiers import AddressType, address_type_of, is_address
from syftnotify.core.kinds import parse_kind
from syftnotify.core.text import did_you_mean, escape

MAX_RECIPIENTS = 50  # of one event: `notify_emails` and the recipients of `alerts` together
_CONDITIONS = ("on_failure", "on_success")
_ALERT_KEYS = (*_CONDITIONS, "on_long_run_minutes", "recipients")
_EXAMPLE = """for example: '{"on_failure": true, "recipients": ["#jobs", "ana@lab.example"]}'"""
_MAX_RECIPIENT_LENGTH = 254  # characters


def build_routing(
    *, user: Any = "", tags: Any = (), emails: Any = (), on: Any = (), alerts: Any = None
) -> dict[str, Any]:
    """`Event.routing` for the given options, with the keys `user`, `tags`, `notify` {emails, on} and `alerts`.

    Options that are not given have no key.

    Args:
        user: who runs the job.
        tags: names that routes and alert rules can match.
        emails: addresses to notify of the kinds in `on`.
        on: event kinds in any accepted spelling; empty: completed, failed, timed out and cancelled jobs.
        alerts: mapping with `on_failure`, `on_success`, `on_long_run_minutes` and `recipients`, each optional, so that
            an empty one stands for the default conditions; None: not given.

    Raises:
        EmitError: an option has the wrong type, an address is not valid, or there are too many recipients.
        UnknownKindError: `on` names an unknown kind.
    """
    if not isinstance(user, str):
        raise EmitError("the user must be text")
    routing: dict[str, Any] = {"user": user} if user else {}
    if names := _texts("tags", tags):
        routing["tags"] = names
    if notify := _notify(emails, on):
        routing["notify"] = notify
    if alerts is not None:
        routing["alerts"] = _alerts(alerts)
    recipients = (*notify.get("emails", ()), *routing.get("alerts", {}).get("recipients", ()))
    count = len({each.lower() for each in recipients})
    if count > MAX_RECIPIENTS:
        raise EmitError(
            f"an event may name at most {MAX_RECIPIENTS} recipients, got {count}",
            hint="add a route with a mailing list or a channel to config.yaml instead",
        )
    return routing


def check_routing(routing: Any) -> dict[str, Any]:
    """Validate the routing from a spool file again, because any program may have written it.

    Raises:
        EmitError, UnknownKindError: as in `build_routing`.
    """
    if not isinstance(routing, dict):
        raise EmitError("the routing must be a JSON object")
    notify = routing.get("notify", {})
    if not isinstance(notify, dict):
        raise EmitError("`notify` must be a JSON object")
    return build_routing(
        user=routing.get("user", ""),
        tags=routing.get("tags", ()),
        emails=notify.get("emails", ()),
        on=notify.get("on", ()),
        alerts=routing.get("alerts"),
    )


def _notify(emails: Any, on: Any) -> dict[str, Any]:
    notify: dict[str, Any] = {}
    if addresses := _texts("notify_emails", emails):
        notify["emails"] = [_address(each) for each in addresses]
    if names := _texts("notify_on", on):
        notify["on"] = [kind.value for kind in dict.fromkeys(parse_kind(each, emitted=True) for each in names)]
    return notify


def _texts(name: str, values: Any) -> list[str]:
    """`values`, an iterable of texts, as a list. A single text is refused: each character would be one value."""
    if isinstance(values, (str, bytes)):
        raise EmitError(f"{name} must be a list of texts, not one text; write [{escape(str(values), limit=60)!r}]")
    try:
        texts = list(values)
    except TypeError:
        texts = None
    if texts is None or isinstance(values, Mapping):
        raise EmitError(f"{name} must be a list of texts")
    if not all(isinstance(value, str) and value for value in texts):
        raise EmitError(f"{name} must be a list of texts, none of them empty")
    return texts


def _address(text: str) -> str:
    if not is_address(text):
        raise EmitError(f"{escape(text)!r} is not an email address", hint="give a bare address such as ana@lab.example")
    return text


def _alerts(block: Any) -> dict[str, Any]:
    """An `alerts` block with all keys, in the form that the layouts read from jobs."""
    if not isinstance(block, Mapping):
        raise EmitError("alerts must be a JSON object", hint=_EXAMPLE)
    for key in block:
        _check_alert_key(key)
    for key in _CONDITIONS:
        if not isinstance(block.get(key, False), bool):
            raise EmitError(f"alerts: `{key}` must be true or false", hint=_EXAMPLE)
    minutes = _minutes(block.get("on_long_run_minutes"))
    recipients = block.get("recipients")
    names = _texts("alerts: recipients", () if recipients is None else recipients)
    return {
        "on_failure": block.get("on_failure", True),
        "on_success": block.get("on_success", False),
        "on_long_run_minutes": minutes,
        "recipients": [_recipient(name) for name in names],
    }


def _check_alert_key(key: Any) -> None:
    if key in _ALERT_KEYS:
        return
    guess = did_you_mean(str(key), _ALERT_KEYS) or f"; known keys: {', '.join(_ALERT_KEYS)}"
    raise EmitError(f"alerts: {escape(str(key), limit=60)!r} is not a known key{guess}")


def _minutes(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 < value < 1e6):
        raise EmitError("alerts: `on_long_run_minutes` must be a number above 0 and below 1,000,000")
    return value


def _recipient(name: str) -> str:
    is_name = name.isprintable() and (address_type_of(name) is not AddressType.ENDPOINT or "@" not in name)
    if not is_name or len(name) > _MAX_RECIPIENT_LENGTH:
        raise EmitError(
            f"alerts: {escape(name, limit=60)!r} is not a recipient",
            hint="give an address, `#channel`, `@user` or the name of a webhook transport",
        )
    return name
