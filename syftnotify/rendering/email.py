"""Renders notifications as mails: subject, text, HTML and headers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any
from urllib.parse import quote

import css_inline

from syftnotify.core.identifiers import is_address, stable_hash
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Item, Message
from syftnotify.rendering.context import Reader, digest_context, template_context
from syftnotify.rendering.digest import rarest_submitter_first
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer

GENERAL_TEMPLATE = "event"
DIGEST_TEMPLATE = "digest"
# Bytes of the headers with entity ids: all headers of a mail stay below 8 KB. sendmail refuses more than 32 KB.
_MAX_ENTITY_BYTES = 6 * 1024
_ENTITY_HEADER = "X-SyftNotify-Entity"

_WITHOUT_REPLY = frozenset({EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT})

_inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)


# A style element whose rules are not copied. The inliner would drop it, so it is put back.
_KEPT_STYLES = '<style data-css-inline="ignore">', "</style>"
# Lines of code, whose rules stay in the head. Without them the inliner takes a tenth of the time.
_LINES = "<!--lines-->", "<!--/lines-->"


def inline_css(text: str) -> str:
    """Copy the CSS rules in `<style>` to `style` attributes, which every mail program supports.

    Rules with an @, and style elements with the attribute `data-css-inline="ignore"`, stay in the head.
    """
    rest, styles = _extract(text, *_KEPT_STYLES)
    rest, lines = _extract("".join(rest), *_LINES)
    kept = "".join(f"<style>{rules}</style>" for rules in styles)
    first, *others = _inliner.inline(_LINES[0].join(rest)).replace("</head>", f"{kept}</head>", 1).split(_LINES[0])
    return "".join([first, *itertools.chain.from_iterable(zip(lines, others, strict=True))])


def _extract(text: str, start: str, end: str) -> tuple[list[str], list[str]]:
    """What is outside and what is between the marks `start` and `end`, in order."""
    first, *others = text.split(start)
    parts = [each.partition(end) for each in others]
    return [first, *(after for _, _, after in parts)], [between for between, _, _ in parts]


def template_for(kind: EventKind, audience: Audience) -> str:
    """The name of the template for an event of the tree or of the worker; emitted events have `GENERAL_TEMPLATE`."""
    if audience in {Audience.OWNER, Audience.OPERATOR}:
        return kind.spec.owner_template
    return kind.spec.submitter_template if audience is Audience.SUBMITTER else GENERAL_TEMPLATE


@dataclass(frozen=True, slots=True)
class MailOptions:
    """The settings of a transport, and of the configuration, that concern its mails."""

    prefix: str = ""  # precedes each subject, with a blank
    body: str = "both"  # or `plain`, `html`
    subject_status: bool = False  # subjects begin with the status, for mail programs without conversations
    timezones: Mapping[str, tzinfo] = field(default_factory=dict)  # by address in lower case


class EmailRenderer:
    """Renders notifications with the templates of one home."""

    def __init__(
        self, templates: TemplateRenderer, *, sender: str, links: Links, options: MailOptions = MailOptions()
    ) -> None:
        """Set up a renderer.

        Args:
            templates: the templates of the home.
            sender: mail address of the sender, the data owner.
            links: the URL templates of the links in the mails.
            options: the settings of the transport.
        """
        self._templates = templates
        self._sender = sender
        self._links = links
        self._options = options

    def message(self, items: Sequence[Item], recipient: str, *, thread: str = "", digest: str = "") -> Message:
        """The message to `recipient` about all `items`; `digest` is its id if it is a digest."""
        reader = Reader(recipient, self._zone_of(recipient))
        message = self._digest(items, reader, digest) if digest else self._single(items, reader, thread)
        body = self._options.body
        return replace(
            message,
            subject=f"{self._options.prefix} {message.subject}".lstrip(),
            sender=self._sender,
            text=message.text if body != "html" else "",
            html=message.html if body != "plain" else "",
            domain=items[0].message_domain,
        )

    def _single(self, items: Sequence[Item], reader: Reader, thread: str) -> Message:
        (item,) = items
        event = item.event
        reply_to = self._reply_to(item)
        context = {**template_context(item, self._links, reader), "reply_to": reply_to}
        context["do_email"] = context["do_email"] or self._sender  # an emitted event names no owner
        context["is_own"] = reader.address.lower() == self._sender.lower()
        template = GENERAL_TEMPLATE if event.emitted else template_for(event.kind, item.audience)
        text, html = self._bodies(template, context)
        return Message(
            id=item.id,
            recipient=reader.address,
            subject=self._subject(context),
            text=text,
            html=html,
            conversation=stable_hash("conversation", event.entity, reader.address),
            headers=(*_headers(event.kind, item.audience, [event.entity]), *self._unsubscribe(item.audience, reader)),
            thread=thread,
            reply_to=reply_to,
        )

    def _digest(self, items: Sequence[Item], reader: Reader, digest_id: str) -> Message:
        audience = items[0].audience
        context = digest_context(items, self._links, reader)
        context["is_own"] = reader.address.lower() == self._sender.lower()
        context["reply_to"] = reply_to = self._reply_to(items[0]) if audience is Audience.SUBMITTER else ""
        text, html = self._bodies(DIGEST_TEMPLATE, context)
        entities = _within_header_limits([item.event.entity for item in rarest_submitter_first(items)])
        return Message(
            id=digest_id,
            recipient=reader.address,
            subject=self._subject(context),
            text=text,
            html=html,
            conversation=stable_hash("conversation", digest_id, reader.address),
            headers=(
                *_headers(EventKind.DIGEST, audience, entities),
                ("X-SyftNotify-Items", str(len(items))),
                *self._unsubscribe(audience, reader),
            ),
            reply_to=reply_to,
        )

    def _bodies(self, template: str, context: dict[str, Any]) -> tuple[str, str]:
        """The text and the HTML of a mail."""
        text = self._templates.render(f"emails/{template}.txt", context)
        return text, inline_css(self._templates.render(f"emails/{template}.html", context))

    def _subject(self, context: dict[str, Any]) -> str:
        """The subject: the same in all mails about one job or peer, because mail programs group mails by it."""
        kind = EventKind(context["kind"])
        facts = {"is_about_job": kind.is_about_job, "with_status": self._options.subject_status}
        return " ".join(self._templates.render("_subject.txt", {**context, **facts}).split())

    def _zone_of(self, recipient: str) -> tzinfo | None:
        zones = self._options.timezones
        return zones.get(recipient.lower()) or zones.get(self._sender.lower())

    def _reply_to(self, item: Item) -> str:
        """Who answers a mail: the owner to submitters, the submitter to the owner; empty if nobody should.

        An address that is only claimed gets no replies.
        """
        payload = item.event.payload
        if item.event.emitted:
            return ""
        if item.audience is Audience.SUBMITTER:
            owner = str(payload.get("owner") or "")
            return owner if is_address(owner) else ""
        # A reply to these would quote what the scientist may not see.
        is_private = item.event.kind in _WITHOUT_REPLY or bool(payload.get("output_names"))
        if item.audience is not Audience.OWNER or is_private or payload.get("unverified"):
            return ""
        submitter = str(payload.get("submitter") or "")
        return submitter if is_address(submitter) else ""

    def _unsubscribe(self, audience: Audience, reader: Reader) -> tuple[tuple[str, str], ...]:
        """The header by which mail programs offer to stop the mails; owner and operators configure them instead."""
        is_own = reader.address.lower() == self._sender.lower()
        if is_own or audience in {Audience.OWNER, Audience.OPERATOR} or not is_address(self._sender):
            return ()
        return (("List-Unsubscribe", f"<mailto:{quote(self._sender, safe='@')}?subject=unsubscribe>"),)


def _within_header_limits(entities: Sequence[str]) -> Iterator[str]:
    """As many of `entities`, from the first on, as the headers of one mail may contain."""
    room = _MAX_ENTITY_BYTES
    for entity in entities:
        # Other characters than ASCII are encoded (RFC 2047), in at most twice the bytes.
        size = len(entity) if entity.isascii() else 2 * len(entity.encode("utf-8", "surrogatepass")) + 80
        room -= len(_ENTITY_HEADER) + size + len(": \r\n")
        if room < 0:
            return
        yield entity


def _headers(kind: EventKind, audience: Audience, entities: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return (
        ("X-SyftNotify-Event", kind.value),
        ("X-SyftNotify-Audience", audience.value),
        *((_ENTITY_HEADER, entity) for entity in entities),
    )
