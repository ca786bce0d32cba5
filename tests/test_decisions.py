"""Where two documents disagree: each of our decisions as one test, as far as no other file shows it already."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from syftnotify import __version__
from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load
from tests.fakes import google
from tests.fakes.mailserver import HOST, MailServer, serving
from tests.fakes.mailserver import says as replies
from tests.fakes.web import Web, hangs, says, web
from tests.support import ANA, BO, OWNER, Box, pass_hours, tally, wait_until
from tests.test_alerts import add
from tests.test_history import objects
from tests.transport_boxes import emit, outbox_counts
from tests.trees import TREES, Disk, Tree

HOUR = 3600.0
STRANGER = "stranger@far.example"
NOBODY = [{"events": ["job_held"]}]  # routes that tell nobody of what happens here


@pytest.fixture
def tree(box: Box) -> Tree:
    return TREES["D"](Disk(box.root, box.clock.time))


def begin(box: Box, tree: Tree, changes: dict[str, Any]) -> None:
    """A box so configured, after its first look at a tree in which one scientist is known."""
    box.configure(changes)
    tree.grant(ANA)
    box.look()


def look_later(box: Box, seconds: float = 60) -> None:
    box.clock.advance(seconds)
    box.look()


def fails(box: Box, tree: Tree, name: str = "survey", by: str = ANA, **headers: Any) -> None:
    """A job with these wishes in its `headers` comes, is approved and fails."""
    tree.submit(name, by, config={"headers": headers})
    tree.approve(name, by)
    tree.run(name, by, code=3, stderr="Traceback\nKeyError: 'age'\n")
    look_later(box)


def mailing(server: MailServer, **more: Any) -> dict[str, Any]:
    return {"type": "smtp", "smtp_url": f"smtp://{HOST}:{server.port}", **more}


def each_form(hook: Web) -> dict[str, dict[str, Any]]:
    """Mail, a webhook and a workspace."""
    at_hook = {"url": hook.url}
    return {"box": {"type": "maildir"}, "hook": {"type": "webhook", **at_hook}, "team": {"type": "slack", **at_hook}}


def flat(text: str) -> str:
    return " ".join(text.split())


# -- retry or not ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["webhook", "slack"])
def test_a_webhook_and_slack_are_tried_again_three_times(box: Box, hook: Web, kind: str) -> None:
    """G05, G10, N05: three retries after a "not now", unless `max_retries` says otherwise; then it is a dead letter."""
    hook.usual = says(503)
    box.configure({"transports": {"way": {"type": kind, "url": hook.url}}, "routes": [{"via": "way"}]})
    emit(box, "job_failed")
    pass_hours(box, 5)

    assert len(hook.requests) == 4
    assert outbox_counts(box) == tally(dead=1)


def test_mail_is_tried_for_72_hours(box: Box) -> None:
    """G10, N07: mail has no number of retries unless one is set; it is tried for three days."""
    with serving() as server:
        server.usual["RCPT"] = replies("451 4.3.0 later")
        box.configure({"transports": {"office": mailing(server)}})
        emit(box, "job_failed")
        for _ in range(24):
            box.look()
            box.clock.advance(3 * HOUR)
        assert outbox_counts(box) == tally(waiting=1, failed=1)
        box.look()
        assert outbox_counts(box) == tally(dead=1)
        assert server.attempts == 25


def test_without_retries_a_not_now_is_final(box: Box, hook: Web) -> None:
    """G10: `max_retries: 0` is fire-and-forget, for programs as for mail."""
    hook.usual = says(503)
    with serving() as server:
        server.usual["RCPT"] = replies("451 4.3.0 later")
        once = {"max_retries": 0}
        transports = {"hook": {"type": "webhook", "url": hook.url, **once}, "office": mailing(server, **once)}
        box.configure({"transports": transports, "routes": [{"to": ["hook", "owner"]}]})
        emit(box, "job_failed")
        pass_hours(box, 5)
        assert (len(hook.requests), server.attempts) == (1, 1)
    assert outbox_counts(box) == tally(dead=2)


@pytest.mark.parametrize(("retries", "state"), [(0, "dead"), (3, "pending")])
def test_no_answer_rests_the_transport_and_only_who_wants_no_retry_gets_none(
    box: Box, retries: int, state: str
) -> None:
    """G10: it uses up nobody's retries; 0 is fire and forget."""
    with web() as server:
        url = server.url
    box.configure(
        {"transports": {"hook": {"type": "webhook", "url": url, "max_retries": retries}}, "routes": [{"to": ["hook"]}]}
    )
    emit(box, "job_failed")
    pass_hours(box, 5)

    (letter,) = objects(box, "history")
    assert letter["state"] == state
    assert (letter["attempts"] == 1) is (retries == 0)


def test_a_refusal_is_final_after_one_request(box: Box, hook: Web) -> None:
    """G10: another 4xx, or 5yz of a mail server, is asked once, whatever `max_retries` says."""
    hook.usual = says(404, "no_service")
    with serving() as server:
        server.usual["RCPT"] = replies("550 5.1.1 no such user")
        ways = {**each_form(hook), "box": mailing(server)}
        transports = {name: {**way, "max_retries": 100} for name, way in ways.items()}
        box.configure({"transports": transports, "routes": [{"to": ["hook", "#jobs", "owner"]}]})
        emit(box, "job_failed")
        pass_hours(box, 5)
        assert (len(hook.requests), server.attempts) == (2, 1)
    assert outbox_counts(box) == tally(dead=3)


@pytest.mark.parametrize("status", [500, 502, 504])
@pytest.mark.parametrize("kind", ["webhook", "gmail"])
@pytest.mark.parametrize("on_unknown", ["resend", "hold"])
def test_a_server_that_commits_and_answers_with_an_error_gets_one_id_and_no_more_than_the_retries(
    box: Box, kind: str, on_unknown: str, status: int
) -> None:
    """The outcome is unknown: sent again with the same id and counted, `max_retries` times, or held."""
    with web(says(status)) as hook, google.serving() as gmail:
        gmail.usual = google.page(status)
        way: dict[str, Any] = {"type": "webhook", "url": hook.url}
        if kind == "gmail":
            way = {"type": "gmail", "token": "gmail_token.json", "api_endpoint": gmail.url}
            gmail.write_token(box.home.token)
        box.configure(
            {"transports": {"way": {**way, "max_retries": 2, "on_unknown": on_unknown}}, "routes": [{"via": "way"}]}
        )
        emit(box, "job_failed")
        pass_hours(box, 8)
        ids = [request.headers["webhook-id"] for request in hook.requests]
        ids += [str(post.mail["Message-ID"]) for post in gmail.posts]

    is_held = on_unknown == "hold"
    assert (len(ids), len(set(ids))) == (1 if is_held else 3, 1)
    assert outbox_counts(box, holding=["way"] if is_held else []) == (
        tally(unknown=1, held=1, failed=1) if is_held else tally(unknown=3, dead=1)
    )


def test_the_wait_that_the_other_side_names_is_kept(box: Box, hook: Web) -> None:
    """G10: `Retry-After` is honoured, here two hours."""
    hook.answers = [says(429, Retry_After="7200")]
    box.configure({"transports": {"hook": {"type": "webhook", "url": hook.url}}, "routes": [{"to": ["hook"]}]})
    emit(box, "job_failed")
    box.look()
    look_later(box, 7199)
    assert len(hook.requests) == 1
    look_later(box, 1)
    assert len(hook.requests) == 2
    assert outbox_counts(box) == tally(sent=1)


# -- drop or keep ------------------------------------------------------------------------------------------------------


def test_a_dead_workspace_delays_no_channel_of_that_name_elsewhere(box: Box, hook: Web) -> None:
    """G03, C12: each target has its own queue, so a dead one never delays another."""
    with web(says(503)) as dead:
        transports = {"old": {"type": "slack", "url": dead.url}, "new": {"type": "slack", "url": hook.url}}
        routes = [{"to": ["#jobs"], "via": "old", "continue": True}, {"to": ["#jobs"], "via": "new"}]
        box.configure({"transports": transports, "routes": routes})
        emit(box, "job_failed")
        box.look()
        assert (len(dead.requests), len(hook.requests)) == (1, 1)


def test_a_failure_is_posted_within_five_seconds_beside_a_target_that_hangs(box: Box, tree: Tree, hook: Web) -> None:
    """A06, A10: measured to the first attempt, by a real worker."""
    box.clock.now = time.time()
    with web(hangs) as silent:
        transports = {
            "silent": {"type": "webhook", "url": silent.url, "timeout_secs": 60, "events": ["*"]},
            "hook": {"type": "webhook", "url": hook.url, "events": ["job_failed"]},
        }
        box.configure({"transports": transports, "routes": []})
        tree.grant(ANA)
        box.notify("start", check=0)
        tree.submit("survey", ANA)
        tree.approve("survey", ANA)
        wait_until(lambda: silent.requests, what="the target that hangs")
        tree.run("survey", ANA, code=1)
        wait_until(lambda: hook.requests, seconds=5, what="the alert")


# -- time-outs ---------------------------------------------------------------------------------------------------------


def test_running_out_of_time_is_a_failure_to_a_job_and_not_to_a_rule(box: Box, hook: Web) -> None:
    """N12, A01: `on_failure` of an alerts block covers both ends; that of an alert rule the failure alone."""
    box.configure({"routes": NOBODY})
    add(box, "--job", "*", "--webhook", hook.url, "--no-on-timeout")
    for kind in ("job_failed", "job_timeout"):
        emit(box, kind, kind, alerts={"on_failure": True, "recipients": [BO]})
    box.look()

    assert [request.json["status"] for request in hook.requests] == ["failed"]
    assert sorted(mail.event for mail in box.mails()) == ["job_failed", "job_timeout"]


# -- bodies ------------------------------------------------------------------------------------------------------------


def test_the_native_body_has_these_keys_and_leaves_out_what_is_absent(box: Box, tree: Tree, hook: Web) -> None:
    """G21, N11: one envelope by default, for jobs as for the rest."""
    changes = {
        "transports": {"hook": {"type": "webhook", "url": hook.url}},
        "routes": [{"events": ["job_failed", "gpu_available"], "to": ["hook"]}],
        "links": {"job": "https://box.example/jobs/{job}"},
    }
    begin(box, tree, changes)
    fails(box, tree, notify={"tags": ["team-data"]})
    emit(box, "gpu_available", "gpu/0", payload={"gpu": 0})
    box.look()
    failed, gpu = (request.json for request in hook.requests)

    entity = tree.entity("survey", ANA)
    assert {**failed, "id": "", "timestamp": "", "payload": {}} == {
        "id": "",
        "event": "job_failed",
        "severity": "high",
        "timestamp": "",
        "entity": entity,
        "job": {
            "id": entity,
            "name": "survey",
            "user": ANA,
            "owner": OWNER,
            "state": "FAILED",
            "exit_code": 3,
            "error": "KeyError: 'age'",
            "tags": ["team-data"],
        },
        "url": "https://box.example/jobs/survey",
        "scheduler": {"host": socket.gethostname(), "version": __version__},
        "payload": {},
    }
    assert re.fullmatch(r"[0-9a-f]{32}", failed["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", failed["timestamp"])
    assert set(gpu) - {"url"} == {"id", "event", "severity", "timestamp", "entity", "scheduler", "payload"}


def test_what_is_no_job_has_no_link_to_one(box: Box, hook: Web) -> None:
    """G21, N08, N11: links are left out where there is nothing to link to."""
    transports = {"hook": {"type": "webhook", "url": hook.url, "events": ["*"]}}
    box.configure({"transports": transports, "routes": [], "links": {"job": "https://box.example/jobs/{job}"}})
    emit(box, "gpu_available", "gpu/0")
    box.look()

    assert "url" not in hook.requests[0].json


STARTED = "2026-01-15T15:00:00Z"


@pytest.mark.parametrize(
    ("way", "sent"),
    [
        (
            {"format": "gflow"},
            {
                "event": "job_failed",
                "job": {"id": 7, "user": "ana", "state": "Failed"},
                "scheduler": {"host": socket.gethostname(), "version": __version__},
            },
        ),
        (
            {"format": "nomaflow"},
            {
                "job_id": 7,
                "run_id": "r1",
                "state": "FAILED",
                "triggered_by": "ana",
                "started_at": STARTED,
                "error": "KeyError: 'age'",
            },
        ),
        ({"format": "run_alert"}, {"run_id": "r1", "job_name": "nightly", "status": "failed", "exit_code": 3}),
        (
            {"format": "template", "body": '{"text": "${job_id} ${run_id} ${state} ${error} ${started_at} ${url}"}'},
            {"text": f"7 r1 FAILED KeyError: 'age' {STARTED} "},
        ),
    ],
    ids=lambda value: value.get("format"),
)
def test_each_other_format_is_what_its_receivers_expect(
    box: Box, hook: Web, way: dict[str, Any], sent: dict[str, Any]
) -> None:
    """G21, N09, N10, N11, A04: `format` is chosen for each webhook."""
    what = {"name": "nightly", "job_id": 7, "run_id": "r1", "return_code": 3, "started_at": STARTED}
    box.configure({"transports": {"hook": {"type": "webhook", "url": hook.url, **way}}, "routes": [{"to": ["hook"]}]})
    emit(box, "job_failed", user="ana", payload={**what, "error": "Traceback\nKeyError: 'age'"})
    box.look()
    (request,) = hook.requests

    ended = [request.json[key] for key in ("timestamp", "finished_at") if key in request.json]
    assert all(moment.endswith("Z") for moment in ended)
    assert {key: value for key, value in request.json.items() if value not in ended} == sent


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ({}, ["text/plain", "text/html"]),
        ({"body": "both"}, ["text/plain", "text/html"]),
        ({"body": "plain"}, ["text/plain"]),
        ({"body": "html"}, ["text/html"]),
    ],
    ids=str,
)
def test_a_mail_has_both_faces_unless_one_is_asked_for(box: Box, body: dict[str, str], parts: list[str]) -> None:
    """S04, G15, N08: `body: both`, `plain` or `html`."""
    with serving() as server:
        box.configure({"transports": {"office": mailing(server, **body)}})
        emit(box, "job_failed", payload={"error": "boom"})
        box.look()
        (mail,) = server.committed

    assert [part.get_content_type() for part in mail.mail.walk() if not part.is_multipart()] == parts
    assert "boom" in (mail.text or mail.html)


# -- whom a job reaches ------------------------------------------------------------------------------------------------


def test_what_a_job_notifies_is_mail_and_what_it_alerts_is_anything(box: Box, tree: Tree, hook: Web) -> None:
    """G24, N15, N16: the same three recipients, all of them allowed, asked for in either way."""
    whom = [BO, "#jobs", "hook"]
    begin(box, tree, {"transports": each_form(hook), "routes": NOBODY, "recipients": {"allow": ["*"]}})
    fails(box, tree, "asks", notify={"emails": whom})
    assert ([mail.to for mail in box.new_mails()], len(hook.requests)) == ([BO], 0)
    fails(box, tree, "alerts", alerts={"recipients": whom})
    assert [mail.to for mail in box.new_mails()] == [BO]
    assert sorted(request.json.get("channel", "hook") for request in hook.requests) == ["#jobs", "hook"]


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        (
            {"team": {"events": "*", "to": [BO]}},
            f"transports.team.to: '{BO}' is no recipient of team, which is of type slack",
        ),
        (
            {"hook": {"events": "*", "to": ["team"]}},
            "transports.hook.to: 'team' is no recipient of hook, which is of type webhook",
        ),
        (
            {"box": {"events": "*", "to": ["#jobs"]}},
            "transports.box.to: '#jobs' is no recipient of box, which is of type mail",
        ),
        ({"team": {"default_recipient": BO}}, f"transports.team.default_recipient: '{BO}' is no recipient of team"),
    ],
    ids=lambda value: str(*value) if isinstance(value, dict) else "",
)
def test_a_recipient_that_its_transport_cannot_reach_is_a_mistake(
    box: Box, hook: Web, changes: dict[str, Any], mistake: str
) -> None:
    """N15: told when the configuration is read, by its path."""
    box.configure({"transports": {name: {**way, **changes.get(name, {})} for name, way in each_form(hook).items()}})

    with pytest.raises(ConfigError, match=re.escape(mistake)):
        load(box.home)


# -- who hears when nobody is named ------------------------------------------------------------------------------------


def test_where_nobody_is_named_each_transport_has_somebody(box: Box, hook: Web) -> None:
    """N02, N05, N17: a channel of its own, or the webhook's; of mail the address that it comes from."""
    with serving() as server:
        transports = {
            **each_form(hook),
            "ops": {"type": "slack", "url": hook.url, "default_recipient": "#ops"},
            "box": mailing(server, **{"from": "Site <site@clinic.example>"}),
        }
        box.configure({"transports": transports, "routes": [{"via": name, "continue": True} for name in transports]})
        emit(box, "job_failed")
        box.look()
        lines = [request.json for request in hook.requests if "text" in request.json]

        assert sorted(line.get("channel", "") for line in lines) == ["", "#ops"]
        assert {(line["icon_emoji"], line["username"]) for line in lines} == {(":gear:", "syftnotify")}
        assert len(hook.requests) == 3
        assert [mail.to for mail in server.committed] == ["site@clinic.example"]


def test_an_alert_that_nobody_can_hear_is_not_swallowed(box: Box, hook: Web) -> None:
    """N17: no silence at run time; here is no mail, and no transport says who hears what names nobody."""
    box.configure({"transports": {"team": {"type": "slack", "url": hook.url}}, "routes": []})
    emit(box, "job_failed", "run/1", alerts={"recipients": []})
    box.look()

    assert hook.requests or "not sent" in box.notify("why", "run/1", check=0).stdout


# -- nobody twice ------------------------------------------------------------------------------------------------------


def test_gmail_smtp_and_a_maildir_are_one_medium(box: Box) -> None:
    """N20: one address, one mail, however many routes and wishes name it, in whatever letter case."""
    with google.serving() as gmail, serving() as server:
        transports = {
            "gmail": {"type": "gmail", "token": "gmail_token.json", "api_endpoint": gmail.url},
            "office": mailing(server),
            "box": {"type": "maildir"},
        }
        routes = [{"to": [BO.upper(), BO], "via": name, "continue": True} for name in reversed(transports)]
        box.configure({"transports": transports, "routes": routes})
        gmail.write_token(box.home.token)
        emit(box, "job_failed", notify_emails=[BO.title()], alerts={"recipients": [BO]})
        look_later(box)
        look_later(box)

        assert [mail.to for mail in box.mails()] == [BO]
        assert (len(gmail.posts), len(server.committed)) == (0, 0)


# -- spelling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelling", ["job_cancelled", "job_canceled", "cancelled", "canceled", "JOB_CANCELED", "reservation_canceled"]
)
def test_cancelled_may_be_spelled_with_one_l(box: Box, hook: Web, spelling: str) -> None:
    """G23, C02: in routes and in events alike; what goes out has two."""
    box.configure({"transports": {"hook": {"type": "webhook", "url": hook.url, "events": [spelling]}}, "routes": []})
    emit(box, spelling)
    box.look()
    (request,) = hook.requests

    assert request.json["event"] == ("reservation_cancelled" if "reservation" in spelling else "job_cancelled")


# -- alerts blocks -----------------------------------------------------------------------------------------------------


def test_a_job_alerts_only_whom_its_owner_lets_pass(box: Box, tree: Tree, hook: Web) -> None:
    """N12, N15, X05, X11: its scientist always; all others are refused, and `notify why` says so."""
    allowed = {"recipients": {"allow": ["*@lab.example"]}}
    begin(box, tree, {"transports": each_form(hook), "routes": NOBODY, **allowed})
    fails(box, tree, alerts={"recipients": [STRANGER, "#jobs", "hook", ANA, BO]})

    assert hook.requests == []
    assert sorted((mail.to, mail.subject) for mail in box.mails()) == [(who, "FAILED survey") for who in (ANA, BO)]
    why = flat(box.notify("why", "survey", check=0).stdout)
    for refused in (STRANGER, "#jobs", "hook"):
        assert f"guest {refused}: not sent: the job asks for this; recipients.allow would let it pass" in why


@pytest.mark.parametrize(
    ("own", "listed"),
    [("#general@far.example", "#general@far.example"), ("\u017ftranger@far.example", "stranger@far.example")],
    ids=["a channel", "another letter"],
)
def test_the_name_of_a_scientists_folder_vouches_for_an_address_and_for_nothing_else(
    box: Box, tree: Tree, hook: Web, own: str, listed: str
) -> None:
    """N15, X11: what a job lists as its scientist is that very address, and no channel that is called so."""
    begin(box, tree, {"transports": each_form(hook), "routes": NOBODY})
    fails(box, tree, by=own, alerts={"recipients": [listed]})

    assert (hook.requests, box.mails()) == ([], [])


ENDS = ["job_completed", "job_failed", "job_timeout", "job_cancelled", "job_enabled", "job_disabled"]


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({}, []),
        ({"alerts": {"recipients": [BO]}}, ["job_failed", "job_timeout"]),
        ({"alerts": {"recipients": [BO], "on_success": True}}, ["job_completed", "job_failed", "job_timeout"]),
        ({"alerts": {"recipients": [BO], "on_failure": False}}, []),
    ],
    ids=["none", "usual", "on_success", "no on_failure"],
)
def test_an_alerts_block_tells_of_failures_and_no_block_of_nothing(
    box: Box, block: dict[str, Any], told: list[str]
) -> None:
    """N12, N14, N22: success only where asked for; cancelled, enabled and disabled never."""
    box.configure({"routes": NOBODY})
    for kind in ENDS:
        emit(box, kind, kind, **block)
    box.look()

    assert sorted((mail.event, mail.to) for mail in box.mails()) == [(kind, BO) for kind in told]


@pytest.mark.parametrize("has_defaults", [True, False])
def test_an_alerts_block_without_recipients_goes_to_those_of_the_transports(
    box: Box, hook: Web, has_defaults: bool
) -> None:
    """N17: to each that has a `default_recipient`; where none has, to mail's own."""
    transports = each_form(hook)
    if has_defaults:
        transports["box"]["default_recipient"] = BO
        transports["team"]["default_recipient"] = "#jobs"
    box.configure({"transports": transports, "routes": NOBODY})
    emit(box, "job_failed", alerts={"recipients": []})
    box.look()

    assert [request.json["channel"] for request in hook.requests] == (["#jobs"] if has_defaults else [])
    assert [mail.to for mail in box.mails()] == [BO if has_defaults else OWNER]


# -- subjects ----------------------------------------------------------------------------------------------------------


def test_an_alert_says_failed_in_its_subject_and_the_mails_of_a_job_keep_theirs(box: Box, tree: Tree) -> None:
    """N25, B04, G15: behind `subject_prefix`, one stable subject for the owner and one for the scientist."""
    transports = {"box": {"type": "maildir", "subject_prefix": "[Nomaflow]"}}
    begin(box, tree, {"transports": transports, "routes+": [{"events": ["job_failed", "job_timeout"], "to": [BO]}]})
    tree.submit("survey", ANA)
    look_later(box)
    tree.approve("survey", ANA)
    look_later(box)
    tree.run("survey", ANA, code=1)
    look_later(box)

    told = [(mail.to, mail.subject) for mail in box.mails()]
    assert len(told) == 6
    assert set(told) == {
        (OWNER, f'[Nomaflow] SyftBox job "survey" from {ANA}'),
        (ANA, f'[Nomaflow] Your SyftBox job "survey" at {OWNER}'),
        (BO, "[Nomaflow] FAILED survey"),
    }


# -- quiet hours, reminders, storms ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quiet", "told"),
    [
        ({}, ["job_completed", "job_failed"]),
        ({"quiet_hours": {}}, ["job_failed"]),
        ({"quiet_hours": {"except": []}}, []),
        ({"quiet_hours": {"except": ["low"]}}, ["job_completed"]),
    ],
    ids=["unset", "usual", "all", "low passes"],
)
def test_quiet_hours_are_off_and_when_on_what_is_urgent_passes(
    box: Box, quiet: dict[str, Any], told: list[str]
) -> None:
    """X06: high severity by default, else what `except` says. It is eight in the morning here."""
    hours = {name: {"from": "07:00", "to": "09:00", "zone": "UTC", **own} for name, own in quiet.items()}
    box.configure(hours)
    for kind in ("job_completed", "job_failed"):
        emit(box, kind, kind)
    box.look()

    assert sorted(mail.event for mail in box.mails()) == told


def test_nobody_is_reminded_unless_somebody_asked(box: Box, tree: Tree) -> None:
    """N13, X08: of a job that waits, and of one that runs on, for a month."""
    begin(box, tree, {})
    for name in ("waits", "runs"):
        tree.submit(name, ANA)
    tree.approve("runs", ANA)
    look_later(box)
    box.new_mails()
    for _ in range(30):
        look_later(box, 24 * HOUR)

    assert box.new_mails() == []


def test_failures_come_singly_whatever_digest_says_up_to_the_cap_that_is_built_in(box: Box) -> None:
    """X06: 200 in ten minutes; the rest is one digest."""
    box.configure({"digest": {"above": 2, "within": "60s", "every": "10m"}})
    for number in range(205):
        emit(box, "job_failed", f"run/{number}")
    box.look()

    events = [mail.event for mail in box.mails()]
    assert (events.count("job_failed"), events.count("digest")) == (200, 1)
    (digest,) = [mail for mail in box.mails() if mail.event == "digest"]
    assert sorted(digest.entities) == [f"run/{number}" for number in range(200, 205)]


def test_failures_are_gathered_with_include_high(box: Box) -> None:
    """D10: array jobs with many failures."""
    box.configure({"digest": {"above": 2, "include_high": True}})
    for number in range(12):
        emit(box, "job_failed", f"run/{number}")
    box.look()

    events = [mail.event for mail in box.mails()]
    assert (events.count("job_failed"), events.count("digest")) == (2, 1)


# -- order -------------------------------------------------------------------------------------------------------------


def test_the_facts_of_a_job_reach_each_in_their_order_also_when_they_are_overtaken(box: Box, tree: Tree) -> None:
    """S01, X01: what could not leave for an hour is all told, the oldest first."""
    with serving() as server:
        begin(box, tree, {"transports": {"office": mailing(server)}})
        server.usual["RCPT"] = replies("451 4.3.0 later")
        steps: tuple[Callable[[str, str], None], ...] = (tree.submit, tree.approve, tree.run)
        for step in steps:
            step("survey", ANA)
            look_later(box, 20 * 60)
        assert server.committed == []
        server.behaves()
        look_later(box, HOUR)
        told = [(mail.to, mail.event) for mail in server.committed]

    assert [event for who, event in told if who == ANA] == ["job_submitted", "job_approved", "job_completed"]
    assert [event for who, event in told if who == OWNER] == ["job_submitted", "job_completed"]
    assert len(told) == 5
