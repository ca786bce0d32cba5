"""Renders notifications as mails: subject, text, HTML and headers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import css_inline

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import Audience, EventKind, Family
from syftnotify.core.models import Item, Message
from syftnotify.core.text import escape, plural
from syftnotify.rendering.context import template_context
from syftnotify.rendering.digest import Group, group_by_submitter, rarest_submitter_first
from syftnotify.rendering.fields import NAME_LIMIT, job_name, subject_name, submitter
from syftnotify.rendering.links import Links
from syftnotify.rendering.summary import fill, summary_line
from syftnotify.rendering.templates import TemplateRenderer

DIGEST_ITEMS = 100  # maximum number of items listed in one digest
GENERAL_TEMPLATE = "event"
DIGEST_TEMPLATE = "digest"
# Limits of the headers with entity ids: Gmail rejects a mail with more than 500 KB of headers, or more than 5,000.
_MAX_ENTITY_HEADERS = 2000
_MAX_ENTITY_CHARACTERS = 200 * 1024
# Audiences with their own templates; all others get the general one.
_ROLES = frozenset({Audience.OWNER, Audience.OPERATOR, Audience.SUBMITTER})

_inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)


def inline_css(text: str) -> str:
    """Copy the CSS rules in `<style>` to `style` attributes, which every mail program supports; @-rules stay."""
    return _inliner.inline(text)


def template_for(kind: EventKind, audience: Audience) -> str:
    """The name of the template for an event of the tree or of the worker; emitted events have `GENERAL_TEMPLATE`."""
    if audience in {Audience.OWNER, Audience.OPERATOR}:
        return kind.spec.owner_template
    return kind.spec.submitter_template if audience is Audience.SUBMITTER else GENERAL_TEMPLATE


class EmailRenderer:
    """Renders notifications with the templates of one home."""

    def __init__(
        self, templates: TemplateRenderer, *, sender: str, links: Links, prefix: str = "", body: str = "both"
    ) -> None:
        """Set up a renderer.

        Args:
            templates: the templates of the home.
            sender: mail address of the sender.
            links: the URL templates of the links in the mails.
            prefix: precedes each subject, with a blank.
            body: `both`, `plain` or `html`.
        """
        self._templates = templates
        self._sender = sender
        self._links = links
        self._prefix = prefix
        self._body = body

    def message(self, items: Sequence[Item], recipient: str, *, thread: str = "", digest: str = "") -> Message:
        """The message to `recipient` about all `items`; `digest` is its id if it is a digest."""
        message = self._digest(items, recipient, digest) if digest else self._single(items, recipient, thread)
        return replace(
            message,
            subject=f"{self._prefix} {message.subject}".lstrip(),
            text=message.text if self._body != "html" else "",
            html=message.html if self._body != "plain" else "",
        )

    def _single(self, items: Sequence[Item], recipient: str, thread: str) -> Message:
        (item,) = items
        event = item.event
        template = GENERAL_TEMPLATE if event.emitted else template_for(event.kind, item.audience)
        text, html = self._bodies(template, template_context(item, self._links))
        return Message(
            id=item.id,
            recipient=recipient,
            subject=_subject(item),
            text=text,
            html=html,
            sender=self._sender,
            conversation=stable_hash("conversation", event.entity, recipient),
            headers=_headers(event.kind, item.audience, [event.entity]),
            thread=thread,
        )

    def _digest(self, items: Sequence[Item], recipient: str, digest_id: str) -> Message:
        audience = items[0].audience
        summary = _digest_summary(items, audience)
        groups, others = group_by_submitter(items, DIGEST_ITEMS)
        context = {"summary": summary, "groups": [self._group(group) for group in groups], "others": others}
        text, html = self._bodies(DIGEST_TEMPLATE, context)
        entities = _within_header_limits([item.event.entity for item in rarest_submitter_first(items)])
        return Message(
            id=digest_id,
            recipient=recipient,
            subject=f"SyftBox: {summary.rstrip('.')}",
            text=text,
            html=html,
            sender=self._sender,
            conversation=stable_hash("conversation", digest_id, recipient),
            headers=(*_headers(EventKind.DIGEST, audience, entities), ("X-SyftNotify-Items", str(len(items)))),
        )

    def _bodies(self, template: str, context: dict[str, Any]) -> tuple[str, str]:
        """The text and the HTML of a mail."""
        text = self._templates.render(f"emails/{template}.txt", context)
        return text, inline_css(self._templates.render(f"emails/{template}.html", context))

    def _group(self, group: Group) -> dict[str, Any]:
        lines = [{"line": summary_line(item), "url": self._links.of(item.event)["job_url"]} for item in group.items]
        return {"who": group.who, "lines": lines, "more": group.more}


def _digest_summary(items: Sequence[Item], audience: Audience) -> str:
    """The first line of a digest, and its subject."""
    if audience is Audience.OWNER and all(map(_awaits_owner, items)):
        return f"{plural(len(items), 'request waits', 'requests wait')} for you."
    return f"{plural(len(items), 'notification')}."


def _awaits_owner(item: Item) -> bool:
    """Whether the owner still has to act on the event, by the current status of the job."""
    spec = item.event.kind.spec
    return spec.awaits_owner and spec.status_after in {None, item.status}


def _subject(item: Item) -> str:
    """The subject: the same in all mails about one job or peer, because mail programs group mails by it."""
    event, payload = item.event, item.event.payload
    spec = event.kind.spec
    owner = escape(str(payload.get("owner") or ""), limit=NAME_LIMIT)
    if spec.subject:
        return fill(spec.subject, item)
    if spec.family is Family.PEER:
        if item.audience is Audience.SUBMITTER:
            return f"Your SyftBox peer request to {owner}"
        return f"SyftBox peer request from {submitter(event)}"
    if spec.alert_prefix and item.audience not in _ROLES:
        return f"{spec.alert_prefix} {subject_name(event)}"
    if event.emitted or not event.kind.is_about_job:
        return summary_line(item).rstrip(".")
    if item.audience is Audience.SUBMITTER:
        return f'Your SyftBox job "{job_name(payload)}" at {owner}'
    return f'SyftBox job "{job_name(payload)}" from {submitter(event)}'


def _within_header_limits(entities: Sequence[str]) -> Iterator[str]:
    """As many of `entities`, from the first on, as the headers of one mail may contain."""
    room = _MAX_ENTITY_CHARACTERS
    for entity in entities[:_MAX_ENTITY_HEADERS]:
        room -= len(entity)
        if room < 0:
            return
        yield entity


def _headers(kind: EventKind, audience: Audience, entities: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return (
        ("X-SyftNotify-Event", kind.value),
        ("X-SyftNotify-Audience", audience.value),
        *(("X-SyftNotify-Entity", entity) for entity in entities),
    )
