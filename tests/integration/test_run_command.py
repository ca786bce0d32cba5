"""`notify run --once` and `notify run --dry-run`."""

from __future__ import annotations

import os
from typing import Any

import pytest
import yaml

from syftnotify.services.demo import Tree
from syftnotify.system import worker_lock
from tests.queries import file_states
from tests.support import ANA, OWNER, Box


def test_run_once_delivers_and_ends(box: Box, tree_with_peer: Tree) -> None:
    """B07, G20: without `scheduler_online`, because no worker stays."""
    box.notify("run", "--once", check=0)
    tree_with_peer.submit(ANA, "survey", "print(1)\n")

    done = box.notify("run", "--once", check=0)

    assert sorted((mail.event, mail.audience, mail.to) for mail in box.mails()) == [
        ("job_submitted", "owner", OWNER),
        ("job_submitted", "submitter", ANA),
    ]
    assert "1 new event" in done.stdout
    assert "scheduler_online" not in box.home.log.read_text()
    assert not worker_lock.is_held(box.home)
    box.notify("run", "--once", check=0)
    assert len(box.mails()) == 2


def test_run_once_with_failed_delivery_exits_with_zero(box: Box, tree_with_peer: Tree) -> None:
    """B07."""
    (box.folder / "file").write_text("")
    box.configure({"transports": {"box": {"type": "maildir", "path": str(box.folder / "file" / "mail")}}})
    tree_with_peer.submit(ANA, "survey", "print(1)\n")

    done = box.notify("run", "--once", check=0)

    assert "1 waiting" in done.stdout


def test_run_once_beside_a_worker_is_refused(box: Box) -> None:
    """B07."""
    with worker_lock.acquire(box.home):
        done = box.notify("run", "--once", check=3)

    assert f"pid {os.getpid()}" in done.stderr


def test_run_once_with_broken_config_exits_with_two(box: Box) -> None:
    """B07, S15."""
    box.home.config.write_text("do_email: [\n")

    assert "line 2" in box.notify("run", "--once", check=2).stderr


def test_run_once_while_switched_off_sends_nothing(box: Box, tree_with_peer: Tree) -> None:
    """G01."""
    box.configure({"notify": {"enabled": False}})
    tree_with_peer.submit(ANA, "survey", "print(1)\n")

    done = box.notify("run", "--once", check=0)

    assert "nothing is sent" in done.stderr
    assert box.mails() == []


@pytest.mark.parametrize("has_baseline", [True, False], ids=["with baseline", "without baseline"])
def test_dry_run_lists_messages_and_changes_nothing(box: Box, tree_with_peer: Tree, has_baseline: bool) -> None:
    """B07."""
    if has_baseline:
        box.notify("run", "--once", check=0)
    tree_with_peer.submit(ANA, "survey", "print(1)\n")
    before = file_states(box.folder)
    box.env["COLUMNS"] = "200"

    done = box.notify("run", "--dry-run", check=0)

    assert file_states(box.folder) == before
    assert "job_submitted" in done.stdout
    assert OWNER in done.stdout
    assert (f" {ANA} " in done.stdout) == has_baseline
    assert ("2 messages would be sent" if has_baseline else "1 message would be sent") in done.stdout


def test_dry_run_without_syftbox_folder_warns(box: Box) -> None:
    """B07, B08."""
    box.root.rmdir()

    done = box.notify("run", "--dry-run", check=0)

    assert "does not exist yet" in done.stdout + done.stderr


SYFT_BG: dict[str, Any] = {
    "do_email": OWNER,
    "credentials_path": "/home/owner/.syft-bg/credentials.json",
    "gmail_token_path": None,
    "drive_token_path": None,
    "notify": {
        "do_email": OWNER,
        "drive_token_path": None,
        "gmail_token_path": "/home/owner/.syft-bg/gmail_token.json",
        "credentials_path": None,
        "notify_state_path": None,
        "interval": 30,
        "monitor_jobs": True,
        "monitor_peers": True,
        "heartbeat_enabled": True,
        "heartbeat_interval": 86400,
    },
    "approve": {"enabled": True, "auto_approvals": None},
    "email_approve": {"enabled": False},
    "sync": {"interval": 10},
}


def test_run_once_accepts_a_syft_bg_config_and_names_ignored_keys(box: Box) -> None:
    """S15."""
    config = {**SYFT_BG, "syftbox_root": str(box.root), "transports": {"box": {"type": "maildir"}}}
    config["notify"] = {**SYFT_BG["notify"], "syftbox_root": str(box.root), "sync_state_path": str(box.snapshot)}
    box.home.config.write_text(yaml.safe_dump(config))

    done = box.notify("run", "--once", check=0)

    assert all(word in done.stderr for word in ("approve", "email_approve", "sync", "notify.heartbeat_enabled"))
    assert "ignored settings" in done.stderr
    assert yaml.safe_load(box.home.config.read_text()) == config
