"""The section `serve`, and the inbox that it adds."""

from __future__ import annotations

from typing import Any

import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load
from tests.support import ANA, Box

ROUTE = {"events": ["job_failed"], "transport": "inbox"}


def error(box: Box, **settings: Any) -> str:
    """The error of a configuration with these settings; empty: there is none."""
    box.configure(settings)
    try:
        load(box.home)
    except ConfigError as found:
        return str(found)
    return ""


@pytest.mark.parametrize("to", [[], ["owner", "submitter"], [ANA]])
def test_route_may_name_the_inbox(box: Box, to: list[str]) -> None:
    assert error(box, serve={}, routes=[{**ROUTE, **({"to": to} if to else {})}]) == ""


def test_route_to_the_inbox_needs_the_section(box: Box) -> None:
    assert "routes[0].transport: there is no transport 'inbox'" in error(box, routes=[ROUTE])


@pytest.mark.parametrize("recipient", ["#jobs", "@ana", "hook"])
def test_only_people_have_an_inbox(box: Box, recipient: str) -> None:
    assert f"'{recipient}' has no inbox" in error(box, serve={}, routes=[{**ROUTE, "to": [recipient]}])


def test_no_transport_may_have_the_name_of_the_inbox(box: Box) -> None:
    transports = {"inbox": {"type": "maildir"}}

    assert error(box, transports=transports) == ""
    assert "transports.inbox: is the name of the inbox" in error(box, transports=transports, serve={})


@pytest.mark.parametrize("settings", [{"port": 70000}, {"port": "x"}, {"port": True}, {"enabled": "perhaps"}, {"x": 1}])
def test_wrong_settings_are_refused(box: Box, settings: dict[str, Any]) -> None:
    assert f"serve.{next(iter(settings))}: " in error(box, serve=settings)
