"""X12: of the workers of one tree, one scans."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syftnotify.core.cluster import WorkerMode
from syftnotify.runtime.leadership import Leadership
from tests.integration.postgres.conftest import OpenWorker
from tests.integration.postgres.test_workers import OTHER, hang
from tests.support import wait_until


def test_one_worker_of_each_home_leads(open_worker: OpenWorker) -> None:
    first, second, other = open_worker(), open_worker(), open_worker(OTHER)

    assert first.cluster.lead(60.0)
    assert not second.cluster.lead(60.0)
    assert other.cluster.lead(60.0)
    assert first.cluster.lead(60.0)
    first.close()
    assert second.cluster.lead(60.0)


def test_leader_that_hangs_is_replaced_when_its_time_is_over(open_worker: OpenWorker) -> None:
    first, second = open_worker(), open_worker()
    assert first.cluster.lead(0.5)
    hang(first)

    wait_until(lambda: second.cluster.lead(60.0))
    assert not first.cluster.lead(60.0)


def test_leader_stays_while_it_renews(open_worker: OpenWorker) -> None:
    """A scan may take longer than the time for which the leader leads."""
    first, second = open_worker(), open_worker()
    assert first.cluster.lead(0.4)
    start = second.cluster.workers()[0].renewed_at

    wait_until(lambda: second.cluster.workers()[0].renewed_at > start + 1.0)
    assert not second.cluster.lead(0.4)


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
    assert first.cluster.load_ledger() == b'{"version": 1}'
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
    wait_until(lambda: second.cluster.lead(60.0))

    leadership.save(is_last=True)
    assert not leadership.is_held
    assert second.cluster.load_ledger() is None


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
