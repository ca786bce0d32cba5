"""Rendering for Slack, in its `mrkdwn` markup."""

from __future__ import annotations

from syftnotify.core.text import escape
from syftnotify.transports.chat import ChatRenderer

_MAX_TEXT = 3000  # characters of one external text


class SlackRenderer(ChatRenderer):
    """Renders notifications for a Slack workspace."""

    def escaped(self, text: str) -> str:
        # Source: https://docs.slack.dev/messaging/formatting-message-text#escaping
        return escape(text, limit=_MAX_TEXT).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    def link(self, url: str, text: str) -> str:
        return f"<{self.escaped(url)}|{text}>"
