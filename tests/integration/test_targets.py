"""Configurations without mail, targets that are gone, alerts about transports."""

from __future__ import annotations

import json
from typing import Any

import pytest

import syftnotify
from syftnotify.core.errors import ConfigError
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.services.settings import load
from tests.fakes.mailserver import Action, Connection, serve_mail
from tests.fakes.mailserver import reply as replies
from tests.fakes.web import WebServer, respond
from tests.support import ANA, BO, OWNER, Box, wait_until
from tests.trees import Tree


def received_events(hook: WebServer) -> list[str]:
    return [request.json["event"] for request in hook.requests]


def only_for(address: str, act: Action) -> Action:
    async def acts(connection: Connection) -> None:
        argument = connection.commands[-1].partition(" ")[2]
        await (act(connection) if address in argument else connection.smtp_RCPT(argument))

    return acts


def test_home_without_mail_works_when_its_routes_need_none(box: Box, tree: Tree, hook: WebServer) -> None:
    oncall = {"type": "webhook", "url": hook.url}
    box.configure({"transports": {"oncall": oncall}, "routes": [{"to": ["oncall"]}]})
    box.scan()
    tree.submit("survey", ANA, config={"headers": {"notify": {"emails": [ANA], "on": ["job_submitted"]}}})
    box.clock.advance(60)
    box.scan()

    assert received_events(hook) == ["job_submitted"]
    assert f"{ANA}: not sent: no transport delivers to {ANA}" in " ".join(box.notify("why", "survey").stdout.split())
    box.notify("run", "--once", check=0)
    assert "no transport sends mail" in box.notify("init", check=0).stdout
    assert "FAIL" not in box.notify("doctor").stdout.upper().replace("FAILED", "")


def test_alert_without_mail_uses_the_only_transport(box: Box, hook: WebServer) -> None:
    oncall = {"type": "webhook", "url": hook.url}
    box.configure({"transports": {"oncall": oncall}, "routes": [{"events": ["job_failed"], "to": ["oncall"]}]})
    app = box.open_app()
    try:
        app.pipeline.enqueue_worker_event(
            Event(EventKind.SYSTEM_ALERT, "worker/x", "T", payload={"summary": "it hurts"}), box.clock.now
        )
        app.dispatcher.drain()
    finally:
        app.close()

    assert received_events(hook) == ["system_alert"]


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({}, "transports: none of them can send mail"),
        ({"routes": [{}]}, "routes[0]: no transport can send mail; set `to` or `transport`"),
        ({"routes": [{"to": ["owner"]}]}, "routes[0].to: no transport delivers to 'owner'"),
        ({"routes": [{"to": ["#jobs"]}]}, "routes[0].to: no transport delivers to '#jobs'"),
        ({"routes": [{"to": ["oncal"]}]}, "routes[0].to: no transport delivers to 'oncal'"),
        ({"routes": [{"via": "oncal"}]}, "routes[0].via: there is no transport 'oncal'; did you mean `oncall`?"),
        (
            {"routes": [], "reminders": {"to": ["co@x.example"]}},
            "reminders.to: no transport delivers to 'co@x.example'",
        ),
    ],
)
def test_recipient_without_a_transport_is_a_config_error(box: Box, changes: dict[str, Any], mistake: str) -> None:
    """No silence at run time."""
    box.configure({"transports": {"oncall": {"type": "webhook", "url": "https://hooks.example/x"}}, **changes})

    with pytest.raises(ConfigError) as caught:
        load(box.home)
    assert mistake in str(caught.value)


def test_recipients_of_a_transport_succeed_and_fail_separately(box: Box, tree: Tree) -> None:
    """G11: one refused address keeps no other from its mail."""
    with serve_mail() as server:
        server.default["RCPT"] = only_for("gone@mail.example", replies("550 5.1.1 no such user"))
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
        box.scan()
        tree.submit("survey", ANA)
        box.clock.advance(60)
        box.scan()

        assert sorted(mail.to for mail in server.committed) == ["one@mail.example", "two@mail.example"]
    dead = box.notify("dead", check=0).stdout
    assert "gone@mail.example" in dead
    assert "550 5.1.1 no such user" in dead
    assert "two@mail.example" not in dead


def test_endpoint_that_is_gone_is_paused_and_the_owner_alerted(box: Box, tree: Tree, hook: WebServer) -> None:
    """410: nothing more is asked of it until somebody has seen to it."""
    hook.default = respond(410, "gone")
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


def send_transport_alert(box: Box, through: str) -> None:
    """What the worker notes when another transport than `through` is paused."""
    app = box.open_app()
    try:
        event = Event(EventKind.SYSTEM_ALERT, "transport/dead", "T", payload={"summary": "it is paused"})
        app.pipeline.enqueue_worker_event(event, box.clock.now, transport=through)
        app.dispatcher.drain()
    finally:
        app.close()


def test_alert_about_a_transport_uses_another_one(box: Box) -> None:
    """X07: although routes name the owner by it."""
    dead = {"type": "smtp", "smtp_url": "smtp://127.0.0.1:1", "events": ["*"], "to": OWNER}
    box.configure({"transports": {"dead": dead, "box": {"type": "maildir"}}, "routes": [{"to": OWNER, "via": "dead"}]})
    send_transport_alert(box, "box")

    assert [(mail.event, mail.to) for mail in box.mails()] == [("system_alert", OWNER)]


def test_alert_in_a_channel_is_one_message(box: Box, hook: WebServer) -> None:
    """People have no addresses there: neither the owner nor the operators."""
    dead = {"type": "smtp", "smtp_url": "smtp://127.0.0.1:1"}
    team = {"type": "slack", "url": hook.url, "default_recipient": "#ops"}
    box.configure({"transports": {"dead": dead, "team": team}, "operator": [ANA, BO]})
    send_transport_alert(box, "team")

    assert [request.json["channel"] for request in hook.requests] == ["#ops"]


def test_first_scan_sends_one_digest_to_recipients_of_routes(box: Box, tree: Tree, hook: WebServer) -> None:
    """But no scientist, and no program: the past is one message."""
    team = {"type": "slack", "url": hook.url, "default_recipient": "#jobs"}
    oncall = {"type": "webhook", "url": hook.url}
    transports = {"box": {"type": "maildir"}, "team": team, "oncall": oncall}
    box.configure({"transports": transports, "routes": [{"to": ["#jobs", BO, "submitter", "oncall"]}]})
    for name in ("one", "two", "three"):
        tree.submit(name, ANA)
    box.clock.advance(60)
    box.scan()

    assert [(mail.event, mail.to) for mail in box.mails()] == [("digest", BO)]
    assert [request.json["channel"] for request in hook.requests] == ["#jobs"]
