"""Helpers: trees of submitters that the owner did not add, and what is sent about them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from syftnotify.core.outbox import OutboxCounts
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import Box, Sent
from tests.trees import TREES, Disk, Tree

VICTIM = "victim@bank.example"
PEER = "cara@peer.example"  # added by the owner


def tree_with_a_peer(layout: str, box: Box, disk: Disk) -> Tree:
    tree = TREES[layout](disk, adds_peers=False)
    tree.grant(PEER)
    box.scan()
    return tree


def scan_after(box: Box, seconds: float = 10) -> Counter[Sent]:
    box.clock.advance(seconds)
    box.scan()
    return Counter(mail.sent for mail in box.new_mails())


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


def submitters(sent: Counter[Sent]) -> set[str]:
    return {recipient for _, audience, recipient in sent if audience == "submitter"}
