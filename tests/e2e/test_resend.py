"""`notify resend` beside a running worker."""

from __future__ import annotations

import pytest

from syftnotify.services.demo import Tree
from syftnotify.system import worker_status
from tests.fakes.google import Google, respond_error
from tests.gmail_boxes import gmail_tree_now, message_id, only_for_ana
from tests.support import ANA, Box, wait_until

CODE = "print('mean income')\n"


@pytest.fixture
def tree(google: Google, box: Box) -> Tree:
    return gmail_tree_now(google, box)


def test_running_worker_sends_requeued_at_its_next_scan(google: Google, box: Box, tree: Tree) -> None:
    """X04: no restart is needed, and the counts follow."""
    google.default = only_for_ana(respond_error(400))
    box.notify("start", check=0)
    tree.submit(ANA, "survey", CODE)
    wait_until(lambda: worker_status.read(box.home).dead == 1, what="one dead letter")
    wait_until(
        lambda: worker_status.read(box.home).sent == 2, what="the owner's mail, and the alert about the dead letter"
    )

    google.default = None
    done = box.notify("resend", "--all-dead", check=0)

    assert "the worker sends at its next scan" in done.stdout
    wait_until(lambda: worker_status.read(box.home).sent == 3, what="the other mail")
    box.notify("stop", check=0)
    to_ana = [post for post in google.posts if post.to == ANA]
    assert [post.event for post in google.posts].count("system_alert") == 1
    assert len(google.posts) == 4
    assert len(to_ana) == 2
    assert len({message_id(post) for post in to_ana}) == 1
    assert worker_status.read(box.home).dead == 0
