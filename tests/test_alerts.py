"""Alert rules: who hears how the runs of some jobs end."""

from __future__ import annotations

import json
import time

import pytest

from tests.fakes.web import Web, closes, says, web
from tests.support import ANA, BO, OWNER, Box, wait_until
from tests.trees import TREES, Disk, Tree

DAY = 86400.0


@pytest.fixture
def tree(box: Box) -> Tree:
    """A tree whose routes tell nobody, so that what is told is told by the rules."""
    box.configure({"routes": [{"events": ["job_held"]}]})
    return TREES["D"](Disk(box.root, box.clock.time))


def add(box: Box, *words: str) -> str:
    """The id of a new rule."""
    return box.notify("alerts", "add", *words, check=0).stdout.split()[0]


def rules(box: Box) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(box.notify("alerts", "list", "--json", check=0).stdout)
    return found


def ends(box: Box, tree: Tree) -> None:
    """Three jobs: one fails, one runs out of time, one completes."""
    tree.grant(ANA)
    box.look()
    for name in ("fails", "slow", "good"):
        tree.submit(name, ANA)
        tree.approve(name, ANA)
    tree.run("fails", ANA, code=3, stderr="Traceback\nKeyError: 'age'\n")
    tree.time_out("slow", ANA)
    tree.run("good", ANA)
    box.clock.advance(60)
    box.look()


def test_a_rule_has_what_the_table_says_and_its_usual_values(box: Box, tree: Tree) -> None:
    """A01, A08"""
    first = add(box, "--job", "nightly-*", "--webhook", "https://hooks.example/secret")
    second = add(box, "--tag", "team-data", "--email", BO, "--no-on-timeout", "--on-success")
    add(box, "--job", "slow", "--email", BO, "--on-long-run-minutes", "90")

    listed = rules(box)
    assert [rule["id"] for rule in listed[:2]] == [first, second]
    assert {**listed[0], "id": "", "created_at": ""} == {
        "id": "",
        "job": "nightly-*",
        "tag": None,
        "alert_type": "webhook",
        "target": "hooks.example",
        "on_failure": True,
        "on_timeout": True,
        "on_success": False,
        "on_long_run_minutes": None,
        "created_at": "",
    }
    assert (listed[1]["on_timeout"], listed[1]["on_success"], listed[1]["alert_type"]) == (False, True, "email")
    assert listed[2]["on_long_run_minutes"] == 90

    shown = box.notify("alerts", "list", check=0).stdout
    assert f"{second}  jobs tagged team-data failed, completed -> {BO}" in shown
    assert "secret" not in shown
    assert box.notify("alerts", "list", "team-data", check=0).stdout.startswith(second)
    box.notify("alerts", "rm", second[:6], check=0)
    assert [rule["target"] for rule in rules(box)] == ["hooks.example", BO]


def test_a_run_that_failed_or_ran_out_of_time_is_posted_with_its_exit_code(box: Box, tree: Tree, hook: Web) -> None:
    """A02, A04, A12"""
    rule = add(box, "--job", "*", "--webhook", hook.url)
    ends(box, tree)

    told = sorted((request.json for request in hook.requests), key=lambda each: str(each["job_name"]))
    assert [{**each, "run_id": ""} for each in told] == [
        {"run_id": "", "job_name": "fails", "status": "failed", "exit_code": 3},
        {"run_id": "", "job_name": "slow", "status": "timed_out", "exit_code": -1},
    ]
    assert len({each["run_id"] for each in told}) == 2
    assert f"by alert {rule}" in box.notify("why", "fails", check=0).stdout
    for command in (["why", "fails"], ["history"], ["status"]):
        assert "secret-path" not in box.notify(*command).stdout
    box.look()
    assert len(hook.requests) == 2


def test_every_rule_of_a_job_is_served_and_nobody_twice(box: Box, tree: Tree, hook: Web) -> None:
    """A03, A05, A11, N20"""
    add(box, "--job", "slow", "--email", BO)
    add(box, "--job", tree.entity("slow", ANA), "--email", BO.upper())
    add(box, "--job", "SLOW", "--webhook", hook.url)
    add(box, "--job", "slow", "--webhook", hook.url, "--on-success")
    add(box, "--job", "slow", "--email", OWNER, "--no-on-timeout")
    ends(box, tree)

    assert [(mail.event, mail.to, mail.subject) for mail in box.mails()] == [("job_timeout", BO, "TIMED OUT slow")]
    assert [request.json["job_name"] for request in hook.requests] == ["slow"]


def test_a_tag_finds_the_jobs_that_carry_it(box: Box, tree: Tree) -> None:
    add(box, "--tag", "team-*", "--email", BO, "--on-success")
    tree.grant(ANA)
    box.look()
    for name, tags in (("a", ["etl", "team-data"]), ("b", ["etl"])):
        tree.submit(name, ANA, config={"headers": {"notify": {"tags": tags}}})
        tree.approve(name, ANA)
        tree.run(name, ANA)
    box.clock.advance(60)
    box.look()

    assert [(mail.event, mail.entities) for mail in box.mails()] == [("job_completed", [tree.entity("a", ANA)])]


def test_a_registered_webhook_is_named_and_keeps_its_own_format(box: Box, tree: Tree, hook: Web) -> None:
    """N30"""
    transports = {"box": {"type": "maildir"}, "oncall": {"type": "webhook", "url": hook.url}}
    box.configure({"routes": [{"events": ["job_held"]}], "transports": transports})
    add(box, "--job", "fails", "--webhook", "oncall")
    ends(box, tree)

    (request,) = hook.requests
    assert request.json["event"] == "job_failed"
    assert request.json["job"]["exit_code"] == 3
    assert request.json["job"]["error"] == "KeyError: 'age'"


def test_a_long_run_is_told_once_to_whom_that_rule_names(box: Box, tree: Tree) -> None:
    """N13: others may have other limits for the same job."""
    box.configure(
        {"routes": [{"events": ["job_long_running"], "to": ["owner"]}], "reminders": {"job_long_running": "3h"}}
    )
    add(box, "--job", "slow", "--email", BO, "--on-long-run-minutes", "60")
    add(box, "--job", "quick", "--email", BO, "--on-long-run-minutes", "1")
    tree.grant(ANA)
    box.look()
    tree.submit("slow", ANA)
    tree.approve("slow", ANA)
    told = []
    for _ in range(10):
        box.clock.advance(1800)
        box.look()
        told += [(mail.event, mail.to) for mail in box.new_mails()]

    assert told == [("job_long_running", BO), ("job_long_running", OWNER)]


def test_a_rules_own_address_hears_of_no_other_job(box: Box, tree: Tree, hook: Web) -> None:
    """N17, A03: where nobody has a default, an alerts block without recipients goes to every transport, not to it."""
    with web() as team:
        transports = {"team": {"type": "slack", "url": team.url}}
        box.configure({"transports": transports, "routes": [{"events": ["job_held"], "to": ["#jobs"]}]})
        add(box, "--job", "other", "--webhook", hook.url)
        tree.grant(ANA)
        box.look()
        tree.submit("survey", ANA, config={"headers": {"alerts": {}}})
        tree.approve("survey", ANA)
        tree.run("survey", ANA, code=1)
        box.clock.advance(60)
        box.look()

        assert (len(team.requests), hook.requests) == (1, [])


def test_one_dead_address_delays_no_other(box: Box, tree: Tree, hook: Web) -> None:
    """A06, A10, A12"""
    with web(closes) as dead:
        add(box, "--job", "*", "--webhook", dead.url)
        add(box, "--job", "*", "--webhook", hook.url)
        ends(box, tree)
        assert sorted(request.json["job_name"] for request in hook.requests) == ["fails", "slow"]
        assert dead.requests
    hosts = {each["transport"] for each in json.loads(box.notify("history", "--json", check=0).stdout)}
    assert len(hosts) == 2


def test_a_rule_that_comes_while_the_worker_runs_is_obeyed(box: Box, tree: Tree, hook: Web) -> None:
    """A07: and each dispatch is in the log."""
    box.clock.now = time.time()
    tree.grant(ANA)
    box.notify("start", check=0)
    try:
        add(box, "--job", "fails", "--webhook", hook.url)
        tree.submit("fails", ANA)
        tree.approve("fails", ANA)
        tree.run("fails", ANA, code=1)
        wait_until(lambda: hook.requests, what="the alert")
    finally:
        box.notify("stop", check=0)

    log = box.home.log.read_text()
    assert "INFO" in next(line for line in log.splitlines() if "notification SENT: job_failed" in line)


def test_a_target_that_is_gone_is_named_as_the_list_names_it(box: Box, hook: Web) -> None:
    """A07"""
    hook.usual = says(410, "gone")
    rule = add(box, "--job", "fails", "--webhook", hook.url)
    tree = TREES["D"](Disk(box.root, time.time))
    tree.grant(ANA)
    box.notify("start", check=0)
    try:
        tree.submit("fails", ANA)
        tree.approve("fails", ANA)
        tree.run("fails", ANA, code=1)
        (mail,) = wait_until(
            lambda: [mail for mail in box.mails() if "cannot send" in mail.subject + mail.text], what="the alert"
        )
    finally:
        box.notify("stop", check=0)

    (line,) = box.notify("alerts", "list", check=0).stdout.splitlines()
    name = line.rpartition("(")[2].rstrip(")")
    assert line == f"{rule}  job fails failed, timed out -> the webhook at 127.0.0.1 ({name})"
    assert f"The webhook at 127.0.0.1 of an alert rule ({name} in" in mail.subject
    assert "secret" not in mail.subject + mail.text + line


def test_a_rule_about_one_job_goes_with_it(box: Box, tree: Tree) -> None:
    """A01: a day later, for trees vanish and come back."""
    tree.grant(ANA)
    tree.submit("fails", ANA)
    box.look()
    gone = add(box, "--job", tree.entity("fails", ANA), "--email", BO)
    early = add(box, "--job", tree.entity("not-yet", ANA), "--email", BO)
    pattern = add(box, "--job", "fails", "--email", BO)
    box.look()
    tree.delete("fails", ANA)
    for _ in range(3):
        box.clock.advance(DAY / 2 + 60)
        box.look()
        if _ == 0:
            assert {rule["id"] for rule in rules(box)} == {gone, early, pattern}

    assert {rule["id"] for rule in rules(box)} == {early, pattern}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--email", BO], "either --job or --tag"),
        (["--job", "a", "--tag", "b", "--email", BO], "either --job or --tag"),
        (["--job", "a"], "either --email or --webhook"),
        (["--job", "a", "--email", BO, "--webhook", "oncall"], "either --email or --webhook"),
        (["--job", "a", "--email", "nobody"], "'nobody' is not a mail address"),
        (
            ["--job", "a", "--email", "https://hooks.example/secret"],
            "expected a mail address, got a URL pass `--webhook` instead",
        ),
        (["--job", "a", "--webhook", BO], f"'{BO}' is a mail address pass `--email` instead"),
        (["--job", "a", "--webhook", "oncall"], "'oncall' is not a transport of type discord or webhook"),
        (["--job", "a", "--webhook", "ftp://hooks.example/x"], "expected a URL such as https://"),
        (["--job", "a", "--webhook", "https://exa mple/x"], "expected a URL such as https://"),
        (["--job", "a", "--email", BO, "--no-on-failure", "--no-on-timeout"], "would never alert"),
        (["--job", "a", "--email", BO, "--on-long-run-minutes", "0"], "above 0"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(box: Box, tree: Tree, words: list[str], says: str) -> None:
    done = box.notify("alerts", "add", *words, check=2)
    assert says in " ".join(done.stderr.split())
    assert "secret" not in done.stderr
    assert not box.home.outbox.exists()


def test_an_id_that_names_no_rule_or_several_removes_none(box: Box, tree: Tree) -> None:
    add(box, "--job", "a", "--email", BO)
    assert "there is no alert rule 'zz'" in box.notify("alerts", "rm", "zz", check=1).stderr
    assert len(rules(box)) == 1


def test_alert_target_with_a_secret_over_plain_http_is_warned_of(box: Box) -> None:
    """C10"""
    words = ("--job", "survey", "--webhook", "http://me:t0p@hooks.example/x")
    done = box.notify("alerts", "add", *words, check=0)

    assert "unencrypted" in done.stderr
    assert "t0p" not in done.stderr + done.stdout


def test_alert_address_over_plain_http_is_warned_of_whenever_it_is_used(box: Box) -> None:
    """C10: its path is often the token of the receiver."""
    box.configure()
    words = ("--job", "survey", "--webhook", "http://hooks.invalid/T0KEN")
    added = box.notify("alerts", "add", *words, check=0)
    started = box.notify("start", check=0)
    box.notify("stop", check=0)
    doctor = box.notify("doctor")

    said = "the path of the address is sent over unencrypted http:// and can be read on the way"
    for text in (added.stderr, started.stderr, doctor.stdout):
        assert said in " ".join(text.split())
        assert "T0KEN" not in text


@pytest.mark.parametrize("url", ["https://hooks.invalid/T0KEN", "http://127.0.0.1:9/T0KEN", "http://hooks.invalid/"])
def test_alert_address_that_exposes_nothing_is_not_warned_of(box: Box, url: str) -> None:
    """C10"""
    assert "unencrypted" not in box.notify("alerts", "add", "--job", "x", "--webhook", url, check=0).stderr


def test_rule_whose_key_is_lost_is_named_everywhere_and_stops_no_other(box: Box, tree: Tree, hook: Web) -> None:
    """C12: in the list, by doctor, at the start and in status."""
    lost = add(box, "--job", "*", "--webhook", hook.url)
    add(box, "--job", "*", "--email", BO)
    (box.home.root / "secret.key").unlink()
    ends(box, tree)

    assert hook.requests == []
    assert {(mail.to, mail.event) for mail in box.mails()} == {(BO, "job_failed"), (BO, "job_timeout")}
    assert "cannot be decrypted" in box.notify("alerts", "list", check=0).stdout
    assert [rule["target"] for rule in rules(box)] == [None, BO]
    (finding,) = [each for each in json.loads(box.notify("doctor", "--json").stdout) if each["check"] == "alerts"]
    assert lost in finding["text"]
    assert f"notify alerts rm {lost}" in finding["advice"]
    assert f"alert rule {lost} cannot be decrypted" in box.notify("start", check=0).stderr
    assert "cannot be decrypted" in " ".join(json.loads(box.notify("status", "--json", check=4).stdout)["unwell"])
    box.notify("alerts", "rm", lost, check=0)
    wait_until(lambda: box.notify("status").returncode == 0, what="healthy without that rule")


def test_dry_run_reads_the_rules_with_the_key_of_the_home(box: Box, tree: Tree, hook: Web) -> None:
    """C12."""
    tree.grant(ANA)
    box.look()
    add(box, "--job", "*", "--webhook", hook.url)
    tree.submit("fails", ANA)
    tree.approve("fails", ANA)
    tree.run("fails", ANA, code=3, stderr="")
    box.clock.advance(60)

    assert "through alert-" in box.notify("run", "--dry-run", check=0).stdout.replace("\n", " ")
