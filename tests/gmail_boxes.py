"""Boxes that send through the fake Gmail server."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from syftnotify.services.demo import Tree
from tests.fakes.google import Google, Handler, Post, Responder
from tests.support import ANA, BO, Box
from tests.workers import demo_tree

CODE = "print('mean income')\n"


HOUR = 3600.0


def configure_gmail(box: Box, google: Google, *, second: bool = False, **changes: Any) -> None:
    mail = {
        "type": "gmail",
        "token": "gmail_token.json",
        "api_endpoint": google.url,
        "rate": 1000,
        "burst": 1000,
        **changes,
    }
    box.configure({"transports": {"mail": mail, **({"box": {"type": "maildir"}} if second else {})}})


def gmail_tree(google: Google, box: Box) -> Tree:
    """Configure `box` to send through Gmail, scan once, and return its tree, which has two peers."""
    configure_gmail(box, google)
    google.write_token(box.home.token)
    box.snapshot.parent.mkdir(parents=True)
    gmail_tree = Tree(box.root, box.snapshot)
    gmail_tree.peers([], [])
    gmail_tree.grant(ANA)
    gmail_tree.grant(BO)
    box.scan()
    return gmail_tree


def events_and_recipients(posts: list[Post]) -> list[tuple[str, str]]:
    return [(post.event, post.to) for post in posts]


def count_by_id(posts: list[Post]) -> Counter[str]:
    return Counter(str(post.mail["Message-ID"]) for post in posts)


def only_for_ana(response: Responder) -> Responder:
    """Handle messages for Ana with this response; accept all others."""

    def respond(handler: Handler) -> None:
        if handler.post.to == ANA:
            response(handler)
        else:
            handler.respond_json(200, {"id": "accepted", "threadId": "accepted"})

    return respond


def message_id(post: Post) -> str:
    return str(post.mail["Message-ID"])


def configure_gmail_alone(box: Box, google: Google, **changes: Any) -> None:
    """Configure Gmail as the only transport, and an interval of one second."""
    box.configure(
        {
            "notify": {"interval": 1, "sync_state_path": str(box.snapshot)},
            "transports": {"mail": {"type": "gmail", "api_endpoint": google.url, "rate": 100, "burst": 100, **changes}},
        }
    )


def gmail_tree_now(google: Google, box: Box) -> Tree:
    """A tree after the baseline scan with two peers, at the time of this machine; nothing was sent."""
    configure_gmail_alone(box, google)
    google.write_token(box.home.token)
    tree = demo_tree(box)
    tree.grant(BO)
    box.clock.now = time.time()
    box.scan()
    assert google.posts == []
    return tree
