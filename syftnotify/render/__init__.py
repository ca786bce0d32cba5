"""How is it worded? Templates in (`templates`), one message out (`wording`)."""

from syftnotify.render.templates import TemplateRenderer
from syftnotify.render.wording import Item, Links, Wording, inlined

__all__ = ["Item", "Links", "TemplateRenderer", "Wording", "inlined"]
