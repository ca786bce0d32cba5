"""Routing as the documentation of the configuration defines it, written without regard to speed."""

from __future__ import annotations

from fnmatch import fnmatchcase

from syftnotify.core.identifiers import AddressType, address_type_of, is_address
from syftnotify.core.kinds import ROLES
from syftnotify.core.matching import Match, Route
from syftnotify.core.models import MAIL, Event
from syftnotify.core.routing import RoutingContext, TransportInfo


def model_matches(match: Match, event: Event) -> bool:
    """`match`, as the documentation of the configuration defines it."""
    payload = event.payload
    values = {
        "submitter": [event.routing["user"] if event.emitted else payload.get("submitter") or payload.get("claimed")],
        "owner": [] if event.emitted else [payload.get("owner")],
        "job": [payload.get("name"), event.entity],
        "tags": event.routing.get("tags", []),
        "severity": [event.severity.value],
    }
    return all(
        any(
            value and fnmatchcase(value.casefold(), pattern.casefold())
            for value in values[key]
            for pattern in wanted_patterns
        )
        for key in values
        if (wanted_patterns := getattr(match, key))
    ) and not (match.excluding and model_matches(match.excluding, event))


def model_role(role: str, event: Event, context: RoutingContext) -> list[tuple[str, bool]]:
    """The addresses of a role, and whether each may be notified."""
    if role != "submitter":
        return [(address, True) for address in ((context.owner,) if role == "owner" else context.operators)]
    if event.emitted:
        user = event.routing["user"]
        return [(user, True)] if is_address(user) else []
    submitter, claimed = (event.payload.get(key, "") for key in ("submitter", "claimed"))
    if submitter:
        return [(submitter, is_address(submitter))]
    return [(claimed, claimed.lower() in context.peers or context.allows(claimed))] if is_address(claimed) else []


def model_transport(recipient: str, context: RoutingContext) -> TransportInfo:
    """The default transport of a recipient: mail, the first workspace, or the webhook of that name."""
    address_type = address_type_of(recipient)
    if address_type is AddressType.MAIL:
        return context.mail
    fitting = [
        info
        for info in context.transports.values()
        if info.address_type is address_type and (address_type is AddressType.CHANNEL or info.name == recipient)
    ]
    return fitting[0] if fitting else TransportInfo("", address_type, f"{address_type}/")


def model_denies(address: str, context: RoutingContext) -> bool:
    """Whether `recipients.deny` concerns the address: it is about mail."""
    return is_address(address) and context.denies(address)


def recipients_of(route: Route, event: Event, context: RoutingContext) -> list[tuple[str, TransportInfo, bool]]:
    """The recipients of a route, their transport, and whether each may be notified."""
    named = context.transports.get(route.transport)
    result = []
    for recipient in route.to or (named or context.mail).default_recipients:
        info = named or (context.mail if recipient in ROLES else model_transport(recipient, context))
        people = model_role(recipient, event, context) if recipient in ROLES else [(recipient, True)]
        is_exempt = recipient in {"owner", "operators"}
        result += [
            (address, info, is_allowed and info.name != "" and (is_exempt or not model_denies(address, context)))
            for address, is_allowed in people
        ]
    return result


def model_key(address: str, info: TransportInfo) -> tuple[str, str]:
    """Medium and recipient: one mailbox for all mail transports, else the medium of each transport."""
    if info.address_type is AddressType.MAIL:
        return MAIL, address.lower()
    return info.medium, address.lower() if info.address_type is AddressType.CHANNEL and address[0] in "#@" else address


def model_notifications(event: Event, context: RoutingContext) -> dict[tuple[str, str], tuple[str, str, bool]]:
    """(medium, recipient) -> (route, transport, whether it is notified): in order, until a route does not continue."""
    result: dict[tuple[str, str], tuple[str, str, bool]] = {}
    for route in context.routes or ():
        is_asked = "reminders" in event.routing.get("asked_by", ["reminders"])
        if is_asked and (route.kinds is None or event.kind in route.kinds) and model_matches(route.match, event):
            for address, info, is_allowed in recipients_of(route, event, context):
                key = model_key(address, info)
                if key not in result or is_allowed > result[key][2]:
                    result[key] = (route.name, info.name, is_allowed)
            if not route.continue_:
                break
    return result
