"""How the worker fares, and who hears: sign-ins that end, daily mails, pings, looks that break, whose a home is."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.core.outbox import OutboxCounts
from syftnotify.services.demo import Tree
from syftnotify.services.settings import load
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.files import atomic_write
from tests.fakes.google import SECRET, Answer, Google, Post, hangs, page, says, serving
from tests.other_user import box_for_every_user as a_box_in_reach_of_all
from tests.other_user import run_as_other_user as as_somebody_else
from tests.support import ANA, OWNER, PATIENCE, Box, needs_root, wait_until, worker_in_process

DAY, HOUR, MINUTE = 86400.0, 3600.0, 60.0
CY = "cy@clinic.example"
WEEK_SECONDS = 7 * 86400  # for so long a sign-in of an app in Google's Testing state is good
CODE = "print('mean income')\n"


@pytest.fixture
def google() -> Iterator[Google]:
    with serving() as google:
        yield google


@pytest.fixture
def tree(box: Box) -> Tree:
    """The box's tree, with ana as a peer."""
    box.snapshot.parent.mkdir(parents=True)
    tree = Tree(box.root, box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    return tree


def configure(box: Box, google: Google | None = None, *, second: bool = True, **sections: Any) -> None:
    """Mail goes out through Gmail where there is a `google`, a Maildir being the `second` way; else into a Maildir."""
    mail = {"type": "gmail", "api_endpoint": google.url, "rate": 100, "burst": 100} if google else None
    transports = {**({"mail": mail} if mail else {}), **({"box": {"type": "maildir"}} if second or not mail else {})}
    notify = {"interval": 1, "sync_state_path": str(box.snapshot), **sections.pop("notify", {})}
    box.configure({"notify": notify, "transports": transports, **sections})
    box.home.config.chmod(0o600)


def look(box: Box) -> None:
    """One look of a fresh process."""
    with worker_in_process(box) as look:
        look()


def counts(box: Box) -> OutboxCounts:
    outbox = SqliteOutbox(box.home.outbox)
    try:
        return outbox.history.counts()
    finally:
        outbox.close()


def started(box: Box, **more: Any) -> int:
    """Start the worker with the real command; its pid."""
    box.notify("start", check=0, **more)
    pid = worker_lock.holder_pid(box.home)
    assert pid is not None
    return pid


def looks_again(box: Box, times: int = 2) -> None:
    """Wait until the worker has finished so many looks more."""

    def last() -> float:
        return worker_status.read(box.home).last_scan_s or 0.0

    for _ in range(times):
        before = last()
        wait_until(lambda: last() > before, what="another look")  # noqa: B023 - asked before it changes


# -- a sign-in that will end -------------------------------------------------------------------------------------


def sign_in(box: Box, google: Google, *, days_left: float, **changes: Any) -> None:
    """A sign-in of an app in Google's Testing state, that long before its end by the box's clock."""
    signed_in_at = int(box.clock.now + days_left * DAY) - WEEK_SECONDS
    given = {"signed_in_at": signed_in_at, "refresh_token_expires_in": WEEK_SECONDS, **changes}
    google.write_token(box.home.token, **{key: value for key, value in given.items() if value is not None})


def alerts(google: Google) -> list[Post]:
    return [post for post in google.posts if post.event == "system_alert"]


def test_a_sign_in_that_ends_within_two_days_is_announced_to_owner_and_operators(google: Google, box: Box) -> None:
    """X07: by mail, while mail still works; it says when, and what to do."""
    configure(box, google, operator=[CY])
    sign_in(box, google, days_left=1.5)

    look(box)

    assert sorted(post.to for post in alerts(google)) == [CY, OWNER]
    ends = datetime.fromtimestamp(box.clock.now + 1.5 * DAY, UTC)
    for post in alerts(google):
        assert f"{ends:%d %B, %H:%M} UTC" in " ".join(post.text.split())
        assert "mail" in post.subject
        assert "notify init --credentials" in post.text
        assert SECRET not in post.text


def test_it_is_announced_once_for_each_sign_in_through_restarts(google: Google, box: Box) -> None:
    """X07."""
    configure(box, google)
    sign_in(box, google, days_left=1.9)
    for _ in range(3):
        with worker_in_process(box) as look:
            for _ in range(3):
                look()
                box.clock.advance(HOUR)
    assert len(alerts(google)) == 1

    sign_in(box, google, days_left=7)
    with worker_in_process(box) as look:
        for _ in range(22):
            look()
            box.clock.advance(6 * HOUR)
    with worker_in_process(box) as look:
        look()

    assert len(alerts(google)) == 2
    assert alerts(google)[0].subject != alerts(google)[1].subject


@pytest.mark.parametrize(
    ("days_left", "changes"),
    [
        (2.5, {}),
        (7, {}),
        (-0.1, {}),
        (1.0, {"refresh_token_expires_in": None}),
        (1.0, {"signed_in_at": None}),
        (1.0, {"refresh_token_expires_in": "604800"}),
        (1.0, {"signed_in_at": "yesterday"}),
        (1.0, {"signed_in_at": True}),
        (1.0, {"refresh_token_expires_in": 0}),
    ],
    ids=str,
)
def test_nothing_is_announced_of_an_end_that_is_far_away_or_past_or_unknown(
    google: Google, box: Box, days_left: float, changes: dict[str, Any]
) -> None:
    """X07."""
    configure(box, google)
    sign_in(box, google, days_left=days_left, **changes)

    look(box)

    assert alerts(google) == []
    assert box.mails() == []


def test_it_is_announced_when_the_time_comes_and_not_before(google: Google, box: Box) -> None:
    """X07."""
    configure(box, google)
    sign_in(box, google, days_left=2.5)

    with worker_in_process(box) as look:
        look()
        assert alerts(google) == []
        box.clock.advance(0.4 * DAY)
        look()
        assert alerts(google) == []
        box.clock.advance(0.2 * DAY)
        look()

    assert len(alerts(google)) == 1


def status(box: Box) -> tuple[int, dict[str, Any]]:
    done = box.notify("status", "--json")
    return done.returncode, json.loads(done.stdout)


def test_a_real_worker_announces_it_once_and_status_says_it_too(google: Google, box: Box) -> None:
    """X07, S16: a notice, no ailment."""
    box.clock.now = time.time()
    configure(box, google)
    sign_in(box, google, days_left=1.5)
    started(box)
    wait_until(lambda: len(alerts(google)) == 1, what="the announcement")

    code, said = status(box)
    shown = box.notify("status", check=0)
    box.notify("restart", check=0)
    looks_again(box)
    box.notify("stop", check=0)

    assert code == 0
    ends = datetime.fromisoformat(said["transports"]["mail"]["sign_in_ends"]).timestamp()
    assert ends == pytest.approx(box.clock.now + 1.5 * DAY, abs=2)
    assert said["unwell"] == []
    (notice,) = [notice for notice in said["notices"] if "sign-in" in notice]
    assert "transport mail" in notice
    assert "notify init --credentials" in notice
    assert notice in " ".join((shown.stdout + shown.stderr).split())
    assert len(alerts(google)) == 1
    assert SECRET not in box.home.log.read_text() + json.dumps(said)


@pytest.mark.parametrize(("days_left", "known"), [(6.0, True), (1.0, False)])
def test_status_has_no_notice_of_an_end_that_is_far_away_or_unknown(
    google: Google, box: Box, days_left: float, known: bool
) -> None:
    """X07, S16."""
    box.clock.now = time.time()
    configure(box, google)
    sign_in(box, google, days_left=days_left, **({} if known else {"refresh_token_expires_in": None}))
    started(box)

    code, said = status(box)

    assert code == 0
    assert not [notice for notice in said["notices"] if "sign-in" in notice]
    assert ("sign_in_ends" in said["transports"]["mail"]) == known


@pytest.mark.parametrize(
    "changes",
    [
        {"refresh_token_expires_in": 1e300},
        {"refresh_token_expires_in": float("inf")},
        {"refresh_token_expires_in": 10**400},
        {"signed_in_at": 1e18},
        {"signed_in_at": float("nan")},
    ],
    ids=["far", "infinite", "huge", "late", "none"],
)
def test_a_token_with_absurd_times_is_no_reason_not_to_start(google: Google, box: Box, changes: dict[str, Any]) -> None:
    """X07: the sign-in itself is good, so mail must go out."""
    configure(box, google)
    sign_in(box, google, days_left=1.5, **changes)

    box.notify("start", check=0)

    assert status(box)[0] == 0


# -- the daily mail ----------------------------------------------------------------------------------------------

# Central Europe, by the rule itself, so that no table of time zones is needed.
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.fixture
def berlin() -> Iterator[None]:
    """This process lives in Central Europe."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", BERLIN)
        time.tzset()
        yield
    time.tzset()


def daily(box: Box, text: str) -> None:
    """Set `heartbeat.daily` to what YAML makes of `text`."""
    configure(box)
    with box.home.config.open("a") as file:
        file.write(f"heartbeat:\n  daily: {text}\n")


def moment_of(text: str) -> float:
    """Seconds since 1970 of an ISO time; of this machine's zone where it names none."""
    return datetime.fromisoformat(text).astimezone().timestamp()


def beats(box: Box) -> list[str]:
    """Who got a daily mail."""
    return [mail.to for mail in box.mails() if mail.event == "heartbeat"]


def beats_at(box: Box, *moments: str) -> list[str]:
    """Let one worker look at each of `moments`; at which of them a daily mail came."""
    came = []
    with worker_in_process(box) as look:
        for text in moments:
            known = len(beats(box))
            box.clock.advance(MINUTE)
            box.clock.now = moment_of(text)  # the wall clock alone is set
            look()
            came += [text] * (len(beats(box)) - known)
    return came


@pytest.mark.parametrize(
    ("text", "before", "at"),
    [
        ("true", "07:59", "08:00"),
        ("'07:30'", "07:29", "07:30"),
        ("07:30", "07:29", "07:30"),
        ("18:30", "18:29", "18:30"),  # to YAML, a number of base 60
        ("'18:30'", "18:29", "18:30"),
        ("8:00", "07:59", "08:00"),
        ("'23:59'", "23:58", "23:59"),
    ],
)
def test_the_daily_mail_comes_at_its_time_of_the_day(
    box: Box, tree: Tree, berlin: None, text: str, before: str, at: str
) -> None:
    """B06: once on each day, to the owner."""
    daily(box, text)
    days = ["2027-01-11", "2027-01-12"]

    came = beats_at(box, *(f"{day}T{hour}" for day in days for hour in ("00:00", before, at, "23:59:59")))

    assert came == [f"{day}T{at}" for day in days]
    assert beats(box) == [OWNER, OWNER]


def test_the_daily_mail_comes_with_the_first_look_after_its_time(box: Box, tree: Tree, berlin: None) -> None:
    """B06: a machine that sleeps at night has no look at eight sharp."""
    daily(box, "true")

    came = beats_at(box, "2027-01-11T13:40", "2027-01-11T14:00", "2027-01-12T07:00", "2027-01-12T23:00")

    assert came == ["2027-01-11T13:40", "2027-01-12T23:00"]


@pytest.mark.parametrize("text", ["false", "null", "", "off"])
def test_without_it_there_is_no_daily_mail(box: Box, tree: Tree, berlin: None, text: str) -> None:
    """B06."""
    daily(box, text)

    assert beats_at(box, "2027-01-11T00:00", "2027-01-11T12:00", "2027-01-12T00:00") == []


@pytest.mark.parametrize(
    "text",
    ["noon", "'25:00'", "'07:60'", "24:00", "-5", "7.5", "[]", "'07:30:00'", "''", "'7'", ".nan", "{at: '07:30'}"],
)
def test_what_is_no_time_of_the_day_is_a_mistake_with_its_path(box: Box, text: str) -> None:
    """B06, S15."""
    daily(box, text)

    with pytest.raises(ConfigError) as caught:
        load(box.home)

    assert "heartbeat.daily: expected true, false or a time of day such as '07:30'" in str(caught.value)


def test_the_daily_mail_says_how_it_goes(box: Box, tree: Tree, berlin: None) -> None:
    """B06."""
    daily(box, "'07:30'")
    box.clock.now = moment_of("2027-01-11T07:00")
    look(box)
    tree.submit(ANA, "survey", CODE)
    look(box)
    box.clock.advance(HOUR)
    look(box)

    (mail,) = [mail for mail in box.mails() if mail.event == "heartbeat"]
    assert mail.told == ("heartbeat", "owner", OWNER)
    assert "all is well" in mail.text
    assert "1 job, 1 peer" in mail.text
    assert "sent since yesterday: 2 messages" in mail.text
    assert "dead letters: 0" in mail.text
    assert "notify status" in mail.text


def test_a_restart_sends_no_second_one_on_that_day(box: Box, tree: Tree, berlin: None) -> None:
    """B06."""
    daily(box, "true")
    box.clock.now = moment_of("2027-01-11T09:00")
    for _ in range(4):
        look(box)
        box.clock.advance(HOUR)

    assert len(beats(box)) == 1


def test_time_off_over_several_days_ends_with_one(box: Box, tree: Tree, berlin: None) -> None:
    """B06: nobody wants to hear today that all was well last week."""
    daily(box, "true")

    came = beats_at(box, "2027-01-11T09:00", "2027-01-15T07:00", "2027-01-15T20:00")

    assert came == ["2027-01-11T09:00", "2027-01-15T20:00"]


def test_on_the_day_on_which_an_hour_is_missing_it_comes_once(box: Box, tree: Tree, berlin: None) -> None:
    """B06: there is no half past two."""
    daily(box, "'02:30'")
    hours = ["2027-03-28T00:59+00:00", "2027-03-28T01:00+00:00", "2027-03-28T01:30+00:00", "2027-03-28T21:00+00:00"]

    came = beats_at(box, *hours, "2027-03-29T02:29", "2027-03-29T02:30", "2027-03-29T23:00")

    assert came == ["2027-03-28T01:00+00:00", "2027-03-29T02:30"]


def test_on_the_day_on_which_an_hour_comes_twice_it_comes_once(box: Box, tree: Tree, berlin: None) -> None:
    """B06: there are two half past two."""
    daily(box, "'02:30'")
    hours = ["2027-10-31T00:29+00:00", "2027-10-31T00:30+00:00", "2027-10-31T01:00+00:00", "2027-10-31T01:30+00:00"]

    came = beats_at(box, *hours, "2027-10-31T23:00", "2027-11-01T02:29", "2027-11-01T02:30")

    assert came == ["2027-10-31T00:30+00:00", "2027-11-01T02:30"]


def test_a_clock_that_is_set_back_an_hour_sends_no_second_one(box: Box, tree: Tree, berlin: None) -> None:
    """B06."""
    daily(box, "true")

    came = beats_at(box, "2027-01-11T08:10", "2027-01-11T07:10", "2027-01-11T08:00", "2027-01-11T08:10")

    assert came == ["2027-01-11T08:10"]


def test_a_clock_that_is_set_back_into_yesterday_sends_no_second_one(box: Box, tree: Tree, berlin: None) -> None:
    """B06: neither for yesterday nor for today."""
    daily(box, "'00:10'")

    came = beats_at(
        box, "2027-01-11T12:00", "2027-01-12T00:20", "2027-01-11T23:20", "2027-01-12T00:10", "2027-01-12T01:00"
    )

    assert came == ["2027-01-11T12:00", "2027-01-12T00:20"]


def test_it_does_not_come_after_a_look_that_failed(box: Box, tree: Tree, berlin: None) -> None:
    """B06: it comes with the first good one, however late."""
    daily(box, "true")
    box.clock.now = moment_of("2027-01-11T08:00")
    with worker_in_process(box) as look:
        for _ in range(3):
            look(well=False)
            box.clock.advance(HOUR)
        assert beats(box) == []
        look()

    assert len(beats(box)) == 1


def test_it_does_not_come_while_a_transport_is_paused(google: Google, box: Box, tree: Tree, berlin: None) -> None:
    """B06, X07: not even through another one; it says that all is well."""
    configure(box, google, heartbeat={"daily": "08:00"})
    google.write_token(box.home.token)
    box.clock.now = moment_of("2027-01-11T07:00")
    with worker_in_process(box) as look:
        look()
        google.revoke()
        tree.submit(ANA, "survey", CODE)
        look()
        box.clock.advance(2 * HOUR)
        assert look().dispatcher.queues["mail"].health.pause_reason
        assert not [post for post in google.posts if post.event == "heartbeat"]

        google.write_token(box.home.token)
        box.clock.advance(HOUR)
        look()
        look()

    assert len([post for post in google.posts if post.event == "heartbeat"]) == 1
    assert beats(box) == []


def noon() -> str:
    """A time zone in which it is about noon now, so that no midnight comes while a test runs."""
    ahead = 12 - datetime.now(UTC).hour
    return f"NOON{-ahead:+d}"


def test_a_real_worker_sends_one_a_day_through_restarts(box: Box, tree: Tree) -> None:
    """B06."""
    daily(box, "'00:00'")
    box.env["TZ"] = noon()
    started(box)
    wait_until(lambda: beats(box), what="the daily mail")

    box.notify("restart", check=0)
    looks_again(box)
    box.notify("stop", check=0)

    assert beats(box) == [OWNER]


def test_a_real_worker_whose_time_has_not_come_sends_none(box: Box, tree: Tree) -> None:
    """B06."""
    daily(box, "'23:00'")
    box.env["TZ"] = noon()
    started(box)
    looks_again(box)
    box.notify("stop", check=0)

    assert beats(box) == []


# -- the ping ----------------------------------------------------------------------------------------------------


class Monitor:
    """A dead-man switch: it counts who comes by."""

    def __init__(self) -> None:
        self.visits: list[str] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.is_silent = False
        self.ended = threading.Event()
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                monitor.visits.append(f"GET {self.path}")
                if monitor.is_silent:
                    monitor.ended.wait(60)
                    return
                self.send_response(monitor.status)
                for name, value in monitor.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's word
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_port}/ping/{SECRET}the-monitor"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    monitor = Monitor()
    yield monitor
    monitor.stop()


def test_a_good_look_is_told_to_the_monitor(box: Box, tree: Tree, monitor: Monitor) -> None:
    """B06: by one GET, not more often than the monitor needs it."""
    configure(box, heartbeat={"ping_url": monitor.url})
    with worker_in_process(box) as look:
        look()
        assert monitor.visits == [f"GET /ping/{SECRET}the-monitor"]
        look()
        assert len(monitor.visits) == 1
        box.clock.advance(MINUTE)
        look()

    assert len(monitor.visits) == 2


def test_a_look_that_failed_is_not(box: Box, tree: Tree, monitor: Monitor) -> None:
    """B06: the world hears that all is well only when it is."""
    configure(box, heartbeat={"ping_url": monitor.url})
    with worker_in_process(box) as look:
        look(well=False)
        box.clock.advance(MINUTE)
        look(well=False)
        assert monitor.visits == []
        look()

    assert len(monitor.visits) == 1


def test_a_look_while_a_transport_is_paused_is_not(google: Google, box: Box, tree: Tree, monitor: Monitor) -> None:
    """B06, X07: what cannot send is not well, although another way could."""
    configure(box, google, heartbeat={"ping_url": monitor.url})
    google.write_token(box.home.token)
    with worker_in_process(box) as look:
        look()
        assert len(monitor.visits) == 1
        google.revoke()
        tree.submit(ANA, "survey", CODE)
        look()
        for _ in range(3):
            box.clock.advance(MINUTE)
            assert look().dispatcher.queues["mail"].health.pause_reason
        assert len(monitor.visits) == 1

        google.write_token(box.home.token)
        box.clock.advance(10 * MINUTE)
        look()
        look()

    assert len(monitor.visits) == 2


def test_a_real_worker_visits_the_monitor(box: Box, tree: Tree, monitor: Monitor) -> None:
    """B06."""
    configure(box, heartbeat={"ping_url": monitor.url})
    started(box)

    wait_until(lambda: monitor.visits, what="a visit")
    box.notify("stop", check=0)

    assert set(monitor.visits) == {f"GET /ping/{SECRET}the-monitor"}


def test_one_look_alone_visits_the_monitor_too(box: Box, tree: Tree, monitor: Monitor) -> None:
    """B06, B07: cron's `run --once`."""
    configure(box, heartbeat={"ping_url": monitor.url})

    box.notify("run", "--once", check=0)

    assert len(monitor.visits) == 1


@pytest.mark.parametrize("words", [("start",), ("run", "--once")])
def test_a_master_switch_that_is_off_keeps_the_monitor_waiting(
    box: Box, tree: Tree, monitor: Monitor, words: tuple[str, ...]
) -> None:
    """B06, G01: a notifier that sends nothing is not well."""
    configure(box, notify={"enabled": False}, heartbeat={"ping_url": monitor.url, "daily": "00:00"})
    box.notify(*words, check=0)
    if words == ("start",):
        looks_again(box)
        box.notify("stop", check=0)

    assert monitor.visits == []
    assert box.mails() == []


@pytest.mark.parametrize("words", [("start",), ("run", "--once")])
def test_a_syftbox_that_is_not_there_keeps_the_monitor_waiting(
    box: Box, monitor: Monitor, words: tuple[str, ...]
) -> None:
    """B06, B08: who sees nothing has not looked well."""
    configure(box, heartbeat={"ping_url": monitor.url, "daily": "00:00"})
    box.root.rmdir()
    box.notify(*words, check=0)
    if words == ("start",):
        looks_again(box)
        box.notify("stop", check=0)

    assert monitor.visits == []
    assert box.mails() == []


@pytest.mark.parametrize("fault", ["down", "silent", "moved"])
def test_a_monitor_in_trouble_disturbs_nothing(box: Box, tree: Tree, monitor: Monitor, fault: str) -> None:
    """B06: mails go out, the worker is well and ends when it is told to; its log keeps the secret of the address."""
    monitor.is_silent = fault == "silent"
    if fault == "moved":
        monitor.status, monitor.headers = 302, {"Location": "/elsewhere"}
    configure(box, heartbeat={"ping_url": monitor.url})
    if fault == "down":
        monitor.stop()
    started(box)
    looks_again(box)

    tree.submit(ANA, "survey", CODE)
    wait_until(lambda: len(box.mails()) == 2, what="both mails")
    if fault != "silent":
        wait_until(lambda: "heartbeat ping failed" in box.home.log.read_text(), what="a line in the log")
    box.notify("status", check=0)
    box.notify("stop", check=0)

    assert "GET /elsewhere" not in monitor.visits
    assert SECRET not in box.home.log.read_text()


# -- looks that break --------------------------------------------------------------------------------------------

# The worker's own program; its looks break as long as a file is there. A fail-point is where a look can be got at.
BREAKABLE = """
import pathlib, sys
from syftnotify import worker
from syftnotify.system import failpoints

switch = pathlib.Path(sys.argv[2])

def on_reach(point):
    if point == "tick.scanned" and switch.exists():
        raise ZeroDivisionError("nobody thought of this")

failpoints.on_reach = on_reach
sys.exit(worker.main(["--home", sys.argv[1]]))
"""


@contextlib.contextmanager
def breakable(box: Box) -> Iterator[Path]:
    """A real worker, whose looks break while there is a file at the path that is yielded."""
    switch = box.folder / "break"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", BREAKABLE, str(box.home.root), str(switch)],
        env=box.environment(),
        stdin=subprocess.DEVNULL,
    )
    try:
        yield switch
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def failures(box: Box, step: str = "scan") -> int:
    """How often in a row that step of the loop failed."""
    return int(worker_status.read(box.home).failures.get(step, {"count": 0})["count"])


def test_a_look_that_breaks_unexpectedly_does_not_end_the_worker(box: Box, tree: Tree, monitor: Monitor) -> None:
    """X01, S16: three in a row are unwell, the log has the traceback, and when the cause is gone all is well again."""
    configure(box, heartbeat={"ping_url": monitor.url, "daily": "00:00"})
    (box.folder / "break").touch()
    with breakable(box) as switch:
        wait_until(lambda: failures(box) >= 3, what="three looks that broke")
        code, said = status(box)
        log = box.home.log.read_text()
        assert code == 4
        (ailment,) = said["unwell"]
        assert "scans failed" in ailment
        assert "nobody thought of this" in ailment
        assert said["last_error"] == "nobody thought of this"
        assert "Traceback (most recent call last)" in log
        assert "ZeroDivisionError: nobody thought of this" in log
        assert monitor.visits == []
        assert beats(box) == []

        switch.unlink()
        tree.submit(ANA, "survey", CODE)
        wait_until(lambda: monitor.visits, what="a visit")
        wait_until(lambda: beats(box), what="the daily mail")
        wait_until(lambda: status(box)[0] == 0, what="all is well")
        assert failures(box) == 0


def test_one_look_that_breaks_is_not_unwell_yet(box: Box, tree: Tree) -> None:
    """S16: what it would have seen is seen by the next."""
    configure(box)
    with breakable(box) as switch:
        wait_until(lambda: worker_status.read(box.home).last_scan_s, what="a look")
        switch.touch()
        tree.submit(ANA, "survey", CODE)
        wait_until(lambda: failures(box) >= 1, what="a look that broke")
        switch.unlink()

        wait_until(lambda: len(box.mails()) == 2, what="both mails")
        assert status(box)[0] == 0


def test_health_step_failing_every_time_is_shown_until_it_succeeds(box: Box, tree: Tree) -> None:
    """B4: a scan that succeeds in between does not reset the counter."""
    configure(box, heartbeat={"daily": "00:00"})
    started(box)
    wait_until(lambda: beats(box), what="a health step that works")
    with contextlib.closing(sqlite3.connect(box.home.outbox, timeout=30)) as database:
        database.execute("ALTER TABLE attempts RENAME TO away")  # which the daily mail counts in, and no scan

        def shown() -> list[str]:
            return [text for text in status(box)[1]["unwell"] if "health checks failed" in text]

        (text,) = wait_until(shown, what="unhealthy")
        scans = worker_status.read(box.home).last_scan_s
        count = failures(box, "health")
        wait_until(lambda: worker_status.read(box.home).last_scan_s != scans, what="one more scan")
        wait_until(lambda: failures(box, "health") > count, what="one more failure")

        assert "attempts" in text
        assert failures(box) == 0

        database.execute("ALTER TABLE away RENAME TO attempts")
    wait_until(lambda: status(box)[0] == 0, what="healthy again")
    assert failures(box, "health") == 0


NEWER = b'{"version": 99}'


def test_a_ledger_that_cannot_be_used_is_waited_out(box: Box, tree: Tree) -> None:
    """X02, S16: somebody's newer version wrote it; put back, the worker goes on."""
    configure(box)
    started(box)
    wait_until(box.home.state.exists, what="the ledger")
    ledger = box.home.state.read_bytes()

    atomic_write(box.home.state, NEWER)
    _, said = wait_until(lambda: (found := status(box))[0] == 4 and found, what="unwell")
    assert any("newer version" in ailment for ailment in said["unwell"])
    tree.submit(ANA, "survey", CODE)
    assert box.home.state.read_bytes() == NEWER
    atomic_write(box.home.state, ledger)

    wait_until(lambda: len(box.mails()) == 2, what="both mails")
    wait_until(lambda: status(box)[0] == 0, what="all is well")
    box.notify("stop", check=0)


# -- deliveries that fail ----------------------------------------------------------------------------------------


def fingerprints(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time and content of everything below `folder`."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize(
    "fault",
    [says(400), page(503), says(403, "dailyLimitExceeded"), says(401, "authError")],
    ids=["refused", "not now", "limit", "sign-in"],
)
def test_a_delivery_that_fails_changes_nothing_in_the_tree(google: Google, box: Box, tree: Tree, fault: Answer) -> None:
    """N26, A12: nor what later looks see there."""
    configure(box, google, second=False)
    google.write_token(box.home.token)
    look(box)
    google.usual = fault
    tree.submit(ANA, "survey", CODE)
    tree.approve(ANA, "survey")
    before = fingerprints(box.root)
    for _ in range(4):
        look(box)
        box.clock.advance(2 * HOUR)
    assert counts(box).sent == 0
    assert fingerprints(box.root) == before

    tree.end(ANA, "survey", 1, "KeyError: 'person_id'\n")
    before = fingerprints(box.root)
    look(box)

    assert fingerprints(box.root) == before
    found = counts(box)
    alerts = 2 if found.dead else 0  # about the dead letters before the end of the job and after it
    assert found.waiting + found.dead == 5 + alerts


def test_a_delivery_that_hangs_holds_up_no_look(google: Google, box: Box, tree: Tree) -> None:
    """A12, N26: what happens meanwhile is noticed and written down."""
    configure(box, google, second=False)
    google.write_token(box.home.token)
    google.usual = hangs(60)
    started(box)
    tree.submit(ANA, "survey", CODE)
    wait_until(lambda: len(google.posts) == 2, what="two sends under way")

    before = fingerprints(box.root)
    looks_again(box)
    assert fingerprints(box.root) == before
    tree.approve(ANA, "survey")
    wait_until(lambda: worker_status.read(box.home).waiting == 3, what="the approval waits")
    assert status(box)[0] == 0

    google.stop()
    box.notify("stop", check=0)


# -- whose a home is ---------------------------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("mode", [0o755, 0o777], ids=["readable", "writable"])
@pytest.mark.parametrize(
    "words",
    [
        ("start",),
        ("ensure",),
        ("run",),
        ("run", "--once"),
        ("restart",),
        ("install",),
        ("init", "--interval", "20", "--no-test"),
    ],
    ids=" ".join,
)
def test_somebody_elses_home_is_refused_and_nothing_is_written_there(words: tuple[str, ...], mode: int) -> None:
    """S16: whoever can write there decides what is sent in whose name."""
    with a_box_in_reach_of_all() as box:
        box.home.root.chmod(mode)
        box.home.config.chmod(0o644)
        before = fingerprints(box.home.root)
        theirs = box.folder / "somebody"
        theirs.mkdir()
        os.chown(theirs, 65534, 65534)
        box.env["HOME"] = str(theirs)

        done = as_somebody_else(box, *words)

        assert done.returncode == 1, done.stdout + done.stderr
        assert "belongs to root" in done.stderr
        assert "Traceback" not in done.stderr
        assert fingerprints(box.home.root) == before
        assert fingerprints(theirs) == {}
        assert not worker_lock.is_held(box.home)


@pytest.mark.parametrize(
    ("which", "mode"),
    [
        ("config", 0o644),
        ("environment", 0o644),
        ("token", 0o644),
        ("credentials", 0o644),
        ("token", 0o640),
        ("config", 0o604),
    ],
)
def test_a_start_warns_of_secrets_that_others_can_read(google: Google, box: Box, which: str, mode: int) -> None:
    """S16: with what to do; and of those alone."""
    configure(box, google)
    google.write_token(box.home.token)
    google.write_credentials(box.home.credentials).chmod(0o600)
    box.home.environment.touch(0o600)
    path: Path = getattr(box.home, which)
    path.chmod(mode)

    done = box.notify("start" if mode == 0o644 else "run", *(() if mode == 0o644 else ("--once",)), check=0)

    warnings = [line for line in done.stderr.splitlines() if "open to others" in line]
    assert warnings == [f"warning: {path} is open to others (mode {mode:04o}): run `chmod 600 {path}`"]
    assert path.stat().st_mode & 0o777 == mode


def test_everything_is_made_for_its_owner_alone_whatever_the_umask(google: Google, box: Box, tree: Tree) -> None:
    """S16: even when the shell would let all the world write."""
    shutil.rmtree(box.home.root)
    made = ("init", "--email", OWNER, "--syftbox-root", str(box.root), "--interval", "1", "--transport", "maildir")
    box.command(*made, umask=0, check=0)
    box.command("init", "--force", *made[1:], umask=0, check=0)
    box.command("run", "--once", umask=0, check=0)
    box.command("start", umask=0, check=0)
    tree.submit(ANA, "survey", CODE)
    wait_until(lambda: len(box.mails()) >= 4, what="two test mails and two of the job")
    looks_again(box, 1)
    open_to_others = widely_open(box.home.root)
    box.command("doctor", umask=0, check=0)
    box.command("stop", umask=0, check=0)

    assert open_to_others == {}
    assert widely_open(box.home.root) == {}
    names = Counter(path.name.partition("-")[0] for path in box.home.root.iterdir())
    assert names.keys() >= {"config.yaml", "config.yaml.old", "state.json", "outbox.db", "notify.log", "worker.json"}


def widely_open(folder: Path) -> dict[str, str]:
    """What others can read, write or enter at or below `folder`, with its mode."""
    return {
        str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777)
        for path in (folder, *folder.rglob("*"))
        if path.stat().st_mode & 0o077
    }


def test_a_sign_in_is_saved_for_its_owner_alone_whatever_the_umask(google: Google, box: Box, tree: Tree) -> None:
    """S16, X07: also when it is refreshed."""
    configure(box, google, second=False)
    google.write_token(box.home.token, expired=True)
    before = box.home.token.read_bytes()

    box.command("run", "--once", umask=0, check=0)
    box.command("doctor", umask=0, check=0)
    tree.submit(ANA, "survey", CODE)
    box.command("run", "--once", umask=0, check=0)

    assert box.home.token.read_bytes() != before
    assert widely_open(box.home.root) == {}
