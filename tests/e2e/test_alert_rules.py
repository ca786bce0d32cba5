"""Alert rules and a real worker."""

from __future__ import annotations

import json
import time

import pytest

from tests.fakes.web import WebServer, respond
from tests.queries import add_alert_rule
from tests.support import ANA, Box, wait_until
from tests.trees import TREES, Disk, Tree


def test_alert_rule_added_while_the_worker_runs_is_used(box: Box, alert_tree: Tree, hook: WebServer) -> None:
    """A07: and each dispatch is logged."""
    box.clock.now = time.time()
    alert_tree.grant(ANA)
    box.notify("start", check=0)
    try:
        add_alert_rule(box, "--job", "fails", "--webhook", hook.url)
        alert_tree.submit("fails", ANA)
        alert_tree.approve("fails", ANA)
        alert_tree.run("fails", ANA, code=1)
        wait_until(lambda: hook.requests, what="the alert")
    finally:
        box.notify("stop", check=0)

    log = box.home.log.read_text()
    assert "INFO" in next(line for line in log.splitlines() if "notification SENT: job_failed" in line)


@pytest.mark.thorough
def test_gone_alert_target_has_the_same_name_in_list_and_mail(box: Box, hook: WebServer) -> None:
    """A07"""
    hook.default = respond(410, "gone")
    rule = add_alert_rule(box, "--job", "fails", "--webhook", hook.url)
    alert_tree = TREES["D"](Disk(box.root, time.time))
    alert_tree.grant(ANA)
    box.notify("start", check=0)
    try:
        alert_tree.submit("fails", ANA)
        alert_tree.approve("fails", ANA)
        alert_tree.run("fails", ANA, code=1)
        (mail,) = wait_until(
            lambda: [mail for mail in box.mails() if "stopped sending" in mail.subject], what="the alert"
        )
    finally:
        box.notify("stop", check=0)

    (line,) = box.notify("alerts", "list", check=0).stdout.splitlines()
    name = line.rpartition("(")[2].rstrip(")")
    assert line == f"{rule}  job fails failed, timed out -> the webhook at 127.0.0.1 ({name})"
    assert mail.subject == f'SyftBox: "{name}" stopped sending'
    assert ", webhook of an alert rule at 127.0.0.1\r\n" in mail.text
    assert "secret" not in mail.subject + mail.text + line


@pytest.mark.thorough
def test_alert_url_over_plain_http_warns_in_each_command(box: Box) -> None:
    """C10: the path is often the token of the receiver."""
    box.configure()
    arguments = ("--job", "survey", "--webhook", "http://hooks.invalid/T0KEN")
    added = box.notify("alerts", "add", *arguments, check=0)
    started = box.notify("start", check=0)
    box.notify("stop", check=0)
    doctor = box.notify("doctor")

    warning = "the path of the address is sent over unencrypted http:// and can be read on the way"
    for text in (added.stderr, started.stderr, doctor.stdout):
        assert warning in " ".join(text.split())
        assert "T0KEN" not in text


@pytest.mark.thorough
def test_alert_rule_without_key_is_reported_by_start_and_status(box: Box) -> None:
    """C12: until it is removed."""
    lost = add_alert_rule(box, "--job", "*", "--webhook", "https://hooks.invalid/x")
    (box.home.root / "secret.key").unlink()

    assert f"alert rule {lost} cannot be decrypted" in box.notify("start", check=0).stderr
    assert "cannot be decrypted" in " ".join(json.loads(box.notify("status", "--json", check=4).stdout)["unwell"])
    box.notify("alerts", "rm", lost, check=0)
    wait_until(lambda: box.notify("status").returncode == 0, what="healthy without that rule")
