"""Who can be reached at all: homes without mail, readers without a word of their own, targets that are gone."""

from __future__ import annotations

import json
from typing import Any

import pytest

import syftnotify
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from tests.fakes.mailserver import Act, Talk, serving
from tests.fakes.mailserver import says as replies
from tests.fakes.web import Web, says
from tests.support import ANA, BO, OWNER, Box, wait_until
from tests.trees import TREES, Disk, Tree

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture
def tree(box: Box) -> Tree:
    return TREES["D"](Disk(box.root, box.clock.time))


def seen(hook: Web) -> list[str]:
    return [request.json["event"] for request in hook.requests]


# -- without mail ------------------------------------------------------------------------------------------------------


def test_a_home_may_do_without_mail_where_its_routes_need_none(box: Box, tree: Tree, hook: Web) -> None:
    oncall = {"type": "webhook", "url": hook.url}
    box.configure({"transports": {"oncall": oncall}, "routes": [{"to": ["oncall"]}]})
    box.look()
    tree.submit("survey", ANA, config={"headers": {"notify": {"emails": [ANA], "on": ["job_submitted"]}}})
    box.clock.advance(60)
    box.look()

    assert seen(hook) == ["job_submitted"]
    assert f"{ANA}: not sent: no transport carries to {ANA}" in " ".join(box.notify("why", "survey").stdout.split())
    assert box.notify("start", check=0)
    box.notify("stop", check=0)
    assert "no transport sends mail" in box.notify("init", check=0).stdout
    assert "FAIL" not in box.notify("doctor").stdout.upper().replace("FAILED", "")


def test_without_mail_trouble_is_told_by_what_there_is(box: Box, hook: Web) -> None:
    oncall = {"type": "webhook", "url": hook.url}
    box.configure({"transports": {"oncall": oncall}, "routes": [{"events": ["job_failed"], "to": ["oncall"]}]})
    parts = box.parts()
    try:
        parts.pipeline.enqueue_own(
            Event(EventKind.SYSTEM_ALERT, "worker/x", "T", payload={"summary": "it hurts"}), box.clock.now
        )
        parts.dispatcher.drain()
    finally:
        parts.close()

    assert seen(hook) == ["system_alert"]


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({}, "transports: none of them can send mail"),
        ({"routes": [{}]}, "routes[0]: no transport can send mail; set `to` or `transport`"),
        ({"routes": [{"to": ["owner"]}]}, "routes[0].to: no transport carries to 'owner'"),
        ({"routes": [{"to": ["#jobs"]}]}, "routes[0].to: no transport carries to '#jobs'"),
        ({"routes": [{"to": ["oncal"]}]}, "routes[0].to: no transport carries to 'oncal'"),
        ({"routes": [{"via": "oncal"}]}, "routes[0].via: there is no transport 'oncal'; did you mean `oncall`?"),
        ({"routes": [], "reminders": {"to": ["co@x.example"]}}, "reminders.to: no transport carries to 'co@x.example'"),
    ],
)
def test_who_cannot_be_reached_is_a_mistake_at_load(box: Box, changes: dict[str, Any], mistake: str) -> None:
    """No silence at run time."""
    box.configure({"transports": {"oncall": {"type": "webhook", "url": "https://hooks.example/x"}}, **changes})

    assert mistake in " ".join(box.notify("start", check=2).stderr.split())


# -- reminders, held mails, retention ----------------------------------------------------------------------------------


def test_a_co_owner_can_be_reminded(box: Box, tree: Tree) -> None:
    """X08"""
    box.configure({"reminders": {"job_waiting": "2h", "to": ["owner", BO]}})
    box.look()
    tree.submit("survey", ANA)
    box.clock.advance(60)
    box.look()
    box.new_mails()
    box.clock.advance(3 * HOUR)
    box.look()

    assert sorted((mail.event, mail.to) for mail in box.new_mails()) == [("job_waiting", BO), ("job_waiting", OWNER)]


def test_what_was_held_alone_comes_as_itself(box: Box, tree: Tree) -> None:
    """X06: a digest of one thing is worse than the thing."""
    box.configure({"quiet_hours": {"from": "00:00", "to": "23:59", "zone": "UTC"}, "routes": [{"to": ["owner"]}]})
    box.look()
    tree.submit("survey", ANA)
    box.clock.advance(60)
    box.look()
    assert box.mails() == []
    box.configure({"routes": [{"to": ["owner"]}]})
    box.clock.advance(DAY)
    box.look()

    (mail,) = box.mails()
    assert mail.event == "job_submitted"
    assert "the mean of the ages" in mail.text


def test_the_history_is_kept_for_ever_unless_somebody_says_how_long(box: Box, tree: Tree) -> None:
    """C14"""
    box.look()
    tree.submit("survey", ANA)
    box.clock.advance(60)
    box.look()
    box.clock.advance(1000 * DAY)
    box.look()
    assert "job_submitted" in box.notify("history").stdout
    assert "kept without limit" in box.notify("prune", check=2).stderr

    box.configure({"retention": "365d"})
    box.look()
    assert "no notifications yet" in box.notify("history").stdout
    box.new_mails()
    box.look()
    assert box.new_mails() == []  # what is forgotten is not told again


def test_pruning_keeps_what_waits_and_tells_nothing_again(box: Box, tree: Tree) -> None:
    """C14"""
    box.clock.now = 1_700_000_000.0
    with serving() as server:
        box.configure(
            {
                "transports": {
                    "box": {"type": "maildir"},
                    "busy": {"type": "smtp", "smtp_url": f"smtp://127.0.0.1:{server.port}"},
                },
                "routes": [{"to": ["owner"], "via": "box", "continue": True}, {"to": [BO], "via": "busy"}],
            }
        )
        box.look()
        tree.submit("first", ANA)
        box.clock.advance(60)
        box.look()
        server.once("MAIL", *[replies("451 4.3.0 later")] * 9)
        tree.submit("second", ANA)
        box.clock.advance(60)
        box.look()
        rehearsal = box.notify("prune", "--older-than", "2024-01-01", "--dry-run", check=0).stdout
        assert rehearsal.startswith("1 event from before 2024-01-01")
        assert box.notify("prune", "--older-than", "2024-01-01", check=0).stdout.endswith("deleted\n")

        history = box.notify("history").stdout
        assert "first" not in history
        assert "second" in history
        server.acts.clear()
        box.clock.advance(2 * HOUR)
        box.look()
        box.clock.advance(2 * HOUR)
        box.look()
        assert [mail.to for mail in server.committed] == [BO, BO]
    assert len(box.mails()) == 2


# -- targets -----------------------------------------------------------------------------------------------------------


def test_of_several_recipients_each_has_an_answer_of_its_own(box: Box, tree: Tree) -> None:
    """G11: one refused address keeps no other from its mail."""
    with serving() as server:
        server.usual["RCPT"] = only_for("gone@mail.example", replies("550 5.1.1 no such user"))
        box.configure(
            {
                "transports": {
                    "office": {
                        "type": "smtp",
                        "smtp_url": f"smtp://127.0.0.1:{server.port}",
                        "events": ["job_submitted"],
                        "to": ["one@mail.example", "gone@mail.example", "two@mail.example"],
                    }
                },
                "routes": [],
            }
        )
        box.look()
        tree.submit("survey", ANA)
        box.clock.advance(60)
        box.look()

        assert sorted(mail.to for mail in server.committed) == ["one@mail.example", "two@mail.example"]
    dead = box.notify("dead", check=0).stdout
    assert "gone@mail.example" in dead
    assert "550 5.1.1 no such user" in dead
    assert "two@mail.example" not in dead


def only_for(address: str, act: Act) -> Act:
    async def acts(talk: Talk) -> None:
        argument = talk.commands[-1].partition(" ")[2]
        await (act(talk) if address in argument else talk.smtp_RCPT(argument))

    return acts


def test_an_endpoint_that_is_gone_is_left_alone_and_its_owner_told(box: Box, tree: Tree, hook: Web) -> None:
    """410: nothing more is asked of it until somebody has seen to it."""
    hook.usual = says(410, "gone")
    box.configure(
        {"transports": {"box": {"type": "maildir"}, "oncall": {"type": "webhook", "url": hook.url, "events": ["*"]}}}
    )
    box.root.mkdir(exist_ok=True)
    box.notify("start", check=0)
    try:
        # Beside it comes the alert about the dead letter, in any order.
        (alert,) = wait_until(
            lambda: [mail for mail in box.mails() if mail.event == "system_alert" and "oncall" in mail.subject],
            what="the alert about the transport",
        )
        asked = len(hook.requests)
        syftnotify.emit("job_failed", "slurm/7", home=box.home.root)
        wait_until(lambda: [mail for mail in box.mails() if mail.event == "job_failed"], what="the mail")
    finally:
        box.notify("stop", check=0)

    assert "410" in alert.text
    assert len(hook.requests) == asked == 1
    assert "410" in json.loads(box.notify("status", "--json").stdout)["transports"]["oncall"]["problem"]


# -- the notifier's own trouble, and the first look --------------------------------------------------------------------


def trouble(box: Box, through: str) -> None:
    """What the worker notes when another transport than `through` is paused."""
    parts = box.parts()
    try:
        event = Event(EventKind.SYSTEM_ALERT, "transport/dead", "T", payload={"summary": "it is paused"})
        parts.pipeline.enqueue_own(event, box.clock.now, transport=through)
        parts.dispatcher.drain()
    finally:
        parts.close()


def test_the_word_about_a_dead_transport_never_goes_through_it_alone(box: Box) -> None:
    """X07: although routes name the owner by it."""
    dead = {"type": "smtp", "smtp_url": "smtp://127.0.0.1:1", "events": ["*"], "to": OWNER}
    box.configure({"transports": {"dead": dead, "box": {"type": "maildir"}}, "routes": [{"to": OWNER, "via": "dead"}]})
    trouble(box, "box")

    assert [(mail.event, mail.to) for mail in box.mails()] == [("system_alert", OWNER)]


def test_in_a_channel_trouble_is_one_line(box: Box, hook: Web) -> None:
    """People have no addresses there: neither the owner nor the operators."""
    dead = {"type": "smtp", "smtp_url": "smtp://127.0.0.1:1"}
    team = {"type": "slack", "url": hook.url, "default_recipient": "#ops"}
    box.configure({"transports": {"dead": dead, "team": team}, "operator": [ANA, BO]})
    trouble(box, "team")

    assert [request.json["channel"] for request in hook.requests] == ["#ops"]


def test_a_first_look_catches_up_with_whom_ones_own_routes_name(box: Box, tree: Tree, hook: Web) -> None:
    """But no scientist, and no program: the past is one message."""
    team = {"type": "slack", "url": hook.url, "default_recipient": "#jobs"}
    oncall = {"type": "webhook", "url": hook.url}
    transports = {"box": {"type": "maildir"}, "team": team, "oncall": oncall}
    box.configure({"transports": transports, "routes": [{"to": ["#jobs", BO, "submitter", "oncall"]}]})
    for name in ("one", "two", "three"):
        tree.submit(name, ANA)
    box.clock.advance(60)
    box.look()

    assert [(mail.event, mail.to) for mail in box.mails()] == [("digest", BO)]
    assert [request.json["channel"] for request in hook.requests] == ["#jobs"]


def test_pruning_what_was_sent_a_moment_ago_tells_nothing_again(box: Box, tree: Tree) -> None:
    """C14: before the state file knows that it was told."""
    box.clock.now = 1_700_000_000.0
    box.look()
    tree.submit("survey", ANA)
    box.clock.advance(60)
    parts = box.parts()
    try:
        parts.pipeline.tick(box.clock.now, last_scan=box.last_look)
        parts.dispatcher.drain()
    finally:
        parts.close()
    assert len(box.mails()) == 2
    box.notify("prune", "--older-than", "2024-01-01", check=0)
    box.look()
    box.look()

    assert len(box.mails()) == 2
