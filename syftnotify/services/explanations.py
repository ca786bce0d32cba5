"""Why a person was not notified of an event."""

from __future__ import annotations

from dataclasses import dataclass

from syftnotify.config.load import Settings
from syftnotify.core.models import AlertRule, Event
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.routing import RoutingContext, matching_routes, notifications_for
from syftnotify.services.routes import configured_routes
from syftnotify.services.transports import inbox_info, transport_infos


@dataclass(frozen=True, slots=True)
class Absence:
    """What the present configuration says about a person who has no notification of an event."""

    routes: tuple[str, ...]  # names of the routes that apply to the event
    recipients: tuple[str, ...]  # that they name
    would_be_notified: bool  # the present configuration names the person: it has changed since


def configured_context(settings: Settings, alerts: tuple[AlertRule, ...] = ()) -> RoutingContext:
    """What the configuration says about routing, without anything that a scan finds."""
    config = settings.config
    return RoutingContext(
        owner=config.do_email,
        operators=config.operators,
        mail_transport=settings.default_mail_transport,
        peers=frozenset(),
        allows=config.recipients.allows,
        denies=config.recipients.denies,
        routes=configured_routes(config),
        transports={**transport_infos(config), **inbox_info(config)},
        alerts=alerts,
    )


class AbsenceExplainer:
    """Explains by the routes and alert rules as they are now."""

    def __init__(self, settings: Settings, outbox: OutboxStore) -> None:
        rules = tuple(rule for rule in outbox.alert_rules.all() if rule.target)
        self._context = configured_context(settings, rules)

    def explain(self, event: Event, person: str) -> Absence:
        """Why `person` has no notification of `event`."""
        found = notifications_for([event], self._context)
        return Absence(
            tuple(route.name for route in matching_routes(event, self._context)),
            tuple(dict.fromkeys(each.recipient for each in found)),
            any(each.recipient.lower() == person.lower() and not each.skipped for each in found),
        )
