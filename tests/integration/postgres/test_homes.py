"""X12: workers of several data owners deliver for each other, and each sees its own rows only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from syftnotify.core.emitted_jobs import EmittedJob
from syftnotify.core.errors import DeliveryError
from syftnotify.core.kinds import Status
from syftnotify.core.models import AlertRule, Item
from syftnotify.core.outbox import ClaimedNotification
from syftnotify.core.throttle import ThrottleRule
from syftnotify.delivery.throttling import Throttling
from syftnotify.delivery.transport_queue import TransportQueue
from syftnotify.services.demo import Tree
from tests.fakes.recording_transport import RecordingTransport
from tests.integration.postgres.conftest import OpenWorker
from tests.integration.postgres.test_workers import OTHER
from tests.outbox_helpers import claim_next, enqueue, notification, submitted
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


def tree_of(box: Box) -> Tree:
    """Its tree, in which ANA may submit jobs."""
    tree = Tree(box.root, box.folder / "syft-bg.json")
    tree.peers([], [])
    tree.grant(ANA)
    return tree


def test_message_of_another_home_has_its_sender_and_links(tmp_path: Path, database_url: str) -> None:
    """Whichever worker sends it."""
    first = box_of(tmp_path / "first", OWNER, database_url, links={"job": "https://first.example/{job}"})
    second = box_of(tmp_path / "second", OTHER, database_url, links={"job": "https://second.example/{job}"})
    tree = tree_of(first)
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


def test_digest_has_the_notifications_of_one_home(open_worker: OpenWorker) -> None:
    """Its sender and its links are those of one home."""
    own, other = open_worker(OWNER), open_worker(OTHER)
    for outbox in (own, other):
        enqueue(outbox, *(submitted(str(number)) for number in range(4)))
    throttling = Throttling(own.history, (ThrottleRule(1, 60.0, 600.0),), is_shared=True)
    queue = TransportQueue("box", RecordingTransport(), None)  # type: ignore[arg-type] # renders nothing

    def claim(now: float) -> list[list[ClaimedNotification]]:
        throttle = throttling.for_claim(queue, now)
        return own.queue.claim("box", now, worker_id="me", limit=10, throttle=throttle)

    messages = [*claim(100.0), *claim(1000.0)]
    assert all(len({item.scope for item in message}) == 1 for message in messages)
    assert sorted(map(len, messages)) == [1, 3, 4]
    with own.queue.batch():
        for message in messages:
            own.queue.mark_sent(message, 1001.0)
    assert [outbox.history.counts().notifications for outbox in (own, other)] == [4, 4]


def test_home_that_is_disabled_sends_nothing(open_worker: OpenWorker) -> None:
    """`notify.enabled: false`, also if workers of others run."""
    own, other = open_worker(OWNER), open_worker(OTHER)
    enqueue(own, submitted())
    own.cluster.publish({}, is_enabled=False)

    assert claim_next(other) == []
    assert other.queue.next_due("box", 100.0) is None
    own.cluster.publish({}, is_enabled=True)
    assert other.queue.next_due("box", 100.0) == 0.0
    assert len(claim_next(other)) == 1


def test_message_has_the_links_that_its_home_has_published_last(
    tmp_path: Path, database_url: str, open_worker: OpenWorker
) -> None:
    other = open_worker(OTHER)
    enqueue(other, *(submitted(str(number)) for number in range(3)))
    app = box_of(tmp_path / "first", OWNER, database_url).open_app()
    try:
        queue = app.dispatcher.queues["box"]
        with pytest.raises(DeliveryError, match=f"the home of {OTHER} has not published its links"):
            queue.renderer_for(claim_next(other)[0])
        for host in ("one.example", "two.example"):
            links = {"job": f"https://{host}/{{job}}"}
            other.cluster.publish({"owner": OTHER, "links": links, "timezones": {}}, is_enabled=True)
            (claimed,) = claim_next(other)
            item = Item(claimed.id, claimed.event, claimed.audience, Status.WAITING)
            assert f"https://{host}/" in queue.renderer_for(claimed).message([item], ANA).text
    finally:
        app.close()


def test_start_of_a_standby_moves_nothing(tmp_path: Path, database_url: str, open_worker: OpenWorker) -> None:
    """Its configuration may be older than that of the leader."""
    leader = open_worker(OWNER)
    assert leader.cluster.leader.acquire(60.0)
    enqueue(leader, submitted())  # through a transport that the configuration of the other one lacks
    box = box_of(tmp_path / "home", OWNER, database_url, transports={"mail": {"type": "maildir"}})

    box.notify("run", "--once", check=0)
    assert [item.state for item in leader.history.notifications()] == ["pending"]


def test_job_that_was_emitted_on_two_machines_is_stored_once(open_worker: OpenWorker) -> None:
    first, second = open_worker(), open_worker()
    for outbox, started in ((first, 100.0), (second, 200.0)):
        job = EmittedJob("scheduler/1", {}, {}, started, "T1", ())
        outbox.enqueue([submitted(str(started))], [], started, jobs={job.entity: job})
    assert [job.started_at for job in first.emitted_jobs.started()] == [200.0]


def test_notifications_that_another_worker_withheld_are_found(open_worker: OpenWorker) -> None:
    """After a takeover the new leader releases them."""
    leader, standby = open_worker(), open_worker()
    assert standby.recipients.withheld() == []
    item = replace(notification(submitted(), ANA), withheld="not verified yet")
    leader.enqueue([submitted()], [item], 100.0)

    assert standby.recipients.withheld() == [ANA]
    assert standby.recipients.release([ANA], 101.0) == 1
    assert leader.recipients.withheld() == []
