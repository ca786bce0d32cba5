"""What a person has read in the inbox is not mailed to that person afterwards."""

from __future__ import annotations

import json

import pytest

from syftnotify.core.inbox import InboxFilter
from syftnotify.runtime.opening import create_outbox
from syftnotify.services.inbox import mark_read
from tests.support import ANA, OWNER, Box
from tests.trees import TREES, Disk, Tree

NIGHT = {"quiet_hours": {"from": "22:00", "to": "07:00", "zone": "UTC"}, "reminders": {"job_waiting": "1h"}}
EVENING, MORNING = 1_800_050_400.0, 1_800_082_800.0  # 22:00 and 07:00 of the next day, UTC


@pytest.fixture
def night(box: Box) -> Tree:
    """A box in quiet hours, with inboxes and a reminder after an hour."""
    box.clock.now = EVENING - 60.0
    box.configure({"serve": {}, **NIGHT})
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.scan()
    box.clock.advance(120.0)
    return tree


def read(box: Box, user: str, job: str) -> None:
    """Mark what `user` has about a job as read, as the API and the page do."""
    with create_outbox(box.home) as outbox:
        entries = outbox.inbox.page(user, InboxFilter(unread=True), 50).entries
        mark_read(outbox, user, [each.id for each in entries if each.entity.endswith(f"/{job}")])


def reasons(box: Box, recipient: str) -> set[tuple[str, str, str]]:
    found = json.loads(box.notify("history", "--json", "--to", recipient, "--transport", "box", check=0).stdout)
    return {(each["event"], each["entity"].rpartition("/")[2], each["reason"]) for each in found}


@pytest.mark.thorough
def test_reading_takes_an_event_out_of_the_digest_of_that_person(box: Box, night: Tree) -> None:
    """Also a reminder that waits for the end of quiet hours. What the submitter gets stays."""
    for name in ("one", "two"):
        night.submit(name, ANA)
        box.scan()
        box.clock.advance(60.0)
    box.clock.advance(2 * 3600.0)
    box.scan()
    read(box, OWNER, "one")
    box.clock.now = MORNING
    box.scan()

    digests = {mail.to: sorted(each.rpartition("/")[2] for each in mail.entities) for mail in box.mails()}
    assert digests == {OWNER: ["two", "two"], ANA: ["one", "two"]}
    skipped = {(event, name) for event, name, reason in reasons(box, OWNER) if reason == "read in the inbox"}
    assert skipped == {("job_submitted", "one"), ("job_waiting", "one")}
    assert box.notify("status", "--json").stdout
    ledger = json.loads(box.home.state.read_text(encoding="utf-8"))
    assert ledger["owed"] == {}, "what was read is not owed any more"
    box.scan()
    assert len(box.mails()) == 2


def test_reminder_that_becomes_due_later_is_sent(box: Box, night: Tree) -> None:
    """Reading is not deciding."""
    box.clock.now = MORNING + 60.0
    box.scan()
    night.submit("one", ANA)
    box.scan()
    read(box, OWNER, "one")
    box.clock.advance(3700.0)
    box.scan()

    assert [mail.event for mail in box.mails() if mail.to == OWNER][-1] == "job_waiting"


def test_mail_that_was_sent_stays_sent(box: Box, night: Tree) -> None:
    box.clock.now = MORNING + 60.0
    box.scan()
    night.submit("one", ANA)
    box.scan()
    read(box, OWNER, "one")
    box.scan()

    assert reasons(box, OWNER) == {("job_submitted", "one", "")}
