"""Alert rules: who is notified how the runs of some jobs end."""

from __future__ import annotations

import json

import pytest

from tests.fakes.web import WebServer, close_connection, serve_web
from tests.queries import add_alert_rule, json_list
from tests.support import ANA, BO, OWNER, Box
from tests.trees import Tree


def run_jobs_to_their_end(box: Box, alert_tree: Tree) -> None:
    """Run three jobs: one fails, one times out, one completes."""
    alert_tree.grant(ANA)
    box.scan()
    for name in ("fails", "slow", "good"):
        alert_tree.submit(name, ANA)
        alert_tree.approve(name, ANA)
    alert_tree.run("fails", ANA, code=3, stderr="Traceback\nKeyError: 'age'\n")
    alert_tree.time_out("slow", ANA)
    alert_tree.run("good", ANA)
    box.clock.advance(60)
    box.scan()


def test_alert_rule_posts_failure_and_timeout_with_exit_code(box: Box, alert_tree: Tree, hook: WebServer) -> None:
    """A02, A04, A12"""
    rule = add_alert_rule(box, "--job", "*", "--webhook", hook.url)
    run_jobs_to_their_end(box, alert_tree)

    sent = sorted((request.json for request in hook.requests), key=lambda each: str(each["job_name"]))
    assert [{**each, "run_id": ""} for each in sent] == [
        {"run_id": "", "job_name": "fails", "status": "failed", "exit_code": 3},
        {"run_id": "", "job_name": "slow", "status": "timed_out", "exit_code": -1},
    ]
    assert len({each["run_id"] for each in sent}) == 2
    assert f"by alert {rule}" in box.notify("why", "fails", check=0).stdout
    for command in (["why", "fails"], ["history"], ["status"]):
        assert "secret-path" not in box.notify(*command).stdout
    box.scan()
    assert len(hook.requests) == 2


def test_all_alert_rules_of_a_job_notify_each_recipient_once(box: Box, alert_tree: Tree, hook: WebServer) -> None:
    """A03, A05, A11, N20"""
    add_alert_rule(box, "--job", "slow", "--email", BO)
    add_alert_rule(box, "--job", alert_tree.entity("slow", ANA), "--email", BO.upper())
    add_alert_rule(box, "--job", "SLOW", "--webhook", hook.url)
    add_alert_rule(box, "--job", "slow", "--webhook", hook.url, "--on-success")
    add_alert_rule(box, "--job", "slow", "--email", OWNER, "--no-on-timeout")
    run_jobs_to_their_end(box, alert_tree)

    assert [(mail.event, mail.to, mail.subject) for mail in box.mails()] == [("job_timeout", BO, "TIMED OUT slow")]
    assert [request.json["job_name"] for request in hook.requests] == ["slow"]


def test_alert_rule_by_tag_matches_tagged_jobs(box: Box, alert_tree: Tree) -> None:
    add_alert_rule(box, "--tag", "team-*", "--email", BO, "--on-success")
    alert_tree.grant(ANA)
    box.scan()
    for name, tags in (("a", ["etl", "team-data"]), ("b", ["etl"])):
        alert_tree.submit(name, ANA, config={"headers": {"notify": {"tags": tags}}})
        alert_tree.approve(name, ANA)
        alert_tree.run(name, ANA)
    box.clock.advance(60)
    box.scan()

    assert [(mail.event, mail.entities) for mail in box.mails()] == [("job_completed", [alert_tree.entity("a", ANA)])]


def test_alert_rule_with_registered_webhook_uses_its_format(box: Box, alert_tree: Tree, hook: WebServer) -> None:
    """N30"""
    transports = {"box": {"type": "maildir"}, "oncall": {"type": "webhook", "url": hook.url}}
    box.configure({"routes": [{"events": ["job_held"]}], "transports": transports})
    add_alert_rule(box, "--job", "fails", "--webhook", "oncall")
    run_jobs_to_their_end(box, alert_tree)

    (request,) = hook.requests
    assert request.json["event"] == "job_failed"
    assert request.json["job"]["exit_code"] == 3
    assert request.json["job"]["error"] == "KeyError: 'age'"


@pytest.mark.thorough
def test_long_run_alert_is_sent_once_by_its_rule(box: Box, alert_tree: Tree) -> None:
    """N13: other rules may have other thresholds for the same job."""
    box.configure(
        {"routes": [{"events": ["job_long_running"], "to": ["owner"]}], "reminders": {"job_long_running": "3h"}}
    )
    add_alert_rule(box, "--job", "slow", "--email", BO, "--on-long-run-minutes", "60")
    add_alert_rule(box, "--job", "quick", "--email", BO, "--on-long-run-minutes", "1")
    alert_tree.grant(ANA)
    box.scan()
    alert_tree.submit("slow", ANA)
    alert_tree.approve("slow", ANA)
    sent = []
    for _ in range(10):
        box.clock.advance(1800)
        box.scan()
        sent += [(mail.event, mail.to) for mail in box.new_mails()]

    assert sent == [("job_long_running", BO), ("job_long_running", OWNER)]


def test_alert_rule_url_receives_no_other_job(box: Box, alert_tree: Tree, hook: WebServer) -> None:
    """N17, A03: an alerts block without recipients goes to every transport, not to the URL of a rule."""
    with serve_web() as team:
        transports = {"team": {"type": "slack", "url": team.url}}
        box.configure({"transports": transports, "routes": [{"events": ["job_held"], "to": ["#jobs"]}]})
        add_alert_rule(box, "--job", "other", "--webhook", hook.url)
        alert_tree.grant(ANA)
        box.scan()
        alert_tree.submit("survey", ANA, config={"headers": {"alerts": {}}})
        alert_tree.approve("survey", ANA)
        alert_tree.run("survey", ANA, code=1)
        box.clock.advance(60)
        box.scan()

        assert (len(team.requests), hook.requests) == (1, [])


def test_unreachable_alert_url_delays_no_other(box: Box, alert_tree: Tree, hook: WebServer) -> None:
    """A06, A10, A12"""
    with serve_web(close_connection) as dead:
        add_alert_rule(box, "--job", "*", "--webhook", dead.url)
        add_alert_rule(box, "--job", "*", "--webhook", hook.url)
        run_jobs_to_their_end(box, alert_tree)
        assert sorted(request.json["job_name"] for request in hook.requests) == ["fails", "slow"]
        assert dead.requests
    hosts = {each["transport"] for each in json.loads(box.notify("history", "--json", check=0).stdout)}
    assert len(hosts) == 2


DAY = 86400.0


def test_alert_rule_of_one_job_is_removed_with_the_job(box: Box, alert_tree: Tree) -> None:
    """A01: a day later, because trees vanish and come back."""
    alert_tree.grant(ANA)
    alert_tree.submit("fails", ANA)
    box.scan()
    gone = add_alert_rule(box, "--job", alert_tree.entity("fails", ANA), "--email", BO)
    early = add_alert_rule(box, "--job", alert_tree.entity("not-yet", ANA), "--email", BO)
    pattern = add_alert_rule(box, "--job", "fails", "--email", BO)
    box.scan()
    alert_tree.delete("fails", ANA)
    for _ in range(3):
        box.clock.advance(DAY / 2 + 60)
        box.scan()
        if _ == 0:
            assert {rule["id"] for rule in json_list(box, "alerts", "list")} == {gone, early, pattern}

    assert {rule["id"] for rule in json_list(box, "alerts", "list")} == {early, pattern}


def test_alert_rule_without_key_is_reported_and_stops_no_other(box: Box, alert_tree: Tree, hook: WebServer) -> None:
    """C12: by the list and doctor."""
    lost = add_alert_rule(box, "--job", "*", "--webhook", hook.url)
    add_alert_rule(box, "--job", "*", "--email", BO)
    (box.home.root / "secret.key").unlink()
    run_jobs_to_their_end(box, alert_tree)

    assert hook.requests == []
    assert {(mail.to, mail.event) for mail in box.mails()} == {(BO, "job_failed"), (BO, "job_timeout")}
    assert "cannot be decrypted" in box.notify("alerts", "list", check=0).stdout
    assert [rule["target"] for rule in json_list(box, "alerts", "list")] == [None, BO]
    (finding,) = [each for each in json.loads(box.notify("doctor", "--json").stdout) if each["check"] == "alerts"]
    assert lost in finding["text"]
    assert f"notify alerts rm {lost}" in finding["advice"]


def test_dry_run_decrypts_alert_rules(box: Box, alert_tree: Tree, hook: WebServer) -> None:
    """C12."""
    alert_tree.grant(ANA)
    box.scan()
    add_alert_rule(box, "--job", "*", "--webhook", hook.url)
    alert_tree.submit("fails", ANA)
    alert_tree.approve("fails", ANA)
    alert_tree.run("fails", ANA, code=3, stderr="")
    box.clock.advance(60)

    assert "  alert-" in box.notify("run", "--dry-run", check=0).stdout
