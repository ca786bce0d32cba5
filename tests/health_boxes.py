"""Boxes whose health is reported."""

from __future__ import annotations

from typing import Any

from syftnotify.services.demo import Tree
from tests.fakes.google import Google, Post
from tests.fakes.web import WebServer
from tests.support import ANA, OWNER, Box
from tests.workers import configure

DAY = 86400.0
WEEK_SECONDS = 7 * 86400  # how long the sign-in of an app in Google's testing state lasts


def submit(box: Box, name: str) -> None:
    """Submit one job in layout D, by a scientist that the owner added."""
    tree = Tree(box.root, box.snapshot)
    if not (box.root / OWNER).exists():
        tree.grant(ANA)
    tree.submit(ANA, name, "print(1)\n")


def pings(hook: WebServer) -> int:
    return sum(1 for request in hook.requests if request.line.startswith("GET"))


def configure_heartbeat(box: Box, text: str) -> None:
    """Set `heartbeat` to the lines of YAML `text`."""
    configure(box)
    with box.home.config.open("a") as file:
        file.write("heartbeat:\n" + "".join(f"  {line}\n" for line in text.splitlines()))


def configure_daily(box: Box, text: str) -> None:
    """Set `heartbeat.daily` to the YAML value `text`."""
    configure_heartbeat(box, f"daily: {text}")


def heartbeats(box: Box) -> list[str]:
    """The recipients of daily mails."""
    return [mail.to for mail in box.mails() if mail.event == "heartbeat"]


def write_sign_in(box: Box, google: Google, *, days_left: float, **changes: Any) -> None:
    """A sign-in of an app in Google's testing state that ends in `days_left` days of the box's clock."""
    signed_in_at = int(box.clock.now + days_left * DAY) - WEEK_SECONDS
    given = {"signed_in_at": signed_in_at, "refresh_token_expires_in": WEEK_SECONDS, **changes}
    google.write_token(box.home.token, **{key: value for key, value in given.items() if value is not None})


def alerts(google: Google) -> list[Post]:
    return [post for post in google.posts if post.event == "system_alert"]
