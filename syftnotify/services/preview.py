"""Previews of mails: each kind of event with sample data."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import jinja2

from syftnotify.core.errors import ConfigError, NotifyError, UnknownKindError
from syftnotify.core.kinds import Audience, EventKind, Status, parse_kind
from syftnotify.core.models import Event, Item, Message
from syftnotify.core.ports import Renderer
from syftnotify.core.text import escape
from syftnotify.rendering.email import DIGEST_TEMPLATE, GENERAL_TEMPLATE, EmailRenderer, template_for
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import cached_renderer
from syftnotify.services.settings import load
from syftnotify.services.transports import build_renderer
from syftnotify.system.ownership import check_config, check_home
from syftnotify.system.paths import Home

OWNER, SCIENTIST = "owner@datasite.example", "ana@uni.example"
_WHEN = "2026-01-15T15:30:00Z"
_CODE = [
    {"path": "run.sh", "text": "#!/bin/bash\nuv run python main.py\n", "cut": False},
    {"path": "main.py", "text": "import pandas\n\nprint(pandas.read_csv('people.csv').describe())\n", "cut": False},
]
_LONGEST_WORD = 40  # characters of a wrong name that are compared with known names
_MAILS = {
    (kind, audience): template
    for kind in EventKind
    for audience in (Audience.OWNER, Audience.SUBMITTER)
    if (template := template_for(kind, audience)) != GENERAL_TEMPLATE
}
# Examples of the templates that belong to no single kind.
_OTHERS = {
    DIGEST_TEMPLATE: (EventKind.DIGEST, Audience.OWNER),
    GENERAL_TEMPLATE: (EventKind.JOB_HELD, Audience.RECIPIENT),
}
_ENDS = {
    EventKind.JOB_FAILED: (Status.FAILED, 1),
    EventKind.JOB_TIMEOUT: (Status.FAILED, -1),
    EventKind.JOB_COMPLETED: (Status.DONE, 0),
}


@dataclass(frozen=True, slots=True)
class Preview:
    """A mail about a sample event."""

    kind: EventKind
    audience: Audience
    message: Message


def previews(home: Home, name: str) -> list[Preview]:
    """The mails of a template or an event kind, as the configuration of `home` renders them.

    Raises:
        NotifyError: there is no such template or event kind, or a template is wrong.
        UnsafeHomeError: others can change the templates.
    """
    check_home(home)
    check_config(home)
    chosen = _chosen(name)
    renderer = _renderer(home)
    return [Preview(kind, audience, _message(renderer, kind, audience)) for kind, audience in chosen]


def template_names() -> list[str]:
    return sorted({*_MAILS.values(), *_OTHERS})


# What a wrong template can raise.
TEMPLATE_ERRORS = (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)


def template_error(template: str, error: Exception) -> str:
    """The error message about one of the user's own templates."""
    return f"emails/{template}.txt or emails/{template}.html cannot be used: {escape(str(error))}"


def _renderer(home: Home) -> Renderer:
    """The renderer of the default mail transport, for both text and HTML; the built-in defaults without one."""
    try:
        settings = load(home)
        if (section := settings.mail_settings) is not None:
            both = section.model_copy(update={"body": "both"})
            return build_renderer(settings, settings.default_mail_transport, both)
    except ConfigError:
        pass
    templates = cached_renderer(home.templates if home.templates.is_dir() else None)
    return EmailRenderer(templates, sender=OWNER, links=Links())


def _message(renderer: Renderer, kind: EventKind, audience: Audience) -> Message:
    recipient = SCIENTIST if audience is Audience.SUBMITTER else OWNER
    try:
        if kind is EventKind.DIGEST:
            items = [
                _sample(each, audience)
                for each in (EventKind.JOB_SUBMITTED, EventKind.JOB_FAILED, EventKind.GPU_AVAILABLE)
            ]
            return renderer.message(items, recipient, digest="preview")
        return renderer.message([_sample(kind, audience)], recipient)
    except TEMPLATE_ERRORS as error:
        template = DIGEST_TEMPLATE if kind is EventKind.DIGEST else template_for(kind, audience)
        raise NotifyError(
            template_error(template, error), hint="correct it in the folder `templates` of the home"
        ) from error


def _chosen(name: str) -> list[tuple[EventKind, Audience]]:
    """The event kinds and audiences of a template or an event kind."""
    word = Path(name).stem
    found = [] if word in set(EventKind) else [mail for mail, template in _MAILS.items() if template == word]
    if found:
        return found
    if word in _OTHERS:
        return [_OTHERS[word]]
    try:
        kind = parse_kind(name)
    except UnknownKindError:
        near = difflib.get_close_matches(word[:_LONGEST_WORD], [*template_names(), *EventKind], n=1)
        guess = f"; did you mean `{near[0]}`?" if near else ""
        raise ConfigError(
            f"{escape(name)!r} is neither a template nor an event{guess}",
            hint="run `notify preview` for the names",
        ) from None
    roles: list[Audience] = [role for role in kind.spec.audiences if role is not Audience.OPERATOR]
    usual = Audience.OWNER if (kind, Audience.OWNER) in _MAILS else Audience.RECIPIENT
    return [(kind, role) for role in roles or [usual]]


def _sample(kind: EventKind, audience: Audience) -> Item:
    if not kind.spec.audiences and kind not in {known for known, _ in _MAILS}:  # only emitted
        of_job = {"name": "nightly-sync"} if kind.value.startswith(("job_", "workflow_")) else {}
        event = Event(kind, "lab/7", at=_WHEN, payload=of_job, routing={"user": "alice"}, emitted=True)
        return Item("preview", event, audience, Status.WAITING)
    status, code = _ENDS.get(kind, (Status.WAITING, None))
    payload = {
        "name": "income survey",
        "owner": OWNER,
        "submitter": SCIENTIST,
        "return_code": code,
        "reason": "it reads whole rows" if kind is EventKind.JOB_REJECTED else "",
        "summary": "Transport office is paused: it cannot send.",
        "detail": "mail.example refuses the sign-in (535)",
        "figures": [["it knows", "12 jobs, 3 peers"]],
        "minutes": 1440,
        "code": _CODE,
        "stderr": "Traceback (most recent call last):\nKeyError: 'person_id'" if status is Status.FAILED else "",
    }
    return Item(
        "preview", Event(kind, f"job/D/{OWNER}/{SCIENTIST}/income%20survey", "", _WHEN, payload), audience, status
    )
