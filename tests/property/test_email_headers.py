"""Mails with any names have the same headers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syftnotify.core.kinds import EventKind
from tests.unit.rendering.emails import parsed, rendered

pytestmark = pytest.mark.thorough


@given(st.text(max_size=120), st.text(max_size=80))
@settings(max_examples=60, deadline=None)
def test_mail_with_any_name_has_no_further_header(name: str, submitter: str) -> None:
    """X11"""
    message = rendered(EventKind.JOB_SUBMITTED, name=name, submitter=submitter, reason=name)
    mail = parsed(message)

    assert set(mail.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted",
        "X-Auto-Response-Suppress", "List-Id", "X-SyftNotify-Event", "X-SyftNotify-Audience", "X-SyftNotify-Entity",
        "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert "\x1b" not in message.text + message.subject
    assert "\n" not in message.subject
