"""The routes of a configuration, with the built-in ones that apply."""

from __future__ import annotations

from dataclasses import replace

from syftnotify.config.routing import Condition, Matching
from syftnotify.config.schema import Config
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.matching import Match, Route
from syftnotify.core.models import INBOX
from syftnotify.core.routing import built_in_routes


def configured_routes(config: Config) -> tuple[Route, ...]:
    """All routes in order: those of transports, of inboxes, of reminders, built-in or configured ones, extra ones."""
    sections = [
        *((f"routes[{number}]", section) for number, section in enumerate(config.routes or ())),
        *((f"extra_routes[{number}]", section) for number, section in enumerate(config.extra_routes)),
    ]
    configured = [
        Route(
            name,
            section.events,
            _match(section.match),
            section.to,
            section.transport or "",
            continue_=section.continue_,
        )
        for name, section in sections
    ]
    built_in = () if config.routes is not None else built_in_routes(for_scientist=config.for_scientist)
    return (*_routes_of_transports(config), *_inbox_routes(config), *_reminder_routes(config), *built_in, *configured)


def _inbox_routes(config: Config) -> list[Route]:
    """The routes to the inboxes of the owner and of submitters: the built-in ones, whatever `routes` says.

    Transports that push what an inbox stores have the same ones.
    """
    names = [INBOX] if config.serve is not None else []
    names += [name for name, section in config.transports.items() if section.pushes_inbox and section.events is None]
    routes = built_in_routes(for_scientist=config.for_scientist) if names else ()
    return [
        replace(route, name=f"{route.name}, {name}", transport=name)
        for name in names
        for route in routes
        if route.to != (Audience.OPERATOR.value,)
    ]


def _routes_of_transports(config: Config) -> list[Route]:
    """The routes by the `events` of transports."""
    return [
        Route(
            f"transports.{name}.events",
            section.events,
            Match(submitter=section.filter_users),
            section.to,
            name,
            continue_=True,
        )
        for name, section in config.transports.items()
        if section.events is not None
    ]


def _reminder_routes(config: Config) -> list[Route]:
    reminders = frozenset({EventKind.JOB_WAITING, EventKind.JOB_LONG_RUNNING})
    return [Route("reminders.to", reminders, to=config.reminders.to)] if config.reminders.to else []


def _match(section: Matching) -> Match:
    return _condition(section, None if section.excluding is None else _condition(section.excluding))


def _condition(section: Condition, excluding: Match | None = None) -> Match:
    return Match(section.submitter, section.owner, section.job, section.tags, section.severity, excluding)
