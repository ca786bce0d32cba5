"""Webhook objects with any text can be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.transports.webhook_items import ALL_VARIABLES, VARIABLES, rendered, rendered_template

pytestmark = pytest.mark.thorough


def joined(text: str) -> str:
    """`text` with halves of characters that stand side by side made whole, as a reader of JSON does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


ANY_TEXT = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=60)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_webhook_object_with_any_text_is_valid_json(name: str, user: str, error: str) -> None:
    """X11"""
    result = rendered_template(ALL_VARIABLES, name=name, submitter=user, error=error)
    native = rendered(name=name, submitter=user, error=error)

    assert (result["job_id"], result["triggered_by"]) == (joined(name), joined(user))
    assert (native["job"]["name"], native["job"]["user"]) == (joined(name), joined(user))
    assert result.keys() == set(VARIABLES)
