"""Reminders, deferred mails, and pruning of the history."""

from __future__ import annotations

from tests.fakes.mailserver import reply as replies
from tests.fakes.mailserver import serve_mail
from tests.support import ANA, BO, OWNER, Box
from tests.trees import Tree

HOUR = 3600.0
DAY = 24 * HOUR


def test_reminder_is_sent_to_a_co_owner(box: Box, tree: Tree) -> None:
    """X08"""
    box.configure({"reminders": {"job_waiting": "2h", "to": ["owner", BO]}})
    box.scan()
    tree.submit("survey", ANA)
    box.clock.advance(60)
    box.scan()
    box.new_mails()
    box.clock.advance(3 * HOUR)
    box.scan()

    assert sorted((mail.event, mail.to) for mail in box.new_mails()) == [("job_waiting", BO), ("job_waiting", OWNER)]


def test_history_is_kept_without_limit_unless_configured(box: Box, tree: Tree) -> None:
    """C14"""
    box.scan()
    tree.submit("survey", ANA)
    box.clock.advance(60)
    box.scan()
    box.clock.advance(1000 * DAY)
    box.scan()
    assert "job_submitted" in box.notify("history").stdout
    assert "kept without limit" in box.notify("prune", check=2).stderr

    box.configure({"retention": "365d"})
    box.scan()
    assert "no notifications yet" in box.notify("history").stdout
    box.new_mails()
    box.scan()
    assert box.new_mails() == []  # a pruned event is not sent again


def test_prune_keeps_pending_events_and_repeats_nothing(box: Box, tree: Tree) -> None:
    """C14"""
    box.clock.now = 1_700_000_000.0
    with serve_mail() as server:
        box.configure(
            {
                "transports": {
                    "box": {"type": "maildir"},
                    "busy": {"type": "smtp", "smtp_url": f"smtp://127.0.0.1:{server.port}"},
                },
                "routes": [{"to": ["owner"], "via": "box", "continue": True}, {"to": [BO], "via": "busy"}],
            }
        )
        box.scan()
        tree.submit("first", ANA)
        box.clock.advance(60)
        box.scan()
        server.once("MAIL", *[replies("451 4.3.0 later")] * 9)
        tree.submit("second", ANA)
        box.clock.advance(60)
        box.scan()
        rehearsal = box.notify("prune", "--older-than", "2024-01-01", "--dry-run", check=0).stdout
        assert rehearsal.startswith("1 event from before 2024-01-01")
        assert box.notify("prune", "--older-than", "2024-01-01", "--yes", check=0).stdout.endswith("deleted\n")

        history = box.notify("history").stdout
        assert "first" not in history
        assert "second" in history
        server.actions.clear()
        box.clock.advance(2 * HOUR)
        box.scan()
        box.clock.advance(2 * HOUR)
        box.scan()
        assert [mail.to for mail in server.committed] == [BO, BO]
    assert len(box.mails()) == 2


def test_prune_before_the_ledger_is_settled_repeats_nothing(box: Box, tree: Tree) -> None:
    """C14: before the ledger has recorded it as notified."""
    box.clock.now = 1_700_000_000.0
    box.scan()
    tree.submit("survey", ANA)
    box.clock.advance(60)
    app = box.open_app()
    try:
        app.pipeline.tick(box.clock.now, last_scan=box.last_scan)
        app.dispatcher.drain()
    finally:
        app.close()
    assert len(box.mails()) == 2
    box.notify("prune", "--older-than", "2024-01-01", "--yes", check=0)
    box.scan()
    box.scan()

    assert len(box.mails()) == 2
