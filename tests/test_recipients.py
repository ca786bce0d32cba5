"""C1: addresses that the tree names are mailed only if they are known, and only so many new ones a day."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification
from syftnotify.core.outbox import OutboxCounts
from syftnotify.sources.spool import emit
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import ANA, BO, OWNER, Box, Sent, claim, tally
from tests.trees import PERMISSIONS, TREES, Disk, Tree, permission

VICTIM = "victim@bank.example"
PEER = "cara@peer.example"  # added by the owner
OWNERS_COPY = Counter({("job_submitted", "owner", OWNER): 1})
NAMING = ["B4", "C1", "C2", "D"]  # layouts whose paths name the submitter


@pytest.fixture
def disk(box: Box) -> Disk:
    return Disk(box.root, box.clock.time)


@pytest.fixture(params=NAMING)
def tree(request: pytest.FixtureRequest, box: Box, disk: Disk) -> Tree:
    """A tree in which submissions come from scientists that the owner did not add; the first scan is done."""
    return tree_with_a_peer(request.param, box, disk)


@pytest.fixture
def strangers(box: Box, disk: Disk) -> Tree:
    return tree_with_a_peer("D", box, disk)


def tree_with_a_peer(layout: str, box: Box, disk: Disk) -> Tree:
    tree = TREES[layout](disk, adds_peers=False)
    tree.grant(PEER)
    box.look()
    return tree


def after(box: Box, seconds: float = 10) -> Counter[Sent]:
    box.clock.advance(seconds)
    box.look()
    return Counter(mail.told for mail in box.new_mails())


def counts(box: Box) -> OutboxCounts:
    outbox = SqliteOutbox(box.home.outbox)
    try:
        return outbox.history.counts()
    finally:
        outbox.close()


def withheld(box: Box) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(box.notify("history", "--state", "withheld", "--json", check=0).stdout)
    return found


def snapshot(box: Box, disk: Disk, asking: list[str], accepted: list[str]) -> None:
    lists = {"peer_emails": [*accepted, *asking], "approved_peer_emails": accepted}
    disk.write(box.snapshot, json.dumps({"snapshot": {"sync_time": box.clock.now, "sync_error": None, **lists}}))


# Unverified submitters


def test_a_submitter_without_a_peer_record_gets_no_mail(box: Box, tree: Tree) -> None:
    """C1: an approved peer can make any `inbox/<name>/` through sync."""
    tree.submit(by=VICTIM)
    assert after(box) == OWNERS_COPY
    tree.approve(by=VICTIM)
    tree.run(by=VICTIM, code=1)
    box.clock.advance(10)
    assert after(box) == Counter({("job_failed", "owner", OWNER): 1})
    assert counts(box) == tally(sent=2, withheld=3)


def test_the_folder_of_a_received_job_confirms_nobody(box: Box, strangers: Tree) -> None:
    """C1: the owner's client makes `review/<scientist>/<job>/` for every job that it receives."""
    strangers.submit(by=VICTIM)
    strangers.disk.write(strangers.base / "review" / VICTIM / "v1" / "analysis" / "state.yaml", "status: pending\n")
    strangers.disk.folder(strangers.base / "review" / VICTIM / PERMISSIONS)  # of a job that is called so
    assert after(box) == OWNERS_COPY


def test_a_review_folder_confirms_where_no_peer_has_a_permission(box: Box, disk: Disk) -> None:
    """C1: a tree that another program made; `inbox/<scientist>/` alone still proves nothing."""
    tree = TREES["D"](disk, adds_peers=False)
    box.look()
    tree.submit(by=VICTIM)
    disk.folder(tree.base / "review" / ANA)
    tree.submit(by=ANA)
    assert submitters(after(box)) == {ANA}


def test_history_and_why_show_what_is_withheld_and_why(box: Box, strangers: Tree) -> None:
    """C1"""
    strangers.submit(by=VICTIM)
    after(box)
    (item,) = withheld(box)
    assert (item["recipient"], item["audience"]) == (VICTIM, "submitter")
    assert item["reason"].startswith("unverified: no peer record")
    for words in (["why", "analysis"], ["history"]):
        assert "withheld: unverified: no peer record" in " ".join(box.notify(*words, check=0).stdout.split())
    assert "1 withheld" in box.notify("doctor").stdout
    refused = box.notify("resend", item["id"], check=1)
    assert "is withheld" in refused.stdout + refused.stderr


def test_status_counts_what_is_withheld_apart(box: Box, strangers: Tree) -> None:
    """C1: nothing waits, and the worker is well."""
    strangers.submit(by=VICTIM)
    box.notify("run", "--once", check=0)
    box.notify("start", check=0)
    status = json.loads(box.notify("status", "--json", check=0).stdout)
    assert (status["waiting"], status["withheld"], status["unwell"]) == (0, 1, [])
    assert "1 message withheld" in box.notify("status", check=0).stdout


def test_withheld_mail_holds_up_neither_ledger_nor_pruning(box: Box, strangers: Tree) -> None:
    """C1: it may stay withheld for ever."""
    strangers.submit(by=VICTIM)
    strangers.approve(by=VICTIM)
    after(box)
    assert Ledger(box.home.state).owed() == {}
    assert JsonStateManager(box.home.state).was_notified(strangers.entity(by=VICTIM), "approved")
    box.clock.advance(100)
    outbox = SqliteOutbox(box.home.outbox)
    assert outbox.history.prune(box.clock.now, box.clock.now, exempt=()) == 2
    assert outbox.history.counts() == tally(sent=1)
    outbox.close()


def test_the_owners_mail_marks_an_unverified_submitter(box: Box, tree: Tree) -> None:
    """C1: in every mail about the job; nobody else is marked."""
    tree.submit("evil", by=VICTIM)
    tree.grant(ANA)
    tree.submit("good", by=ANA)
    after(box)
    for name in ("evil", "good"):
        by = VICTIM if name == "evil" else ANA
        tree.approve(name, by=by)
        tree.run(name, by=by, code=1)
    box.clock.advance(10)
    after(box)
    of_owner = [mail for mail in box.mails() if mail.to == OWNER]
    assert len(of_owner) == 4
    for mail in box.mails():
        is_marked = VICTIM in mail.text
        assert (f"{VICTIM} (unverified: no peer record)" in mail.text) is is_marked
        assert ("unverified" in mail.text + mail.html) is is_marked
        assert ("unverified: no peer record" in mail.html) is is_marked


def test_a_digest_marks_an_unverified_submitter(box: Box, disk: Disk) -> None:
    """C1: here the catch-up of a first scan."""
    tree = TREES["D"](disk, adds_peers=False)
    tree.submit(by=VICTIM)
    assert after(box) == Counter({("digest", "owner", OWNER): 1})
    (mail,) = box.mails()
    assert f"from {VICTIM} (unverified: no peer record) waits for you" in mail.text


# How they become known


def in_snapshot_asking(box: Box, tree: Tree) -> None:
    snapshot(box, tree.disk, [VICTIM.upper()], [])


def in_snapshot_accepted(box: Box, tree: Tree) -> None:
    snapshot(box, tree.disk, [], [VICTIM])


def with_folders(_box: Box, tree: Tree) -> None:
    tree.grant(VICTIM)


def by_rule_in(*above: str) -> Callable[[Box, Tree], None]:
    def make(_box: Box, tree: Tree) -> None:
        site = tree.base.parent.parent
        folder = tree.base / VICTIM if tree.layout == "B4" else tree.base / "review" / VICTIM
        tree.disk.folder(folder)
        place = site.joinpath(*above)
        pattern = f"{folder.relative_to(place)}/**"
        tree.disk.write_yaml(place / PERMISSIONS, permission(VICTIM, "read", pattern))

    return make


def in_old_peer_file(box: Box, tree: Tree) -> None:
    tree.disk.write(box.root / ".syft" / "peers" / "x.json", json.dumps({"email": VICTIM}))


def allowed(box: Box, _tree: Tree) -> None:
    box.configure({"recipients": {"allow": ["*@bank.example"]}})


def as_operator(box: Box, _tree: Tree) -> None:
    box.configure({"operator": VICTIM})


def in_a_route(box: Box, _tree: Tree) -> None:
    box.configure({"routes+": [{"events": ["job_failed"], "to": [VICTIM]}]})


WAYS = [
    in_snapshot_asking,
    in_snapshot_accepted,
    with_folders,
    by_rule_in(),
    by_rule_in("app_data"),
    by_rule_in("app_data", "job"),
    in_old_peer_file,
    allowed,
    as_operator,
    in_a_route,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__qualname__.partition(".")[0])
def test_withheld_mail_is_sent_in_order_when_its_recipient_is_known(
    box: Box, tree: Tree, way: Callable[[Box, Tree], None]
) -> None:
    """C1: once, and what happens later comes after it."""
    tree.submit(by=VICTIM)
    tree.approve(by=VICTIM)
    after(box)
    box.new_mails()
    way(box, tree)
    tree.run(by=VICTIM)
    after(box)
    after(box)
    mails = [mail for mail in box.mails() if mail.event.startswith("job_") and mail.audience == "submitter"]
    assert [mail.event for mail in mails] == ["job_submitted", "job_approved", "job_completed"]
    assert not any("unverified" in mail.text for mail in mails)
    assert counts(box).withheld == 0


def test_withheld_mail_waits_for_the_end_of_quiet_hours(box: Box, strangers: Tree) -> None:
    """C1: a release is no reason to disturb anybody."""
    strangers.submit(by=VICTIM)
    after(box)
    begin = datetime.fromtimestamp(box.clock.now + 60, UTC)
    times = {"from": f"{begin:%H:%M}", "to": f"{begin + timedelta(hours=8):%H:%M}", "zone": "UTC"}
    box.configure({"quiet_hours": times})
    strangers.grant(VICTIM)
    assert VICTIM not in {mail[2] for mail in after(box, 3600)}
    box.clock.advance(5 * 3600)

    assert VICTIM in {mail[2] for mail in after(box, 4 * 3600)}


@pytest.mark.parametrize(
    "rule",
    [
        permission(BO, "read", f"app_data/job/review/{VICTIM}/**"),
        permission(VICTIM, "read", f"app_data/job/review/{VICTIM}/v1/analysis/outputs/**"),
        permission(VICTIM, "read", f"app_data/job/inbox/{VICTIM}/**"),
        permission(VICTIM, "read", "**"),
        {"rules": [{"pattern": f"app_data/job/review/{VICTIM}/**", "access": {"read": 7}}, 7, None]},
        {"rules": 7},
    ],
    ids=["another's", "results alone", "inbox", "everything", "wrong types", "no rules"],
)
def test_other_rules_confirm_nobody(box: Box, strangers: Tree, rule: dict[str, Any]) -> None:
    """C1: sharing the results of a run adds rules, too."""
    strangers.submit(by=VICTIM)
    strangers.disk.folder(strangers.base / "review" / VICTIM)
    strangers.disk.write_yaml(strangers.base.parent.parent / PERMISSIONS, rule)
    assert after(box) == OWNERS_COPY


def test_a_peer_who_was_recorded_stays_known(box: Box, strangers: Tree) -> None:
    """C1: a later snapshot without the peer proves nothing."""
    snapshot(box, strangers.disk, [ANA], [])
    after(box)
    snapshot(box, strangers.disk, [], [BO])
    after(box)
    strangers.submit(by=ANA)
    assert after(box) == OWNERS_COPY + Counter({("job_submitted", "submitter", ANA): 1})


def test_a_snapshot_of_another_owner_confirms_nobody(box: Box, strangers: Tree) -> None:
    """C1"""
    strangers.disk.write(box.snapshot.parent.parent / "config.yaml", f"do_email: {BO}\n")
    snapshot(box, strangers.disk, [], [VICTIM])
    strangers.submit(by=VICTIM)
    assert after(box) == OWNERS_COPY


@pytest.mark.parametrize("block", ["notify", "alerts"])
def test_a_job_that_asks_for_its_unverified_submitter_is_withheld(box: Box, strangers: Tree, block: str) -> None:
    """C1: one's own address needs no `recipients.allow`, and yet must be known."""
    wishes = {"notify": {"emails": [VICTIM], "on": ["job_submitted"]}, "alerts": {"recipients": [VICTIM]}}
    strangers.submit(by=VICTIM, config={"headers": {block: wishes[block]}})
    strangers.approve(by=VICTIM)
    strangers.run(by=VICTIM, code=1)
    told = after(box) + after(box)
    assert {recipient for _, _, recipient in told} == {OWNER}


# New recipients a day


def submit_all(tree: Tree, count: int, domain: str = "crowd.example") -> list[str]:
    crowd = [f"ds{number:02}@{domain}" for number in range(count)]
    for who in crowd:
        tree.submit(by=who)
    return crowd


def submitters(told: Counter[Sent]) -> set[str]:
    return {recipient for _, audience, recipient in told if audience == "submitter"}


def test_only_twenty_new_recipients_a_day_are_mailed(box: Box, strangers: Tree) -> None:
    """C1: known ones, too; the owner gets every request, and one alert a day."""
    strangers.adds_peers = True
    crowd = submit_all(strangers, 23)
    told = after(box)
    assert submitters(told) == set(crowd[:20])
    assert told["job_submitted", "owner", OWNER] == 23
    assert told["system_alert", "owner", OWNER] == 1
    assert {item["recipient"] for item in withheld(box)} == set(crowd[20:])
    assert all("`recipients.new_per_day`" in item["reason"] for item in withheld(box))

    for who in (crowd[0], crowd[-1]):
        strangers.approve(by=who)
    assert after(box) == Counter({("job_approved", "submitter", crowd[0]): 1}), "no new recipient"
    submit_all(strangers, 2, "later.example")
    assert after(box, 3600)["system_alert", "owner", OWNER] == 0, "one alert a day"

    told = after(box, 86400)
    assert [told["job_submitted", "submitter", who] for who in crowd[20:]] == [1, 1, 1]
    assert told["job_approved", "submitter", crowd[-1]] == 1
    assert counts(box).withheld == 0
    assert after(box, 86400) == Counter()


@pytest.mark.parametrize(("limit", "mailed"), [(0, 0), (1, 1), ("none", 3)])
def test_the_limit_of_new_recipients_is_a_setting(box: Box, disk: Disk, limit: int | str, mailed: int) -> None:
    """C1"""
    box.configure({"recipients": {"new_per_day": limit}})
    box.look()
    submit_all(TREES["D"](disk), 3)
    assert len(submitters(after(box))) == mailed


def test_allowed_and_configured_recipients_are_not_limited(box: Box, disk: Disk) -> None:
    """C1"""
    box.configure({"recipients": {"new_per_day": 0, "allow": ["*@crowd.example"]}, "operator": [ANA]})
    box.look()
    tree = TREES["D"](disk)
    crowd = submit_all(tree, 3)
    for who in (ANA, BO):
        tree.submit(by=who)
    assert submitters(after(box)) == {*crowd, ANA}


def test_emitted_events_are_not_limited(box: Box, disk: Disk) -> None:
    """C1: they are their operator's word."""
    box.configure({"recipients": {"new_per_day": 0}})
    box.look()
    emit("job_completed", "run/1", user=ANA, home=box.home.root)
    assert submitters(after(box)) == {ANA}


def test_requesting_peers_count_as_new_recipients(box: Box, disk: Disk) -> None:
    """C1: an attacker can make many requests."""
    box.configure({"recipients": {"new_per_day": 2}})
    snapshot(box, disk, [], [])
    box.look()
    snapshot(box, disk, [f"ds{number}@crowd.example" for number in range(4)], [])
    told = after(box)
    assert told["peer_requested", "owner", OWNER] == 4
    assert len(submitters(told)) == 2
    assert told["system_alert", "owner", OWNER] == 1


def test_a_mailed_address_stays_known_to_the_limit_when_pruned(box: Box, disk: Disk) -> None:
    """C1: a history that is kept for a day makes nobody new again."""
    box.configure({"recipients": {"new_per_day": 1}, "retention": "1d"})
    box.look()
    tree = TREES["D"](disk)
    tree.submit("first", by=ANA)
    assert submitters(after(box)) == {ANA}
    box.clock.advance(10 * 86400)
    box.look()
    box.clock.advance(7200)
    box.look()
    outbox = SqliteOutbox(box.home.outbox)
    assert outbox.history.events(tree.entity("first", by=ANA)) == []
    outbox.close()
    tree.submit("second", by=BO)
    box.look()
    tree.submit("third", by=ANA)
    assert submitters(after(box)) == {ANA, BO}


def test_a_rehearsal_shows_the_limit_and_changes_nothing(box: Box, disk: Disk) -> None:
    """C1"""
    box.configure({"recipients": {"new_per_day": 0}})
    box.look()
    submit_all(TREES["D"](disk), 1)
    said = " ".join(box.notify("run", "--dry-run", check=0).stdout.split())
    assert "1 message would be sent" in said
    assert "not sent: above" in said
    assert counts(box) == tally()


def test_the_home_of_a_scientist_mails_its_owner(box: Box, disk: Disk) -> None:
    """C1: the submitter of every job there is the reader."""
    box.configure({"do_email": ANA, "role": "scientist", "recipients": {"new_per_day": 0}})
    box.look()
    TREES["D"](disk, adds_peers=False).submit(by=ANA)
    assert after(box) == Counter({("job_submitted", "submitter", ANA): 1})


# The outbox


def put(outbox: SqliteOutbox, name: str, recipient: str, now: float, **more: Any) -> Notification:
    event = Event(EventKind.JOB_SUBMITTED, f"job/{name}")
    item = Notification(event.key, event.entity, recipient, Audience.SUBMITTER, "box", **more)
    outbox.enqueue([event], [item], now)
    return item


def test_outbox_release_queues_only_the_recipients_named(outbox: SqliteOutbox) -> None:
    """C1: what was withheld is not claimed before, and keeps its place."""
    put(outbox, "a", ANA, 1.0, withheld="unverified")
    put(outbox, "b", BO, 2.0, withheld="unverified")
    assert claim(outbox, "box", 3.0, worker_id="me") == []
    assert outbox.recipients.withheld() == [ANA, BO]
    assert outbox.recipients.release([BO], 4.0) == 1
    assert outbox.history.counts() == tally(waiting=1, withheld=1)
    assert [due.recipient for due in claim(outbox, "box", 5.0, worker_id="me")] == [BO]
    assert outbox.recipients.release([BO], 6.0) == 0


def test_outbox_adopts_withheld_mail_of_a_removed_transport(outbox: SqliteOutbox) -> None:
    """C1"""
    put(outbox, "a", ANA, 1.0, withheld="unverified")
    assert outbox.queue.reassign(["other"], "other") == 1
    outbox.recipients.release([ANA], 2.0)
    assert [due.transport for due in claim(outbox, "other", 3.0, worker_id="me")] == ["other"]


def test_outbox_counts_newcomers_by_when_they_were_queued(outbox: SqliteOutbox) -> None:
    """C1: withheld ones when they are released; those whom the caller does not name are no newcomers."""
    put(outbox, "a", ANA, 10.0, withheld="unverified")
    put(outbox, "b", BO, 10.0)
    assert outbox.recipients.unmailed([ANA, BO]) == {ANA}
    outbox.recipients.release([ANA], 20.0, newcomers=[ANA])
    assert outbox.recipients.unmailed([ANA, BO]) == set()
    assert [outbox.recipients.count_new(since, 30.0) for since in (0.0, 15.0, 20.0)] == [1, 1, 0]
    assert outbox.recipients.count_new(0.0, 19.0) == 0, "a clock that was set back"


def test_outbox_upgrade_takes_the_addresses_of_the_history(outbox: SqliteOutbox, tmp_path: Path) -> None:
    """C1: whoever was mailed before is nobody new."""
    put(outbox, "a", ANA, 10.0)
    put(outbox, "b", BO, 10.0, skipped="no reason")
    outbox.close()
    path = tmp_path / "outbox.db"
    as_version_4(path)
    upgraded = SqliteOutbox(path)
    assert upgraded.recipients.unmailed([ANA, BO]) == {BO}
    put(upgraded, "c", BO, 20.0, withheld="unverified")
    assert upgraded.recipients.release([BO], 30.0) == 1
    upgraded.close()


def as_version_4(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        DROP INDEX queue; DROP INDEX unfinished;
        DROP TABLE recipients; DROP TABLE emitted_jobs; DROP TABLE totals;
        ALTER TABLE events DROP COLUMN routing;
        ALTER TABLE notifications DROP COLUMN source;
        ALTER TABLE notifications DROP COLUMN priority;
        ALTER TABLE notifications DROP COLUMN longest_wait;
        ALTER TABLE notifications DROP COLUMN acknowledged_at;
        ALTER TABLE notifications DROP COLUMN reported_at;
        PRAGMA user_version = 4;
        """
    )
    connection.close()
