"""Which keys of an event's payload are private, and who may see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syftnotify.core.kinds import Audience
from syftnotify.core.text import escape

# Payload keys that may contain private data of the run. They are shown to `TRUSTED_AUDIENCES` only.
PRIVATE_KEYS = frozenset({"code", "code_left_out", "review", "stderr", "stderr_cut", "excerpt", "output_names"})
# Payload keys of events of the tree that only mails need.
MAIL_KEYS = frozenset({"call", "requests"})
# Audiences that may see the output of a run.
TRUSTED_AUDIENCES = frozenset({Audience.OWNER, Audience.OPERATOR, Audience.RECIPIENT})


def error_text(payload: Mapping[str, Any]) -> str:
    """The error on one line: the last line of a traceback, which names it; empty if there is none."""
    lines = str(payload.get("stderr") or payload.get("error") or "").strip().splitlines()
    return escape(lines[-1].strip(), limit=300) if lines else ""
