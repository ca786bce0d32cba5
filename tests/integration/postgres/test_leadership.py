"""X12: of the workers of one tree, one scans."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from syftnotify.core.cluster import WorkerMode
from syftnotify.runtime.cluster_member import ClusterMember
from syftnotify.runtime.leadership import Leadership
from syftnotify.runtime.scan_report import ScanReport
from tests.integration.postgres.conftest import SHORT_LEASE, OpenWorker
from tests.integration.postgres.test_homes import box_of, tree_of
from tests.integration.postgres.test_workers import OTHER, hang
from tests.outbox_helpers import claim_next, enqueue, submitted
from tests.support import ANA, OWNER, Clock, mails_in, wait_until


def test_one_worker_of_each_home_leads(open_worker: OpenWorker) -> None:
    first, second, other = open_worker(), open_worker(), open_worker(OTHER)

    assert first.cluster.leader.acquire(60.0)
    assert not second.cluster.leader.acquire(60.0)
    assert other.cluster.leader.acquire(60.0)
    assert first.cluster.leader.acquire(60.0)
    first.close()
    assert second.cluster.leader.acquire(60.0)


def test_leader_that_hangs_is_replaced_when_its_time_is_over(open_worker: OpenWorker) -> None:
    first, second = open_worker(), open_worker()
    assert first.cluster.leader.acquire(0.5)
    hang(first)

    wait_until(lambda: second.cluster.leader.acquire(60.0))
    assert not first.cluster.leader.acquire(60.0)


def test_leader_stays_while_it_renews(open_worker: OpenWorker) -> None:
    """A scan may take longer than the time for which the leader leads."""
    first, second = open_worker(), open_worker()
    assert first.cluster.leader.acquire(2.0)
    start = second.cluster.workers()[0].renewed_at

    wait_until(lambda: second.cluster.workers()[0].renewed_at > start + 2.5)
    assert not second.cluster.leader.acquire(2.0)


def test_leader_whose_scan_does_not_end_is_replaced(open_worker: OpenWorker) -> None:
    """Its process renews the lease as before."""
    first, second = open_worker(lease=replace(SHORT_LEASE, longest_scan=0.5)), open_worker()
    assert first.cluster.leader.acquire(0.4)

    wait_until(lambda: second.cluster.leader.acquire(60.0))
    assert {each.id for each in second.cluster.workers()} == {first.cluster.id, second.cluster.id}


def test_leader_that_leads_again_has_the_ledger_of_the_one_between(open_worker: OpenWorker, tmp_path: Path) -> None:
    """A machine was suspended meanwhile."""
    outboxes = [open_worker(), open_worker()]
    ledgers = [tmp_path / "first.json", tmp_path / "second.json"]
    leads = [Leadership(outbox.cluster, path, 0.2) for outbox, path in zip(outboxes, ledgers, strict=True)]
    ledgers[0].write_bytes(b"{}")
    assert leads[0].acquire()
    hang(outboxes[0])
    wait_until(leads[1].acquire)
    ledgers[1].write_bytes(b'{"new": 1}')
    leads[1].save(is_last=True)
    outboxes[1].close()

    assert leads[0].acquire()
    assert ledgers[0].read_bytes() == b'{"new": 1}'


def test_standby_that_ends_leaves_the_outcomes_to_the_leader(tmp_path: Path, database_url: str) -> None:
    boxes = [box_of(tmp_path / name, OWNER, database_url) for name in ("leader", "standby")]
    apps = [box.open_app() for box in boxes]
    leader, standby = (ClusterMember(app) for app in apps)
    assert (leader.begin_scan(), standby.begin_scan()) == (True, False)
    for app in apps:
        enqueue(app.outbox, submitted())
    apps[1].outbox.queue.mark_sent(claim_next(apps[1].outbox), 101.0)

    standby.finish()
    assert apps[0].outbox.events.pop_dirty() == {submitted().key}
    for app in apps:
        app.close()


def test_single_scan_beside_the_leader_only_delivers(
    tmp_path: Path, database_url: str, open_worker: OpenWorker
) -> None:
    """Its ledger is not that of the leader."""
    box = box_of(tmp_path / "home", OWNER, database_url)
    tree = tree_of(box)
    tree.submit(ANA, "survey", "print(1)\n")
    leader = open_worker(OWNER)
    assert leader.cluster.leader.acquire(60.0)

    done = box.notify("run", "--once", check=0)
    assert "another worker scans this tree; this one has only delivered" in done.stdout + done.stderr
    assert mails_in(tmp_path / "mail") == []
    leader.close()
    box.notify("run", "--once", check=0)
    assert mails_in(tmp_path / "mail") != []


def test_next_leader_takes_over_the_ledger(open_worker: OpenWorker, tmp_path: Path) -> None:
    first, second = open_worker(), open_worker()
    ledgers = [tmp_path / "first.json", tmp_path / "second.json"]
    leads = [Leadership(outbox.cluster, path, 60.0) for outbox, path in zip((first, second), ledgers, strict=True)]
    ledgers[0].write_bytes(b'{"version": 1}')

    assert [each.acquire() for each in leads] == [True, False]
    leads[0].save()
    ledgers[0].write_bytes(b'{"version": 1, "later": 1}')
    os.utime(ledgers[0], ns=(1, 1))
    leads[0].save()  # less than a minute later
    assert first.cluster.leader.load_ledger() == b'{"version": 1}'
    leads[0].save(is_last=True)
    first.close()
    assert leads[1].acquire()
    assert ledgers[1].read_bytes() == b'{"version": 1, "later": 1}'


def test_ledger_of_a_worker_that_was_replaced_is_not_saved(open_worker: OpenWorker, tmp_path: Path) -> None:
    first, second = open_worker(), open_worker()
    path = tmp_path / "ledger.json"
    path.write_bytes(b"{}")
    leadership = Leadership(first.cluster, path, 0.2)
    assert leadership.acquire()
    hang(first)
    second.cluster.join(WorkerMode.FULL)
    wait_until(lambda: second.cluster.leader.acquire(60.0))

    leadership.save(is_last=True)
    assert not leadership.is_held
    assert second.cluster.leader.load_ledger() is None


def test_worker_leads_only_with_the_ledger_of_the_last_leader(open_worker: OpenWorker, tmp_path: Path) -> None:
    """The file cannot be written at first: nothing may be scanned with the old one."""
    first, second = open_worker(), open_worker()
    ledgers = [tmp_path / "first.json", tmp_path / "missing" / "second.json"]
    ledgers[0].write_bytes(b"{}")
    leads = [Leadership(outbox.cluster, path, 60.0) for outbox, path in zip((first, second), ledgers, strict=True)]
    assert leads[0].acquire()
    leads[0].save()
    first.close()

    with pytest.raises(OSError, match="No such file"):
        leads[1].acquire()
    assert not leads[1].is_held
    ledgers[1].parent.mkdir()
    assert leads[1].acquire()
    assert ledgers[1].read_bytes() == b"{}"


def test_ledger_that_is_newer_than_a_restored_backup_is_kept(
    tmp_path: Path, database_url: str, open_worker: OpenWorker
) -> None:
    """The workers are stopped, a backup is restored, and they start again."""
    box = box_of(tmp_path / "home", OWNER, database_url)
    tree = tree_of(box)
    box.notify("run", "--once", check=0)
    outbox = open_worker(OWNER)
    backup = outbox.cluster.leader.load_ledger()
    tree.submit(ANA, "survey", "print(1)\n")
    box.notify("run", "--once", check=0)
    newer = box.home.state.read_bytes()
    assert backup is not None
    assert outbox.cluster.leader.load_ledger() == newer != backup
    leadership = Leadership(outbox.cluster, box.home.state, 60.0)
    assert leadership.acquire()
    assert outbox.cluster.leader.save_ledger(backup)
    outbox.close()

    again = Leadership(open_worker(OWNER).cluster, box.home.state, 60.0)
    assert again.acquire()
    assert (again.took_over, box.home.state.read_bytes()) == (False, newer)


def test_leader_whose_scans_fail_lets_a_standby_lead(tmp_path: Path, database_url: str) -> None:
    """For example because its tree is not mounted."""
    boxes = [box_of(tmp_path / name, OWNER, database_url) for name in ("leader", "standby")]
    apps = [box.open_app() for box in boxes]
    clock = Clock()
    leader, standby = (ClusterMember(app, monotonic=clock.monotonic) for app in apps)
    assert (leader.begin_scan(), standby.begin_scan()) == (True, False)
    for _ in range(2):
        leader.begin_scan()
        leader.finish_scan(ScanReport(waiting_for="the SyftBox folder"))
    assert leader.leads

    leader.begin_scan()
    assert (leader.leads, standby.begin_scan()) == (False, True)
    clock.advance(5.0)
    standby.finish_scan(ScanReport())
    assert not leader.begin_scan()
    apps[1].close()
    clock.advance(5.0)
    assert leader.begin_scan()
    apps[0].close()


def test_leader_whose_only_substitute_has_ended_goes_on(
    tmp_path: Path, database_url: str, open_worker: OpenWorker
) -> None:
    app = box_of(tmp_path / "leader", OWNER, database_url).open_app()
    member = ClusterMember(app)
    substitute = open_worker()
    substitute.cluster.join(WorkerMode.FULL)
    substitute.close()
    for _ in range(9):
        member.begin_scan()

    assert member.leads
    app.close()


def test_leader_that_stepped_back_leads_again_if_nobody_else_does(
    tmp_path: Path, database_url: str, open_worker: OpenWorker
) -> None:
    app = box_of(tmp_path / "leader", OWNER, database_url).open_app()
    clock = Clock()
    member = ClusterMember(app, monotonic=clock.monotonic)
    open_worker().cluster.join(WorkerMode.FULL)  # it could lead, and does not
    for _ in range(4):
        member.begin_scan()
    assert not member.leads

    clock.advance(2.0)
    assert not member.begin_scan()
    clock.advance(1.0)
    assert member.begin_scan()
    app.close()


def test_leader_that_cannot_write_the_ledger_lets_a_standby_lead(tmp_path: Path, database_url: str) -> None:
    boxes = [box_of(tmp_path / name, OWNER, database_url) for name in ("last", "broken", "healthy")]
    last, broken, healthy = (box.open_app() for box in boxes)
    box_file = boxes[0].home.state
    box_file.write_bytes(b'{"version": 1}')
    leader = ClusterMember(last)
    assert leader.begin_scan()
    leader.finish_scan(ScanReport(), is_last=True)
    last.close()
    member, other = ClusterMember(broken), ClusterMember(healthy)
    boxes[1].home.state.mkdir()  # no file can have its name

    for _ in range(3):
        with pytest.raises(OSError, match="directory"):
            member.begin_scan()
    assert not other.begin_scan()
    member.begin_scan()
    assert (member.leads, other.begin_scan()) == (False, True)
    for app in (broken, healthy):
        app.close()


def test_scan_that_makes_progress_may_take_long(open_worker: OpenWorker) -> None:
    first, second = open_worker(lease=replace(SHORT_LEASE, longest_scan=1.0)), open_worker()
    assert first.cluster.leader.acquire(2.0)
    start = second.cluster.workers()[0].renewed_at

    def has_scanned() -> bool:
        first.cluster.leader.extend()
        assert not second.cluster.leader.acquire(2.0)
        return second.cluster.workers()[0].renewed_at > start + 3.5

    wait_until(has_scanned)


def test_scan_during_which_another_worker_took_over_records_nothing(tmp_path: Path, database_url: str) -> None:
    """A machine was suspended meanwhile, and its ledger is not the one of the home any more."""
    boxes = [box_of(tmp_path / name, OWNER, database_url) for name in ("suspended", "other")]
    suspended, other = (box.open_app() for box in boxes)
    assert ClusterMember(suspended).begin_scan()
    assert suspended.outbox.cluster is not None
    suspended.outbox.cluster.leader.release()
    assert ClusterMember(other).begin_scan()
    enqueue(other.outbox, submitted())
    other.outbox.queue.mark_sent(claim_next(other.outbox), 101.0)

    suspended.pipeline.tick(boxes[0].clock.now, last_scan=None)
    assert other.outbox.events.pop_dirty() == {submitted().key}
    for app in (suspended, other):
        app.close()
