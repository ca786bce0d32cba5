"""Helpers to configure boxes, fail jobs and scan."""

from __future__ import annotations

from typing import Any

from tests.fakes.mailserver import HOST, MailServer
from tests.fakes.web import WebServer
from tests.support import ANA, Box
from tests.trees import Tree


def start_with(box: Box, tree: Tree, changes: dict[str, Any]) -> None:
    """Configure the box, and scan a tree with one peer."""
    box.configure(changes)
    tree.grant(ANA)
    box.scan()


def scan_later(box: Box, seconds: float = 60) -> None:
    box.clock.advance(seconds)
    box.scan()


def fail_job(box: Box, tree: Tree, name: str = "survey", by: str = ANA, **headers: Any) -> None:
    """Submit, approve and fail a job with these `headers`."""
    tree.submit(name, by, config={"headers": headers})
    tree.approve(name, by)
    tree.run(name, by, code=3, stderr="Traceback\nKeyError: 'age'\n")
    scan_later(box)


def smtp_transport(server: MailServer, **more: Any) -> dict[str, Any]:
    return {"type": "smtp", "smtp_url": f"smtp://{HOST}:{server.port}", **more}


def one_of_each_type(hook: WebServer) -> dict[str, dict[str, Any]]:
    """A mail, a webhook and a Slack transport."""
    at_hook = {"url": hook.url}
    return {"box": {"type": "maildir"}, "hook": {"type": "webhook", **at_hook}, "team": {"type": "slack", **at_hook}}


def join_lines(text: str) -> str:
    return " ".join(text.split())


NO_ROUTE_MATCHES = [{"events": ["job_held"]}]  # matches no event of these tests
