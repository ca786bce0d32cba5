"""Previews of mails: sample events of each kind, rendered with the templates of a home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from syftnotify.core.errors import ConfigError, NotifyError, UnknownKindError
from syftnotify.core.kinds import Audience, EventKind, Status, parse_kind
from syftnotify.core.models import Event, Item, Message
from syftnotify.core.ports import Renderer
from syftnotify.core.text import did_you_mean, escape
from syftnotify.rendering.email import DIGEST_TEMPLATE, GENERAL_TEMPLATE, EmailRenderer, template_for
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TEMPLATE_ERRORS, cached_renderer, template_error
from syftnotify.services.settings import load
from syftnotify.services.transports import build_renderer
from syftnotify.system.ownership import check_config, check_home
from syftnotify.system.paths import Home

_OWNER, _SCIENTIST = "owner@datasite.example", "ana@uni.example"
_SAMPLE_TIME = "2026-01-15T15:30:00Z"
_SAMPLE_CODE = [
    {"path": "run.sh", "text": "#!/bin/bash\nuv run python main.py\n", "cut": False},
    {"path": "main.py", "text": "import pandas\n\nprint(pandas.read_csv('people.csv').describe())\n", "cut": False},
]
_SAMPLE_DIGEST = (EventKind.JOB_SUBMITTED, EventKind.JOB_FAILED, EventKind.GPU_AVAILABLE)
_SAMPLE_RESULTS = {  # status and exit code
    EventKind.JOB_FAILED: (Status.FAILED, 1),
    EventKind.JOB_TIMEOUT: (Status.FAILED, -1),
    EventKind.JOB_COMPLETED: (Status.DONE, 0),
}
# The templates of single event kinds, by kind and audience.
_TEMPLATES = {
    (kind, audience): template
    for kind in EventKind
    for audience in (Audience.OWNER, Audience.SUBMITTER)
    if (template := template_for(kind, audience)) != GENERAL_TEMPLATE
}
# Templates of no single event kind, with an example.
_SHARED_TEMPLATES = {
    DIGEST_TEMPLATE: (EventKind.DIGEST, Audience.OWNER),
    GENERAL_TEMPLATE: (EventKind.JOB_HELD, Audience.RECIPIENT),
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
        ConfigError: the configuration has mistakes.
        UnsafeHomeError: others can change the templates.
    """
    check_home(home)
    check_config(home)
    chosen = _kinds_and_audiences(name)
    renderer = _renderer(home)
    return [Preview(kind, audience, _render(renderer, kind, audience)) for kind, audience in chosen]


def template_names() -> list[str]:
    return sorted({*_TEMPLATES.values(), *_SHARED_TEMPLATES})


def _renderer(home: Home) -> Renderer:
    """The renderer of the default mail transport, for both text and HTML.

    Without a configuration or a default mail transport, the renderer of default settings.
    """
    settings = load(home) if home.config.exists() else None
    if settings is not None and (section := settings.mail_settings) is not None:
        both = section.model_copy(update={"body": "both"})
        return build_renderer(settings, settings.default_mail_transport, both)
    templates = cached_renderer(home.templates if home.templates.is_dir() else None)
    return EmailRenderer(templates, sender=_OWNER, links=Links())


def _render(renderer: Renderer, kind: EventKind, audience: Audience) -> Message:
    recipient = _SCIENTIST if audience is Audience.SUBMITTER else _OWNER
    try:
        if kind is EventKind.DIGEST:
            return renderer.message([_sample(each, audience) for each in _SAMPLE_DIGEST], recipient, digest="preview")
        return renderer.message([_sample(kind, audience)], recipient)
    except TEMPLATE_ERRORS as error:
        template = DIGEST_TEMPLATE if kind is EventKind.DIGEST else template_for(kind, audience)
        raise NotifyError(
            template_error(template, error), hint="correct it in the folder `templates` of the home"
        ) from error


def _kinds_and_audiences(name: str) -> list[tuple[EventKind, Audience]]:
    """Kind and audience of each mail of a template or event kind; also accepts the file name of a template."""
    stem = Path(name).stem
    if stem not in set(EventKind) and (found := _users_of_template(stem)):
        return found
    if stem in _SHARED_TEMPLATES:
        return [_SHARED_TEMPLATES[stem]]
    kind = _parse_kind(name, stem)
    audiences: list[Audience] = [each for each in kind.spec.audiences if each is not Audience.OPERATOR]
    default = Audience.OWNER if (kind, Audience.OWNER) in _TEMPLATES else Audience.RECIPIENT
    return [(kind, audience) for audience in audiences or [default]]


def _users_of_template(name: str) -> list[tuple[EventKind, Audience]]:
    return [user for user, template in _TEMPLATES.items() if template == name]


def _parse_kind(name: str, stem: str) -> EventKind:
    try:
        return parse_kind(name)
    except UnknownKindError:
        suggestion = did_you_mean(stem, [*template_names(), *EventKind])
        raise ConfigError(
            f"{escape(name)!r} is neither a template nor an event kind{suggestion}",
            hint="run `notify preview` for the names",
        ) from None


def _sample(kind: EventKind, audience: Audience) -> Item:
    if not kind.spec.audiences and kind not in {known for known, _ in _TEMPLATES}:
        return Item("preview", _emitted_event(kind), audience, Status.WAITING)
    status, code = _SAMPLE_RESULTS.get(kind, (Status.WAITING, None))
    payload = {
        "name": "income survey",
        "owner": _OWNER,
        "submitter": _SCIENTIST,
        "return_code": code,
        "reason": "it reads whole rows" if kind is EventKind.JOB_REJECTED else "",
        "summary": "Transport office is paused: it cannot send.",
        "detail": "mail.example refuses the sign-in (535)",
        "figures": [["known", "12 jobs, 3 peers"]],
        "minutes": 1440,
        "code": _SAMPLE_CODE,
        "stderr": "Traceback (most recent call last):\nKeyError: 'person_id'" if status is Status.FAILED else "",
    }
    event = Event(kind, f"job/D/{_OWNER}/{_SCIENTIST}/income%20survey", "", _SAMPLE_TIME, payload)
    return Item("preview", event, audience, status)


def _emitted_event(kind: EventKind) -> Event:
    """A sample event of a kind that only `notify emit` submits."""
    payload = {"name": "nightly-sync"} if kind.is_about_job else {}
    return Event(kind, "lab/7", at=_SAMPLE_TIME, payload=payload, routing={"user": "alice"}, emitted=True)
