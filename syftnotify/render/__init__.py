"""How is it worded? For a reader of mail (`wording`, `templates`), in a line (`lines`), for a program (`objects`)."""

from collections.abc import Sequence
from typing import Protocol

from syftnotify.model import Message
from syftnotify.render.lines import Lines
from syftnotify.render.objects import Objects
from syftnotify.render.templates import TemplateRenderer, renderer_of
from syftnotify.render.wording import Item, Links, Wording, inlined

__all__ = ["Item", "Lines", "Links", "Objects", "TemplateRenderer", "Wording", "Words", "inlined", "renderer_of"]


class Words(Protocol):
    """What words notifications for one transport."""

    def message(self, items: Sequence[Item], recipient: str, *, thread: str = "", digest: str = "") -> Message:
        """The one message that tells `recipient` all of `items`; `digest` is its id where it is one."""
