"""Rendering for chats: one line per notification with an emoji, and one colour per message."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from syftnotify.core.kinds import Severity
from syftnotify.core.models import Item, Message
from syftnotify.core.text import plural
from syftnotify.rendering.digest import group_by_submitter
from syftnotify.rendering.fields import error_line
from syftnotify.rendering.links import Links
from syftnotify.rendering.summary import summary_line

# The first three are Slack's `danger`, `warning` and `good`.
RED, YELLOW, GREEN, GREY = "#a30200", "#daa038", "#2eb886", "#717274"
_EMOJI = {RED: "\N{CROSS MARK}", YELLOW: "\N{WARNING SIGN}", GREEN: "\N{WHITE HEAVY CHECK MARK}"}
_DIGEST_ITEMS = 20  # maximum number of items listed in one digest


def _colour_of(item: Item) -> str:
    """Red for failures, yellow for delays, green for success, otherwise grey."""
    if item.event.severity is Severity.HIGH:
        return RED
    if item.event.severity is Severity.MEDIUM:
        return YELLOW
    return GREEN if item.event.kind.spec.is_success else GREY


class ChatRenderer(ABC):
    """Renders notifications for a chat. Subclasses define the markup."""

    def __init__(self, *, links: Links) -> None:
        self._links = links

    def message(self, items: Sequence[Item], recipient: str, *, thread: str = "", digest: str = "") -> Message:
        """The message to `recipient` about all `items`; `digest` is its id if it is a digest.

        Its subject is the event kind, or the number of items. Its colour is that of the most important item.
        """
        colours = [_colour_of(item) for item in items]
        groups, others = group_by_submitter(items, _DIGEST_ITEMS)
        lines = []
        for group in groups:
            lines += [self._line(item) for item in group.items]
            lines += [f"and {group.more} more from {self.escaped(group.who)}"] if group.more else []
        lines += [f"and {others}"] if others else []
        first = items[0]
        return Message(
            id=digest or first.id,
            recipient=recipient,
            subject=plural(len(items), "notification") if digest else first.event.kind.value,
            text=self.joined(lines),
            colour=next(colour for colour in (RED, YELLOW, GREEN, GREY) if colour in colours),
            thread=thread,
        )

    def _line(self, item: Item) -> str:
        error = error_line(item)
        parts = [_EMOJI.get(_colour_of(item), ""), self.escaped(summary_line(item))]
        parts += [f"· {self.escaped(error)}"] if error else []
        url = self._links.of(item.event)["job_url"]
        parts += [self.link(url, "View run")] if url else []
        return " ".join(parts).strip()

    def joined(self, lines: Sequence[str]) -> str:
        """The text of a message with these lines. Subclasses may leave out lines to fit a limit."""
        return "\n".join(lines)

    @abstractmethod
    def escaped(self, text: str) -> str:
        """External text as one line without markup."""

    @abstractmethod
    def link(self, url: str, text: str) -> str:
        """The markup of a link to `url` with the label `text`; empty if `url` cannot be a link."""
