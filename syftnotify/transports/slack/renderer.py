"""How is a notification worded in one line? For Slack: a sign, what happened to which job, whose it is, a link."""

from __future__ import annotations

from collections.abc import Sequence

from syftnotify.core.kinds import Severity
from syftnotify.core.models import Item, Message
from syftnotify.core.text import escape, plural
from syftnotify.rendering.digest import group_by_submitter
from syftnotify.rendering.fields import error_line
from syftnotify.rendering.links import Links
from syftnotify.rendering.summary import summary_line

# Slack's own three colours of a bar.
RED, YELLOW, GREEN, GREY = "#a30200", "#daa038", "#2eb886", "#717274"
_SIGNS = {RED: "\N{CROSS MARK}", YELLOW: "\N{WARNING SIGN}", GREEN: "\N{WHITE HEAVY CHECK MARK}"}
_LINES = 20  # things that a digest names


def colour_of(item: Item) -> str:
    """Red for what went wrong, yellow for what takes long, green for what went well, grey for the rest."""
    if item.event.severity is Severity.HIGH:
        return RED
    if item.event.severity is Severity.MEDIUM:
        return YELLOW
    return GREEN if item.event.kind.spec.is_success else GREY


class SlackRenderer:
    """Words notifications for one Slack workspace."""

    def __init__(self, *, links: Links) -> None:
        self._links = links

    def message(self, items: Sequence[Item], recipient: str, *, thread: str = "", digest: str = "") -> Message:
        """The one message that tells `recipient` all of `items`; `digest` is its id where it is one."""
        colours = [colour_of(item) for item in items]
        colour = next(each for each in (RED, YELLOW, GREEN, GREY) if each in colours)
        groups, others = group_by_submitter(items, _LINES)
        lines = []
        for group in groups:
            lines += [self._line(item) for item in group.items]
            lines += [f"and {group.more} more from {escaped(group.who)}"] if group.more else []
        lines += [f"and {others}"] if others else []
        first = items[0]
        return Message(
            id=digest or first.id,
            recipient=recipient,
            subject=plural(len(items), "thing") if digest else first.event.kind.value,
            text="\n".join(lines),
            colour=colour,
            thread=thread,
        )

    def _line(self, item: Item) -> str:
        sign = _SIGNS.get(colour_of(item), "")
        url = self._links.of(item.event)["job_url"]
        link = f" <{escaped(url)}|View run>" if url else ""
        error = error_line(item)
        return f"{sign} {escaped(summary_line(item))}{f' · {escaped(error)}' if error else ''}{link}".strip()


def escaped(text: str) -> str:
    """`text` as Slack shows it and does not obey it.

    Source: https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return escape(text, limit=3000).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
