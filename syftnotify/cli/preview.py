"""`notify preview`: what a mail looks like, before anybody gets one."""

from __future__ import annotations

import difflib
from pathlib import Path

import jinja2

from syftnotify.cli.console import say
from syftnotify.config.load import load
from syftnotify.core.errors import ConfigError, NotifyError, UnknownKindError
from syftnotify.core.kinds import Audience, EventKind, Status, parse_kind
from syftnotify.core.models import Event, Item, Message
from syftnotify.core.text import escape, plural
from syftnotify.rendering.email import DIGEST_TEMPLATE, GENERAL_TEMPLATE, EmailRenderer, template_for
from syftnotify.rendering.links import Links
from syftnotify.runtime.container import renderer_for, words_of
from syftnotify.system.ownership import check_config, check_home
from syftnotify.system.paths import Home

OWNER, SCIENTIST = "owner@datasite.example", "ana@uni.example"
_WHEN = "2026-01-15T15:30:00Z"
_CODE = [
    {"path": "run.sh", "text": "#!/bin/bash\nuv run python main.py\n", "cut": False},
    {"path": "main.py", "text": "import pandas\n\nprint(pandas.read_csv('people.csv').describe())\n", "cut": False},
]
_LONGEST_WORD = 40  # characters of a wrong name that are compared
# The mails for which a kind has a template of its own.
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


def show(home: Home, name: str, *, as_html: Path | None) -> None:
    """Print the mails of a template or an event, or write the last one's HTML to a file.

    Raises:
        NotifyError: there is no such template or event, or the file cannot be written.
        UnsafeHomeError: others can change the templates.
    """
    check_home(home)
    check_config(home)
    chosen = _chosen(name)
    wording = _wording(home)
    for kind, audience in chosen:
        message = _message(wording, kind, audience)
        if as_html is not None:
            continue
        say(f"{kind} to the {audience}")
        say(f"Subject: {message.subject}\n")
        say(message.text)
    if as_html is not None:
        try:
            as_html.write_text(message.html, encoding="utf-8")
        except OSError as error:
            raise NotifyError(f"{as_html} cannot be written: {error.strerror}") from error
        say(f"wrote {as_html}; {plural(len(chosen), 'mail')} would be sent" if len(chosen) > 1 else f"wrote {as_html}")


def list_names() -> None:
    """Print the names of the templates and of the event kinds."""
    say(f"templates: {', '.join(_names())}")
    say(f"event kinds: {', '.join(EventKind)}")


def _names() -> list[str]:
    return sorted({*_MAILS.values(), *_OTHERS})


# What a template with a mistake in it can raise.
MISTAKES = (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)


def mistake_in(template: str, error: Exception) -> str:
    """In words, what is wrong with a template of one's own."""
    return f"emails/{template}.txt or emails/{template}.html cannot be used: {escape(str(error))}"


def _wording(home: Home) -> EmailRenderer:
    """How mails of this home are worded; without a configuration that holds, as they are by default.

    Text and HTML both, whichever of them is sent.
    """
    try:
        settings = load(home)
        section = settings.mail_section
        both = section.model_copy(update={"body": "both"}) if section is not None else None
        words = words_of(settings, settings.mailer, both) if both is not None else None
    except ConfigError:
        words = None
    return words if isinstance(words, EmailRenderer) else EmailRenderer(renderer_for(home), sender=OWNER, links=Links())


def _message(wording: EmailRenderer, kind: EventKind, audience: Audience) -> Message:
    recipient = SCIENTIST if audience is Audience.SUBMITTER else OWNER
    try:
        if kind is EventKind.DIGEST:
            items = [
                _sample(each, audience)
                for each in (EventKind.JOB_SUBMITTED, EventKind.JOB_FAILED, EventKind.GPU_AVAILABLE)
            ]
            return wording.message(items, recipient, digest="preview")
        return wording.message([_sample(kind, audience)], recipient)
    except MISTAKES as error:
        template = DIGEST_TEMPLATE if kind is EventKind.DIGEST else template_for(kind, audience)
        raise NotifyError(mistake_in(template, error), hint="mend it below the home's `templates`") from error


def _chosen(name: str) -> list[tuple[EventKind, Audience]]:
    """The mails that a template's name or an event's stands for."""
    word = Path(name).stem
    found = [] if word in set(EventKind) else [mail for mail, template in _MAILS.items() if template == word]
    if found:
        return found
    if word in _OTHERS:
        return [_OTHERS[word]]
    try:
        kind = parse_kind(name)
    except UnknownKindError:
        near = difflib.get_close_matches(word[:_LONGEST_WORD], [*_names(), *EventKind], n=1)
        guess = f", did you mean `{near[0]}`?" if near else ""
        raise ConfigError(
            f"{escape(name)!r} is neither a template nor an event{guess}",
            hint="run `notify preview` for the names",
        ) from None
    roles: list[Audience] = [role for role in kind.spec.audiences if role is not Audience.OPERATOR]
    usual = Audience.OWNER if (kind, Audience.OWNER) in _MAILS else Audience.RECIPIENT
    return [(kind, role) for role in roles or [usual]]


def _sample(kind: EventKind, audience: Audience) -> Item:
    if not kind.spec.audiences and kind not in {known for known, _ in _MAILS}:  # handed in by somebody else
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
