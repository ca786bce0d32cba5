"""What is owed, since when, and what became of it."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from syftnotify.errors import Failure, StateError
from syftnotify.model import AlertRule, Audience, Event, Kind, Notification, digest_of
from syftnotify.outbox import Counts, Outbox, Verdict
from syftnotify.outbox.tables import SCHEMA_VERSION
from tests.support import claim, tally


def submitted(name: str = "a", occurrence: str = "T1") -> Event:
    return Event(Kind.JOB_SUBMITTED, f"job/{name}", occurrence, "", {"name": name})


def owed(event: Event, to: str = "o@x.org", *, bundle: str = "", skipped: str = "", via: str = "box") -> Notification:
    return Notification(event.key, event.entity, to, Audience.OWNER, via, bundle=bundle, skipped=skipped)


def put(outbox: Outbox, *notifications: tuple[Event, Notification], now: float = 100.0) -> None:
    outbox.put([event for event, _ in notifications], [item for _, item in notifications], now)


def test_the_same_fact_twice_is_owed_once(outbox: Outbox) -> None:
    """N20"""
    event = submitted()
    put(outbox, (event, owed(event)))
    put(outbox, (event, owed(event, via="other")))

    assert outbox.counts() == tally(waiting=1)


def test_a_claim_carries_what_the_wording_needs_and_hides_the_row(outbox: Outbox) -> None:
    event = submitted()
    put(outbox, (event, owed(event)))
    (due,) = claim(outbox, "box", 100.0, by="me")

    assert (due.event, due.recipient, due.audience) == (event, "o@x.org", Audience.OWNER)
    assert claim(outbox, "box", 100.0, by="me") == []
    assert claim(outbox, "other", 100.0, by="me") == []
    assert outbox.counts() == tally(waiting=1)


def test_what_was_sent_is_history(outbox: Outbox) -> None:
    event = submitted()
    put(outbox, (event, owed(event)))
    outbox.sent(claim(outbox, "box", 100.0, by="me"), 101.0, provider_id="p1", thread="t1")

    assert outbox.counts() == tally(sent=1)
    assert outbox.unfinished([event.key]) == set()
    assert outbox.thread_of(event.entity, "o@x.org", "box") == "t1"
    assert outbox.thread_of(event.entity, "else@x.org", "box") == ""


def test_a_failed_row_waits_for_its_moment(outbox: Outbox) -> None:
    event = submitted()
    put(outbox, (event, owed(event)))
    due = claim(outbox, "box", 100.0, by="me")
    outbox.failed(due, 101.0, Failure.NOT_NOW, "503", Verdict("pending", not_before=200.0, refusal=True))

    assert claim(outbox, "box", 199.0, by="me") == []
    assert outbox.next_due("box", 150.0) == 200.0
    assert outbox.counts() == tally(waiting=1, failed=1)
    (again,) = claim(outbox, "box", 200.0, by="me")
    assert (again.failures, again.refusals, again.first_failed_at) == (1, 1, 101.0)


def test_a_dead_letter_is_counted_and_never_claimed(outbox: Outbox) -> None:
    event = submitted()
    put(outbox, (event, owed(event)))
    outbox.failed(claim(outbox, "box", 100.0, by="me"), 101.0, Failure.REFUSED, "400", Verdict("dead"))

    assert outbox.counts() == tally(dead=1)
    assert claim(outbox, "box", 1e12, by="me") == []
    assert outbox.unfinished([event.key]) == set()


def test_per_entity_and_recipient_they_leave_in_order_one_at_a_time(outbox: Outbox) -> None:
    first, second = submitted(), Event(Kind.JOB_APPROVED, "job/a", "T2")
    put(outbox, (first, owed(first)), (second, owed(second)), (second, owed(second, "b@x.org")))
    (other,) = claim(outbox, "box", 100.0, by="me")
    (one,) = claim(outbox, "box", 100.0, by="me")

    assert one.event.kind is Kind.JOB_SUBMITTED
    assert other.recipient == "b@x.org"
    assert claim(outbox, "box", 100.0, by="me") == []
    outbox.failed([one], 101.0, Failure.NOT_NOW, "503", Verdict("pending", not_before=500.0))
    assert claim(outbox, "box", 200.0, by="me") == [], "an earlier one in backoff holds the later one back"
    assert outbox.next_due("box", 200.0) == 500.0, "and nobody need ask again before"
    outbox.sent(claim(outbox, "box", 500.0, by="me"), 501.0)
    assert claim(outbox, "box", 501.0, by="me")[0].event.kind is Kind.JOB_APPROVED


def test_a_bundle_leaves_whole(outbox: Outbox) -> None:
    events = [submitted(name) for name in "abc"]
    put(outbox, *((event, owed(event, bundle="b1")) for event in events))
    due = claim(outbox, "box", 100.0, by="me")

    assert [item.event.entity for item in due] == ["job/a", "job/b", "job/c"]
    outbox.sent(due, 101.0)
    assert outbox.counts() == tally(sent=1, notifications=3)


def test_a_digest_that_may_have_arrived_comes_again_as_it_was(outbox: Outbox) -> None:
    """X03: what of its bundle was held up at first leaves in a message of its own."""
    held_up, others = submitted("a", "T2"), [submitted(name) for name in "bc"]
    earlier = submitted("a", "T1")
    put(outbox, (earlier, owed(earlier)))
    (first,) = claim(outbox, "box", 100.0, by="me")
    put(outbox, *((event, owed(event, bundle="b")) for event in (held_up, *others)))
    digest = claim(outbox, "box", 100.0, by="me")
    assert [due.event for due in digest] == others
    outbox.failed(digest, 101.0, Failure.UNKNOWN, "cut", Verdict("unknown"))
    outbox.sent([first], 102.0)

    claims = [claim(outbox, "box", 200.0, by="me") for _ in range(2)]
    assert sorted([due.event.key for due in message] for message in claims) == sorted(
        [[event.key for event in others], [held_up.key]]
    )
    ids = {due.message_id for claim in claims for due in claim}
    assert len(ids) == 2
    assert digest[0].message_id in ids


def test_a_part_of_a_dead_digest_is_no_longer_that_digest(outbox: Outbox) -> None:
    """X04: two parts that are sent again one after the other are two messages."""
    events = [submitted(name) for name in "abc"]
    put(outbox, *((event, owed(event, bundle="b")) for event in events))
    digest = claim(outbox, "box", 100.0, by="me")
    outbox.failed(digest, 101.0, Failure.REFUSED, "550", Verdict("dead"))
    ids = {digest[0].message_id}
    for due in digest:
        assert outbox.revive([due.id]) == 1
        (again,) = claim(outbox, "box", 200.0, by="me")
        assert again.id == due.id
        ids.add(again.message_id)
        outbox.sent([again], 201.0)

    assert len(ids) == 4


def test_damage_met_while_it_is_open_is_put_aside_when_next_asked(tmp_path: Path) -> None:
    """X02: a worker that runs needs no restart."""
    path = tmp_path / "outbox.db"
    outbox = Outbox(path)
    put(outbox, *((event, owed(event)) for event in (submitted(f"{n}") for n in range(500))))
    outbox.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    path.write_bytes(content)

    with pytest.raises(StateError, match="malformed"):
        outbox.counts()
    assert outbox.reopen_if_replaced()
    assert outbox.counts() == Counts()
    assert "damaged" in outbox.damage
    assert len(list(tmp_path.glob("outbox.db.damaged-*"))) == 1
    assert not outbox.reopen_if_replaced()
    outbox.close()


def test_one_job_twice_in_a_bundle_blocks_nothing(outbox: Outbox) -> None:
    one, two = submitted(), Event(Kind.JOB_COMPLETED, "job/a", "T2")
    put(outbox, (one, owed(one, bundle="b")), (two, owed(two, bundle="b")))

    assert len(claim(outbox, "box", 100.0, by="me")) == 2


def test_what_is_skipped_is_written_down_and_never_sent(outbox: Outbox) -> None:
    event = submitted()
    put(outbox, (event, owed(event, skipped="not allowed")))

    assert claim(outbox, "box", 100.0, by="me") == []
    assert outbox.counts() == Counts()
    assert outbox.unfinished([event.key]) == set()


def test_a_row_found_sending_is_unknown_counted_and_due_again(tmp_path: Path) -> None:
    """X03"""
    event = submitted()
    before = Outbox(tmp_path / "outbox.db")
    put(before, (event, owed(event)))
    (lost,) = claim(before, "box", 100.0, by="killed")
    before.close()
    after = Outbox(tmp_path / "outbox.db")

    assert after.recover(200.0) == 1
    assert after.recover(200.0) == 0
    assert after.counts() == tally(waiting=1, unknown=1)
    (again,) = claim(after, "box", 200.0, by="me")
    assert again.id == lost.id, "the same id, so that the same Message-ID goes out"
    assert again.failures == 0, "a crash uses up nobody's retries"
    after.close()


def test_what_waits_for_a_transport_that_is_gone_goes_another_way(outbox: Outbox) -> None:
    event = submitted()
    put(outbox, (event, owed(event, via="old")))

    assert outbox.adopt(["box"], by="box") == 1
    assert outbox.adopt(["box"], by="box") == 0
    assert len(claim(outbox, "box", 100.0, by="me")) == 1


def test_mail_is_dead_when_nothing_sends_mail_any_more(outbox: Outbox) -> None:
    """It would wait for ever, and nobody would know."""
    event = submitted()
    put(outbox, (event, owed(event)))

    assert outbox.adopt(["hook"], by="") == 0
    (letter,) = outbox.letters()
    assert (letter.state, letter.reason) == ("dead", "box is not configured any more")


def test_claims_of_many_threads_never_overlap(outbox: Outbox) -> None:
    events = [submitted(str(number)) for number in range(60)]
    put(outbox, *((event, owed(event)) for event in events))
    taken: list[str] = []

    def work() -> None:
        while due := claim(outbox, "box", 100.0, by="me"):
            taken.extend(item.id for item in due)
            outbox.sent(due, 101.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(taken) == len(set(taken)) == 60


def test_claim_gives_last_status_kind_since_the_event(outbox: Outbox) -> None:
    """A13: one row, however many events the job has; kinds that leave the status as it was do not count."""
    first, second, third = submitted(), Event(Kind.JOB_REJECTED, "job/a", "T2"), Event(Kind.JOB_UPDATED, "job/a", "T3")
    other = submitted("b")
    outbox.put([first, other, second, third], [owed(first), owed(other), owed(second)], 1.0)

    (one,), (another,) = outbox.claim("box", 100.0, by="me", most=9)
    assert (one.event, one.last_kind) == (first, Kind.JOB_REJECTED)
    assert (another.event, another.last_kind) == (other, Kind.JOB_SUBMITTED)
    outbox.sent([one], 101.0)
    ((last,),) = outbox.claim("box", 102.0, by="me", most=9)
    assert (last.event, last.last_kind) == (second, Kind.JOB_REJECTED)
    assert sorted(outbox.keys_of(["job/a"])) == sorted(
        [(e.key, e.entity, e.kind.value, e.occurrence) for e in (first, second, third)]
    )


def test_claim_keeps_emitted_events_apart_from_those_of_the_tree(outbox: Outbox) -> None:
    """A12: of an entity that is called the same."""
    observed = submitted()
    emitted = [replace(observed, emitted=True), Event(Kind.JOB_FAILED, "job/a", "T1", emitted=True)]
    outbox.put([observed, *emitted], [owed(observed, "o@x.org"), owed(emitted[0], "e@x.org")], 1.0)
    claimed = [due for (due,) in outbox.claim("box", 100.0, by="me", most=9)]
    keys = [event.key for event in (observed, *emitted)]

    assert len(set(keys)) == 3
    found = {due.recipient: (due.event, due.last_kind) for due in claimed}
    assert found == {"o@x.org": (observed, Kind.JOB_SUBMITTED), "e@x.org": (emitted[0], Kind.JOB_FAILED)}
    assert [row[0] for row in outbox.keys_of(["job/a"])] == [row[0] for row in outbox.keys_of()] == keys[:1]
    assert [row[0] for row in outbox.events_of(keys)] == keys[:1]
    assert outbox.known([*keys, "other"]) == set(keys)
    assert outbox.last_emitted("job/a") is Kind.JOB_FAILED
    assert outbox.last_emitted("job/b") is None


def test_the_database_is_private_and_kept_safe(tmp_path: Path, outbox: Outbox) -> None:
    path = tmp_path / "outbox.db"
    assert path.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_a_connection_that_is_in_use_while_the_database_is_closed_is_closed_after_its_transaction(
    tmp_path: Path, outbox: Outbox
) -> None:
    """The pool would keep it open: a file descriptor for each time the database was replaced."""
    entered, closed = threading.Event(), threading.Event()

    def work() -> None:
        with outbox.together():
            entered.set()
            closed.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(60)
    outbox.close()
    log = tmp_path / "outbox.db-wal"
    assert log.exists()
    closed.set()
    thread.join(60)

    assert not log.exists(), "SQLite removes it when the last connection is closed"


def test_bound_waits_moves_what_a_wrong_clock_put_off(outbox: Outbox) -> None:
    """A11: a wait is at most as long as it was when it was set."""
    events = [submitted("a"), submitted("b")]
    put(outbox, *((event, owed(event)) for event in events))
    wrong = 100.0 + 3 * 86400
    first, second = outbox.claim("box", 100.0, by="me", most=2)
    outbox.failed(first, wrong, Failure.NOT_NOW, "503", Verdict("pending", not_before=wrong + 30))
    outbox.failed(second, 100.0, Failure.NOT_NOW, "503", Verdict("pending", not_before=100.0 + 3600))

    assert outbox.bound_waits(100.0) == 1
    assert outbox.next_due("box", 100.0) == 130.0
    assert claim(outbox, "box", 130.0, by="me") != []
    assert outbox.next_due("box", 130.0) == 3700.0


def test_a_database_that_is_removed_in_use_is_opened_anew(tmp_path: Path, outbox: Outbox) -> None:
    event = submitted()
    assert not outbox.reopen_if_replaced()
    for path in tmp_path.glob("outbox.db*"):
        path.unlink()
    assert outbox.reopen_if_replaced()
    put(outbox, (event, owed(event)))

    assert outbox.counts() == tally(waiting=1)


def test_everything_of_the_database_is_private(tmp_path: Path, outbox: Outbox) -> None:
    event = submitted()
    put(outbox, (event, owed(event)))

    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("outbox.db*")} == {0o600}


def test_a_newer_versions_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(StateError, match="newer version"):
        Outbox(path)


def test_a_damaged_database_is_kept_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"not a database at all" * 100)
    outbox = Outbox(tmp_path / "outbox.db")

    assert outbox.counts() == Counts()
    assert "damaged" in outbox.damage
    assert len(list(tmp_path.glob("outbox.db.damaged-*"))) == 1
    outbox.close()


def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").mkdir()

    with pytest.raises(StateError, match="cannot be opened"):
        Outbox(tmp_path / "outbox.db")


# -- what may have arrived ---------------------------------------------------------------------------------------


def cut(outbox: Outbox, event: Event, now: float = 100.0) -> str:
    """Put it in and cut its attempt off; returns its id."""
    put(outbox, (event, owed(event)), now=now)
    due = claim(outbox, "box", now, by="me")
    outbox.failed(due, now, Failure.UNKNOWN, "cut off", Verdict("unknown", not_before=now + 30.0))
    return due[0].id


def test_what_may_have_arrived_has_a_state_of_its_own(outbox: Outbox) -> None:
    """X03"""
    name = cut(outbox, submitted())

    assert outbox.state_of(name) == {name: "unknown"}
    assert outbox.unfinished([submitted().key]) == {submitted().key}


def test_what_may_have_arrived_is_tried_again_under_its_id_when_its_moment_comes(outbox: Outbox) -> None:
    """X03"""
    name = cut(outbox, submitted())

    assert claim(outbox, "box", 129.0, by="me") == []
    assert outbox.next_due("box", 100.0) == 130.0
    (again,) = claim(outbox, "box", 130.0, by="me")
    assert (again.id, again.is_repeated, again.failures, again.refusals) == (name, True, 1, 0)


def test_what_may_have_arrived_and_is_held_waits_for_a_word_and_is_counted(outbox: Outbox) -> None:
    """X03"""
    name = cut(outbox, submitted())

    assert claim(outbox, "box", 1e12, by="me", resend=False) == []
    assert outbox.next_due("box", 100.0, resend=False) is None
    assert outbox.counts(holding=["box"]) == tally(failed=1, unknown=1, held=1)
    assert outbox.counts(holding=["other"]) == outbox.counts() == tally(waiting=1, failed=1, unknown=1)
    assert outbox.revive([name]) == 1
    (again,) = claim(outbox, "box", 100.0, by="me", resend=False)
    assert again.id == name, "the same id, so that the same Message-ID goes out"
    outbox.sent([again], 101.0)
    assert outbox.counts(holding=["box"]) == tally(sent=1, unknown=1), "that it was once cut off stays counted"


@pytest.mark.parametrize(("resend", "kinds"), [(True, []), (False, [Kind.JOB_APPROVED])])
def test_later_news_of_a_job_overtake_only_what_is_held(outbox: Outbox, resend: bool, kinds: list[Kind]) -> None:
    """X03: what is sent again by itself keeps the order; what waits for a person stops nobody."""
    cut(outbox, submitted())
    later = Event(Kind.JOB_APPROVED, "job/a", "T2")
    put(outbox, (later, owed(later)))

    assert [item.event.kind for item in claim(outbox, "box", 110.0, by="me", resend=resend)] == kinds


@pytest.mark.parametrize(
    ("verdict", "state"), [(Verdict("pending", not_before=200.0), "unknown"), (Verdict("dead"), "dead")]
)
def test_a_later_no_does_not_make_certain_what_was_not(outbox: Outbox, verdict: Verdict, state: str) -> None:
    """X03: the earlier attempt may have arrived all the same, so it is not held for one that never did."""
    name = cut(outbox, submitted())
    outbox.failed(claim(outbox, "box", 130.0, by="me"), 130.0, Failure.NOT_NOW, "503", verdict)

    assert outbox.state_of(name) == {name: state}


def test_a_row_found_sending_is_held_where_that_is_asked_for(tmp_path: Path) -> None:
    """X03: killed in the middle of a send."""
    event = submitted()
    before = Outbox(tmp_path / "outbox.db")
    put(before, (event, owed(event)))
    (lost,) = claim(before, "box", 100.0, by="killed")
    before.close()
    after = Outbox(tmp_path / "outbox.db")
    after.recover(200.0)

    assert after.state_of(lost.id) == {lost.id: "unknown"}
    (letter,) = after.letters()
    assert (letter.id, letter.state, letter.attempts) == (lost.id, "unknown", 1)
    assert "cut off" in letter.reason
    assert claim(after, "box", 1e12, by="me", resend=False) == []
    assert after.counts(holding=["box"]) == tally(held=1, unknown=1)
    after.close()


# -- letters that a person looks at ------------------------------------------------------------------------------


def refused(outbox: Outbox, event: Event, to: str = "o@x.org", *, times: int = 1) -> str:
    put(outbox, (event, owed(event, to)))
    for number in range(times):
        due = claim(outbox, "box", 100.0, by="me")
        state = "dead" if number == times - 1 else "pending"
        outbox.failed(due, 100.0, Failure.REFUSED, "550 no such user", Verdict(state))
    return due[0].id


def test_letters_are_what_will_not_go_out_by_itself_oldest_first(outbox: Outbox) -> None:
    """X04"""
    dead = refused(outbox, submitted("a"), times=3)
    cut_off = cut(outbox, submitted("b"))
    waiting, skipped, arrived = submitted("c"), submitted("d"), submitted("e")
    put(outbox, (arrived, owed(arrived)))
    outbox.sent(claim(outbox, "box", 100.0, by="me"), 100.0)
    put(outbox, (waiting, owed(waiting)), (skipped, owed(skipped, skipped="not allowed")))

    letters = outbox.letters()
    assert [(letter.id, letter.state, letter.attempts) for letter in letters] == [
        (dead, "dead", 3),
        (cut_off, "unknown", 1),
    ]
    first = letters[0]
    assert (first.kind, first.entity, first.recipient) == ("job_submitted", "job/a", "o@x.org")
    assert (first.transport, first.reason, first.created_at) == ("box", "550 no such user", 100.0)


def test_a_letter_is_found_by_the_beginning_of_its_id(outbox: Outbox) -> None:
    """X04: and by no pattern."""
    ids = {refused(outbox, submitted(name)): "dead" for name in "abc"}
    one = next(iter(ids))

    assert outbox.state_of(one) == {one: "dead"}
    assert outbox.state_of(one[:12]) == {one: "dead"}
    assert outbox.state_of("") == ids
    for nothing in ("%", "_" * 32, f"%{one[1:]}", f"{one}x", "no such"):
        assert outbox.state_of(nothing) == {}


def test_a_dead_letter_is_sent_again_from_the_first_try_on(outbox: Outbox) -> None:
    """X04"""
    name = refused(outbox, submitted(), times=3)

    assert outbox.revive([name]) == 1
    (again,) = claim(outbox, "box", 100.0, by="me")
    assert (again.id, again.failures, again.refusals, again.first_failed_at) == (name, 0, 0, None)
    assert outbox.letters() == []


def test_nobody_who_was_served_is_served_again(outbox: Outbox) -> None:
    """X04: per recipient: what was sent, waits, is under way or was never to be sent stays as it is."""
    event = submitted()
    put(outbox, *((event, owed(event, to)) for to in ("sent@x.org", "dead@x.org", "sending@x.org", "waiting@x.org")))
    put(outbox, (event, owed(event, "skipped@x.org", skipped="not allowed")))
    sent, dead, _ = (claim(outbox, "box", 100.0, by="me") for _ in range(3))
    outbox.sent(sent, 101.0)
    outbox.failed(dead, 101.0, Failure.REFUSED, "550", Verdict("dead"))
    before = outbox.state_of("")
    assert sorted(before.values()) == ["dead", "pending", "sending", "sent", "skipped"]

    assert outbox.revive(before) == 1
    assert outbox.state_of("") == {**before, dead[0].id: "pending"}
    assert outbox.revive(before) == 0, "twice is once"


def test_no_id_or_an_unknown_one_revives_nothing(outbox: Outbox) -> None:
    refused(outbox, submitted())

    assert outbox.revive([]) == 0
    assert outbox.revive(["no such id"]) == 0
    assert outbox.counts() == tally(dead=1)


def test_any_number_of_letters_is_revived_at_once(outbox: Outbox) -> None:
    """SQLite takes 999 values in one statement."""
    events = [submitted(str(number)) for number in range(1200)]
    put(outbox, *((event, owed(event, bundle="b")) for event in events))
    outbox.failed(claim(outbox, "box", 100.0, by="me"), 100.0, Failure.REFUSED, "550", Verdict("dead"))

    assert outbox.revive(letter.id for letter in outbox.letters()) == 1200
    assert outbox.counts() == tally(waiting=1200)


# -- opening -----------------------------------------------------------------------------------------------------


def test_only_who_may_repair_moves_a_damaged_database(tmp_path: Path) -> None:
    """X02: `notify dead` and the like look on while a worker may be at work."""
    path = tmp_path / "outbox.db"
    path.write_bytes(b"not a database at all" * 100)

    with pytest.raises(StateError, match="damaged") as caught:
        Outbox(path, repair=False)
    assert caught.value.hint
    assert path.read_bytes() == b"not a database at all" * 100
    assert list(tmp_path.glob("*.damaged-*")) == []


def test_who_may_not_repair_can_use_a_good_database(tmp_path: Path, outbox: Outbox) -> None:
    name = refused(outbox, submitted())
    beside = Outbox(tmp_path / "outbox.db", repair=False)

    assert beside.revive([name]) == 1
    assert beside.check() == ""
    beside.close()
    assert outbox.counts() == tally(waiting=1)


def indexes(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    finally:
        connection.close()


def test_a_database_of_the_first_version_is_brought_up_to_date_with_all_that_is_in_it(tmp_path: Path) -> None:
    """X01: an update of the program forgets nothing that is owed."""
    path = tmp_path / "outbox.db"
    old = Outbox(path)
    expected = indexes(path)
    dead, waiting = refused(old, submitted("a")), submitted("b")
    put(old, (waiting, owed(waiting)))
    old.close()
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE alerts")
    connection.execute("DROP INDEX recent")
    for name in ("queue", "unfinished"):
        connection.execute(f"DROP INDEX {name}")
    for table in ("emitted_jobs", "totals"):
        connection.execute(f"DROP TABLE {table}")
    for column in ("route", "source", "priority", "longest_wait", "acknowledged_at", "reported_at"):
        connection.execute(f"ALTER TABLE notifications DROP COLUMN {column}")
    connection.execute("ALTER TABLE events DROP COLUMN routing")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()

    for _ in range(2):  # and the second time there is nothing to do
        new = Outbox(path)
        assert new.counts() == tally(waiting=1, dead=1)
        assert [letter.id for letter in new.letters()] == [dead]
        assert new.alerts() == []
        assert new.damage == ""
        new.close()
        assert indexes(path) == expected
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()


V4 = Path(__file__).with_name("outbox-v4.sql")  # what version 4 of the format wrote


def version_4(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(V4.read_text(encoding="utf-8"))


def rows_of(path: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("repair", [True, False], ids=["worker", "command"])
def test_database_of_version_4_is_copied_before_it_is_upgraded(tmp_path: Path, repair: bool) -> None:
    """C13: the copy is whole, private, and the only one."""
    path = tmp_path / "outbox.db"
    version_4(path)
    older = tmp_path / "outbox.db.v3.bak"
    older.touch()

    outbox = Outbox(path, repair=repair)
    assert outbox.counts() == tally(waiting=1, sent=1, dead=1)
    assert [rule.target for rule in outbox.alerts()] == ["https://hooks.example/secret-path", "bo@lab.example"]
    outbox.close()

    copy = tmp_path / "outbox.db.v4.bak"
    assert rows_of(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert rows_of(copy, "PRAGMA user_version") == [(4,)]
    assert rows_of(copy, "SELECT state FROM notifications ORDER BY seq") == [("sent",), ("dead",), ("pending",)]
    assert rows_of(copy, "PRAGMA integrity_check") == [("ok",)]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not older.exists()
    assert b"secret-path" not in copy.read_bytes()


def test_copy_before_an_upgrade_holds_what_is_only_in_the_log(tmp_path: Path) -> None:
    """C13: the write-ahead log of a worker that was killed."""
    path = tmp_path / "outbox.db"
    version_4(path)
    with contextlib.closing(sqlite3.connect(path)) as killed:
        killed.execute("PRAGMA journal_mode = WAL")
        killed.execute("UPDATE notifications SET reason = 'only in the log' WHERE seq = 3")
        killed.commit()
        assert b"only in the log" not in path.read_bytes()

        Outbox(path).close()

    copy = tmp_path / "outbox.db.v4.bak"
    assert rows_of(copy, "SELECT reason FROM notifications WHERE seq = 3") == [("only in the log",)]


def test_database_that_cannot_be_copied_is_not_upgraded(tmp_path: Path) -> None:
    """C13."""
    path = tmp_path / "outbox.db"
    version_4(path)
    (tmp_path / "outbox.db.v4.bak").mkdir()

    with pytest.raises(StateError, match=r"cannot be copied to outbox\.db\.v4\.bak"):
        Outbox(path)

    assert rows_of(path, "PRAGMA user_version") == [(4,)]
    assert not list(tmp_path.glob(".outbox*"))


def test_new_database_needs_no_copy(tmp_path: Path) -> None:
    """C13."""
    Outbox(tmp_path / "outbox.db").close()
    Outbox(tmp_path / "outbox.db").close()

    assert not list(tmp_path.glob("*.bak"))


def test_url_of_an_alert_rule_is_stored_encrypted(outbox: Outbox, tmp_path: Path) -> None:
    """C12: not that of a mail address or a transport; reading it back gives the rule as it was."""
    rules = [
        AlertRule(id=target[:5], target=target, job="x")
        for target in ("https://hooks.example/secret-path", "bo@lab.example", "oncall")
    ]
    for rule in rules:
        outbox.add_alert(rule)

    assert sorted(outbox.alerts(), key=lambda rule: rule.id) == sorted(rules, key=lambda rule: rule.id)
    files = [path for path in tmp_path.iterdir() if path.name.startswith("outbox.db")]
    assert files
    assert not [path for path in files if b"secret-path" in path.read_bytes()]


@pytest.mark.parametrize("adds", [True, False], ids=["alerts add", "worker"])
def test_url_that_was_stored_as_plain_text_is_encrypted_in_place(tmp_path: Path, adds: bool) -> None:
    """C12: nothing of it stays in the file, a rule that was removed before included; its transport keeps its name."""
    path = tmp_path / "outbox.db"
    version_4(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("INSERT INTO alerts SELECT 'gone', job, tag, target, 1, 1, 1, 1, 1, 1 FROM alerts LIMIT 1")
        connection.commit()
        connection.execute("DELETE FROM alerts WHERE id = 'gone'")
        connection.commit()

    outbox = Outbox(path, repair=not adds)
    if adds:
        outbox.add_alert(AlertRule(id="x", target="bo@lab.example", job="x", created_at=2e9))
    rule = outbox.alerts()[0]
    outbox.close()

    assert rule == AlertRule(
        id="0123456789ab", target="https://hooks.example/secret-path", job="nightly-*", created_at=1768500000.0
    )
    assert rule.endpoint == "alert-" + digest_of("https://hooks.example/secret-path")[:8]
    assert not [each for each in tmp_path.iterdir() if b"secret-path" in each.read_bytes()]


@pytest.mark.parametrize("how", ["gone", "another", "garbage"])
def test_rule_whose_key_is_lost_stays_and_others_work(outbox: Outbox, tmp_path: Path, how: str) -> None:
    """C12: and when the key is put back it works again."""
    outbox.add_alert(AlertRule(id="a", target="https://hooks.example/x", job="x", created_at=1.0))
    outbox.add_alert(AlertRule(id="b", target="bo@lab.example", job="x", created_at=2.0))
    key = tmp_path / "secret.key"
    content = key.read_bytes()
    key.unlink()
    if how != "gone":
        key.write_bytes(Fernet.generate_key() if how == "another" else b"no key")

    fresh = Outbox(tmp_path / "outbox.db", repair=False)
    assert [(rule.id, rule.target) for rule in fresh.alerts()] == [("a", ""), ("b", "bo@lab.example")]
    assert fresh.unreadable_alerts == ["a"]
    key.write_bytes(content)
    assert [rule.target for rule in fresh.alerts()] == ["https://hooks.example/x", "bo@lab.example"]
    assert fresh.unreadable_alerts == []
    fresh.close()


def test_several_messages_are_claimed_at_once_each_by_itself(outbox: Outbox) -> None:
    """A digest is one of them; two of one conversation are never under way together."""
    single = [submitted(name) for name in "abc"]
    later = Event(Kind.JOB_APPROVED, "job/a", "T2")
    digest = [submitted(name) for name in "xyz"]
    put(outbox, *((event, owed(event)) for event in (*single, later)))
    put(outbox, *((event, owed(event, bundle="b")) for event in digest))
    messages = outbox.claim("box", 100.0, by="me", most=9)

    assert [[due.event for due in message] for message in messages] == [*([event] for event in single), digest]
    assert [message[0].bundle.partition("#")[0] for message in messages] == ["", "", "", "b"]
    assert outbox.claim("box", 100.0, by="me", most=9) == []


def test_no_more_than_asked_for_are_claimed(outbox: Outbox) -> None:
    put(outbox, *((event, owed(event)) for event in map(submitted, "abcde")))

    assert [len(outbox.claim("box", 100.0, by="me", most=most)) for most in (2, 0, 9)] == [2, 0, 3]


def test_outcomes_that_are_written_down_together_are_all_there_or_none(outbox: Outbox) -> None:
    events = [submitted(name) for name in "abc"]
    put(outbox, *((event, owed(event)) for event in events))
    first, second, third = outbox.claim("box", 100.0, by="me", most=3)
    outbox.take_touched()

    def break_off() -> None:
        with outbox.together():
            outbox.sent(first, 101.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert outbox.counts() == tally(waiting=3)
    assert outbox.take_touched() == set()
    with outbox.together():
        outbox.sent(first, 101.0)
        outbox.failed(second, 101.0, Failure.REFUSED, "550", Verdict("dead"))
        outbox.failed(third, 101.0, Failure.NOT_NOW, "503", Verdict("pending"))
        assert outbox.take_touched() == set(), "nobody may believe yet that they have ended"

    assert outbox.counts() == tally(waiting=1, sent=1, dead=1, failed=1)
    assert outbox.take_touched() == {events[0].key, events[1].key}


def test_what_is_spared_keeps_nothing_behind_it_from_being_forgotten(outbox: Outbox) -> None:
    spared = [submitted(f"a{number}") for number in range(7)]
    free = [submitted(f"b{number}") for number in range(5)]
    outbox.put([*spared, *free], [], 1.0)
    owing = {event.entity for event in spared}

    assert [outbox.prune(10.0, 1e9, sparing=owing, limit=3) for _ in range(3)] == [3, 2, 0]
    assert {row[1] for row in outbox.keys_of()} == owing


def test_a_nul_in_an_entity_cuts_nothing_off(outbox: Outbox) -> None:
    """As `notify emit` takes it; SQLite's own functions end a text there."""
    events = [Event(kind, "a\0b", "T", "", {}) for kind in (Kind.JOB_SUBMITTED, Kind.JOB_FAILED)]
    outbox.put(events, [Notification(each.key, each.entity, "o@x.org", Audience.OWNER, "box") for each in events], 0.0)
    ((due,),) = outbox.claim("box", 0.0, by="me", most=2)
    keys = {event.key for event in events}

    assert due.event == events[0]
    assert due.last_kind is Kind.JOB_FAILED
    assert outbox.unfinished(keys) == keys
    assert {row[0] for row in outbox.events_of(keys)} == keys
