"""Submitters without a peer record are not mailed until they are known."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syftnotify.store.ledger.index import Ledger
from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.store.outbox.store import SqliteOutbox
from tests.integration.submitter_trees import (
    VICTIM,
    counts,
    scan_after,
    snapshot,
    submitters,
    tree_with_a_peer,
    withheld,
)
from tests.support import ANA, BO, OWNER, Box, tally
from tests.trees import PERMISSIONS, TREES, Disk, Tree, permission

pytestmark = pytest.mark.check_only


OWNER_ONLY = Counter({("job_submitted", "owner", OWNER): 1})
LAYOUTS = [
    *(pytest.param(each, marks=pytest.mark.thorough) for each in ("B4", "C1", "C2")),
    "D",
]  # layouts whose paths name the submitter


@pytest.fixture(params=LAYOUTS)
def tree(request: pytest.FixtureRequest, box: Box, disk: Disk) -> Tree:
    """A tree in which submissions come from scientists that the owner did not add; the first scan is done."""
    return tree_with_a_peer(request.param, box, disk)


def test_submitter_without_a_peer_record_gets_no_mail(box: Box, tree: Tree) -> None:
    """C1: an approved peer can make any `inbox/<name>/` through sync."""
    tree.submit(by=VICTIM)
    assert scan_after(box) == OWNER_ONLY
    tree.approve(by=VICTIM)
    tree.run(by=VICTIM, code=1)
    box.clock.advance(10)
    assert scan_after(box) == Counter({("job_failed", "owner", OWNER): 1})
    assert counts(box) == tally(sent=2, withheld=3)


def test_review_folder_of_a_received_job_confirms_nobody(box: Box, unknown_tree: Tree) -> None:
    """C1: the owner's client makes `review/<scientist>/<job>/` for every job that it receives."""
    unknown_tree.submit(by=VICTIM)
    unknown_tree.disk.write(
        unknown_tree.base / "review" / VICTIM / "v1" / "analysis" / "state.yaml", "status: pending\n"
    )
    unknown_tree.disk.make_folder(unknown_tree.base / "review" / VICTIM / PERMISSIONS)  # of a job that is called so
    assert scan_after(box) == OWNER_ONLY


def test_review_folder_confirms_in_a_tree_without_permissions(box: Box, disk: Disk) -> None:
    """C1: a tree that another program made; `inbox/<scientist>/` alone still proves nothing."""
    tree = TREES["D"](disk, adds_peers=False)
    box.scan()
    tree.submit(by=VICTIM)
    disk.make_folder(tree.base / "review" / ANA)
    tree.submit(by=ANA)
    assert submitters(scan_after(box)) == {ANA}


def test_history_and_why_show_withheld_mail_and_the_reason(box: Box, unknown_tree: Tree) -> None:
    """C1"""
    unknown_tree.submit(by=VICTIM)
    scan_after(box)
    (item,) = withheld(box)
    assert (item["recipient"], item["audience"]) == (VICTIM, "submitter")
    assert item["reason"].startswith("unverified: no peer record")
    assert "withheld: unverified: no peer record" in " ".join(box.notify("why", "analysis", check=0).stdout.split())
    assert "  withheld  job_submitted  " in box.notify("history", check=0).stdout
    assert "1 withheld" in box.notify("doctor").stdout
    refused = box.notify("resend", item["id"], check=1)
    assert "is withheld" in refused.stdout + refused.stderr


def test_status_counts_withheld_messages_separately(box: Box, unknown_tree: Tree) -> None:
    """C1: nothing is waiting, and the worker is healthy."""
    unknown_tree.submit(by=VICTIM)
    box.notify("run", "--once", check=0)
    status = json.loads(box.notify("status", "--json").stdout)
    assert (status["waiting"], status["withheld"], status["unwell"]) == (0, 1, [])
    assert "1 message withheld" in box.notify("status").stdout


def test_withheld_mail_blocks_neither_ledger_nor_pruning(box: Box, unknown_tree: Tree) -> None:
    """C1: it may stay withheld forever."""
    unknown_tree.submit(by=VICTIM)
    unknown_tree.approve(by=VICTIM)
    scan_after(box)
    assert Ledger(box.home.state).owed() == {}
    assert JsonStateManager(box.home.state).was_notified(unknown_tree.entity(by=VICTIM), "approved")
    box.clock.advance(100)
    outbox = SqliteOutbox(box.home.outbox)
    assert outbox.history.prune(box.clock.now, box.clock.now, exempt=()) == 2
    assert outbox.history.counts() == tally(sent=1)
    outbox.close()


def test_mail_to_the_owner_marks_an_unverified_submitter(box: Box, tree: Tree) -> None:
    """C1: in every mail about the job; known submitters are not marked."""
    tree.submit("evil", by=VICTIM)
    tree.grant(ANA)
    tree.submit("good", by=ANA)
    scan_after(box)
    for name in ("evil", "good"):
        by = VICTIM if name == "evil" else ANA
        tree.approve(name, by=by)
        tree.run(name, by=by, code=1)
    box.clock.advance(10)
    scan_after(box)
    of_owner = [mail for mail in box.mails() if mail.to == OWNER]
    assert len(of_owner) == 4
    for mail in box.mails():
        is_marked = VICTIM in mail.text
        assert (f"{VICTIM} (unverified: no peer record)" in mail.text) is is_marked
        assert ("unverified" in mail.text + mail.html) is is_marked
        assert ("unverified: no peer record" in mail.html) is is_marked


def test_digest_marks_an_unverified_submitter(box: Box, disk: Disk) -> None:
    """C1: here the catch-up of a first scan."""
    tree = TREES["D"](disk, adds_peers=False)
    tree.submit(by=VICTIM)
    assert scan_after(box) == Counter({("digest", "owner", OWNER): 1})
    (mail,) = box.mails()
    assert f"{VICTIM} (unverified: no peer record)" in mail.text


def in_snapshot_asking(box: Box, tree: Tree) -> None:
    snapshot(box, tree.disk, [VICTIM.upper()], [])


def in_snapshot_accepted(box: Box, tree: Tree) -> None:
    snapshot(box, tree.disk, [], [VICTIM])


def with_folders(_box: Box, tree: Tree) -> None:
    tree.grant(VICTIM)


def with_permission_in(*folders: str) -> Callable[[Box, Tree], None]:
    def add_rule(_box: Box, tree: Tree) -> None:
        datasite = tree.base.parent.parent
        folder = tree.base / VICTIM if tree.layout == "B4" else tree.base / "review" / VICTIM
        tree.disk.make_folder(folder)
        folder_of_rule = datasite.joinpath(*folders)
        pattern = f"{folder.relative_to(folder_of_rule)}/**"
        tree.disk.write_yaml(folder_of_rule / PERMISSIONS, permission(VICTIM, "read", pattern))

    return add_rule


def in_old_peer_file(box: Box, tree: Tree) -> None:
    tree.disk.write(box.root / ".syft" / "peers" / "x.json", json.dumps({"email": VICTIM}))


def allowed(box: Box, _tree: Tree) -> None:
    box.configure({"recipients": {"allow": ["*@bank.example"]}})


def as_operator(box: Box, _tree: Tree) -> None:
    box.configure({"operator": VICTIM})


def in_a_route(box: Box, _tree: Tree) -> None:
    box.configure({"routes+": [{"events": ["job_failed"], "to": [VICTIM]}]})


CONFIRMATIONS = [
    in_snapshot_asking,
    in_snapshot_accepted,
    with_folders,
    with_permission_in(),
    with_permission_in("app_data"),
    with_permission_in("app_data", "job"),
    in_old_peer_file,
    allowed,
    as_operator,
    in_a_route,
]


@pytest.mark.parametrize("confirm", CONFIRMATIONS, ids=lambda confirm: confirm.__qualname__.partition(".")[0])
def test_withheld_mail_is_sent_in_order_when_the_submitter_is_known(
    box: Box, tree: Tree, confirm: Callable[[Box, Tree], None]
) -> None:
    """C1: once, and later mails follow it."""
    tree.submit(by=VICTIM)
    tree.approve(by=VICTIM)
    scan_after(box)
    box.new_mails()
    confirm(box, tree)
    tree.run(by=VICTIM)
    scan_after(box)
    scan_after(box)
    mails = [mail for mail in box.mails() if mail.event.startswith("job_") and mail.audience == "submitter"]
    assert [mail.event for mail in mails] == ["job_submitted", "job_approved", "job_completed"]
    assert not any("unverified" in mail.text for mail in mails)
    assert counts(box).withheld == 0


def test_released_mail_waits_for_the_end_of_quiet_hours(box: Box, unknown_tree: Tree) -> None:
    """C1"""
    unknown_tree.submit(by=VICTIM)
    scan_after(box)
    begin = datetime.fromtimestamp(box.clock.now + 60, UTC)
    times = {"from": f"{begin:%H:%M}", "to": f"{begin + timedelta(hours=8):%H:%M}", "zone": "UTC"}
    box.configure({"quiet_hours": times})
    unknown_tree.grant(VICTIM)
    assert VICTIM not in {mail[2] for mail in scan_after(box, 3600)}
    box.clock.advance(5 * 3600)

    assert VICTIM in {mail[2] for mail in scan_after(box, 4 * 3600)}


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
def test_other_permissions_confirm_nobody(box: Box, unknown_tree: Tree, rule: dict[str, Any]) -> None:
    """C1: sharing the results of a run adds rules, too."""
    unknown_tree.submit(by=VICTIM)
    unknown_tree.disk.make_folder(unknown_tree.base / "review" / VICTIM)
    unknown_tree.disk.write_yaml(unknown_tree.base.parent.parent / PERMISSIONS, rule)
    assert scan_after(box) == OWNER_ONLY


def test_recorded_peer_stays_known(box: Box, unknown_tree: Tree) -> None:
    """C1: a later snapshot without the peer proves nothing."""
    snapshot(box, unknown_tree.disk, [ANA], [])
    scan_after(box)
    snapshot(box, unknown_tree.disk, [], [BO])
    scan_after(box)
    unknown_tree.submit(by=ANA)
    assert scan_after(box) == OWNER_ONLY + Counter({("job_submitted", "submitter", ANA): 1})


def test_snapshot_of_another_owner_confirms_nobody(box: Box, unknown_tree: Tree) -> None:
    """C1"""
    unknown_tree.disk.write(box.snapshot.parent.parent / "config.yaml", f"do_email: {BO}\n")
    snapshot(box, unknown_tree.disk, [], [VICTIM])
    unknown_tree.submit(by=VICTIM)
    assert scan_after(box) == OWNER_ONLY


@pytest.mark.parametrize("block", ["notify", "alerts"])
def test_request_of_a_job_for_its_unverified_submitter_is_withheld(box: Box, unknown_tree: Tree, block: str) -> None:
    """C1: an own address needs no `recipients.allow`, and yet must be known."""
    requests = {"notify": {"emails": [VICTIM], "on": ["job_submitted"]}, "alerts": {"recipients": [VICTIM]}}
    unknown_tree.submit(by=VICTIM, config={"headers": {block: requests[block]}})
    unknown_tree.approve(by=VICTIM)
    unknown_tree.run(by=VICTIM, code=1)
    sent = scan_after(box) + scan_after(box)
    assert {recipient for _, _, recipient in sent} == {OWNER}
