"""`recipients.deny`: people who opted out get no mail."""

from __future__ import annotations

from syftnotify.core.kinds import EventKind
from syftnotify.core.matching import Route
from syftnotify.core.routing import notifications_for
from tests.unit.core.routing_contexts import ANA, OWNER, context, event


def test_denied_recipients_are_skipped_whatever_names_them() -> None:
    """The owner and the operators are not: they change the configuration instead."""
    routes = (Route("r", to=("owner", "operator", "submitter", "bo@lab.example")),)
    found = notifications_for(
        [event(EventKind.JOB_COMPLETED)],
        context(routes=routes, operators=("ops@x.org",), denies=lambda _: True),
    )

    assert {each.recipient: each.skipped for each in found} == {
        OWNER: "",
        "ops@x.org": "",
        ANA: "denied by `recipients.deny`",
        "bo@lab.example": "denied by `recipients.deny`",
    }
