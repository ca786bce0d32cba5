"""A damaged, lost or newer ledger: reported, repaired, nothing lost or repeated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from syftnotify.core.errors import StateError
from syftnotify.system.paths import Home
from tests.integration.damage.homes import HOUR, MakeCopy, assert_sent_once, maildir_blocked, warnings_of
from tests.support import ANA, OWNER, Box, delete_ledger, delete_outbox
from tests.workers import SUBMITTED, layout_d, sent, submit_pending

pytestmark = pytest.mark.check_only


def backup(home: Home) -> Path:
    return home.state.with_name("state.json.bak")


@pytest.mark.parametrize(
    ("start", "step"),
    [(0, 800), (150, 800), *(pytest.param(start, 50, marks=pytest.mark.thorough) for start in range(0, 50, 10))],
)
def test_ledger_cut_at_any_length_loses_and_repeats_nothing(
    original: Box, make_copy: MakeCopy, start: int, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    """X02: without the backup if `start` is 0."""
    size = original.home.state.stat().st_size
    has_backup = start > 0
    for length in range(start, size, step):
        box = make_copy()
        caplog.clear()
        whole = box.home.state.read_bytes()
        box.home.state.write_bytes(whole[:length])
        if not has_backup:
            backup(box.home).unlink()
        assert_sent_once(box)

        about = [line for line in warnings_of(caplog) if "state" in line]
        assert "state.json was damaged" in about[0], length
        assert len(about) <= 2, about
        (aside,) = box.home.root.glob("state.json.damaged-*")
        assert aside.read_bytes() == whole[:length]


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 600,
        b"\xff\xfe garbage",
        b"[]",
        b'{"version": 0, "notified": {}}',
        b'{"version": "1", "notified": {}}',
        b'{"version": 1, "notified": {"a": "new"}}',
    ],
)
def test_ledger_with_invalid_content_is_quarantined(
    copy: Box, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """X02."""
    copy.home.state.write_bytes(content)
    assert_sent_once(copy)

    assert "state.json was damaged" in warnings_of(caplog)[0]
    (aside,) = copy.home.root.glob("state.json.damaged-*")
    assert aside.read_bytes() == content


def test_ledger_and_backup_damaged_are_rebuilt_from_the_outbox(copy: Box) -> None:
    """X02."""
    copy.home.state.write_bytes(b"{")
    backup(copy.home).write_bytes(b"")

    assert_sent_once(copy)


def test_ledger_of_a_newer_version_is_not_changed(copy: Box) -> None:
    """X02: nor replaced by its backup."""
    whole = copy.home.state.read_bytes()
    newer = whole.replace(b'"version":1', b'"version":2')
    copy.home.state.write_bytes(newer)
    with pytest.raises(StateError, match="a newer version wrote it"):
        copy.scan()

    assert copy.home.state.read_bytes() == newer
    assert copy.new_mails() == []
    copy.home.state.write_bytes(whole)
    assert_sent_once(copy)


@pytest.mark.parametrize("name", ["state.json", "state.json.bak", "state.json.lock"])
def test_ledger_replaced_by_a_folder_loses_nothing(copy: Box, name: str) -> None:
    """X02."""
    path = copy.home.root / name
    path.unlink()
    path.mkdir()
    if name != "state.json.bak":
        with pytest.raises(StateError, match=r"state\.json"):
            copy.scan()
    else:
        with contextlib.suppress(StateError):
            copy.scan()
    path.rmdir()

    assert_sent_once(copy)


@pytest.mark.parametrize(
    "is_running",
    [False, True],
    ids=["between two runs", "under a running worker"],
)
def test_ledger_that_vanishes_loses_and_repeats_nothing(box: Box, is_running: bool) -> None:
    """X02: later events are reported, earlier ones are not."""
    tree = layout_d(box)
    tree.grant()
    for number in range(5):
        submit_pending(tree, f"old {number}")
        tree.approve(f"old {number}")
        tree.run(f"old {number}")
    box.clock.advance(100)
    app = box.open_app()
    try:
        app.run_once(None)
        submit_pending(tree, "survey")
        app.run_once(box.clock.now)
        assert sent(box.new_mails()) == SUBMITTED
        delete_ledger(box)
        if not is_running:
            app.close()
            app = box.open_app()
        tree.approve("survey")
        box.clock.advance(10)
        app.run_once(box.clock.now)
        assert sent(box.new_mails()) == [("job_approved", "submitter", ANA)]
        tree.rerun("old 3")
        box.clock.advance(10)
        app.run_once(box.clock.now)
        tree.run("old 3")
        box.clock.advance(10)
        app.run_once(box.clock.now)
    finally:
        app.close()

    assert sent(box.new_mails()) == [("job_completed", "owner", OWNER), ("job_completed", "submitter", ANA)]


def write_jobs(box: Box, ended: int, waiting: int) -> None:
    """Many jobs of layout D at once: the two files of each that say how it stands."""
    base = box.root / OWNER / "app_data" / "job"
    layout_d(box).grant(ANA)
    for number in range(ended + waiting):
        is_waiting = number < waiting
        name = f"waiting {number}" if is_waiting else f"ended {number}"
        inbox, review = base / "inbox" / ANA / "v1" / name, base / "review" / ANA / "v1" / name
        inbox.mkdir(parents=True)
        review.mkdir(parents=True)
        (inbox / "config.yaml").write_text(f"name: {name}\nsubmitted_at: '2026-01-01T00:00:{number:08}Z'\nfiles: []\n")
        end = "" if is_waiting else "approved_at: '2026-01-02'\ncompleted_at: '2026-01-03'\nreturn_code: 0\n"
        (review / "state.yaml").write_text(f"status: {'pending' if is_waiting else 'done'}\n{end}")


def test_ledger_and_outbox_lost_one_mail_lists_waiting_jobs(box: Box) -> None:
    """X02: ended jobs are not listed."""
    write_jobs(box, ended=50, waiting=5)
    box.scan()
    assert [mail.sent for mail in box.new_mails()] == [("digest", "owner", OWNER)]
    tree = layout_d(box)
    tree.approve("waiting 4")
    box.clock.advance(100)
    box.scan()
    assert [mail.sent for mail in box.new_mails()] == [("job_approved", "submitter", ANA)]
    submit_pending(tree, "waiting 5")
    box.clock.advance(100)
    box.scan()
    assert sent(box.new_mails()) == SUBMITTED
    delete_ledger(box)
    delete_outbox(box)
    for _ in range(3):
        box.clock.advance(100)
        box.scan()
    (mail,) = box.new_mails()

    assert mail.sent == ("digest", "owner", OWNER)
    assert len(mail.entities) == 5
    for number in (0, 1, 2, 3, 5):
        assert f"waiting {number}" in mail.text
    assert "ended" not in mail.text


@pytest.mark.parametrize("lose", [delete_ledger, delete_outbox], ids=["ledger", "outbox"])
def test_ledger_or_outbox_lost_repeats_nothing(box: Box, lose: Callable[[Box], None]) -> None:
    """X01, X02: owed mails are sent once."""
    write_jobs(box, ended=50, waiting=5)
    box.scan()
    box.new_mails()
    with maildir_blocked(box, box.folder / "kept"):
        submit_pending(layout_d(box), "owed")
        box.clock.advance(100)
        box.scan()
    lose(box)
    for _ in range(3):
        box.clock.advance(HOUR)
        box.scan()

    assert sent(box.new_mails()) == SUBMITTED
