"""X12: `notify doctor` and `notify db status` check the database."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from syftnotify.core.cluster import DatabaseFacts, WorkerMode
from syftnotify.runtime.opening import connect_outbox
from syftnotify.services.doctor.database import check_facts
from syftnotify.services.doctor.findings import Level
from syftnotify.services.settings import load
from tests.integration.postgres.conftest import OpenWorker
from tests.integration.postgres.test_workers import OTHER
from tests.outbox_helpers import enqueue, submitted
from tests.postgres import Server, free_port
from tests.support import OWNER, Box

GOOD = DatabaseFacts(
    name="postgresql://notify@db.example/notify",
    server_version="16.4",
    server_number=160_004,
    is_standby=False,
    is_pooled=False,
    schema_version=1,
    needed_version=1,
    size=10_000_000,
    clock_difference=0.2,
    connections=20,
    max_connections=100,
    oldest_transaction=3.0,
    sees_all_users=True,
    can_write=True,
)


@pytest.mark.parametrize(
    ("changes", "check", "level", "text"),
    [
        ({"server_number": 130_012, "server_version": "13.12"}, "database", Level.FAIL, "PostgreSQL 13.12"),
        ({"is_standby": True}, "database", Level.FAIL, "read-only standby"),
        ({"clock_difference": -8.0}, "database clock", Level.WARN, "differs from the server's by 8.0 s"),
        ({"connections": 95}, "database connections", Level.WARN, "95 of 100 in use"),
        ({"is_pooled": True}, "database connections", Level.PASS, "through a pooler"),
        ({"oldest_transaction": 4000.0}, "database transactions", Level.WARN, "has run for 4000 s"),
        ({"schema_version": 0}, "database tables", Level.WARN, "there are none"),
        ({"can_write": False}, "database tables", Level.FAIL, "cannot be written"),
        ({"can_write": False, "schema_version": 0}, "database tables", Level.FAIL, "cannot be written"),
    ],
)
def test_each_problem_of_a_database_is_found(changes: dict[str, Any], check: str, level: Level, text: str) -> None:
    found = list(check_facts(replace(GOOD, **changes)))
    (finding,) = (each for each in found if each.check == check and text in each.text)
    assert finding.level is level
    assert (finding.advice != "") == (level is not Level.PASS)
    assert all(each.level is Level.PASS for each in found if each is not finding)


def test_doctor_checks_a_real_database(box: Box, database_url: str) -> None:
    box.configure({"database": database_url})
    before = box.notify("doctor").stdout
    assert "warn  database tables: there are none\n      run `notify db migrate` for version 1\n" in before
    box.notify("db", "migrate", check=0)

    lines = box.notify("doctor").stdout.splitlines()
    for check in ("database", "database tables", "database clock", "database connections", "database transactions"):
        assert any(line.startswith(f"pass  {check}: ") for line in lines), lines


def test_tree_that_nobody_scans_is_named(box: Box, database_url: str, open_worker: OpenWorker) -> None:
    box.configure({"database": database_url})
    worker = open_worker(OWNER)
    worker.cluster.join(WorkerMode.SCAN)

    done = box.notify("db", "status", check=0)
    assert f"no worker scans the tree of {OWNER}" in done.stdout + done.stderr
    assert worker.cluster.leader.acquire(60.0)
    done = box.notify("db", "status", check=0)
    assert "no worker scans" not in done.stdout + done.stderr


def test_transports_of_the_workers_are_compared(box: Box, database_url: str, open_worker: OpenWorker) -> None:
    """One that no worker has, and one to which two homes give other settings."""
    box.configure({"database": database_url})
    own, other = open_worker(OWNER), open_worker(OTHER)
    own.cluster.join(WorkerMode.SCAN, {"box": "1", "post": "1"})
    other.cluster.join(WorkerMode.FULL, {"box": "2", "own": "1"})
    enqueue(own, submitted(), transport="post")

    lines = box.notify("doctor").stdout
    assert "warn  transport post: 1 notification waits for it, and no running worker delivers through it\n" in lines
    assert f"warn  transport box: the homes of {OTHER}, {OWNER} give it different settings\n" in lines
    assert "transport own: the homes" not in lines
    open_worker(OWNER).cluster.join(WorkerMode.DELIVER, {"box": "2", "post": "1"})
    lines = box.notify("doctor").stdout
    assert "no running worker delivers" not in lines
    assert "different settings" not in lines


def test_alert_rules_of_a_home_without_delivery_are_named(box: Box, database_url: str, open_worker: OpenWorker) -> None:
    """Workers of other homes cannot decrypt the URLs."""
    box.configure({"database": database_url})
    own, other = open_worker(OWNER), open_worker(OTHER)
    own.cluster.join(WorkerMode.SCAN, {"box": "1"})
    other.cluster.join(WorkerMode.FULL, {"box": "1"})
    box.notify("alerts", "add", "--job", "sync", "--webhook", "https://hooks.example/x", check=0)
    with closing(connect_outbox(load(box.home))) as with_key:
        (rule,) = with_key.alert_rules.all()
    enqueue(own, submitted(), transport=rule.endpoint)

    text = "1 notification waits for the URL of a rule, and no worker of this home delivers"
    assert f"warn alert rules: {text}" in " ".join(box.notify("doctor").stdout.split())
    open_worker(OWNER).cluster.join(WorkerMode.DELIVER, {"box": "1"})
    assert text not in " ".join(box.notify("doctor").stdout.split())


def test_home_that_only_scans_is_warned_if_nobody_delivers(
    box: Box, database_url: str, open_worker: OpenWorker
) -> None:
    box.configure({"database": database_url})
    own = open_worker(OWNER)
    own.cluster.join(WorkerMode.SCAN, {"box": "1"})
    enqueue(own, submitted())

    text = "warn delivery: 1 notification waits, and no running worker delivers"
    assert text in " ".join(box.notify("doctor").stdout.split())
    open_worker(OTHER).cluster.join(WorkerMode.DELIVER, {"box": "1"})
    assert text not in " ".join(box.notify("doctor").stdout.split())


def test_database_that_cannot_be_reached_fails(box: Box, server: Server) -> None:
    box.configure({"database": server.url().replace(str(server.port), str(free_port()))})

    done = box.notify("doctor", check=1)
    assert "fail  database: postgresql://postgres@127.0.0.1" in done.stdout
    assert "check that the server runs" in done.stdout
