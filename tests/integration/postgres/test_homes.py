"""X12: workers of several data owners deliver for each other, and each sees its own rows only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from syftnotify.core.models import AlertRule
from syftnotify.services.demo import Tree
from tests.integration.postgres.conftest import OpenWorker
from tests.integration.postgres.test_workers import OTHER
from tests.outbox_helpers import enqueue, notification, submitted
from tests.support import ANA, OWNER, Box, mails_in


def box_of(folder: Path, owner: str, database_url: str, **settings: object) -> Box:
    """The home of a data owner, with its own tree; mail goes into one Maildir."""
    folder.mkdir()
    box = Box(folder)
    box.root.mkdir()
    transports = {"box": {"type": "maildir", "path": str(folder.parent / "mail")}}
    notify = {"interval": 1, "sync_state_path": str(folder / "syft-bg.json")}
    box.configure({"do_email": owner, "database": database_url, "transports": transports, **settings}, notify=notify)
    return box


def test_message_of_another_home_has_its_sender_and_links(tmp_path: Path, database_url: str) -> None:
    """Whichever worker sends it."""
    first = box_of(tmp_path / "first", OWNER, database_url, links={"job": "https://first.example/{job}"})
    second = box_of(tmp_path / "second", OTHER, database_url, links={"job": "https://second.example/{job}"})
    tree = Tree(first.root, tmp_path / "first" / "syft-bg.json")
    tree.peers([], [])
    tree.grant(ANA)
    first.scan()
    tree.submit(ANA, "survey", "print(1)\n")
    app = first.open_app()
    app.pipeline.tick(first.clock.now, last_scan=first.clock.now - 1.0)  # enqueued, and not sent
    app.close()

    second.scan()
    mails = {mail.audience: mail for mail in mails_in(tmp_path / "mail")}
    assert sorted(mails) == ["owner", "submitter"]
    assert OWNER in str(mails["submitter"].message["From"])
    assert "https://first.example/survey" in mails["owner"].text
    assert second.notify("history", check=0).stdout.startswith("no notifications yet")
    assert first.notify("history", check=0).stdout.count("survey") == 2


def test_rows_of_another_home_are_not_seen(open_worker: OpenWorker) -> None:
    own, other = open_worker(OWNER), open_worker(OTHER)
    enqueue(own, submitted())
    own.alert_rules.add(AlertRule("one", "ops@lab.example", job="*"))

    assert other.history.notifications() == []
    assert other.history.events("job/a") == []
    assert other.alert_rules.all() == []
    assert other.events.all() == []
    assert other.queue.reassign(["elsewhere"], "") == 0
    assert [item.state for item in own.history.notifications()] == ["pending"]
    enqueue(other, submitted())  # the same fact of another home is another one
    assert len(other.history.notifications()) == len(own.history.notifications()) == 1


def test_notifications_that_another_worker_withheld_are_found(open_worker: OpenWorker) -> None:
    """After a takeover the new leader releases them."""
    leader, standby = open_worker(), open_worker()
    assert standby.recipients.withheld() == []
    item = replace(notification(submitted(), ANA), withheld="not verified yet")
    leader.enqueue([submitted()], [item], 100.0)

    assert standby.recipients.withheld() == [ANA]
    assert standby.recipients.release([ANA], 101.0) == 1
    assert leader.recipients.withheld() == []
