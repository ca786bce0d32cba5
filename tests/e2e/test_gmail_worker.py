"""A real worker that sends through Gmail."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from syftnotify.services.demo import Tree
from syftnotify.system import worker_lock, worker_status
from tests.fakes.google import (
    Google,
    hang,
)
from tests.gmail_boxes import CODE, configure_gmail, count_by_id, events_and_recipients, gmail_tree
from tests.queries import outbox_counts
from tests.support import ANA, OWNER, Box, tally, wait_until
from tests.workers import status_with_code


@pytest.fixture
def tree(google: Google, box: Box) -> Tree:
    return gmail_tree(google, box)


@pytest.mark.parametrize("expired", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_worker_with_a_revoked_sign_in_alerts_by_another_transport(
    google: Google, box: Box, tree: Tree, expired: bool
) -> None:
    """X07, S01, S16: the transport pauses, nothing is dropped, another transport alerts the owner, status is 4."""
    configure_gmail(box, google, second=True)
    google.write_token(box.home.token, expired=expired)
    google.revoke()
    box.notify("start", check=0)
    tree.submit(ANA, "survey", CODE)

    (alert,) = wait_until(box.mails, what="the alert in the Maildir")
    assert alert.sent == ("system_alert", "owner", OWNER)
    assert "mail" in alert.subject
    assert "notify init" in alert.text
    wait_until(
        lambda: worker_status.read(box.home).transports["mail"]["problem"] and worker_status.read(box.home).sent == 1
    )
    wait_until(lambda: worker_status.read(box.home).waiting == 2)
    code, said = status_with_code(box)
    assert code == 4
    assert said["waiting"] == 2
    assert said["transports"]["mail"]["can_send"] is False
    assert "notify init" in said["transports"]["mail"]["problem"]
    assert said["transports"]["box"]["can_send"] is True
    assert any("mail" in ailment for ailment in said["unwell"])
    refused = len(google.posts)
    box.notify("stop", check=0)

    google.write_token(box.home.token)
    box.notify("start", check=0)
    wait_until(lambda: worker_status.read(box.home).sent == 3, what="the two mails")
    code, said = status_with_code(box)
    assert code == 0
    assert said["transports"]["mail"] == {"type": "gmail", "can_send": True, "problem": None}
    box.notify("stop", check=0)
    assert Counter(events_and_recipients(google.posts[refused:])) == Counter(
        {("job_submitted", OWNER): 1, ("job_submitted", ANA): 1}
    )
    assert len(box.mails()) == 1
    assert "secret-of-" not in box.home.log.read_text()


def test_worker_killed_during_a_send_resends_and_counts_it(google: Google, box: Box, tree: Tree) -> None:
    """X01, X03: SIGKILL in the middle of a send."""
    google.default = hang(60)
    box.notify("start", check=0)
    tree.submit(ANA, "survey", CODE)
    wait_until(lambda: len(google.posts) == 2, what="two sends under way")
    pid = worker_lock.holder_pid(box.home)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not worker_lock.is_held(box.home))

    google.default = None
    box.notify("start", check=0)
    wait_until(lambda: outbox_counts(box).sent == 2, what="both mails sent")
    box.notify("stop", check=0)

    assert set(count_by_id(google.posts).values()) == {2}
    assert outbox_counts(box) == tally(sent=2, unknown=2)
